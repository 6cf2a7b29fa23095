#include "tests/sim/simnet.h"

#include "common/base/mem.h"
#include "tests/sim/cluster.h"

struct packet {
	struct node_event ev;   /* first */
	struct simnet *s;
	struct node *from;
	uint32_t bytes;
	bool corrupt;
	struct slice payload;
	size_t head;
	uint8_t frame[];
};

static void packet_free(struct node_event *ev)
{
	struct packet *p = (struct packet *)ev;

	p->s->pair[p->from->index][p->ev.n->index].bytes -= p->bytes;
	iobuf_put(p->payload.buf);
	mem_free(p);
}

static void flip(struct packet *p)
{
	struct world *w = &p->s->c->w;
	uint64_t bit = random_below(&w->stream[STREAM_NET], p->head * 8);

	p->frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
}

/* The receiver has the bytes in memory of its own, page-aligned. */
static struct slice own_payload(struct slice s)
{
	struct slice out = {NULL, 0, 0};

	if (s.len == 0)
		return out;
	out = (struct slice){iobuf_new_reserve(ALIGN_UP(s.len, PAGE_BYTES)), 0, s.len};
	memcpy(out.buf->data, slice_data(s), s.len);
	return out;
}

static void deliver(struct node *n, struct node_event *ev)
{
	struct packet *p = (struct packet *)ev;
	struct simnet *s = p->s;
	struct slice payload = own_payload(p->payload);
	struct frame_info info;
	struct msg m;
	int rc;

	if (p->corrupt)
		flip(p);
	rc = msg_decode_header(p->frame, &info);
	if (rc == 0) {
		CHECK(info.body_bytes == p->head - WIRE_HEADER_BYTES && info.payload_bytes == payload.len);
		rc = msg_decode(p->frame, p->frame + WIRE_HEADER_BYTES, payload, &m);
	}
	if (rc < 0) {
		CHECK(p->corrupt); /* what we encoded decodes, and nobody wrote into a sent buffer */
		s->lost++;
	} else {
		CHECK(!p->corrupt);
		m.via = p->from->id; /* as common/net has it: answers go back the way the question came */
		s->delivered++;
		s->count[m.type]++;
		world_mix(&s->c->w, (uint64_t)m.type << 32 ^ (uint64_t)n->id << 16 ^ m.src ^ m.id);
		if (s->c->w.tracing != TRACING_OFF) {
			char text[260];

			msg_print(&m, text, sizeof(text));
			world_trace(&s->c->w, "%u->%u at %u: %s", m.src, m.dst, n->id, text);
		}
		if (s->arrived)
			s->arrived(s->c, n, &m);
		node_recv(n, &m);
	}
	iobuf_put(payload.buf);
}

static void to_event(struct simnet *s, struct node *from, struct node *to, const struct msg *m, nsec_t at,
                     uint32_t bytes)
{
	size_t head = msg_head_bytes(m);
	struct packet *p = mem_new(sizeof(*p) + head);

	p->s = s;
	p->from = from;
	p->bytes = bytes;
	p->head = head;
	p->corrupt = world_chance(&s->c->w, STREAM_NET, s->faults.corrupt_permille);
	p->payload = m->payload;
	if (p->payload.buf)
		iobuf_get(p->payload.buf);
	msg_encode(m, p->frame);
	p->ev.run = deliver;
	p->ev.free = packet_free;
	s->pair[from->index][to->index].bytes += bytes;
	node_event_at(to, at, &p->ev);
	p->ev.life = s->pair[from->index][to->index].life;
}

static nsec_t travel(struct simnet *s, const struct node *from, const struct node *to)
{
	nsec_t base = s->latency[from->site][to->site];
	nsec_t t = base + s->pair[from->index][to->index].slow;

	t += world_between(&s->c->w, STREAM_NET, 0, base * s->faults.jitter_percent / 100 + 1);
	if (world_chance(&s->c->w, STREAM_NET, s->faults.late_permille))
		t += world_between(&s->c->w, STREAM_NET, 0, s->faults.late_max);
	return t;
}

struct drained {
	struct node_event ev;
	unsigned peer;
};

static void drain(struct node *n, struct node_event *ev)
{
	struct drained *d = (struct drained *)ev;
	struct simnet_pair *p = &n->c->net.pair[n->index][d->peer];

	p->clogged = false;
	if (p->up)
		node_peer(n, n->c->node[d->peer].id, true);
}

