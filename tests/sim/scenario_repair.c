/* Trap B2 and P7: copies that race with writes, pages that rot on one, two or all replicas. */

#include "tests/sim/scenarios.h"

/* Site 3 missed a write and is repaired; the first copies are held up on their way, so they are sent
 * again. Then that replica gets another write, and only after it what was late. C reads from there. */
void scenario_b2(struct cluster *c)
{
	struct stage_rule *late;
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), true);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_wait(c, 3 * NSEC_SEC);
	late = stage_delay(c, MSG_TYPE_install, cluster_access_id(1), cluster_core_id(3, 0), 3 * NSEC_SEC);
	late->times = 2; /* of the block and of the attribute record */
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), false);
	stage_wait(c, 2 * NSEC_SEC);
	stage_expect(c, late->hits == 2, "copies are late");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "third write");
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "C reads");
	stage_end(c);
}

static void rot_everywhere(struct cluster *c, uint32_t unit)
{
	for (unsigned s = 1; s <= 3; s++)
		stage_rot(c, cluster_core_id(s, 0), 1, unit);
}

/* The only copy of an unsynced write has other pages of the block bad, which nobody changed: another
 * replica has them, of an older version of the block. */
void scenario_p7_spared(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	for (unsigned s = 1; s <= 2; s++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(s, 0));
	stage_expect(c, stage_write(a, 1, 1, 1, false) == 0, "unsynced write");
	stage_expect(c, stage_write(a, 1, 9, 1, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_lift(c);
	stage_rot(c, cluster_core_id(3, 0), 1, 5);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 16) == 0, "B reads");
	stage_end(c);
}

/* Unit 3 is bad on all three. Reads of it fail, with and without the exclusive lease; the others are
 * served, also to one who asks for all of them; a write of the page ends it. */
void scenario_p7_page(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 32, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	rot_everywhere(c, 3);
	stage_expect(c, stage_read(a, 1, 3, 1) == -EIO, "P7: the holder cannot read it");
	stage_expect(c, stage_read(a, 1, 0, 3) == 0 && stage_read(a, 1, 4, 28) == 0, "it reads the others");
	stage_expect(c, stage_write(a, 1, 5, 1, true) == 0, "it writes to the block");
	stage_expect(c, stage_read(b, 1, 0, 16) == -EIO, "P7: B cannot read all of the block");
	stage_expect(c, stage_read(b, 1, 4, 28) == 0, "B reads the others");
	stage_crash(c, cluster_access_id(1), true);
	stage_expect(c, stage_write(b, 1, 20, 1, true) == 0, "B takes the file over");
	stage_expect(c, stage_read(b, 1, 3, 1) == -EIO, "P7: it still cannot be read");
	stage_expect(c, stage_write(b, 1, 3, 1, true) == 0, "B writes it anew");
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 32) == 0, "B reads everything");
	stage_end(c);
}

/* Each replica has another bad page. All can be read, and each is repaired from the others: what is
 * read at last from site 1 alone is there. */
void scenario_p7_pages(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	for (unsigned s = 1; s <= 3; s++)
		stage_rot(c, cluster_core_id(s, 0), 1, 2 * s);
	stage_expect(c, stage_read(a, 1, 0, 16) == 0, "A reads");
	stage_wait(c, 3 * NSEC_SEC);
	for (unsigned s = 2; s <= 3; s++)
		stage_rot(c, cluster_core_id(s, 0), 1, 2);
	stage_expect(c, stage_read(a, 1, 2, 1) == 0, "site 1 has its page again");
	stage_end(c);
}

/* Site 3 missed the write of a page that rots on both others: what it has is old, and nobody may read
 * it when the two are gone. */
