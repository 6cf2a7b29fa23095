/* Format of a journal record: one group commit.
 *
 *   head, whole pages:
 *     u32 magic | u32 version | u64 salt | u64 seq | u64 own offset | u32 head bytes | u32 data pages
 *     u32 changes | u32 footprints | u32 body bytes | u32 XXH32 of the 52 bytes before
 *     u64 XXH3 of the body
 *     body: footprints of the record before (u8 op, u64 file, u64 block, u64 seal), then changes
 *   data pages of RUN_JOURNAL runs, in the order of the changes
 *
 *   change: u8 op | u8 flags (1 repairs) | u8 block shift | u64 file | u64 block | version | u64 closed
 *           u64 seal | u64 map | u16 runs | runs (u16 first, u16 pages, u8 kind, u32 location)
 *           u64 sum per data page | FILE: u64 seal, closed, map, u8 complete, u32 n, n x u64
 *
 * A page of a RUN_LOST run has a sum and no data: its bytes were lost on every replica (INSTALL).
 * Data pages are covered by their page sums, so no byte is summed twice. Only one record is on its
 * way at any time: a valid record with sequence number n says that all below n was durable (that is
 * the durable mark). So a bad record with a valid one behind it is damage, and the footprints in the
 * record behind name what was in it; a bad record with nothing behind it is a torn tail.
 * The salt tells this journal's records from an older one's and from copies in user data. */
#include "core-server/store/state.h"

#include <xxhash.h>

#include "common/base/bytes.h"

#define RECORD_MAGIC 0x4c4a4344u /* "DCJL" */
#define RECORD_VERSION 1
#define CHANGE_BYTES (1 + 1 + 1 + 8 + 8 + 16 + 8 + 8 + 8 + 2)
#define RUN_BYTES 9
#define FILE_BYTES (8 + 8 + 8 + 1 + 4)
#define FOOTPRINT_BYTES 25

size_t record_change_bytes(const struct change *c)
{
	return CHANGE_BYTES + (size_t)c->runs_n * RUN_BYTES + (size_t)c->data_pages * 8 +
	       (c->op == STORE_FILE ? FILE_BYTES + (size_t)c->record.exceptions * 8 : 0);
}

static uint8_t *put8(uint8_t *p, uint8_t v)
{
	*p = v;
	return p + 1;
}

static uint8_t *put64(uint8_t *p, uint64_t v)
{
	put_u64le(p, v);
	return p + 8;
}

uint8_t *record_put_change(uint8_t *p, const struct change *c)
{
	p = put8(p, (uint8_t)c->op);
	p = put8(p, c->repairs);
	p = put8(p, c->shift);
	p = put64(p, c->file);
	p = put64(p, c->block);
	p = put64(p, c->version.epoch);
	p = put64(p, c->version.n);
	p = put64(p, c->closed);
	p = put64(p, c->seal);
	p = put64(p, c->map);
	put_u16le(p, (uint16_t)c->runs_n);
	p += 2;
	for (unsigned i = 0; i < c->runs_n; i++, p += RUN_BYTES) {
		put_u16le(p, c->runs[i].first);
		put_u16le(p + 2, c->runs[i].pages);
		p[4] = (uint8_t)c->runs[i].kind;
		put_u32le(p + 5, c->runs[i].loc);
	}
	for (unsigned i = 0; i < c->data_pages; i++)
		p = put64(p, c->sums[i]);
	if (c->op != STORE_FILE)
		return p;
	p = put64(p, c->record.seal);
	p = put64(p, c->record.closed);
	p = put64(p, c->record.map);
	p = put8(p, c->record.complete);
	put_u32le(p, c->record.exceptions);
	p += 4;
	for (unsigned i = 0; i < c->record.exceptions; i++)
		p = put64(p, c->record.exception[i]);
	return p;
}

size_t record_footprint_bytes(unsigned n)
{
	return (size_t)n * FOOTPRINT_BYTES;
}

uint8_t *record_put_footprint(uint8_t *p, const struct footprint *f)
{
	p = put8(p, (uint8_t)f->op);
	p = put64(p, f->file);
	p = put64(p, f->block);
	return put64(p, f->seal);
}

bool record_take_footprint(struct cursor *c, struct footprint *f)
{
	f->op = cursor_u8(c);
	f->file = cursor_u64(c);
	f->block = cursor_u64(c);
	f->seal = cursor_u64(c);
	return !c->bad && f->op <= STORE_DELETE;
}

