/* Space of the data file: a bitmap allocator, grants and the reserve.
 *
 * A page is given out again only when (1) the change that replaced it is durable and checkpointed,
 * so no record that may be replayed refers to it, and (2) every read that could refer to it has
 * ended. Pages the kv refers to (`committed`) are found when the checkpoint rewrites their leaf;
 * pages replaced before the kv ever knew them are listed in `next`.
 *
 * The file is grown when space is promised, not when it is used: what was promised is there. */
#include "core-server/store/state.h"

static bool bit(const uint64_t *v, uint64_t i)
{
	return v[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *v, uint64_t i)
{
	v[i / 64] |= 1ull << (i % 64);
}

static void bit_clear(uint64_t *v, uint64_t i)
{
	v[i / 64] &= ~(1ull << (i % 64));
}

static size_t words(uint64_t pages)
{
	return (size_t)(ALIGN_UP(pages, SPACE_CHUNK_PAGES) / 64);
}

static void set_pages(struct space *sp, uint64_t pages)
{
	size_t old = words(sp->pages), new = words(pages);

	if (new > old || !sp->used) {
		sp->used = mem_resize(sp->used, new + 1, 8);
		sp->committed = mem_resize(sp->committed, new + 1, 8);
		sp->chunk_dirty = mem_resize(sp->chunk_dirty, new * 64 / SPACE_CHUNK_PAGES + 1, 1);
		memset(sp->used + old, 0, (new + 1 - old) * 8);
		memset(sp->committed + old, 0, (new + 1 - old) * 8);
		memset(sp->chunk_dirty + old * 64 / SPACE_CHUNK_PAGES, 0,
		       (new - old) * 64 / SPACE_CHUNK_PAGES + 1);
	}
	sp->free += pages - sp->pages;
	sp->pages = pages;
}

void space_init(struct store *s, uint64_t pages)
{
	struct space *sp = &s->space;
	uint64_t max = s->config.data_bytes_max / PAGE_BYTES;

	sp->pages_max = max ? MIN(max, (uint64_t)LOC_LOST - 1) : LOC_LOST - 1;
	set_pages(sp, MIN(pages, (uint64_t)LOC_LOST - 1));
	sp->pages_max = MAX(sp->pages_max, sp->pages); /* a file is not made smaller */
}

void space_fini(struct store *s)
{
	struct space *sp = &s->space;

	mem_free(sp->used);
	mem_free(sp->committed);
	mem_free(sp->chunk_dirty);
	mem_free(sp->next.v);
	mem_free(sp->cut.v);
	mem_free(sp->limbo.v);
}

static void grains_add(struct grains *g, uint32_t loc, uint32_t pages)
{
	if (g->n && g->v[g->n - 1].loc + g->v[g->n - 1].pages == loc) {
		g->v[g->n - 1].pages += pages;
		return;
	}
	if (g->n == g->max) {
		g->max = g->max ? g->max * 2 : 64;
		g->v = mem_resize(g->v, g->max, sizeof(*g->v));
	}
	g->v[g->n++] = (struct grain){loc, pages};
}

static void grains_move(struct grains *to, struct grains *from)
{
	for (size_t i = 0; i < from->n; i++)
		grains_add(to, from->v[i].loc, from->v[i].pages);
	from->n = 0;
}

void space_mark(struct store *s, uint32_t loc, uint32_t pages)
{
	for (uint32_t i = loc; i < loc + pages; i++) {
		if (i >= s->space.pages || bit(s->space.used, i))
			continue;
		bit_set(s->space.used, i);
		s->space.free--;
	}
}

void space_commit(struct store *s, uint32_t loc, bool on)
{
	struct space *sp = &s->space;

	if (loc >= sp->pages)
		return;
	if (on)
		bit_set(sp->committed, loc);
	else
		bit_clear(sp->committed, loc);
	sp->chunk_dirty[loc / SPACE_CHUNK_PAGES] = 1;
}

bool space_committed(const struct store *s, uint32_t loc)
{
	return loc < s->space.pages && bit(s->space.committed, loc);
}

static uint64_t reserve_pages(const struct store *s)
{
	uint64_t total = MIN(s->space.pages_max,
	                     s->space.pages + s->disk->ops->free_bytes(s->disk) / PAGE_BYTES);
	uint64_t wish = MAX(((uint64_t)64 << 20) / PAGE_BYTES, total / 50);

	return MIN(wish, total / 8); /* small stores would be all reserve */
}

/* --- what the index needs of the file system ---
 *
 * A promise must find its place in the index too: page tables, block and file records, half empty
 * pages of the tree. Files of one page take the most. */
#define INDEX_SHARE 16u /* bytes of data per byte of index, at worst */

static uint64_t index_need(const struct store *s, uint64_t promised)
{
	uint64_t used, total;

	kv_space(s->kv, &used, &total);
	return used + INDEX_SLACK + s->dirty_bytes + promised / INDEX_SHARE;
}

static uint64_t promised(const struct store *s)
{
	return s->space.granted + s->space.reserved * PAGE_BYTES;
}

/* Bytes that could be promised beyond what is, had the index `held`. */
static uint64_t index_allows(const struct store *s, uint64_t held)
{
	uint64_t need = index_need(s, promised(s));

	if (held >= UINT64_MAX / INDEX_SHARE)
		return UINT64_MAX;
	return held > need ? (held - need) * INDEX_SHARE : 0;
}

void space_hold_index(struct store *s)
{
	(void)!kv_hold(s->kv, index_need(s, promised(s)));
}

/* Makes at least `pages` free pages exist beyond what is promised, by growing the file. */
static bool grow(struct store *s, uint64_t pages)
{
	struct space *sp = &s->space;
	uint64_t need = sp->reserved + pages, step, target;

	if (sp->free >= need)
		return true;
	step = MIN(GROW_BYTES / PAGE_BYTES, MAX(sp->pages, 256));
	target = MIN(sp->pages_max, sp->pages + MAX(step, need - sp->free));
	if (sp->free + (target - sp->pages) < need)
		return false;
	if (s->disk->ops->resize(s->data, target * PAGE_BYTES) < 0) {
		target = sp->pages + (need - sp->free);
		if (s->disk->ops->resize(s->data, target * PAGE_BYTES) < 0)
			return false;
	}
	set_pages(sp, target);
	return true;
}

static uint64_t pages_left(const struct store *s)
{
	const struct space *sp = &s->space;
	uint64_t more = s->disk->ops->free_bytes(s->disk) / PAGE_BYTES;
	uint64_t room = sp->free + MIN(sp->pages_max - sp->pages, more);

	return room > sp->reserved ? room - sp->reserved : 0;
}

void space_spend(struct store *s, struct op *op)
{
	s->space.granted -= MIN(s->space.granted, op->grant);
	op->grant = 0;
}

/* Three kinds of claim: with a grant (was promised, the reserve does not concern it), privileged
 * (may use the reserve: repair and deletes must go on when all is full), and ordinary. None may
 * touch what was promised to others. */
bool space_reserve(struct store *s, uint64_t pages, bool privileged, uint64_t grant_bytes)
{
	struct space *sp = &s->space;
	uint64_t own = MIN(grant_bytes, sp->granted);
	uint64_t kept = DIV_UP(sp->granted - own, PAGE_BYTES);
	uint64_t own_pages = own ? DIV_UP(own, PAGE_BYTES) + 1 : 0; /* both ends of the range */

	if (!pages)
		return true;
	if (!privileged && pages > own_pages)
		kept += reserve_pages(s);
	if (pages_left(s) < pages + kept || !grow(s, pages))
		return false;
	sp->reserved += pages;
	return true;
}

static uint32_t run_at(const struct space *sp, uint64_t from, uint32_t want)
{
	uint32_t n = 0;

	while (n < want && from + n < sp->pages && !bit(sp->used, from + n))
		n++;
	return n;
}

/* The first run of `want` free pages behind the cursor, or the longest one seen. The cursor goes back
 * to what was freed: space written before needs no work of the file system at the next sync. */
uint32_t space_alloc(struct store *s, uint32_t want, uint32_t *loc)
{
	struct space *sp = &s->space;
	uint64_t at = sp->cursor < sp->pages ? sp->cursor : 0, seen = 0, looked = 0;
	uint32_t best = 0;
	uint64_t best_at = 0;

	CHECK(want > 0);
	while (seen < sp->pages && best < want && looked < 4096) {
		uint32_t n;

		if (at >= sp->pages)
			at = 0;
		if (at % 64 == 0 && sp->used[at / 64] == UINT64_MAX) {
			at += 64;
			seen += 64;
			continue;
		}
		n = run_at(sp, at, want);
		if (n > best) {
			best = n;
			best_at = at;
		}
		if (n)
			looked++;
		at += n + 1;
		seen += n + 1;
	}
	if (!best)
		return 0;
	space_mark(s, (uint32_t)best_at, best);
	CHECK(sp->reserved >= best);
	sp->reserved -= best;
	sp->cursor = best_at + best;
	*loc = (uint32_t)best_at;
	return best;
}

/* A durable change replaced the page. */
void space_supersede(struct store *s, uint32_t loc)
{
	if (space_committed(s, loc))
		s->space.superseded += !s->replay;
	else
		grains_add(&s->space.next, loc, 1);
}

void space_cut(struct store *s)
{
	grains_move(&s->space.cut, &s->space.next);
	s->space.superseded = 0;
}

void space_give_back(struct store *s, uint32_t loc, uint32_t pages)
{
	grains_add(&s->space.cut, loc, pages);
}

void space_cut_done(struct store *s)
{
	if (s->space.cut.n)
		s->space.limbo_seq = s->read_seq;
	grains_move(&s->space.limbo, &s->space.cut);
	space_release(s);
}

void space_release(struct store *s)
{
	struct space *sp = &s->space;

	if (!sp->limbo.n || !guard_clear(s, sp->limbo_seq))
		return;
	for (size_t i = 0; i < sp->limbo.n; i++)
		for (uint32_t p = 0; p < sp->limbo.v[i].pages; p++) {
			uint32_t loc = sp->limbo.v[i].loc + p;

			CHECK(bit(sp->used, loc));
			CHECK(!bit(sp->committed, loc));
			bit_clear(sp->used, loc);
			sp->free++;
			sp->cursor = MIN(sp->cursor, loc);
		}
	sp->limbo.n = 0;
}

/* Space that comes back without anybody's help: wait for it rather than fail. */
bool space_coming(const struct store *s)
{
	const struct space *sp = &s->space;

	return sp->superseded || sp->next.n || sp->cut.n || sp->limbo.n || s->checkpoint;
}

int space_load(struct store *s)
{
	struct space *sp = &s->space;

	for (uint64_t c = 0; c * SPACE_CHUNK_PAGES < sp->pages; c++) {
		uint64_t *to = sp->committed + c * (SPACE_CHUNK_PAGES / 64);
		int rc = format_get_chunk(s->kv, c, to);

		if (rc < 0 && rc != -ENOENT)
			return rc;
	}
	return 0;
}

int space_save(struct store *s)
{
	struct space *sp = &s->space;

	for (uint64_t c = 0; c * SPACE_CHUNK_PAGES < sp->pages; c++) {
		int rc;

		if (!sp->chunk_dirty[c])
			continue;
		rc = format_put_chunk(s->kv, c, sp->committed + c * (SPACE_CHUNK_PAGES / 64));
		if (rc < 0)
			return rc;
		sp->chunk_dirty[c] = 0;
	}
	return 0;
}

/* Pages that the replayed records themselves replaced stay out of use until the next checkpoint, as
 * they were before the restart: should the last record still be the last at the next start, it is
 * verified by all its pages, also by those that a later change in it replaced. */
static void keep_replaced(struct store *s)
{
	struct grains replaced = s->space.next;

	s->space.next = (struct grains){0};
	for (size_t i = 0; i < replaced.n; i++)
		for (uint32_t p = 0; p < replaced.v[i].pages; p++) {
			uint32_t loc = replaced.v[i].loc + p;

			if (loc >= s->space.pages || bit(s->space.used, loc))
				continue;
			space_mark(s, loc, 1);
			grains_add(&s->space.next, loc, 1);
		}
	mem_free(replaced.v);
}

/* After replay: used is what the kv or a page table in memory refers to. */
void space_rebuild(struct store *s)
{
	struct space *sp = &s->space;
	struct blk *b;

	memset(sp->used, 0, words(sp->pages) * 8);
	sp->free = sp->pages;
	sp->reserved = 0;
	for (uint64_t i = 0; i < sp->pages; i++)
		if (bit(sp->committed, i))
			space_mark(s, (uint32_t)i, 1);
	DL_FOREACH(s->blk_lru, b)
	{
		for (unsigned i = 0; i < b->leaves_n; i++) {
			struct leaf *l = b->leaves[i];

			for (unsigned p = 0; l && p < LEAF_PAGES; p++) {
				if (!(l->present >> p & 1))
					continue;
				if (loc_real(l->loc[p]))
					space_mark(s, l->loc[p], 1);
				else if (l->overlay && l->overlay->buf[p])
					sp->reserved++;
			}
		}
	}
	keep_replaced(s);
	space_hold_index(s);
	(void)grow(s, reserve_pages(s)); /* may fail when somebody else filled the file system */
}

/* --- the public side --- */
void store_get_space(struct store *s, struct store_space *out)
{
	const struct space *sp = &s->space;
	uint64_t more = s->disk->ops->free_bytes(s->disk) / PAGE_BYTES;
	uint64_t left = pages_left(s) * PAGE_BYTES;

	out->total = (sp->pages + MIN(sp->pages_max - sp->pages, more)) * PAGE_BYTES;
	out->reserve = reserve_pages(s) * PAGE_BYTES;
	out->granted = sp->granted;
	out->free = left > out->reserve + sp->granted ? left - out->reserve - sp->granted : 0;
	out->free = MIN(out->free, index_allows(s, kv_held(s->kv) + MIN(s->disk->ops->free_bytes(s->disk),
	                                                                UINT64_MAX - kv_held(s->kv))));
}

/* What the file has for new grants as it is. */
static uint64_t in_file(const struct store *s)
{
	const struct space *sp = &s->space;
	uint64_t kept = sp->reserved + reserve_pages(s) + DIV_UP(sp->granted, PAGE_BYTES);

	return sp->free > kept ? (sp->free - kept) * PAGE_BYTES : 0;
}

uint64_t store_grant(struct store *s, uint64_t want)
{
	struct store_space now;
	uint64_t give;

	if (s->failed)
		return 0;
	store_get_space(s, &now);
	give = MIN(want, now.free);
	if (kv_hold(s->kv, index_need(s, promised(s) + give)) < 0)
		give = MIN(give, index_allows(s, kv_held(s->kv)));
	give -= give % PAGE_BYTES;
	if (!grow(s, DIV_UP(s->space.granted + give, PAGE_BYTES) + reserve_pages(s)))
		give = MIN(give, in_file(s));
	s->space.refused = give < want;
	if (s->space.refused && checkpoint_useful(s))
		checkpoint_want(s); /* what was deleted comes back with it; who was refused asks again */
	s->space.granted += give;
	return give;
}

void store_grant_return(struct store *s, uint64_t bytes)
{
	CHECK(bytes <= s->space.granted);
	s->space.granted -= bytes;
}