static int refuse(struct simnet *s, struct node *from, struct node *to)
{
	struct simnet_pair *p = &s->pair[from->index][to->index];

	if (!p->clogged) {
		struct drained *d = mem_new(sizeof(*d));

		p->clogged = true;
		d->peer = to->index;
		d->ev.run = drain;
		node_event_at(from, s->c->w.now + world_between(&s->c->w, STREAM_NET, NSEC_MSEC,
		              20 * NSEC_MSEC), &d->ev);
	}
	return -EAGAIN;
}

static bool dropped(struct simnet *s, struct node *from, struct node *to, const struct msg *m,
                    nsec_t *delay, bool *spoiled)
{
	for (unsigned i = 0; i < s->hooks; i++) {
		enum simnet_verdict v = s->hook[i].fn(s->hook[i].ctx, from, to, m, delay);

		*spoiled |= v == SIMNET_SPOIL;
		if (v == SIMNET_DROP) {
			world_trace(&s->c->w, "hook drops %s %u->%u", msg_type_name(m->type), from->id, to->id);
			return true;
		}
	}
	return s->pair[from->index][to->index].cut ||
	       world_chance(&s->c->w, STREAM_NET, s->faults.loss_permille);
}

/* The mad twin of a message that was sent goes to whom it was for, or to somebody else. */
static void send_twin(struct simnet *s, struct node *from, struct node *to, const struct msg *given)
{
	struct random *r = &s->c->w.stream[STREAM_NET];
	struct msg m = *given;

	hostile_look(&s->hostile, given);
	if (!random_chance(r, s->hostile.permille))
		return;
	if (random_chance(r, 300))
		to = &s->c->node[random_below(r, s->c->nodes)];
	if (to == from || !s->pair[from->index][to->index].up)
		return;
	hostile_twist(&s->hostile, r, &m);
	if (to->kind != SERVER_HINT)
		m.dst = to->id;
	m.via = 0;
	to_event(s, from, to, &m, s->c->w.now + travel(s, from, to), WIRE_HEADER_BYTES + m.payload.len);
}

int simnet_send(struct simnet *s, struct node *from, const struct msg *given)
{
	struct msg m = *given;
	struct node *to = cluster_find(s->c, m.via ? m.via : m.dst);
	uint32_t bytes = WIRE_HEADER_BYTES + m.payload.len;
	nsec_t at, delay = 0;
	struct simnet_pair *p;
	bool spoiled = false;

	if (m.src == 0)
		m.src = from->id;
	if (!to || to == from || !s->pair[from->index][to->index].up)
		return -ENOTCONN;
	p = &s->pair[from->index][to->index];
	if (p->clogged || p->bytes > SIMNET_QUEUE_BYTES_MAX ||
	    world_chance(&s->c->w, STREAM_NET, s->faults.clog_permille))
		return refuse(s, from, to);
	s->sent++;
	if (s->observe)
		s->observe(s->c, from, &m);
	if (s->hostile.permille)
		send_twin(s, from, to, &m);
	if (dropped(s, from, to, &m, &delay, &spoiled)) {
		s->lost++;
		return 0;
	}
	spoiled = spoiled && m.payload.len > 0;
	if (spoiled) {
		m.payload = own_payload(m.payload);
		m.payload.buf->data[m.payload.len / 2] ^= 0x10;
	}
	at = s->c->w.now + travel(s, from, to) + delay;
	if (s->faults.fifo && delay == 0)
		at = p->last = MAX(at, p->last);
	to_event(s, from, to, &m, at, bytes);
	if (world_chance(&s->c->w, STREAM_NET, s->faults.dup_permille))
		to_event(s, from, to, &m, s->c->w.now + travel(s, from, to), bytes);
	if (spoiled)
		iobuf_put(m.payload.buf);
	return 0;
}

/* --- connections --- */

static bool may_connect(const struct node *a, const struct node *b)
{
	if (a->kind == SERVER_HINT || b->kind == SERVER_HINT)
		return true;
	if (a->kind == b->kind)
		return false;
	return cluster_access_knows(a->kind == SERVER_ACCESS ? a : b, a->kind == SERVER_CORE ? a : b);
}

static bool reachable(const struct simnet *s, const struct node *a, const struct node *b)
{
	const nsec_t dead_after = NSEC_SEC;

	return a->alive && b->alive && !s->pair[a->index][b->index].cut &&
	       !s->pair[b->index][a->index].cut && a->paused_until < s->c->w.now + dead_after &&
	       b->paused_until < s->c->w.now + dead_after && may_connect(a, b);
}

struct view_change {
	struct event e;        /* first */
	struct simnet *s;
	unsigned a, b;
};

struct view_event {
	struct node_event ev;  /* first */
	unsigned peer;
	bool up;
};

