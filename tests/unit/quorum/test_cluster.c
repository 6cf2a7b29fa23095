/* A small cluster of hint servers: elections, commits, reads, exactly-once, snapshots. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/unit/quorum/rig.h"

static struct rig g;

static void start(unsigned hints, unsigned clients)
{
	rig_init(&g, hints, clients, 1);
	for (unsigned i = 0; i < hints; i++)
		rig_start(&g, i);
	cr_assert(rig_until(&g, 10 * NSEC_SEC, rig_has_leader), "no leader");
	for (unsigned i = 0; i < clients; i++)
		rig_open(&g, i);
}

static void stop(void)
{
	rig_fini(&g);
}

TestSuite(cluster, .fini = stop);

Test(cluster, elects_and_commits)
{
	start(3, 1);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	cr_assert_eq(rig_lookup(&g, 0, "a"), STATUS_OK);
	cr_assert_eq(rig_lookup(&g, 0, "b"), STATUS_NOT_FOUND);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_EXISTS);
}

Test(cluster, one_voter_suffices_for_itself)
{
	start(1, 1);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	rig_kill(&g, 0);
	rig_start(&g, 0);
	cr_assert_eq(rig_lookup(&g, 0, "a"), STATUS_OK);
}

Test(cluster, survives_the_leaders_loss)
{
	int leader;

	start(3, 1);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	leader = rig_leader(&g);
	g.client[0].at = (unsigned)(leader + 1) % 3;
	rig_kill(&g, (unsigned)leader);
	cr_assert_eq(rig_create(&g, 0, "b"), STATUS_OK);
	cr_assert_neq(rig_leader(&g), leader);
	cr_assert_eq(rig_lookup(&g, 0, "a"), STATUS_OK);
	cr_assert_eq(rig_lookup(&g, 0, "b"), STATUS_OK);
	/* The dead one comes back and follows. */
	rig_start(&g, (unsigned)leader);
	rig_kill(&g, (unsigned)(leader + 1) % 3);
	g.client[0].at = (unsigned)leader;
	cr_assert_eq(rig_create(&g, 0, "c"), STATUS_OK);
	cr_assert_eq(rig_lookup(&g, 0, "b"), STATUS_OK);
}

Test(cluster, everybody_dies_at_once_and_nothing_is_lost)
{
	char name[16];

	start(3, 1);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned i = 0; i < 20; i++) {
			snprintf(name, sizeof(name), "f%u.%u", round, i);
			cr_assert_eq(rig_create(&g, 0, name), STATUS_OK);
		}
		for (unsigned i = 0; i < 3; i++)
			rig_kill(&g, i);
		for (unsigned i = 0; i < 3; i++)
			rig_start(&g, i);
		for (unsigned i = 0; i < 20; i++) {
			snprintf(name, sizeof(name), "f%u.%u", round, i);
			cr_assert_eq(rig_lookup(&g, 0, name), STATUS_OK, "%s", name);
		}
	}
}

/* A minority leader answers nothing; its reads are never stale (A14, B6). */
static void cut_off_leader(uint16_t expected)
{
	unsigned leader, other;

	start(3, 2);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	leader = (unsigned)rig_leader(&g);
	other = (leader + 1) % 3;
	g.client[0].at = leader;
	g.client[1].at = other;
	/* Client 0 and the leader stay together, cut off from the others. */
	for (unsigned i = 0; i < 3; i++)
		if (i != leader)
			g.cut[leader][i] = g.cut[i][leader] = g.cut[3][i] = g.cut[i][3] = true;
	g.cut[leader][4] = g.cut[4][leader] = true;
	for (unsigned i = 0; i < 20; i++) {
		struct msg m = {.type = MSG_TYPE_op_create};

		/* The majority goes on as soon as it has elected. */
		m.op_create.dir = FILE_ROOT;
		m.op_create.name = span_of("b");
		m.op_create.mode = 0040755;
		if (i == 0)
			rig_send(&g, 1, &m);
		rig_run(&g, 100 * NSEC_MSEC);
	}
	cr_assert(rig_replied(&g, 1));
	struct msg q = {.type = MSG_TYPE_q_lookup};

	q.q_lookup.dir = FILE_ROOT;
	q.q_lookup.name = span_of("b");
	rig_send(&g, 0, &q);
	rig_run(&g, 2 * NSEC_SEC);
	cr_assert_not(rig_replied(&g, 0), "a cut-off server answered");
	memset(g.cut, 0, sizeof(g.cut));
	rig_run(&g, 3 * NSEC_SEC);
	cr_assert(rig_replied(&g, 0));
	cr_assert_eq(g.client[0].reply.r_status.status, expected);
}

Test(cluster, a_cut_off_leader_answers_nothing)
{
	cut_off_leader(STATUS_OK);
}

