/* Replicas that missed something: all of it comes to them, and what they lack is nowhere taken for a hole. */
#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/scenarios.h"

#define MANY 24

/* A makes many small files whose writes site 3 misses. */
static bool begin_many(struct cluster *c, struct client **a)
{
	if (!stage_start(c))
		return false;
	*a = stage_client(c, 1);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), true);
	for (unsigned n = 0; n < MANY; n++)
		stage_expect(c, stage_make(*a) == 0 && stage_write(*a, c->hist.files - 1, 0, 1, true) == 0,
		             "a file");
	stage_wait(c, 3 * NSEC_SEC);
	return true;
}

/* Copies follow one another as fast as they end: nobody waits for a look at the clock while others could be
 * copied. */
void scenario_p8_repair_many(struct cluster *c)
{
	struct client *a;
	struct vol_stats s;

	if (!begin_many(c, &a))
		return;
	vol_get_stats(a->n->volume, &s);
	stage_expect(c, s.stale_blocks >= MANY, "site 3 lags");
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), false);
	stage_wait(c, 3 * NSEC_SEC);
	vol_get_stats(a->n->volume, &s);
	stage_expect(c, s.stale_blocks == 0, "all of it was repaired");
	stage_end(c);
}

/* The catalog says so, or that it is to be recovered. */
static bool is_stale(struct cluster *c, uint32_t file)
{
	struct node *leader = stage_leader(c);
	struct catalog_inode i;

	return leader && catalog_inode(hint_catalog(leader->hint), c->hist.file[file].ino, &i) &&
	       (i.fields.state & INODE_STALE || i.unclean);
}

/* Writers in sites 2 and 3 take turns with a file, none for long. Site 1 missed some of it, and is back: it
 * gets that although nobody ever leaves the file alone. */
void scenario_p8_turns(struct cluster *c)
{
	struct client *w[2];
	nsec_t healed = 0, end;
	bool was_stale = false;

	if (!stage_begin(c, 2, &w[0], 3, &w[1]))
		return;
	stage_expect(c, stage_write(w[0], 1, 0, 16, true) == 0, "first write");
	for (unsigned s = 2; s <= 3; s++)
		stage_cut(c, cluster_access_id(s), cluster_core_id(1, 0), true);
	for (end = c->w.now + 20 * NSEC_SEC; c->w.now < end && !c->w.failed; stage_wait(c, NSEC_MSEC)) {
		for (unsigned i = 0; i < 2; i++)
			if (!w[i]->busy)
				stage_begin_write(w[i], 1, 8 * i, 1, true);
		was_stale |= is_stale(c, 1);
		if (!healed && was_stale && c->w.now > end - 15 * NSEC_SEC) {
			healed = c->w.now;
			for (unsigned s = 2; s <= 3; s++)
				stage_cut(c, cluster_access_id(s), cluster_core_id(1, 0), false);
		}
		if (healed && !is_stale(c, 1))
			break;
	}
	stage_expect(c, was_stale && healed, "site 1 lags");
	stage_expect(c, !is_stale(c, 1), "it is repaired");
	stage_finish(w[0], NSEC_SEC);
	stage_finish(w[1], NSEC_SEC);
	stage_end(c);
}

/* The writer of all these dies. Nobody holds them then: they are repaired one after the other, too, not one at
 * each look at the clock. */
void scenario_p8_repair_idle(struct cluster *c)
{
	unsigned stale = 0;
	struct client *a;

	if (!begin_many(c, &a))
		return;
	stage_crash(c, cluster_access_id(1), false);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), false);
	stage_restart(c, cluster_access_id(1));
	stage_wait(c, 10 * NSEC_SEC); /* two session times, and then repair */
	for (uint32_t file = 0; file < c->hist.files; file++)
		stale += is_stale(c, file);
	stage_expect(c, stale == 0, "all of it was repaired");
	stage_end(c);
}

/* Site 3 took no part in a recovery. Who holds the file next asks for its blocks, to punch some, just when it
 * begins to repair: then site 3 counts for nothing any more, though it was asked, and has no stale bits. */
