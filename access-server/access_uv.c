/* Wiring: what the network brings goes to the session or the volume, both get their ticks before the
 * loop sleeps, and the volume's wishes about the kernel's caches go to the mount. */
#include "access-server/access.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

/* --- the world, for the protocol cores --- */

static nsec_t env_now(struct env *env)
{
	(void)env;
	return clock_boottime();
}

static uint64_t env_wall(struct env *env)
{
	(void)env;
	return clock_wall();
}

static int env_send(struct env *env, const struct msg *m)
{
	return net_send(container_of(env, struct access, env)->net, m);
}

static uint64_t env_random(struct env *env)
{
	return random_u64(&container_of(env, struct access, env)->random);
}

/* --- the volume's wishes --- */

static void on_invalidate(void *ctx, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie)
{
	fs_invalidate(((struct access *)ctx)->fs, ino, off, len, cookie);
}

static void on_invalidate_entry(void *ctx, uint64_t dir, struct span name, uint64_t cookie)
{
	fs_invalidate_entry(((struct access *)ctx)->fs, dir, name, cookie);
}

static nsec_t on_rtt(void *ctx, server_id_t server)
{
	return net_rtt(((struct access *)ctx)->net, server);
}

static void on_log(void *ctx, const char *key, const char *text)
{
	(void)ctx;
	log_warn(key, "%s", text);
}

static const struct volume_ops volume_ops = {
	.invalidate = on_invalidate,
	.invalidate_entry = on_invalidate_entry,
	.rtt = on_rtt,
	.log = on_log,
};

/* --- the session's events: the volume's, which exists only after the session --- */

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	struct access *a = ctx;

	if (given == before)
		log_info("session.revived", "session %" PRIu64 " is valid again", given);
	else
		log_info("session.up", "session %" PRIu64 " opened: serving %s", given, a->config.mount);
	if (vol_session_ops.up)
		vol_session_ops.up(a->volume, given, before, r);
}

static void on_shared_void(void *ctx)
{
	struct access *a = ctx;

	if (vol_session_ops.shared_void)
		vol_session_ops.shared_void(a->volume);
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	struct access *a = ctx;

	if (vol_session_ops.stats)
		vol_session_ops.stats(a->volume, hb);
}

static void on_recalls(void *ctx, struct span recalls)
{
	struct access *a = ctx;

	if (vol_session_ops.recalls)
		vol_session_ops.recalls(a->volume, recalls);
}

static void on_map_changed(void *ctx, uint64_t map)
{
	struct access *a = ctx;

	if (vol_session_ops.map_changed)
		vol_session_ops.map_changed(a->volume, map);
}

static const struct session_ops session_ops = {
	.up = on_up,
	.shared_void = on_shared_void,
	.stats = on_stats,
	.recalls = on_recalls,
	.map_changed = on_map_changed,
};

/* --- the network --- */

const struct config_hint *access_hint(const struct access *a, server_id_t id)
{
	for (unsigned i = 0; i < a->config.hints; i++) {
		if (a->config.hint[i].id == id)
			return &a->config.hint[i];
	}
	return NULL;
}

static void answer_admin(struct access *a, const struct msg *m)
{
	enum status status = STATUS_OK;
	char *json = access_admin(a, m->admin.verb, m->admin.json, &status);
	struct msg reply = {
		.type = MSG_TYPE_admin_reply,
		.src = a->config.id,
		.dst = m->src,
		.via = m->via,
		.id = m->id,
		.admin_reply = {
			.status = (uint16_t)status,
			.json = {(const uint8_t *)json, (uint32_t)strlen(json)},
		},
	};

	if (net_send(a->net, &reply) != 0)
		log_debug("admin.lost", "an answer for %" PRIu32 " could not leave", m->src);
	free(json);
}

static void on_recv(void *ctx, const struct msg *m)
{
	struct access *a = ctx;

	if (a->phase >= STOP_NET || m->dst != a->config.id)
		return;
	if (m->type == MSG_TYPE_r_session && m->r_session.status != STATUS_OK)
		log_warn("session.refused", "the catalog gives this server no session: %s",
		         status_text((enum status)m->r_session.status));
	if (m->type == MSG_TYPE_admin)
		answer_admin(a, m);
	else if (!session_recv(a->session, m))
		vol_recv(a->volume, m);
}

static bool is_core(const struct access *a, server_id_t id)
{
	const struct map *map = a->volume ? vol_map(a->volume) : NULL;

	return map && map_find_server(map, id);
}

static void on_peer_up(void *ctx, server_id_t peer)
{
	struct access *a = ctx;

	if (a->phase >= STOP_NET)
		return;
	if (access_hint(a, peer))
		session_hint_up(a->session, peer);
	else if (is_core(a, peer))
		vol_peer_up(a->volume, peer);
}

static void on_peer_down(void *ctx, server_id_t peer)
{
	struct access *a = ctx;

	if (a->phase >= STOP_NET)
		return;
	if (access_hint(a, peer))
		session_hint_down(a->session, peer);
	else if (is_core(a, peer))
		vol_peer_down(a->volume, peer);
}

/* Servers of older maps stay connected: files may still be placed by them. */
static void connect_map(struct access *a)
{
	const struct map *map = vol_map(a->volume);

	if (!map || map->version == a->map_connected)
		return;
	a->map_connected = map->version;
	for (unsigned i = 0; i < map->servers; i++)
		net_connect(a->net, map->server[i].id, map->server[i].addr);
}

