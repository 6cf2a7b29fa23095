/* P6 between those who want the same file, or who wait for somebody that is late: all get on. */
#include "tests/sim/scenarios.h"

/* A copy of A's question for a shared lease is held up. B takes the file, the leader who knows that the
 * question was answered dies, and B. The late copy is a recovery to the new leader: A holds the file and
 * does not know. It gives it back when asked, or its session would have to end. */
void scenario_p6_unknown(struct cluster *c)
{
	struct stage_rule *late;
	struct node *leader = stage_start_led(c);
	struct client *a, *b, *d;

	if (!leader)
		return;
	a = stage_client(c, leader->site % 3 + 1);
	b = stage_client(c, a->n->site % 3 + 1);
	d = stage_client(c, leader->site);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0 && stage_open(d, 1) == 0, "open");
	stage_expect(c, stage_write(b, 1, 0, 1, true) == 0, "B writes");
	late = stage_delay(c, MSG_TYPE_op_lease, a->n->id, 0, 10 * NSEC_SEC);
	late->times = 1;
	stage_expect(c, stage_read(a, 1, 0, 1) == 0 && late->hits > 0, "A reads");
	stage_expect(c, stage_write(b, 1, 0, 1, true) == 0, "B writes again");
	stage_crash(c, leader->id, true);
	stage_wait(c, 5 * NSEC_SEC);
	stage_expect(c, stage_leader(c) != NULL, "another leader");
	stage_crash(c, b->n->id, true);
	stage_wait(c, 8 * NSEC_SEC);
	stage_begin_write(d, 1, 1, 1, true);
	stage_expect(c, stage_finish(d, NSEC_SEC) == 0, "P6: A gives back what it does not know");
	stage_end(c);
}

/* Site 3 missed a write of file 1, then site 1 dies: before the file can be written, site 2 has to copy. */
static bool one_replica(struct cluster *c, struct client **a, struct client **b)
{
	if (!stage_begin(c, 2, a, 3, b))
		return false;
	stage_expect(c, stage_write(*a, 1, 0, 32, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 2, 3);
	stage_expect(c, stage_write(*a, 1, 0, 32, true) == 0, "second write");
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(*b, 1, 0, 32) == 0, "C reads");
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_wait(c, NSEC_SEC);
	return !c->w.failed;
}

/* Two want to write it: whoever has the lease keeps it for long enough to copy. */
void scenario_p6_repair(struct cluster *c)
{
	struct client *a, *b;

	if (!one_replica(c, &a, &b))
		return;
	stage_lift(c);
	stage_delay(c, MSG_TYPE_install, 0, cluster_core_id(3, 0), 250 * NSEC_MSEC);
	for (unsigned i = 0; i < 2; i++) {
		stage_begin_write(a, 1, 16 * i, 16, true);
		stage_begin_write(b, 1, 16 * i, 16, true);
		stage_expect(c, stage_finish(a, 4 * NSEC_SEC) == 0 && stage_finish(b, 4 * NSEC_SEC) == 0,
		             "P6: one of them writes, and the other");
	}
	stage_end(c);
}

/* It cannot be copied now. Writes of other files do not wait for that. */
void scenario_p6_others(struct cluster *c)
{
	struct client *a, *b;

	if (!one_replica(c, &a, &b))
		return;
	b = stage_client(c, 2);
	stage_lift(c);
	stage_drop(c, MSG_TYPE_install, 0, cluster_core_id(3, 0));
	stage_begin_write(a, 1, 0, 1, true);
	stage_wait(c, NSEC_SEC);
	stage_expect(c, stage_open(b, 2) == 0, "open another");
	stage_begin_write(b, 2, 0, 8, true);
	stage_expect(c, stage_finish(b, 2 * NSEC_SEC) == 0, "P6: a write waits for another file's replicas");
	stage_expect(c, stage_finish(a, 0) == -ETIMEDOUT, "the other waits");
	stage_end(c);
}

static void cut_site(struct cluster *c, unsigned site)
{
	for (unsigned i = 0; i < c->nodes; i++)
		for (unsigned k = 0; k < c->nodes; k++)
			if (c->node[i].site == site && c->node[k].site != site)
				stage_cut(c, c->node[i].id, c->node[k].id, true);
}

/* A's site is cut off. B writes in site 2 without a pause, C reads in site 3, for long: both get on, though
 * each needs what the other has just got, and the third replica comes to lag meanwhile. */
