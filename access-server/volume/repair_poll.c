/* Files that nobody holds: the leader says which want repair; this takes one at a time under an
 * ordinary exclusive lease that yields at once. One follows the other without a pause, until the leader knows
 * no more behind the last one; then it is asked again from the beginning after a while. */
#include "access-server/volume/parts.h"

static void take(struct volume *v, struct file *f)
{
	v->repairing = f;
	f->repair_only = true;
	f->wants_repair = false;
	lease_ask(f, LEASE_EXCLUSIVE);
}

struct file *repair_take(struct volume *v, uint64_t ino)
{
	struct file *f = file_find(v, ino);

	if (f && (f->phase != PHASE_IDLE || f->lease == LEASE_EXCLUSIVE || f->waiting))
		return NULL;
	if (!f) {
		f = file_get(v, ino);
		f->forgotten = true;
	}
	take(v, f);
	return f;
}

static void poll_soon(struct volume *v)
{
	if (v->repair_cursor && !VOL_BUG(v, VOLUME_BUG_REPAIR_RESTS))
		timer_set(v, &v->repair_poll, v->now);
}

static void on_repair_inode(struct session_call *c, const struct msg *m)
{
	struct volume *v = container_of(c, struct volume, repair_call);

	vol_enter(v);
	v->repair_asking = false;
	timer_set(v, &v->repair_poll, v->now + v->config.repair_every);
	if (!m || m->type != MSG_TYPE_r_inode || m->r_inode.status != STATUS_OK) {
		v->repair_cursor = 0;
		move_poll(v); /* nothing lags that could be repaired here */
		return;
	}
	v->repair_cursor = m->r_inode.ino;
	if (!repair_take(v, m->r_inode.ino))
		poll_soon(v); /* its holder repairs it */
}

/* A file that core servers told of bad pages in. */
static bool take_told(struct volume *v)
{
	uint64_t ino;

	if (v->bad_tolds == 0)
		return false;
	ino = v->bad_told[0].ino;
	if (!repair_take(v, ino)) {
		repair_forget_told(v, ino); /* what stays bad is told again */
		return false;
	}
	return true;
}

/* A file read here whose replicas are known to lag. */
static bool take_wanted(struct volume *v)
{
	struct file *f, *next;

	HASH_ITER(hh, v->files, f, next)
	if (f->wants_repair && f->behinds && f->phase == PHASE_IDLE &&
	    f->lease != LEASE_EXCLUSIVE && !f->waiting) {
		take(v, f);
		return true;
	}
	return take_told(v);
}

static void ask(struct volume *v)
{
	struct msg m = {.type = MSG_TYPE_q_repair};

	v->repair_asking = true;
	v->repair_call.done = on_repair_inode;
	m.q_repair.ino = v->repair_cursor;
	session_call(v->session, &v->repair_call, &m);
}

static void on_poll(struct volume *v, struct vol_timer *t)
{
	struct file *f = v->repairing;

	timer_set(v, t, v->now + v->config.repair_every);
	if (f && f->lease != LEASE_EXCLUSIVE && f->phase == PHASE_IDLE)
		repair_poll_next(v);
	if (!v->repairing && !v->repair_asking && vol_session_valid(v) && !take_wanted(v))
		ask(v);
}

void repair_poll_start(struct volume *v)
{
	v->repair_poll.fire = on_poll;
	timer_set(v, &v->repair_poll, v->now + v->config.repair_every);
}

/* The file was given back, or never got. */
void repair_poll_next(struct volume *v)
{
	struct file *f = v->repairing;

	if (!f)
		return;
	v->repairing = NULL;
	f->repair_only = false;
	repair_forget_told(v, f->ino);
	file_put_if_unused(f);
	poll_soon(v);
}
