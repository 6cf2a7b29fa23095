/* Pages of a copy that are bad at its source.
 *
 * Such a page may be anywhere else: whatever fits the sum that the source has of it is that page. It is
 * looked for
 * - in the writes that this holder keeps: they may cover all of it;
 * - at the other replicas, of whatever version the block is there, as it is or with those writes upon it.
 * What nobody has is lost: the target gets the sum without the bytes, if the owner allows that, so that
 * nothing old is read there (P3, P7). Nothing is lost as long as one was not asked, or has a newer version
 * of the block: a write of a part of the page merged the rest of it into that one. */
#include "access-server/volume/copy.h"

static bool any(const struct copy *c, enum page_state state)
{
	for (uint32_t p = c->first; p < c->first + c->pages; p++)
		if (c->page[p] == state)
			return true;
	return false;
}

void copy_note_lost(const struct copy *c)
{
	for (uint32_t p = c->first; c->bad && p < c->first + c->pages; p++)
		if (c->page[p] == PAGE_BAD || c->page[p] == PAGE_KEPT)
			lost_add(c->f, c->no, p);
}

/* Everybody was asked. */
static void bad_pages_end(struct copy *c)
{
	for (uint32_t p = c->first; p < c->first + c->pages; p++)
		if (c->page[p] == PAGE_BAD && c->comparable && copy_same_sum(c, p))
			c->page[p] = PAGE_KEPT;
	c->bad = !c->newer && (any(c, PAGE_BAD) || any(c, PAGE_KEPT));
	if (any(c, PAGE_BAD) && (!c->may_lose || c->unasked || c->newer))
		copy_end(c, COPY_BAD);
	else
		copy_install(c);
}

static void spare_next(struct copy *c);
static bool on_spare_page(struct rpc *rpc, const struct msg *m);

/* `page` with the writes that are kept here upon it: is it the one? */
static bool rebuilt(const struct copy *c, uint32_t p, uint8_t page[PAGE_BYTES])
{
	const struct block *b = block_find(c->f, c->no);
	uint32_t start = p * PAGE_BYTES;

	for (const struct record *r = b ? b->records : NULL; r; r = r->next) {
		uint32_t from = MAX(r->off, start), to = MIN(r->off + r->len, start + PAGE_BYTES);

		if (version_cmp(r->version, c->at) > 0)
			break;
		if (from >= to)
			continue;
		if (r->op == WRITE_ZERO)
			memset(page + (from - start), 0, to - from);
		else
			memcpy(page + (from - start), slice_data(r->data) + (from - r->off), to - from);
	}
	return page_sum(c->f->ino, c->no, p, page) == get_u64le(c->sums[SOURCE] + p * 8);
}

static bool keeps_writes(const struct copy *c)
{
	const struct block *b = block_find(c->f, c->no);

	return b && b->records && !VOL_BUG(c->f->v, VOLUME_BUG_NO_REBUILD);
}

static void rebuild_from_nothing(struct copy *c)
{
	uint8_t page[PAGE_BYTES];

	for (uint32_t p = c->first; p < c->first + c->pages && keeps_writes(c); p++) {
		memset(page, 0, sizeof(page));
		if (c->page[p] == PAGE_BAD && rebuilt(c, p, page))
			copy_got_page(c, p, page);
	}
}

/* The next bad page that the spare one may help with. */
static void spare_page(struct copy *c)
{
	struct span fits = {c->fits, DIV_UP(block_len(c->f, c->no) / PAGE_BYTES, 8)};

	while (c->page_at < c->first + c->pages &&
	       (c->page[c->page_at] != PAGE_BAD || !bit_get(fits, c->page_at)))
		c->page_at++;
	if (c->page_at == c->first + c->pages)
		spare_next(c);
	else
		copy_read(c, c->spare_now, READ_REPAIR, c->page_at, 1, on_spare_page);
}

/* The sum decides: it is of file, block, page and bytes. */
static void try_page(struct copy *c, uint32_t p, const uint8_t *data)
{
	uint8_t page[PAGE_BYTES];

	memcpy(page, data, sizeof(page));
	if (page_sum(c->f->ino, c->no, p, page) == get_u64le(c->sums[SOURCE] + p * 8) ||
	    (keeps_writes(c) && rebuilt(c, p, page)))
		copy_got_page(c, p, page);
}

static bool on_spare_page(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;
	uint32_t p = c->page_at;
	bool finished;

	if (!copy_take(rpc, m, &finished))
		return finished;
	c->unasked = c->unasked || (r->status != STATUS_OK && r->status != STATUS_BAD_PAGE);
	if (r->status == STATUS_OK && m->payload.len == PAGE_BYTES)
		try_page(c, p, slice_data(m->payload));
	c->page_at++;
	spare_page(c);
	return true;
}

static bool on_spare_sums(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;
	uint32_t pages = block_len(c->f, c->no) / PAGE_BYTES, at = 0;
	bool finished;

	if (!copy_take(rpc, m, &finished))
		return finished;
	memset(c->fits, 0, DIV_UP(pages, 8));
	/* Without a session it says nothing, as one that is away. */
	c->unasked = c->unasked || (r->status != STATUS_OK && r->status != STATUS_UNKNOWN);
	c->newer = c->newer || (r->status == STATUS_OK &&
	                        rank_cmp((struct rank){r->closed, r->version},
	                                 (struct rank){c->at_closed, c->at}) > 0);
	for (uint32_t p = 0; p < pages && r->status == STATUS_OK; p++)
		if (bit_get(r->present, p) && (at + 1) * 8 <= r->sums.len &&
		    (memcmp(r->sums.p + at++ * 8, c->sums[SOURCE] + p * 8, 8) == 0 || keeps_writes(c)))
			bit_set(c->fits, p);
	c->page_at = c->first;
	spare_page(c);
	return true;
}

static void spare_next(struct copy *c)
{
	unsigned i = 0;

	while (i < REPLICAS && (!(c->spare >> i & 1) || peer_get(c->f->v, c->server[i])->down))
		i++;
	if (i == REPLICAS || !any(c, PAGE_BAD)) {
		c->unasked = (c->unasked || c->spare != 0) && !VOL_BUG(c->f->v, VOLUME_BUG_LOSE_EARLY);
		bad_pages_end(c);
		return;
	}
	c->spare &= (uint8_t)~(1u << i);
	c->spare_now = i;
	copy_read(c, i, READ_SUMS_ONLY | READ_REPAIR, 0, block_len(c->f, c->no) / PAGE_BYTES,
	           on_spare_sums);
}

void copy_bad_pages(struct copy *c)
{
	rebuild_from_nothing(c);
	spare_next(c);
}
