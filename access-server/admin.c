/* What `distcloud` may ask an access server, by a verb, answered as JSON:
 *
 *   stats       counters: what every server has, and those of the volume and the mount
 *   file        {"ino": N}: the file as its holder has it now
 *   invalidate  {"ino": N}: the kernel drops what it caches of the inode */
#include "access-server/access.h"

#include "common/base/clock.h"

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
	admin_put(o, "lost_pages", v.lost_pages);
	admin_put(o, "writes", v.writes);
	admin_put(o, "reads", v.reads);
	admin_put(o, "flushes", v.flushes);
	return o;
}

static json_t *mount_json(struct access *a)
{
	struct fs_stats fs;
	json_t *o = json_object();

	fs_get_stats(a->fs, &fs);
	admin_put_text(o, "on", a->server.config.mount);
	admin_put_bool(o, "mounted", fs_mounted(a->fs));
	admin_put(o, "calls", fs.calls);
	admin_put(o, "in_flight", fs.in_flight);
	admin_put(o, "inodes_known", fs.inodes_known);
	admin_put(o, "invalidations", fs.invalidations);
	admin_put(o, "interrupts", fs.interrupts);
	return o;
}

void access_stats(struct server *s, json_t *o)
{
	struct access *a = (struct access *)s;
	const struct map *map = vol_map(a->volume);

	json_object_set_new(o, "volume", volume_json(a));
	if (a->fs)
		json_object_set_new(o, "mount", mount_json(a));
	admin_put(o, "map", map ? map->version : 0);
}

/* "lost": {"ms_ago", "epoch", "by": server id or 0, "why", "handles": not closed yet}; absent if it was not
 * lately */
static void add_loss(struct access *a, uint64_t ino, json_t *o)
{
	struct vol_loss loss;
	json_t *lost;

	if (!vol_get_loss(a->volume, ino, &loss))
		return;
	lost = json_object();
	admin_put(lost, "ms_ago", (uint64_t)((clock_boottime() - loss.at) / NSEC_MSEC));
	admin_put(lost, "epoch", loss.epoch);
	admin_put(lost, "by", loss.by);
	admin_put_text(lost, "why", loss.why);
	admin_put(lost, "handles", loss.handles);
	json_object_set_new(o, "lost", lost);
}

static json_t *run_file(void *ctx, const json_t *args, enum status *status)
{
	struct access *a = ctx;
	uint64_t ino = (uint64_t)json_integer_value(json_object_get(args, "ino"));
	struct vol_file_stats f;
	bool held = vol_get_file(a->volume, ino, &f);
	json_t *o = json_object();

	(void)status;
	json_object_set_new(o, "held", json_boolean(held));
	add_loss(a, ino, o);
	if (!held)
		return o;
	admin_put(o, "epoch", f.epoch);
	admin_put(o, "size", f.size);
	admin_put(o, "mtime", f.mtime);
	admin_put(o, "unflushed_bytes", f.unflushed_bytes);
	return o;
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
	{"stats", server_run_stats},
	{"file", run_file},
	{"invalidate", run_invalidate},
};
