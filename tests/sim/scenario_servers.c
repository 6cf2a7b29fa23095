/* Traps A8 and A10 to A13: disks without memory, sessions, sites, syncs; and P6. */

#include "tests/sim/scenarios.h"

#include "tests/sim/run.h"

/* Flushed on sites 1 and 2, site 3 is behind; the disk of site 1 is replaced, site 2 is cut off.
 * An empty disk and a late one are no majority. */
static void a8(struct cluster *c, bool rollback)
{
	struct node *core = cluster_find(c, cluster_core_id(1, 0));
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	node_remember(core);
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_wait(c, 500 * NSEC_MSEC); /* its heartbeats tell how far the journal is */
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, core->id, true);
	if (rollback)
		node_restore(core);
	else
		node_wipe(core);
	for (unsigned i = 0; i < c->nodes; i++) { /* not the votes of the site */
		if (c->node[i].index != cluster_find(c, cluster_core_id(2, 0))->index)
			stage_cut(c, cluster_core_id(2, 0), c->node[i].id, true);
	}
	stage_lift(c);
	stage_restart(c, core->id);
	stage_begin_read(b, 1, 0, 1);
	stage_finish(b, 6 * NSEC_SEC);
	stage_end(c);
}

void scenario_a8_blank(struct cluster *c)
{
	a8(c, false);
}

void scenario_a8_rollback(struct cluster *c)
{
	a8(c, true);
}

/* Site 3 has a new disk, which is filled under a lease that was no recovery. Then it misses a flushed write:
 * what it was filled with does not outrank that when the writer dies. */
void scenario_a8_refilled(struct cluster *c)
{
	struct node *core = cluster_find(c, cluster_core_id(3, 0));
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_expect(c, stage_read(b, 1, 0, 16) == 0, "B reads: the lease is given back");
	stage_crash(c, core->id, true);
	node_wipe(core);
	stage_restart(c, core->id);
	stage_wait(c, 8 * NSEC_SEC);
	stage_cut(c, cluster_access_id(1), core->id, true);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_cut(c, cluster_access_id(1), core->id, false);
	stage_expect(c, stage_read(b, 1, 0, 16) == 0, "B takes the file over");
	stage_end(c);
}

/* Site 3 acknowledges a write of which its heartbeats tell nobody, the lease is given back, and its disk
 * goes back to what heartbeats had told: nobody may read there. */
void scenario_a8_unheard(struct cluster *c)
{
	struct node *core = cluster_find(c, cluster_core_id(3, 0));
	struct client *a, *b, *d;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	d = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0 && stage_open(d, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 600 * NSEC_MSEC);
	node_remember(core);
	stage_cut_hints(c, core->id, true);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_wait(c, 100 * NSEC_MSEC);
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "B reads");
	stage_crash(c, core->id, true);
	node_restore(core);
	stage_cut_hints(c, core->id, false);
	stage_restart(c, core->id);
	stage_wait(c, NSEC_SEC);
	for (unsigned i = 0; i < 10; i++) {
		stage_expect(c, stage_read(d, 1, 0, 1) == 0, "read in site 3");
		stage_wait(c, 100 * NSEC_MSEC);
	}
	stage_end(c);
}

/* A new disk: its first process dies before it is registered, and its request arrives after that of the second
 * one, which has the same disk, or after a power cut a disk that is newer still. The living one goes on. */
static void late_word(struct cluster *c, bool another)
{
	struct node *core = cluster_find(c, cluster_core_id(3, 0));
	struct stage_rule *late;

	if (!stage_start(c))
		return;
	stage_crash(c, core->id, true);
	node_wipe(core);
	stage_wait(c, 3 * NSEC_SEC);
	late = stage_delay(c, MSG_TYPE_op_session, core->id, 0, (another ? 7 : 4) * NSEC_SEC);
	stage_restart(c, core->id);
	stage_wait(c, 800 * NSEC_MSEC);
	stage_expect(c, late->hits > 0, "a request is on its way");
	stage_crash(c, core->id, another);
	late->times = 0;
	if (another)
		node_wipe(core);
	stage_restart(c, core->id);
	stage_wait(c, (another ? 4 : 2) * NSEC_SEC);
	stage_expect(c, session_valid(core->session), "the second process serves");
	stage_wait(c, (another ? 6 : 4) * NSEC_SEC);
	stage_expect(c, session_valid(core->session), "it still does");
	stage_end(c);
}

/* They show the same, so the living one is taken for dead. */
void scenario_a8_late(struct cluster *c)
{
	late_word(c, false);
}

/* The late one is taken for the newest disk. */
void scenario_a8_twice(struct cluster *c)
{
	late_word(c, true);
}

/* The clock of the reader runs far too slow, so it believes in its lease; its nearest core server is
 * cut off from the catalog, and knows that it may not answer. */
