#include "access-server/volume/volume.h"
#include "common/base/mem.h"
#include "tests/sim/client.h"
#include "tests/sim/cluster.h"

/* The session is made before the volume that it reports to. */

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	vol_session_ops.up(((struct node *)ctx)->volume, given, before, r);
}

static void on_shared_void(void *ctx)
{
	vol_session_ops.shared_void(((struct node *)ctx)->volume);
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	vol_session_ops.stats(((struct node *)ctx)->volume, hb);
}

static void on_recalls(void *ctx, struct span recalls)
{
	vol_session_ops.recalls(((struct node *)ctx)->volume, recalls);
}

static void on_map(void *ctx, uint64_t map)
{
	vol_session_ops.map_changed(((struct node *)ctx)->volume, map);
}

static const struct session_ops session_ops = {
        .up = on_up,
        .shared_void = on_shared_void,
        .stats = on_stats,
        .recalls = on_recalls,
        .map_changed = on_map,
};

/* --- the kernel: drops its pages some time later --- */

struct invalidated {
	struct node_event ev;
	uint64_t cookie;
};

static void run_invalidated(struct node *n, struct node_event *ev)
{
	vol_invalidated(n->volume, ((struct invalidated *)ev)->cookie);
}

static void invalidate(void *ctx, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie)
{
	struct node *n = ctx;
	struct invalidated *i = mem_new(sizeof(*i));

	(void)ino;
	(void)off;
	(void)len;
	i->cookie = cookie;
	i->ev.run = run_invalidated;
	node_event_at(n, n->c->w.now + world_between(&n->c->w, STREAM_CLIENT, 1000, NSEC_MSEC), &i->ev);
}

static void invalidate_entry(void *ctx, uint64_t dir, struct span name, uint64_t cookie)
{
	(void)name;
	invalidate(ctx, dir, 0, 0, cookie);
}

static nsec_t rtt(void *ctx, server_id_t server)
{
	struct node *n = ctx;
	const struct node *peer = cluster_find(n->c, server);

	return peer ? 2 * n->c->net.latency[n->site][peer->site] : 0;
}

static void on_log(void *ctx, const char *key, const char *text)
{
	struct node *n = ctx;

	world_trace(&n->c->w, "%u log %s: %s", n->id, key, text);
}

static const struct volume_ops volume_ops = {
        .invalidate = invalidate,
        .invalidate_entry = invalidate_entry,
        .rtt = rtt,
        .log = on_log,
};

void access_start(struct node *n)
{
	struct session_config session;
	struct volume_config volume = {
	        .server = n->id,
	        .site = n->site,
	        .block_shift = FILE_BLOCK_SHIFT,
	        .buffer_bytes = ACCESS_BUFFER_BYTES,
	        .journal_slack_bytes = 1u << 20,
	        .follow_writer = n->c->shape.follow_writer,
	        .exceptions_max = n->c->shape.exceptions_max,
	        .bugs = n->c->shape.volume_bugs,
	};

	node_session_config(n, &session);
	n->session = session_new(&n->env, &session, &session_ops, n);
	n->volume = vol_new(&n->env, n->session, &volume, &volume_ops, n);
	n->serving = true;
	clients_start(n->c, n);
}

void access_stop(struct node *n)
{
	clients_die(n->c, n);
	vol_free(n->volume);
	session_free(n->session);
	n->volume = NULL;
	n->session = NULL;
}

void access_recv(struct node *n, const struct msg *m)
{
	if (!session_recv(n->session, m))
		vol_recv(n->volume, m);
}

void access_peer(struct node *n, server_id_t peer, bool up)
{
	const struct node *p = cluster_find(n->c, peer);

	if (p->kind == SERVER_HINT && !up)
		session_hint_down(n->session, peer);
	if (up)
		vol_peer_up(n->volume, peer);
	else
		vol_peer_down(n->volume, peer);
}

nsec_t access_tick(struct node *n, nsec_t now)
{
	nsec_t a = session_tick(n->session, now), b = vol_tick(n->volume, now);

	if (vol_maps(n->volume) != n->maps_seen) {
		n->maps_seen = vol_maps(n->volume);
		simnet_update(&n->c->net);
	}
	return MIN(a, b);
}

bool cluster_access_knows(const struct node *access, const struct node *core)
{
	return access->alive && access->volume && vol_knows_server(access->volume, core->id);
}
