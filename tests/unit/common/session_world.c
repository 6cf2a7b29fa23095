#include "tests/unit/common/session_world.h"

struct world w;

static nsec_t world_now(struct env *env)
{
	(void)env;
	return w.now;
}

static uint64_t world_wall(struct env *env)
{
	(void)env;
	return 0;
}

static uint64_t world_random(struct env *env)
{
	(void)env;
	return w.random += 0x9e3779b97f4a7c15u;
}

static int world_send(struct env *env, const struct msg *m)
{
	(void)env;
	cr_assert_lt(m->via, ARRAY_LEN(w.down));
	cr_assert_eq(m->dst, SERVER_LEADER);
	if (w.down[m->via])
		return -ENOTCONN;
	cr_assert_lt(w.sent_n, SENT_MAX);
	w.sent[w.sent_n++] = *m;
	return 0;
}

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	(void)ctx;
	cr_assert_eq(r->given, given);
	w.ups++;
	w.given = given;
	w.before = before;
}

static void on_shared_void(void *ctx)
{
	(void)ctx;
	w.voids++;
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	(void)ctx;
	hb->start = 3;
	hb->journal = 4096;
	hb->total = (uint64_t)1 << 40;
	hb->map = w.map_said;
}

static void on_recalls(void *ctx, struct span recalls)
{
	(void)ctx;
	w.recalls += recalls.len / 18;
}

static void on_map_changed(void *ctx, uint64_t map)
{
	(void)ctx;
	w.map_changed = map;
}

static void setup_as(enum server_kind kind)
{
	static const struct session_ops ops = {
		.up = on_up,
		.shared_void = on_shared_void,
		.stats = on_stats,
		.recalls = on_recalls,
		.map_changed = on_map_changed,
	};
	struct session_config c = {
		.server = 11,
		.kind = kind,
		.boot = 77,
		.addr = "127.1.0.11:7011",
		.site = "hiroshima",
		.hints = 3,
		.hint = {HINT_NEAR, HINT_MIDDLE, HINT_FAR},
	};

	memset(&w, 0, sizeof(w));
	w.env = (struct env){world_now, world_wall, world_send, world_random};
	w.now = MS(1000);
	w.s = session_new(&w.env, &c, &ops, NULL);
}

void setup(void)
{
	setup_as(SERVER_CORE);
}

void setup_access(void)
{
	setup_as(SERVER_ACCESS);
}

void teardown(void)
{
	session_free(w.s);
}

void run_ms(int64_t ms)
{
	nsec_t end = w.now + MS(ms);

	for (;;) {
		nsec_t due = session_tick(w.s, w.now);

		if (due > end)
			break;
		cr_assert_gt(due, w.now, "a tick must not ask for itself again at once");
		w.now = due;
	}
	w.now = end;
}

const struct msg *last(enum msg_type type)
{
	for (unsigned i = w.sent_n; i-- > 0;)
		if (w.sent[i].type == type)
			return &w.sent[i];
	cr_assert(false, "no %s was sent", msg_type_name(type));
	return NULL;
}

unsigned count(enum msg_type type)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sent_n; i++)
		n += w.sent[i].type == type;
	return n;
}

void clear_sent(void)
{
	w.sent_n = 0;
}

void answer_open(const struct msg *open, session_id_t given)
{
	struct msg m = {
		.type = MSG_TYPE_r_session,
		.src = HINT_FAR,
		.dst = 11,
		.id = open->id,
		.r_session = {
			.status = STATUS_OK,
			.given = given,
			.session_ms = 5000,
			.margin_ms = 500,
		},
	};

	cr_assert(session_recv(w.s, &m));
}

void answer_beat_with(const struct msg *beat, enum status status, uint64_t term,
                      uint32_t shared_ms)
{
	struct msg m = {
		.type = MSG_TYPE_heartbeat_reply,
		.src = HINT_FAR,
		.dst = 11,
		.id = beat->id,
		.heartbeat_reply = {
			.status = (uint16_t)status,
			.session = beat->heartbeat.session,
			.nonce = beat->heartbeat.nonce,
			.term = term,
			.session_ms = 5000,
			.shared_ms = shared_ms,
			.map = 4,
		},
	};

	cr_assert(session_recv(w.s, &m));
}

void answer_beat(const struct msg *beat, uint64_t term)
{
	answer_beat_with(beat, STATUS_OK, term, 800);
}

void answer_call(const struct msg *call, enum status status)
{
	struct msg m = {
		.type = MSG_TYPE_r_status,
		.src = HINT_FAR,
		.dst = 11,
		.id = call->id,
		.r_status = {
			.status = (uint16_t)status,
			.session = call->q_statfs.session,
			.slot = call->q_statfs.slot,
			.seq = call->q_statfs.seq,
		},
	};

	cr_assert(session_recv(w.s, &m));
}

void open_session(session_id_t id)
{
	run_ms(0);
	answer_open(last(MSG_TYPE_op_session), id);
	answer_beat(last(MSG_TYPE_heartbeat), 1);
}
