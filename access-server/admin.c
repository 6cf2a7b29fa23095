/* What `distcloud` may ask an access server, by a verb, answered as JSON:
 *
 *   status      standing, mount, what is buffered
 *   stats       counters of the volume, the mount and the connections
 *   invalidate  {"ino": N}: the kernel drops what it caches of the inode */
#include "access-server/access.h"

#include <jansson.h>

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static void put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, number(n));
}

static json_t *status_json(struct access *a)
{
	const struct map *map = vol_map(a->volume);
	struct vol_stats v;
	json_t *o = json_object();

	vol_get_stats(a->volume, &v);
	put(o, "server", a->config.id);
	json_object_set_new(o, "kind", json_string("access"));
	json_object_set_new(o, "version", json_string(DC_VERSION));
	json_object_set_new(o, "site", json_string(config_site_name(&a->config, a->config.own_site)));
	json_object_set_new(o, "address", json_string(a->config.listen));
	json_object_set_new(o, "mount", json_string(a->config.mount));
	json_object_set_new(o, "mounted", json_boolean(fs_mounted(a->fs)));
	put(o, "session", session_id(a->session));
	json_object_set_new(o, "serving", json_boolean(session_valid(a->session)));
	put(o, "map", map ? map->version : 0);
	put(o, "files", v.files);
	put(o, "buffered_bytes", v.buffered_bytes);
	put(o, "stale_blocks", v.stale_blocks);
	put(o, "lost_handles", v.lost_handles);
	return o;
}

static json_t *volume_json(struct access *a)
{
	struct vol_stats v;
	json_t *o = json_object();

	vol_get_stats(a->volume, &v);
	put(o, "files", v.files);
	put(o, "buffered_bytes", v.buffered_bytes);
	put(o, "stale_blocks", v.stale_blocks);
	put(o, "repairs", v.repairs);
	put(o, "recoveries", v.recoveries);
	put(o, "hedged", v.hedged);
	put(o, "lost_handles", v.lost_handles);
	put(o, "writes", v.writes);
	put(o, "reads", v.reads);
	put(o, "flushes", v.flushes);
	return o;
}

static json_t *stats_json(struct access *a)
{
	struct fs_stats fs;
	struct net_stats net;
	json_t *o = json_object(), *f = json_object(), *n = json_object();

	fs_get_stats(a->fs, &fs);
	net_get_stats(a->net, &net);
	put(f, "calls", fs.calls);
	put(f, "in_flight", fs.in_flight);
	put(f, "inodes_known", fs.inodes_known);
	put(f, "invalidations", fs.invalidations);
	put(f, "interrupts", fs.interrupts);
	put(n, "bytes_in", net.bytes_in);
	put(n, "bytes_out", net.bytes_out);
	put(n, "frames_in", net.frames_in);
	put(n, "frames_out", net.frames_out);
	put(n, "bad_frames", net.bad_frames);
	put(n, "reconnects", net.reconnects);
	json_object_set_new(o, "volume", volume_json(a));
	json_object_set_new(o, "mount", f);
	json_object_set_new(o, "net", n);
	return o;
}

static json_t *invalidate(struct access *a, const json_t *args, enum status *status)
{
	uint64_t ino = (uint64_t)json_integer_value(json_object_get(args, "ino"));

	if (!ino) {
		*status = STATUS_INVALID;
		return json_pack("{s:s}", "error", "say which inode: {\"ino\": N}");
	}
	fs_invalidate(a->fs, ino, 0, 0, 0);
	return json_pack("{s:I}", "ino", (json_int_t)ino);
}

static bool is(struct span verb, const char *name)
{
	return verb.len == strlen(name) && memcmp(verb.p, name, verb.len) == 0;
}

char *access_admin(struct access *a, struct span verb, struct span args, enum status *status)
{
	json_t *in = args.len ? json_loadb((const char *)args.p, args.len, 0, NULL) : NULL;
	json_t *out;
	char *text;

	if (is(verb, "status")) {
		out = status_json(a);
	} else if (is(verb, "stats")) {
		out = stats_json(a);
	} else if (is(verb, "invalidate")) {
		out = invalidate(a, in, status);
	} else {
		*status = STATUS_INVALID;
		out = json_pack("{s:s}", "error",
		                "an access server knows the verbs status, stats and invalidate");
	}
	text = json_dumps(out, JSON_COMPACT);
	CHECK(text);
	json_decref(out);
	json_decref(in);
	return text;
}
