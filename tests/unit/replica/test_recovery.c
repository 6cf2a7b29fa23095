/* Recovery and repair: installs, lists and the closing of the past (traps A1, A5, B2). */
#include "tests/unit/replica/rig.h"

#include <stdio.h>

TestSuite(replica_recovery, .init = rig_start, .fini = rig_stop);

static void forget_log(void)
{
	rig_run();
	rig.log_len = 0;
	rig.log[0] = '\0';
}

/* The entries of the last list reply as "block:version:closed:flags". */
static void expect_entries(const char *want)
{
	char text[2048] = "";
	size_t len = 0;

	for (uint32_t at = 0; at < rig.entries_len; at += LIST_ENTRY_BYTES) {
		const uint8_t *e = rig.entries + at;
		uint64_t block = get_u64le(e);
		char name[24];

		snprintf(name, sizeof(name), "%" PRIu64, block);
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s:%" PRIu64 ".%" PRIu64
		                        ":%" PRIu64 ":%u", at == 0 ? "" : " ",
		                        block == BLOCK_ATTR ? "attr" : name, get_u64le(e + 8),
		                        get_u64le(e + 16), get_u64le(e + 24), e[32]);
	}
	cr_assert_str_eq(text, want);
	rig.entries_len = 0;
}

static void list_all(uint64_t epoch)
{
	forget_log();
	rig.entries_len = 0;
	rig_list(epoch, 0, UINT64_MAX, 60);
}

Test(replica_recovery, lists_blocks_in_order_with_the_attribute_record_last)
{
	rig_write(BLOCK_ATTR, VERSION_NONE, ver(1, 1), 0, 1, 'm');
	rig_write(5, VERSION_NONE, ver(1, 2), 0, 1, 'a');
	rig_write(2, VERSION_NONE, ver(1, 3), 0, 1, 'a');
	rig_zero(2, ver(1, 3), ver(1, 4), 0, BLOCK_BYTES);
	list_all(1);
	expect_entries("2:1.4:0:1 5:1.2:0:0 attr:1.1:0:0");
	rig_list(1, 0, UINT64_MAX, 2);
	expect_entries("2:1.4:0:1 5:1.2:0:0");
	cr_assert_not_null(strstr(rig.log, "next=18446744073709551615 more=1"));
	rig_list(1, 3, 5, 9);
	expect_entries("5:1.2:0:0");
}

Test(replica_recovery, lists_durable_versions_only)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	forget_log();
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'a');
	rig_list(1, 0, UINT64_MAX, 9);
	expect_entries("0:1.1:0:0");
}

/* A1: `closed` counts for all blocks but the exceptions, absent ones included. */
Test(replica_recovery, closes_all_but_the_exceptions)
{
	uint64_t exceptions[] = {3, 9};

	rig_write(2, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(3, VERSION_NONE, ver(1, 2), 0, 1, 'a');
	rig_seal(2);
	forget_log();
	rig_close(2, false, 2, exceptions);
	rig_expect("");
	rig_run();
	rig_expect("31#4 close_reply status=0 file=7 epoch=2 seal=2\n");
	list_all(2);
	rig_expect("31#5 list_reply status=0 file=7 seal=2 closed=2 next=0 more=0 entries=[111]\n");
	expect_entries("2:1.1:2:0 3:1.2:0:0 9:0.0:0:1");
	rig_reopen(true);
	list_all(2);
	expect_entries("2:1.1:2:0 3:1.2:0:0 9:0.0:0:1");
}

/* `closed` never falls: a block that becomes an exception keeps what an earlier recovery said, or
 * what that one had ruled out would win over it. */
Test(replica_recovery, keeps_what_was_closed_when_a_block_becomes_an_exception)
{
	uint64_t exceptions[] = {2, 4, BLOCK_ATTR};

	rig_write(2, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_seal(2);
	rig_run();
	rig_close(2, false, 0, NULL);
	rig_seal(5);
	rig_run();
	rig_close(5, false, 3, exceptions);
	list_all(5);
	expect_entries("2:1.1:2:0 4:0.0:2:1 attr:0.0:2:1");
	rig_reopen(true);
	list_all(5);
	expect_entries("2:1.1:2:0 4:0.0:2:1 attr:0.0:2:1");
	/* The block without a record is still one that was never written. */
	forget_log();
	rig_write(4, VERSION_NONE, ver(5, 1), 3, 1, 'n');
	rig_run();
	cr_assert_not_null(strstr(rig.log, "status=0 file=7 block=4 asked=5.1 durable=5.1 closed=2"),
	                   "%s", rig.log);
}

Test(replica_recovery, closes_only_the_epoch_it_is_sealed_at)
{
	rig_seal(4);
	forget_log();
	rig_close(3, false, 0, NULL);
	rig_close(5, true, 0, NULL);
	rig_expect("31#2 close_reply status=2 file=7 epoch=3 seal=4\n"
	           "31#3 close_reply status=14 file=7 epoch=5 seal=4\n");
}

/* Close and a higher seal at once: the close of the lower epoch is not acknowledged. */
Test(replica_recovery, close_overtaken_by_a_seal_is_refused)
{
	rig_seal(2);
	forget_log();
	rig_close(2, false, 0, NULL);
	rig_seal(3);
	rig_run();
	rig_expect("31#2 close_reply status=2 file=7 epoch=2 seal=3\n"
	           "31#3 seal_reply status=0 file=7 epoch=3 seal=3 closed=2 blocks=0 complete=1\n");
}

Test(replica_recovery, installs_a_copy_with_its_version_and_closed)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 4, 'a');
	forget_log();
	rig_install(2, 0, ver(1, 1), 0, ver(1, 3), 2, 0x6, 'z');
	rig_expect("");
	rig_run();
	rig_expect("31#2 install_reply status=0 file=7 block=0 asked=1.3 durable=1.3 closed=2 seal=2 "
	           "space=0 pages=2\n");
	rig_read(2, 0, 0, 4, ver(1, 3));
	rig_run();
	rig_expect("31#3 read_reply status=0 file=7 block=0 off=0 len=16384 version=1.3 closed=2 seal=2 "
	           "present=[1] sums=[16] payload=8192\n");
	cr_assert_eq(rig.payload->data[0], 'z');
	/* The install raised the seal: a late write of epoch 1 is refused. */
	rig_write(0, ver(1, 3), ver(1, 4), 0, 1, 'l');
	rig_expect("31#4 write_reply status=2 file=7 block=0 asked=1.4 durable=1.3 closed=2 seal=2 "
	           "space=0 pages=2\n");
}

