/* Calls to the catalog: exactly once, in bounded slots, whatever the network does. */
#include "tests/unit/common/session_world.h"

TestSuite(session_calls, .init = setup, .fini = teardown);

struct call {
	struct session_call c;
	unsigned done;
	bool null;
	uint16_t status;
	struct session_call *then; /* cancelled by done() */
};

static void on_done(struct session_call *c, const struct msg *reply)
{
	struct call *call = container_of(c, struct call, c);

	call->done++;
	call->null = !reply;
	if (reply)
		call->status = reply->r_status.status;
	if (call->then)
		session_cancel(w.s, call->then);
}

static void change(struct call *call, const char *name)
{
	struct msg m = {
		.type = MSG_TYPE_op_unlink,
		.op_unlink = {.dir = 1, .name = {(const uint8_t *)name, (uint32_t)strlen(name)}},
	};

	call->c.done = on_done;
	session_call(w.s, &call->c, &m);
}

static void query(struct call *call)
{
	struct msg m = {.type = MSG_TYPE_q_inode, .q_inode = {.ino = 7}};

	call->c.done = on_done;
	session_call(w.s, &call->c, &m);
}

Test(session_calls, a_change_goes_out_at_once_in_a_slot)
{
	struct call a = {0};
	char name[] = "report.txt";

	open_session(5);
	change(&a, name);
	const struct msg *m = last(MSG_TYPE_op_unlink);
	cr_assert_eq(m->op_unlink.session, 5);
	cr_assert_eq(m->op_unlink.slot, 0);
	cr_assert_eq(m->op_unlink.seq, 1);
	cr_assert_eq(m->via, HINT_NEAR);
	cr_assert_eq(a.done, 0);

	answer_call(m, STATUS_NOT_FOUND);
	cr_assert_eq(a.done, 1);
	cr_assert_eq(a.status, STATUS_NOT_FOUND);
	answer_call(m, STATUS_OK); /* the network repeats it */
	cr_assert_eq(a.done, 1);

	change(&a, name);
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.slot, 0);
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.seq, 2);
}

/* The request belongs to the session from the call on: the caller's memory may go. */
Test(session_calls, keeps_its_own_copy_of_the_request)
{
	struct call a = {0};
	char name[] = "report.txt";

	open_session(5);
	change(&a, name);
	memset(name, 'x', sizeof(name));
	clear_sent();
	run_ms(300);
	const struct msg *m = last(MSG_TYPE_op_unlink);
	cr_assert_eq(m->op_unlink.name.len, 10);
	cr_assert_eq(memcmp(m->op_unlink.name.p, "report.txt", 10), 0);
}

/* B5: a lost reply leads to the same slot and number again, never to a second change. */
Test(session_calls, is_sent_again_with_the_same_number_until_answered)
{
	struct call a = {0};

	open_session(5);
	change(&a, "f");
	struct msg first = *last(MSG_TYPE_op_unlink);

	clear_sent();
	run_ms(3000);
	cr_assert_geq(count(MSG_TYPE_op_unlink), 9);
	for (unsigned i = 0; i < w.sent_n; i++) {
		if (w.sent[i].type != MSG_TYPE_op_unlink)
			continue;
		cr_assert_eq(w.sent[i].id, first.id);
		cr_assert_eq(w.sent[i].op_unlink.slot, first.op_unlink.slot);
		cr_assert_eq(w.sent[i].op_unlink.seq, first.op_unlink.seq);
	}
	answer_call(last(MSG_TYPE_op_unlink), STATUS_OK);
	clear_sent();
	run_ms(3000);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 0);
}

Test(session_calls, is_sent_again_at_once_by_another_hint_server)
{
	struct call a = {0}, b = {0};

	open_session(5);
	change(&a, "f");
	query(&b);
	clear_sent();
	session_hint_down(w.s, HINT_NEAR);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 1);
	cr_assert_eq(last(MSG_TYPE_op_unlink)->via, HINT_MIDDLE);
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.seq, 1);
	cr_assert_eq(count(MSG_TYPE_q_inode), 1);
}

Test(session_calls, not_leader_is_no_answer)
{
	struct call a = {0};

	open_session(5);
	change(&a, "f");
	answer_call(last(MSG_TYPE_op_unlink), STATUS_NOT_LEADER);
	cr_assert_eq(a.done, 0);
	clear_sent();
	run_ms(300);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 1);
}

Test(session_calls, queries_need_no_slot)
{
	struct call a = {0};

	open_session(5);
	query(&a);
	cr_assert_eq(last(MSG_TYPE_q_inode)->q_inode.slot, 0xffff);
	cr_assert_eq(last(MSG_TYPE_q_inode)->q_inode.session, 5);
	answer_call(last(MSG_TYPE_q_inode), STATUS_OK);
	cr_assert_eq(a.done, 1);
}

Test(session_calls, wait_until_there_is_a_session)
{
	struct call a = {0};

	change(&a, "f");
	run_ms(0);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 0);
	open_session(5);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 1);
}

