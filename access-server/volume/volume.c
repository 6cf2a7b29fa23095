/* Entry points: dispatch of operations and messages, completions, the session's events.
 *
 * Invariants:
 * - done() is called from vol_tick() only, and only while the session is valid (a reply made before
 *   the session lapsed waits for it to return), except for requests that were interrupted;
 * - a request is in at most one list, or belongs to one running operation. */
#include <stdio.h>

#include "access-server/volume/parts.h"

#define DEFAULT_BUFFER ((uint64_t)256 << 20)
#define DEFAULT_SLACK ((uint64_t)64 << 20)

/* --- lists of requests --- */

void req_push(struct vol_req **list, struct vol_req *req)
{
	struct req_state *s = rs(req);

	CHECK(!s->list);
	s->list = list;
	s->next = NULL;
	if (!*list) {
		s->prev = req;
		*list = req;
		return;
	}
	s->prev = rs(*list)->prev;
	rs(s->prev)->next = req;
	rs(*list)->prev = req;
}

void req_push_front(struct vol_req **list, struct vol_req *req)
{
	struct req_state *s = rs(req);

	if (!*list) {
		req_push(list, req);
		return;
	}
	CHECK(!s->list);
	s->list = list;
	s->next = *list;
	s->prev = rs(*list)->prev;
	rs(*list)->prev = req;
	*list = req;
}

void req_remove(struct vol_req *req)
{
	struct req_state *s = rs(req);
	struct vol_req **list = s->list;

	if (!list)
		return;
	if (*list == req)
		*list = s->next;
	else
		rs(s->prev)->next = s->next;
	if (s->next)
		rs(s->next)->prev = s->prev;
	else if (*list)
		rs(*list)->prev = s->prev;
	s->list = NULL;
	s->prev = s->next = NULL;
}

struct vol_req *req_pop(struct vol_req **list)
{
	struct vol_req *req = *list;

	if (req)
		req_remove(req);
	return req;
}

/* --- life --- */

static void on_pressure(struct volume *v, struct vol_timer *t UNUSED)
{
	writer_pressure(v);
}

static void on_push(struct volume *v, struct vol_timer *t UNUSED)
{
	writer_push(v);
}

struct volume *vol_new(struct env *env, struct session *session, const struct volume_config *c,
                       const struct volume_ops *ops, void *ctx)
{
	struct volume *v = mem_new(sizeof(*v));

	v->env = env;
	v->session = session;
	v->config = *c;
	v->ops = ops;
	v->ctx = ctx;
	v->now = env->now(env);
	if (v->config.block_shift == 0)
		v->config.block_shift = BLOCK_SHIFT_DEFAULT;
	if (v->config.buffer_bytes == 0)
		v->config.buffer_bytes = DEFAULT_BUFFER;
	if (v->config.journal_slack_bytes == 0)
		v->config.journal_slack_bytes = DEFAULT_SLACK;
	if (v->config.exceptions_max == 0)
		v->config.exceptions_max = EXCEPTIONS_MAX;
	if (v->config.stale_after == 0)
		v->config.stale_after = NSEC_SEC;
	if (v->config.repair_every == 0)
		v->config.repair_every = 2 * NSEC_SEC;
	/* Request ids of an earlier life must not be answered in this one. */
	v->next_id = env->random(env) >> 1;
	names_init(v);
	locks_init(v);
	v->pressure.fire = on_pressure;
	v->push.fire = on_push;
	repair_poll_start(v);
	follow_start(v);
	return v;
}

void vol_free(struct volume *v)
{
	struct file *f, *next;

	move_stop(v);
	if (v->repair_asking)
		session_cancel(v->session, &v->repair_call);
	v->in_room = true; /* room that goes with a file is for nobody any more */
	HASH_ITER(hh, v->files, f, next)
		file_destroy(f);
	names_fini(v);
	locks_fini(v);
	peers_free(v);
	maps_free(v);
	req_calls_free(v);
	timers_free(v);
	mem_free(v);
}

void vol_log(struct volume *v, const char *key, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!v->ops->log)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->ops->log(v->ctx, key, text);
}

bool vol_session_valid(struct volume *v)
{
	return VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED) || session_valid(v->session);
}

static void shared_void(struct volume *v)
{
	struct file *f, *next;

	v->shared_until = 0;
	if (VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED))
		return;
	HASH_ITER(hh, v->files, f, next)
		if (f->lease == LEASE_SHARED)
			lease_drop_shared(f);
	names_shared_void(v);
}

