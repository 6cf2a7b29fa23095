/* The lease on a file's data: asked for at the first operation, kept while nobody wants it.
 *
 *   IDLE --lease_ask--> ASK --r_lease--> IDLE (lease held) or RECOVER (recovery.c) --> IDLE
 *   IDLE --recall--> INVAL --> DRAIN --> SETTLE --> RELEASE --> IDLE            (recall.c)
 *   any, exclusive --session ended--> RECLAIM --r_lease--> IDLE, or LOST
 *
 * Invariants (P2, P3, traps A9, A10):
 * - records exist only under an exclusive lease; lease_none() finds none, or they were dropped by
 *   file_fail(), which marks the handles lost;
 * - a shared lease that ran out once is dropped for good (vol_enter());
 * - between the end of a session and the answer to op_reclaim nothing is served. */
#include "access-server/volume/parts.h"

#define ASK_AGAIN (50 * NSEC_MSEC)
#define HELD_MAX 20000
#define RELEASING_MAX 16

static void call_abandon(struct file *f)
{
	if (f->lease_call)
		f->lease_call->f = NULL;
	f->lease_call = NULL;
}

static void on_lease_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	struct file *f = container_of(t, struct file, lease_timer);

	switch (f->phase) {
	case PHASE_IDLE:
		file_run(f);
		break;
	case PHASE_RECLAIM:
		if (!f->lease_call)
			lease_reclaim(f);
		break;
	case PHASE_RECOVER:
	case PHASE_INVAL:
	case PHASE_DRAIN:
	case PHASE_SETTLE:
	case PHASE_RELEASE:
		recall_timer(f);
		break;
	case PHASE_ASK:
		recall_ask_timer(f);
		break;
	}
}

void lease_init(struct file *f)
{
	f->lease_timer.fire = on_lease_timer;
}

void lease_fini(struct file *f)
{
	if (f->lease_call) {
		session_cancel(f->v->session, &f->lease_call->call);
		mem_free(f->lease_call);
	}
	timer_stop(f->v, &f->lease_timer);
	lease_inval_forget(f);
}

void lease_call(struct file *f, const struct msg *m, void (*done)(struct session_call *c, const struct msg *m))
{
	struct lease_call *lc = mem_new(sizeof(*lc));

	CHECK(!f->lease_call);
	f->lease_call = lc;
	lc->f = f;
	lc->seq = vol_recall_seq(f->v);
	lc->v = f->v;
	lc->call.done = done;
	session_call(f->v->session, &lc->call, m);
}

/* The file of a finished call, NULL if it gave it up. Frees the call. */
struct file *lease_call_end(struct session_call *c, uint64_t *seq)
{
	struct lease_call *lc = container_of(c, struct lease_call, call);
	struct file *f = lc->f;

	vol_enter(lc->v);
	if (seq)
		*seq = lc->seq;
	if (f)
		f->lease_call = NULL;
	mem_free(lc);
	return f;
}

/* --- asking --- */

/* What began under an earlier lease begins again, with the servers of now. */
static void placement_new(struct file *f, const struct msg_r_lease *r)
{
	if (r->site0 == f->site[0] && r->site1 == f->site[1] && r->site2 == f->site[2] &&
	    r->moved0 == f->moved[0] && r->moved1 == f->moved[1] && r->moved2 == f->moved[2])
		return;
	reads_abort(f);
	scans_abort(f);
	learns_cancel(f);
	f->behinds = 0;
}

static void take_attr(struct file *f, const struct msg_r_lease *r)
{
	placement_new(f, r);
#define X(kind, name) f->attr.name = r->name;
	INODE_FIELDS(X)
#undef X
	f->have_attr = true;
	privs_known(f);
	f->size = r->size;
	f->pages = r->pages;
	f->atime = r->atime;
	f->mtime = r->mtime;
	f->ctime = r->ctime;
	f->epoch = r->epoch;
	if (f->epoch > f->above)
		f->above = 0;
	f->map = NULL;
	file_set_placement(f);
}

