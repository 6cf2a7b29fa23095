/* Traps A5, A6, A7: handover, chains of versions, sizes and holes. */

#include "tests/sim/scenarios.h"

/* The last flush is on sites 1 and 2, site 3 never got it. C reads from its own replica. */
void scenario_a5(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "C reads");
	stage_end(c);
}

/* A flush succeeds when the second site has it; then the first burns. */
void scenario_p1(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	for (unsigned s = 2; s <= 3; s++)
		stage_delay(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(s, 0), 300 * NSEC_MSEC);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_cut(c, cluster_access_id(1), cluster_core_id(2, 0), true);
	stage_cut(c, cluster_access_id(1), cluster_core_id(3, 0), true);
	for (unsigned s = 2; s <= 3; s++) /* what is under way is lost with its sender */
		stage_crash(c, cluster_core_id(s, 0), false);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	for (unsigned s = 2; s <= 3; s++)
		stage_restart(c, cluster_core_id(s, 0));
	stage_lift(c);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 1) == 0, "C reads");
	stage_end(c);
}

/* C writes after that: its replica is behind, and nothing may be "repaired" from it. */
void scenario_a5_direction(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 2, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "second write");
	stage_expect(c, stage_write(b, 1, 1, 1, true) == 0, "C writes");
	stage_wait(c, 3 * NSEC_SEC);
	stage_read(b, 1, 0, 2);
	stage_end(c);
}

/* Site 3 is down; one write is lost to site 2, the next to site 1: each shows a gap. */
void scenario_a6_gaps(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_crash(c, cluster_core_id(3, 0), false);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(2, 0))->times = 1;
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "second write");
	stage_wait(c, 10 * NSEC_MSEC);
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(1, 0))->times = 1;
	stage_expect(c, stage_write(a, 1, 1, 1, false) == 0, "third write");
	stage_expect(c, stage_sync(a, 1) == 0, "flush");
	stage_crash(c, cluster_access_id(1), true);
	stage_end(c);
}

/* A write is under way when the same page is written again; the writer dies: equal versions must
 * mean equal bytes. */
void scenario_a6_merge(struct cluster *c)
{
	struct client *a;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(2, 0))->times = 1;
	stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(3, 0))->times = 1;
	stage_begin_write(a, 1, 0, 1, false);
	stage_finish(a, NSEC_SEC);
	stage_wait(c, 20 * NSEC_MSEC); /* it has left, and reached site 1 only */
	stage_begin_write(a, 1, 0, 1, false);
	stage_finish(a, NSEC_SEC);
	stage_begin_write(a, 1, 2, 1, false);
	stage_finish(a, NSEC_SEC);
	stage_wait(c, 700 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_end(c);
}

/* The sync of site 2 takes long, so the write is sent again: it must not be acknowledged before it
 * is durable. Then power goes in site 2, and site 1 burns. */
void scenario_a6_duplicate(struct cluster *c)
{
	struct sim_disk_faults slow = {.slow_sync_permille = 1000, .slow_sync_ns = 3 * NSEC_SEC};
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	sim_disk_set_faults(cluster_find(c, cluster_core_id(2, 0))->disk, &slow);
	stage_pass_by(c, 1, 3);
	stage_begin_write(a, 1, 0, 1, true);
	stage_finish(a, 2500 * NSEC_MSEC);
	stage_crash(c, cluster_core_id(2, 0), true);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_lift(c);
	sim_disk_set_faults(cluster_find(c, cluster_core_id(2, 0))->disk, &(struct sim_disk_faults){0});
	stage_restart(c, cluster_core_id(2, 0));
	b = stage_client(c, 3);
	if (stage_open(b, 1) == 0)
		stage_read(b, 1, 0, 1);
	stage_end(c);
}

/* Truncated to nothing, then written far out: what was cut must not come back, also not from the
 * replica that missed it, also not after a crash. */
void scenario_a7(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 32, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	stage_pass_by(c, 1, 3);
	stage_expect(c, stage_truncate(a, 1, 1) == 0, "truncate");
	stage_expect(c, stage_write(a, 1, 40, 1, true) == 0, "write far out");
	stage_expect(c, stage_read(a, 1, 8, 16) == 0, "read of the hole");
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_lift(c);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 48) == 0, "C reads");
	stage_end(c);
}

/* A whole block is punched while site 3 is away. */
void scenario_a7_punch(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 40, true) == 0, "first write");
	stage_crash(c, cluster_core_id(3, 0), true);
	stage_expect(c, stage_punch(a, 1, 16, 16) == 0 && stage_sync(a, 1) == 0, "punch");
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_restart(c, cluster_core_id(3, 0));
	b = stage_client(c, 3);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 40) == 0, "C reads");
	stage_end(c);
}

