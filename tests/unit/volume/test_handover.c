/* Leases: recall, release, the end of a session. */
#include <criterion/criterion.h>
#include <fcntl.h>

#include "tests/unit/volume/world.h"

TestSuite(volume_handover, .init = world_up, .fini = world_down);

/* A5: the release waits for the third replica of every block. */
Test(volume_handover, release_waits_for_the_third_replica)
{
	uint64_t h = opened();

	writes(h, 0, 4096, 1, 0);
	op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	settle();
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(100 * NSEC_MSEC);
	expect("invalidate\n");
	ack(31);
	settle();
	expect("release to=0 clean=1 size=4096 stale=0\n");
}

/* ... or for its stale bits, which go with the release entry. */
Test(volume_handover, release_carries_the_bits_of_a_laggard)
{
	uint64_t h = opened();

	writes(h, 0, 4096, 1, 0);
	op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	w.down[31] = true;
	settle();
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(400 * NSEC_MSEC);
	expect("invalidate\n"
	       "release to=0 clean=1 size=4096 stale=2\n");
}

/* What the grant called stale and the holder has repaired is told without a release. */
Test(volume_handover, holder_tells_that_nothing_is_stale_any_more)
{
	uint64_t h = opened();

	w.stale = (struct stale_run){0, 0, 1 << 2};
	writes(h, 0, 4096, 1, 0);
	forget_trace();
	pass(NSEC_SEC + 100 * NSEC_MSEC);
	cr_assert(strstr(w.trace, "release to=2 clean=1 size=0 stale=0\n"));
	forget_trace();
	pass(5 * NSEC_SEC);
	cr_assert_not(strstr(w.trace, "release"));
}

/* A release waits for what is being told. */
Test(volume_handover, release_follows_what_is_told)
{
	uint64_t h = opened();

	w.stale = (struct stale_run){0, 0, 1 << 2};
	w.no_release = true;
	op(VOL_FSYNC, h);
	writes(h, 0, 4096, 1, 0);
	pass(NSEC_SEC + 100 * NSEC_MSEC);
	ack(11);
	ack(21);
	ack(31);
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(200 * NSEC_MSEC);
	w.no_release = false;
	pass(5 * NSEC_SEC);
	cr_assert(strstr(w.trace, "release to=2 clean=1 size=0 stale=0\n"
	                          "release to=0 clean=1 size=4096 stale=0\n"));
}

/* A recall flushes first, and what comes meanwhile waits for the next lease. */
Test(volume_handover, requests_wait_while_the_file_is_handed_over)
{
	uint64_t h = opened();
	struct vol_req *late;

	writes(h, 0, 4096, 1, 0);
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(10 * NSEC_MSEC);
	late = writes(h, 4096, 4096, 2, 0);
	cr_assert_eq(rc_of(late), PENDING_RC);
	w.epoch = 2;
	w.size = 4096;
	ack(11);
	ack(21);
	ack(31);
	pass(5 * NSEC_MSEC);
	cr_assert_eq(rc_of(late), 0, "under the new epoch");
}

/* ... but the first request of a lease is served, however far away its replica is: two who want the
 * file would else take it from each other for ever. */
Test(volume_handover, a_recall_waits_for_the_first_read)
{
	struct msg r = {.type = MSG_TYPE_read_reply}, *q;
	struct vol_req *read;
	uint64_t h;
	static const uint8_t none[1];

	w.size = 4096;
	w.quiet = true;
	h = opened();
	read = reads(h, 0, 4096);
	settle();
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(300 * NSEC_MSEC);
	q = asked(MSG_TYPE_read, 11);
	cr_assert(q);
	r.read_reply.file = INO;
	r.read_reply.len = 4096;
	r.read_reply.present = (struct span){none, 1};
	answer(q, &r);
	settle();
	cr_assert_eq(rc_of(read), 0);
}

/* Nothing is kept for whoever never held it: the recall is answered at once. */
Test(volume_handover, recall_of_nothing_is_acknowledged)
{
	recall(LEASE_NONE, 9);
	settle();
	expect("recall_ack id=9\n");
}

/* ... unless the catalog says that this server holds it: it asks for what it does not know, and gives that
 * back. */
Test(volume_handover, recall_of_an_unknown_lease_takes_it_and_gives_it_back)
{
	w.held = true;
	w.size = 4096;
	w.stale = (struct stale_run){0, 0, 1 << 2};
	recall(LEASE_NONE, 9);
	settle();
	expect("op_lease mode=1\n"
	       "11 list from attr\n"
	       "release to=0 clean=1 size=4096 stale=1\n");
}

/* A late copy of such a recall takes nothing from whoever has the file now. */
Test(volume_handover, late_recall_of_a_lease_leaves_it)
{
	w.held = true;
	recall(LEASE_NONE, 9);
	w.held = false;
	settle();
	expect("op_lease mode=1\n"
	       "recall_ack id=9\n");
	cr_assert_eq(rc_of(op(VOL_FSYNC, opened())), 0);
}

/* A9: the session ended and the file was taken. The dropped write is never hidden by a later success,
 * until the handle is closed; a new open works. */
Test(volume_handover, lost_handles_fail_until_they_are_closed)
{
	uint64_t h = opened(), fresh;

	writes(h, 0, 4096, 1, 0);
	w.lost = true;
	w.mute = false;
	session_ends();
	cr_assert_eq(rc_of(op(VOL_FSYNC, h)), -EIO);
	cr_assert_eq(rc_of(op(VOL_FSYNC, h)), -EIO);
	cr_assert_eq(rc_of(writes(h, 0, 4096, 1, 0)), -EIO);
	op(VOL_CLOSE, h);
	fresh = opened();
	w.epoch = 2;
	cr_assert_eq(rc_of(writes(fresh, 0, 4096, 1, 0)), 0);
}

