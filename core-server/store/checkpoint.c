/* Checkpoint: what the journal holds up to the cut moves to the data file and the kv, then that part
 * of the journal is free again. Requests go on all the while.
 *
 *   cut      the dirty lists become the cut lists; from here changes dirty things for the next one.
 *            Overlay pages without a place get one, neighbours beside each other
 *   readers  wait until no read is older than the cut: places will be overwritten
 *   write    overlay pages go to their places; places in a row in one write
 *   sync     of the data file
 *   index    kv transactions of bounded size; the last one moves the journal's start to the cut
 *   commit   of each of them, while requests go on
 *   finish   written overlay pages are dropped, replaced space is given back
 *
 * What index writes may be newer than the cut: replay from the cut ends in the same state (apply.c).
 * A block's record and page tables go into one transaction, with the allocator bits they imply. */
#include "core-server/store/state.h"

#include <stdlib.h>

#include "common/base/trace.h"

#define WRITES_MAX 16
#define RUN_PAGES_MAX 64
#define TABLES_PER_COMMIT 512

struct item {
	struct blk *blk;
	uint32_t page;
	uint32_t loc;
	uint8_t *mem;
	struct jbuf *buf;
};

enum phase { PHASE_READERS, PHASE_WRITE, PHASE_SYNC, PHASE_INDEX, PHASE_COMMIT };

struct home_write {
	struct checkpoint *checkpoint;
	struct disk_req io;
	struct iobuf *bounce;
	bool busy;
};

struct checkpoint {
	struct store *store;
	enum phase phase;
	uint64_t guard_seq;
	struct item *items;
	size_t items_n, items_max, next;
	unsigned writing;
	struct home_write writes[WRITES_MAX];
	struct disk_req sync;
	bool wrote;
	bool syncing;
	struct blk *blk;           /* next to index */
	struct file *file;
	bool indexed;              /* the transaction under way is the last one */
};

/* Without anything to move it would only spin. */
bool checkpoint_useful(const struct store *s)
{
	return s->dirty_blks || s->dirty_files || s->journal.used;
}

/* What is deleted on a full disk is wanted. */
nsec_t checkpoint_interval(const struct store *s)
{
	return (s->space.refused ? 1 : 30) * NSEC_SEC;
}

bool checkpoint_due(const struct store *s, nsec_t now)
{
	if (!checkpoint_useful(s))
		return false;
	if (s->overlay_bytes + s->dirty_bytes > s->config.cache_bytes / 2)
		return true;
	if (s->journal.used > (s->journal.bytes - JOURNAL_FIRST) / 2)
		return true;
	return s->dirty_since && now - s->dirty_since >= checkpoint_interval(s);
}

static void add_items(struct checkpoint *c, struct blk *b, unsigned leaf)
{
	struct leaf *l = b->leaves[leaf];
	uint64_t mask = l && l->overlay ? l->overlay->mask : 0;

	for (; mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask);

		if (c->items_n == c->items_max) {
			c->items_max = c->items_max ? c->items_max * 2 : 256;
			c->items = mem_resize(c->items, c->items_max, sizeof(*c->items));
		}
		l->overlay->buf[i]->refs++;
		c->items[c->items_n++] = (struct item){
			.blk = b,
			.page = leaf * LEAF_PAGES + i,
			.loc = l->loc[i],
			.mem = l->overlay->page[i],
			.buf = l->overlay->buf[i],
		};
	}
}

static struct leaf *item_leaf(const struct item *it)
{
	return it->blk->leaves[it->page / LEAF_PAGES];
}

/* Gives places to the items of one block, [from, items_n). */
static void find_places(struct checkpoint *c, size_t from)
{
	size_t i = from;

	while (i < c->items_n) {
		uint32_t want = 1, loc, got;

		if (c->items[i].loc != LOC_NONE) {
			i++;
			continue;
		}
		while (i + want < c->items_n && c->items[i + want].loc == LOC_NONE)
			want++;
		got = space_alloc(c->store, want, &loc);
		if (!got) {
			store_fail(c->store, -ENOSPC,
			           "the data file cannot grow to hold what was promised: the file system "
			           "beneath is full; free space there and restart");
			return;
		}
		for (; got; got--, i++) {
			c->items[i].loc = loc++;
			item_leaf(&c->items[i])->loc[c->items[i].page % LEAF_PAGES] = c->items[i].loc;
		}
	}
}

static int by_loc(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->loc < y->loc ? -1 : x->loc > y->loc;
}

