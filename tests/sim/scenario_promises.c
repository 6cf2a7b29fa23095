/* P5 to P8: the minority serves nothing, nothing waits for the dead, no bad page is returned, all is
 * bounded. */

#include "tests/sim/scenarios.h"

#include "tests/sim/run.h"

/* A core server loses the catalog, then the access server does: neither may go on, whoever reaches it. */
void scenario_p5(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_expect(c, stage_open(b, 1) == 0, "open");
	stage_cut_hints(c, cluster_core_id(1, 0), true);
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0 && stage_read(a, 1, 0, 1) == 0, "site 1 fenced");
	stage_cut_hints(c, cluster_core_id(1, 0), false);
	stage_wait(c, NSEC_SEC);
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_wait(c, 3 * NSEC_SEC);
	stage_begin_read(a, 1, 0, 1);
	stage_begin_write(b, 1, 0, 1, false);
	stage_expect(c, stage_finish(a, NSEC_SEC) == -ETIMEDOUT && stage_finish(b, 0) == -ETIMEDOUT,
	             "P5: I/O without a session");
	stage_end(c);
}

/* A reader goes on while its nearest replica hangs, is far away, or dies. */
void scenario_p6_reads(struct cluster *c)
{
	struct node *near;
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	near = cluster_find(c, cluster_core_id(3, 0));
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 8, true) == 0 && stage_read(b, 1, 0, 1) == 0, "first read");
	for (unsigned i = 0; i < 150 && !c->w.failed; i++) {
		if (i == 10)
			node_pause(near, c->w.now + 2 * NSEC_SEC);
		if (i == 90)
			c->net.pair[near->index][b->n->index].slow = 3 * NSEC_SEC;
		if (i == 120)
			stage_crash(c, near->id, true);
		stage_begin_read(b, 1, i % 8, 1);
		stage_expect(c, stage_finish(b, NSEC_SEC) == 0, "P6: a read waits while two replicas live");
		stage_wait(c, 30 * NSEC_MSEC);
	}
	stage_end(c);
}

/* In the memory of the nearest replica a bit of every page it sends flips. */
void scenario_p7_read(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 4, true) == 0, "write");
	stage_expect(c, stage_open(b, 1) == 0, "open");
	stage_spoil(c, MSG_TYPE_read_reply, cluster_core_id(3, 0), cluster_access_id(3));
	stage_expect(c, stage_read(b, 1, 0, 4) == 0, "read");
	stage_end(c);
}

/* A bit of a write flips before it is sent to the replica that is read next. */
void scenario_p7_write(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_spoil(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0))->times = 2;
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "write");
	stage_wait(c, NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 16) == 0, "read");
	stage_end(c);
}

/* Pages rot, then a part of each is written: what is left of them must not get a good checksum. */
void scenario_p7_merge(struct cluster *c)
{
	struct node *core = cluster_find(c, cluster_core_id(1, 0));
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 0) == 0 && stage_write(a, 0, 0, 128, true) == 0, "write");
	stage_wait(c, NSEC_SEC);
	stage_expect(c, sim_disk_rot(core->disk, "data", 64) > 0, "pages rot");
	core->rotted = true;
	for (unsigned i = 0; i < 16; i++)
		stage_expect(c, stage_write(a, 0, 8 * i, 1, true) == 0, "small write");
	stage_wait(c, NSEC_SEC);
	stage_expect(c, stage_read(a, 0, 0, 128) == 0, "read");
	stage_end(c);
}

/* No replica but one is heard of again: a writer who does not sync fills the buffer, and waits. */
void scenario_p8(struct cluster *c)
{
	struct client *a;
	bool waited = false;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_drop(c, MSG_TYPE_write_reply, cluster_core_id(2, 0), cluster_access_id(1));
	stage_drop(c, MSG_TYPE_write_reply, cluster_core_id(3, 0), cluster_access_id(1));
	for (unsigned i = 0; i < 100 && !waited && !c->w.failed; i++) {
		stage_begin_write(a, 1, 0, 32, false);
		waited = stage_finish(a, NSEC_SEC) == -ETIMEDOUT;
	}
	stage_wait(c, 300 * NSEC_MSEC);
	stage_expect(c, waited, "P8: the writer waits");
	stage_end(c);
}
