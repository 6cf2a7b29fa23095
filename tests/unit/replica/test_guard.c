/* What is refused before the protocol looks at it: no session, wrong map, files not held
 * completely, bytes that make no sense. */
#include "tests/unit/replica/rig.h"

TestSuite(replica_guard, .init = rig_start, .fini = rig_stop);

static void drop_log(void)
{
	rig_run();
	rig.log_len = 0;
	rig.log[0] = '\0';
}

static uint64_t malformed(void)
{
	struct replica_stats stats;

	replica_get_stats(rig.replica, &stats);
	return stats.malformed;
}

/* P5: without a session nothing is served, reads included (A10c). */
Test(replica_guard, serves_nothing_without_a_session)
{
	struct msg space = {.type = MSG_TYPE_space, .space = {.want = 4096}};

	replica_set_session(rig.replica, rig.now, 0);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_seal(2);
	rig_install(2, 0, VERSION_NONE, 0, ver(1, 3), 2, 1, 'z');
	rig_list(2, 0, UINT64_MAX, 9);
	rig_close(2, false, 0, NULL);
	rig_send(&space);
	rig_run();
	for (const char *at = rig.log; *at != '\0'; at = strchr(at, '\n') + 1) {
		const char *status = strstr(at, "status=");

		cr_assert_eq(strncmp(status, "status=1 ", 9), 0, "%s", at);
	}
	cr_assert_not_null(strstr(rig.log, "31#7 space_reply"));
}

/* The session may end while the disk is busy. */
Test(replica_guard, answers_no_read_that_ends_after_the_session)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	drop_log();
	rig_read(1, 0, 0, 1, VERSION_NONE);
	replica_set_session(rig.replica, rig.now, 0);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#2 read_reply status=1 "), "%s", rig.log);
}

Test(replica_guard, refuses_an_earlier_map_version)
{
	struct msg m = {.type = MSG_TYPE_seal, .seal = {FILE_7, MAP - 1, 9}};

	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_send(&m);
	rig_expect("31#2 seal_reply status=5 file=7 epoch=9 seal=0 closed=0 blocks=0 complete=0\n");
	drop_log();
	rig_reopen(true);
	rig_send(&m);
	rig_expect("31#3 seal_reply status=5 file=7 epoch=9 seal=1 closed=0 blocks=0 complete=0\n");
}

/* A4, A8: unknown, never zeros, for a file that was there before this disk. */
Test(replica_guard, says_unknown_until_told_that_the_file_is_complete)
{
	replica_set_session(rig.replica, NSEC_NEVER, FILE_7);
	rig_run();
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_list(1, 0, UINT64_MAX, 9);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_expect("31#1 read_reply status=6 file=7 block=0 off=0 len=4096 version=0.0 closed=0 seal=0 "
	           "present=[0] sums=[0]\n"
	           "31#2 list_reply status=6 file=7 seal=0 closed=0 next=0 more=0 entries=[0]\n"
	           "31#3 write_reply status=6 file=7 block=0 asked=1.1 durable=0.0 closed=0 seal=0 "
	           "space=0 pages=0\n");
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 3), 1, 1, 'z');
	rig_seal(1);
	drop_log();
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_close(1, true, 0, NULL);
	rig_run();
	rig_expect("31#6 read_reply status=6 file=7 block=0 off=0 len=4096 version=1.3 closed=1 seal=1 "
	           "present=[0] sums=[0]\n"
	           "31#7 close_reply status=0 file=7 epoch=1 seal=1\n");
	rig_reopen(true);
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_read(1, 4, 0, 1, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#8 read_reply status=0"), "%s", rig.log);
	cr_assert_not_null(strstr(rig.log, "31#9 read_reply status=0"), "%s", rig.log);
}

/* The refilling holder may look at what is there. */
Test(replica_guard, shows_blocks_of_an_incomplete_file_to_repair)
{
	struct msg m = {.type = MSG_TYPE_read, .read = {.file = FILE_7, .map = MAP, .epoch = 1,
		.block_shift = SHIFT, .flags = READ_REPAIR | READ_SUMS_ONLY, .len = 2 * PAGE_BYTES}};

	replica_set_session(rig.replica, NSEC_NEVER, FILE_7);
	rig_install(1, 0, VERSION_NONE, 0, ver(1, 3), 1, 1, 'z');
	drop_log();
	rig_send(&m);
	m.read.block = 1;
	rig_send(&m);
	rig_run();
	rig_expect("31#2 read_reply status=0 file=7 block=0 off=0 len=8192 version=1.3 closed=1 seal=1 "
	           "present=[1] sums=[8]\n"
	           "31#3 read_reply status=6 file=7 block=1 off=0 len=8192 version=0.0 closed=0 seal=1 "
	           "present=[0] sums=[0]\n");
}

/* A8: when complete_from rises, the disk has lost its memory: its word on completeness is void. */
Test(replica_guard, doubts_its_records_when_complete_from_rises)
{
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	drop_log();
	replica_set_session(rig.replica, NSEC_NEVER, 20);
	rig_read(1, 0, 0, 1, VERSION_NONE);
	cr_assert_not_null(strstr(rig.log, "31#2 read_reply status=6"), "%s", rig.log);
	rig_run();
	rig_reopen(true);
	rig_seal(1);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#3 seal_reply status=0 file=7 epoch=1 seal=1 closed=0 "
	                                   "blocks=1 complete=0"), "%s", rig.log);
	rig_close(1, true, 0, NULL);
	drop_log();
	rig_reopen(true);
	replica_set_session(rig.replica, NSEC_NEVER, 20);
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#5 read_reply status=0"), "%s", rig.log);
}

