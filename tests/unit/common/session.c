/* Standing with the catalog: opening, heartbeats, validity, hint servers. */
#include "tests/unit/common/session_world.h"

TestSuite(session, .init = setup, .fini = teardown);
TestSuite(access_session, .init = setup_access, .fini = teardown);

/* A session is asked for until it is given, with the same number, so that the catalog opens one. */
Test(session, is_opened_once_however_often_it_is_asked_for)
{
	uint64_t id;

	run_ms(0);
	const struct msg *m = last(MSG_TYPE_op_session);
	id = m->id;
	cr_assert_eq(m->via, HINT_NEAR);
	cr_assert_eq(m->op_session.server, 11);
	cr_assert_eq(m->op_session.boot, 77);
	cr_assert_eq(m->op_session.start, 3);
	cr_assert_eq(m->op_session.addr.len, strlen("127.1.0.11:7011"));

	run_ms(1000);
	cr_assert_geq(count(MSG_TYPE_op_session), 3);
	for (unsigned i = 0; i < w.sent_n; i++) {
		cr_assert_eq(w.sent[i].id, id);
		cr_assert_eq(w.sent[i].op_session.seq, 1);
	}
	answer_open(last(MSG_TYPE_op_session), 5);
	answer_open(last(MSG_TYPE_op_session), 6); /* a late second answer changes nothing */
	cr_assert_eq(session_id(w.s), 5);
}

/* A server without a disk learns from the refusal what counter to come with, and comes at once. */
Test(access_session, comes_again_above_an_earlier_process)
{
	struct msg refused = {.type = MSG_TYPE_r_session};
	uint64_t first;

	run_ms(0);
	first = last(MSG_TYPE_op_session)->id;
	refused.id = first;
	refused.r_session.status = STATUS_NO_SESSION;
	refused.r_session.start = 6;
	cr_assert(session_recv(w.s, &refused));
	run_ms(1);
	cr_assert_neq(last(MSG_TYPE_op_session)->id, first);
	cr_assert_eq(last(MSG_TYPE_op_session)->op_session.start, 7);
	answer_open(last(MSG_TYPE_op_session), 5);
	cr_assert_eq(session_id(w.s), 5);
}

/* An opened session is worth nothing until the leader has answered a heartbeat of it. */
Test(session, is_valid_from_the_first_answered_heartbeat)
{
	run_ms(0);
	answer_open(last(MSG_TYPE_op_session), 5);
	cr_assert(!session_valid(w.s));
	cr_assert_eq(session_valid_until(w.s), 0);
	cr_assert_eq(w.ups, 0);

	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert(session_valid(w.s));
	cr_assert(session_shared_valid(w.s));
	cr_assert_eq(w.ups, 1);
	cr_assert_eq(w.given, 5);
	cr_assert_eq(w.before, 0);
}

/* A10: validity counts from when the heartbeat was sent, not from when the answer came. */
Test(session, validity_counts_from_the_send_time)
{
	open_session(5);
	nsec_t first = w.now;

	cr_assert_eq(session_valid_until(w.s), first + MS(4500));
	cr_assert_eq(session_shared_until(w.s), first + MS(800));

	run_ms(200);
	struct msg beat = *last(MSG_TYPE_heartbeat);
	w.now += MS(150); /* the way there and back */
	answer_beat(&beat, 1);
	cr_assert_eq(session_valid_until(w.s), first + MS(200 + 4500));
	cr_assert_eq(session_shared_until(w.s), first + MS(200 + 800));
}

/* Duplicates and answers to what was never asked extend nothing. */
Test(session, an_answer_counts_once_and_only_to_its_own_heartbeat)
{
	open_session(5);
	struct msg beat = *last(MSG_TYPE_heartbeat);
	nsec_t until = session_valid_until(w.s);

	w.now += MS(100);
	answer_beat(&beat, 1);
	beat.heartbeat.nonce += 1000;
	answer_beat(&beat, 1);
	cr_assert_eq(session_valid_until(w.s), until);
}

/* A10d: a process that slept sees it at once, before any tick. */
Test(session, a_clock_that_jumped_ends_validity_at_once)
{
	open_session(5);
	w.now += MS(801);
	cr_assert(session_valid(w.s));
	cr_assert(!session_shared_valid(w.s));
	w.now += MS(3700);
	cr_assert(!session_valid(w.s));
	cr_assert_eq(w.voids, 0); /* told at the next entry */
	session_tick(w.s, w.now);
	cr_assert_eq(w.voids, 1);
}

/* An answer that waited in the socket while the process slept does not hide the sleep. */
Test(session, sleeping_voids_shared_leases_even_if_an_answer_comes_first)
{
	open_session(5);
	run_ms(200);
	struct msg beat = *last(MSG_TYPE_heartbeat);

	w.now += MS(700);
	answer_beat(&beat, 1);
	cr_assert_eq(w.voids, 1);
	cr_assert(session_shared_valid(w.s));
}