/* A write reaches site 3 alone, and its pages rot there. All three replicas are up: they
 * show that it was never flushed, so the next recovery goes without it instead of waiting. */
void scenario_p7_newest(struct cluster *c)
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
	stage_expect(c, stage_write(a, 1, 0, 16, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_lift(c);
	stage_expect(c, sim_disk_rot(cluster_find(c, cluster_core_id(3, 0))->disk, "data", 64) > 0, "rot");
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 16) == 0, "B reads");
	stage_end(c);
}

/* Two unsynced writes to one block: the first gets lost on its way to every replica, the second does
 * not. Their writer dies at once: whoever takes the file over finds both or neither. */
void scenario_p4_prefix(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 16, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	for (unsigned s = 1; s <= 3; s++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(s, 0))->times = 1;
	stage_expect(c, stage_write(a, 1, 3, 1, false) == 0, "unsynced write");
	stage_wait(c, NSEC_MSEC);
	stage_expect(c, stage_write(a, 1, 1, 1, false) == 0, "unsynced write");
	stage_wait(c, 20 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 0, 16) == 0, "B reads");
	stage_end(c);
}

/* The same while site 1 is away: nobody can tell whether that write was flushed. Its block gives errors,
 * the others are served, and when site 1 is back so is the block. */
void scenario_p7_refused(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 32, true) == 0, "first write");
	stage_wait(c, 300 * NSEC_MSEC);
	for (unsigned s = 1; s <= 2; s++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(s, 0));
	stage_expect(c, stage_write(a, 1, 0, 16, false) == 0, "unsynced write");
	stage_wait(c, 200 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_crash(c, cluster_core_id(1, 0), true);
	stage_lift(c);
	stage_expect(c, sim_disk_rot(cluster_find(c, cluster_core_id(3, 0))->disk, "data", 64) > 0, "rot");
	stage_expect(c, stage_open(b, 1) == 0 && stage_read(b, 1, 16, 16) == 0, "B reads the other block");
	stage_expect(c, stage_read(b, 1, 0, 16) == -EIO, "P7: an unreadable block is an error");
	stage_expect(c, stage_write(b, 1, 20, 1, true) == 0, "B writes the other block");
	stage_restart(c, cluster_core_id(1, 0));
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, stage_read(b, 1, 0, 32) == 0, "B reads both");
	stage_end(c);
}

/* A write makes the file longer and reaches nobody. B asks for the size, then the writer dies: what B
 * was told, if anything, must still be so. */
/* B reads, so attributes are taken back from A; before A's answer comes, A asks and is granted them again. That
 * answer, to what was recalled, must not count for what was granted since: when B writes, A would go
 * on believing the old size. The same for a shared lease on data. */
void scenario_p3_regrant(struct cluster *c)
{
	struct stage_rule *acks;
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 2, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 4, true) == 0, "A writes");
	stage_begin_stat(a, 1);
	stage_expect(c, stage_finish(a, STAGE_OP_MAX) == 0, "A asks for its size");
	acks = stage_delay(c, MSG_TYPE_recall_ack, cluster_access_id(1), 0, 60 * NSEC_MSEC);
	stage_expect(c, stage_read(b, 1, 0, 4) == 0, "B reads");
	stage_begin_stat(a, 1);
	stage_expect(c, stage_finish(a, STAGE_OP_MAX) == 0, "A asks again");
	stage_wait(c, 100 * NSEC_MSEC);
	stage_expect(c, acks->hits > 0, "A's answer to the recall is late");
	stage_lift(c);
	stage_expect(c, stage_write(b, 1, 4, 4, false) == 0, "B writes");
	stage_begin_stat(a, 1);
	stage_expect(c, stage_finish(a, STAGE_OP_MAX) == 0, "A asks for the new size");
	stage_expect(c, stage_read(a, 1, 4, 4) == 0, "A reads");
	stage_end(c);
}

void scenario_p4_size(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 4, true) == 0, "first write");
	for (unsigned s = 1; s <= 3; s++)
		stage_drop(c, MSG_TYPE_write, cluster_access_id(1), cluster_core_id(s, 0));
	stage_expect(c, stage_write(a, 1, 4, 4, false) == 0, "unsynced write");
	stage_begin_stat(b, 1);
	stage_finish(b, 100 * NSEC_MSEC);
	stage_crash(c, cluster_access_id(1), true);
	stage_lift(c);
	stage_expect(c, stage_finish(b, STAGE_OP_MAX) == 0, "B is told a size");
	stage_begin_stat(b, 1);
	stage_expect(c, stage_finish(b, STAGE_OP_MAX) == 0, "B asks again");
	stage_end(c);
}
