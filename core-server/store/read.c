/* Reads of durable state, and the scrubber.
 *
 * A read takes the block's page table as it is now: version, sums, places. Pages in the overlay are
 * copied at once; the others are read from the data file, whose pages do not change while the read
 * guard is held. Every page is verified. */
#include "core-server/store/state.h"

#include "common/wire/msg.h"

struct piece {
	struct reading *reading;
	struct disk_req io;
};

struct reading {
	struct store *store;
	struct store_read *r;
	struct read_guard guard;
	unsigned left;
	unsigned pieces_n;
	struct piece *pieces;
	struct later later;
	bool guarded;
	uint32_t *pages;           /* page numbers of the present ones */
	struct reading *prev, *next;
};

void guard_begin(struct store *s, struct read_guard *g)
{
	g->seq = s->read_seq++;
	DL_APPEND(s->reads, g);
}

void guard_end(struct store *s, struct read_guard *g)
{
	DL_DELETE(s->reads, g);
	space_release(s);
	if (s->checkpoint || s->no_space)
		store_kick(s);
}

bool guard_clear(const struct store *s, uint64_t seq)
{
	return !s->reads || s->reads->seq >= seq;
}

static void verify(struct reading *rd)
{
	struct store_read *r = rd->r;

	if (rd->store->config.bugs & STORE_BUG_READ_BLIND)
		return;
	for (uint32_t k = 0; k < r->present_pages && !r->sums_only; k++) {
		const uint8_t *p = slice_data(r->data) + (size_t)k * PAGE_BYTES;

		if (page_sum(r->file, r->block, rd->pages[k], p) == r->sums[k])
			continue;
		r->result = ERR_CORRUPT;
		r->bad_page = rd->pages[k];
		return;
	}
}

static void end_read(struct reading *rd)
{
	struct store *s = rd->store;
	struct store_read *r = rd->r;

	if (rd->guarded)
		guard_end(s, &rd->guard);
	if (!r->result)
		verify(rd);
	if (r->result) {
		iobuf_put(r->data.buf);
		r->data = (struct slice){0};
		mem_free(r->sums);
		r->sums = NULL;
		r->present_pages = 0;
	}
	DL_DELETE(s->readings, rd);
	mem_free(rd->pages);
	mem_free(rd->pieces);
	mem_free(rd);
	r->done(r);
}

static void on_read_later(struct later *l)
{
	end_read(container_of(l, struct reading, later));
}

static void on_piece(struct disk_req *io)
{
	struct reading *rd = container_of(io, struct piece, io)->reading;

	if (io->result < 0 && !rd->r->result) {
		rd->r->result = io->result;
		rd->r->bad_page = rd->pages[0];
	}
	if (--rd->left == 0)
		end_read(rd);
}

/* One present page: from memory, or appended to a piece to read. */
static void add_page(struct reading *rd, const struct leaf *l, unsigned i, uint32_t k)
{
	struct store_read *r = rd->r;
	uint8_t *to = r->data.buf->data + (size_t)k * PAGE_BYTES;
	uint64_t off = (uint64_t)l->loc[i] * PAGE_BYTES;
	struct piece *last = rd->pieces_n ? &rd->pieces[rd->pieces_n - 1] : NULL;

	if (l->overlay && l->overlay->buf[i]) {
		memcpy(to, l->overlay->page[i], PAGE_BYTES);
		return;
	}
	if (last && last->io.off + last->io.len == off &&
	    (uint8_t *)last->io.iov[0].p + last->io.len == to) {
		last->io.len += PAGE_BYTES;
		last->io.iov[0].len += PAGE_BYTES;
		return;
	}
	rd->pieces[rd->pieces_n++] = (struct piece){
		.reading = rd,
		.io = {.op = DISK_READ, .file = rd->store->data, .off = off, .len = PAGE_BYTES,
		       .iov = {{to, PAGE_BYTES}}, .iovs = 1, .done = on_piece},
	};
}

/* Pages present in the range, from the page tables. */
static uint32_t count_present(struct store *s, struct blk *b, struct store_read *r, uint32_t *pages,
                              uint64_t *sums)
{
	uint32_t first = r->off / PAGE_BYTES, n = 0;

	for (uint32_t p = first; p < first + r->len / PAGE_BYTES; p++) {
		struct leaf *l = index_leaf(s, b, p / LEAF_PAGES, false);
		unsigned i = p % LEAF_PAGES;

		if (!l) {
			p |= LEAF_PAGES - 1;
			continue;
		}
		if (!(l->present >> i & 1))
			continue;
		r->present[(p - first) / 8] |= (uint8_t)(1u << ((p - first) % 8));
		pages[n] = p;
		sums[n++] = l->sum[i];
	}
	return n;
}

static bool page_lost(const struct blk *b, uint32_t page)
{
	return b->leaves[page / LEAF_PAGES]->loc[page % LEAF_PAGES] == LOC_LOST;
}