static bool take_runs(struct cursor *c, struct change *out)
{
	uint32_t next = 0;

	out->runs = mem_new_array(out->runs_n, sizeof(*out->runs));
	for (unsigned i = 0; i < out->runs_n; i++) {
		struct run *r = &out->runs[i];

		r->first = cursor_u16(c);
		r->pages = cursor_u16(c);
		r->kind = cursor_u8(c);
		r->loc = cursor_u32(c);
		if (c->bad || r->kind > RUN_LOST || r->first < next ||
		    r->first + (uint32_t)r->pages > BLOCK_PAGES_MAX || !r->pages)
			return false;
		next = r->first + (uint32_t)r->pages;
		out->data_pages += r->kind == RUN_ZERO ? 0 : r->pages;
	}
	return true;
}

bool record_take_change(struct cursor *c, struct change *out)
{
	*out = (struct change){.op = cursor_u8(c)};
	out->repairs = cursor_u8(c) & 1;
	out->shift = cursor_u8(c);
	out->file = cursor_u64(c);
	out->block = cursor_u64(c);
	out->version = cursor_ver(c);
	out->closed = cursor_u64(c);
	out->seal = cursor_u64(c);
	out->map = cursor_u64(c);
	out->runs_n = cursor_u16(c);
	if (c->bad || out->op > STORE_DELETE)
		return false;
	if (out->op <= STORE_INSTALL &&
	    (out->shift < BLOCK_SHIFT_MIN || out->shift > BLOCK_SHIFT_MAX) &&
	    (out->op != STORE_INSTALL || out->shift || out->runs_n)) /* version and closed alone */
		return false;
	if (out->runs_n && !take_runs(c, out))
		return false;
	if (out->data_pages)
		out->sums = mem_new_array(out->data_pages, 8);
	for (unsigned i = 0; i < out->data_pages; i++)
		out->sums[i] = cursor_u64(c);
	if (out->op != STORE_FILE)
		return !c->bad;
	out->record.seal = cursor_u64(c);
	out->record.closed = cursor_u64(c);
	out->record.map = cursor_u64(c);
	out->record.complete = cursor_u8(c) & 1;
	out->record.exceptions = cursor_u32(c);
	if (c->bad || c->left < (size_t)out->record.exceptions * 8) {
		out->record.exceptions = 0;
		return false;
	}
	if (out->record.exceptions)
		out->record.exception = mem_new_array(out->record.exceptions, 8);
	for (unsigned i = 0; i < out->record.exceptions; i++)
		out->record.exception[i] = cursor_u64(c);
	return !c->bad;
}

void change_fini(struct change *c)
{
	mem_free(c->runs);
	mem_free(c->sums);
	mem_free(c->record.exception);
	c->runs = NULL;
	c->sums = NULL;
	c->record.exception = NULL;
}

/* Fills in the header; the body stands behind it already. */
void record_seal(uint8_t *page, const struct record *r)
{
	put_u32le(page, RECORD_MAGIC);
	put_u32le(page + 4, RECORD_VERSION);
	put_u64le(page + 8, r->salt);
	put_u64le(page + 16, r->seq);
	put_u64le(page + 24, r->off);
	put_u32le(page + 32, (uint32_t)r->head_bytes);
	put_u32le(page + 36, (uint32_t)r->data_pages);
	put_u32le(page + 40, r->ops_n);
	put_u32le(page + 44, r->last_n);
	put_u32le(page + 48, (uint32_t)r->body_bytes);
	put_u32le(page + 52, XXH32(page, 52, 0));
	put_u64le(page + 56, XXH3_64bits_withSeed(page + RECORD_HEAD_BYTES, r->body_bytes, r->seq));
}

bool record_get_head(const uint8_t *page, uint64_t off, uint64_t salt, struct record *r)
{
	if (get_u32le(page) != RECORD_MAGIC || get_u32le(page + 4) != RECORD_VERSION ||
	    get_u64le(page + 8) != salt || get_u64le(page + 24) != off ||
	    get_u32le(page + 52) != XXH32(page, 52, 0))
		return false;
	*r = (struct record){
		.salt = salt,
		.seq = get_u64le(page + 16),
		.off = off,
		.head_bytes = get_u32le(page + 32),
		.data_pages = get_u32le(page + 36),
		.ops_n = get_u32le(page + 40),
		.last_n = get_u32le(page + 44),
		.body_bytes = get_u32le(page + 48),
	};
	return r->head_bytes % PAGE_BYTES == 0 && r->head_bytes &&
	       r->body_bytes <= r->head_bytes - RECORD_HEAD_BYTES;
}

bool record_body_good(const uint8_t *page, const struct record *r)
{
	return get_u64le(page + 56) ==
	       XXH3_64bits_withSeed(page + RECORD_HEAD_BYTES, r->body_bytes, r->seq);
}
