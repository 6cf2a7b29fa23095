/* Calls to the catalog. A change travels in a slot under a sequence number (RFC 8881, 2.10.6), so
 * that the catalog can tell a repetition from a new one; a query only has its request id.
 *
 * All resends have the same interval: a list to whose end each sent call goes is sorted by time. */
#include "common/session/session_internal.h"

#include "common/base/mem.h"
#include "common/wire/msg_check.h"

#include <utlist.h>

#define RESEND (300 * NSEC_MSEC)
#define SLOT_QUERY 0xffff

/* Requests to the catalog all begin with OP_FIELDS and replies with REPLY_FIELDS, so that any
 * member stands for them. */
#define OP(m) ((m)->q_statfs)
#define REPLY(m) ((m)->r_status)

static bool is_change(const struct pending *p)
{
	return p->request.type >= MSG_TYPE_op_session;
}

static struct pending *pending_new(struct session_call *c, const struct msg *request)
{
	struct pending *p = mem_new(sizeof(*p));
	size_t len = msg_body_bytes(request);
	int rc;

	/* Encoding and decoding is the copy that takes the spans along. */
	p->bytes = mem_new(len);
	msg_encode_body(request, p->bytes);
	rc = msg_decode_body(p->bytes, len, &p->request);
	CHECK(rc == 0);
	p->call = c;
	return p;
}

static void pending_free(struct pending *p)
{
	mem_free(p->bytes);
	mem_free(p);
}

static void send_pending(struct session *s, struct pending *p, nsec_t now)
{
	/* A failure is a loss: the resend mends it. */
	(void)session_send(s, &p->request, s->hint);
	p->resend = now + RESEND;
}

static bool take_slot(struct session *s, struct pending *p)
{
	if (!is_change(p)) {
		if (s->queries == SESSION_QUERIES_MAX)
			return false;
		s->queries++;
		OP(&p->request).slot = SLOT_QUERY;
		OP(&p->request).seq = 0;
		return true;
	}
	if (s->slots_used == SESSION_SLOTS)
		return false;
	/* Low slots first: the catalog remembers a reply for each slot that was ever used. */
	for (unsigned i = 0; i < SESSION_SLOTS; i++) {
		if (s->slot[i])
			continue;
		s->slot[i] = p;
		s->slots_used++;
		OP(&p->request).slot = (uint16_t)i;
		OP(&p->request).seq = ++s->seq[i];
		return true;
	}
	CHECK(!"a slot is free");
}

static void leave_slot(struct session *s, struct pending *p)
{
	unsigned i = OP(&p->request).slot;

	if (i == SLOT_QUERY) {
		CHECK(s->queries > 0);
		s->queries--;
		return;
	}
	CHECK(s->slot[i] == p);
	s->slot[i] = NULL;
	s->slots_used--;
}

/* True if it went out. */
static bool start(struct session *s, struct pending *p, nsec_t now)
{
	if (!s->id || !take_slot(s, p))
		return false;
	OP(&p->request).session = s->id;
	p->request.dst = SERVER_LEADER;
	p->request.id = s->next_id++;
	p->place = PENDING_SENT;
	HASH_ADD(hh, s->by_id, request.id, sizeof(p->request.id), p);
	DL_APPEND(s->sent, p);
	send_pending(s, p, now);
	return true;
}

static void unlink_sent(struct session *s, struct pending *p)
{
	HASH_DELETE(hh, s->by_id, p);
	DL_DELETE(s->sent, p);
	leave_slot(s, p);
}

void session_call(struct session *s, struct session_call *c, const struct msg *request)
{
	struct pending *p = pending_new(c, request);

	CHECK(request->type >= MSG_TYPE_q_lookup && request->type < MSG_TYPE_r_status);
	c->backend[0] = p;
	s->stats.calls++;
	if (!s->waiting && start(s, p, s->env->now(s->env)))
		return;
	if (s->stats.waiting >= SESSION_WAITING_MAX) {
		p->place = PENDING_REFUSED;
		DL_APPEND(s->finished, p);
		return;
	}
	p->place = PENDING_WAITING;
	DL_APPEND(s->waiting, p);
	s->stats.waiting++;
	s->stats.waiting_peak = MAX(s->stats.waiting_peak, s->stats.waiting);
}