static void ask_failed(struct file *f, const struct msg *m)
{
	int rc = m ? vol_status_errno(m->r_status.status) : -EAGAIN;
	struct vol_req *req;

	if (rc != -ENOENT && rc != -ESTALE) {
		timer_set(f->v, &f->lease_timer, f->v->now + ASK_AGAIN);
	} else {
		f->repair_only = false;
		while ((req = req_pop(&f->waiting)))
			vol_complete(f->v, req, -ESTALE);
	}
	file_put_if_unused(f);
}

/* The recall of this very grant came before it and was answered; or no validity runs, so that the leader may
 * forget the grant without a word. A recall of an earlier grant, which was not taken, is none of this one: else
 * each answer would come behind the recall of the one before, for ever. */
static bool shared_is_void(const struct file *f, uint64_t grant, uint64_t seq)
{
	const struct volume *v = f->v;

	if (VOL_BUG(v, VOLUME_BUG_OLD_RECALLS) && vol_recalled_since(f->v, f->ino, seq))
		return true;
	return grant < MAX(f->recalled_id, v->unknown_id) || v->shared_void_seq > seq ||
	       !(session_shared_valid(v->session) || VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED));
}

static void on_lease(struct session_call *c, const struct msg *m)
{
	uint64_t seq;
	struct file *f = lease_call_end(c, &seq);
	const struct msg_r_lease *r = m ? &m->r_lease : NULL;

	if (!f)
		return;
	f->phase = PHASE_IDLE;
	if (!r || m->type != MSG_TYPE_r_lease || r->status != STATUS_OK ||
	    r->granted == LEASE_NONE || r->ino != f->ino) {
		ask_failed(f, m);
		return;
	}
	if (r->granted == LEASE_SHARED && shared_is_void(f, r->grant, seq)) {
		file_run(f);
		file_put_if_unused(f);
		return;
	}
	stale_fini(&f->stale);
	stale_init(&f->stale);
	if (f->lease == LEASE_SHARED)
		f->lease = LEASE_NONE;
	take_attr(f, r);
	f->stale_told = r->stale.len > 0;
	if (!r->recover)
		lost_forget(f);
	f->unclean = r->recover;
	if (r->recover) {
		f->asked = r->granted;
		f->phase = PHASE_RECOVER;
		f->granted_at = f->v->now;
		if (f->recalled)
			timer_set(f->v, &f->lease_timer, f->v->now + NSEC_SEC);
		recovery_start(f);
		return;
	}
	if (!VOL_BUG(f->v, VOLUME_BUG_REPAIR_AHEAD) && stale_decode(&f->stale, r->stale.p, r->stale.len) < 0) {
		vol_log(f->v, "volume.stale_map", "file=%" PRIu64 " stale map unreadable: recovering", f->ino);
		f->unclean = true;
	}
	lease_granted(f, (enum lease_mode)r->granted, false);
	if (f->lease == LEASE_EXCLUSIVE && f->map && !f->repair_only)
		block_known(f, BLOCK_ATTR); /* flushes want it soon */
	if (f->unclean)
		give_back(f, LEASE_NONE);
	file_run(f);
	file_put_if_unused(f);
}

void lease_ask(struct file *f, enum lease_mode mode)
{
	struct msg m = {.type = MSG_TYPE_op_lease};

	if (f->lease_timer.slot && f->lease_timer.due > f->v->now)
		return; /* it was refused a moment ago */
	f->phase = PHASE_ASK;
	f->asked = mode;
	m.op_lease.ino = f->ino;
	m.op_lease.mode = (uint8_t)mode;
	m.op_lease.above = mode == LEASE_EXCLUSIVE ? f->above : 0;
	m.op_lease.repair = f->repair_only && !f->waiting;
	lease_call(f, &m, on_lease);
}

/* `fresh`: created with this lease, so there is no block yet. */
void lease_granted(struct file *f, enum lease_mode mode, bool fresh)
{
	CHECK(!f->records && !f->blocks);
	f->phase = PHASE_IDLE;
	f->lease = mode;
	f->granted_at = f->v->now;
	f->served = false;
	f->n = f->flush_asked = 0;
	f->all_known = fresh;
	timer_stop(f->v, &f->lease_timer);
	if (mode != LEASE_EXCLUSIVE)
		return;
	file_touch(f);
	if (!stale_empty(&f->stale) || f->stale_told || f->behinds || repair_was_told(f) ||
	    f->to_move.wanted || f->repair_only) /* also if others were faster: it is to go back */
		repair_soon(f);
}

