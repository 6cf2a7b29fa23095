/* Wiring: what the network brings goes to the session or the volume, both get their ticks before the
 * loop sleeps, and the volume's wishes about the kernel's caches go to the mount. */
#include "access-server/access.h"
#include "access-server/memory_sys.h"

#include <stdio.h>

#include "common/base/log.h"

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
	return net_rtt(((struct access *)ctx)->server.net, server);
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
		log_info("session.up", "session %" PRIu64 " opened: serving %s", given, a->server.config.mount);
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

void access_recv(struct server *s, const struct msg *m)
{
	vol_recv(((struct access *)s)->volume, m);
}

static bool is_core(const struct access *a, server_id_t id)
{
	return a->volume && vol_knows_server(a->volume, id);
}

void access_peer_up(struct server *s, server_id_t peer)
{
	struct access *a = (struct access *)s;

	if (is_core(a, peer))
		vol_peer_up(a->volume, peer);
}

void access_peer_down(struct server *s, server_id_t peer)
{
	struct access *a = (struct access *)s;

	if (is_core(a, peer))
		vol_peer_down(a->volume, peer);
}

static bool known_later(const struct access *a, const struct map *map, server_id_t id)
{
	while ((map = vol_map_next(a->volume, map)))
		if (map_find_server(map, id))
			return true;
	return false;
}

/* Files may still be placed by older maps. Of a server in several the newest address counts. */
static void connect_maps(struct access *a)
{
	const struct map *map = NULL;

	if (vol_maps(a->volume) == a->maps_connected)
		return;
	a->maps_connected = vol_maps(a->volume);
	while ((map = vol_map_next(a->volume, map)))
		for (unsigned i = 0; i < map->servers; i++)
			if (!known_later(a, map, map->server[i].id))
				net_connect(a->server.net, map->server[i].id, map->server[i].addr);
}

#define FOLLOW_WRITER_DEFAULT (120 * NSEC_SEC)

static nsec_t follow_writer(nsec_t given)
{
	return given == NSEC_NEVER ? 0 : given == 0 ? FOLLOW_WRITER_DEFAULT : given;
}

static void start_volume(struct access *a)
{
	struct volume_config config = {
		.server = a->server.config.id,
		.site = a->server.config.own_site,
		.block_shift = a->server.config.block_shift,
		.buffer_bytes = a->server.config.buffer,
		.stale_after = a->server.config.stale_after,
		.follow_writer = follow_writer(a->server.config.follow_writer),
	};

	a->volume = vol_new(&a->server.env, a->server.session, &config, &volume_ops, a);
}

/* --- ticks --- */

#define FENCE_LOOK (100 * NSEC_MSEC)
#define STOP_LOOK (50 * NSEC_MSEC)

/* on_fence = error, or wait:TIME. Returns when to look again. */
static nsec_t obey_fence(struct access *a, nsec_t now)
{
	if (!a->server.config.fence_error)
		return NSEC_NEVER;
	if (session_valid(a->server.session)) {
		a->fenced_since = 0;
		return session_valid_until(a->server.session);
	}
	if (!a->fenced_since)
		a->fenced_since = now;
	if (now - a->fenced_since >= a->server.config.fence_wait && a->fs)
		fs_fail_waiting(a->fs);
	return now + FENCE_LOOK;
}

nsec_t access_tick(struct server *s, nsec_t now)
{
	struct access *a = (struct access *)s;
	nsec_t due = NSEC_NEVER;

	if (a->phase < STOP_NET && a->volume) {
		due = session_tick(s->session, now);
		due = MIN(due, obey_fence(a, now));
		due = MIN(due, a->fs ? fs_watch(a->fs, now) : NSEC_NEVER);
		due = MIN(due, vol_tick(a->volume, now));
		due = MIN(due, memory_watch(now));
		connect_maps(a);
	}
	access_stop_step(a, now);
	return a->phase == STOP_NOT ? due : MIN(due, now + STOP_LOOK);
}

/* --- the mount --- */

static void on_unmounted(void *ctx)
{
	struct access *a = ctx;

	log_warn("mount.gone", "%s was unmounted by somebody else: stopping", a->server.config.mount);
	server_stop(&a->server, EXIT_STOPPED);
}

static int start_mount(struct access *a, char *why, size_t why_size)
{
	static const struct fs_ops ops = {.unmounted = on_unmounted};
	struct fs_config config = {.mount = a->server.config.mount};
	const char *what = "the event loop takes no more handles";
	int rc = fs_new(&a->fs, &a->server.loop, &config, &ops, a);

	if (rc == 0)
		rc = fs_start(a->fs, a->volume, &what);
	if (rc < 0)
		snprintf(why, why_size, "cannot mount %s: %s (%s)", a->server.config.mount, what, err_text(rc));
	return rc;
}

int access_start(struct server *s, char *why, size_t why_size)
{
	struct access *a = (struct access *)s;
	int rc;

	memory_divide(&s->config);
	rc = server_start_net(s, why, why_size);
	if (rc < 0)
		return rc;
	server_start_session(s, 0, 0, &session_ops, a);
	start_volume(a);
	rc = start_mount(a, why, why_size);
	if (rc == 0)
		log_info("access.up", "listening on %s, mounted on %s", s->config.listen, s->config.mount);
	return rc;
}
