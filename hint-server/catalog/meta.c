/* Identity, counters and the applied index: one record, written once per batch. */
#include "hint-server/catalog/internal.h"

#include "common/base/mem.h"
#include "hint-server/catalog/record.h"

#include <sys/stat.h>

#define ID_COUNTER_MASK (((uint64_t)1 << ID_COUNTER_BITS) - 1)

RECORD_CODEC(meta, META_RECORD)

static struct key meta_key(void)
{
	struct key k = {.bytes = {'m'}, .len = 1};

	return k;
}

void meta_changed(struct catalog *c)
{
	c->meta_dirty = true;
}

int meta_flush(struct catalog *c)
{
	uint8_t bytes[RECORD_BYTES_MAX], *end;
	struct key k = meta_key();

	if (c->meta_dirty) {
		end = put_meta(&c->meta, bytes);
		db_put(c, &k, bytes, (size_t)(end - bytes));
	}
	c->meta_dirty = false;
	return c->rc;
}

static int meta_read(struct catalog *c)
{
	struct key k = meta_key();
	struct kv_span v;

	if (!db_get(c, &k, &v))
		return c->rc < 0 ? c->rc : -ENOENT;
	struct cursor cur = {v.p, v.len, false};

	take_meta(&c->meta, &cur);
	if (c->meta.format != FORMAT_VERSION)
		return ERR_VERSION;
	return cursor_done(&cur) ? 0 : ERR_CORRUPT;
}

file_id_t meta_last_file(const struct meta *m)
{
	return m->incarnation << ID_COUNTER_BITS | (m->next_file - 1);
}

file_id_t meta_new_file(struct catalog *c)
{
	c->meta.next_file++;
	meta_changed(c);
	return meta_last_file(&c->meta);
}

session_id_t meta_new_session(struct catalog *c)
{
	meta_changed(c);
	return c->meta.incarnation << ID_COUNTER_BITS | c->meta.next_session++;
}

bool meta_file_gone(struct catalog *c, uint64_t ino)
{
	uint64_t incarnation = ino >> ID_COUNTER_BITS, counter = ino & ID_COUNTER_MASK;
	uint64_t next = incarnation == c->meta.incarnation ? c->meta.next_file : 0;
	struct key k = key1('I', incarnation);
	struct kv_span v;

	if (incarnation < c->meta.incarnation && db_get(c, &k, &v) && v.len == 8)
		next = get_u64le(v.p);
	if ((counter == 0 || counter >= next) && !(c->bugs & CATALOG_BUG_UNKNOWN_GONE))
		return false;
	k = key1('i', ino);
	return !db_get(c, &k, &v) && c->rc == 0;
}

/* --- life --- */

static void format_root(struct catalog *c)
{
	struct inode root = {
		.ino = FILE_ROOT,
		.mode = S_IFDIR | 0755,
		.nlink = 2,
		.parent = FILE_ROOT,
		.cookie = COOKIE_FIRST - 1,
	};

	c->meta.inodes = 1;
	inode_store(c, &root);
}

static int format_fill(struct catalog *c, const struct catalog_seed *seed)
{
	struct map *map = map_new(0);

	if (seed->sites == 0 || seed->sites > SITES_MAX) {
		map_free(map);
		return -EINVAL;
	}
	map->sites = seed->sites;
	memcpy(map->site, seed->site, seed->sites * sizeof(map->site[0]));
	c->meta = (struct meta){
		.format = FORMAT_VERSION,
		.cluster = seed->cluster,
		.incarnation = 1,
		.next_file = 1,
		.next_session = 1,
		.session_ms = seed->session_ms,
		.margin_ms = seed->margin_ms,
		.sweep = seed->sweep ? seed->sweep : SWEEP_DEFAULT,
	};
	map_publish(c, map);
	format_root(c);
	meta_changed(c);
	return meta_flush(c);
}

int catalog_format(struct kv *kv, const struct catalog_seed *seed)
{
	struct catalog c = {.kv = kv};
	struct key k = meta_key();
	struct kv_span v;
	int rc;

	if (db_get(&c, &k, &v))
		return -EEXIST;
	rc = kv_begin(kv);
	if (rc < 0)
		return rc;
	rc = format_fill(&c, seed);
	map_free(c.map);
	mem_free(c.scratch);
	if (rc < 0) {
		kv_abort(kv);
		return rc;
	}
	return kv_commit(kv);
}

int catalog_open(struct catalog **out, struct kv *kv)
{
	struct catalog *c = mem_new(sizeof(*c));
	int rc;

	c->kv = kv;
	rc = catalog_reload(c);
	if (rc < 0) {
		catalog_close(c);
		return rc;
	}
	*out = c;
	return 0;
}

void catalog_close(struct catalog *c)
{
	if (c->batch)
		kv_abort(c->kv);
	map_free(c->map);
	map_cache_drop(c);
	mem_free(c->ending);
	mem_free(c->scratch);
	mem_free(c);
}

int catalog_reload(struct catalog *c)
{
	int rc;

	CHECK(!c->batch);
	c->rc = 0;
	c->meta_dirty = false;
	map_cache_drop(c);
	rc = meta_read(c);
	if (rc == 0)
		rc = map_read(c);
	if (rc == 0)
		rc = ending_read(c);
	return rc < 0 ? rc : refill_read(c);
}

void catalog_set_bugs(struct catalog *c, unsigned bugs)
{
	c->bugs = bugs;
}

void catalog_set_watch(struct catalog *c, const struct catalog_watch *watch, void *ctx)
{
	c->watch = watch;
	c->watch_ctx = ctx;
}

int catalog_raise_incarnation(struct catalog *c)
{
	struct key k = key1('I', c->meta.incarnation);
	uint8_t next[8];
	int rc = catalog_begin(c);

	if (rc < 0)
		return rc;
	put_u64le(next, c->meta.next_file);
	db_put(c, &k, next, sizeof(next));
	c->meta.incarnation++;
	c->meta.next_file = 1;
	c->meta.next_session = 1;
	meta_changed(c);
	return catalog_commit(c);
}

void catalog_get_stats(const struct catalog *c, struct catalog_stats *out)
{
	const struct meta *m = &c->meta;

	*out = (struct catalog_stats){
		.cluster = m->cluster,
		.incarnation = m->incarnation,
		.last_file = meta_last_file(m),
		.inodes = m->inodes,
		.files = m->files,
		.orphans = m->orphans,
		.repairs = m->repairs,
		.sessions = m->sessions,
		.map = m->map,
	};
}
