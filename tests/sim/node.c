#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/cluster.h"
#include "tests/sim/sim_disk.h"

#define TICKS_PER_INSTANT_MAX 10000

/* --- env --- */

nsec_t node_clock(const struct node *n)
{
	nsec_t d = n->c->w.now - n->clock_true;

	return n->clock_local + (nsec_t)((__int128)d * (1000000 + n->clock_rate_ppm) / 1000000);
}

/* First true time at which the node's clock shows `local`. */
static nsec_t true_time(const struct node *n, nsec_t local)
{
	nsec_t d = local - n->clock_local;

	return n->clock_true + (nsec_t)((__int128)d * 1000000 / (1000000 + n->clock_rate_ppm)) + 1;
}

static nsec_t env_now(struct env *env)
{
	return node_clock(container_of(env, struct node, env));
}

static uint64_t env_wall(struct env *env)
{
	const struct node *n = container_of(env, struct node, env);

	return 1700000000ull * NSEC_SEC + (uint64_t)n->c->w.now;
}

static int env_send(struct env *env, const struct msg *m)
{
	struct node *n = container_of(env, struct node, env);

	return simnet_send(&n->c->net, n, m);
}

static uint64_t env_random(struct env *env)
{
	return random_u64(&container_of(env, struct node, env)->random);
}

/* --- events --- */

static void free_event(struct node_event *ev)
{
	if (ev->free)
		ev->free(ev);
	else
		mem_free(ev);
}

/* What comes while a process is stopped is there in order when it goes on, before what comes then. */
static bool holds(struct node *n, struct event *e)
{
	if (!n->alive || (n->paused_until <= n->c->w.now && !n->helds))
		return false;
	n->held = mem_resize(n->held, n->helds + 1, sizeof(*n->held));
	n->held[n->helds++] = e;
	return true;
}

static void release_held(struct node *n)
{
	for (unsigned i = 0; i < n->helds; i++)
		world_at(&n->c->w, n->c->w.now, n->held[i]);
	n->helds = 0;
}

static void fire(struct event *e)
{
	struct node_event *ev = (struct node_event *)e;
	struct node *n = ev->n;

	if (!n->alive || n->life != ev->life) {
		free_event(ev);
		return;
	}
	if (holds(n, e))
		return;
	ev->run(n, ev);
	free_event(ev);
	if (n->alive)
		node_after(n);
}

static void drop(struct event *e)
{
	free_event((struct node_event *)e);
}

void node_event_at(struct node *n, nsec_t at, struct node_event *ev)
{
	ev->e.fire = fire;
	ev->e.drop = drop;
	ev->n = n;
	ev->life = n->life;
	world_at(&n->c->w, at, &ev->e);
}

/* --- disks: their completions belong to the node, also across its lives --- */

struct disk_event {
	struct event e;
	struct node *n;
	void (*fn)(void *arg);
	void *arg;
};

static void fire_disk(struct event *e)
{
	struct disk_event *d = (struct disk_event *)e;
	struct node *n = d->n;

	if (holds(n, e))
		return;
	d->fn(d->arg);
	mem_free(d);
	if (n->alive)
		node_after(n);
}

static void drop_plain(struct event *e)
{
	mem_free(e);
}

static void disk_after(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg)
{
	struct node *n = ctx;
	struct disk_event *d = mem_new(sizeof(*d));

	*d = (struct disk_event){{.fire = fire_disk, .drop = drop_plain}, n, fn, arg};
	world_at(&n->c->w, n->c->w.now + delay, &d->e);
}

static nsec_t disk_now(void *ctx)
{
	return ((struct node *)ctx)->c->w.now;
}

/* --- life --- */

void node_init(struct node *n, struct cluster *c, server_id_t id, enum server_kind kind,
               uint16_t site)
{
	struct world *w = &c->w;

	memset(n, 0, sizeof(*n));
	n->env = (struct env){env_now, env_wall, env_send, env_random};
	n->c = c;
	n->index = c->nodes++;
	n->id = id;
	n->kind = kind;
	n->site = site;
	n->blank = true;
	n->tick_at = NSEC_NEVER;
	snprintf(n->addr, sizeof(n->addr), "10.%u.0.%u:7000", site, id % 100);
	random_seed(&n->random, random_u64(&w->stream[STREAM_NODE]));
	n->clock_local = world_between(w, STREAM_NODE, NSEC_SEC, 100000 * NSEC_SEC);
	if (kind != SERVER_ACCESS) {
		struct sim_disk_env env = {disk_now, disk_after, n};
		uint64_t bytes = kind == SERVER_CORE ? c->shape.disk_bytes : 64u << 20;

		n->disk = sim_disk_new(random_u64(&w->stream[STREAM_NODE]), bytes, &env);
		sim_kv_init(&n->kv, random_u64(&w->stream[STREAM_NODE]), &env);
	}
}