void session_cancel(struct session *s, struct session_call *c)
{
	struct pending *p = c->backend[0];

	if (!p)
		return;
	CHECK(p->call == c);
	c->backend[0] = NULL;
	p->call = NULL;
	switch (p->place) {
	case PENDING_WAITING:
		DL_DELETE(s->waiting, p);
		s->stats.waiting--;
		break;
	case PENDING_SENT:
		/* A sent change goes on until answered: its slot's next number may only follow. */
		if (is_change(p))
			return;
		unlink_sent(s, p);
		break;
	case PENDING_ENDED:
	case PENDING_REFUSED:
		DL_DELETE(s->finished, p);
		break;
	}
	pending_free(p);
}

/* In order, but a change that finds no slot does not hold up a query behind it. */
void calls_pump(struct session *s)
{
	nsec_t now = s->env->now(s->env);
	struct pending *p, *next;

	if (!s->id)
		return;
	DL_FOREACH_SAFE(s->waiting, p, next) {
		if (s->slots_used == SESSION_SLOTS && s->queries == SESSION_QUERIES_MAX)
			return;
		if (is_change(p) ? s->slots_used == SESSION_SLOTS : s->queries == SESSION_QUERIES_MAX)
			continue;
		DL_DELETE(s->waiting, p);
		s->stats.waiting--;
		CHECK(start(s, p, now));
	}
}

void calls_resend_due(struct session *s, nsec_t now)
{
	while (s->sent && s->sent->resend <= now) {
		struct pending *p = s->sent;

		DL_DELETE(s->sent, p);
		DL_APPEND(s->sent, p);
		send_pending(s, p, now);
		s->stats.resent++;
	}
}

void calls_resend_all(struct session *s)
{
	nsec_t now = s->env->now(s->env);
	struct pending *p;

	DL_FOREACH(s->sent, p) {
		send_pending(s, p, now);
		s->stats.resent++;
	}
}

nsec_t calls_due(const struct session *s)
{
	if (s->finished)
		return 0;
	return s->sent ? s->sent->resend : NSEC_NEVER;
}

void calls_session_ended(struct session *s)
{
	struct pending *p, *next;

	DL_FOREACH_SAFE(s->sent, p, next) {
		unlink_sent(s, p);
		if (!p->call) {
			pending_free(p);
			continue;
		}
		p->place = PENDING_ENDED;
		DL_APPEND(s->finished, p);
	}
	DL_FOREACH_SAFE(s->waiting, p, next) {
		DL_DELETE(s->waiting, p);
		s->stats.waiting--;
		p->place = PENDING_ENDED;
		DL_APPEND(s->finished, p);
	}
	CHECK(s->slots_used == 0 && s->queries == 0 && s->stats.waiting == 0);
	memset(s->seq, 0, sizeof(s->seq));
}

/* done() may call and cancel anything: take one at a time from the list, and no more than were
 * there, as a refused caller may ask again at once. */
void calls_finish(struct session *s)
{
	struct msg busy = {.type = MSG_TYPE_r_status, .r_status = {.status = STATUS_BUSY}};
	struct pending *p;
	unsigned n;

	DL_COUNT(s->finished, p, n);
	while (n-- && s->finished) {
		struct session_call *c;
		bool refused;

		p = s->finished;
		c = p->call;
		refused = p->place == PENDING_REFUSED;
		DL_DELETE(s->finished, p);
		c->backend[0] = NULL;
		pending_free(p);
		c->done(c, refused ? &busy : NULL);
	}
}

void calls_recv(struct session *s, const struct msg *m, bool *ended)
{
	struct session_call *c;
	struct pending *p;

	HASH_FIND(hh, s->by_id, &m->id, sizeof(m->id), p);
	if (!p || REPLY(m).status == STATUS_NOT_LEADER)
		return;
	/* As if it never came: the question is asked again. */
	if (!msg_reply_ok(m)) {
		s->stats.senseless++;
		return;
	}
	if (REPLY(m).status == STATUS_NO_SESSION) {
		*ended = true;
		return;
	}
	unlink_sent(s, p);
	c = p->call;
	pending_free(p);
	if (c) {
		c->backend[0] = NULL;
		c->done(c, m);
	}
}

void calls_free(struct session *s)
{
	struct pending *p, *next;

	DL_FOREACH_SAFE(s->sent, p, next) {
		unlink_sent(s, p);
		pending_free(p);
	}
	DL_FOREACH_SAFE(s->waiting, p, next) {
		DL_DELETE(s->waiting, p);
		pending_free(p);
	}
	DL_FOREACH_SAFE(s->finished, p, next) {
		DL_DELETE(s->finished, p);
		pending_free(p);
	}
}
