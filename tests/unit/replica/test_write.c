/* Version chains: what is accepted, what is answered, and when (design section 5, trap A6). */
#include "tests/unit/replica/rig.h"

TestSuite(replica_write, .init = rig_start, .fini = rig_stop);

/* P1: an acknowledgement means durable. */
Test(replica_write, is_acknowledged_only_when_durable)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_expect("");
	rig_run();
	rig_expect("31#1 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_reopen(true);
	rig_read(1, 0, 0, 1, ver(1, 1));
	rig_run();
	rig_expect("31#2 read_reply status=0 file=7 block=0 off=0 len=4096 version=1.1 closed=0 seal=1 "
	           "present=[1] sums=[8] payload=4096\n");
	cr_assert_eq(rig.payload->data[4095], 'a');
}

Test(replica_write, chains_on_what_is_accepted_and_answers_in_order)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, ver(1, 1), ver(1, 2), 1, 1, 'b');
	rig_write(0, ver(1, 2), ver(1, 5), 0, 1, 'c');
	rig_expect("");
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#3 write_reply status=0 file=7 block=0 asked=1.5 "
	                                   "durable=1.5"));
	cr_assert_lt(strstr(rig.log, "31#1"), strstr(rig.log, "31#2"));
	cr_assert_lt(strstr(rig.log, "31#2"), strstr(rig.log, "31#3"));
}

Test(replica_write, reports_a_gap_with_what_is_durable)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_run();
	rig_expect("31#1 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_write(0, ver(1, 2), ver(1, 3), 0, 1, 'c');
	rig_expect("31#2 write_reply status=3 file=7 block=0 asked=1.3 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
}

/* A5: nobody repairs a replica that is ahead. */
Test(replica_write, says_ahead_when_the_predecessor_is_older)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	rig_run();
	/* One commit made both durable: the first ack says so. */
	rig_expect("31#1 write_reply status=0 file=7 block=0 asked=1.1 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n"
	           "31#2 write_reply status=0 file=7 block=0 asked=1.2 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_write(0, ver(1, 1), ver(2, 1), 0, 1, 'c');
	rig_expect("31#3 write_reply status=4 file=7 block=0 asked=2.1 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
	/* It changed nothing: epoch 1 goes on. */
	rig_write(0, ver(1, 2), ver(1, 3), 0, 1, 'd');
	rig_run();
	rig_expect("31#4 write_reply status=0 file=7 block=0 asked=1.3 durable=1.3 closed=0 seal=1 "
	           "space=0 pages=1\n");
}

/* A6c: a repeat is answered with what is durable, when it is; the newest request id gets it. */
Test(replica_write, answers_a_repeat_only_when_durable)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_expect("");
	rig_run();
	rig_expect("31#2 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_expect("31#4 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_run();
	rig_expect("31#3 write_reply status=0 file=7 block=0 asked=1.2 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
	struct replica_stats stats;

	replica_get_stats(rig.replica, &stats);
	cr_assert_eq(stats.writes, 2);
}

/* A crash between acceptance and durability leaves a prefix, and the chain goes on from there. */
Test(replica_write, that_was_not_durable_can_be_sent_again_after_a_crash)
{
	struct version at = VERSION_NONE;

	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_run();
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	rig_expect("31#1 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n");
	rig_reopen(true);
	rig_read(1, 0, 0, 1, at);
	rig_run();
	rig_expect("31#3 read_reply status=0 file=7 block=0 off=0 len=4096 version=1.1 closed=0 seal=1 "
	           "present=[1] sums=[8] payload=4096\n");
	cr_assert_eq(rig.payload->data[0], 'a');
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	rig_run();
	rig_expect("31#4 write_reply status=0 file=7 block=0 asked=1.2 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
}

Test(replica_write, merges_part_of_a_page_into_what_is_there)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write_part(0, ver(1, 1), ver(1, 2), 100, 10, 'b');
	rig_run();
	rig.log_len = 0;
	rig.log[0] = '\0';
	rig_read(1, 0, 0, 1, ver(1, 2));
	rig_run();
	cr_assert_eq(rig.payload->data[99], 'a');
	cr_assert_eq(rig.payload->data[100], 'b');
	cr_assert_eq(rig.payload->data[110], 'a');
}

/* A7d: a punched block keeps its version. */
Test(replica_write, of_zeros_keeps_the_version)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 16, 'a');
	rig_zero(0, ver(1, 1), ver(1, 2), 0, BLOCK_BYTES);
	rig_run();
	rig.log_len = 0;
	rig_read(1, 0, 0, 2, ver(1, 2));
	rig_run();
	rig_expect("31#3 read_reply status=0 file=7 block=0 off=0 len=8192 version=1.2 closed=0 seal=1 "
	           "present=[1] sums=[0]\n");
}

/* The holder reads its own writes: a version that is accepted is waited for. */
Test(replica_write, is_waited_for_by_a_read_that_names_it)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_read(1, 0, 0, 1, ver(1, 1));
	rig_read(1, 0, 0, 1, ver(1, 9));
	rig_expect("31#3 read_reply status=3 file=7 block=0 off=0 len=4096 version=0.0 closed=0 seal=0 "
	           "present=[0] sums=[0]\n");
	rig_run();
	rig_expect("31#1 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1 closed=0 seal=1 "
	           "space=0 pages=1\n"
	           "31#2 read_reply status=0 file=7 block=0 off=0 len=4096 version=1.1 closed=0 seal=1 "
	           "present=[1] sums=[8] payload=4096\n");
}

/* The attribute record is a block of one page. */
Test(replica_write, of_the_attribute_record_takes_one_page)
{
	rig_write(BLOCK_ATTR, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(BLOCK_ATTR, ver(1, 1), ver(1, 2), 1, 1, 'a');
	rig_run();
	rig_expect("31#2 write_reply status=13 file=7 block=18446744073709551615 asked=1.2 durable=0.0 "
	           "closed=0 seal=0 space=0 pages=0\n"
	           "31#1 write_reply status=0 file=7 block=18446744073709551615 asked=1.1 durable=1.1 "
	           "closed=0 seal=1 space=0 pages=1\n");
}

/* The planted bug of A6 does what it says: a repeat is acknowledged before it is durable. */
Test(replica_write_bug, dup_acked_early, .fini = rig_stop)
{
	rig_start_with(REPLICA_BUG_DUP_ACKED_EARLY);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	cr_assert_not_null(strstr(rig.log, "31#2 write_reply status=0 file=7 block=0 asked=1.1 durable=1.1"));
}
