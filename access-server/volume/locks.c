/* fcntl, OFD and flock locks: they live in the catalog and die with the session.
 *
 * What this server holds is kept per file, to know what closing drops (a handle: all that was taken
 * through it, trap B8; close(2): the POSIX locks of its owner) and what op_reclaim asks back.
 *
 *   ASKING  -- OK -------------------> done
 *           -- AGAIN, may not wait --> -EAGAIN
 *           -- AGAIN ----------------> WAITING -- lock_ready, or 500 ms --> ASKING
 *
 * A lock whose session ends is simply not held: asking again in the next one is safe. When it turns out
 * only then that the handle is lost, what was granted meanwhile is given back: nobody would unlock it. */
#include "access-server/volume/locks.h"

#include <fcntl.h>

#define RETRY (500 * NSEC_MSEC)
#define BUSY_RETRY (50 * NSEC_MSEC)
#define INTERRUPT_GRACE (500 * NSEC_MSEC)

void locks_init(struct volume *v)
{
	v->locks = mem_new(sizeof(struct lock_table));
}

static void op_free(struct lock_op *op)
{
	timer_stop(op->v, &op->timer);
	DL_DELETE(table_of(op->v)->ops, op);
	mem_free(op);
}

void locks_fini(struct volume *v)
{
	struct lock_op *op, *next;

	DL_FOREACH_SAFE(table_of(v)->ops, op, next) {
		if (op->in_call)
			session_cancel(v->session, &op->call);
		op_free(op);
	}
	mem_free(v->locks);
	v->locks = NULL;
}

static void op_end(struct lock_op *op, int rc)
{
	struct vol_req *req = op->req;
	struct volume *v = op->v;
	uint64_t ino = op->lock.ino;
	struct file *f;

	if (req) {
		rs(req)->names[1] = NULL;
		vol_complete(v, req, rc);
	}
	op_free(op);
	f = file_find(v, ino);
	if (f)
		file_put_if_unused(f);
}

static void on_timer(struct volume *v, struct vol_timer *t);
static void on_reply(struct session_call *call, const struct msg *m);

static struct lock_op *op_new(struct volume *v, struct vol_req *req, uint64_t ino)
{
	struct lock_op *op = mem_new(sizeof(*op));

	op->v = v;
	op->req = req;
	op->lock.ino = ino;
	op->timer.fire = on_timer;
	op->call.done = on_reply;
	DL_APPEND(table_of(v)->ops, op);
	if (req)
		rs(req)->names[1] = op;
	return op;
}

/* Two changes of one owner on one file are not out at the same time: nothing orders them on the way,
 * and an unlock that is late would take a newer lock with it. For the same reason none is out beside
 * an op_reclaim, which would bring back what was unlocked meanwhile. */
static bool must_queue(const struct lock_op *op)
{
	const struct file *f = file_find(op->v, op->lock.ino);
	struct lock_op *other;

	if (op->query)
		return false;
	if (f && f->phase == PHASE_RECLAIM)
		return true;
	DL_FOREACH(table_of(op->v)->ops, other) {
		if (other != op && other->in_call && !other->query &&
		    other->lock.ino == op->lock.ino && other->lock.owner == op->lock.owner &&
		    other->lock.flavour == op->lock.flavour)
			return true;
	}
	return false;
}

static void op_send(struct lock_op *op)
{
	struct msg m = {.type = op->query ? MSG_TYPE_q_getlk : MSG_TYPE_op_lock};

	op->queued = must_queue(op);
	if (op->queued)
		return;
	m.op_lock = op->lock;
	op->in_call = true;
	op->ready = false;
	session_call(op->v->session, &op->call, &m);
}

static void send_queued(struct volume *v, uint64_t ino)
{
	struct lock_op *op;

	DL_FOREACH(table_of(v)->ops, op) {
		if (op->queued && op->lock.ino == ino)
			op_send(op);
	}
}

/* Takes back what nobody waits for any more, or what a handle took. */
static void unlock_behind(struct volume *v, const struct msg_op_lock *lock)
{
	struct lock_op *op = op_new(v, NULL, lock->ino);

	op->lock = *lock;
	op->lock.type = F_UNLCK;
	op->lock.wait = 0;
	op_send(op);
}

static void on_timer(struct volume *v, struct vol_timer *t)
{
	struct lock_op *op = container_of(t, struct lock_op, timer);
	struct vol_req *req = op->req;

	if (!op->interrupted) {
		if (!op->in_call)
			op_send(op);
		return;
	}
	CHECK(req);
	rs(req)->flags |= REQ_INTERRUPTED;
	if (!op->in_call) {
		op_end(op, -EINTR);
		return;
	}
	op->req = NULL;
	rs(req)->names[1] = NULL;
	vol_complete(v, req, -EINTR);
}

bool locks_interrupt(struct volume *v, struct vol_req *req)
{
	struct lock_op *op = rs(req)->names[1];

	if (!op)
		return false;
	op->interrupted = true;
	timer_set(v, &op->timer, v->now + (op->in_call ? INTERRUPT_GRACE : 0));
	return true;
}

/* --- answers --- */

static void session_ended(struct lock_op *op)
{
	struct volume *v = op->v;
	struct vol_req *req = op->req;

	op->req = NULL;
	op_end(op, 0);
	if (!req)
		return;
	rs(req)->names[1] = NULL;
	req_push(&v->fenced, req);
}

static bool handle_is_lost(struct volume *v, const struct vol_req *req)
{
	const struct handle *h = req->handle ? handle_find(v, req->handle) : NULL;

	return h && h->lost;
}