static void cut(struct checkpoint *c)
{
	struct store *s = c->store;
	struct journal *j = &s->journal;
	struct blk *b;
	struct file *f;

	j->cut_seq = j->seq;
	j->cut_head = j->head;
	j->cut_used = j->used;
	s->dirty_since = 0;
	space_cut(s);
	while ((f = s->dirty_files) != NULL) {
		DL_DELETE2(s->dirty_files, f, dprev, dnext);
		DL_APPEND2(s->cut_files, f, cprev, cnext);
		f->dirty = false;
		f->cut = true;
	}
	while ((b = s->dirty_blks) != NULL) {
		size_t from = c->items_n;

		DL_DELETE2(s->dirty_blks, b, dprev, dnext);
		DL_APPEND2(s->cut_blks, b, cprev, cnext);
		b->dirty = false;
		b->cut = true;
		b->cut_leaves = b->dirty_leaves;
		b->dirty_leaves = 0;
		for (unsigned i = 0; i < b->leaves_n; i++)
			if (b->cut_leaves >> i & 1)
				add_items(c, b, i);
		find_places(c, from);
	}
	if (c->items_n)
		qsort(c->items, c->items_n, sizeof(*c->items), by_loc);
	c->guard_seq = s->read_seq;
	c->blk = s->cut_blks;
	c->file = s->cut_files;
	TRACE("store.checkpoint.cut seq pages", j->cut_seq, c->items_n, 0, 0);
}

/* --- home writes --- */
static void on_home_written(struct disk_req *io)
{
	struct home_write *w = container_of(io, struct home_write, io);
	struct checkpoint *c = w->checkpoint;
	struct store *s = c->store;

	iobuf_put(w->bounce);
	w->bounce = NULL;
	w->busy = false;
	c->writing--;
	if (io->result < 0)
		store_fail(s, io->result, "writing %" PRIu64 " bytes at %" PRIu64
		           " of the data file failed: %s; replace the disk", io->len, io->off,
		           err_text(io->result));
	checkpoint_step(s);
}

static void write_home(struct checkpoint *c, struct home_write *w)
{
	struct store *s = c->store;
	const struct item *it = &c->items[c->next];
	size_t n = 1;
	uint8_t *mem = it->mem;

	while (n < RUN_PAGES_MAX && c->next + n < c->items_n && it[n].loc == it->loc + n)
		n++;
	if (n > 1) {
		w->bounce = iobuf_new_reserve((uint32_t)n * PAGE_BYTES);
		mem = w->bounce->data;
		for (size_t i = 0; i < n; i++)
			memcpy(mem + i * PAGE_BYTES, it[i].mem, PAGE_BYTES);
	}
	w->checkpoint = c;
	w->busy = true;
	c->writing++;
	c->wrote = true;
	c->next += n;
	store_io(s, &w->io, DISK_WRITE, s->data, (uint64_t)it->loc * PAGE_BYTES, mem, n * PAGE_BYTES,
	         on_home_written);
}

static void on_home_synced(struct disk_req *io)
{
	struct store *s = io->owner;
	struct checkpoint *c = s->checkpoint;

	c->syncing = false;
	if (io->result < 0 && s->config.bugs & STORE_BUG_SYNC_RETRIED) {
		c->syncing = true;
		store_io(s, io, DISK_SYNC, s->data, 0, NULL, 0, on_home_synced);
		return;
	}
	if (io->result < 0)
		store_fail(s, io->result, "a sync of the data file failed: %s; what it covered may be "
		           "lost, so this disk is out of service: replace it and format anew",
		           err_text(io->result));
	else
		c->phase = PHASE_INDEX;
	checkpoint_step(s);
}

/* --- index --- */

static uint32_t place_at(const struct leaf *l, unsigned p)
{
	return l->present >> p & 1 && loc_real(l->loc[p]) ? l->loc[p] : LOC_NONE;
}

/* The pages of the old table that the new one (NULL: none) has no more go back with this checkpoint. */
static int replace_table(struct store *s, const struct block_key *k, unsigned i, const struct leaf *new)
{
	struct leaf old;
	int rc;

	memset(&old, 0, sizeof(old));
	memset(old.loc, 0xff, sizeof(old.loc));
	rc = format_get_leaf(s->kv, k, i, &old);
	if (rc < 0 && rc != -ENOENT && rc != ERR_CORRUPT)
		return rc;
	for (unsigned p = 0; p < LEAF_PAGES; p++) {
		uint32_t was = rc == 0 ? place_at(&old, p) : LOC_NONE;
		uint32_t is = new ? place_at(new, p) : LOC_NONE;

		if (was == is)
			continue;
		if (was != LOC_NONE) {
			space_commit(s, was, false);
			space_give_back(s, was, 1);
		}
		if (is != LOC_NONE)
			space_commit(s, is, true);
	}
	return new ? format_put_leaf(s->kv, k, i, new) : format_del_leaf(s->kv, k, i);
}

