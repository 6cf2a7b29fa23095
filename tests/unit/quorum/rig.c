#include "tests/unit/quorum/rig.h"

#include "common/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>

#define CLUSTER 77
#define CALL_RESEND (150 * NSEC_MSEC)

static struct rig *rig_of(struct env *env, server_id_t *id)
{
	struct rig_node *n = container_of(env, struct rig_node, env);

	*id = n->id;
	return n->rig;
}

static nsec_t env_now(struct env *env)
{
	server_id_t id;

	return rig_of(env, &id)->w.now;
}

static uint64_t env_wall(struct env *env)
{
	return (uint64_t)env_now(env);
}

static uint64_t env_random(struct env *env)
{
	server_id_t id;

	return random_u64(&rig_of(env, &id)->w.stream[STREAM_NODE]);
}

/* --- ticks --- */

struct tick_event {
	struct event e;
	struct rig_node *node;
	uint64_t number;
};

static void drop(struct event *e)
{
	mem_free(e);
}

static void poke(struct rig_node *n);

static void tick_fire(struct event *e)
{
	struct tick_event *t = container_of(e, struct tick_event, e);
	struct rig_node *n = t->node;
	bool current = t->number == n->tick_number;

	mem_free(t);
	if (current)
		poke(n);
}

static void arm(struct rig_node *n, nsec_t at)
{
	struct tick_event *t;

	n->tick_number++;
	if (at == NSEC_NEVER)
		return;
	t = mem_new(sizeof(*t));
	t->e = (struct event){.fire = tick_fire, .drop = drop};
	t->node = n;
	t->number = n->tick_number;
	world_at(&n->rig->w, MAX(at, n->rig->w.now), &t->e);
}

static void poke(struct rig_node *n)
{
	if (!n->hint)
		return;
	if (n->paused) {
		arm(n, n->rig->w.now + 10 * NSEC_MSEC);
		return;
	}
	arm(n, hint_tick(n->hint, n->rig->w.now));
}

/* --- the disk's completions --- */

struct disk_event {
	struct event e;
	struct rig_node *node;
	void (*fn)(void *arg);
	void *arg;
};

static void disk_fire(struct event *e)
{
	struct disk_event *d = container_of(e, struct disk_event, e);
	struct rig_node *n = d->node;
	void (*fn)(void *arg) = d->fn;
	void *arg = d->arg;

	mem_free(d);
	fn(arg);
	poke(n);
}

static void disk_after(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg)
{
	struct rig_node *n = ctx;
	struct disk_event *d = mem_new(sizeof(*d));

	d->e = (struct event){.fire = disk_fire, .drop = drop};
	d->node = n;
	d->fn = fn;
	d->arg = arg;
	world_at(&n->rig->w, n->rig->w.now + delay, &d->e);
}

static nsec_t disk_now(void *ctx)
{
	return ((struct rig_node *)ctx)->rig->w.now;
}

/* --- the network --- */

struct frame {
	struct event e;
	struct rig *rig;
	server_id_t from, to;
	size_t len;
	uint8_t bytes[];
};

static unsigned place(const struct rig *g, server_id_t id)
{
	return id >= RIG_CLIENT_ID ? g->hints + id - RIG_CLIENT_ID : id - 1;
}

static void client_recv(struct rig_client *c, const struct msg *m);

static void frame_fire(struct event *e)
{
	struct frame *f = container_of(e, struct frame, e);
	struct rig *g = f->rig;
	struct msg m = {0};
	int rc = msg_decode(f->bytes, f->bytes + WIRE_HEADER_BYTES, (struct slice){0}, &m);

	cr_assert_eq(rc, 0, "frame of type %u", m.type);
	m.via = f->from;
	if (g->cut[place(g, f->from)][place(g, f->to)]) {
		mem_free(f);
		return;
	}
	if (f->to >= RIG_CLIENT_ID) {
		client_recv(&g->client[f->to - RIG_CLIENT_ID], &m);
	} else if (g->node[f->to - 1].hint && !g->node[f->to - 1].paused) {
		hint_recv(g->node[f->to - 1].hint, &m);
		poke(&g->node[f->to - 1]);
	}
	mem_free(f);
}

static void deliver(struct rig *g, server_id_t from, server_id_t to, const struct msg *m)
{
	size_t len = msg_head_bytes(m);
	struct frame *f = mem_new(sizeof(*f) + len);

	f->e = (struct event){.fire = frame_fire, .drop = drop};
	f->rig = g;
	f->from = from;
	f->to = to;
	f->len = len;
	msg_encode(m, f->bytes);
	world_at(&g->w, g->w.now + g->delay + world_between(&g->w, STREAM_NET, 0, g->jitter), &f->e);
}

