/* Records of servers and sessions, and the versions of the map. */
#include "hint-server/catalog/internal.h"

#include "hint-server/catalog/record.h"

RECORD_CODEC(session_record, SESSION_RECORD)
RECORD_CODEC(server_record, SERVER_RECORD)

bool session_load(struct catalog *c, session_id_t id, struct session_record *out)
{
	struct key k = key1('s', id);
	struct kv_span v;

	if (id == 0 || !db_get(c, &k, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	take_session_record(out, &cur);
	if (!cursor_done(&cur) || out->id != id)
		db_corrupt(c);
	return c->rc == 0;
}

void session_store(struct catalog *c, const struct session_record *s)
{
	uint8_t bytes[RECORD_BYTES_MAX], *end = put_session_record(s, bytes);
	struct key k = key1('s', s->id);

	db_put(c, &k, bytes, (size_t)(end - bytes));
}

bool server_load(struct catalog *c, server_id_t id, struct server_record *out)
{
	struct key k = key1('v', id);
	struct kv_span v;

	*out = (struct server_record){0};
	if (!db_get(c, &k, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	take_server_record(out, &cur);
	for (unsigned i = 0; i < SERVER_PAST_BOOTS; i++)
		out->past[i] = cursor_u64(&cur);
	for (unsigned i = 0; i < SERVER_PAST_DISKS; i++)
		out->past_disk[i] = cursor_u64(&cur);
	if (cur.left >= sizeof(out->addr))
		cur.bad = true;
	if (cur.bad || out->id != id)
		db_corrupt(c);
	else if (cur.left > 0)
		memcpy(out->addr, cur.p, cur.left);
	return c->rc == 0;
}

void server_store(struct catalog *c, const struct server_record *s)
{
	uint8_t bytes[RECORD_BYTES_MAX], *end = put_server_record(s, bytes);
	struct key k = key1('v', s->id);
	size_t len = strlen(s->addr);

	for (unsigned i = 0; i < SERVER_PAST_BOOTS; i++, end += 8)
		put_u64le(end, s->past[i]);
	for (unsigned i = 0; i < SERVER_PAST_DISKS; i++, end += 8)
		put_u64le(end, s->past_disk[i]);
	memcpy(end, s->addr, len);
	db_put(c, &k, bytes, (size_t)(end - bytes) + len);
}

/* --- maps --- */

static void map_write(struct catalog *c, const struct map *m)
{
	struct key k = key1('M', m->version);
	size_t len = map_encoded_bytes(m);
	uint8_t *bytes = catalog_scratch(c, len);

	map_encode(m, bytes);
	db_put(c, &k, bytes, len);
}

static void map_delete(struct catalog *c, uint64_t version)
{
	struct key k = key1('M', version);

	db_del(c, &k);
	k = key1('n', version);
	db_del(c, &k);
	for (unsigned i = 0; i < ARRAY_LEN(c->old_map); i++) {
		if (c->old_map[i] && c->old_map[i]->version == version) {
			map_free(c->old_map[i]);
			c->old_map[i] = NULL;
		}
	}
}

static void map_write_count(struct catalog *c, uint64_t version, uint64_t files)
{
	struct key k = key1('n', version);
	uint8_t bytes[8];

	put_u64le(bytes, files);
	db_put(c, &k, bytes, sizeof(bytes));
}

/* Versions are kept from the oldest that places a file: a file goes from one to the next in steps that change
 * one replica at most (placing.c), and needs those between. */
static void map_forget_old(struct catalog *c)
{
	struct key oldest = key1('M', 0);
	struct kv_span v;

	while (db_seek(c, &oldest, 1, &v)) {
		uint64_t version = get_u64be(oldest.bytes + 1);
		struct key k = key1('n', version);

		if (version == c->meta.map)
			return;
		if (!db_get(c, &k, &v) || v.len != 8) {
			db_corrupt(c);
			return;
		}
		if (get_u64le(v.p) > 0)
			return;
		map_delete(c, version);
	}
}

/* The current version is counted in the meta record: no write of its own per file. */
void map_count(struct catalog *c, uint64_t version, int files)
{
	struct key k = key1('n', version);
	struct kv_span v;
	uint64_t n;

	if (version == c->meta.map) {
		c->meta.map_files += (uint64_t)(int64_t)files;
		meta_changed(c);
		return;
	}
	if (!db_get(c, &k, &v) || v.len != 8) {
		db_corrupt(c);
		return;
	}
	n = get_u64le(v.p) + (uint64_t)(int64_t)files;
	map_write_count(c, version, n);
	if (n == 0)
		map_forget_old(c);
}

void map_publish(struct catalog *c, struct map *next)
{
	if (c->map) {
		CHECK(next->version > c->map->version);
		map_write_count(c, c->map->version, c->meta.map_files);
		map_free(c->map);
	}
	map_write(c, next);
	c->map = next;
	c->meta.map = next->version;
	c->meta.map_files = 0;
	map_forget_old(c);
	meta_changed(c);
	if (c->watch && c->watch->map_changed)
		c->watch->map_changed(c->watch_ctx, next->version);
}

int catalog_map_get(struct catalog *c, uint64_t version, struct map **out)
{
	struct key k = key1('M', version);
	struct kv_span v;

	if (!db_get(c, &k, &v))
		return c->rc < 0 ? c->rc : -ENOENT;
	return map_decode(v.p, v.len, out);
}

void map_cache_drop(struct catalog *c)
{
	for (unsigned i = 0; i < ARRAY_LEN(c->old_map); i++) {
		map_free(c->old_map[i]);
		c->old_map[i] = NULL;
	}
}

/* Maps other than the current one are looked at for one file after the other: some are kept decoded.
 * They never change. */
const struct map *map_cached(struct catalog *c, uint64_t version)
{
	struct map *m;

	if (version == c->map->version)
		return c->map;
	for (unsigned i = 0; i < ARRAY_LEN(c->old_map); i++)
		if (c->old_map[i] && c->old_map[i]->version == version) {
			c->used_old_map = i;
			return c->old_map[i];
		}
	if (catalog_map_get(c, version, &m) < 0)
		return NULL;
	c->used_old_map = (c->used_old_map + 1) % ARRAY_LEN(c->old_map);
	map_free(c->old_map[c->used_old_map]);
	c->old_map[c->used_old_map] = m;
	return m;
}

int map_read(struct catalog *c)
{
	struct map *m;
	int rc = catalog_map_get(c, c->meta.map, &m);

	if (rc < 0)
		return rc == -ENOENT ? ERR_CORRUPT : rc;
	map_free(c->map);
	c->map = m;
	return 0;
}

const struct map *catalog_map(const struct catalog *c)
{
	return c->map;
}