void scenario_p6_shared(struct cluster *c)
{
	nsec_t since_b, since_d, longest = 0, end;
	unsigned writes = 0, reads = 0;
	struct client *a, *b, *d;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	d = stage_client(c, 3);
	stage_expect(c, stage_open(d, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "A writes");
	cut_site(c, 1);
	stage_expect(c, stage_write(b, 1, 0, 1, true) == 0 && stage_read(d, 1, 0, 1) == 0, "B takes over");
	since_b = since_d = c->w.now;
	for (end = c->w.now + 10 * NSEC_SEC; c->w.now < end && !c->w.failed; stage_wait(c, NSEC_MSEC / 10)) {
		if (!b->busy) {
			longest = MAX(longest, c->w.now - since_b);
			since_b = c->w.now;
			stage_begin_write(b, 1, writes++ % 16, 1, true);
		}
		if (!d->busy) {
			longest = MAX(longest, c->w.now - since_d);
			since_d = c->w.now;
			stage_begin_read(d, 1, reads++ % 16, 1);
		}
	}
	longest = MAX(longest, c->w.now - MIN(since_b, since_d));
	stage_expect(c, longest < 2 * NSEC_SEC, "P6: both get on");
	stage_finish(b, NSEC_SEC);
	stage_finish(d, NSEC_SEC);
	stage_end(c);
}

/* The replica in A's own site answers, but late each time. A writes without a pause, C reads what A wrote every
 * 30 ms, so the lease goes to and fro: A waits neither for that replica nor for ever. */
void scenario_p6_late_home(struct cluster *c)
{
	nsec_t since, longest = 0, end, next_read;
	struct client *a, *b;
	struct node *home;
	unsigned writes = 0, reads = 0;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	home = cluster_find(c, cluster_core_id(1, 0));
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0 && stage_read(b, 1, 0, 1) == 0, "first write");
	c->net.pair[a->n->index][home->index].slow = 400 * NSEC_MSEC;
	c->net.pair[home->index][a->n->index].slow = 400 * NSEC_MSEC;
	since = next_read = c->w.now;
	for (end = c->w.now + 10 * NSEC_SEC; c->w.now < end && !c->w.failed; stage_wait(c, NSEC_MSEC)) {
		if (!a->busy) {
			longest = MAX(longest, c->w.now - since);
			since = c->w.now;
			stage_begin_write(a, 1, writes++ % 16, 1, true);
		}
		if (!b->busy && c->w.now >= next_read) {
			next_read = c->w.now + 30 * NSEC_MSEC;
			stage_begin_read(b, 1, reads++ % 16, 1);
		}
	}
	longest = MAX(longest, c->w.now - since);
	stage_expect(c, longest < 3 * NSEC_SEC, "P6: A gets on");
	stage_finish(a, 5 * NSEC_SEC);
	stage_finish(b, 5 * NSEC_SEC);
	c->net.pair[a->n->index][home->index].slow = 0;
	c->net.pair[home->index][a->n->index].slow = 0;
	stage_end(c);
}

/* The site of the catalog's leader is cut off while a file is read elsewhere that nobody writes. Readers need
 * the next leader, and wait for nothing that the one before may have granted: reading changes nothing. */
void scenario_p6_new_leader(struct cluster *c)
{
	struct node *leader = stage_start_led(c);
	struct client *a, *d;
	nsec_t led = 0, end;
	unsigned site, after = 0;

	if (!leader)
		return;
	site = leader->site;
	a = stage_client(c, site);
	d = stage_client(c, site % 3 + 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(d, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "A writes");
	stage_expect(c, stage_read(d, 1, 0, 1) == 0, "C reads");
	stage_wait(c, 2 * NSEC_SEC);
	cut_site(c, site);
	for (end = c->w.now + 4 * NSEC_SEC; c->w.now < end && !c->w.failed; stage_wait(c, NSEC_MSEC)) {
		leader = stage_leader(c);
		if (!led && leader && leader->site != site)
			led = c->w.now;
		if (d->busy)
			continue;
		stage_begin_read(d, 1, 3, 1);
		if (led && after++ == 2)
			break;
	}
	stage_expect(c, led && c->w.now - led < 500 * NSEC_MSEC, "P6: reading goes on with the next leader");
	stage_finish(d, NSEC_SEC);
	stage_end(c);
}