/* --- losing --- */

/* An invalidation under way will be answered to nobody. */
void lease_inval_forget(struct file *f)
{
	if (f->inval_cookie)
		HASH_DELETE(hh_inval, f->v->invals, f);
	f->inval_cookie = 0;
}

void lease_inval_kernel(struct file *f)
{
	struct volume *v = f->v;

	if (!f->kernel_may_cache)
		return;
	lease_inval_forget(f);
	f->kernel_may_cache = false;
	f->attr_until = 0; /* names_recall.c waits for this invalidation instead of asking for one of its own */
	f->cache_suspect = true;
	f->inval_cookie = ++v->next_cookie;
	HASH_ADD(hh_inval, v->invals, inval_cookie, sizeof(f->inval_cookie), f);
	v->ops->invalidate(v->ctx, f->ino, 0, 0, f->inval_cookie);
}

void lease_drop_shared(struct file *f)
{
	if (f->lease != LEASE_SHARED)
		return;
	f->lease = LEASE_NONE;
	lease_inval_kernel(f);
}

void lease_none(struct file *f)
{
	struct volume *v = f->v;
	bool reclaiming = f->phase == PHASE_RECLAIM && !VOL_BUG(v, VOLUME_BUG_QUEUE_KEPT);

	CHECK(!f->records);
	call_abandon(f);
	f->phase = PHASE_IDLE;
	f->lease = LEASE_NONE;
	recovery_abort(f);
	repair_stop(f);
	fill_stop(f);
	learns_cancel(f);
	scans_abort(f);
	reads_abort(f);
	room_leave(f);
	blocks_drop(f);
	file_lru_remove(f);
	stale_fini(&f->stale);
	stale_init(&f->stale);
	f->stale_told = false;
	f->behinds = 0;
	f->size_dirty = f->times_dirty = false;
	f->trim_from = UINT64_MAX;
	f->trim_n = f->gate = 0;
	f->recalled = f->give_back = f->repair_only = f->recovery_waits = false;
	f->unclean = f->unserved = f->to_move.wanted = false;
	f->asks_n = 0;
	f->n = f->flush_asked = 0;
	timer_stop(v, &f->lease_timer);
	timer_stop(v, &f->attr_timer);
	flush_check(f);
	if (reclaiming) /* to no end: a seal told sooner than the answer that it was taken */
		locks_reclaimed(f);
	file_put_if_unused(f);
}

/* Trap A9: what was acknowledged and cannot be made durable any more is never hidden by a later
 * success. Every handle gives -EIO until it is closed; if none is open, the next fsync does. Where
 * neither lease nor lock was held, those that only read go on: they missed nothing. */
void file_fail(struct file *f)
{
	struct volume *v = f->v;
	bool dropped = f->records > 0 || f->size_dirty;
	bool held = f->lease == LEASE_EXCLUSIVE || locks_held(f);
	struct handle *h;
	struct vol_req *req;

	f->size_dirty = f->times_dirty = false;
	writer_drop(f);
	if (!VOL_BUG(v, VOLUME_BUG_RETRY_FLUSH)) {
		f->losses++;
		DL_FOREACH(f->handles, h) {
			if (h->lost || (h->read_only && !held))
				continue;
			v->stats.lost_handles++;
			h->lost = true;
		}
		if (dropped && !f->handles)
			f->error = -EIO;
	}
	while ((req = req_pop(&f->flushing)))
		vol_complete(v, req, -EIO);
	file_waiting_fail(f);
}

void lease_lost(struct file *f, const char *why, server_id_t by)
{
	if (by)
		vol_log(f->v, "volume.lost",
		        "file=%" PRIu64 " epoch=%" PRIu64
		        ": lease lost to access server %u, open handles fail until closed: %s",
		        f->ino, f->epoch, by, why);
	else
		vol_log(f->v, "volume.lost",
		        "file=%" PRIu64 " epoch=%" PRIu64
		        ": lease lost, open handles fail until closed: %s",
		        f->ino, f->epoch, why);
	loss_note(f, why, by);
	file_fail(f);
	locks_lost(f);
	lease_none(f);
	lease_inval_kernel(f);
	file_run(f);
}

