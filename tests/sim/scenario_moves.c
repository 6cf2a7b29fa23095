/* Trap A4: replicas move to another site while the file is used. Four sites; file 1 lives in three. */

#include "access-server/volume/volume.h"
#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/mover.h"
#include "tests/sim/scenarios.h"

#define FILE 1u
#define TRIES 40
#define AGAIN (300 * NSEC_MSEC)

void shape_four_sites(struct shape *s)
{
	shape_three_sites(s);
	s->sites = 4;
}

void shape_follow_writer(struct shape *s)
{
	shape_four_sites(s);
	s->follow_writer = 2 * NSEC_SEC;
}

struct story {
	uint16_t old, kept[2], new; /* sites: the replica moves from old to new */
	struct client *a, *b;       /* in the sites kept[0] and new; both have the file open */
};

static bool inode(struct cluster *c, struct catalog_inode *out)
{
	struct node *leader = stage_leader(c);

	return leader && catalog_inode(hint_catalog(leader->hint), c->hist.file[FILE].ino, out);
}

static bool lives_in(struct cluster *c, uint16_t site)
{
	struct catalog_inode i;

	return inode(c, &i) && (i.fields.site0 == site || i.fields.site1 == site || i.fields.site2 == site);
}

/* Nothing of it is stale. */
static bool whole(struct cluster *c)
{
	struct catalog_inode i;

	return inode(c, &i) && !(i.fields.state & INODE_STALE);
}

/* Asks until the replica is where it is to be; false: it does not go there. */
static bool move(struct cluster *c, uint16_t from, uint16_t to)
{
	for (unsigned n = 0; n < TRIES && !lives_in(c, to) && !c->w.failed; n++) {
		mover_ask(c, FILE, from, to);
		stage_wait(c, AGAIN);
	}
	return lives_in(c, to);
}

static bool wait_whole(struct cluster *c)
{
	for (unsigned n = 0; n < 2 * TRIES && !whole(c) && !c->w.failed; n++)
		stage_wait(c, AGAIN);
	return whole(c);
}