void vol_enter(struct volume *v)
{
	nsec_t until;

	v->now = v->env->now(v->env);
	/* A shared lease that once ran out is gone, even if heartbeats go on afterwards: the leader
	 * may have let a writer in meanwhile. */
	if (v->shared_until && v->now >= v->shared_until)
		shared_void(v);
	until = session_shared_until(v->session);
	if (until <= v->now)
		return;
	/* Answers to questions from before this validity began bring no lease: meanwhile the leader
	 * may have forgotten what it granted. */
	if (!v->shared_until)
		v->shared_void_seq = v->recall_unknown = ++v->recall_seq;
	v->shared_until = until;
}

/* --- requests --- */

void vol_dispatch(struct volume *v, struct vol_req *req)
{
	struct file *f;

	switch (req->op) {
	case VOL_LOOKUP:
	case VOL_READLINK:
	case VOL_CREATE:
	case VOL_LINK:
	case VOL_UNLINK:
	case VOL_RMDIR:
	case VOL_RENAME:
	case VOL_READDIR:
	case VOL_STATFS:
	case VOL_GETXATTR:
	case VOL_LISTXATTR:
	case VOL_SETXATTR:
	case VOL_REMOVEXATTR:
		names_submit(v, req);
		return;
	case VOL_GETLK:
	case VOL_SETLK:
		locks_submit(v, req);
		return;
	case VOL_SYNC:
		sync_submit(v, req);
		return;
	case VOL_GETATTR:
	case VOL_SETATTR:
	case VOL_OPEN:
	case VOL_CLOSE:
	case VOL_READ:
	case VOL_WRITE:
	case VOL_FSYNC:
	case VOL_FLUSH:
	case VOL_FALLOCATE:
	case VOL_SEEK:
		break;
	}
	f = file_get(v, req->ino);
	rs(req)->f = f;
	f->forgotten = false;
	if (req->op == VOL_CLOSE) {
		close_submit(f, req);
		return;
	}
	if (req->op == VOL_FLUSH) {
		flush_submit(f, req);
		return;
	}
	attr_asked(f, req);
	req_push(&f->waiting, req);
	file_run(f);
}

void vol_submit(struct volume *v, struct vol_req *req)
{
	vol_enter(v);
	memset(req->backend, 0, sizeof(req->backend));
	req->rc = 0;
	req->out = (struct slice){0};
	req->out_len = 0;
	req->attr_valid = req->entry_valid = 0;
	req->keep_cache = false;
	if (req->op == VOL_CLOSE || vol_session_valid(v))
		vol_dispatch(v, req);
	else
		req_push(&v->fenced, req);
}

/* A lock, or a change in the buffer, is worth what became of it when the session ended meanwhile. */
static struct file *held_file(struct volume *v, const struct vol_req *req)
{
	unsigned in_catalog = SETATTR_MODE | SETATTR_UID | SETATTR_GID;
	bool held = false;

	switch ((int)req->op) {
	case VOL_SETLK:
	case VOL_WRITE:
	case VOL_FALLOCATE:
		held = true;
		break;
	case VOL_SETATTR:
		held = (req->valid & ~in_catalog) != 0;
		break;
	case VOL_OPEN:
		held = (req->flags & VOL_F_TRUNC) != 0;
		break;
	default:
		break;
	}
	return held && req->rc == 0 ? file_find(v, req->ino) : NULL;
}

void vol_complete(struct volume *v, struct vol_req *req, int rc)
{
	struct file *f = rs(req)->f;

	req->rc = rc;
	if (f && rc == 0)
		f->served = true;
	f = held_file(v, req);
	if (f)
		rs(req)->n = f->losses;
	req_push(&v->done, req);
}

static void fenced_run(struct volume *v)
{
	struct vol_req *last = v->fenced ? rs(v->fenced)->prev : NULL;
	struct vol_req *req;

	while (last && vol_session_valid(v) && (req = req_pop(&v->fenced))) {
		vol_dispatch(v, req);
		if (req == last)
			break;
	}
}

static bool may_deliver(struct volume *v, struct vol_req *req)
{
	struct file *f = held_file(v, req);

	if ((rs(req)->flags & REQ_INTERRUPTED) || req->op == VOL_CLOSE)
		return true;
	return vol_session_valid(v) && !(f && f->phase == PHASE_RECLAIM);
}