/* Removes what the kv has of a deleted file, some of it. 1: more is left. */
static int remove_file(struct store *s, struct file *f, unsigned *budget)
{
	struct block_key k;
	unsigned i;
	int rc = 0;

	while (*budget && format_next_leaf(s->kv, f->id, &k, &i)) {
		(*budget)--;
		rc = replace_table(s, &k, i, NULL);
		if (rc < 0)
			return rc;
	}
	k.file = f->id;
	while (*budget && format_next_blk(s->kv, f->id, 0, &k.block)) {
		(*budget)--;
		rc = format_del_blk(s->kv, &k);
		if (rc < 0)
			return rc;
	}
	if (!*budget)
		return 1;
	f->kv_dead = false;
	return format_del_file(s->kv, f->id);
}

static unsigned unplaced(const struct leaf *l)
{
	unsigned n = 0;

	for (unsigned p = 0; p < LEAF_PAGES; p++)
		n += (l->present >> p & 1) && l->loc[p] == LOC_NONE;
	return n;
}

/* All page tables that differ from the kv's, those dirtied after the cut too, so that the record's
 * number of pages is that of the tables. */
static int put_blk(struct store *s, struct blk *b, unsigned *budget)
{
	struct blk rec = *b;
	int rc;

	if (!b->exists || b->file->kv_dead)
		return 0;
	for (unsigned i = 0; i < b->leaves_n; i++) {
		if (!((b->dirty_leaves | b->cut_leaves) >> i & 1))
			continue;
		rec.pages -= unplaced(b->leaves[i]);
		*budget -= *budget > 1;
		rc = replace_table(s, &b->key, i, b->leaves[i]);
		if (rc < 0)
			return rc;
	}
	rc = format_put_blk(s->kv, &rec);
	b->in_kv = true;
	index_fresh_del(b->file->fresh, &b->file->fresh_n, b->key.block);
	return rc;
}

static int put_file(struct store *s, struct file *f)
{
	if (f->kv_dead)
		return 0;
	if (!f->exists)
		return format_del_file(s->kv, f->id);
	f->in_kv = true;
	index_fresh_del(s->fresh_files, &s->fresh_n, f->id);
	return format_put_file(s->kv, f->id, &f->rec);
}

static int put_position(struct store *s)
{
	struct superblock sb;
	int rc = format_get_super(s->kv, &sb);

	if (rc < 0)
		return rc;
	sb.seq = s->journal.cut_seq;
	sb.head = s->journal.cut_head;
	sb.data_bytes = s->space.pages * PAGE_BYTES;
	return format_put_super(s->kv, &sb);
}

static int index_some(struct checkpoint *c, bool *done)
{
	struct store *s = c->store;
	unsigned budget = TABLES_PER_COMMIT;
	struct file *f;
	int rc = 0;

	DL_FOREACH2(s->cut_files, f, cnext)
	{
		if (!f->kv_dead || f->cut_removed)
			continue;
		rc = remove_file(s, f, &budget);
		if (rc)
			return rc < 0 ? rc : 0;
		f->cut_removed = true;
	}
	for (; c->blk && budget > 1 && !rc; c->blk = c->blk->cnext)
		rc = put_blk(s, c->blk, &budget);
	for (; !rc && !c->blk && c->file && budget > 1; c->file = c->file->cnext, budget--)
		rc = put_file(s, c->file);
	*done = !rc && !c->blk && !c->file;
	return rc;
}

static void index_failed(struct store *s, int rc)
{
	store_fail(s, rc, "writing the index failed: %s; see the file system of the index", err_text(rc));
}

/* The next step follows when the loop has come round. */
static void on_index_committed(void *ctx, int rc)
{
	struct store *s = ctx;

	s->checkpoint->phase = PHASE_INDEX;
	if (rc < 0)
		index_failed(s, rc);
	store_kick(s);
}

/* One transaction. */
static void index_step(struct checkpoint *c)
{
	struct store *s = c->store;
	int rc = kv_begin(s->kv);

	if (rc < 0) {
		index_failed(s, rc);
		return;
	}
	rc = index_some(c, &c->indexed);
	if (!rc)
		rc = space_save(s);
	if (!rc && c->indexed)
		rc = put_position(s);
	if (rc < 0) {
		kv_abort(s->kv);
		index_failed(s, rc);
		return;
	}
	c->phase = PHASE_COMMIT;
	kv_commit_start(s->kv, on_index_committed, s);
	if (s->config.bugs & STORE_BUG_EARLY_CUT && c->indexed) {
		kv_commit_forget(s->kv);
		c->phase = PHASE_INDEX;
		store_kick(s);
	}
}

