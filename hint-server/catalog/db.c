#include "hint-server/catalog/internal.h"

#include "common/base/mem.h"

struct key key1(char letter, uint64_t a)
{
	struct key k = {.len = 9};

	k.bytes[0] = (uint8_t)letter;
	put_u64be(k.bytes + 1, a);
	return k;
}

struct key key2(char letter, uint64_t a, uint64_t b)
{
	struct key k = key1(letter, a);

	put_u64be(k.bytes + 9, b);
	k.len = 17;
	return k;
}

struct key key_name(char letter, uint64_t a, struct span name)
{
	struct key k = key1(letter, a);

	CHECK(name.len <= NAME_BYTES_MAX);
	if (name.len > 0)
		memcpy(k.bytes + 9, name.p, name.len);
	k.len = 9 + name.len;
	return k;
}

static struct kv_span key_span(const struct key *k)
{
	return (struct kv_span){k->bytes, k->len};
}

static void keep_error(struct catalog *c, int rc)
{
	if (rc < 0 && c->rc == 0)
		c->rc = rc;
}

void db_corrupt(struct catalog *c)
{
	keep_error(c, ERR_CORRUPT);
}

bool db_get(struct catalog *c, const struct key *k, struct kv_span *value)
{
	int rc = c->rc < 0 ? -ENOENT : kv_get(c->kv, key_span(k), value);

	if (rc < 0 && rc != -ENOENT)
		keep_error(c, rc);
	return rc == 0;
}

void db_put(struct catalog *c, const struct key *k, const void *p, size_t len)
{
	if (c->rc == 0)
		keep_error(c, kv_put(c->kv, key_span(k), (struct kv_span){p, len}));
}

void db_mark(struct catalog *c, const struct key *k)
{
	db_put(c, k, "", 1);
}

void db_del(struct catalog *c, const struct key *k)
{
	int rc = c->rc < 0 ? 0 : kv_del(c->kv, key_span(k));

	if (rc != -ENOENT)
		keep_error(c, rc);
}

bool db_seek(struct catalog *c, struct key *from, size_t prefix, struct kv_span *value)
{
	struct kv_span found;
	int rc = c->rc < 0 ? -ENOENT : kv_seek_prefix(c->kv, key_span(from), prefix, &found, value);

	if (rc < 0 && rc != -ENOENT)
		keep_error(c, rc);
	if (rc < 0)
		return false;
	if (found.len > sizeof(from->bytes)) {
		db_corrupt(c);
		return false;
	}
	memcpy(from->bytes, found.p, found.len);
	from->len = found.len;
	return true;
}

bool db_next(struct catalog *c, char letter, uint64_t after, uint64_t *out)
{
	struct key k = key1(letter, after + 1);
	struct kv_span value;

	if (after == UINT64_MAX || !db_seek(c, &k, 1, &value))
		return false;
	*out = get_u64be(k.bytes + 1);
	return true;
}

bool db_next2(struct catalog *c, char letter, uint64_t a, uint64_t after, uint64_t *out)
{
	struct key k = key2(letter, a, after + 1);
	struct kv_span value;

	if (after == UINT64_MAX || !db_seek(c, &k, 9, &value))
		return false;
	*out = get_u64be(k.bytes + 9);
	return true;
}

uint8_t *catalog_scratch(struct catalog *c, size_t bytes)
{
	if (bytes > c->scratch_bytes) {
		c->scratch = mem_resize(c->scratch, bytes, 1);
		c->scratch_bytes = bytes;
	}
	return c->scratch;
}