/* Past 256 changes under way the next ones wait, in order; queries go past them. */
Test(session_calls, wait_for_a_free_slot)
{
	static struct call calls[SESSION_SLOTS + 2];
	struct call q = {0};
	struct session_stats stats;

	memset(calls, 0, sizeof(calls));
	open_session(5);
	for (unsigned i = 0; i < ARRAY_LEN(calls); i++)
		change(&calls[i], "f");
	cr_assert_eq(count(MSG_TYPE_op_unlink), SESSION_SLOTS);
	session_get_stats(w.s, &stats);
	cr_assert_eq(stats.waiting, 2);

	query(&q);
	run_ms(0);
	cr_assert_eq(count(MSG_TYPE_q_inode), 1);

	for (unsigned i = 0; i < w.sent_n; i++) {
		if (w.sent[i].type == MSG_TYPE_op_unlink && w.sent[i].op_unlink.slot == 17) {
			answer_call(&w.sent[i], STATUS_OK);
			break;
		}
	}
	const struct msg *m = last(MSG_TYPE_op_unlink);
	cr_assert_eq(m->op_unlink.slot, 17);
	cr_assert_eq(m->op_unlink.seq, 2);
	answer_call(m, STATUS_OK);
	cr_assert_eq(calls[SESSION_SLOTS].done, 1);
	cr_assert_eq(calls[SESSION_SLOTS + 1].done, 0);
	cr_assert_eq(count(MSG_TYPE_op_unlink), SESSION_SLOTS + 2);
}

/* B5: the outcome of what was under way when the session ended is unknown, and nothing of it is
 * tried in the next one. */
Test(session_calls, end_with_the_session)
{
	struct call a = {0}, b = {0}, late = {0};

	open_session(5);
	change(&a, "f");
	query(&b);
	run_ms(200);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_NO_SESSION, 1, 0);
	cr_assert_eq(a.done, 1);
	cr_assert(a.null);
	cr_assert_eq(b.done, 1);
	cr_assert(b.null);

	change(&late, "g");
	clear_sent();
	run_ms(400);
	answer_open(last(MSG_TYPE_op_session), 9);
	run_ms(1000);
	const struct msg *m = last(MSG_TYPE_op_unlink);
	cr_assert_eq(m->op_unlink.session, 9);
	cr_assert_eq(m->op_unlink.slot, 0);
	cr_assert_eq(m->op_unlink.seq, 1);
	cr_assert_eq(m->op_unlink.name.p[0], 'g');
	cr_assert_eq(count(MSG_TYPE_q_inode), 0);
}

/* The catalog may say so in the answer to a call as well. */
Test(session_calls, learn_from_a_reply_that_the_session_ended)
{
	struct call a = {0}, b = {0};

	open_session(5);
	change(&a, "f");
	change(&b, "g");
	answer_call(last(MSG_TYPE_op_unlink), STATUS_NO_SESSION);
	cr_assert_eq(session_id(w.s), 0);
	cr_assert(a.null && b.null);
	cr_assert_eq(a.done + b.done, 2);
}

/* A cancelled change keeps its slot until answered, or the slot's numbers would have a gap. */
Test(session_calls, a_cancelled_change_keeps_its_slot_until_answered)
{
	struct call a = {0}, b = {0};

	open_session(5);
	change(&a, "f");
	struct msg m = *last(MSG_TYPE_op_unlink);

	session_cancel(w.s, &a.c);
	change(&b, "g");
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.slot, 1);
	clear_sent();
	run_ms(300);
	cr_assert_eq(count(MSG_TYPE_op_unlink), 2);
	answer_call(&m, STATUS_OK);
	cr_assert_eq(a.done, 0);
	change(&a, "h");
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.slot, 0);
	cr_assert_eq(last(MSG_TYPE_op_unlink)->op_unlink.seq, 2);
}

Test(session_calls, done_may_cancel_another_that_ends_with_it)
{
	struct call a = {0}, b = {0};

	open_session(5);
	change(&a, "f");
	change(&b, "g");
	a.then = &b.c;
	run_ms(200);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_NO_SESSION, 1, 0);
	cr_assert_eq(a.done, 1);
	cr_assert_eq(b.done, 0);
}

/* P8: the queue has an end, and says so. */
Test(session_calls, are_refused_past_the_limit)
{
	struct call *calls = calloc(SESSION_WAITING_MAX + 1, sizeof(*calls));

	for (unsigned i = 0; i <= SESSION_WAITING_MAX; i++)
		query(&calls[i]);
	cr_assert_eq(calls[SESSION_WAITING_MAX].done, 0); /* never from inside the call */
	run_ms(0);
	cr_assert_eq(calls[SESSION_WAITING_MAX].done, 1);
	cr_assert_eq(calls[SESSION_WAITING_MAX].status, STATUS_BUSY);
	cr_assert_eq(calls[0].done, 0);
	free(calls);
}
