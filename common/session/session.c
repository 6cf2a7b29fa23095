/* Standing and time: opening, heartbeats, validity, and the choice of the hint server.
 *
 *   OPENING   -- r_session ----------------------------> PROVING
 *   PROVING   -- a heartbeat is answered --------------> STANDING   (up)
 *   STANDING  -- validity runs out, then an answer ----> STANDING   (up again: revived)
 *   any       -- NO_SESSION for this session ----------> OPENING    (calls end with NULL)
 *
 * Validity is counted from when a heartbeat was *sent*: the leader counts from its arrival, which
 * is later, so this side always gives up first (trap A10). Answers of an older term than seen
 * before are dropped: a deposed leader extends nothing. */
#include "common/session/session_internal.h"

#include "common/base/mem.h"
#include "common/base/trace.h"

#define HEARTBEAT_DEFAULT (200 * NSEC_MSEC)
#define OPEN_RESEND (300 * NSEC_MSEC)
#define UNANSWERED_MAX 2
#define PROBE_EVERY (2 * NSEC_SEC)
/* What a hint server may take to pass on a first answer, before one that is farther away is used. */
#define FIRST_ANSWER_WITHIN (200 * NSEC_MSEC)

static nsec_t now_of(const struct session *s)
{
	return s->env->now(s->env);
}

struct session *session_new(struct env *env, const struct session_config *c,
                            const struct session_ops *ops, void *ctx)
{
	struct session *s = mem_new(sizeof(*s));

	CHECK(c->hints > 0 && c->hints <= SESSION_HINTS_MAX);
	s->env = env;
	s->config = *c;
	if (!s->config.heartbeat)
		s->config.heartbeat = HEARTBEAT_DEFAULT;
	s->ops = *ops;
	s->ctx = ctx;
	/* Ids start at random, so that no answer to an earlier process fits. */
	s->next_id = env->random(env) | 1;
	s->patient_until = now_of(s) + FIRST_ANSWER_WITHIN;
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	calls_free(s);
	mem_free(s);
}

int session_send(struct session *s, struct msg *m, unsigned hint)
{
	m->src = s->config.server;
	m->via = s->config.hint[hint];
	return s->env->send(s->env, m);
}

static struct msg_heartbeat get_stats(struct session *s)
{
	struct msg_heartbeat hb = {0};

	if (s->ops.stats)
		s->ops.stats(s->ctx, &hb);
	hb.session = s->id;
	hb.kind = (uint8_t)s->config.kind;
	return hb;
}

/* --- sending --- */

static int send_open(struct session *s)
{
	struct msg_heartbeat hb = get_stats(s);
	const struct session_config *c = &s->config;
	struct msg m = {
		.type = MSG_TYPE_op_session,
		.dst = SERVER_LEADER,
		.id = s->open_id,
		.op_session = {
			.slot = 0xffff,
			.seq = s->open_seq,
			.server = c->server,
			.kind = (uint8_t)c->kind,
			.boot = c->boot,
			.disk = c->disk,
			.opened = c->opened,
			.start = MAX(hb.start, s->start),
			.journal = hb.journal,
			.total = hb.total,
			.addr = {(const uint8_t *)c->addr, (uint32_t)strlen(c->addr)},
			.site = {(const uint8_t *)c->site, (uint32_t)strlen(c->site)},
		},
	};

	s->unanswered++;
	return session_send(s, &m, s->hint);
}

static int send_heartbeat(struct session *s, unsigned hint, bool probe)
{
	struct session_nonce *n = &s->nonce[s->nonce_at++ % NONCES];
	struct msg m = {.type = MSG_TYPE_heartbeat, .dst = SERVER_LEADER, .heartbeat = get_stats(s)};

	m.id = m.heartbeat.nonce = s->next_id++;
	s->map_said = m.heartbeat.map;
	*n = (struct session_nonce){m.heartbeat.nonce, now_of(s), hint, probe};
	s->stats.heartbeats++;
	if (hint == s->hint)
		s->unanswered++;
	return session_send(s, &m, hint);
}

static void use_hint(struct session *s, unsigned hint, nsec_t now)
{
	if (s->hint == hint)
		return;
	TRACE("session.hint from to", s->config.hint[s->hint], s->config.hint[hint], 0, 0);
	s->hint = hint;
	s->patient_until = now + FIRST_ANSWER_WITHIN;
	s->unanswered = 0;
	s->next_probe = now + PROBE_EVERY;
	s->stats.hint_changes++;
}