static int begin_read(struct reading *rd)
{
	struct store *s = rd->store;
	struct store_read *r = rd->r;
	struct blk *b;
	uint32_t bytes;

	if (s->failed)
		return s->failed;
	if (!s->serving)
		return -EAGAIN;
	if (r->block_shift < BLOCK_SHIFT_MIN || r->block_shift > BLOCK_SHIFT_MAX)
		return -EINVAL;
	bytes = r->block == BLOCK_ATTR ? PAGE_BYTES : 1u << r->block_shift;
	if (r->off % PAGE_BYTES || r->len % PAGE_BYTES || r->off > bytes || r->len > bytes - r->off)
		return -EINVAL;
	(void)store_get_block(s, r->file, r->block, &r->at);
	b = index_blk(s, r->file, r->block);
	if (b->shift && b->shift != r->block_shift)
		return -EINVAL;
	rd->pages = mem_new_array(r->len / PAGE_BYTES + 1, sizeof(*rd->pages));
	r->sums = mem_new_array(r->len / PAGE_BYTES + 1, sizeof(*r->sums));
	r->bad_page = r->off / PAGE_BYTES;
	r->present_pages = count_present(s, b, r, rd->pages, r->sums);
	if (b->damaged)
		return ERR_CORRUPT;
	if (r->sums_only || !r->present_pages)
		return 0;
	for (uint32_t k = 0; k < r->present_pages; k++)
		if (page_lost(b, rd->pages[k])) {
			r->bad_page = rd->pages[k];
			return ERR_CORRUPT;
		}
	r->data.buf = iobuf_new(r->present_pages * PAGE_BYTES);
	if (!r->data.buf)
		return -EAGAIN;
	r->data.len = r->present_pages * PAGE_BYTES;
	rd->pieces = mem_new_array(r->present_pages, sizeof(*rd->pieces));
	for (uint32_t k = 0; k < r->present_pages; k++)
		add_page(rd, b->leaves[rd->pages[k] / LEAF_PAGES], rd->pages[k] % LEAF_PAGES, k);
	return 0;
}

void store_read(struct store *s, struct store_read *r)
{
	struct reading *rd = mem_new(sizeof(*rd));

	rd->store = s;
	rd->r = r;
	r->data = (struct slice){0};
	r->sums = NULL;
	r->present_pages = 0;
	r->bad_page = 0;
	r->at = (struct store_block){0};
	memset(r->present, 0, sizeof(r->present));
	DL_APPEND(s->readings, rd);
	r->result = begin_read(rd);
	if (r->result || !rd->pieces_n) {
		rd->later.fn = on_read_later;
		store_later(s, &rd->later);
		return;
	}
	rd->guarded = true;
	guard_begin(s, &rd->guard);
	rd->left = rd->pieces_n;
	for (unsigned i = 0, n = rd->pieces_n; i < n; i++)
		disk_submit(s->disk, &rd->pieces[i].io);
}

/* At close: nobody is called any more. */
void read_free(struct store *s)
{
	struct reading *rd;

	while ((rd = s->readings) != NULL) {
		DL_DELETE(s->readings, rd);
		/* Whoever owns the request frees what is in it, too. */
		iobuf_put(rd->r->data.buf);
		rd->r->data = (struct slice){0};
		mem_free(rd->r->sums);
		rd->r->sums = NULL;
		mem_free(rd->pages);
		mem_free(rd->pieces);
		mem_free(rd);
	}
	mem_free(s->scrub);
}

/* --- scrub --- */
struct scrub {
	struct store *store;
	file_id_t file;            /* cursor: the last block looked at */
	uint64_t block;
	bool started;              /* `block` is valid */
	bool busy;
	struct store_read read;
	void (*done)(void *ctx, int rc, file_id_t file, uint64_t block, uint32_t bad_page);
	void *ctx;
	struct later later;
};

static void on_scrub_end(struct later *l)
{
	struct scrub *sc = container_of(l, struct scrub, later);

	sc->busy = false;
	sc->file = 0;
	sc->started = false;
	sc->done(sc->ctx, -ENOENT, 0, 0, 0);
}

static void on_scrub_read(struct store_read *r)
{
	struct scrub *sc = container_of(r, struct scrub, read);
	int rc = r->result;

	iobuf_put(r->data.buf);
	mem_free(r->sums);
	r->data = (struct slice){0};
	r->sums = NULL;
	sc->busy = false;
	sc->done(sc->ctx, rc, r->file, r->block, r->bad_page);
}

static bool scrub_advance(struct scrub *sc)
{
	struct store *s = sc->store;
	struct store_block at;
	uint64_t from = sc->started ? sc->block + 1 : 0;

	if (!sc->file || (sc->started && sc->block == BLOCK_ATTR)) {
		sc->file = store_next_file(s, sc->file);
		from = 0;
	}
	while (sc->file) {
		if (store_next_block(s, sc->file, from, &sc->block, &at)) {
			sc->started = true;
			return true;
		}
		sc->file = store_next_file(s, sc->file);
		from = 0;
	}
	return false;
}

void store_scrub_next(struct store *s,
                      void (*done)(void *ctx, int rc, file_id_t file, uint64_t block, uint32_t bad_page),
                      void *ctx)
{
	struct scrub *sc = s->scrub;
	struct blk *b;

	if (!sc) {
		sc = s->scrub = mem_new(sizeof(*sc));
		sc->store = s;
	}
	CHECK(!sc->busy);
	sc->busy = true;
	sc->done = done;
	sc->ctx = ctx;
	if (!scrub_advance(sc)) {
		sc->later.fn = on_scrub_end;
		store_later(s, &sc->later);
		return;
	}
	b = index_blk(s, sc->file, sc->block);
	sc->read.file = sc->file;
	sc->read.block = sc->block;
	sc->read.block_shift = b->shift ? b->shift : BLOCK_SHIFT_DEFAULT;
	sc->read.off = 0;
	sc->read.len = b->shift ? blk_pages(b) * PAGE_BYTES : 0;
	sc->read.sums_only = false;
	sc->read.done = on_scrub_read;
	store_read(s, &sc->read);
}