/* P9: sizes from the wire are checked before use. */
Test(replica_guard, refuses_writes_that_do_not_add_up)
{
	struct iobuf *page = iobuf_new(PAGE_BYTES);
	uint8_t sum[8] = {0};
	const struct msg_write good = {.file = FILE_7, .map = MAP, .epoch = 1, .block_shift = SHIFT,
		.len = PAGE_BYTES, .version = {1, 1}, .sums = {sum, 8}};
	struct msg m = {.type = MSG_TYPE_write, .payload = {page, 0, PAGE_BYTES}};
	unsigned n = 0;

#define REFUSES(change) \
	m.write = good; \
	change; \
	rig_send(&m); \
	cr_assert_eq(malformed(), ++n, "%s", #change)

	REFUSES(m.write.file = 0);
	REFUSES(m.write.file = UINT64_MAX);
	REFUSES(m.write.epoch = 0);
	REFUSES(m.write.epoch = 2);
	REFUSES(m.write.block_shift = 8);
	REFUSES(m.write.block_shift = 200);
	REFUSES(m.write.block = FILE_BYTES_MAX >> SHIFT);
	REFUSES(m.write.off = BLOCK_BYTES);
	REFUSES(m.write.off = 0xffffffff);
	REFUSES(m.write.len = 0);
	REFUSES(m.write.len = 2 * PAGE_BYTES);
	REFUSES(m.write.op = 7);
	REFUSES(m.write.op = WRITE_ZERO);
	REFUSES(m.write.sums.len = 0);
	REFUSES(m.write.prev = m.write.version);
	REFUSES(m.write.version.n = 0);
#undef REFUSES
	iobuf_put(page);
	rig_run();
	cr_assert_null(strstr(rig.log, "status=0"), "%s", rig.log);
}

/* A sum that does not fit the data is the sender's mistake, not the disk's. */
Test(replica_guard, refuses_data_that_fails_its_own_sum)
{
	struct iobuf *page = iobuf_new(PAGE_BYTES);
	uint8_t sum[8] = {1};
	struct replica_bad bad;
	struct msg m = {.type = MSG_TYPE_write, .payload = {page, 0, PAGE_BYTES}};

	memset(page->data, 'q', PAGE_BYTES);
	m.write = (struct msg_write){.file = FILE_7, .map = MAP, .epoch = 1, .block_shift = SHIFT,
		.len = PAGE_BYTES, .version = {1, 1}, .sums = {sum, 8}};
	rig_send(&m);
	iobuf_put(page);
	rig_run();
	rig_expect("31#1 write_reply status=13 file=7 block=0 asked=1.1 durable=0.0 closed=0 seal=0 "
	           "space=0 pages=0\n");
	cr_assert_eq(replica_get_bad(rig.replica, &bad, 1), 0);
	cr_assert(!replica_disk_failed(rig.replica));
}

Test(replica_guard, refuses_senseless_reads_lists_and_installs)
{
	uint8_t bits[4] = {1, 0, 0, 0}, sums[8] = {0}, unsorted[16] = {5};
	struct msg m = {.type = MSG_TYPE_read, .read = {.file = FILE_7, .map = MAP, .epoch = 1,
		.block_shift = SHIFT, .off = 100, .len = PAGE_BYTES}};

	rig_send(&m);
	m.read.off = 0;
	m.read.flags = 0x80;
	rig_send(&m);
	m.type = MSG_TYPE_list;
	m.list = (struct msg_list){FILE_7, MAP, 1, 5, 4, 10};
	rig_send(&m);
	m.type = MSG_TYPE_install;
	m.install = (struct msg_install){.file = FILE_7, .map = MAP, .epoch = 1, .block_shift = SHIFT,
		.version = {1, 1}, .set = {bits, 2}, .sums = {sums, 8}};
	rig_send(&m); /* a page without its bytes */
	m.install.set.len = 4;
	rig_send(&m); /* more bits than pages */
	m.install.set.len = 0;
	m.install.sums.len = 0;
	m.install.closed = 2;
	rig_send(&m); /* closed above the epoch */
	m.type = MSG_TYPE_close;
	m.close = (struct msg_close){FILE_7, MAP, 1, 0, {unsorted, 16}};
	rig_send(&m);
	m.type = MSG_TYPE_raft;
	rig_send(&m); /* not for a core server at all */
	cr_assert_eq(malformed(), 8, "%s", rig.log);
}

/* The planted bugs of A8 and A10 do what they say. */
Test(replica_guard_bug, blank_counts, .fini = rig_stop)
{
	rig_start_with(REPLICA_BUG_BLANK_COUNTS);
	replica_set_session(rig.replica, NSEC_NEVER, FILE_7);
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#1 read_reply status=0"));
}

Test(replica_guard_bug, serves_fenced, .fini = rig_stop)
{
	rig_start_with(REPLICA_BUG_SERVES_FENCED);
	replica_set_session(rig.replica, rig.now, 0);
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#1 read_reply status=0"));
}
