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