void scenario_p7_stale(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "second write");
	stage_wait(c, 2 * NSEC_SEC);
	for (unsigned s = 1; s <= 2; s++)
		stage_rot(c, cluster_core_id(s, 0), 1, 3);
	stage_lift(c);
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 3, 1) == -EIO, "P3: an old page is no answer");
	stage_expect(c, stage_read(b, 1, 4, 12) == 0, "C reads the others");
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_expect(c, stage_read(b, 1, 3, 1) == -EIO, "P3: nor is it when site 1 is away");
	stage_expect(c, stage_write(b, 1, 3, 1, true) == 0, "C writes it anew");
	stage_expect(c, stage_read(b, 1, 0, 16) == 0, "C reads everything");
	stage_end(c);
}

/* Site 3 missed a write, site 1 has a bad page of it, and site 2, the last with a good one, has taken an
 * unsynced write of that page when it goes away, or loses its session: the page is not lost, only away. */
static void away(struct cluster *c, bool fenced)
{
	server_id_t last = cluster_core_id(2, 0);
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), true);
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "second write");
	stage_wait(c, 2 * NSEC_SEC);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(1, 0));
	stage_expect(c, stage_write(a, 1, 3, 1, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	if (fenced)
		stage_cut_hints(c, last, true);
	else
		stage_crash(c, last, true);
	stage_wait(c, fenced ? 3 * NSEC_SEC : 0);
	stage_rot(c, cluster_core_id(1, 0), 1, 3);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0));
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), false);
	stage_wait(c, 4 * NSEC_SEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_lift(c);
	stage_expect(c, stage_read(b, 1, 3, 1) == -EIO, "C cannot read it yet");
	if (fenced)
		stage_cut_hints(c, last, false);
	else
		stage_restart(c, last);
	stage_wait(c, 8 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 16) == 0, "C reads everything");
	stage_end(c);
}

void scenario_p7_away(struct cluster *c)
{
	away(c, false);
}

void scenario_p7_fenced(struct cluster *c)
{
	away(c, true);
}

/* Site 2 is behind, site 1 has just come back: only site 3 has an unsynced write, and a page of that
 * rots there. It is copied to site 2. The holder still has the write, so nothing is lost. */
void scenario_p7_kept(struct cluster *c)
{
	server_id_t back = cluster_core_id(1, 0), behind = cluster_core_id(2, 0);
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_cut(c, cluster_access_id(1), behind, true);
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "second write");
	stage_wait(c, 2 * NSEC_SEC);
	stage_crash(c, back, true);
	stage_expect(c, stage_write(a, 1, 0, 16, false) == 0, "unsynced write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_rot(c, cluster_core_id(3, 0), 1, 3);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), back);
	stage_drop(c, MSG_TYPE_read, cluster_access_id(1), back);
	stage_restart(c, back);
	stage_cut(c, cluster_access_id(1), behind, false);
	stage_wait(c, 6 * NSEC_SEC); /* a copy from site 1 is given up */
	stage_lift(c);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), back);
	stage_begin_sync(a, 1);
	stage_expect(c, stage_finish(a, 8 * NSEC_SEC) == 0, "it is flushed");
	stage_lift(c);
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(a, 1, 0, 16) == 0, "A reads everything");
	stage_end(c);
}

/* The writer dies, and no replica can read size and times any more. The file is served with what the
 * catalog and its blocks say, and recovered once. */
void scenario_p7_attr(struct cluster *c)
{
	struct client *a, *b;
	struct vol_stats s;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 32, true) == 0, "first write");
	stage_wait(c, 35 * NSEC_SEC); /* checkpoints: the records are in their places */
	for (unsigned site = 1; site <= 3; site++)
		stage_rot_attr(c, cluster_core_id(site, 0));
	stage_crash(c, cluster_access_id(1), true);
	stage_expect(c, stage_read(b, 1, 0, 32) == 0 && stage_value(b) != 0, "B reads");
	vol_get_stats(cluster_find(c, cluster_access_id(2))->volume, &s);
	stage_expect(c, s.recoveries == 1, "one recovery was enough");
	stage_expect(c, stage_write(b, 1, 0, 1, true) == 0, "B writes");
	stage_end(c);
}