static void on_lock(struct lock_op *op)
{
	struct volume *v = op->v;
	bool lost;

	if (op->lock.type == F_UNLCK) {
		op_end(op, 0);
		return;
	}
	lost = op->req && handle_is_lost(v, op->req) && !VOL_BUG(v, VOLUME_BUG_LOCK_KEPT);
	if (!op->req || lost) {
		/* Given up before it was granted. */
		held_clear(file_get(v, op->lock.ino), &op->lock);
		unlock_behind(v, &op->lock);
		op_end(op, lost ? -EIO : 0);
		return;
	}
	held_set(file_get(v, op->lock.ino), &op->lock, op->req->handle);
	op_end(op, 0);
}

static void on_again(struct lock_op *op)
{
	if (!op->req || op->interrupted || !op->lock.wait) {
		op_end(op, op->interrupted ? -EINTR : -EAGAIN);
		return;
	}
	/* Freed between the question and its answer: ask at once. */
	if (op->ready)
		op_send(op);
	else
		timer_set(op->v, &op->timer, op->v->now + RETRY);
}

/* What is short is not the space that ENOSPC speaks of. */
static int lock_errno(unsigned status)
{
	return status == STATUS_NO_SPACE ? -ENOLCK : vol_status_errno(status);
}

static void on_getlk(struct lock_op *op, const struct msg *m)
{
	const struct msg_r_lock *r = &m->r_lock;

	if (op->req && m->type == MSG_TYPE_r_lock && r->status == STATUS_OK) {
		op->req->lock.type = r->type;
		op->req->lock.start = r->start;
		op->req->lock.end = r->end;
		op->req->lock.pid = r->pid;
	}
	op_end(op, vol_status_errno(r->status));
}

static void answered(struct lock_op *op, const struct msg *m)
{
	if (!m)
		session_ended(op);
	else if (m->r_status.status == STATUS_BUSY && !op->interrupted)
		timer_set(op->v, &op->timer, op->v->now + BUSY_RETRY);
	else if (op->query)
		on_getlk(op, m);
	else if (m->r_status.status == STATUS_OK)
		on_lock(op);
	else if (m->r_status.status == STATUS_AGAIN)
		on_again(op);
	else
		op_end(op, op->interrupted ? -EINTR : lock_errno(m->r_status.status));
}

static void on_reply(struct session_call *call, const struct msg *m)
{
	struct lock_op *op = container_of(call, struct lock_op, call);
	struct volume *v = op->v;
	uint64_t ino = op->lock.ino;

	vol_enter(v);
	op->in_call = false;
	answered(op, m);
	send_queued(v, ino);
}

void locks_ready(struct volume *v, const struct msg_lock_ready *m)
{
	struct lock_op *op, *next;

	DL_FOREACH_SAFE(table_of(v)->ops, op, next) {
		if (op->lock.ino != m->ino || (m->owner && op->lock.owner != m->owner) || !op->req)
			continue;
		op->ready = true;
		if (!op->in_call && !op->interrupted && op->lock.wait)
			op_send(op);
	}
}

/* --- requests --- */

static bool owner_asks(struct volume *v, const struct msg_op_lock *l)
{
	struct lock_op *op;

	DL_FOREACH(table_of(v)->ops, op) {
		if (!op->query && op->lock.ino == l->ino && op->lock.owner == l->owner &&
		    op->lock.flavour == l->flavour && op->lock.type != F_UNLCK)
			return true;
	}
	return false;
}

static struct msg_op_lock lock_of(const struct vol_req *req)
{
	return (struct msg_op_lock){
		.ino = req->ino,
		.owner = req->lock.owner,
		.start = req->lock.start,
		.end = req->lock.end,
		.pid = req->lock.pid,
		.type = req->lock.type,
		.flavour = req->flags & VOL_F_FLOCK ? LOCK_FLOCK : LOCK_POSIX,
		.wait = req->flags & VOL_F_WAIT ? 1 : 0,
	};
}

void locks_submit(struct volume *v, struct vol_req *req)
{
	struct msg_op_lock l = lock_of(req);
	struct file *f = file_get(v, req->ino);
	struct lock_op *op;

	if (handle_is_lost(v, req)) {
		vol_complete(v, req, -EIO);
		return;
	}
	if (req->op == VOL_SETLK && l.type == F_UNLCK) {
		bool held = held_overlaps(f, &l);

		held_clear(f, &l);
		if (!held && !owner_asks(v, &l)) {
			vol_complete(v, req, 0);
			return;
		}
	}
	op = op_new(v, req, req->ino);
	op->query = req->op == VOL_GETLK;
	op->lock = l;
	op_send(op);
}

/* --- closing --- */

bool locks_flush(struct volume *v, struct vol_req *req, struct file *f)
{
	struct msg_op_lock all = {
		.ino = f->ino,
		.owner = req->lock.owner,
		.end = UINT64_MAX,
		.type = F_UNLCK,
		.flavour = LOCK_POSIX,
	};
	struct lock_op *op;

	if (!held_overlaps(f, &all))
		return false;
	held_clear(f, &all);
	op = op_new(v, req, f->ino);
	op->lock = all;
	op_send(op);
	return true;
}

void locks_release(struct volume *v, struct file *f, uint64_t handle)
{
	struct msg_op_lock l;

	while (held_take(f, handle, &l))
		unlock_behind(v, &l);
}

void locks_lost(struct file *f)
{
	struct volume *v = f->v;
	struct lock_op *op, *next;
	struct msg_op_lock l;

	while (!VOL_BUG(v, VOLUME_BUG_LOCK_KEPT) && held_take_any(f, &l))
		unlock_behind(v, &l);
	locks_file_free(f);
	DL_FOREACH_SAFE(table_of(v)->ops, op, next) {
		if (op->lock.ino == f->ino && !op->in_call && op->req)
			op_end(op, -EIO);
	}
}

void locks_reclaimed(struct file *f)
{
	send_queued(f->v, f->ino);
}