static void deliver_one(struct volume *v, struct vol_req *req)
{
	struct file *f = held_file(v, req);
	nsec_t left = v->shared_until - v->now;

	if (f && f->losses != rs(req)->n) {
		req->rc = -EIO;
		if (req->op == VOL_OPEN)
			handle_close(v, handle_find(v, req->out_handle));
	}
	req_remove(req);
	req->attr_valid = MAX(MIN(req->attr_valid, left), 0);
	req->entry_valid = MAX(MIN(req->entry_valid, left), 0);
	bool attr = rs(req)->flags & REQ_ATTR_ASKED;
	uint64_t ino = req->ino;

	req->done(req);
	if (attr)
		attr_answered(v, ino);
}

static void deliver(struct volume *v)
{
	unsigned n = 0;
	struct vol_req *req, *next;

	for (req = v->done; req; req = rs(req)->next)
		n++;
	for (req = v->done; req && n > 0; req = next, n--) {
		next = rs(req)->next;
		if (may_deliver(v, req))
			deliver_one(v, req);
	}
}

static bool more_to_deliver(struct volume *v)
{
	for (struct vol_req *req = v->done; req; req = rs(req)->next)
		if (may_deliver(v, req))
			return true;
	return false;
}

void vol_interrupt(struct volume *v, struct vol_req *req)
{
	struct req_state *s = rs(req);

	vol_enter(v);
	if (s->list == &v->done) {
		/* The outcome stands; it need not wait for the session any longer. */
		s->flags |= REQ_INTERRUPTED;
		if (!vol_session_valid(v) && req->rc == 0 && (req->op == VOL_READ || req->op == VOL_GETATTR)) {
			iobuf_put(req->out.buf);
			req->out = (struct slice){0};
			req->rc = -EINTR;
		}
		return;
	}
	if (s->list) {
		if (s->list == &v->syncing)
			mem_free(s->op);
		req_remove(req);
		s->flags |= REQ_INTERRUPTED;
		vol_complete(v, req, -EINTR);
		return;
	}
	if (s->f && req_call_interrupt(v, req))
		return;
	if (s->f && (reader_interrupt(s->f, req) || scan_op_interrupt(s->f, req)))
		return;
	if (!names_interrupt(v, req))
		locks_interrupt(v, req);
}

void vol_forget(struct volume *v, uint64_t ino)
{
	struct file *f;

	vol_enter(v);
	f = file_find(v, ino);
	if (!f)
		return;
	f->forgotten = true;
	file_put_if_unused(f);
}

void vol_invalidated(struct volume *v, uint64_t cookie)
{
	vol_enter(v);
	if (cookie & COOKIE_NAMES)
		names_invalidated(v, cookie);
	else
		recall_invalidated(v, cookie);
}

/* --- messages --- */

bool vol_send(struct volume *v, struct msg *m)
{
	if (m->dst == SERVER_LEADER)
		m->via = session_via(v->session);
	return v->env->send(v->env, m) == 0;
}

void vol_send_recall_ack(struct volume *v, uint64_t ino, unsigned what, unsigned to, uint64_t id)
{
	struct msg m = {.type = MSG_TYPE_recall_ack, .dst = SERVER_LEADER};

	m.recall_ack.ino = ino;
	m.recall_ack.what = (uint8_t)what;
	m.recall_ack.to = (uint8_t)to;
	m.recall_ack.id = id;
	vol_send(v, &m);
}

/* An orphan that is not open here: say so, and keep to it. */
static void on_orphan_check(struct volume *v, const struct msg *m)
{
	struct span in = m->orphan_check.inos;
	struct msg reply = {.type = MSG_TYPE_orphan_answer, .dst = SERVER_LEADER, .id = m->id};
	uint32_t len = 0;
	uint8_t *out;

	/* The answer is worth something for the session that was asked only. */
	if (m->orphan_check.session != session_id(v->session))
		return;
	out = mem_new(in.len ? in.len : 1);
	reply.orphan_answer.session = m->orphan_check.session;
	for (uint32_t i = 0; i + 8 <= in.len; i += 8) {
		struct file *f = file_find(v, get_u64le(in.p + i));

		if (f && !file_give_up_orphan(f))
			continue;
		memcpy(out + len, in.p + i, 8);
		len += 8;
	}
	reply.orphan_answer.inos = (struct span){out, len};
	if (len > 0)
		vol_send(v, &reply);
	mem_free(out);
}