static void tell(struct node *n, struct node_event *ev)
{
	struct view_event *v = (struct view_event *)ev;

	world_trace(&n->c->w, "%u: peer %u %s", n->id, n->c->node[v->peer].id, v->up ? "up" : "down");
	node_peer(n, n->c->node[v->peer].id, v->up);
}

static void set_view(struct simnet *s, unsigned a, unsigned b, bool up)
{
	struct view_event *v;

	if (s->pair[a][b].up == up)
		return;
	s->pair[a][b].up = up;
	s->pair[a][b].life = s->c->node[b].life;
	if (!s->c->node[a].alive)
		return;
	v = mem_new(sizeof(*v));
	v->peer = b;
	v->up = up;
	v->ev.run = tell;
	node_event_at(&s->c->node[a], s->c->w.now, &v->ev);
}

static void change_view(struct event *e)
{
	struct view_change *v = (struct view_change *)e;
	struct simnet *s = v->s;
	struct simnet_pair *ab = &s->pair[v->a][v->b], *ba = &s->pair[v->b][v->a];
	bool up = reachable(s, &s->c->node[v->a], &s->c->node[v->b]);

	ab->changing = false;
	if (up && ab->up != ba->up)
		up = false; /* the rest of the old connection goes first */
	set_view(s, v->a, v->b, up);
	set_view(s, v->b, v->a, up);
	mem_free(v);
	simnet_update(s);
}

static void drop_view_change(struct event *e)
{
	mem_free(e);
}

static void schedule_change(struct simnet *s, unsigned a, unsigned b, nsec_t delay)
{
	struct view_change *v;

	if (s->pair[a][b].changing)
		return;
	s->pair[a][b].changing = true;
	v = mem_new(sizeof(*v));
	*v = (struct view_change){{.fire = change_view, .drop = drop_view_change}, s, a, b};
	world_at(&s->c->w, s->c->w.now + delay, &v->e);
}

void simnet_update(struct simnet *s)
{
	for (unsigned a = 0; a < s->c->nodes; a++) {
		for (unsigned b = a + 1; b < s->c->nodes; b++) {
			bool up = reachable(s, &s->c->node[a], &s->c->node[b]);

			if (s->pair[a][b].up == up && s->pair[b][a].up == up)
				continue;
			schedule_change(s, a, b, up ? world_between(&s->c->w, STREAM_NET, 2 * NSEC_MSEC,
			                100 * NSEC_MSEC) : world_between(&s->c->w, STREAM_NET,
			                600 * NSEC_MSEC, 1100 * NSEC_MSEC));
		}
	}
}

void simnet_node_died(struct simnet *s, struct node *n)
{
	bool reset = world_chance(&s->c->w, STREAM_NET, 500);

	for (unsigned i = 0; i < s->c->nodes; i++) {
		unsigned a = MIN(i, n->index), b = MAX(i, n->index);

		if (i == n->index)
			continue;
		s->pair[n->index][i].up = false;
		s->pair[n->index][i].clogged = false;
		if (reset && s->pair[i][n->index].up)
			schedule_change(s, a, b, world_between(&s->c->w, STREAM_NET, 0, 20 * NSEC_MSEC));
	}
	simnet_update(s);
}

void simnet_cut(struct simnet *s, unsigned from, unsigned to, bool cut)
{
	s->pair[from][to].cut = cut;
	simnet_update(s);
}

void simnet_cut_site(struct simnet *s, uint16_t site, bool cut)
{
	for (unsigned a = 0; a < s->c->nodes; a++) {
		for (unsigned b = 0; b < s->c->nodes; b++) {
			if ((s->c->node[a].site == site) != (s->c->node[b].site == site))
				s->pair[a][b].cut = cut;
		}
	}
	simnet_update(s);
}

void simnet_heal(struct simnet *s)
{
	s->faults = (struct simnet_faults){.jitter_percent = 10, .fifo = true};
	s->hooks = 0;
	for (unsigned a = 0; a < s->c->nodes; a++) {
		for (unsigned b = 0; b < s->c->nodes; b++) {
			s->pair[a][b].cut = false;
			s->pair[a][b].slow = 0;
		}
	}
	simnet_update(s);
}

void simnet_init(struct simnet *s, struct cluster *c)
{
	memset(s, 0, sizeof(*s));
	s->c = c;
}

void simnet_add_hook(struct simnet *s, const struct simnet_hook *h)
{
	CHECK(s->hooks < SIMNET_HOOKS_MAX);
	s->hook[s->hooks++] = *h;
}
