/* P8: full disks. Files 1 and 2 have 48 pages each. */

#include "tests/sim/scenarios.h"

#define LEFT (160u << 10) /* twice that is less than the two files */
#define UNITS (FILE_BYTES / PAGE_BYTES)

static void shape_full(struct shape *s, unsigned sites)
{
	shape_three_sites(s);
	s->disk_left = LEFT;
	s->full_sites = sites;
}

void shape_one_full(struct shape *s)
{
	shape_full(s, 1u << 3);
}

void shape_two_full(struct shape *s)
{
	shape_full(s, 1u << 2 | 1u << 3);
}

void shape_all_full(struct shape *s)
{
	shape_full(s, 1u << 1 | 1u << 2 | 1u << 3);
}

/* Four pages of the two files after the other; 0, or the first error. */
static int write_all(struct client *cl)
{
	for (uint32_t unit = 0; unit < 2 * UNITS; unit += 4) {
		int rc = stage_write(cl, 1 + unit / UNITS, unit % UNITS, 4, false);

		if (rc < 0)
			return rc;
		stage_wait(cl->c, 20 * NSEC_MSEC);
	}
	return 0;
}

static bool sync_all(struct client *cl)
{
	return stage_sync(cl, 1) == 0 && stage_sync(cl, 2) == 0;
}

/* The third replica stays behind and is repaired when it has space. */
void scenario_p8_one(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(a, 2) == 0, "open");
	stage_expect(c, write_all(a) == 0, "writes while one disk is full");
	stage_expect(c, sync_all(a), "flush while one disk is full");
	stage_end(c);
}

/* What was accepted is flushed, what frees space works, recovery and reads as well; then there is
 * room for writes again, also without a bigger disk. */
void scenario_p8_full(struct cluster *c)
{
	struct client *a, *b;
	int rc = -ENOSPC;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(a, 2) == 0, "open");
	stage_expect(c, write_all(a) == -ENOSPC, "ENOSPC while the disks are full");
	stage_expect(c, sync_all(a), "flush while the disks are full");
	stage_expect(c, stage_truncate(a, 1, 4) == 0, "truncate while the disks are full");
	stage_expect(c, stage_punch(a, 2, 0, 8) == 0, "punch while the disks are full");
	stage_expect(c, sync_all(a), "flush of a cut while the disks are full");
	for (unsigned i = 0; i < 40 && rc == -ENOSPC; i++) {
		stage_wait(c, 250 * NSEC_MSEC);
		rc = stage_write(a, 2, 0, 16, true);
	}
	stage_expect(c, rc == 0, "a write to what the cut gave back");
	stage_crash(c, cluster_access_id(1), true);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, UNITS) == 0, "B recovers");
	stage_expect(c, stage_open(b, 2) == 0 && stage_read(b, 2, 0, UNITS) == 0, "B recovers");
	for (unsigned s = 1; s <= 3; s++)
		core_unfill(cluster_find(c, cluster_core_id(s, 0)));
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, write_all(b) == 0 && sync_all(b), "writes when there is space again");
	stage_end(c);
}

void shape_names(struct shape *s)
{
	shape_three_sites(s);
	s->names = true;
}

static void make_and_remove(struct client *cl, unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		stage_expect(cl->c, stage_create(cl, 0) == 0 && stage_unlink(cl, 0) == 0, "create and unlink");
}

/* Not even its reserve is left to one voter, the leader: it hands over, lags, and is one of three again
 * when there is room, without anybody starting it. */
void scenario_p8_voter(struct cluster *c)
{
	struct node *leader;
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	make_and_remove(a, 1);
	leader = stage_leader(c);
	hint_fill(leader, 0);
	make_and_remove(a, 100);
	stage_expect(c, leader->alive && stage_leader(c) != leader, "another leads");
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "data is written");
	hint_fill(leader, UINT64_MAX);
	stage_wait(c, 3 * NSEC_SEC);
	for (unsigned i = 1; i <= 3; i++)
		if (cluster_hint_id(i) != leader->id)
			stage_crash(c, cluster_hint_id(i), true), i = 3;
	make_and_remove(a, 1);
	stage_end(c);
}

static void voters_fill(struct cluster *c, uint64_t left)
{
	for (unsigned i = 1; i <= 2; i++)
		hint_fill(cluster_find(c, cluster_hint_id(i)), left);
	stage_wait(c, 3 * NSEC_SEC);
}

/* The request goes twice, as the first answer is late. The second copy is refused; when the first one comes
 * there is room, but whoever asked has been told ENOSPC. */
void scenario_p3_refused(struct cluster *c)
{
	struct stage_rule *first;
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_create(a, 0) == 0, "create");
	voters_fill(c, HINT_RESERVE / 2);
	first = stage_delay(c, MSG_TYPE_op_create, cluster_access_id(1), 0, 5 * NSEC_SEC);
	first->times = 1;
	stage_expect(c, stage_create(a, 2) == -ENOSPC, "ENOSPC from create");
	stage_expect(c, first->hits == 1, "its first copy is late");
	voters_fill(c, UINT64_MAX);
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_unlink(a, 2) == -ENOENT, "the refused name is not there");
	stage_expect(c, stage_create(a, 2) == 0, "create when there is room again");
	stage_end(c);
}

/* Two have their reserve left. Nothing new is made; what exists is written, renamed and deleted. */
void scenario_p8_voters(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_create(a, 0) == 0 && stage_create(a, 1) == 0, "create");
	stage_expect(c, stage_open(a, 1) == 0, "open");
	voters_fill(c, HINT_RESERVE / 2);
	stage_expect(c, stage_create(a, 2) == -ENOSPC, "ENOSPC from create");
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "data is written");
	stage_begin_rename(a, 0, 3);
	stage_expect(c, stage_finish(a, STAGE_OP_MAX) == 0, "rename");
	stage_expect(c, stage_unlink(a, 1) == 0, "unlink");
	voters_fill(c, UINT64_MAX);
	stage_expect(c, stage_create(a, 2) == 0, "create when there is room again");
	stage_end(c);
}
