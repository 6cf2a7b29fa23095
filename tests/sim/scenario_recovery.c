/* Traps A1, A2, A3: what recovery must do so that the past stays closed. Sites 1 to 3, file 1 (pages).
 * Access servers: A in site 1, B in site 2, C in site 3. */

#include "tests/sim/scenarios.h"

void shape_three_sites(struct shape *s)
{
	s->sites = 3;
	s->hints = 3;
	s->cores_per_site = 1;
	s->names = s->appends = s->locks = false;
	s->follow_writer = 0;
	s->wan_ms_max = 5;
	s->drift_ppm = 0;
	s->full_sites = 0;
}

void shape_two_cores(struct shape *s)
{
	shape_three_sites(s);
	s->cores_per_site = 2;
}

/* The first write fills the block: recovery has nothing to zero behind the size, which would be a
 * newer version by itself. A write reaches site 1 alone; its writer dies. B recovers without site 1
 * and serves the old page. B dies; the next recovery sees site 1 again: the lost write must not come
 * back. */
void scenario_a1(struct cluster *c)
{
	struct client *a, *b, *b2;
	int rc;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(2, 0));
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0));
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), false);
	stage_lift(c);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 1) == 0, "B reads");
	stage_crash(c, cluster_access_id(2), true);
	stage_restart(c, cluster_core_id(1, 0));
	stage_wait(c, 500 * NSEC_MSEC);
	stage_crash(c, cluster_core_id(3, 0), false);
	stage_restart(c, cluster_access_id(2));
	b2 = stage_client(c, 2);
	rc = stage_open(b2, 1);
	if (rc == 0)
		stage_read(b2, 1, 0, 1);
	stage_end(c);
}

/* Variant: between the two recoveries another page is written; replicas must end up equal. */
void scenario_a1_mixture(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(2, 0));
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0));
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), false);
	stage_lift(c);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(b, 1) == 0 && stage_write(b, 1, 1, 1, true) == 0, "B writes");
	stage_restart(c, cluster_core_id(1, 0));
	stage_wait(c, 3 * NSEC_SEC);
	stage_read(b, 1, 0, 2);
	stage_end(c);
}

/* The disk of site 2 is slow: one write waits there for its sync when the seal comes, another for the
 * sync after that. Their holder is cut off from the catalog, not from the core servers. */
void scenario_a2(struct cluster *c)
{
	struct sim_disk_faults slow = {.slow_sync_permille = 1000, .slow_sync_ns = 4 * NSEC_SEC};
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 32, true) == 0, "first write");
	stage_expect(c, stage_open(b, 1) == 0, "C opens");
	sim_disk_set_faults(cluster_find(c, cluster_core_id(2, 0))->disk, &slow);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0));
	stage_drop(c, 0, cluster_access_id(3), cluster_core_id(1, 0));
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "second write");
	stage_wait(c, 50 * NSEC_MSEC);
	stage_expect(c, stage_write(a, 1, 16, 1, false) == 0, "third write");
	stage_begin_sync(a, 1);
	stage_wait(c, 50 * NSEC_MSEC);
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_begin_read(b, 1, 16, 1);
	stage_wait(c, 4200 * NSEC_MSEC);
	sim_disk_set_faults(cluster_find(c, cluster_core_id(2, 0))->disk, &(struct sim_disk_faults){0});
	stage_finish(b, 10 * NSEC_SEC);
	stage_finish(a, 6 * NSEC_SEC);
	stage_read(b, 1, 0, 32);
	stage_end(c);
}

/* Two servers per site. One server of each of two sites answers the seal, but for this block only
 * one of them counts: the old holder still finds two others. */
void scenario_a3(struct cluster *c)
{
	server_id_t r[4], other[4];
	struct client *a, *b;

	if (!stage_start(c))
		return;
	for (unsigned s = 1; s <= 3; s++) {
		r[s] = stage_replica(c, 1, 0, s);
		other[s] = r[s] == cluster_core_id(s, 0) ? cluster_core_id(s, 1) : cluster_core_id(s, 0);
	}
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_expect(c, stage_open(b, 1) == 0, "B opens");
	for (unsigned s = 1; s <= 3; s++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), r[s]);
	stage_begin_write(a, 1, 0, 1, false);
	stage_finish(a, NSEC_SEC);
	stage_begin_sync(a, 1);
	stage_crash(c, r[1], false);
	stage_crash(c, other[2], false);
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_cut(c, cluster_access_id(2), r[3], true);
	stage_cut(c, cluster_access_id(2), other[3], true);
	stage_begin_read(b, 1, 0, 1); /* must wait: r[2] alone is no majority of the block */
	stage_finish(b, 5 * NSEC_SEC);
	stage_lift(c);
	stage_restart(c, r[1]);
	stage_finish(a, 5 * NSEC_SEC);
	stage_finish(b, 5 * NSEC_SEC);
	stage_end(c);
}