void node_fini(struct node *n)
{
	if (n->alive)
		node_crash(n, false);
	for (unsigned i = 0; i < n->helds; i++)
		n->held[i]->drop(n->held[i]);
	mem_free(n->held);
	free(n->image);
	if (n->disk) {
		sim_disk_free(n->disk);
		sim_kv_fini(&n->kv);
	}
}

void node_start(struct node *n)
{
	CHECK(!n->alive);
	n->alive = true;
	n->life++;
	n->tick_at = NSEC_NEVER;
	n->tick_seq++;
	n->serving = false;
	n->paused_until = 0;
	release_held(n); /* disks answer, the rest is of another life */
	n->maps_seen = 0;
	n->complete_from = 0;
	world_trace(&n->c->w, "%u starts, life %u%s", n->id, n->life, n->blank ? ", blank" : "");
	switch (n->kind) {
	case SERVER_CORE:
		core_start(n);
		break;
	case SERVER_HINT:
		hint_start(n);
		break;
	case SERVER_ACCESS:
		access_start(n);
		break;
	case SERVER_ADMIN:
		break;
	}
	if (!n->alive)
		return;
	simnet_update(&n->c->net);
	node_after(n);
}

static void stop(struct node *n)
{
	switch (n->kind) {
	case SERVER_CORE:
		core_stop(n);
		break;
	case SERVER_HINT:
		hint_stop(n);
		break;
	case SERVER_ACCESS:
		access_stop(n);
		break;
	case SERVER_ADMIN:
		break;
	}
}

void node_crash(struct node *n, bool power)
{
	if (!n->alive)
		return;
	world_trace(&n->c->w, "%u dies%s", n->id, power ? ", power cut" : "");
	n->alive = false;
	n->serving = false;
	stop(n);
	if (n->disk) {
		sim_kv_crash(&n->kv);
		sim_disk_crash(n->disk);
	}
	if (power) { /* the clock counts from the start of the machine */
		n->clock_true = n->c->w.now;
		n->clock_local = world_between(&n->c->w, STREAM_NODE, NSEC_SEC, 100 * NSEC_SEC);
	}
	simnet_node_died(&n->c->net, n);
}

void node_resume(struct node *n)
{
	n->paused_until = 0;
	release_held(n);
}

struct awake_event {
	struct event e; /* first */
	struct node *n;
};

static void awake(struct event *e)
{
	struct node *n = ((struct awake_event *)e)->n;

	if (n->paused_until && n->paused_until <= n->c->w.now) {
		node_resume(n);
		simnet_update(&n->c->net);
	}
	mem_free(e);
}

void node_pause(struct node *n, nsec_t until)
{
	struct awake_event *a = mem_new(sizeof(*a));

	*a = (struct awake_event){{.fire = awake, .drop = drop_plain}, n};
	world_at(&n->c->w, until, &a->e);
	world_trace(&n->c->w, "%u paused until %" PRId64 " ms", n->id, until / NSEC_MSEC);
	n->paused_until = until;
	simnet_update(&n->c->net);
}

void node_set_clock_rate(struct node *n, int ppm)
{
	nsec_t local = node_clock(n);

	n->clock_true = n->c->w.now;
	n->clock_local = local;
	n->clock_rate_ppm = ppm;
}

void node_wipe(struct node *n)
{
	CHECK(!n->alive);
	n->replaced = true;
	sim_disk_wipe(n->disk);
	core_unfill(n);
	sim_kv_wipe(&n->kv);
	n->blank = true;
}

void node_remember(struct node *n)
{
	int rc;

	sim_disk_snapshot(n->disk);
	free(n->image);
	rc = kv_export_mem(n->kv.kv, &n->image, &n->image_bytes);
	CHECK(rc == 0);
}

void node_restore(struct node *n)
{
	int rc;

	CHECK(!n->alive && n->image);
	n->replaced = true;
	sim_disk_rollback(n->disk);
	rc = kv_import_mem(n->kv.kv, n->image, n->image_bytes);
	CHECK(rc == 0);
}

bool node_disk_failed(const struct node *n)
{
	return n->kind == SERVER_CORE ? core_disk_failed(n) : hint_disk_failed(n);
}

/* --- ticks --- */

struct tick_event {
	struct node_event ev;
	uint64_t seq;
};

