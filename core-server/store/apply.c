/* A durable change becomes the state that reads see; at replay, the same from the journal. Changes
 * are absolute (whole pages, versions, records), so applying one again, on top of a newer state in
 * the kv, and then all that follow it, ends in the same state: checkpoints need no quiet moment. */
#include "core-server/store/state.h"

#include "common/base/trace.h"

static void drop_overlay(struct store *s, struct leaf *l, unsigned i)
{
	if (!l->overlay || !l->overlay->buf[i])
		return;
	jbuf_put(l->overlay->buf[i]);
	l->overlay->buf[i] = NULL;
	l->overlay->mask &= ~(1ull << i);
	if (l->loc[i] == LOC_NONE)
		s->space.reserved--;
}

static void set_overlay(struct store *s, struct leaf *l, unsigned i, struct jbuf *buf, uint8_t *page)
{
	drop_overlay(s, l, i);
	if (!l->overlay)
		l->overlay = mem_new(sizeof(*l->overlay));
	buf->refs++;
	l->overlay->buf[i] = buf;
	l->overlay->page[i] = page;
	l->overlay->mask |= 1ull << i;
	if (l->loc[i] == LOC_NONE)
		s->space.reserved++;
}

static void set_loc(struct store *s, struct leaf *l, unsigned i, uint32_t loc)
{
	if (loc_real(l->loc[i]) && l->loc[i] != loc)
		space_supersede(s, l->loc[i]);
	l->loc[i] = loc;
}

static uint32_t new_loc(const struct run *run, uint32_t n)
{
	if (run->kind == RUN_EXTENT)
		return run->loc + n;
	return run->kind == RUN_LOST ? LOC_LOST : LOC_NONE;
}

static void apply_runs(struct store *s, struct blk *b, const struct change *c, struct jbuf *buf,
                       uint8_t *pages)
{
	unsigned k = 0;

	for (unsigned r = 0; r < c->runs_n; r++) {
		const struct run *run = &c->runs[r];

		for (uint32_t n = 0; n < run->pages; n++) {
			uint32_t page = run->first + n;
			struct leaf *l = index_leaf(s, b, page / LEAF_PAGES, true);
			unsigned i = page % LEAF_PAGES;

			if (!l)
				return; /* its table is damaged, so is the block now */
			b->pages -= (uint32_t)(l->present >> i & 1);
			l->present &= ~(1ull << i);
			if (run->kind == RUN_JOURNAL) {
				if (l->loc[i] == LOC_LOST)
					l->loc[i] = LOC_NONE;
				set_overlay(s, l, i, buf, pages);
				pages += PAGE_BYTES;
			} else {
				drop_overlay(s, l, i);
				set_loc(s, l, i, new_loc(run, n));
			}
			if (run->kind != RUN_ZERO) {
				l->present |= 1ull << i;
				l->sum[i] = c->sums[k++];
				b->pages++;
			}
			index_dirty(s, b, page / LEAF_PAGES);
		}
	}
}

static void end_exception(struct store *s, struct file *f, uint64_t block)
{
	struct store_file *r = &f->rec;
	unsigned i = 0;

	while (i < r->exceptions && r->exception[i] != block)
		i++;
	if (i == r->exceptions)
		return;
	memmove(r->exception + i, r->exception + i + 1, (r->exceptions - i - 1) * 8);
	r->exceptions--;
	index_dirty_file(s, f);
}

static void raise_file(struct store *s, struct file *f, const struct change *c)
{
	bool new = !f->exists;

	f->exists = true;
	if (!new && c->seal <= f->rec.seal && (f->rec.map || !c->map))
		return;
	f->rec.seal = MAX(f->rec.seal, c->seal);
	if (!f->rec.map)
		f->rec.map = c->map;
	index_dirty_file(s, f);
}

static void apply_block(struct store *s, const struct change *c, struct jbuf *buf, uint8_t *pages)
{
	struct blk *b = index_blk(s, c->file, c->block);

	b->refs++;
	raise_file(s, b->file, c);
	if (c->shift)
		index_set_shift(s, b, c->shift);
	if (c->repairs && b->damaged) {
		b->damaged = false;
		for (unsigned i = 0; i < b->leaves_n; i++)
			(void)index_leaf_new(s, b, i);
	}
	if (!b->damaged) {
		b->exists = true;
		apply_runs(s, b, c, buf, pages);
	}
	if (!b->damaged) {
		b->version = c->version;
		if (c->op == STORE_INSTALL)
			b->closed = c->closed;
	}
	if (c->op == STORE_INSTALL)
		end_exception(s, b->file, c->block);
	index_dirty_head(s, b);
	b->refs--;
}

static void apply_file(struct store *s, const struct change *c)
{
	struct file *f = index_file(s, c->file);
	/* Never goes back; a record lost to damage stands at UINT64_MAX until it is replaced. */
	uint64_t seal = MAX(f->exists && f->rec.seal != UINT64_MAX ? f->rec.seal : 0, c->record.seal);
	bool damaged = f->exists && f->rec.damaged && !c->record.complete;

	mem_free(f->rec.exception);
	f->rec = c->record;
	f->rec.exception = mem_dup(c->record.exception, (size_t)c->record.exceptions * 8);
	f->rec.seal = seal;
	f->rec.damaged = damaged;
	f->exists = true;
	index_dirty_file(s, f);
}

static void apply_delete(struct store *s, file_id_t file)
{
	struct file *f = index_file(s, file);

	index_forget_blocks(s, f);
	mem_free(f->rec.exception);
	f->rec = (struct store_file){0};
	if (!f->in_kv)
		index_fresh_del(s->fresh_files, &s->fresh_n, f->id);
	f->exists = f->in_kv = false;
	f->kv_dead = true;
	index_dirty_file(s, f);
}

void apply_change(struct store *s, const struct change *c, struct jbuf *buf, uint8_t *pages)
{
	switch (c->op) {
	case STORE_WRITE:
	case STORE_INSTALL:
		apply_block(s, c, buf, pages);
		break;
	case STORE_FILE:
		apply_file(s, c);
		break;
	case STORE_DELETE:
		apply_delete(s, c->file);
		break;
	}
	if (!s->dirty_since)
		s->dirty_since = s->config.now(s->config.ctx);
}

/* An acknowledged FILE is lost: its seal cannot be lower than what the footprint says, and what the
 * file's blocks are worth (closed, exceptions, complete) is not known any more. */
static void damage_file(struct store *s, const struct footprint *fp)
{
	struct file *f = index_file(s, fp->file);

	mem_free(f->rec.exception);
	f->rec = (struct store_file){
		.seal = MAX(f->exists ? f->rec.seal : 0, fp->seal), .map = f->rec.map, .damaged = true};
	f->exists = true;
	index_dirty_file(s, f);
	s->damaged++;
}

void apply_damage(struct store *s, const struct footprint *fp)
{
	struct file *f = index_file(s, fp->file);

	TRACE("store.damaged.record op file block", fp->op, fp->file, fp->block, 0);
	switch (fp->op) {
	case STORE_WRITE:
	case STORE_INSTALL:
		f->rec.seal = MAX(f->rec.seal, fp->seal);
		f->rec.complete = false;
		f->exists = true;
		index_dirty_file(s, f);
		index_damage(s, index_blk(s, fp->file, fp->block));
		break;
	case STORE_FILE:
		damage_file(s, fp);
		break;
	case STORE_DELETE:
		apply_delete(s, fp->file); /* all there was to know */
		break;
	}
}