static int transmit(struct rig *g, server_id_t from, const struct msg *m)
{
	server_id_t to = m->via ? m->via : m->dst;

	if (to == 0 || (to > g->hints && (to < RIG_CLIENT_ID || to >= RIG_CLIENT_ID + g->clients)))
		return -ENOTCONN;
	g->frames++;
	if (world_chance(&g->w, STREAM_NET, g->loss_permille))
		return 0;
	deliver(g, from, to, m);
	if (world_chance(&g->w, STREAM_NET, g->duplicate_permille))
		deliver(g, from, to, m);
	return 0;
}

static int env_send(struct env *env, const struct msg *m)
{
	server_id_t id;
	struct rig *g = rig_of(env, &id);
	struct msg out = *m;

	if (!out.src)
		out.src = id;
	return transmit(g, id, &out);
}

/* --- servers --- */

void rig_start(struct rig *g, unsigned i)
{
	struct rig_node *n = &g->node[i];
	struct hint_config c = g->config;
	const char *why = "";

	c.server = n->id;
	cr_assert_null(n->hint);
	cr_assert_eq(hint_new(&n->hint, &n->env, n->disk, n->kv.kv, &c, &why), 0, "%s", why);
	for (unsigned k = 0; k < g->hints; k++)
		if (k != i && g->node[k].hint) {
			hint_peer_up(n->hint, g->node[k].id);
			hint_peer_up(g->node[k].hint, n->id);
		}
	for (unsigned k = 0; k < g->clients; k++)
		hint_peer_up(n->hint, g->client[k].id);
	poke(n);
}

void rig_kill(struct rig *g, unsigned i)
{
	struct rig_node *n = &g->node[i];

	sim_disk_crash(n->disk);
	hint_free(n->hint);
	n->hint = NULL;
	sim_kv_crash(&n->kv);
	n->tick_number++;
	/* Connections of a dead process break; the others see it. */
	for (unsigned k = 0; k < g->hints; k++)
		if (g->node[k].hint && !g->cut[i][k]) {
			hint_peer_down(g->node[k].hint, n->id);
			poke(&g->node[k]);
		}
}

void rig_wipe(struct rig *g, unsigned i)
{
	struct rig_node *n = &g->node[i];

	cr_assert_null(n->hint);
	sim_disk_wipe(n->disk);
	sim_kv_wipe(&n->kv);
	g->config.server = n->id;
	cr_assert_eq(hint_format(n->disk, n->kv.kv, &g->config), 0);
}

void rig_init(struct rig *g, unsigned hints, unsigned clients, uint64_t seed)
{
	memset(g, 0, sizeof(*g));
	world_init(&g->w, seed, TRACING_OFF);
	g->w.now = NSEC_SEC;
	g->hints = hints;
	g->clients = clients;
	g->delay = NSEC_MSEC;
	g->jitter = NSEC_MSEC / 2;
	g->config.cluster = CLUSTER;
	g->config.voters = hints;
	g->config.sites = 1;
	g->config.site[0].id = 1;
	snprintf(g->config.site[0].name, sizeof(g->config.site[0].name), "nara");
	g->config.log_bytes = 1 << 20;
	for (unsigned i = 0; i < hints; i++) {
		g->config.voter[i].id = i + 1;
		g->config.voter[i].vote = true;
	}
	for (unsigned i = 0; i < hints; i++) {
		struct rig_node *n = &g->node[i];
		struct sim_disk_env disk_env = {disk_now, disk_after, n};

		n->rig = g;
		n->id = i + 1;
		n->env = (struct env){env_now, env_wall, env_send, env_random};
		n->disk = sim_disk_new(seed * 31 + i, 64 << 20, &disk_env);
		sim_kv_init(&n->kv, seed * 37 + i, &disk_env);
		g->config.server = n->id;
		cr_assert_eq(hint_format(n->disk, n->kv.kv, &g->config), 0);
	}
	for (unsigned i = 0; i < clients; i++)
		g->client[i] = (struct rig_client){.rig = g, .id = RIG_CLIENT_ID + i, .at = i % hints,
		                                   .kind = SERVER_ACCESS, .acks = true};
}

void rig_fini(struct rig *g)
{
	for (unsigned i = 0; i < g->hints; i++)
		hint_free(g->node[i].hint);
	world_fini(&g->w);
	for (unsigned i = 0; i < g->hints; i++) {
		sim_kv_fini(&g->node[i].kv);
		sim_disk_free(g->node[i].disk);
	}
}

void rig_run(struct rig *g, nsec_t time)
{
	world_run(&g->w, g->w.now + time);
}

bool rig_until(struct rig *g, nsec_t time, bool (*cond)(struct rig *g))
{
	nsec_t end = g->w.now + time;

	while (!cond(g)) {
		if (g->w.now >= end)
			return false;
		world_run(&g->w, MIN(end, MAX(world_next(&g->w), g->w.now)));
		if (world_next(&g->w) == NSEC_NEVER)
			return cond(g);
	}
	return true;
}

