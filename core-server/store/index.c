/* The cache of file and block records. What is dirty or held stays; the rest goes, least recently
 * used first, when index_bytes is passed. A record that fails its checksum is damage: the block or
 * file counts for nothing and is rewritten as damaged by the next checkpoint. */
#include "core-server/store/state.h"

#include "common/base/trace.h"

#define FILE_COST 400
#define BLK_COST 400
#define LEAF_COST (sizeof(struct leaf) + 16)

uint64_t index_leaf_cost(void)
{
	return LEAF_COST;
}

/* --- sorted arrays of new ids --- */
static size_t lower_bound(const uint64_t *v, size_t n, uint64_t x)
{
	size_t lo = 0, hi = n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (v[mid] < x)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

void index_fresh_add(uint64_t **v, size_t *n, size_t *max, uint64_t x)
{
	size_t i = lower_bound(*v, *n, x);

	if (i < *n && (*v)[i] == x)
		return;
	if (*n == *max) {
		*max = *max ? *max * 2 : 8;
		*v = mem_resize(*v, *max, sizeof(uint64_t));
	}
	memmove(*v + i + 1, *v + i, (*n - i) * sizeof(uint64_t));
	(*v)[i] = x;
	(*n)++;
}

void index_fresh_del(uint64_t *v, size_t *n, uint64_t x)
{
	size_t i = lower_bound(v, *n, x);

	if (i == *n || v[i] != x)
		return;
	memmove(v + i, v + i + 1, (*n - i - 1) * sizeof(uint64_t));
	(*n)--;
}

/* --- files --- */
static void touch_file(struct store *s, struct file *f)
{
	DL_DELETE(s->file_lru, f);
	DL_APPEND(s->file_lru, f);
}

struct file *index_file(struct store *s, file_id_t id)
{
	struct file *f;
	int rc;

	HASH_FIND(hh, s->files, &id, sizeof(id), f);
	if (f) {
		touch_file(s, f);
		return f;
	}
	f = mem_new(sizeof(*f));
	f->id = id;
	HASH_ADD(hh, s->files, id, sizeof(id), f);
	DL_APPEND(s->file_lru, f);
	s->index_bytes += FILE_COST;
	rc = format_get_file(s->kv, id, &f->rec);
	f->exists = f->in_kv = rc != -ENOENT;
	if (rc == ERR_CORRUPT) {
		f->rec = (struct store_file){.damaged = true};
		apply_damage(s, &(struct footprint){STORE_FILE, id, 0, SEAL_UNKNOWN});
	} else if (rc < 0 && rc != -ENOENT) {
		store_fail(s, rc, "reading the record of file %" PRIu64 " failed: %s", id, err_text(rc));
	}
	return f;
}

static void free_file(struct store *s, struct file *f)
{
	HASH_DEL(s->files, f);
	DL_DELETE(s->file_lru, f);
	mem_free(f->rec.exception);
	mem_free(f->fresh);
	mem_free(f);
	s->index_bytes -= FILE_COST;
}

void index_dirty_file(struct store *s, struct file *f)
{
	if (!f->dirty)
		DL_APPEND2(s->dirty_files, f, dprev, dnext);
	f->dirty = true;
	if (!f->in_kv && f->exists)
		index_fresh_add(&s->fresh_files, &s->fresh_n, &s->fresh_max, f->id);
}

/* --- blocks --- */
void index_set_shift(struct store *s, struct blk *b, uint8_t shift)
{
	CHECK(shift >= BLOCK_SHIFT_MIN && shift <= BLOCK_SHIFT_MAX);
	if (b->shift)
		return;
	b->shift = shift;
	b->leaves_n = b->key.block == BLOCK_ATTR ? 1 : DIV_UP(blk_pages(b), LEAF_PAGES);
	b->leaves = mem_new_array(b->leaves_n, sizeof(struct leaf *));
	s->index_bytes += b->leaves_n * sizeof(struct leaf *);
}

struct blk *index_blk(struct store *s, file_id_t file, uint64_t block)
{
	struct block_key key = {file, block};
	struct file *f;
	struct blk *b;
	int rc;

	HASH_FIND(hh, s->blks, &key, sizeof(key), b);
	if (b) {
		DL_DELETE(s->blk_lru, b);
		DL_APPEND(s->blk_lru, b);
		return b;
	}
	f = index_file(s, file);
	b = mem_new(sizeof(*b));
	b->key = key;
	b->file = f;
	HASH_ADD(hh, s->blks, key, sizeof(key), b);
	DL_APPEND(s->blk_lru, b);
	DL_APPEND2(f->blks, b, fprev, fnext);
	s->index_bytes += BLK_COST;
	rc = f->kv_dead ? -ENOENT : format_get_blk(s->kv, b);
	b->exists = b->in_kv = rc != -ENOENT;
	if (b->shift) {
		uint8_t shift = b->shift;

		b->shift = 0;
		index_set_shift(s, b, shift);
	}
	if (rc == ERR_CORRUPT) {
		b->damaged = true;
		b->version = VERSION_NONE;
		b->closed = 0;
		b->pages = 0;
		b->shift = 0;
		s->damaged++;
		TRACE("store.damaged.record file block", file, block, 0, 0);
	} else if (rc < 0 && rc != -ENOENT) {
		store_fail(s, rc, "reading the record of file %" PRIu64 " block %" PRIu64 " failed: %s",
		           file, block, err_text(rc));
	}
	return b;
}

/* Pages without a place in the data file held a reservation for one. */
static void free_overlay(struct store *s, struct leaf *l)
{
	if (!l->overlay)
		return;
	for (unsigned p = 0; p < LEAF_PAGES; p++) {
		if (!l->overlay->buf[p])
			continue;
		jbuf_put(l->overlay->buf[p]);
		if (l->loc[p] == LOC_NONE)
			s->space.reserved--;
	}
	mem_free(l->overlay);
	l->overlay = NULL;
}

void index_drop_leaf(struct store *s, struct blk *b, unsigned i)
{
	struct leaf *l = b->leaves[i];

	if (!l)
		return;
	if ((b->dirty_leaves | b->cut_leaves) >> i & 1)
		s->dirty_bytes -= LEAF_COST;
	b->dirty_leaves &= ~(1ull << i);
	b->cut_leaves &= ~(1ull << i);
	free_overlay(s, l);
	mem_free(l);
	b->leaves[i] = NULL;
	s->index_bytes -= LEAF_COST;
}

/* What the file knew of its pages is gone: they may be given out again once no longer needed. */
static void drop_pages(struct store *s, struct blk *b)
{
	for (unsigned i = 0; i < b->leaves_n; i++) {
		struct leaf *l = b->leaves[i];

		for (unsigned p = 0; l && p < LEAF_PAGES; p++)
			if (l->present >> p & 1 && loc_real(l->loc[p]))
				space_supersede(s, l->loc[p]);
		index_drop_leaf(s, b, i);
	}
	b->version = VERSION_NONE;
	b->closed = 0;
	b->pages = 0;
}

/* The page tables it has in the kv stay there, with their space, until a whole INSTALL replaces
 * them. */
void index_damage(struct store *s, struct blk *b)
{
	struct file *f = b->file;

	drop_pages(s, b);
	b->exists = b->damaged = true;
	index_dirty_head(s, b);
	if (f->rec.complete || !f->exists) {
		f->rec.complete = false;
		f->exists = true;
		index_dirty_file(s, f);
	}
	s->damaged++;
	TRACE("store.damaged file block", b->key.file, b->key.block, 0, 0);
}

/* An empty page table, whatever the kv has. */
struct leaf *index_leaf_new(struct store *s, struct blk *b, unsigned i)
{
	struct leaf *l;

	if (b->leaves[i])
		return b->leaves[i];
	l = mem_new(sizeof(*l));
	memset(l->loc, 0xff, sizeof(l->loc));
	b->leaves[i] = l;
	s->index_bytes += LEAF_COST;
	return l;
}

struct leaf *index_leaf(struct store *s, struct blk *b, unsigned i, bool make)
{
	struct leaf *l;
	int rc;

	if (!b->shift || i >= b->leaves_n)
		return NULL;
	if (b->leaves[i])
		return b->leaves[i];
	l = mem_new(sizeof(*l));
	memset(l->loc, 0xff, sizeof(l->loc));
	rc = b->in_kv && !b->damaged && !b->file->kv_dead
	             ? format_get_leaf(s->kv, &b->key, i, l)
	             : -ENOENT;
	if (rc == ERR_CORRUPT) {
		mem_free(l);
		index_damage(s, b);
		return NULL;
	}
	if (rc < 0 && rc != -ENOENT) {
		store_fail(s, rc, "reading the page table of file %" PRIu64 " block %" PRIu64
		           " failed: %s", b->key.file, b->key.block, err_text(rc));
	}
	if (rc < 0 && !make) {
		mem_free(l);
		return NULL;
	}
	b->leaves[i] = l;
	s->index_bytes += LEAF_COST;
	return l;
}

static void free_blk(struct store *s, struct blk *b)
{
	for (unsigned i = 0; i < b->leaves_n; i++)
		index_drop_leaf(s, b, i);
	s->index_bytes -= BLK_COST + b->leaves_n * sizeof(struct leaf *);
	mem_free(b->leaves);
	HASH_DEL(s->blks, b);
	DL_DELETE(s->blk_lru, b);
	DL_DELETE2(b->file->blks, b, fprev, fnext);
	mem_free(b);
}

void index_dirty_head(struct store *s, struct blk *b)
{
	if (!b->dirty)
		DL_APPEND2(s->dirty_blks, b, dprev, dnext);
	b->dirty = true;
	if (!b->in_kv && b->exists)
		index_fresh_add(&b->file->fresh, &b->file->fresh_n, &b->file->fresh_max, b->key.block);
}

void index_dirty(struct store *s, struct blk *b, unsigned leaf)
{
	if (!((b->dirty_leaves | b->cut_leaves) >> leaf & 1))
		s->dirty_bytes += LEAF_COST;
	b->dirty_leaves |= 1ull << leaf;
	index_dirty_head(s, b);
}

/* The file was deleted: its blocks in memory become blocks that never were. */
void index_forget_blocks(struct store *s, struct file *f)
{
	struct blk *b;

	DL_FOREACH2(f->blks, b, fnext)
	{
		drop_pages(s, b);
		b->exists = b->in_kv = b->damaged = false;
	}
	f->fresh_n = 0;
}

static bool blk_idle(const struct blk *b)
{
	return !b->refs && !b->dirty && !b->cut && !b->inflight && !b->preparing;
}

void index_trim(struct store *s)
{
	struct blk *b, *bt;
	struct file *f, *ft;
	unsigned budget = 64; /* looked at per call: callers come often */

	if (s->index_bytes - s->dirty_bytes <= s->config.index_bytes)
		return;
	DL_FOREACH_SAFE(s->blk_lru, b, bt)
	{
		if (!budget-- || s->index_bytes - s->dirty_bytes <= s->config.index_bytes)
			break;
		if (blk_idle(b)) {
			free_blk(s, b);
		} else {
			DL_DELETE(s->blk_lru, b);
			DL_APPEND(s->blk_lru, b);
		}
	}
	budget = 16;
	DL_FOREACH_SAFE(s->file_lru, f, ft)
	{
		if (!budget--)
			break;
		if (!f->blks && !f->refs && !f->dirty && !f->cut && !f->waiting && !f->kv_dead &&
		    !f->fresh_n)
			free_file(s, f);
		else
			touch_file(s, f);
	}
}

void index_free(struct store *s)
{
	struct blk *b, *bt;
	struct file *f, *ft;

	DL_FOREACH_SAFE(s->blk_lru, b, bt)
		free_blk(s, b);
	DL_FOREACH_SAFE(s->file_lru, f, ft)
		free_file(s, f);
	mem_free(s->fresh_files);
}

/* --- what callers may ask --- */
bool store_get_file(struct store *s, file_id_t file, struct store_file *out)
{
	struct file *f;

	index_trim(s); /* before: what is looked up now might go with it */
	f = index_file(s, file);
	*out = f->exists ? f->rec : (struct store_file){0};
	return f->exists;
}

bool store_get_block(struct store *s, file_id_t file, uint64_t block, struct store_block *out)
{
	struct blk *b;

	index_trim(s);
	b = index_blk(s, file, block);
	*out = (struct store_block){
		.version = b->version,
		.closed = b->closed,
		.exists = b->exists,
		.holes = b->exists && !b->damaged && !b->pages,
		.pages = b->pages,
		.damaged = b->damaged,
	};
	return b->exists;
}

bool store_next_block(struct store *s, file_id_t file, uint64_t from, uint64_t *block,
                      struct store_block *out)
{
	struct file *f = index_file(s, file);
	size_t i = lower_bound(f->fresh, f->fresh_n, from);
	uint64_t kv_next;
	bool found = !f->kv_dead && format_next_blk(s->kv, file, from, &kv_next);

	if (i < f->fresh_n && (!found || f->fresh[i] < kv_next)) {
		kv_next = f->fresh[i];
		found = true;
	}
	if (!found)
		return false;
	*block = kv_next;
	return store_get_block(s, file, kv_next, out);
}

file_id_t store_next_file(struct store *s, file_id_t after)
{
	while (after != UINT64_MAX) {
		size_t i = lower_bound(s->fresh_files, s->fresh_n, after + 1);
		file_id_t next = 0;
		struct store_file rec;
		bool found = format_next_file(s->kv, after + 1, &next);

		if (i < s->fresh_n && (!found || s->fresh_files[i] < next)) {
			next = s->fresh_files[i];
			found = true;
		}
		if (!found)
			return 0;
		if (store_get_file(s, next, &rec)) /* may be deleted and not removed yet */
			return next;
		after = next;
	}
	return 0;
}