/* Reads on a cut-off leader right after the majority has acknowledged a change: how many say the
 * old. */
static unsigned stale_reads(unsigned bugs)
{
	unsigned stale = 0;

	for (unsigned turn = 0; turn < 12; turn++) {
		unsigned leader;
		struct msg q = {.type = MSG_TYPE_q_lookup}, m = {.type = MSG_TYPE_op_create};

		rig_init(&g, 3, 2, turn + 1);
		g.config.bugs = bugs;
		for (unsigned i = 0; i < 3; i++)
			rig_start(&g, i);
		cr_assert(rig_until(&g, 10 * NSEC_SEC, rig_has_leader));
		rig_open(&g, 0);
		rig_open(&g, 1);
		leader = (unsigned)rig_leader(&g);
		g.client[0].at = leader;
		g.client[1].at = (leader + 1) % 3;
		for (unsigned i = 0; i < 3; i++)
			if (i != leader)
				g.cut[i][leader] = true;
		m.op_create.dir = q.q_lookup.dir = FILE_ROOT;
		m.op_create.name = q.q_lookup.name = span_of("b");
		m.op_create.mode = 0040755;
		g.cut[leader][3 + 1] = g.cut[3 + 1][leader] = true;
		for (unsigned i = 0; i < 3; i++)
			if (i != leader)
				g.cut[leader][i] = true;
		rig_send(&g, 1, &m);
		/* The old one sleeps through the election, as a stopped process does. */
		g.node[leader].paused = true;
		for (unsigned i = 0; i < 500 && !rig_replied(&g, 1); i++)
			rig_run(&g, 5 * NSEC_MSEC);
		g.node[leader].paused = false;
		rig_send(&g, 0, &q);
		rig_run(&g, 100 * NSEC_MSEC);
		stale += rig_replied(&g, 0) && rig_replied(&g, 1) &&
		         g.client[0].reply.r_status.status == STATUS_NOT_FOUND;
		if (turn < 11)
			rig_fini(&g);
	}
	return stale;
}

Test(cluster, reads_are_never_stale)
{
	cr_assert_eq(stale_reads(0), 0);
}

Test(cluster, the_test_of_stale_reads_can_fail)
{
	cr_assert_gt(stale_reads(HINT_BUG_READ_LOCAL), 0);
}

/* Every frame may come twice or not at all and leaders die: how many names, each made once, are
 * said to exist already. */
static unsigned made_twice(unsigned bugs)
{
	char name[16];
	unsigned twice = 0;

	rig_init(&g, 5, 1, 4);
	g.config.bugs = bugs;
	for (unsigned i = 0; i < 5; i++)
		rig_start(&g, i);
	rig_open(&g, 0);
	g.loss_permille = 100;
	g.duplicate_permille = 200;
	for (unsigned i = 0; i < 60; i++) {
		uint16_t status;

		snprintf(name, sizeof(name), "f%u", i);
		status = rig_create(&g, 0, name);
		cr_assert(status == STATUS_OK || status == STATUS_EXISTS, "%s: %u", name, status);
		twice += status == STATUS_EXISTS;
		if (i % 20 == 10) {
			int leader = rig_leader(&g);

			if (leader >= 0) {
				g.client[0].at = (unsigned)(leader + 1) % 5;
				rig_kill(&g, (unsigned)leader);
				rig_start(&g, (unsigned)leader);
			}
		}
	}
	return twice;
}

Test(cluster, a_repeated_change_happens_once)
{
	cr_assert_eq(made_twice(0), 0);
}

Test(cluster, the_test_of_repeated_changes_can_fail)
{
	cr_assert_gt(made_twice(HINT_BUG_NO_SLOTS), 0);
}

Test(cluster, brings_a_lagging_voter_up_by_snapshot)
{
	struct hint_status st;
	unsigned lag;
	char name[32];

	rig_init(&g, 3, 1, 3);
	g.config.snapshot_entries = 64;
	for (unsigned i = 0; i < 3; i++)
		rig_start(&g, i);
	cr_assert(rig_until(&g, 10 * NSEC_SEC, rig_has_leader));
	rig_open(&g, 0);
	lag = (unsigned)(rig_leader(&g) + 1) % 3;
	g.client[0].at = (unsigned)rig_leader(&g);
	rig_kill(&g, lag);
	for (unsigned i = 0; i < 400; i++) {
		snprintf(name, sizeof(name), "file-with-a-long-name-%u", i);
		cr_assert_eq(rig_create(&g, 0, name), STATUS_OK);
	}
	rig_start(&g, lag);
	g.loss_permille = 50;
	rig_run(&g, 10 * NSEC_SEC);
	hint_get_status(g.node[lag].hint, &st);
	cr_assert_not(st.failed, "%s", hint_why(g.node[lag].hint));
	cr_assert_geq(st.applied, 400);
	/* It counts: with it and one other the cluster goes on, also after a restart. */
	g.loss_permille = 0;
	rig_kill(&g, lag);
	rig_start(&g, lag);
	rig_kill(&g, 3 - lag - g.client[0].at);
	cr_assert_eq(rig_create(&g, 0, "last"), STATUS_OK);
}

