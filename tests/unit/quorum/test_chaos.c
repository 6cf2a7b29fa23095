/* Random power cuts, partitions, loss and duplicates over five hint servers; small logs, so that
 * snapshots take part. What was acknowledged is there afterwards, made once, on all of them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/quorum/rig.h"

#ifndef SEEDS
#define SEEDS 25
#endif
#define STEPS 60
#define HINTS 5

static struct rig g;
static unsigned made, n_names;
static bool acknowledged[1000];

static void cut_at_random(void)
{
	memset(g.cut, 0, sizeof(g.cut));
	if (world_chance(&g.w, STREAM_FAULT, 400))
		return;
	for (unsigned i = 0; i < HINTS; i++)
		for (unsigned k = 0; k < HINTS; k++)
			g.cut[i][k] = i != k && world_chance(&g.w, STREAM_FAULT, 250);
}

static void kill_or_start(void)
{
	unsigned i = (unsigned)world_between(&g.w, STREAM_FAULT, 0, HINTS - 1);

	if (g.node[i].hint && world_chance(&g.w, STREAM_FAULT, 500))
		rig_kill(&g, i);
	else if (!g.node[i].hint)
		rig_start(&g, i);
}

static void step(void)
{
	struct msg m = {.type = MSG_TYPE_op_create};
	char name[16];

	if (world_chance(&g.w, STREAM_FAULT, 300))
		cut_at_random();
	if (world_chance(&g.w, STREAM_FAULT, 300))
		kill_or_start();
	g.loss_permille = world_chance(&g.w, STREAM_FAULT, 300) ? 100 : 0;
	g.duplicate_permille = 50;
	g.client[0].at = (unsigned)world_between(&g.w, STREAM_CLIENT, 0, HINTS - 1);
	if (rig_replied(&g, 0)) {
		if (n_names && g.client[0].reply.type == MSG_TYPE_r_inode) {
			cr_assert_eq(g.client[0].reply.r_inode.status, STATUS_OK, "made twice");
			acknowledged[n_names - 1] = true;
			made++;
		}
		snprintf(name, sizeof(name), "f%u", n_names++);
		m.op_create.dir = FILE_ROOT;
		m.op_create.name = span_of(name);
		m.op_create.mode = 0040755;
		rig_send(&g, 0, &m);
	}
	rig_run(&g, world_between(&g.w, STREAM_CLIENT, 1, 400) * NSEC_MSEC);
}

static void heal_and_check(uint64_t seed)
{
	struct hint_status st;
	uint64_t applied = 0;

	memset(g.cut, 0, sizeof(g.cut));
	g.loss_permille = g.duplicate_permille = 0;
	for (unsigned i = 0; i < HINTS; i++)
		if (!g.node[i].hint)
			rig_start(&g, i);
	rig_run(&g, 10 * NSEC_SEC);
	cr_assert_geq(rig_leader(&g), 0, "seed %lu: no leader after healing", seed);
	for (unsigned i = 0; i < n_names; i++) {
		char name[16];
		uint16_t status;

		snprintf(name, sizeof(name), "f%u", i);
		status = rig_lookup(&g, 0, name);
		cr_assert(status == STATUS_OK || !acknowledged[i], "seed %lu: %s was acknowledged: %s", seed,
		          name, status_text(status));
	}
	rig_run(&g, 2 * NSEC_SEC);
	for (unsigned i = 0; i < HINTS; i++) {
		hint_get_status(g.node[i].hint, &st);
		cr_assert_not(st.failed, "seed %lu: %s", seed, hint_why(g.node[i].hint));
		cr_assert(i == 0 || st.applied == applied, "seed %lu: server %u lags", seed, i);
		applied = st.applied;
	}
}

Test(chaos, what_was_acknowledged_stays)
{
	unsigned all = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		rig_init(&g, HINTS, 1, seed);
		g.config.snapshot_entries = 16;
		made = n_names = 0;
		memset(acknowledged, 0, sizeof(acknowledged));
		for (unsigned i = 0; i < HINTS; i++)
			rig_start(&g, i);
		rig_open(&g, 0);
		memset(&g.client[0].reply, 0, sizeof(g.client[0].reply));
		for (unsigned n = 0; n < STEPS; n++)
			step();
		heal_and_check(seed);
		all += made;
		rig_fini(&g);
	}
	cr_assert_gt(all, SEEDS * STEPS / 8, "only %u names were made: the faults leave no service", all);
}