void vol_recv(struct volume *v, const struct msg *m)
{
	vol_enter(v);
	switch ((int)m->type) {
	case MSG_TYPE_write_reply:
		writer_recv(v, m);
		break;
	case MSG_TYPE_read_reply:
	case MSG_TYPE_seal_reply:
	case MSG_TYPE_list_reply:
	case MSG_TYPE_install_reply:
	case MSG_TYPE_close_reply:
	case MSG_TYPE_space_reply:
		rpc_recv(v, m);
		break;
	case MSG_TYPE_recall:
		recall_arrived(v, m->recall.ino, m->recall.what, m->recall.to, m->recall.id);
		break;
	case MSG_TYPE_holder_attr:
		holder_attr_arrived(v, m);
		break;
	case MSG_TYPE_orphan_check:
		on_orphan_check(v, m);
		break;
	case MSG_TYPE_lock_ready:
		locks_ready(v, &m->lock_ready);
		break;
	case MSG_TYPE_bad_page:
		repair_told(v, m);
		break;
	default:
		break; /* not for us: dropped */
	}
}

void vol_peer_up(struct volume *v, server_id_t peer)
{
	vol_enter(v);
	peer_get(v, peer)->reconnected = peer_get(v, peer)->down;
	peer_get(v, peer)->down = false;
	rpcs_peer_up(v, peer);
	writer_peer_up(v, peer);
	repair_peer_up(v, peer);
	room_retry(v);
}

void vol_peer_down(struct volume *v, server_id_t peer)
{
	vol_enter(v);
	peer_get(v, peer)->down = true;
	space_peer_down(v, peer);
}

#define FENCE_WARNING (300 * NSEC_MSEC)

/* When the kernel has to be told that the session may run out: heartbeats put it off. */
static nsec_t fence_at(struct volume *v)
{
	nsec_t until = session_valid_until(v->session);

	if (until == 0)
		return NSEC_NEVER;
	if (v->now < until - FENCE_WARNING) {
		v->fence_told = false;
		return until - FENCE_WARNING;
	}
	if (!v->fence_told)
		lease_fencing(v);
	return NSEC_NEVER;
}

nsec_t vol_tick(struct volume *v, nsec_t now UNUSED)
{
	nsec_t fence;

	vol_enter(v);
	fenced_run(v);
	fence = fence_at(v);
	timers_run(v);
	/* Whoever made room inside a file's run woke one that waits, not those behind it. */
	if (v->room || v->unpromised)
		room_retry(v);
	vol_sync_check(v);
	deliver(v);
	reap(v);
	blocks_evict(v);
	lease_bound(v);
	/* What waits for the session is woken by the heartbeat reply that revives it. */
	if (more_to_deliver(v) || (v->fenced && vol_session_valid(v)))
		return v->now;
	return MIN(MIN(timers_due(v), fence), v->shared_until ? v->shared_until : NSEC_NEVER);
}

/* --- the session's events --- */

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	struct volume *v = ctx;

	vol_enter(v);
	maps_want_newest(v, r->map);
	maps_session_up(v);
	if (before && before != given) {
		shared_void(v);
		lease_session_ended(v, before);
	}
}

static void on_shared_void(void *ctx)
{
	struct volume *v = ctx;

	vol_enter(v);
	shared_void(v);
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	struct volume *v = ctx;
	struct vol_stats s;

	vol_get_stats(v, &s);
	hb->stale_blocks = s.stale_blocks;
	hb->dirty_bytes = v->buffered;
	hb->map = v->newest ? v->newest->version : 0;
}

static void on_recalls(void *ctx, struct span recalls)
{
	struct volume *v = ctx;
	struct cursor c = {recalls.p, recalls.len, false};

	vol_enter(v);
	while (c.left >= 18) {
		uint64_t ino = cursor_u64(&c);
		uint8_t what = cursor_u8(&c), to = cursor_u8(&c);

		recall_arrived(v, ino, what, to, cursor_u64(&c));
	}
}

static void on_map_changed(void *ctx, uint64_t map)
{
	struct volume *v = ctx;

	vol_enter(v);
	maps_want_newest(v, map);
}

const struct session_ops vol_session_ops = {
	.up = on_up,
	.shared_void = on_shared_void,
	.stats = on_stats,
	.recalls = on_recalls,
	.map_changed = on_map_changed,
};

const struct map *vol_map(const struct volume *v)
{
	return v->newest;
}

void vol_get_stats(const struct volume *v, struct vol_stats *out)
{
	struct file *f;

	*out = v->stats;
	out->files = HASH_COUNT(v->files);
	out->buffered_bytes = v->buffered;
	out->stale_blocks = 0;
	for (f = v->held_lru; f; f = f->lru_next)
		if (!stale_empty(&f->stale) && f->have_attr)
			out->stale_blocks += stale_count(&f->stale, DIV_UP(f->size, file_block_bytes(f)));
}
