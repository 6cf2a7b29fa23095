/* Records of the kv. Keys begin with a letter, then big-endian numbers, so that their order is the
 * order of files and blocks (BLOCK_ATTR comes last). Every value is
 *
 *   fields (little-endian) ... | u64 XXH3 of the fields, seeded with the XXH3 of the key
 *
 *   S                      superblock: magic, format, cluster, server, salt, start counter, size of
 *                          the journal, checkpointed position (sequence number, offset),
 *                          bytes of the data file
 *   F file                 seal, closed, map, flags (1 complete, 2 damaged), exceptions n, n x block
 *   B file block           epoch, n, closed, shift, flags (2 damaged), present pages
 *   L file block leaf(1)   present bits, sum per present page, runs (u32 location, u8 pages) covering
 *                          the present pages in order
 *   A chunk                bit per page of the data file that F/B/L records refer to
 *
 * A value that fails its sum is damage: ERR_CORRUPT here, a damaged block or file above. */
#include "core-server/store/state.h"

#include <endian.h>
#include <xxhash.h>

#include "common/base/bytes.h"
#include "common/kv/kv.h"

#define SUPER_MAGIC 0x65726f7473646364ull /* "dcdstore" */
#define FORMAT_VERSION 1
#define FLAG_COMPLETE 1
#define FLAG_DAMAGED 2
#define LEAF_VALUE_MAX (8 + LEAF_PAGES * (8 + 5) + 8)

struct key {
	uint8_t b[18];
	size_t len;
};

static struct key make_key(char kind, uint64_t a, uint64_t b, unsigned leaf)
{
	struct key k = {.b = {(uint8_t)kind}, .len = 1};

	if (kind == 'S')
		return k;
	put_u64be(k.b + 1, a);
	k.len = 9;
	if (kind == 'F' || kind == 'A')
		return k;
	put_u64be(k.b + 9, b);
	k.len = 17;
	if (kind == 'B')
		return k;
	k.b[17] = (uint8_t)leaf;
	k.len = 18;
	return k;
}

static struct kv_span key_span(const struct key *k)
{
	return (struct kv_span){k->b, k->len};
}

static uint64_t value_sum(const struct key *k, const uint8_t *p, size_t len)
{
	return XXH3_64bits_withSeed(p, len, XXH3_64bits(k->b, k->len));
}

/* `p` has room for 8 bytes more. */
static int put_value(struct kv *kv, const struct key *k, uint8_t *p, size_t len)
{
	put_u64le(p + len, value_sum(k, p, len));
	return kv_put(kv, key_span(k), (struct kv_span){p, len + 8});
}

static int get_value(struct kv *kv, const struct key *k, struct cursor *c)
{
	struct kv_span v;
	int rc = kv_get(kv, key_span(k), &v);

	if (rc < 0)
		return rc;
	if (v.len < 8 || get_u64le((const uint8_t *)v.p + v.len - 8) != value_sum(k, v.p, v.len - 8))
		return ERR_CORRUPT;
	*c = (struct cursor){.p = v.p, .left = v.len - 8};
	return 0;
}

int format_get_super(struct kv *kv, struct superblock *out)
{
	struct key k = make_key('S', 0, 0, 0);
	struct cursor c;
	int rc = get_value(kv, &k, &c);

	if (rc < 0)
		return rc;
	if (cursor_u64(&c) != SUPER_MAGIC)
		return ERR_CORRUPT;
	if (cursor_u32(&c) != FORMAT_VERSION)
		return ERR_VERSION;
	out->cluster = cursor_u64(&c);
	out->server = cursor_u32(&c);
	out->salt = cursor_u64(&c);
	out->start = cursor_u64(&c);
	out->journal_bytes = cursor_u64(&c);
	out->seq = cursor_u64(&c);
	out->head = cursor_u64(&c);
	out->data_bytes = cursor_u64(&c);
	return cursor_done(&c) ? 0 : ERR_CORRUPT;
}

int format_put_super(struct kv *kv, const struct superblock *sb)
{
	struct key k = make_key('S', 0, 0, 0);
	uint8_t v[80];

	put_u64le(v, SUPER_MAGIC);
	put_u32le(v + 8, FORMAT_VERSION);
	put_u64le(v + 12, sb->cluster);
	put_u32le(v + 20, sb->server);
	put_u64le(v + 24, sb->salt);
	put_u64le(v + 32, sb->start);
	put_u64le(v + 40, sb->journal_bytes);
	put_u64le(v + 48, sb->seq);
	put_u64le(v + 56, sb->head);
	put_u64le(v + 64, sb->data_bytes);
	return put_value(kv, &k, v, 72);
}

