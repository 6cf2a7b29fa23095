/* What `distcloud` may ask an access server, by a verb, answered as JSON:
 *
 *   status      standing, mount, what is buffered
 *   stats       counters of the volume, the mount and the connections
 *   invalidate  {"ino": N}: the kernel drops what it caches of the inode */
#include "access-server/access.h"

static json_t *status_json(struct access *a)
{
	const struct map *map = vol_map(a->volume);
	struct vol_stats v;
	json_t *o = json_object();

	vol_get_stats(a->volume, &v);
	admin_put(o, "server", a->server.config.id);
	admin_put_text(o, "kind", "access");
	admin_put_text(o, "version", DC_VERSION);
	admin_put_text(o, "site", config_site_name(&a->server.config, a->server.config.own_site));
	admin_put_text(o, "address", a->server.config.listen);
	admin_put_text(o, "mount", a->server.config.mount);
	admin_put_bool(o, "mounted", fs_mounted(a->fs));
	admin_put(o, "session", session_id(a->server.session));
	admin_put_bool(o, "serving", session_valid(a->server.session));
	admin_put(o, "map", map ? map->version : 0);
	admin_put(o, "files", v.files);
	admin_put(o, "buffered_bytes", v.buffered_bytes);
	admin_put(o, "stale_blocks", v.stale_blocks);
	admin_put(o, "lost_handles", v.lost_handles);
	return o;
}

static json_t *volume_json(struct access *a)
{
	struct vol_stats v;
	json_t *o = json_object();

	vol_get_stats(a->volume, &v);
	admin_put(o, "files", v.files);
	admin_put(o, "buffered_bytes", v.buffered_bytes);
	admin_put(o, "stale_blocks", v.stale_blocks);
	admin_put(o, "repairs", v.repairs);
	admin_put(o, "recoveries", v.recoveries);
	admin_put(o, "hedged", v.hedged);
	admin_put(o, "lost_handles", v.lost_handles);
	admin_put(o, "writes", v.writes);
	admin_put(o, "reads", v.reads);
	admin_put(o, "flushes", v.flushes);
	return o;
}

static json_t *stats_json(struct access *a)
{
	struct fs_stats fs;
	struct net_stats net;
	json_t *o = json_object(), *f = json_object(), *n = json_object();

	fs_get_stats(a->fs, &fs);
	net_get_stats(a->server.net, &net);
	admin_put(f, "calls", fs.calls);
	admin_put(f, "in_flight", fs.in_flight);
	admin_put(f, "inodes_known", fs.inodes_known);
	admin_put(f, "invalidations", fs.invalidations);
	admin_put(f, "interrupts", fs.interrupts);
	admin_put(n, "bytes_in", net.bytes_in);
	admin_put(n, "bytes_out", net.bytes_out);
	admin_put(n, "frames_in", net.frames_in);
	admin_put(n, "frames_out", net.frames_out);
	admin_put(n, "bad_frames", net.bad_frames);
	admin_put(n, "reconnects", net.reconnects);
	json_object_set_new(o, "volume", volume_json(a));
	json_object_set_new(o, "mount", f);
	json_object_set_new(o, "net", n);
	return o;
}

static json_t *run_status(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	return status_json(ctx);
}

static json_t *run_stats(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	return stats_json(ctx);
}

static json_t *run_invalidate(void *ctx, const json_t *args, enum status *status)
{
	struct access *a = ctx;
	uint64_t ino = (uint64_t)json_integer_value(json_object_get(args, "ino"));
	json_t *o;

	if (!ino)
		return admin_refuse(status, STATUS_INVALID, "say which inode: {\"ino\": N}");
	fs_invalidate(a->fs, ino, 0, 0, 0);
	o = json_object();
	admin_put(o, "ino", ino);
	return o;
}

const struct admin_verb access_verbs[ACCESS_VERBS] = {
	{"status", run_status},
	{"stats", run_stats},
	{"invalidate", run_invalidate},
};
