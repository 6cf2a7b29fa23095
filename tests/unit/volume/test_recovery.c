/* Recovery: seal, list, decide, copy, close - and only then serve. */
#include <criterion/criterion.h>

#include "common/base/bytes.h"
#include "tests/unit/volume/world.h"

static void up(void)
{
	world_up();
	w.recover = true;
	w.epoch = 5;
	w.size = 4096;
	w.quiet = true;
}

TestSuite(volume_recovery, .init = up, .fini = world_down);

static void sealed(server_id_t s, bool complete)
{
	struct msg *q = asked(MSG_TYPE_seal, s), r = {.type = MSG_TYPE_seal_reply};

	cr_assert(q);
	r.seal_reply.file = INO;
	r.seal_reply.epoch = r.seal_reply.seal = 5;
	r.seal_reply.complete = complete;
	answer(q, &r);
	settle();
}

/* The server has block 0 at this version, nothing else; version none: not even that. */
static void listed(server_id_t s, struct version version, uint64_t closed)
{
	static uint8_t entry[40][LIST_ENTRY_BYTES];
	struct msg *q = asked(MSG_TYPE_list, s), r = {.type = MSG_TYPE_list_reply};
	uint8_t *e = entry[s];

	cr_assert(q);
	put_u64le(e, 0);
	put_u64le(e + 8, version.epoch);
	put_u64le(e + 16, version.n);
	put_u64le(e + 24, closed);
	r.list_reply.file = INO;
	r.list_reply.seal = 5;
	if (version.n)
		r.list_reply.entries = (struct span){e, LIST_ENTRY_BYTES};
	answer(q, &r);
	settle();
}

static void closed(server_id_t s)
{
	struct msg *q = asked(MSG_TYPE_close, s), r = {.type = MSG_TYPE_close_reply};

	cr_assert(q);
	r.close_reply.file = INO;
	r.close_reply.epoch = r.close_reply.seal = 5;
	answer(q, &r);
	settle();
}

/* A1: two of three have the newest; the third becomes an exception and stale, and nothing is served
 * before `closed` is durable on the pair. */
Test(volume_recovery, closes_before_it_serves)
{
	uint64_t h = opened();
	struct vol_req *read = reads(h, 0, 4096);

	expect("op_lease mode=1\n11 seal\n21 seal\n31 seal\n");
	sealed(11, true);
	sealed(21, true);
	sealed(31, true);
	expect("11 list from 0\n21 list from 0\n31 list from 0\n");
	listed(11, (struct version){1, 9}, 0);
	listed(21, (struct version){1, 9}, 0);
	listed(31, (struct version){1, 8}, 0);
	expect("11 close 5 exceptions 0\n21 close 5 exceptions 0\n31 close 5 exceptions 1\n");
	cr_assert_eq(rc_of(read), PENDING_RC);
	closed(11);
	expect("");
	closed(21);
	closed(31);
	/* What lies beyond the size is cut off, too. */
	expect("11 write 0 zero [4096,+61440) 1.9 -> 5.1\n"
	       "21 write 0 zero [4096,+61440) 1.9 -> 5.1\n"
	       "11 read 0 [0,+4096)\n");
}

/* The highest rank wins, not the highest version: what an earlier recovery ruled out stays out. */
Test(volume_recovery, closed_outranks_a_higher_version)
{
	uint64_t h = opened();

	reads(h, 0, 4096);
	sealed(11, true);
	sealed(21, true);
	sealed(31, true);
	forget_trace();
	listed(11, (struct version){3, 9}, 0);
	listed(21, (struct version){2, 1}, 4);
	listed(31, (struct version){2, 1}, 4);
	expect("11 close 5 exceptions 1\n21 close 5 exceptions 0\n31 close 5 exceptions 0\n");
}

/* Only one has the winner: it is copied, whole, to a second one before anything is closed. */
Test(volume_recovery, winner_gets_a_second_replica)
{
	uint64_t h = opened();

	reads(h, 0, 4096);
	sealed(11, true);
	sealed(21, true);
	sealed(31, true);
	forget_trace();
	listed(11, (struct version){1, 8}, 0);
	listed(21, (struct version){1, 9}, 0);
	listed(31, (struct version){1, 7}, 0);
	expect("11 read 0 [0,+65536) sums\n");
}

/* The last server gets 150 ms once every block has two, then the others go on. */
Test(volume_recovery, waits_a_little_for_the_third)
{
	uint64_t h = opened();

	reads(h, 0, 4096);
	sealed(11, true);
	sealed(21, true);
	forget_trace();
	listed(11, (struct version){1, 9}, 0);
	listed(21, (struct version){1, 9}, 0);
	pass(130 * NSEC_MSEC);
	expect("");
	pass(30 * NSEC_MSEC);
	expect("11 close 5 exceptions 0\n21 close 5 exceptions 0\n");
}

/* A8: a server that does not hold the file completely is not one of the two. */
Test(volume_recovery, blank_server_counts_for_nothing)
{
	uint64_t h = opened();

	reads(h, 0, 4096);
	sealed(11, true);
	sealed(21, false);
	listed(11, (struct version){1, 8}, 0);
	forget_trace();
	pass(180 * NSEC_MSEC);
	expect("");
	sealed(31, true);
	listed(31, (struct version){1, 9}, 0);
	expect("31 list from 0\n11 read 0 [0,+65536) sums\n");
}

/* A seal above ours: another epoch is needed, and the catalog is told above which. */
Test(volume_recovery, higher_seal_gives_the_file_back_unclean)
{
	uint64_t h = opened();
	struct msg *q, r = {.type = MSG_TYPE_seal_reply};

	reads(h, 0, 4096);
	forget_trace();
	q = asked(MSG_TYPE_seal, 11);
	r.seal_reply.file = INO;
	r.seal_reply.status = STATUS_SEALED;
	r.seal_reply.epoch = 5;
	r.seal_reply.seal = 8;
	w.epoch = 9;
	answer(q, &r);
	settle();
	expect("log volume.seal\n"
	       "release to=0 clean=0 size=4096 stale=0\n"
	       "op_lease mode=1\n11 seal\n21 seal\n31 seal\n");
}

/* An epoch whose recovery failed is only given back. When the session ends before that is answered, it
 * is not reclaimed either: nobody compared the replicas. */
Test(volume_recovery, failed_one_is_not_reclaimed)
{
	uint64_t h = opened();
	struct vol_req *read = reads(h, 0, 4096);

	w.no_release = true;
	recall(LEASE_NONE, 4);
	pass(1200 * NSEC_MSEC);
	forget_trace();
	w.reclaimed = 99;
	session_ends();
	cr_assert_eq(w.reclaimed, 0, "only the handle is asked for");
	cr_assert(asked(MSG_TYPE_seal, 11));
	cr_assert_not(asked(MSG_TYPE_read, 11));
	cr_assert_eq(rc_of(read), PENDING_RC);
}
