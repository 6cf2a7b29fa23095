/* Locks: asked of the catalog, remembered per handle, dropped by closing. */
#include "tests/unit/names/world.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "access-server/volume/locks.h"

#define FILE_MODE (S_IFREG | 0644)

static void setup(void)
{
	world_up();
	create(1, "f", FILE_MODE, 0);
	answer_inode(MSG_TYPE_op_create, STATUS_EXISTS, LOCKED_INO, FILE_MODE, false);
	settle();
	w.len = 0;
	w.trace[0] = '\0';
}

TestSuite(locks, .init = setup, .fini = world_down, .timeout = 60);

static void take(uint64_t owner, uint8_t type, uint64_t start, uint64_t end, unsigned flags)
{
	locked(VOL_SETLK, last_handle(), owner, type, start, end, flags);
	answer_status(MSG_TYPE_op_lock, STATUS_OK);
	settle();
}

static void forget_trace(void)
{
	w.len = 0;
	w.trace[0] = '\0';
}

Test(locks, a_lock_is_asked_for_and_held)
{
	take(100, F_WRLCK, 0, 9, 0);
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk\n");
}

Test(locks, who_may_not_wait_is_told_at_once)
{
	locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, 0);
	answer_status(MSG_TYPE_op_lock, STATUS_AGAIN);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk: Resource temporarily unavailable\n");
}

Test(locks, who_waits_asks_again_when_the_leader_says_so)
{
	locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, VOL_F_WAIT);
	answer_status(MSG_TYPE_op_lock, STATUS_AGAIN);
	pass(100 * NSEC_MSEC);
	expect("ask lock 9 owner 100 type 1 [0,9]\n");
	lock_ready(LOCKED_INO, 100);
	answer_status(MSG_TYPE_op_lock, STATUS_OK);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk\n");
}

/* The word of the leader may be lost. */
Test(locks, who_waits_asks_again_by_itself)
{
	locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, VOL_F_WAIT);
	answer_status(MSG_TYPE_op_lock, STATUS_AGAIN);
	pass(600 * NSEC_MSEC);
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "ask lock 9 owner 100 type 1 [0,9]\n");
}

/* The lock was freed between the question and its answer. */
Test(locks, a_ready_that_overtakes_the_answer_is_not_lost)
{
	locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, VOL_F_WAIT);
	lock_ready(LOCKED_INO, 100);
	answer_status(MSG_TYPE_op_lock, STATUS_AGAIN);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "ask lock 9 owner 100 type 1 [0,9]\n");
}

Test(locks, a_waiting_lock_ends_with_the_signal)
{
	struct vol_req *r = locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, VOL_F_WAIT);

	answer_status(MSG_TYPE_op_lock, STATUS_AGAIN);
	settle();
	vol_interrupt(w.volume, r);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk: Interrupted system call\n");
}

/* Granted after its caller had gone: given back. */
Test(locks, a_lock_nobody_waits_for_is_given_back)
{
	struct vol_req *r = locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, VOL_F_WAIT);

	vol_interrupt(w.volume, r);
	pass(600 * NSEC_MSEC);
	answer_status(MSG_TYPE_op_lock, STATUS_OK);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk: Interrupted system call\n"
	       "ask lock 9 owner 100 type 2 [0,9]\n");
}

/* B8: the kernel sends no unlock when an OFD lock's file is closed. */
Test(locks, closing_a_handle_drops_what_was_taken_through_it)
{
	take(100, F_WRLCK, 0, 9, 0);
	take(101, F_RDLCK, 20, 29, VOL_F_FLOCK);
	forget_trace();
	plain(VOL_CLOSE, LOCKED_INO, last_handle(), 0);
	expect("ask lock 9 owner 100 type 2 [0,9]\n"
	       "ask lock 9 owner 101 type 2 [20,29]\n"
	       "done close\n");
}

Test(locks, close_drops_the_posix_locks_of_its_process_only)
{
	take(100, F_WRLCK, 0, 9, 0);
	take(101, F_WRLCK, 20, 29, 0);
	forget_trace();
	plain(VOL_FLUSH, LOCKED_INO, last_handle(), 100);
	answer_status(MSG_TYPE_op_lock, STATUS_OK);
	settle();
	plain(VOL_FLUSH, LOCKED_INO, last_handle(), 100);
	expect("ask lock 9 owner 100 type 2 [0,0]\n"
	       "done flush\n"
	       "done flush\n");
}

Test(locks, unlocking_what_is_not_locked_asks_nobody)
{
	locked(VOL_SETLK, last_handle(), 100, F_UNLCK, 0, 9, 0);
	expect("done setlk\n");
}

/* Nothing orders two questions on their way: a late unlock would take the newer lock with it. */
Test(locks, one_owner_has_one_question_out_at_a_time)
{
	take(100, F_WRLCK, 0, 9, 0);
	forget_trace();
	locked(VOL_SETLK, last_handle(), 100, F_UNLCK, 0, 9, 0);
	locked(VOL_SETLK, last_handle(), 100, F_WRLCK, 0, 9, 0);
	expect("ask lock 9 owner 100 type 2 [0,9]\n");
	answer_status(MSG_TYPE_op_lock, STATUS_OK);
	settle();
	expect("ask lock 9 owner 100 type 1 [0,9]\n"
	       "done setlk\n");
}

Test(locks, getlk_tells_who_holds_it)
{
	struct vol_req *r = locked(VOL_GETLK, last_handle(), 100, F_WRLCK, 0, 9, 0);

	answer_lock(STATUS_OK, F_RDLCK);
	settle();
	cr_assert_eq(r->lock.type, F_RDLCK);
	cr_assert_eq(r->lock.pid, 99);
}

/* fcntl(2): a lock in the middle of another of the same owner splits it. */
Test(locks, a_lock_in_the_middle_splits_what_the_owner_held)
{
	struct file f = {0};
	struct msg_op_lock l = {.owner = 1, .start = 0, .end = 99, .type = F_WRLCK}, out;
	struct span s;

	held_set(&f, &l, 7);
	l.start = 40;
	l.end = 59;
	l.type = F_RDLCK;
	held_set(&f, &l, 7);
	s = locks_encode(&f);
	cr_assert_eq(s.len, 3 * 30);
	l.start = 0;
	l.end = 39;
	held_clear(&f, &l);
	s = locks_encode(&f);
	cr_assert_eq(s.len, 2 * 30);
	cr_assert_not(held_overlaps(&f, &l));
	cr_assert_not(held_take(&f, 8, &out));
	cr_assert(held_take(&f, 7, &out));
	cr_assert(held_take(&f, 7, &out));
	cr_assert_not(locks_held(&f));
	locks_file_free(&f);
}