void shape_few_exceptions(struct shape *s)
{
	shape_two_cores(s);
	s->exceptions_max = 2;
}

/* A CLOSE has room for two exceptions, and more blocks than that differ: a new disk is filled step by
 * step before it counts, and a server that lagged is brought near enough before the file is served. */
void scenario_close_refill(struct cluster *c)
{
	struct node *core;
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 48, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	for (unsigned i = 0; i < 2; i++) {
		core = cluster_find(c, cluster_core_id(2, i));
		stage_crash(c, core->id, true);
		node_wipe(core);
		stage_restart(c, core->id);
	}
	stage_wait(c, 5 * NSEC_SEC);
	for (unsigned i = 0; i < 2; i++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, i));
	for (unsigned i = 0; i < 2; i++)
		stage_drop(c, MSG_TYPE_install, cluster_access_id(1), cluster_core_id(3, i));
	stage_expect(c, stage_write(a, 1, 0, 48, true) == 0, "second write");
	stage_crash(c, cluster_access_id(1), true);
	stage_lift(c);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 48) == 0, "C reads");
	stage_end(c);
}

/* With a server missing in two sites some blocks would wait, more than a CLOSE can name: the file
 * waits as a whole, and is there when one of the servers comes back. */
void scenario_close_partial(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 48, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_crash(c, cluster_core_id(2, 0), true);
	stage_expect(c, stage_open(b, 1) == 0, "C opens");
	stage_begin_read(b, 1, 0, 48);
	stage_expect(c, stage_finish(b, 8 * NSEC_SEC) == -ETIMEDOUT, "it waits");
	stage_restart(c, cluster_core_id(2, 0));
	stage_expect(c, stage_finish(b, 3 * NSEC_SEC) == 0, "it goes on");
	stage_end(c);
}

/* B takes over the file of a dead writer, and its recovery fails: no core server gets its CLOSE. While the
 * lease goes back B knows the size of before; C, who asks meanwhile, is told the true one. */
void scenario_p3_unrecovered(struct cluster *c)
{
	struct client *a, *b, *d;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	d = stage_client(c, 3);
	stage_expect(c, stage_open(d, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "A writes");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_drop(c, MSG_TYPE_close, cluster_access_id(2), 0);
	stage_delay(c, MSG_TYPE_op_release, cluster_access_id(2), 0, 2 * NSEC_SEC);
	stage_begin_read(b, 1, 0, 1);
	stage_wait(c, 4 * NSEC_SEC);
	stage_begin_stat(d, 1);
	stage_wait(c, 5 * NSEC_SEC);
	stage_lift(c);
	stage_expect(c, stage_finish(d, 10 * NSEC_SEC) == 0, "C is told the size");
	stage_finish(b, 10 * NSEC_SEC);
	stage_end(c);
}

void shape_absent(struct shape *s)
{
	shape_three_sites(s);
	s->recover_after = 0;
}

/* A is cut off with buffered writes in two files. C needs one of them, so A's session ends. The other one
 * nobody needs: A comes back and flushes it, and its program has only waited. */
void scenario_absent(struct cluster *c)
{
	server_id_t access = cluster_access_id(1);
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_open(a, 2) == 0 && stage_open(b, 2) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0 && stage_write(a, 2, 0, 1, true) == 0, "A writes");
	stage_cut_hints(c, access, true);
	stage_expect(c, stage_write(a, 1, 1, 1, false) == 0, "A writes on");
	stage_expect(c, stage_write(b, 2, 1, 1, true) == 0, "C takes the other file");
	stage_wait(c, 5 * NSEC_SEC);
	stage_cut_hints(c, access, false);
	stage_wait(c, 2 * NSEC_SEC);
	stage_expect(c, stage_sync(a, 1) == 0, "A has only waited");
	stage_expect(c, stage_write(a, 2, 2, 1, false) == -EIO, "A9: what was taken is lost");
	stage_end(c);
}