/* ... and one that ended with nobody asking goes on: same epoch, nothing lost. */
Test(volume_handover, reclaimed_files_go_on)
{
	uint64_t h = opened();
	struct vol_req *sync;

	writes(h, 0, 4096, 1, 0);
	session_ends();
	sync = op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	settle();
	cr_assert_eq(rc_of(sync), 0);
}

/* P5: without a valid session nothing is served; the request waits and is answered later. */
Test(volume_handover, requests_wait_for_the_session)
{
	uint64_t h = opened();
	struct vol_req *read;

	writes(h, 0, 4096, 1, 0);
	w.mute = true;
	pass(6 * NSEC_SEC);
	read = reads(h, 0, 4096);
	pass(NSEC_SEC);
	cr_assert_eq(rc_of(read), PENDING_RC);
	w.mute = false;
	pass(NSEC_SEC);
	cr_assert_eq(rc_of(read), 0);
}

/* ... or until its caller is interrupted. */
Test(volume_handover, interrupted_requests_end)
{
	uint64_t h = opened();
	struct vol_req *read;

	w.mute = true;
	pass(6 * NSEC_SEC);
	read = reads(h, 0, 4096);
	vol_interrupt(w.volume, read);
	settle();
	cr_assert_eq(rc_of(read), -EINTR);
}

/* A lock outlives the lease it was taken beside: of the lease nothing is reclaimed, so that the lock
 * alone decides whether the handle is lost. */
Test(volume_handover, locks_are_reclaimed_without_a_lease)
{
	uint64_t h = opened();
	struct vol_req *lock = op(VOL_GETATTR, h);

	writes(h, 0, 4096, 1, 0);
	ack(11);
	ack(21);
	ack(31);
	recall(LEASE_NONE, 3);
	for (unsigned i = 0; i < 3; i++) {
		settle();
		ack(11);
		ack(21);
		ack(31);
	}
	settle();
	lock->op = VOL_SETLK;
	lock->lock.owner = 5;
	lock->lock.type = F_WRLCK;
	again(lock);
	cr_assert_eq(rc_of(lock), 0);
	w.reclaimed = 99;
	session_ends();
	cr_assert_eq(w.reclaimed, 0);
}

/* What is known here may be older than the question: no answer is no answer. */
Test(volume_handover, refused_question_is_asked_again)
{
	struct vol_req *stat;
	uint64_t h;

	w.state = INODE_CLEAN;
	h = opened();
	w.size = 8192;
	w.busy = 3;
	stat = op(VOL_GETATTR, h);
	pass(50 * NSEC_MSEC);
	cr_assert_eq(rc_of(stat), 0);
	cr_assert_eq(stat->attr.size, 8192);
}

/* The cut of a SETATTR is made once, however often its attributes have to be asked for. */
Test(volume_handover, truncate_is_not_repeated)
{
	uint64_t h = opened();
	struct vol_req *cut = op(VOL_GETATTR, h);

	w.state = INODE_CLEAN;
	writes(h, 0, 4096, 1, 0);
	w.no_inode = true;
	cut->op = VOL_SETATTR;
	cut->valid = VOL_ATTR_SIZE;
	cut->size = 0;
	again(cut);
	recall(LEASE_NONE, 3);
	for (unsigned i = 0; i < 40; i++) {
		ack(11);
		ack(21);
		ack(31);
		settle();
	}
	w.size = 0;
	inode_answered(); /* the lease went meanwhile: asked again */
	cr_assert_eq(rc_of(cut), PENDING_RC);
	w.epoch = 2;
	cr_assert_eq(rc_of(writes(h, 0, 4096, 2, 0)), 0);
	inode_answered(); /* ... and came back */
	inode_answered();
	cr_assert_eq(rc_of(cut), 0);
	cr_assert_eq(cut->attr.size, 4096);
}

/* A cut in the buffer whose answer waited for the session, which ended: it was dropped, and says so. */
Test(volume_handover, dropped_cut_is_not_acknowledged)
{
	uint64_t h = opened();
	struct vol_req *cut = op(VOL_GETATTR, h);

	w.state = INODE_CLEAN;
	writes(h, 0, 4096, 1, 0);
	w.no_inode = true;
	cut->op = VOL_SETATTR;
	cut->valid = VOL_ATTR_SIZE;
	cut->size = 0;
	cut->handle = 0;
	again(cut);
	w.mute = true;
	pass(6 * NSEC_SEC);
	inode_answered();
	cr_assert_eq(rc_of(cut), PENDING_RC);
	w.mute = false;
	w.lost = true;
	session_ends();
	pass(NSEC_SEC);
	cr_assert_eq(rc_of(cut), -EIO);
}

/* A15: "not open here" counts for the session that was asked, and is said of what is not open only. */
Test(volume_handover, orphans_are_given_up_when_closed)
{
	uint64_t h = opened();

	orphan_check();
	settle();
	expect("");
	op(VOL_CLOSE, h);
	forget_trace();
	orphan_check();
	settle();
	expect("orphan_answer session=5 inos=1\n");
	cr_assert_eq(rc_of(op(VOL_OPEN, 0)), -ESTALE);
}