static void tick(struct node *n, struct node_event *ev)
{
	if (((struct tick_event *)ev)->seq == n->tick_seq)
		n->tick_at = NSEC_NEVER; /* node_after() follows */
}

static nsec_t call_tick(struct node *n)
{
	nsec_t now = node_clock(n);

	switch (n->kind) {
	case SERVER_CORE:
		return core_tick(n, now);
	case SERVER_HINT:
		return hint_node_tick(n, now);
	case SERVER_ACCESS:
		return access_tick(n, now);
	case SERVER_ADMIN:
		break;
	}
	return NSEC_NEVER;
}

static void limit_ticks(struct node *n)
{
	if (n->ticked != n->c->w.now) {
		n->ticked = n->c->w.now;
		n->ticks_here = 0;
	}
	if (++n->ticks_here > TICKS_PER_INSTANT_MAX)
		world_fail(&n->c->w, "P8: server %u spins: its tick is always due", n->id);
}

static void replace_process(struct node *n, struct node_event *ev)
{
	(void)ev;
	node_crash(n, true);
	node_start(n);
}

/* A server whose disk failed ends; whoever runs it starts it again. */
void node_restart_soon(struct node *n)
{
	struct node_event *ev;

	if (n->restarting == n->life)
		return;
	n->restarting = n->life;
	world_trace(&n->c->w, "%u leaves service: its disk failed", n->id);
	ev = mem_new(sizeof(*ev));
	ev->run = replace_process;
	node_event_at(n, n->c->w.now + 300 * NSEC_MSEC, ev);
}

static void format(struct node *n, struct node_event *ev)
{
	(void)ev;
	node_crash(n, true);
	node_wipe(n);
	node_start(n);
}

void node_format_soon(struct node *n)
{
	struct node_event *ev = mem_new(sizeof(*ev));

	n->refused = n->life;
	world_trace(&n->c->w, "%u is refused: its operator formats it", n->id);
	ev->run = format;
	node_event_at(n, n->c->w.now + 500 * NSEC_MSEC, ev);
}

void node_after(struct node *n)
{
	struct tick_event *t;
	nsec_t due, at;

	limit_ticks(n);
	due = call_tick(n);
	if (n->disk && node_disk_failed(n))
		node_restart_soon(n);
	if (due == NSEC_NEVER || !n->alive)
		return;
	at = due <= node_clock(n) ? n->c->w.now : true_time(n, due);
	if (at >= n->tick_at)
		return; /* the earlier call asks again */
	n->tick_at = at;
	t = mem_new(sizeof(*t));
	t->seq = ++n->tick_seq;
	t->ev.run = tick;
	node_event_at(n, at, &t->ev);
}

/* --- messages --- */

void node_recv(struct node *n, const struct msg *m)
{
	switch (n->kind) {
	case SERVER_CORE:
		core_recv(n, m);
		break;
	case SERVER_HINT:
		hint_recv(n->hint, m);
		break;
	case SERVER_ACCESS:
		access_recv(n, m);
		break;
	case SERVER_ADMIN:
		break;
	}
}

void node_peer(struct node *n, server_id_t peer, bool up)
{
	switch (n->kind) {
	case SERVER_CORE:
		core_peer(n, peer, up);
		break;
	case SERVER_HINT:
		if (up)
			hint_peer_up(n->hint, peer);
		else
			hint_peer_down(n->hint, peer);
		break;
	case SERVER_ACCESS:
		access_peer(n, peer, up);
		break;
	case SERVER_ADMIN:
		break;
	}
}

/* Hint servers, nearest first. */
static void order_hints(struct node *n, struct session_config *out)
{
	struct cluster *c = n->c;

	out->hints = 0;
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind == SERVER_HINT && out->hints < SESSION_HINTS_MAX)
			out->hint[out->hints++] = c->node[i].id;
	}
	for (unsigned i = 1; i < out->hints; i++) {
		for (unsigned k = i; k > 0; k--) {
			server_id_t a = out->hint[k - 1], b = out->hint[k];

			if (c->net.latency[n->site][cluster_find(c, a)->site] <=
			    c->net.latency[n->site][cluster_find(c, b)->site])
				break;
			out->hint[k - 1] = b;
			out->hint[k] = a;
		}
	}
}

void node_session_config(struct node *n, struct session_config *out)
{
	memset(out, 0, sizeof(*out));
	out->server = n->id;
	out->kind = n->kind;
	out->boot = random_u64(&n->random);
	if (n->kind == SERVER_CORE)
		memcpy(out->addr, n->addr, sizeof(out->addr));
	order_hints(n, out);
}