void lease_sealed(struct file *f, uint64_t seal)
{
	f->above = MAX(f->above, seal);
	if (f->phase == PHASE_RECOVER) {
		recovery_failed(f);
		return;
	}
	if (f->lease == LEASE_EXCLUSIVE) {
		lease_lost(f, "a core server is sealed at a higher epoch", 0);
		return;
	}
	lease_drop_shared(f);
	reads_abort(f);
	file_run(f);
}

/* --- a new session after the old one ended --- */

static void on_reclaim(struct session_call *c, const struct msg *m)
{
	struct file *f = lease_call_end(c, NULL);
	struct block *b, *next;

	if (!f || !m)
		return; /* the next session asks again */
	if (m->r_status.status == STATUS_BUSY || m->r_status.status == STATUS_NOT_LEADER) {
		timer_set(f->v, &f->lease_timer, f->v->now + ASK_AGAIN);
		return;
	}
	if (m->type != MSG_TYPE_r_lease || m->r_lease.status != STATUS_OK ||
	    (f->lease == LEASE_EXCLUSIVE &&
	     (m->r_lease.epoch != f->epoch || m->r_lease.granted != LEASE_EXCLUSIVE))) {
		lease_lost(f, "taken by another after the session ended",
		           m->type == MSG_TYPE_r_lease ? m->r_lease.taken_by : 0);
		locks_reclaimed(f);
		return;
	}
	f->phase = PHASE_IDLE;
	privs_unknown(f); /* nobody held it while the session was ended */
	HASH_ITER(hh, f->blocks, b, next)
		if (b->records)
			block_send(b);
	if (!stale_empty(&f->stale) || f->behinds)
		repair_kick(f, NSEC_SEC);
	locks_reclaimed(f);
	file_run(f);
}

void lease_reclaim(struct file *f)
{
	struct msg m = {.type = MSG_TYPE_op_reclaim};

	m.op_reclaim.ino = f->ino;
	/* Locks outlive the lease: of one that was given back before there is nothing to reclaim. */
	m.op_reclaim.epoch = f->lease == LEASE_EXCLUSIVE ? f->epoch : 0;
	m.op_reclaim.old_session = f->reclaim_session;
	m.op_reclaim.locks = locks_encode(f);
	lease_call(f, &m, on_reclaim);
}

static void file_session_ended(struct file *f, session_id_t old)
{
	/* Of what was not held nothing can be missing; but a machine that was started elsewhere may have
	 * written, and must not be joined by its ghost: the catalog is asked all the same. */
	bool ask = locks_held(f) || handles_write(f);

	/* Nothing was served under it: the file was not recovered, or not to the end, so that this
	 * epoch must not go on. */
	if (f->phase == PHASE_RECOVER || f->unserved) {
		lease_none(f);
		if (!ask)
			file_run(f);
	}
	if (f->lease != LEASE_EXCLUSIVE && !ask)
		return; /* a question under way ends by itself */
	call_abandon(f);
	if (f->phase != PHASE_RECLAIM)
		f->reclaim_session = old;
	f->phase = PHASE_RECLAIM;
	f->recalled = false;
	timer_stop(f->v, &f->lease_timer);
	lease_reclaim(f);
}

void lease_session_ended(struct volume *v, session_id_t old)
{
	struct file *f, *next;

	HASH_ITER(hh, v->files, f, next)
		file_session_ended(f, old);
}

/* --- before the session runs out --- */

/* No heartbeat was answered for long: while requests are still served, so that no page is locked by
 * one that waits, the kernel drops everything (trap A11). Its attributes run out by themselves. */
void lease_fencing(struct volume *v)
{
	struct file *f, *next;

	v->fence_told = true;
	HASH_ITER(hh, v->files, f, next)
		if (f->phase == PHASE_IDLE && file_regular(f))
			lease_inval_kernel(f);
}

/* --- not too many --- */

void lease_bound(struct volume *v)
{
	struct file *f = v->held_lru, *next;

	for (unsigned looked = 0; v->held > HELD_MAX && f && looked < RELEASING_MAX; looked++, f = next) {
		next = f->lru_next;
		if (file_idle(f))
			give_back(f, LEASE_NONE);
	}
}