/* Lapsed is not ended: an answer revives the session, and the owner is told that it is the same. */
Test(session, a_lapsed_session_is_revived)
{
	open_session(5);
	run_ms(10000);
	cr_assert(!session_valid(w.s));
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert(session_valid(w.s));
	cr_assert_eq(w.ups, 2);
	cr_assert_eq(w.given, 5);
	cr_assert_eq(w.before, 5);
}

Test(session, heartbeats_go_on_every_200_ms)
{
	open_session(5);
	clear_sent();
	run_ms(10000);
	cr_assert_geq(count(MSG_TYPE_heartbeat), 50);
	cr_assert_leq(count(MSG_TYPE_heartbeat), 60); /* probes of the nearest hint server included */
}

/* After NO_SESSION a new one is opened, and its owner sees that it is another. */
Test(session, an_ended_session_is_replaced)
{
	open_session(5);
	run_ms(200);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_NO_SESSION, 1, 0);
	cr_assert_eq(session_id(w.s), 0);
	cr_assert(!session_valid(w.s));
	cr_assert_eq(session_valid_until(w.s), 0);
	cr_assert_eq(w.voids, 1);

	clear_sent();
	run_ms(400);
	cr_assert_eq(last(MSG_TYPE_op_session)->op_session.seq, 2);
	answer_open(last(MSG_TYPE_op_session), 9);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert_eq(w.ups, 2);
	cr_assert_eq(w.given, 9);
	cr_assert_eq(w.before, 5);
}

/* A late NO_SESSION about the old session must not end the new one. */
Test(session, a_verdict_about_an_old_session_does_not_end_the_new_one)
{
	open_session(5);
	run_ms(200);
	struct msg old = *last(MSG_TYPE_heartbeat);

	answer_beat_with(&old, STATUS_NO_SESSION, 1, 0);
	run_ms(400);
	answer_open(last(MSG_TYPE_op_session), 9);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	answer_beat_with(&old, STATUS_NO_SESSION, 1, 0);
	cr_assert_eq(session_id(w.s), 9);
	cr_assert(session_valid(w.s));
}

/* Shared leases live on the leader: a new term voids them even if its first answer was lost. */
Test(session, a_new_term_voids_shared_leases)
{
	open_session(5);
	run_ms(200);
	answer_beat(last(MSG_TYPE_heartbeat), 2);
	cr_assert_eq(w.voids, 1);
	cr_assert_eq(session_term(w.s), 2);
	cr_assert(session_shared_valid(w.s));

	run_ms(200);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_OK, 3, 0);
	cr_assert_eq(w.voids, 2);
	cr_assert(!session_shared_valid(w.s));
	cr_assert(session_valid(w.s));
}

/* A10b: what a deposed leader says extends nothing. */
Test(session, an_answer_of_an_older_term_is_dropped)
{
	open_session(5);
	run_ms(200);
	answer_beat(last(MSG_TYPE_heartbeat), 3);
	nsec_t until = session_valid_until(w.s);

	run_ms(200);
	answer_beat(last(MSG_TYPE_heartbeat), 2);
	cr_assert_eq(session_valid_until(w.s), until);
	cr_assert_eq(session_term(w.s), 3);
}

Test(session, recalls_and_newer_maps_are_handed_on)
{
	uint8_t records[36] = {0};

	w.map_said = 4;
	open_session(5);
	cr_assert_eq(w.map_changed, 0);
	run_ms(200);
	const struct msg *beat = last(MSG_TYPE_heartbeat);
	struct msg m = {
		.type = MSG_TYPE_heartbeat_reply,
		.heartbeat_reply = {
			.session = 5,
			.nonce = beat->heartbeat.nonce,
			.term = 1,
			.session_ms = 5000,
			.shared_ms = 800,
			.map = 5,
			.recalls = {records, sizeof(records)},
		},
	};

	cr_assert(session_recv(w.s, &m));
	cr_assert_eq(w.recalls, 2);
	cr_assert_eq(w.map_changed, 5);
}

/* B4: any hint server will do, the nearest first. */
Test(session, moves_on_when_the_connection_breaks)
{
	open_session(5);
	w.down[HINT_NEAR] = true;
	clear_sent();
	session_hint_down(w.s, HINT_NEAR);
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
	cr_assert_eq(last(MSG_TYPE_heartbeat)->via, HINT_MIDDLE);
	session_hint_down(w.s, HINT_FAR); /* not in use: nothing changes */
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
}

Test(session, moves_on_when_two_heartbeats_stay_unanswered)
{
	open_session(5);
	clear_sent();
	run_ms(599);
	cr_assert_eq(session_via(w.s), HINT_NEAR);
	run_ms(1);
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert(session_shared_valid(w.s));
}

Test(session, skips_hint_servers_that_are_not_connected)
{
	w.down[HINT_NEAR] = w.down[HINT_MIDDLE] = true;
	open_session(5);
	cr_assert_eq(session_via(w.s), HINT_FAR);
	cr_assert(session_valid(w.s));
}