/* B2: only on the version the copy was made for. */
Test(replica_recovery, does_not_install_over_a_block_that_moved)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	forget_log();
	rig_install(1, 0, ver(1, 1), 0, ver(1, 5), 0, 1, 'z');
	rig_expect("31#3 install_reply status=14 file=7 block=0 asked=1.5 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
	/* Moved by a write that is accepted and not durable: also then. */
	rig_write(0, ver(1, 2), ver(1, 3), 0, 1, 'c');
	rig_install(1, 0, ver(1, 2), 0, ver(1, 5), 0, 1, 'z');
	rig_expect("31#5 install_reply status=14 file=7 block=0 asked=1.5 durable=1.2 closed=0 seal=1 "
	           "space=0 pages=1\n");
}

/* A5: a copy of lower rank is not repair. */
Test(replica_recovery, does_not_install_what_is_behind)
{
	rig_write(0, VERSION_NONE, ver(1, 9), 0, 1, 'a');
	forget_log();
	rig_install(2, 0, ver(1, 9), 0, ver(1, 8), 0, 1, 'z');
	rig_install(2, 0, ver(1, 4), 0, ver(1, 8), 0, 1, 'z');
	rig_expect("31#2 install_reply status=4 file=7 block=0 asked=1.8 durable=1.9 closed=0 seal=1 "
	           "space=0 pages=1\n"
	           "31#3 install_reply status=4 file=7 block=0 asked=1.8 durable=1.9 closed=0 seal=1 "
	           "space=0 pages=1\n");
	/* What a recovery closed is ahead of it, lower version or not (A1). */
	rig_install(2, 0, ver(1, 9), 0, ver(1, 8), 2, 1, 'z');
	rig_run();
	rig_expect("31#4 install_reply status=0 file=7 block=0 asked=1.8 durable=1.8 closed=2 seal=2 "
	           "space=0 pages=1\n");
}

Test(replica_recovery, answers_a_repeated_install_when_it_is_durable)
{
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 3), 1, 1, 'z');
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 3), 1, 1, 'z');
	rig_expect("");
	rig_run();
	rig_expect("31#2 install_reply status=0 file=7 block=0 asked=1.3 durable=1.3 closed=1 seal=1 "
	           "space=0 pages=1\n");
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 3), 1, 1, 'z');
	rig_expect("31#3 install_reply status=0 file=7 block=0 asked=1.3 durable=1.3 closed=1 seal=1 "
	           "space=0 pages=1\n");
}

/* --- records of the index that rotted --- */

static void on_checkpoint(void *ctx, int rc)
{
	int *out = ctx;

	*out = rc;
}