/* Opens or sends a heartbeat, by way of the first hint server that takes it. */
static void beat(struct session *s, nsec_t now)
{
	unsigned before = s->hint, n = s->config.hints;
	int rc = -ENOTCONN;

	s->next_beat = now + (s->id ? s->config.heartbeat : OPEN_RESEND);
	if (s->unanswered >= UNANSWERED_MAX)
		use_hint(s, (s->hint + 1) % n, now);
	for (unsigned i = 0; rc == -ENOTCONN && i < n; i++) {
		rc = s->id ? send_heartbeat(s, s->hint, false) : send_open(s);
		if (rc == -ENOTCONN)
			use_hint(s, (s->hint + 1) % n, now);
	}
	if (rc == -ENOTCONN)
		s->patient_until = 0;
	if (s->hint != before)
		calls_resend_all(s);
}

static void open_new(struct session *s, nsec_t now)
{
	CHECK(!s->id);
	s->state = SESSION_OPENING;
	s->open_seq++;
	s->open_id = s->next_id++;
	s->stats.opened++;
	beat(s, now);
}

/* --- what time does --- */

/* Tells the owner what has run out. Before anything else at every entry: what came in while the
 * process slept must not hide that it slept. */
static void notice_lapse(struct session *s, nsec_t now)
{
	if (s->up_told && now >= s->valid_until) {
		TRACE("session.lapsed id", s->id, 0, 0, 0);
		s->up_told = false;
	}
	if (s->shared_told && now >= session_shared_until(s)) {
		s->shared_told = false;
		if (s->ops.shared_void)
			s->ops.shared_void(s->ctx);
	}
}

static void void_shared(struct session *s)
{
	s->shared_until = 0;
	notice_lapse(s, now_of(s));
}

static nsec_t due(const struct session *s)
{
	nsec_t at = MIN(s->next_beat, calls_due(s));

	if (s->state == SESSION_OPENING && !s->open_id)
		at = MIN(at, s->open_not_before);
	if (s->shared_told)
		at = MIN(at, session_shared_until(s));
	if (s->up_told)
		at = MIN(at, s->valid_until);
	if (s->id && s->hint)
		at = MIN(at, s->next_probe);
	return at;
}

nsec_t session_tick(struct session *s, nsec_t now)
{
	notice_lapse(s, now);
	if (s->state == SESSION_OPENING && !s->open_id) {
		if (now >= s->open_not_before)
			open_new(s, now);
	} else if (now >= s->next_beat) {
		beat(s, now);
	}
	if (s->id && s->hint && now >= s->next_probe) {
		s->next_probe = now + PROBE_EVERY;
		(void)send_heartbeat(s, 0, true);
	}
	calls_resend_due(s, now);
	calls_pump(s);
	calls_finish(s);
	return due(s);
}

void session_hint_down(struct session *s, server_id_t hint)
{
	nsec_t now = now_of(s);
	unsigned next = (s->hint + 1) % s->config.hints;

	notice_lapse(s, now);
	if (s->config.hint[s->hint] != hint || s->config.hints == 1)
		return;
	use_hint(s, next, now);
	if (s->state == SESSION_OPENING && !s->open_id)
		return;
	beat(s, now);
	if (s->hint == next)
		calls_resend_all(s); /* else beat() did */
}

void session_hint_up(struct session *s, server_id_t hint)
{
	nsec_t now = now_of(s);
	unsigned i = 0;

	notice_lapse(s, now);
	while (i < s->config.hints && s->config.hint[i] != hint)
		i++;
	if (i == s->config.hints || (s->state == SESSION_OPENING && !s->open_id))
		return;
	if (i == 0 && s->hint)
		s->next_probe = 0;
	/* After a start the nearest comes first and the others right behind it: they are no better. */
	if (i == s->hint || (!session_valid(s) && (i < s->hint || now >= s->patient_until))) {
		use_hint(s, i, now);
		s->patient_until = now + FIRST_ANSWER_WITHIN;
		beat(s, now);
		calls_resend_all(s);
	}
}

/* --- what comes back --- */

static void end_session(struct session *s)
{
	nsec_t now = now_of(s);

	TRACE("session.ended id", s->id, 0, 0, 0);
	s->state = SESSION_OPENING;
	s->id = 0;
	s->open_id = 0;
	s->open_not_before = now + s->config.heartbeat;
	s->next_beat = NSEC_NEVER;
	s->valid_until = 0;
	s->shared_until = 0;
	memset(s->nonce, 0, sizeof(s->nonce));
	s->stats.ended++;
	calls_session_ended(s);
	notice_lapse(s, now);
	calls_finish(s);
}