Test(cluster, goes_on_with_one_of_five_missing_two)
{
	start(5, 1);
	int leader = rig_leader(&g);

	rig_kill(&g, (unsigned)leader);
	rig_kill(&g, (unsigned)(leader + 1) % 5);
	g.client[0].at = (unsigned)(leader + 2) % 5;
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	rig_kill(&g, (unsigned)(leader + 3) % 5);
	struct msg m = {.type = MSG_TYPE_q_lookup};

	m.q_lookup.dir = FILE_ROOT;
	m.q_lookup.name = span_of("a");
	cr_assert_null(rig_call(&g, 0, &m, 3 * NSEC_SEC), "two of five are no majority");
}

Test(cluster, hands_leadership_over)
{
	int leader;

	start(3, 1);
	leader = rig_leader(&g);
	hint_stepdown(g.node[leader].hint);
	rig_run(&g, NSEC_SEC);
	cr_assert_neq(rig_leader(&g), leader);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
}

/* A log write and a round trip between hint servers: no timer is waited for, however long nothing
 * happened before. */
Test(cluster, a_change_costs_one_round)
{
	char name[16];

	start(3, 1);
	g.jitter = 0;
	g.delay = 10 * NSEC_MSEC;
	rig_run(&g, 2 * NSEC_SEC); /* readers of an earlier leader are out of the way */
	g.client[0].at = (unsigned)rig_leader(&g);
	for (unsigned i = 0; i < 20; i++) {
		nsec_t began;

		rig_run(&g, (nsec_t)(500 + 137 * i) * NSEC_MSEC);
		snprintf(name, sizeof(name), "f%u", i);
		began = g.w.now;
		cr_assert_eq(rig_create(&g, 0, name), STATUS_OK);
		cr_assert_leq(g.w.now - began, 41 * NSEC_MSEC, "there, around, and back: %ld us",
		              (g.w.now - began) / 1000);
		began = g.w.now;
		cr_assert_eq(rig_lookup(&g, 0, name), STATUS_OK);
		cr_assert_leq(g.w.now - began, 61 * NSEC_MSEC);
	}
}

/* A8c: a voter whose disk was replaced has forgotten what it acknowledged; it must not help to elect
 * somebody who never heard of that. */
Test(cluster, a_voter_without_memory_elects_nobody)
{
	unsigned leader, wiped, late;
	struct msg q = {.type = MSG_TYPE_q_lookup};

	start(3, 1);
	leader = (unsigned)rig_leader(&g);
	wiped = (leader + 1) % 3;
	late = (leader + 2) % 3;
	rig_kill(&g, late);
	g.client[0].at = leader;
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK); /* on the leader and on the one to be wiped */
	rig_kill(&g, leader);
	rig_kill(&g, wiped);
	rig_wipe(&g, wiped);
	rig_start(&g, wiped);
	rig_start(&g, late);
	rig_run(&g, 10 * NSEC_SEC);
	cr_assert_eq(rig_leader(&g), -1, "nobody left knows of \"a\"");
	/* With the one who knows all is well, and the new disk counts again. */
	rig_start(&g, leader);
	q.q_lookup.dir = FILE_ROOT;
	q.q_lookup.name = span_of("a");
	cr_assert_eq(rig_call(&g, 0, &q, 10 * NSEC_SEC)->r_inode.status, STATUS_OK);
	rig_run(&g, 2 * NSEC_SEC);
	rig_kill(&g, late);
	g.client[0].at = leader;
	cr_assert_eq(rig_create(&g, 0, "b"), STATUS_OK);
	rig_start(&g, late);
	rig_run(&g, 2 * NSEC_SEC);
	rig_kill(&g, leader);
	g.client[0].at = wiped;
	cr_assert_eq(rig_lookup(&g, 0, "b"), STATUS_OK);
	cr_assert_eq(rig_create(&g, 0, "c"), STATUS_OK);
}

Test(cluster, starts_when_all_voters_have_been_there_once)
{
	rig_init(&g, 3, 1, 5);
	rig_start(&g, 0);
	rig_start(&g, 1);
	rig_run(&g, 5 * NSEC_SEC);
	cr_assert_eq(rig_leader(&g), -1);
	rig_start(&g, 2);
	cr_assert(rig_until(&g, 5 * NSEC_SEC, rig_has_leader));
	rig_kill(&g, 2);
	rig_open(&g, 0);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
}
