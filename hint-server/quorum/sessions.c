/* Liveness on the leader (design section 7): one timer per session, fed by heartbeats that any hint
 * server may relay. A heartbeat is answered after a round in which a majority confirmed the term, so
 * that a leader that was replaced keeps nobody alive (trap A10).
 *
 *   live --(T without an answered heartbeat)--> lapsed --(somebody needs what it has)--> ending
 *     ^                                           |
 *     +-------- a heartbeat revives it -----------+     ending: never answered again
 */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#define BEATS_MAX 4096

struct sess *sess_find(struct hint *h, session_id_t id)
{
	struct sess *s;

	HASH_FIND(hh, h->sessions, &id, sizeof(id), s);
	return s;
}

struct sess *sess_add(struct hint *h, session_id_t id, server_id_t server, uint8_t kind)
{
	struct sess *s = sess_find(h, id);

	if (!s) {
		s = mem_new(sizeof(*s));
		s->id = id;
		s->server = server;
		s->kind = kind;
		HASH_ADD(hh, h->sessions, id, sizeof(s->id), s);
	}
	s->since = hint_now(h);
	s->deadline = s->since + h->config.session_timeout;
	return s;
}

void sess_gone(struct hint *h, session_id_t id)
{
	struct sess *s = sess_find(h, id);

	if (!s)
		return;
	absent_add(h, id);
	lease_drop_session(h, s);
	HASH_DEL(h->sessions, s);
	mem_free(s->unlogged);
	mem_free(s);
	h->dirty = true;
}

bool sess_lapsed(const struct hint *h, const struct sess *s)
{
	return hint_now(h) >= s->deadline;
}

void sess_end(struct hint *h, struct sess *s)
{
	struct msg op = {.type = MSG_TYPE_op_session_end};

	if (s->ending)
		return;
	s->ending = true;
	TRACE("session.end id server", s->id, s->server, 0, 0);
	op.op_session_end.slot = 0xffff;
	op.op_session_end.ended = s->id;
	requests_internal(h, &op);
}

void sessions_load(struct hint *h)
{
	struct catalog_session s = {0};

	while (catalog_session_next(h->catalog, s.id, &s))
		sess_add(h, s.id, s.server, s.kind);
}

void sessions_clear(struct hint *h)
{
	struct sess *s, *tmp;
	struct beat *b, *next;

	HASH_ITER(hh, h->sessions, s, tmp) {
		lease_drop_session(h, s);
		HASH_DEL(h->sessions, s);
		mem_free(s->unlogged);
		mem_free(s);
	}
	DL_FOREACH_SAFE(h->beats, b, next) {
		DL_DELETE(h->beats, b);
		mem_free(b);
	}
	h->n_beats = 0;
	shown_clear(h);
	absent_reset(h);
}

/* This server slept: nobody else is to blame for what came due meanwhile (trap B4). */
void sessions_shift(struct hint *h, nsec_t late)
{
	struct sess *s, *tmp;

	HASH_ITER(hh, h->sessions, s, tmp) {
		s->deadline += late;
		if (s->shared_until)
			s->shared_until += late;
	}
	if (h->grace_until)
		h->grace_until += late;
}

/* --- heartbeats --- */

static void answer(struct hint *h, const struct beat *b, enum status status, struct sess *s)
{
	uint8_t recalls[HEARTBEAT_RECALLS_MAX * RECALL_RECORD_BYTES];
	struct msg m = {.type = MSG_TYPE_heartbeat_reply};
	struct msg_heartbeat_reply *r = &m.heartbeat_reply;
	struct msg to = {.src = b->from, .via = b->via, .id = b->id};

	r->status = (uint16_t)status;
	r->session = b->hb.session;
	r->nonce = b->hb.nonce;
	r->term = h->leader_term;
	r->map = catalog_map(h->catalog)->version;
	if (s) {
		unsigned n = lease_recalls(h, s, recalls, HEARTBEAT_RECALLS_MAX);

		r->session_ms = (uint32_t)(h->config.session_timeout / NSEC_MSEC);
		r->shared_ms = s->greeted ? (uint32_t)(h->config.shared_timeout / NSEC_MSEC) : 0;
		r->recalls = (struct span){recalls, n * RECALL_RECORD_BYTES};
		s->greeted = true;
		s->deadline = MAX(s->deadline, b->arrived + h->config.session_timeout);
		if (r->shared_ms)
			s->shared_until = MAX(s->shared_until, b->arrived + h->config.shared_timeout +
			                                               h->shared_margin);
	}
	relay_reply(h, &m, &to);
}

/* Its round is confirmed: what does this session deserve? False: that has to wait. */
static bool judge(struct hint *h, const struct beat *b)
{
	struct catalog_session c;
	struct sess *s = sess_find(h, b->hb.session);

	if (!catalog_session(h->catalog, b->hb.session, &c) || c.server != b->from || !s) {
		answer(h, b, STATUS_NO_SESSION, NULL);
		return true;
	}
	s->stats = b->hb;
	if (s->ending || lease_overdue(h, s))
		return true;
	if (s->kind == SERVER_CORE && !shown_note(h, &c, b))
		return false;
	if (sess_lapsed(h, s))
		h->dirty = true; /* revived */
	answer(h, b, STATUS_OK, s);
	return true;
}

static void beat_free(struct hint *h, struct beat *b)
{
	DL_DELETE(h->beats, b);
	h->n_beats--;
	mem_free(b);
}

void beats_arrive(struct hint *h, const struct msg *m)
{
	struct beat *b, *old, *tmp;

	/* Only the newest of each server is worth an answer. */
	DL_FOREACH_SAFE(h->beats, old, tmp)
		if (old->from == m->src && old->hb.nonce == m->heartbeat.nonce)
			return;
	if (h->n_beats == BEATS_MAX)
		beat_free(h, h->beats);
	b = mem_new(sizeof(*b));
	b->from = m->src;
	b->via = m->via;
	b->id = m->id;
	b->arrived = hint_now(h);
	b->hb = m->heartbeat;
	b->round = read_index_join(&h->reads);
	b->commit = voter_commit(h->voter);
	DL_APPEND(h->beats, b);
	h->n_beats++;
}

void beats_run(struct hint *h)
{
	struct beat *b, *tmp;
	bool blind = h->config.bugs & HINT_BUG_OLD_LEADER_ACKS;

	if (!h->ready)
		return;
	DL_FOREACH_SAFE(h->beats, b, tmp) {
		if (!blind && (b->round > h->reads.confirmed ||
		               catalog_applied(h->catalog) < b->commit))
			break;
		if (judge(h, b))
			beat_free(h, b);
	}
	shown_log(h);
}

/* --- what heartbeats tell --- */

const struct sess *sessions_of_server(const struct hint *h, server_id_t server)
{
	struct sess *s, *tmp;

	HASH_ITER(hh, h->sessions, s, tmp)
		if (s->server == server && !s->ending)
			return s;
	return NULL;
}

void sessions_space(const struct hint *h, uint64_t *total, uint64_t *free)
{
	struct sess *s, *tmp;

	*total = *free = 0;
	HASH_ITER(hh, h->sessions, s, tmp) {
		if (s->kind != SERVER_CORE || sess_lapsed(h, s))
			continue;
		*total += s->stats.total;
		*free += s->stats.free;
	}
}