/* --- finish --- */
static void drop_written(struct item *it)
{
	struct leaf *l = item_leaf(it);
	unsigned i = it->page % LEAF_PAGES;

	if (l && l->overlay && l->overlay->buf[i] == it->buf && l->overlay->page[i] == it->mem &&
	    l->loc[i] == it->loc) {
		jbuf_put(it->buf);
		l->overlay->buf[i] = NULL;
		l->overlay->mask &= ~(1ull << i);
		if (!l->overlay->mask) {
			mem_free(l->overlay);
			l->overlay = NULL;
		}
	}
}

static void drop_cut_lists(struct store *s)
{
	struct blk *b;
	struct file *f;

	while ((b = s->cut_blks) != NULL) {
		DL_DELETE2(s->cut_blks, b, cprev, cnext);
		s->dirty_bytes -= (uint64_t)__builtin_popcountll(b->cut_leaves & ~b->dirty_leaves) *
		                  index_leaf_cost();
		b->cut = false;
		b->cut_leaves = 0;
	}
	while ((f = s->cut_files) != NULL) {
		DL_DELETE2(s->cut_files, f, cprev, cnext);
		f->cut = f->cut_removed = false;
	}
}

void checkpoint_free(struct store *s)
{
	struct checkpoint *c = s->checkpoint;

	if (!c)
		return;
	kv_commit_forget(s->kv);
	for (size_t i = 0; i < c->items_n; i++)
		jbuf_put(c->items[i].buf);
	for (unsigned i = 0; i < WRITES_MAX; i++)
		iobuf_put(c->writes[i].bounce);
	mem_free(c->items);
	mem_free(c);
	s->checkpoint = NULL;
}

static void on_waiter(struct later *l)
{
	struct waiter *w = container_of(l, struct waiter, later);
	struct waiter copy = *w;

	DL_DELETE(w->store->waiters, w);
	mem_free(w);
	copy.done(copy.ctx, copy.rc);
}

static void answer_waiters(struct store *s)
{
	struct waiter *w, *t;

	DL_FOREACH_SAFE(s->waiters, w, t)
	{
		if (w->answered || (!s->failed && w->seq > s->journal.cut_seq))
			continue;
		w->answered = true;
		w->rc = s->failed;
		w->later.fn = on_waiter;
		store_later(s, &w->later);
	}
}

static bool waiting(const struct store *s)
{
	const struct waiter *w;

	DL_FOREACH(s->waiters, w)
		if (!w->answered)
			return true;
	return false;
}

static void finish(struct checkpoint *c)
{
	struct store *s = c->store;
	struct journal *j = &s->journal;

	for (size_t i = 0; i < c->items_n; i++)
		drop_written(&c->items[i]);
	drop_cut_lists(s);
	checkpoint_free(s);
	j->tail = j->cut_head;
	j->used -= j->cut_used;
	space_cut_done(s);
	s->checkpoints++;
	answer_waiters(s);
	if (waiting(s) || checkpoint_due(s, s->config.now(s->config.ctx)))
		checkpoint_want(s);
	submit_retry_space(s);
	submit_pump(s);
	store_kick(s);
}

void checkpoint_step(struct store *s)
{
	struct checkpoint *c = s->checkpoint;

	if (s->failed) {
		answer_waiters(s);
		return; /* what is in flight still refers to it; store_close() frees it */
	}
	if (!c)
		return;
	if (c->phase == PHASE_READERS && guard_clear(s, c->guard_seq))
		c->phase = PHASE_WRITE;
	if (c->phase == PHASE_WRITE) {
		for (unsigned i = 0; i < WRITES_MAX && c->next < c->items_n; i++)
			if (!c->writes[i].busy)
				write_home(c, &c->writes[i]);
		if (c->next == c->items_n && !c->writing)
			c->phase = c->wrote ? PHASE_SYNC : PHASE_INDEX;
	}
	if (c->phase == PHASE_SYNC && !c->syncing) {
		c->syncing = true;
		store_io(s, &c->sync, DISK_SYNC, s->data, 0, NULL, 0, on_home_synced);
	}
	if (c->phase != PHASE_INDEX)
		return;
	if (c->indexed)
		finish(c);
	else if (!kv_committing(s->kv)) /* only STORE_BUG_EARLY_CUT leaves one behind */
		index_step(c);
}

void checkpoint_want(struct store *s)
{
	if (s->checkpoint || s->failed || !s->serving)
		return;
	s->checkpoint = mem_new(sizeof(*s->checkpoint));
	s->checkpoint->store = s;
	cut(s->checkpoint);
	store_kick(s);
}

void store_checkpoint(struct store *s, void (*done)(void *ctx, int rc), void *ctx)
{
	struct waiter *w = mem_new(sizeof(*w));

	*w = (struct waiter){.store = s, .done = done, .ctx = ctx, .seq = s->journal.seq};
	DL_APPEND(s->waiters, w);
	checkpoint_want(s);
	store_kick(s);
}