/* Moves all to the index, flips a bit in the first record of `kind` there, and starts again. */
static void rot_record(char kind)
{
	uint8_t copy[4096], key_copy[KV_KEY_BYTES_MAX];
	struct kv_span key, value;
	int result = 1;

	forget_log();
	store_checkpoint(rig.store, on_checkpoint, &result);
	while (result == 1)
		rig_run();
	cr_assert_eq(result, 0);
	cr_assert_eq(kv_begin(rig.kv), 0);
	cr_assert_eq(kv_seek(rig.kv, (struct kv_span){&kind, 1}, &key, &value), 0);
	cr_assert_eq(*(const char *)key.p, kind);
	cr_assert_leq(value.len, sizeof(copy));
	memcpy(copy, value.p, value.len);
	copy[value.len / 2] ^= 4;
	memcpy(key_copy, key.p, key.len);
	cr_assert_eq(kv_put(rig.kv, (struct kv_span){key_copy, key.len},
	                    (struct kv_span){copy, value.len}), 0);
	cr_assert_eq(kv_commit(rig.kv), 0);
	rig_reopen(false);
}

/* A block lost to damage counts for nothing, and only all of a copy brings it back. */
Test(replica_recovery, does_not_count_for_a_damaged_block)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 16, 'a');
	rig_write(9, VERSION_NONE, ver(1, 2), 0, 1, 'a');
	rot_record('B');
	rig_list(1, 0, 3, 9);
	rig_expect("31#3 list_reply status=6 file=7 seal=1 closed=0 next=0 more=0 entries=[37]\n");
	expect_entries("0:0.0:0:0");
	rig_list(1, 1, UINT64_MAX, 9);
	expect_entries("9:1.2:0:0");
	forget_log();
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_run();
	rig_expect("31#5 write_reply status=8 file=7 block=0 asked=1.1 durable=0.0 closed=0 seal=1 "
	           "space=0 pages=0\n"
	           "31#6 read_reply status=8 file=7 block=0 off=0 len=4096 version=0.0 closed=0 seal=1 "
	           "present=[0] sums=[0]\n");
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 1), 0, 0x3, 'a');
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#7 install_reply status=0"), "%s", rig.log);
	list_all(1);
	expect_entries("0:1.1:0:0 9:1.2:0:0");
}

Test(replica_recovery, takes_no_part_of_a_copy_for_a_damaged_block)
{
	uint8_t bits[2] = {1, 0};
	struct msg m = {.type = MSG_TYPE_install, .install = {.file = FILE_7, .map = MAP, .epoch = 1,
		.block_shift = SHIFT, .version = {1, 1}, .zero = {bits, 2}}};

	rig_write(0, VERSION_NONE, ver(1, 1), 0, 16, 'a');
	rot_record('B');
	rig_send(&m);
	rig_expect("31#2 install_reply status=8 file=7 block=0 asked=1.1 durable=0.0 closed=0 seal=1 "
	           "space=0 pages=0\n");
}

/* With the file's record its seal and its completeness are gone: as on a new disk. */
Test(replica_recovery, starts_anew_with_a_damaged_file_record)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 16, 'a');
	rot_record('F');
	rig_list(1, 0, UINT64_MAX, 9);
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	expect_entries("0:1.1:0:0"); /* to see what must be replaced; they count for nothing */
	rig_expect("31#2 list_reply status=6 file=7 seal=0 closed=0 next=0 more=0 entries=[37]\n"
	           "31#3 write_reply status=6 file=7 block=0 asked=1.2 durable=1.1 closed=0 seal=0 "
	           "space=0 pages=16\n");
	rig_seal(4);
	forget_log();
	rig_close(4, true, 0, NULL);
	rig_run();
	rig_expect("31#5 close_reply status=0 file=7 epoch=4 seal=4\n");
	rig_reopen(true);
	rig_write(0, ver(1, 1), ver(4, 1), 0, 1, 'b');
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#6 write_reply status=0 file=7 block=0 asked=4.1 "
	                                   "durable=4.1 closed=4 seal=4"), "%s", rig.log);
}

/* The planted bug of B2 does what it says. */
Test(replica_recovery_bug, install_blind, .fini = rig_stop)
{
	rig_start_with(REPLICA_BUG_INSTALL_BLIND);
	rig_write(0, VERSION_NONE, ver(1, 9), 0, 1, 'a');
	rig_run();
	rig_install(1, 0, ver(1, 1), 0, ver(1, 5), 0, 1, 'z');
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#2 install_reply status=0"));
}

/* The planted bug of A1 does what it says. */
Test(replica_recovery_bug, no_closed, .fini = rig_stop)
{
	rig_start_with(REPLICA_BUG_NO_CLOSED);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_seal(2);
	rig_run();
	rig_close(2, false, 0, NULL);
	list_all(2);
	expect_entries("0:1.1:0:0");
}