/* A hint server without a leader, in the minority, must not keep its clients. */
Test(session, leaves_a_hint_server_that_knows_no_leader)
{
	open_session(5);
	for (int i = 0; i < 3; i++) {
		run_ms(200);
		answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_NOT_LEADER, 0, 0);
	}
	cr_assert_neq(session_via(w.s), HINT_NEAR);
}

/* The nearest is tried beside the one in use: trying costs nothing while it is still dead. */
Test(session, returns_to_the_nearest_when_it_answers_again)
{
	open_session(5);
	w.down[HINT_NEAR] = true;
	session_hint_down(w.s, HINT_NEAR);
	for (int i = 0; i < 25; i++) {
		run_ms(200);
		answer_beat(last(MSG_TYPE_heartbeat), 1);
	}
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
	w.down[HINT_NEAR] = false;
	for (int i = 0; i < 15; i++) {
		unsigned from = w.sent_n;

		run_ms(200);
		for (unsigned j = from; j < w.sent_n; j++)
			answer_beat(&w.sent[j], 1);
	}
	cr_assert_eq(session_via(w.s), HINT_NEAR);
	cr_assert(session_valid(w.s));
}

/* At start nothing is connected yet: no need to wait for the next try. */
Test(session, opens_as_soon_as_a_hint_server_is_connected)
{
	w.down[HINT_NEAR] = w.down[HINT_MIDDLE] = w.down[HINT_FAR] = true;
	run_ms(10);
	cr_assert_eq(w.sent_n, 0);
	w.down[HINT_MIDDLE] = false;
	session_hint_up(w.s, HINT_MIDDLE);
	cr_assert_eq(last(MSG_TYPE_op_session)->via, HINT_MIDDLE);
	answer_open(last(MSG_TYPE_op_session), 5);
	answer_beat(last(MSG_TYPE_heartbeat), 1);

	/* The nearest one gets a trial as soon as it is there. */
	w.down[HINT_NEAR] = false;
	session_hint_up(w.s, HINT_NEAR);
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
	run_ms(0);
	cr_assert_eq(last(MSG_TYPE_heartbeat)->via, HINT_NEAR);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert_eq(session_via(w.s), HINT_NEAR);
}

/* All connect within a round trip, the nearest first: the last one would be the farthest, and every
 * question of the next two seconds would go there and back. */
Test(session, opens_by_the_nearest_of_all_that_are_connected_at_once)
{
	w.down[HINT_NEAR] = w.down[HINT_MIDDLE] = w.down[HINT_FAR] = true;
	run_ms(10);
	w.down[HINT_NEAR] = false;
	session_hint_up(w.s, HINT_NEAR);
	run_ms(10);
	w.down[HINT_MIDDLE] = w.down[HINT_FAR] = false;
	session_hint_up(w.s, HINT_MIDDLE);
	session_hint_up(w.s, HINT_FAR);
	cr_assert_eq(session_via(w.s), HINT_NEAR);
	answer_open(last(MSG_TYPE_op_session), 5);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert_eq(last(MSG_TYPE_heartbeat)->via, HINT_NEAR);
}

/* Who has got nothing by way of the nearest does not wait for it when another comes back. */
Test(session, takes_a_farther_one_where_the_nearest_passes_nothing_on)
{
	run_ms(250);
	cr_assert_eq(session_via(w.s), HINT_NEAR);
	session_hint_up(w.s, HINT_FAR);
	cr_assert_eq(session_via(w.s), HINT_FAR);
	cr_assert_eq(last(MSG_TYPE_op_session)->via, HINT_FAR);
	session_hint_up(w.s, HINT_MIDDLE);
	cr_assert_eq(session_via(w.s), HINT_MIDDLE);
}

/* A leader's first answer gives no shared leases; the second one is asked for at once, but a leader
 * that never gives any is not flooded. */
Test(session, hurries_once_for_shared_leases)
{
	run_ms(0);
	answer_open(last(MSG_TYPE_op_session), 5);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_OK, 1, 0);
	cr_assert(session_valid(w.s));
	cr_assert(!session_shared_valid(w.s));
	clear_sent();
	run_ms(1);
	cr_assert_eq(count(MSG_TYPE_heartbeat), 1);
	answer_beat_with(last(MSG_TYPE_heartbeat), STATUS_OK, 1, 0);
	run_ms(1);
	cr_assert_eq(count(MSG_TYPE_heartbeat), 1);
	run_ms(200);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert(session_shared_valid(w.s));
}

Test(session, lives_through_an_hour_without_any_hint_server)
{
	open_session(5);
	w.down[HINT_NEAR] = w.down[HINT_MIDDLE] = w.down[HINT_FAR] = true;
	run_ms(3600 * 1000);
	cr_assert(!session_valid(w.s));
	cr_assert_eq(w.voids, 1);
	w.down[HINT_MIDDLE] = false;
	run_ms(600);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
	cr_assert(session_valid(w.s));
}

Test(session, leaves_other_messages_alone)
{
	struct msg m = {.type = MSG_TYPE_recall};

	cr_assert(!session_recv(w.s, &m));
}