static void recv_opened(struct session *s, const struct msg_r_session *r)
{
	if (s->state != SESSION_OPENING)
		return;
	/* The catalog knows an earlier process: this one is the newer, and says so at once. */
	if (r->status == STATUS_NO_SESSION && s->config.kind != SERVER_CORE && r->start >= s->start) {
		s->start = r->start + 1;
		s->open_id = 0;
		s->next_beat = NSEC_NEVER;
		s->open_not_before = now_of(s);
		return;
	}
	if (r->status != STATUS_OK || !r->given)
		return;
	TRACE("session.opened id seq", r->given, s->open_seq, 0, 0);
	s->state = SESSION_PROVING;
	s->id = r->given;
	s->given = *r;
	s->open_id = 0;
	s->unanswered = 0;
	beat(s, now_of(s));
}

static struct session_nonce take_nonce(struct session *s, uint64_t nonce)
{
	struct session_nonce found = {0};

	for (unsigned i = 0; nonce && i < NONCES; i++) {
		if (s->nonce[i].nonce != nonce)
			continue;
		found = s->nonce[i];
		s->nonce[i].nonce = 0;
		return found;
	}
	return found;
}

static void extend(struct session *s, const struct msg_heartbeat_reply *r, nsec_t sent)
{
	if (r->term > s->term || !r->shared_ms)
		void_shared(s);
	s->term = r->term;
	if (r->shared_ms) {
		s->shared_until = MAX(s->shared_until, sent + r->shared_ms * NSEC_MSEC);
		s->hurried = false;
	} else if (!s->hurried) {
		/* The leader's first word to this session in its term: the next one counts. */
		s->hurried = true;
		s->next_beat = 0;
	}
	if (r->session_ms > s->given.margin_ms) {
		nsec_t good = (nsec_t)(r->session_ms - s->given.margin_ms) * NSEC_MSEC;

		s->valid_until = MAX(s->valid_until, sent + good);
	}
	s->state = SESSION_STANDING;
}

static void tell(struct session *s, const struct msg_heartbeat_reply *r)
{
	nsec_t now = now_of(s);
	session_id_t id = s->id, before = s->before;

	s->shared_told = now < session_shared_until(s);
	if (!s->up_told && now < s->valid_until) {
		s->up_told = true;
		s->before = id;
		if (s->ops.up)
			s->ops.up(s->ctx, id, before, &s->given);
	}
	if (r->recalls.len && s->ops.recalls)
		s->ops.recalls(s->ctx, r->recalls);
	if (r->map > s->map_said && s->ops.map_changed)
		s->ops.map_changed(s->ctx, r->map);
}

static void recv_heartbeat_reply(struct session *s, const struct msg_heartbeat_reply *r)
{
	struct session_nonce n;

	if (!s->id || r->session != s->id || r->status == STATUS_NOT_LEADER)
		return;
	n = take_nonce(s, r->nonce);
	if (!n.nonce)
		return;
	if (r->status == STATUS_NO_SESSION) {
		end_session(s);
		return;
	}
	if (r->status != STATUS_OK || r->term < s->term)
		return;
	s->stats.answered++;
	if (n.hint == s->hint) {
		s->unanswered = 0;
	} else if (n.probe) {
		use_hint(s, n.hint, now_of(s));
		calls_resend_all(s);
	}
	extend(s, r, n.sent);
	tell(s, r);
}

bool session_recv(struct session *s, const struct msg *m)
{
	bool ended = false;

	if (m->type == MSG_TYPE_heartbeat_reply) {
		notice_lapse(s, now_of(s));
		recv_heartbeat_reply(s, &m->heartbeat_reply);
	} else if (m->type == MSG_TYPE_r_session) {
		if (s->open_id && m->id == s->open_id)
			recv_opened(s, &m->r_session);
	} else if (m->type >= MSG_TYPE_r_status && m->type <= MSG_TYPE_r_move) {
		calls_recv(s, m, &ended);
		if (ended)
			end_session(s);
	} else {
		return false;
	}
	calls_pump(s);
	return true;
}

/* --- what others ask --- */

session_id_t session_id(const struct session *s)
{
	return s->id;
}

nsec_t session_valid_until(const struct session *s)
{
	return s->valid_until;
}

nsec_t session_shared_until(const struct session *s)
{
	return MIN(s->shared_until, s->valid_until);
}

bool session_valid(const struct session *s)
{
	return now_of(s) < s->valid_until;
}

bool session_shared_valid(const struct session *s)
{
	return now_of(s) < session_shared_until(s);
}

uint64_t session_term(const struct session *s)
{
	return s->term;
}

server_id_t session_via(const struct session *s)
{
	return s->config.hint[s->hint];
}

void session_get_stats(const struct session *s, struct session_stats *out)
{
	*out = s->stats;
}