static bool begin(struct cluster *c, struct story *s)
{
	const uint16_t *site = c->hist.file[FILE].site;

	if (!stage_start(c))
		return false;
	*s = (struct story){site[0], {site[1], site[2]}, mover_spare(c, FILE), NULL, NULL};
	s->a = stage_client(c, s->kept[0]);
	s->b = stage_client(c, s->new);
	stage_expect(c, stage_open(s->a, FILE) == 0 && stage_open(s->b, FILE) == 0, "open");
	stage_expect(c, stage_write(s->a, FILE, 0, 32, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	return !c->w.failed;
}

/* Where the replica is to go nothing arrives: it stays where it is, and counts. */
void scenario_a4_unfilled(struct cluster *c)
{
	struct story s;

	if (!begin(c, &s))
		return;
	stage_drop(c, MSG_TYPE_install, 0, cluster_core_id(s.new, 0));
	for (unsigned n = 0; n < 10; n++) {
		mover_ask(c, FILE, s.old, s.new);
		stage_wait(c, AGAIN);
	}
	stage_expect(c, lives_in(c, s.old) && !lives_in(c, s.new), "the replica stays");
	stage_expect(c, stage_write(s.a, FILE, 0, 1, true) == 0, "second write");
	stage_crash(c, cluster_access_id(s.kept[0]), true);
	stage_crash(c, cluster_core_id(s.kept[0], 0), true);
	stage_expect(c, stage_read(s.b, FILE, 0, 32) == 0, "B takes the file over");
	stage_lift(c);
	stage_restart(c, cluster_core_id(s.kept[0], 0));
	stage_expect(c, move(c, s.old, s.new), "the replica moves");
	stage_expect(c, wait_whole(c), "it is whole");
	stage_crash(c, cluster_core_id(s.kept[1], 0), true);
	stage_expect(c, stage_write(s.b, FILE, 3, 1, true) == 0, "it is one of two that count");
	stage_expect(c, stage_read(s.b, FILE, 0, 32) == 0, "B reads everything");
	stage_end(c);
}

/* A write comes between what the holder last heard of the new replica and the move. The release says so: nobody
 * reads there what was before. */
void scenario_a4_written(struct cluster *c)
{
	struct stage_rule *late;
	struct story s;

	if (!begin(c, &s))
		return;
	late = stage_delay(c, MSG_TYPE_close_reply, cluster_core_id(s.new, 0), s.a->n->id, 400 * NSEC_MSEC);
	stage_expect(c, vol_move(s.a->n->volume, c->hist.file[FILE].ino, s.old, s.new, 0), "A moves the file");
	node_after(s.a->n);
	for (unsigned n = 0; n < 200 && late->hits == 0; n++)
		stage_wait(c, 10 * NSEC_MSEC);
	stage_drop(c, MSG_TYPE_install, 0, cluster_core_id(s.new, 0));
	stage_expect(c, stage_write(s.a, FILE, 0, 4, true) == 0, "second write");
	for (unsigned n = 0; n < TRIES && !lives_in(c, s.new); n++)
		stage_wait(c, AGAIN);
	stage_expect(c, lives_in(c, s.new), "the replica moves");
	stage_expect(c, stage_read(s.b, FILE, 0, 32) == 0, "B reads everything");
	stage_lift(c);
	stage_expect(c, wait_whole(c), "it is made whole");
	stage_end(c);
}

/* One of the replicas that stay missed a write: of the two that have it none may go. */
void scenario_a4_lagging(struct cluster *c)
{
	server_id_t lags;
	struct client *d;
	struct story s;

	if (!begin(c, &s))
		return;
	lags = cluster_core_id(s.kept[1], 0);
	d = stage_client(c, s.kept[1]);
	stage_expect(c, stage_open(d, FILE) == 0, "open");
	for (uint16_t site = 1; site <= 4; site++)
		stage_cut(c, cluster_access_id(site), lags, true);
	stage_expect(c, stage_write(s.a, FILE, 0, 4, true) == 0, "second write");
	stage_wait(c, 3 * NSEC_SEC);
	for (unsigned n = 0; n < 5; n++) {
		mover_ask(c, FILE, s.old, s.new);
		stage_wait(c, AGAIN);
	}
	stage_drop(c, MSG_TYPE_install, 0, lags);
	stage_cut(c, cluster_access_id(s.kept[1]), lags, false);
	stage_wait(c, NSEC_SEC);
	stage_expect(c, stage_read(d, FILE, 0, 4) == 0, "the site that lagged reads");
	stage_lift(c);
	for (uint16_t site = 1; site <= 4; site++)
		stage_cut(c, cluster_access_id(site), lags, false);
	stage_expect(c, move(c, s.old, s.new), "the replica moves once nothing lags");
	stage_expect(c, wait_whole(c), "it is whole");
	stage_end(c);
}

/* All three replicas move, one after the other, while the file is written; each old server drops what it
 * has. Then one of them comes back: what it had once counts for nothing. */
void scenario_a4_around(struct cluster *c)
{
	struct story s;
	uint16_t to, from[3];

	if (!begin(c, &s))
		return;
	to = s.new;
	from[0] = s.old;
	from[1] = s.kept[0];
	from[2] = s.kept[1];
	for (unsigned k = 0; k < 6 && !c->w.failed; k++) {
		stage_expect(c, move(c, from[k % 3], to), "a replica moves");
		stage_expect(c, stage_write(k % 2 ? s.a : s.b, FILE, k, 2, true) == 0, "a write");
		stage_expect(c, wait_whole(c), "it is filled");
		stage_wait(c, k == 2 ? 12 * NSEC_SEC : NSEC_SEC);
		uint16_t left = from[k % 3];

		from[k % 3] = to;
		to = left;
	}
	stage_crash(c, cluster_core_id(from[0], 0), true);
	stage_expect(c, stage_write(s.a, FILE, 20, 2, true) == 0, "two that came are enough");
	stage_expect(c, stage_read(s.b, FILE, 0, 32) == 0, "B reads everything");
	stage_end(c);
}

void shape_drained(struct shape *s)
{
	shape_three_sites(s);
	s->cores_per_site = 2;
	s->moves = true; /* the end waits for it, too */
}

/* A core server is drained while its files are written. What it has goes to the other one of its site; then
 * a site is lost, and it is gone itself. */
void scenario_a4_drain(struct cluster *c)
{
	server_id_t leaves = cluster_core_id(2, 1);
	struct node *leader;
	struct client *a;

	if (!stage_start(c))
		return;
	leader = stage_leader(c);
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, FILE) == 0 && stage_write(a, FILE, 0, 32, true) == 0, "first write");
	stage_expect(c, leader && hint_drain(leader->hint, leaves, true) == STATUS_OK, "it can be drained");
	node_after(leader);
	for (unsigned n = 0; n < 100 && (n < 4 || mover_left(c)) && !c->w.failed; n++) {
		stage_expect(c, stage_write(a, FILE, n % 32, 1, true) == 0, "writing goes on");
		stage_wait(c, AGAIN);
	}
	stage_expect(c, mover_left(c) == 0, "all files have left it");
	stage_wait(c, 12 * NSEC_SEC);
	stage_crash(c, leaves, true);
	stage_crash(c, cluster_core_id(3, 0), true);
	stage_crash(c, cluster_core_id(3, 1), true);
	stage_expect(c, stage_read(a, FILE, 0, 32) == 0, "A reads everything");
	stage_expect(c, stage_write(a, FILE, 0, 2, true) == 0, "and writes");
	stage_end(c);
}

/* A virtual machine goes on in another site: its file's home follows, though nobody lets go of it. */
void scenario_follow_writer(struct cluster *c)
{
	struct catalog_inode i;
	struct story s;
	bool home = false;

	if (!begin(c, &s))
		return;
	for (unsigned n = 0; n < 60 && !home && !c->w.failed; n++) {
		stage_expect(c, stage_write(s.b, FILE, n % 32, 1, n % 4 == 0) == 0, "B writes");
		stage_wait(c, 100 * NSEC_MSEC);
		home = inode(c, &i) && i.fields.site0 == s.new;
	}
	stage_expect(c, home, "the home follows the writer");
	for (unsigned n = 0; n < 40 && !whole(c) && !c->w.failed; n++) {
		stage_expect(c, stage_write(s.b, FILE, n % 32, 1, true) == 0, "B goes on");
		stage_wait(c, 200 * NSEC_MSEC);
	}
	stage_expect(c, whole(c), "it is filled while it is written");
	stage_crash(c, cluster_core_id(s.kept[0], 0), true);
	stage_expect(c, stage_read(s.b, FILE, 0, 32) == 0, "B reads everything");
	stage_end(c);
}
