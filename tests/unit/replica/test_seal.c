/* Seals (trap A2): nothing of a lower epoch is acknowledged once a seal was answered. */
#include "tests/unit/replica/rig.h"

TestSuite(replica_seal, .init = rig_start, .fini = rig_stop);

Test(replica_seal, waits_for_accepted_writes_and_takes_their_acks)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_seal(2);
	rig_write(1, VERSION_NONE, ver(1, 2), 0, 1, 'b');
	rig_expect("31#3 write_reply status=2 file=7 block=1 asked=1.2 durable=0.0 closed=0 seal=0 "
	           "space=0 pages=0\n");
	rig_run();
	/* The write of epoch 1 became durable, but its ack does not leave; the seal sees it. */
	rig_expect("31#1 write_reply status=2 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n"
	           "31#2 seal_reply status=0 file=7 epoch=2 seal=2 closed=0 blocks=1 complete=1\n");
}

/* Kept also for a file with no block here, and over a power cut. */
Test(replica_seal, is_durable_without_any_block)
{
	rig_seal(5);
	rig_expect("");
	rig_run();
	rig_expect("31#1 seal_reply status=0 file=7 epoch=5 seal=5 closed=0 blocks=0 complete=1\n");
	rig_reopen(true);
	rig_write(0, VERSION_NONE, ver(4, 1), 0, 1, 'a');
	rig_expect("31#2 write_reply status=2 file=7 block=0 asked=4.1 durable=0.0 closed=0 seal=5 "
	           "space=0 pages=0\n");
	rig_write(0, VERSION_NONE, ver(5, 1), 0, 1, 'a');
	rig_run();
	rig_expect("31#3 write_reply status=0 file=7 block=0 asked=5.1 durable=5.1 closed=0 seal=5 "
	           "space=0 pages=1\n");
}

Test(replica_seal, refuses_lower_epochs_and_names_the_one_it_met)
{
	rig_seal(5);
	rig_run();
	rig_seal(4);
	rig_seal(5);
	rig_expect("31#1 seal_reply status=0 file=7 epoch=5 seal=5 closed=0 blocks=0 complete=1\n"
	           "31#2 seal_reply status=2 file=7 epoch=4 seal=5 closed=0 blocks=0 complete=0\n"
	           "31#3 seal_reply status=0 file=7 epoch=5 seal=5 closed=0 blocks=0 complete=1\n");
	rig_read(4, 0, 0, 1, VERSION_NONE);
	rig_list(4, 0, UINT64_MAX, 10);
	rig_expect("31#4 read_reply status=2 file=7 block=0 off=0 len=4096 version=0.0 closed=0 seal=5 "
	           "present=[0] sums=[0]\n"
	           "31#5 list_reply status=2 file=7 seal=5 closed=0 next=0 more=0 entries=[0]\n");
}

/* Two recoveries at once: only the higher one gets its seal. */
Test(replica_seal, overtaken_by_a_higher_one_is_refused)
{
	rig_seal(2);
	rig_seal(3);
	rig_run();
	rig_expect("31#1 seal_reply status=2 file=7 epoch=2 seal=3 closed=0 blocks=0 complete=1\n"
	           "31#2 seal_reply status=0 file=7 epoch=3 seal=3 closed=0 blocks=0 complete=1\n");
}

/* A repeated seal is one seal, answered to the newest request. */
Test(replica_seal, repeated_while_it_waits_is_answered_once)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_seal(2);
	rig_seal(2);
	rig_run();
	rig_expect("31#1 write_reply status=2 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n"
	           "31#3 seal_reply status=0 file=7 epoch=2 seal=2 closed=0 blocks=1 complete=1\n");
}

/* A write of a higher epoch raises the seal, durably with itself. */
Test(replica_seal, is_raised_by_a_write)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, ver(1, 1), ver(3, 1), 0, 1, 'b');
	rig_run();
	rig_expect("31#1 write_reply status=2 file=7 block=0 asked=1.1 durable=3.1 closed=0 seal=3 "
	           "space=0 pages=1\n"
	           "31#2 write_reply status=0 file=7 block=0 asked=3.1 durable=3.1 closed=0 seal=3 "
	           "space=0 pages=1\n");
	rig_reopen(true);
	rig_seal(2);
	rig_expect("31#3 seal_reply status=2 file=7 epoch=2 seal=3 closed=0 blocks=0 complete=0\n");
}

/* A read that began before the seal answers with the seal, not with data. */
Test(replica_seal, ends_reads_of_lower_epochs_on_their_way)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_run();
	rig.log_len = 0;
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_seal(2);
	rig_run();
	cr_assert_null(strstr(rig.log, "31#2 read_reply status=0"), "%s", rig.log);
	cr_assert_not_null(strstr(rig.log, "31#2 read_reply status=2"), "%s", rig.log);
}

/* The planted bug of A2 does what it says. */
Test(replica_seal_bug, ack_after_seal, .fini = rig_stop)
{
	const char *seal, *ack;

	rig_start_with(REPLICA_BUG_ACK_AFTER_SEAL);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_seal(2);
	rig_run();
	ack = strstr(rig.log, "31#1 write_reply status=0");
	seal = strstr(rig.log, "31#2 seal_reply status=0");
	cr_assert_not_null(ack);
	cr_assert_not_null(seal);
	cr_assert_lt(seal, ack);
}