static int start_net(struct access *a, char *why, size_t why_size)
{
	static const struct net_ops ops = {
		.recv = on_recv,
		.peer_up = on_peer_up,
		.peer_down = on_peer_down,
	};
	char host[ADDR_TEXT_MAX];
	uint16_t port;
	struct net_config config = {
		.server = a->config.id,
		.kind = SERVER_ACCESS,
		.cluster = a->config.cluster,
		.boot = a->boot,
		.bind_addr = host,
	};
	int rc = config_split_address(a->config.listen, host, sizeof(host), &port);

	if (rc == 0)
		rc = net_new(&a->net, &a->loop, &config, &ops, a);
	if (rc == 0)
		rc = net_listen(a->net, a->config.listen);
	if (rc < 0)
		snprintf(why, why_size, "cannot listen on %s: %s", a->config.listen, err_text(rc));
	return rc;
}

static void start_session(struct access *a)
{
	unsigned order[CONFIG_HINTS_MAX];
	struct session_config config = {
		.server = a->config.id,
		.kind = SERVER_ACCESS,
		.boot = a->boot,
		.hints = a->config.hints,
	};

	_Static_assert(CONFIG_HINTS_MAX <= SESSION_HINTS_MAX, "all hint servers fit");
	_Static_assert(sizeof(config.addr) >= ADDR_TEXT_MAX, "the address fits");
	memcpy(config.addr, a->config.listen, ADDR_TEXT_MAX);
	if (a->config.own_site)
		snprintf(config.site, sizeof(config.site), "%s",
		         config_site_name(&a->config, a->config.own_site));
	config_hints_by_distance(&a->config, a->config.own_site, order);
	for (unsigned i = 0; i < a->config.hints; i++) {
		const struct config_hint *h = &a->config.hint[order[i]];

		config.hint[i] = h->id;
		net_connect(a->net, h->id, h->addr);
	}
	a->session = session_new(&a->env, &config, &session_ops, a);
}

static void start_volume(struct access *a)
{
	struct volume_config config = {
		.server = a->config.id,
		.site = a->config.own_site,
		.block_shift = a->config.block_shift,
		.buffer_bytes = a->config.buffer,
		.stale_after = a->config.stale_after,
	};

	a->volume = vol_new(&a->env, a->session, &config, &volume_ops, a);
}

/* --- ticks --- */

static void on_timer(uv_timer_t *t)
{
	(void)t; /* it only wakes the loop: the work is done in on_prepare() */
}

#define FENCE_LOOK (100 * NSEC_MSEC)

/* on_fence = error, or wait:TIME. Returns when to look again. */
static nsec_t obey_fence(struct access *a, nsec_t now)
{
	if (!a->config.fence_error)
		return NSEC_NEVER;
	if (session_valid(a->session)) {
		a->fenced_since = 0;
		return session_valid_until(a->session);
	}
	if (!a->fenced_since)
		a->fenced_since = now;
	if (now - a->fenced_since >= a->config.fence_wait && a->fs)
		fs_fail_waiting(a->fs);
	return now + FENCE_LOOK;
}

/* After each batch of events, before the loop sleeps. */
static void on_prepare(uv_prepare_t *p)
{
	struct access *a = container_of(p, struct access, prepare);
	nsec_t now = clock_boottime(), due = NSEC_NEVER;

	if (a->phase < STOP_NET) {
		due = session_tick(a->session, now);
		due = MIN(due, obey_fence(a, now));
		due = MIN(due, vol_tick(a->volume, now));
		connect_map(a);
	}
	access_stop_step(a, now);
	if (a->phase != STOP_NOT)
		due = MIN(due, now + 50 * NSEC_MSEC);
	if (a->phase == STOP_DONE)
		return;
	if (due == NSEC_NEVER)
		uv_timer_stop(&a->tick);
	else
		uv_timer_start(&a->tick, on_timer,
		               due <= now ? 0 : (uint64_t)DIV_UP(due - now, NSEC_MSEC), 0);
}

/* --- the mount --- */

static void on_unmounted(void *ctx)
{
	struct access *a = ctx;

	log_warn("mount.gone", "%s was unmounted by somebody else: stopping", a->config.mount);
	access_stop(a, EXIT_STOPPED);
}

static int start_mount(struct access *a, char *why, size_t why_size)
{
	static const struct fs_ops ops = {.unmounted = on_unmounted};
	struct fs_config config = {.mount = a->config.mount};
	const char *what = "the event loop takes no more handles";
	int rc = fs_new(&a->fs, &a->loop, &config, &ops, a);

	if (rc == 0)
		rc = fs_start(a->fs, a->volume, &what);
	if (rc < 0)
		snprintf(why, why_size, "cannot mount %s: %s (%s)", a->config.mount, what, err_text(rc));
	return rc;
}

int access_start(struct access *a, char *why, size_t why_size)
{
	int rc;

	a->env = (struct env){env_now, env_wall, env_send, env_random};
	uv_timer_init(&a->loop, &a->tick);
	uv_prepare_init(&a->loop, &a->prepare);
	rc = start_net(a, why, why_size);
	if (rc < 0)
		return rc;
	start_session(a);
	start_volume(a);
	uv_prepare_start(&a->prepare, on_prepare);
	return start_mount(a, why, why_size);
}