int format_get_file(struct kv *kv, file_id_t id, struct store_file *out)
{
	struct key k = make_key('F', id, 0, 0);
	struct cursor c;
	uint8_t flags;
	int rc = get_value(kv, &k, &c);

	*out = (struct store_file){0};
	if (rc < 0)
		return rc;
	out->seal = cursor_u64(&c);
	out->closed = cursor_u64(&c);
	out->map = cursor_u64(&c);
	flags = cursor_u8(&c);
	out->complete = flags & FLAG_COMPLETE;
	out->damaged = flags & FLAG_DAMAGED;
	out->exceptions = cursor_u32(&c);
	if (c.bad || c.left != (size_t)out->exceptions * 8)
		return ERR_CORRUPT;
	if (out->exceptions)
		out->exception = mem_new_array(out->exceptions, 8);
	for (unsigned i = 0; i < out->exceptions; i++)
		out->exception[i] = cursor_u64(&c);
	return 0;
}

int format_put_file(struct kv *kv, file_id_t id, const struct store_file *f)
{
	struct key k = make_key('F', id, 0, 0);
	size_t len = 29 + (size_t)f->exceptions * 8;
	uint8_t *v = mem_new(len + 8);
	int rc;

	put_u64le(v, f->seal);
	put_u64le(v + 8, f->closed);
	put_u64le(v + 16, f->map);
	v[24] = (uint8_t)((f->complete ? FLAG_COMPLETE : 0) | (f->damaged ? FLAG_DAMAGED : 0));
	put_u32le(v + 25, f->exceptions);
	for (unsigned i = 0; i < f->exceptions; i++)
		put_u64le(v + 29 + (size_t)i * 8, f->exception[i]);
	rc = put_value(kv, &k, v, len);
	mem_free(v);
	return rc;
}

int format_get_blk(struct kv *kv, struct blk *b)
{
	struct key k = make_key('B', b->key.file, b->key.block, 0);
	struct cursor c;
	int rc = get_value(kv, &k, &c);

	if (rc < 0)
		return rc;
	b->version = cursor_ver(&c);
	b->closed = cursor_u64(&c);
	b->shift = cursor_u8(&c);
	b->damaged = cursor_u8(&c) & FLAG_DAMAGED;
	b->pages = cursor_u32(&c);
	if (!cursor_done(&c) || b->shift > BLOCK_SHIFT_MAX || (b->shift && b->shift < BLOCK_SHIFT_MIN))
		return ERR_CORRUPT;
	return 0;
}

int format_put_blk(struct kv *kv, const struct blk *b)
{
	struct key k = make_key('B', b->key.file, b->key.block, 0);
	uint8_t v[48];

	put_u64le(v, b->version.epoch);
	put_u64le(v + 8, b->version.n);
	put_u64le(v + 16, b->closed);
	v[24] = b->shift;
	v[25] = b->damaged ? FLAG_DAMAGED : 0;
	put_u32le(v + 26, b->pages);
	return put_value(kv, &k, v, 30);
}

int format_get_leaf(struct kv *kv, const struct block_key *bk, unsigned i, struct leaf *l)
{
	struct key k = make_key('L', bk->file, bk->block, i);
	struct cursor c;
	unsigned page = 0;
	int rc = get_value(kv, &k, &c);

	if (rc < 0)
		return rc;
	l->present = cursor_u64(&c);
	for (unsigned p = 0; p < LEAF_PAGES; p++)
		l->sum[p] = l->present >> p & 1 ? cursor_u64(&c) : 0;
	while (c.left && !c.bad) {
		uint32_t loc = cursor_u32(&c);

		for (unsigned n = cursor_u8(&c); n; n--, page++) {
			while (page < LEAF_PAGES && !(l->present >> page & 1))
				page++;
			if (page >= LEAF_PAGES)
				return ERR_CORRUPT;
			l->loc[page] = loc++;
		}
	}
	while (page < LEAF_PAGES && !(l->present >> page & 1))
		page++;
	return cursor_done(&c) && page >= LEAF_PAGES ? 0 : ERR_CORRUPT;
}

