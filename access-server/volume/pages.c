/* How much of a file held here is stored, for st_blocks: the catalog's number when the lease was
 * granted, plus what each block gained or lost since.
 *
 * Replicas say how many pages a block has, when it is learnt (LIST) and with every acknowledgement.
 * Of records that no replica acknowledged yet a bound from above is kept: a write may have gone to
 * holes, and of a range made a hole only what cannot be there any more is taken off. For a block
 * written to the end of the file, the usual one, the bound is exact; for others it is as soon as
 * the first replica answers. So stat never tells of holes where there is data. */
#include "access-server/volume/parts.h"

static uint32_t after_zeros(const struct block *b, uint32_t pages, uint32_t off, uint32_t len)
{
	uint64_t bytes = file_block_bytes(b->f), start = b->no * bytes;
	uint64_t size = MAX(b->f->size, start) - start;
	uint32_t below_end = (uint32_t)DIV_UP(MIN(size, bytes), PAGE_BYTES);
	uint32_t first = DIV_UP(off, PAGE_BYTES), end = MIN((off + len) / PAGE_BYTES, below_end);

	return MIN(pages, first < end ? below_end - (end - first) : below_end);
}

static uint32_t after(const struct block *b, uint32_t pages, enum write_op op, uint32_t off, uint32_t len)
{
	if (op == WRITE_ZERO)
		return after_zeros(b, pages, off, len);
	return (uint32_t)MIN(pages + block_cost(off, len) / PAGE_BYTES,
	                     file_block_bytes(b->f) / PAGE_BYTES);
}

static void set(struct block *b, uint32_t pages)
{
	uint64_t others = b->f->pages - MIN(b->f->pages, b->pages);

	if (b->no != BLOCK_ATTR)
		b->f->pages = others + pages;
	b->pages = pages;
}

void pages_written(struct block *b, enum write_op op, uint32_t off, uint32_t len)
{
	set(b, after(b, b->pages, op, off, len));
}

void pages_told(struct block *b, struct version at, uint32_t pages)
{
	struct record *r;

	if (version_cmp(at, b->pages_at) <= 0)
		return;
	b->pages_at = at;
	DL_FOREACH(b->records, r)
		if (version_cmp(r->version, at) > 0)
			pages = after(b, pages, (enum write_op)r->op, r->off, r->len);
	set(b, pages);
}