void scenario_a10_fenced_reads(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0 && stage_read(b, 1, 0, 1) == 0, "read");
	node_set_clock_rate(b->n, -950000);
	simnet_cut_site(&c->net, 3, true);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "write without site 3");
	stage_wait(c, 3 * NSEC_SEC);
	stage_begin_read(b, 1, 0, 1);
	stage_finish(b, 3 * NSEC_SEC);
	stage_end(c);
}

/* A reader sleeps (SIGSTOP) while its nearest replica falls behind: the first thing it does when it
 * wakes is to read. */
void scenario_a10_paused(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0 && stage_read(b, 1, 0, 1) == 0, "read");
	node_pause(b->n, c->w.now + 4 * NSEC_SEC);
	stage_cut_hints(c, b->n->id, true); /* no word of theirs is waiting for it */
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "write while C sleeps");
	stage_wait(c, 4 * NSEC_SEC - 1 - (c->w.now % NSEC_SEC));
	node_resume(b->n);
	stage_begin_read(b, 1, 0, 1);
	stage_finish(b, 5 * NSEC_SEC);
	stage_end(c);
}

void shape_two_sites(struct shape *s)
{
	shape_three_sites(s);
	s->sites = 2;
	s->cores_per_site = 2;
}

/* Two sites: two replicas in one of them are not enough; that site burns. */
void scenario_a12(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_cut(c, cluster_access_id(1), cluster_core_id(2, 0), true);
	stage_cut(c, cluster_access_id(1), cluster_core_id(2, 1), true);
	stage_begin_write(a, 1, 0, 1, true);
	stage_expect(c, stage_finish(a, 3 * NSEC_SEC) == -ETIMEDOUT,
	             "P1: a flush succeeds with one of two sites");
	stage_end(c);
}

static void sync_slowly(struct cluster *c, nsec_t t)
{
	struct sim_disk_faults d = {.slow_sync_permille = t ? 1000 : 0, .slow_sync_ns = t, .tear_bytes = 512};

	for (unsigned s = 1; s <= 3; s++)
		sim_disk_set_faults(cluster_find(c, cluster_core_id(s, 0))->disk, &d);
}

/* Power goes everywhere in the middle of large overwrites, none of which is synced yet. */
void scenario_a13(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0, "open");
	for (unsigned round = 0; round < 4; round++) {
		stage_expect(c, stage_write(a, 1, 0, 32, true) == 0, "flushed write");
		sync_slowly(c, 200 * NSEC_MSEC);
		stage_begin_write(a, 1, 0, 32, true);
		stage_wait(c, world_between(&c->w, STREAM_FAULT, NSEC_MSEC, 50 * NSEC_MSEC));
		for (unsigned i = 0; i < c->nodes; i++)
			node_crash(&c->node[i], true);
		sync_slowly(c, 0);
		for (unsigned i = 0; i < c->nodes; i++)
			node_start(&c->node[i]);
		a = stage_client(c, 1);
		stage_expect(c, stage_open(a, 1) == 0 && stage_read(a, 1, 0, 32) == 0,
		             "P1: what was flushed can be read");
	}
	stage_end(c);
}

/* An fsync fails in site 2: what it should have covered is gone there, whatever a second one says.
 * Then site 1 burns. */
void scenario_a13_sync(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 1, 3);
	sim_disk_fail_next_sync(cluster_find(c, cluster_core_id(2, 0))->disk);
	stage_begin_write(a, 1, 0, 1, true);
	stage_finish(a, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_crash(c, cluster_core_id(2, 0), true);
	stage_restart(c, cluster_core_id(2, 0));
	stage_lift(c);
	if (stage_open(b, 1) == 0)
		stage_read(b, 1, 0, 1);
	stage_end(c);
}

/* P6: a holder flushes again and again while another site dies, hangs, or is cut off. */
void scenario_p6(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	for (unsigned i = 0; i < 220 && !c->w.failed; i++) {
		if (i == 10)
			stage_crash(c, cluster_core_id(2, 0), true);
		if (i == 40)
			stage_restart(c, cluster_core_id(2, 0));
		if (i == 60)
			node_pause(cluster_find(c, cluster_core_id(3, 0)), c->w.now + 2 * NSEC_SEC);
		if (i == 180) /* long enough after: the other two have what it missed */
			simnet_cut_site(&c->net, 2, true);
		stage_expect(c, stage_write(a, 1, i % 8, 1, false) == 0, "write");
		stage_begin_sync(a, 1);
		stage_expect(c, stage_finish(a, NSEC_SEC) == 0, "P6: a flush waits while a majority lives");
		stage_wait(c, 30 * NSEC_MSEC);
	}
	stage_end(c);
}

void scenario_calm(struct cluster *c)
{
	if (!run_until_made(c))
		return;
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind == SERVER_ACCESS)
			clients_start(c, &c->node[i]);
	}
	stage_wait(c, 5 * NSEC_SEC);
	if (run_heal(c))
		run_converge(c);
}