/* Pages that have no place in the data file yet are left out: their records are behind the cut of
 * the checkpoint that writes this, so replay brings them back. */
int format_put_leaf(struct kv *kv, const struct block_key *bk, unsigned i, const struct leaf *l)
{
	struct key k = make_key('L', bk->file, bk->block, i);
	uint8_t v[LEAF_VALUE_MAX];
	uint8_t *q = v + 8, *runs = NULL;
	uint64_t present = 0;
	uint32_t next = LOC_NONE;

	for (unsigned p = 0; p < LEAF_PAGES; p++) {
		if (!(l->present >> p & 1) || l->loc[p] == LOC_NONE)
			continue;
		present |= 1ull << p;
		put_u64le(q, l->sum[p]);
		q += 8;
	}
	if (!present)
		return format_del_leaf(kv, bk, i);
	for (unsigned p = 0; p < LEAF_PAGES; p++) {
		if (!(present >> p & 1))
			continue;
		if (!runs || l->loc[p] != next) {
			runs = q;
			put_u32le(runs, l->loc[p]);
			runs[4] = 0;
			q += 5;
		}
		runs[4]++;
		next = l->loc[p] + 1;
	}
	put_u64le(v, present);
	return put_value(kv, &k, v, (size_t)(q - v));
}

int format_get_chunk(struct kv *kv, uint64_t chunk, uint64_t *bits)
{
	struct key k = make_key('A', chunk, 0, 0);
	struct cursor c;
	int rc = get_value(kv, &k, &c);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; i < SPACE_CHUNK_PAGES / 64; i++)
		bits[i] = cursor_u64(&c);
	return cursor_done(&c) ? 0 : ERR_CORRUPT;
}

int format_put_chunk(struct kv *kv, uint64_t chunk, const uint64_t *bits)
{
	struct key k = make_key('A', chunk, 0, 0);
	uint8_t v[SPACE_CHUNK_PAGES / 8 + 8];

	for (unsigned i = 0; i < SPACE_CHUNK_PAGES / 64; i++)
		put_u64le(v + (size_t)i * 8, bits[i]);
	return put_value(kv, &k, v, SPACE_CHUNK_PAGES / 8);
}

/* First key at or after `from` of the same kind and, for `same` more bytes, the same numbers. */
static bool next_key(struct kv *kv, const struct key *from, size_t same, struct key *out)
{
	struct kv_span k, v;

	if (kv_seek(kv, key_span(from), &k, &v) < 0 || k.len != from->len)
		return false;
	if (memcmp(k.p, from->b, 1 + same))
		return false;
	memcpy(out->b, k.p, k.len);
	out->len = k.len;
	return true;
}

bool format_next_file(struct kv *kv, file_id_t from, file_id_t *out)
{
	struct key k = make_key('F', from, 0, 0);

	if (!next_key(kv, &k, 0, &k))
		return false;
	*out = get_u64be(k.b + 1);
	return true;
}

bool format_next_blk(struct kv *kv, file_id_t file, uint64_t from, uint64_t *out)
{
	struct key k = make_key('B', file, from, 0);

	if (!next_key(kv, &k, 8, &k))
		return false;
	*out = get_u64be(k.b + 9);
	return true;
}

bool format_next_leaf(struct kv *kv, file_id_t file, struct block_key *bk, unsigned *i)
{
	struct key k = make_key('L', file, 0, 0);

	if (!next_key(kv, &k, 8, &k))
		return false;
	*bk = (struct block_key){file, get_u64be(k.b + 9)};
	*i = k.b[17];
	return true;
}

static int del(struct kv *kv, const struct key *k)
{
	int rc = kv_del(kv, key_span(k));

	return rc == -ENOENT ? 0 : rc;
}

int format_del_file(struct kv *kv, file_id_t id)
{
	struct key k = make_key('F', id, 0, 0);

	return del(kv, &k);
}

int format_del_blk(struct kv *kv, const struct block_key *bk)
{
	struct key k = make_key('B', bk->file, bk->block, 0);

	return del(kv, &k);
}

int format_del_leaf(struct kv *kv, const struct block_key *bk, unsigned i)
{
	struct key k = make_key('L', bk->file, bk->block, i);

	return del(kv, &k);
}
