/* Trap A9: handles whose file was taken by another, with its locks. */
#include "tests/sim/scenarios.h"

/* The holder is cut off with unflushed data, C takes the file. Every call on the old handle fails,
 * also the second flush; a new one works. */
void scenario_a9(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_begin(c, 1, &a, 3, &b))
		return;
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	for (unsigned s = 1; s <= 3; s++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(s, 0), true);
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "second write");
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_expect(c, stage_write(b, 1, 1, 1, true) == 0, "C writes");
	for (unsigned s = 1; s <= 3; s++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(s, 0), false);
	stage_cut_hints(c, cluster_access_id(1), false);
	stage_wait(c, 2 * NSEC_SEC);
	stage_sync(a, 1);
	stage_sync(a, 1);
	stage_read(a, 1, 0, 1);
	stage_write(a, 1, 2, 1, false);
	stage_sync(a, 1);
	stage_end(c);
}

/* A is cut off and its session ends; C takes another file for it, and perhaps this one. */
static void end_session(struct cluster *c, struct client *other, uint32_t file)
{
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_expect(c, stage_write(other, file, 1, 1, true) == 0, "C takes a file of A's");
}

static void heal_session(struct cluster *c)
{
	stage_cut_hints(c, cluster_access_id(1), false);
	stage_wait(c, 2 * NSEC_SEC);
}

/* A machine is started again in site 3 while its ghost in site 1 has the file open with neither lease
 * nor lock: the ghost must not join. Who only reads goes on. */
void scenario_a9_ghost(struct cluster *c)
{
	struct client *a, *b, *reader;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	reader = stage_client(c, 1);
	b = stage_client(c, 3);
	reader->read_only = true;
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(a, 2) == 0 && stage_open(reader, 1) == 0 &&
	             stage_open(b, 1) == 0 && stage_open(b, 2) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	stage_expect(c, stage_write(b, 1, 2, 1, true) == 0, "the lease goes to C");
	stage_expect(c, stage_write(a, 2, 0, 1, true) == 0, "A has another file");
	end_session(c, b, 2);
	stage_expect(c, stage_write(b, 1, 1, 1, true) == 0, "write of the machine started again");
	heal_session(c);
	/* C had the lease all the time: nothing was given to another since. */
	stage_expect(c, stage_read(a, 1, 1, 1) == 0, "the handle is good");
	stage_expect(c, stage_write(a, 2, 3, 1, false) == -EIO && stage_close(a, 2) == 0 &&
	             stage_open(a, 2) == 0 && stage_write(a, 2, 4, 1, true) == 0, "again");
	end_session(c, b, 2);
	stage_expect(c, stage_write(b, 1, 1, 1, true) == 0, "second write of the machine");
	heal_session(c);
	stage_expect(c, stage_read(reader, 1, 1, 1) == 0, "a handle that only reads is good");
	stage_expect(c, stage_write(a, 1, 3, 1, false) == -EIO, "A9: the ghost writes");
	stage_expect(c, stage_sync(a, 1) == -EIO, "A9: the ghost syncs");
	stage_expect(c, stage_close(a, 1) == 0 && stage_open(a, 1) == 0 &&
	             stage_write(a, 1, 4, 1, true) == 0, "a new handle works");
	stage_end(c);
}

/* The same with a lock that goes to site 3. */
void scenario_a9_lock(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 0) == 0 && stage_open(b, 0) == 0, "open");
	stage_expect(c, stage_lock(a, 0) == 0 && stage_write(a, 0, 0, 1, true) == 0, "A locks and writes");
	stage_expect(c, stage_lock(b, 0) == -EAGAIN, "C is refused");
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_begin_sync(a, 0);
	stage_expect(c, stage_write(b, 0, 1, 1, true) == 0, "C takes the lease");
	stage_expect(c, stage_lock(b, 0) == 0, "C locks");
	stage_expect(c, stage_write(b, 0, 1, 1, true) == 0, "C writes");
	heal_session(c);
	stage_finish(a, NSEC_SEC);
	stage_expect(c, stage_write(a, 0, 2, 1, false) == -EIO, "A9: the ghost writes without its lock");
	stage_expect(c, stage_read(a, 0, 1, 1) == -EIO && stage_sync(a, 0) == -EIO, "A9: or goes on");
	stage_end(c);
}

static void cut_cores(struct cluster *c, bool cut)
{
	for (unsigned s = 1; s <= 3; s++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(s, 0), cut);
}

/* A waits for a lock when it is cut off, and is granted it in its next session, before it hears that its
 * file was taken: it works no more under that lock, and others get it. `sealed`: it has a write to send
 * again, and a core server is the first to tell. */
static void lock_late(struct cluster *c, bool sealed)
{
	struct stage_rule *late, *reclaim;
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 0) == 0 && stage_open(b, 0) == 0, "open");
	stage_expect(c, stage_write(a, 0, 0, 1, true) == 0 && stage_lock(b, 0) == 0, "A writes, C locks");
	cut_cores(c, sealed);
	stage_expect(c, stage_write(a, 0, 0, 1, false) == 0, "A writes again");
	/* It hears of the refusal only when its session ends: so it asks again just then. */
	late = stage_delay(c, MSG_TYPE_r_status, 0, cluster_access_id(1),
	                   world_between(&c->w, STREAM_FAULT, 1800 * NSEC_MSEC, 2000 * NSEC_MSEC));
	late->times = 1;
	stage_begin_lock(a, 0);
	stage_wait(c, 100 * NSEC_MSEC);
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_expect(c, stage_write(b, 0, 1, 1, true) == 0, "C takes the lease");
	stage_expect(c, stage_close(b, 0) == 0 && stage_open(b, 0) == 0, "C closes");
	reclaim = stage_delay(c, MSG_TYPE_op_reclaim, cluster_access_id(1), 0, 500 * NSEC_MSEC);
	stage_cut_hints(c, cluster_access_id(1), false);
	for (unsigned i = 0; i < 200 && reclaim->hits == 0; i++)
		stage_wait(c, 10 * NSEC_MSEC);
	cut_cores(c, false);
	stage_wait(c, 2 * NSEC_SEC);
	stage_expect(c, stage_finish(a, 3 * NSEC_SEC) == -EIO, "A9: A's handle is lost");
	stage_wait(c, NSEC_SEC);
	stage_expect(c, stage_lock(b, 0) == 0, "C gets the lock");
	stage_end(c);
}

void scenario_a9_lock_late(struct cluster *c)
{
	lock_late(c, false);
}

void scenario_a9_lock_sealed(struct cluster *c)
{
	lock_late(c, true);
}

/* C only read while A was cut off with a buffered write: that must not come after what was read. */
void scenario_a9_reader(struct cluster *c)
{
	struct client *a, *b;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 3);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_expect(c, stage_write(a, 1, 0, 1, true) == 0, "first write");
	for (unsigned s = 1; s <= 3; s++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(s, 0), true);
	stage_expect(c, stage_write(a, 1, 0, 1, false) == 0, "second write");
	stage_cut_hints(c, cluster_access_id(1), true);
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "C reads");
	for (unsigned s = 1; s <= 3; s++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(s, 0), false);
	heal_session(c);
	stage_expect(c, stage_sync(a, 1) == -EIO, "A9: the dropped write is hidden");
	stage_expect(c, stage_read(b, 1, 0, 1) == 0, "C reads again");
	stage_end(c);
}