void scenario_p3_behind(struct cluster *c)
{
	server_id_t behind = cluster_core_id(3, 0);
	struct client *a, *b, *d;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	d = stage_client(c, 3);
	stage_expect(c, stage_open(d, 1) == 0 && stage_write(b, 1, 0, 32, true) == 0, "B writes");
	stage_crash(c, behind, false);
	stage_crash(c, cluster_access_id(2), true);
	stage_drop(c, MSG_TYPE_seal, cluster_access_id(1), behind);
	stage_expect(c, stage_read(a, 1, 0, 32) == 0, "A recovers");
	stage_restart(c, behind);
	stage_wait(c, 2 * NSEC_SEC);
	stage_delay(c, MSG_TYPE_list_reply, behind, d->n->id, 1200 * NSEC_MSEC);
	for (unsigned site = 1; site <= 2; site++)
		stage_delay(c, MSG_TYPE_list_reply, cluster_core_id(site, 0), d->n->id, 2 * NSEC_SEC);
	stage_expect(c, stage_punch(d, 1, 0, 16) == 0, "C punches");
	stage_expect(c, stage_read(d, 1, 0, 32) == 0, "C reads");
	stage_end(c);
}

/* As many files as there are mounts lag in site 3, where no copy can be stored; one more lags in site 2. */
void scenario_p1_repair(struct cluster *c)
{
	struct stage_rule *write, *copy;
	struct client *a, *b;
	uint32_t n;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	n = c->hist.files;
	for (uint32_t k = n; k < n + 4; k++)
		stage_expect(c, stage_make(a) == 0 && stage_write(a, k, 0, 1, true) == 0, "a file");
	stage_wait(c, NSEC_SEC);
	stage_spoil(c, MSG_TYPE_install, 0, cluster_core_id(3, 0));
	write = stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0));
	for (uint32_t k = n; k < n + 3; k++)
		stage_expect(c, stage_write(a, k, 0, 1, true) == 0, "write");
	stage_wait(c, 2 * NSEC_SEC);
	write->times = 0;
	stage_pass_by(c, 1, 2);
	stage_expect(c, stage_write(a, n + 3, 0, 1, true) == 0, "write");
	stage_wait(c, 2 * NSEC_SEC);
	for (uint32_t k = n; k < n + 4; k++)
		stage_expect(c, stage_open(b, k) == 0 && stage_read(b, k, 0, 1) == 0, "read elsewhere");
	stage_drop(c, MSG_TYPE_install, 0, cluster_core_id(2, 0));
	stage_wait(c, 8 * NSEC_SEC); /* each mount has one */
	stage_lift(c);
	stage_spoil(c, MSG_TYPE_install, 0, cluster_core_id(3, 0));
	copy = stage_delay(c, MSG_TYPE_install_reply, cluster_core_id(2, 0), 0, 0);
	stage_wait(c, 20 * NSEC_SEC);
	stage_expect(c, copy->hits > 0, "P1: a file that can be repaired is repaired");
	stage_end(c);
}

/* Site 1 has a new disk, which the holder makes whole but for the last word: that its copies were stored. The
 * next holder begins where that one ended. */
void scenario_p1_refilled(struct cluster *c)
{
	struct node *core = cluster_find(c, cluster_core_id(1, 0));
	struct stage_rule *copied;
	struct client *a, *b;
	struct vol_stats s;

	if (!stage_begin(c, 2, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 32, true) == 0, "write");
	stage_wait(c, NSEC_SEC);
	stage_crash(c, core->id, true);
	node_wipe(core);
	copied = stage_drop(c, MSG_TYPE_install_reply, core->id, 0);
	stage_restart(c, core->id);
	for (unsigned i = 0; i < 1000 && copied->hits < 3; i++)
		stage_wait(c, 10 * NSEC_MSEC);
	stage_expect(c, copied->hits > 0, "it is copied to");
	stage_expect(c, stage_write(b, 1, 40, 1, true) == 0, "the next holder");
	vol_get_stats(b->n->volume, &s);
	stage_expect(c, s.stale_blocks > 0, "knows of its lag");
	stage_lift(c);
	stage_wait(c, 6 * NSEC_SEC);
	vol_get_stats(b->n->volume, &s);
	stage_expect(c, s.stale_blocks == 0, "P1: and ends the repair");
	stage_end(c);
}