int rig_leader(struct rig *g)
{
	struct hint_status st;
	uint64_t term = 0;
	int leader = -1;

	for (unsigned i = 0; i < g->hints; i++) {
		if (!g->node[i].hint)
			continue;
		hint_get_status(g->node[i].hint, &st);
		if (st.leader && st.term > term) {
			term = st.term;
			leader = (int)i;
		}
	}
	return leader;
}

bool rig_has_leader(struct rig *g)
{
	struct hint_status st;
	int l = rig_leader(g);

	if (l < 0)
		return false;
	hint_get_status(g->node[l].hint, &st);
	return st.applied >= st.commit;
}

void rig_isolate(struct rig *g, unsigned i, bool on)
{
	for (unsigned k = 0; k < g->hints + g->clients; k++)
		if (k != i)
			g->cut[i][k] = g->cut[k][i] = on;
}

/* --- clients --- */

static void client_send(struct rig_client *c, struct msg *m)
{
	m->src = c->id;
	if (!m->dst)
		m->dst = SERVER_LEADER;
	m->via = c->rig->node[c->at].id;
	(void)transmit(c->rig, c->id, m);
}

static void client_beat_reply(struct rig_client *c, const struct msg_heartbeat_reply *r)
{
	c->beat_status = r->status;
	if (r->status != STATUS_OK)
		return;
	c->answered++;
	c->shared_ms = r->shared_ms;
	c->valid_sent = MAX(c->valid_sent, c->nonce_sent[r->nonce % 64]);
}

static void client_recall(struct rig_client *c, const struct msg *m)
{
	struct msg ack = {.type = MSG_TYPE_recall_ack};

	c->recalls++;
	c->recall = m->recall;
	if (!c->acks)
		return;
	ack.recall_ack = (struct msg_recall_ack){m->recall.ino, m->recall.what, m->recall.to, m->recall.id};
	client_send(c, &ack);
}

static void client_orphans(struct rig_client *c, const struct msg *m)
{
	struct msg a = {.type = MSG_TYPE_orphan_answer};

	if (!c->not_open)
		return;
	a.orphan_answer.session = c->session;
	a.orphan_answer.inos = m->orphan_check.inos;
	client_send(c, &a);
}

static void client_attr(struct rig_client *c, const struct msg *m)
{
	struct msg a = {.type = MSG_TYPE_holder_attr_reply};

	c->holder_attrs++;
	if (!c->attr_size)
		return;
	a.holder_attr_reply.ino = m->holder_attr.ino;
	a.holder_attr_reply.id = m->holder_attr.id;
	a.holder_attr_reply.size = c->attr_size;
	client_send(c, &a);
}

static void client_recv(struct rig_client *c, const struct msg *m)
{
	switch ((unsigned)m->type) {
	case MSG_TYPE_heartbeat_reply:
		client_beat_reply(c, &m->heartbeat_reply);
		break;
	case MSG_TYPE_recall:
		client_recall(c, m);
		break;
	case MSG_TYPE_orphan_check:
		client_orphans(c, m);
		break;
	case MSG_TYPE_holder_attr:
		client_attr(c, m);
		break;
	case MSG_TYPE_lock_ready:
		c->lock_ready++;
		break;
	default:
		if (m->id != c->waiting_for || !m->id ||
		    (m->type != MSG_TYPE_admin_reply && m->r_status.status == STATUS_NOT_LEADER))
			return;
		c->waiting_for = 0;
		cr_assert_leq(msg_body_bytes(m), sizeof(c->reply_body));
		msg_encode_body(m, c->reply_body);
		cr_assert_eq(msg_decode_body(c->reply_body, msg_body_bytes(m), &c->reply), 0);
	}
}

/* Heartbeats, and the newest request again until it is answered. */
struct client_event {
	struct event e;
	struct rig_client *c;
	uint64_t id;
	struct msg m;
	uint8_t *body;
};

static void request_drop(struct event *e)
{
	struct client_event *x = container_of(e, struct client_event, e);

	mem_free(x->body);
	mem_free(x);
}

static void request_fire(struct event *e)
{
	struct client_event *x = container_of(e, struct client_event, e);

	if (x->c->waiting_for != x->id) {
		request_drop(e);
		return;
	}
	client_send(x->c, &x->m);
	world_at(&x->c->rig->w, x->c->rig->w.now + CALL_RESEND, e);
}

static void beat_fire(struct event *e)
{
	struct client_event *x = container_of(e, struct client_event, e);
	struct rig_client *c = x->c;
	struct msg m = {.type = MSG_TYPE_heartbeat};

	if (c->beating) {
		m.heartbeat.session = c->session;
		m.heartbeat.kind = (uint8_t)c->kind;
		m.heartbeat.start = c->start;
		m.heartbeat.journal = c->journal;
		m.heartbeat.nonce = ++c->nonce;
		c->nonce_sent[c->nonce % 64] = c->rig->w.now;
		c->last_beat_sent = c->rig->w.now;
		client_send(c, &m);
	}
	world_at(&c->rig->w, c->rig->w.now + 200 * NSEC_MSEC, e);
}

void rig_send(struct rig *g, unsigned client, struct msg *m)
{
	struct rig_client *c = &g->client[client];
	struct client_event *x = mem_new(sizeof(*x));
	bool change = m->type >= MSG_TYPE_op_session && m->type <= MSG_TYPE_op_drain;

	m->id = ++g->next_id;
	if (m->type != MSG_TYPE_admin) {
		m->q_statfs.session = c->session;
		m->q_statfs.slot = change && m->type != MSG_TYPE_op_session ? 0 : 0xffff;
		if (change && m->type != MSG_TYPE_op_session)
			m->q_statfs.seq = ++c->seq;
	}
	x->e = (struct event){.fire = request_fire, .drop = request_drop};
	x->c = c;
	x->id = m->id;
	x->body = mem_new(msg_body_bytes(m));
	msg_encode_body(m, x->body);
	cr_assert_eq(msg_decode_body(x->body, msg_body_bytes(m), &x->m), 0);
	x->m.id = m->id;
	c->waiting_for = m->id;
	world_at(&g->w, g->w.now, &x->e);
}

bool rig_replied(const struct rig *g, unsigned client)
{
	return g->client[client].waiting_for == 0;
}

const struct msg *rig_call(struct rig *g, unsigned client, struct msg *m, nsec_t time)
{
	nsec_t end = g->w.now + time;

	rig_send(g, client, m);
	while (!rig_replied(g, client) && g->w.now < end)
		world_run(&g->w, MIN(end, MAX(world_next(&g->w), g->w.now)));
	return rig_replied(g, client) ? &g->client[client].reply : NULL;
}

uint16_t rig_register(struct rig *g, unsigned client)
{
	struct rig_client *c = &g->client[client];
	struct msg m = {.type = MSG_TYPE_op_session};
	const struct msg *r;
	char addr[32];

	c->session = 0;
	c->seq = 0;
	m.op_session.server = c->id;
	m.op_session.kind = (uint8_t)c->kind;
	m.op_session.boot = ++g->next_id;
	m.op_session.start = g->next_id;
	if (c->kind == SERVER_CORE) {
		snprintf(addr, sizeof(addr), "127.0.0.%u:7000", client);
		m.op_session.addr = span_of(addr);
		m.op_session.opened = g->next_id;
		m.op_session.start = c->start;
		m.op_session.journal = c->journal;
		m.op_session.total = (uint64_t)1 << 30;
	}
	m.op_session.site = span_of("nara");
	r = rig_call(g, client, &m, 10 * NSEC_SEC);
	cr_assert_not_null(r, "no session");
	cr_assert_eq(r->type, MSG_TYPE_r_session);
	c->session = r->r_session.given;
	return r->r_session.status;
}

void rig_open(struct rig *g, unsigned client)
{
	struct rig_client *c = &g->client[client];
	bool first = !c->session;
	uint16_t status;

	if (!c->start)
		c->start = 1;
	status = rig_register(g, client);
	cr_assert_eq(status, STATUS_OK, "%s", status_text(status));
	c->beating = true;
	if (first) {
		struct client_event *x = mem_new(sizeof(*x));

		x->e = (struct event){.fire = beat_fire, .drop = drop};
		x->c = c;
		world_at(&g->w, g->w.now, &x->e);
	}
}

struct span span_of(const char *text)
{
	return (struct span){(const uint8_t *)text, (uint32_t)strlen(text)};
}

uint16_t rig_create(struct rig *g, unsigned client, const char *name)
{
	struct msg m = {.type = MSG_TYPE_op_create};
	const struct msg *r;

	m.op_create.dir = FILE_ROOT;
	m.op_create.name = span_of(name);
	m.op_create.mode = S_IFDIR | 0755;
	r = rig_call(g, client, &m, 10 * NSEC_SEC);
	return r ? r->r_status.status : STATUS_PENDING;
}

uint16_t rig_lookup(struct rig *g, unsigned client, const char *name)
{
	struct msg m = {.type = MSG_TYPE_q_lookup};
	const struct msg *r;

	m.q_lookup.dir = FILE_ROOT;
	m.q_lookup.name = span_of(name);
	r = rig_call(g, client, &m, 10 * NSEC_SEC);
	return r ? r->r_status.status : STATUS_PENDING;
}
