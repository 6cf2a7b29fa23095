/* Between admission and the journal: the change is brought to whole pages with checksums.
 *
 * A write that covers a page in part needs the old page, verified first (a fresh checksum over a
 * rotten page would hide the rot, trap B2), as of the newest change before it. Large data goes to
 * newly allocated space at once, in parallel with everything before the commit. */
#include "core-server/store/state.h"

#include "common/wire/msg.h"

static struct run *add_run(struct change *c, enum run_kind kind, uint32_t first, uint32_t pages,
                           uint32_t loc)
{
	c->runs = mem_resize(c->runs, c->runs_n + 1, sizeof(*c->runs));
	c->runs[c->runs_n] = (struct run){(uint16_t)first, (uint16_t)pages, kind, loc};
	return &c->runs[c->runs_n++];
}

static bool get_bit(struct span s, uint32_t i)
{
	return i / 8 < s.len && s.p[i / 8] >> (i % 8) & 1;
}

static uint32_t op_block_pages(const struct op *op)
{
	return op->c.block == BLOCK_ATTR ? 1 : 1u << (op->c.shift - PAGE_SHIFT);
}

/* INSTALL: runs from the bit maps. */
static void shape_install(struct op *op)
{
	const struct store_req *r = op->req;
	struct change *c = &op->c;
	uint32_t pages = op_block_pages(op), touched = 0;
	struct run *last = NULL;

	for (uint32_t p = 0; p < pages; p++) {
		bool set = get_bit(r->set, p), zero = !set && get_bit(r->zeroed, p);
		enum run_kind kind = !set ? RUN_ZERO : get_bit(r->lost, p) ? RUN_LOST : RUN_JOURNAL;

		if (!set && !zero)
			continue;
		touched++;
		c->data_pages += set;
		if (last && last->kind == kind && last->first + last->pages == p)
			last->pages++;
		else
			last = add_run(c, kind, p, 1, 0);
	}
	c->repairs = touched == pages;
}

/* WRITE: at most a partial page, whole pages, a partial page. */
static void shape_write(struct op *op)
{
	const struct store_req *r = op->req;
	struct change *c = &op->c;
	uint32_t first = r->off / PAGE_BYTES, end = (uint32_t)DIV_UP(r->off + r->len, PAGE_BYTES);
	bool head = r->off % PAGE_BYTES != 0, tail = (r->off + r->len) % PAGE_BYTES != 0;

	if (head || tail)
		op->scratch = iobuf_new_reserve(2 * PAGE_BYTES);
	if (head || (tail && end == first + 1))
		op->old[op->old_n++].page = first;
	if (tail && end > first + 1)
		op->old[op->old_n++].page = end - 1;
	for (unsigned i = 0; i < op->old_n; i++)
		op->old[i].mem = op->scratch->data + i * PAGE_BYTES;
	if (!r->zero) {
		add_run(c, RUN_JOURNAL, first, end - first, 0);
		c->data_pages = end - first;
		return;
	}
	for (uint32_t p = first; p < end; p++) {
		bool part = (op->old_n && op->old[0].page == p) || (op->old_n == 2 && op->old[1].page == p);
		enum run_kind kind = part ? RUN_JOURNAL : RUN_ZERO;
		struct run *last = c->runs_n ? &c->runs[c->runs_n - 1] : NULL;

		c->data_pages += part;
		if (last && last->kind == kind)
			last->pages++;
		else
			add_run(c, kind, p, 1, 0);
	}
}

static uint8_t *old_mem(struct op *op, uint32_t page)
{
	for (unsigned i = 0; i < op->old_n; i++)
		if (op->old[i].page == page)
			return op->old[i].mem;
	return NULL;
}

/* Where each data page will come from, and the sums given with whole pages. */
static void find_sources(struct op *op)
{
	const struct store_req *r = op->req;
	struct change *c = &op->c;
	const uint8_t *data = r->data.buf ? slice_data(r->data) : NULL;
	unsigned k = 0, given = 0;

	op->src = mem_new_array(c->data_pages, sizeof(*op->src));
	c->sums = mem_new_array(c->data_pages, sizeof(*c->sums));
	for (unsigned i = 0; i < c->runs_n; i++) {
		if (c->runs[i].kind == RUN_ZERO)
			continue;
		for (uint32_t p = c->runs[i].first; p < c->runs[i].first + (uint32_t)c->runs[i].pages; p++) {
			uint8_t *old = old_mem(op, p);

			if (old)
				op->src[k] = old;
			else if (c->op == STORE_INSTALL)
				op->src[k] = data + (size_t)k * PAGE_BYTES;
			else
				op->src[k] = data + ((size_t)p * PAGE_BYTES - r->off);
			if (!old && r->sums)
				memcpy(&c->sums[k], r->sums + 8 * given++, 8);
			k++;
		}
	}
}

void prepare_copy(struct op *op)
{
	if (op->c.op == STORE_WRITE)
		shape_write(op);
	else if (op->c.op == STORE_INSTALL && op->c.shift)
		shape_install(op);
	if (op->c.data_pages)
		find_sources(op);
}

void prepare_free(struct op *op)
{
	iobuf_put(op->data);
	iobuf_put(op->scratch);
	iobuf_put(op->bounce);
	mem_free(op->src);
	mem_free(op->writes);
}

/* --- old pages --- */

enum flight { FLIGHT_NONE, FLIGHT_HOLE, FLIGHT_LOST, FLIGHT_DATA };

/* What a change not yet durable made of the page. */
static enum flight page_in_flight(const struct op *op, uint32_t page, const uint8_t **p)
{
	unsigned k = 0;

	for (unsigned i = 0; i < op->c.runs_n; i++) {
		const struct run *r = &op->c.runs[i];

		if (page >= r->first && page < r->first + (uint32_t)r->pages) {
			if (r->kind == RUN_ZERO)
				return FLIGHT_HOLE;
			*p = op->src[k + page - r->first];
			return r->kind == RUN_LOST ? FLIGHT_LOST : FLIGHT_DATA;
		}
		k += r->kind == RUN_ZERO ? 0 : r->pages;
	}
	return FLIGHT_NONE;
}

/* The newest change of the page that is in the journal's hands but not durable. */
static enum flight newest_in_flight(const struct blk *b, uint32_t page, const uint8_t **p)
{
	for (const struct op *e = b->inflight ? b->inflight->bprev : NULL; e;
	     e = e == b->inflight ? NULL : e->bprev) {
		enum flight f = page_in_flight(e, page, p);

		if (f != FLIGHT_NONE)
			return f;
	}
	return FLIGHT_NONE;
}

static void on_old_read(struct disk_req *io);

/* 0: `mem` is filled; 1: it will be; or an error. */
static int fetch_old(struct op *op, struct old_page *o)
{
	struct store *s = op->store;
	struct blk *b = op->blk;
	unsigned i = o->page % LEAF_PAGES;
	const uint8_t *p;
	struct leaf *l;

	switch (newest_in_flight(b, o->page, &p)) {
	case FLIGHT_NONE:
		break;
	case FLIGHT_HOLE:
		memset(o->mem, 0, PAGE_BYTES);
		return 0;
	case FLIGHT_LOST:
		return ERR_CORRUPT;
	case FLIGHT_DATA:
		memcpy(o->mem, p, PAGE_BYTES);
		return 0;
	}
	l = index_leaf(s, b, o->page / LEAF_PAGES, false);
	if (b->damaged)
		return ERR_CORRUPT;
	if (!l || !(l->present >> i & 1)) {
		memset(o->mem, 0, PAGE_BYTES);
		return 0;
	}
	if (l->overlay && l->overlay->buf[i]) {
		memcpy(o->mem, l->overlay->page[i], PAGE_BYTES);
		return 0;
	}
	if (l->loc[i] == LOC_LOST)
		return ERR_CORRUPT;
	o->op = op;
	o->sum = l->sum[i];
	op->reads_left++;
	guard_begin(s, &o->guard);
	store_io(s, &o->io, DISK_READ, s->data, (uint64_t)l->loc[i] * PAGE_BYTES, o->mem, PAGE_BYTES,
	         on_old_read);
	return 1;
}

static void merge(struct op *op)
{
	const struct store_req *r = op->req;

	for (unsigned i = 0; i < op->old_n; i++) {
		uint32_t at = op->old[i].page * PAGE_BYTES;
		uint32_t from = MAX(at, r->off), to = MIN(at + PAGE_BYTES, r->off + r->len);

		if (r->zero)
			memset(op->old[i].mem + (from - at), 0, to - from);
		else
			memcpy(op->old[i].mem + (from - at), slice_data(r->data) + (from - r->off), to - from);
	}
}

/* Sums of all data pages; those that were given must fit. */
static int check_sums(struct op *op)
{
	struct change *c = &op->c;
	unsigned k = 0;

	for (unsigned i = 0; i < c->runs_n; i++) {
		if (c->runs[i].kind == RUN_ZERO)
			continue;
		if (c->runs[i].kind == RUN_LOST) {
			k += c->runs[i].pages;
			continue;
		}
		for (uint32_t p = c->runs[i].first; p < c->runs[i].first + (uint32_t)c->runs[i].pages;
		     p++, k++) {
			uint64_t sum = page_sum(c->file, c->block, p, op->src[k]);

			if (c->sums[k] && c->sums[k] != sum && !old_mem(op, p) &&
			    !(op->store->config.bugs & STORE_BUG_SUMS_UNCHECKED)) {
				op->req->bad_page = p;
				op->req->bad_given = true;
				return ERR_CORRUPT;
			}
			c->sums[k] = sum;
		}
	}
	return 0;
}

/* --- large data --- */
static void on_data_written(struct disk_req *io)
{
	struct data_write *w = container_of(io, struct data_write, io);
	struct op *op = w->op;
	struct store *s = op->store;

	op->writes_left--;
	if (io->result < 0)
		store_fail(s, io->result, "writing %" PRIu64 " bytes at %" PRIu64
		           " of the data file failed: %s; replace the disk", io->len, io->off,
		           err_text(io->result));
	if (!op->writes_left)
		journal_data_written(op);
}

/* Pages of a request must be contiguous and aligned in memory for the disk: else copied. */
static void straighten(struct op *op)
{
	unsigned n = op->c.data_pages, pieces = 1;
	bool aligned = true;

	for (unsigned k = 0; k < n; k++) {
		aligned = aligned && ((uintptr_t)op->src[k] & (PAGE_BYTES - 1)) == 0;
		pieces += k && op->src[k] != op->src[k - 1] + PAGE_BYTES;
	}
	if (aligned && pieces <= 3)
		return;
	op->bounce = iobuf_new_reserve(n * PAGE_BYTES);
	for (unsigned k = 0; k < n; k++) {
		memcpy(op->bounce->data + (size_t)k * PAGE_BYTES, op->src[k], PAGE_BYTES);
		op->src[k] = op->bounce->data + (size_t)k * PAGE_BYTES;
	}
}

static void write_extent(struct op *op, struct data_write *w, unsigned k, uint32_t pages,
                         uint32_t loc)
{
	struct disk_req *io = &w->io;

	*io = (struct disk_req){
		.op = DISK_WRITE,
		.file = op->store->data,
		.off = (uint64_t)loc * PAGE_BYTES,
		.len = (uint64_t)pages * PAGE_BYTES,
		.done = on_data_written,
	};
	w->op = op;
	for (unsigned e = k + pages; k < e; k++) {
		if (io->iovs && (const uint8_t *)io->iov[io->iovs - 1].p + io->iov[io->iovs - 1].len ==
		                        op->src[k]) {
			io->iov[io->iovs - 1].len += PAGE_BYTES;
			continue;
		}
		CHECK(io->iovs < ARRAY_LEN(io->iov));
		io->iov[io->iovs].p = (void *)(uintptr_t)op->src[k];
		io->iov[io->iovs++].len = PAGE_BYTES;
	}
	disk_submit(op->store->disk, io);
}

/* The planted bug IN_PLACE: over the committed pages themselves. */
static uint32_t place_of(struct op *op, uint32_t page, uint32_t want, uint32_t *loc)
{
	struct leaf *l = index_leaf(op->store, op->blk, page / LEAF_PAGES, false);

	if (op->store->config.bugs & STORE_BUG_IN_PLACE && l && !op->blk->inflight &&
	    l->present >> (page % LEAF_PAGES) & 1 && loc_real(l->loc[page % LEAF_PAGES])) {
		*loc = l->loc[page % LEAF_PAGES];
		op->reserved--;
		op->store->space.reserved--;
		return 1;
	}
	want = space_alloc(op->store, want, loc);
	op->reserved -= want;
	return want;
}

static void write_large(struct op *op)
{
	struct change *c = &op->c;
	struct run *old = c->runs;
	unsigned old_n = c->runs_n, first_write = 0, k = 0;

	straighten(op);
	c->runs = NULL;
	c->runs_n = 0;
	for (unsigned i = 0; i < old_n; i++) {
		uint32_t page = old[i].first, left = old[i].pages;

		if (old[i].kind == RUN_ZERO || old[i].kind == RUN_LOST) {
			add_run(c, old[i].kind, page, left, 0);
			continue;
		}
		while (left) {
			uint32_t loc, n = place_of(op, page, left, &loc);

			CHECK(n > 0); /* it was reserved */
			add_run(c, RUN_EXTENT, page, n, loc);
			page += n;
			left -= n;
			op->writes_left++;
		}
	}
	mem_free(old);
	op->writes = mem_new_array(op->writes_left, sizeof(*op->writes));
	for (unsigned i = 0; i < c->runs_n; i++) {
		if (c->runs[i].kind == RUN_EXTENT)
			write_extent(op, &op->writes[first_write++], k, c->runs[i].pages, c->runs[i].loc);
		k += c->runs[i].kind == RUN_ZERO ? 0 : c->runs[i].pages;
	}
}

static void prepare_finish(struct op *op)
{
	int rc = op->result;

	if (!rc) {
		merge(op);
		rc = check_sums(op);
	}
	if (!rc && op->store->failed)
		rc = op->store->failed;
	if (rc) {
		op_fail(op, rc);
		return;
	}
	if (op->large && op->c.data_pages)
		write_large(op);
	op_ready(op);
}

static void on_old_read(struct disk_req *io)
{
	struct old_page *o = container_of(io, struct old_page, io);
	struct op *op = o->op;
	struct store *s = op->store;
	struct file *f = op->file;

	guard_end(s, &o->guard);
	if (io->result < 0)
		op->result = io->result;
	else if (page_sum(op->c.file, op->c.block, o->page, o->mem) != o->sum &&
	         !(s->config.bugs & STORE_BUG_MERGE_BLIND)) {
		op->result = ERR_CORRUPT;
		op->req->bad_page = o->page;
	}
	if (--op->reads_left)
		return;
	DL_DELETE(s->merging, op);
	prepare_finish(op);
	submit_pump_file(s, f);
}

static bool has_page(struct op *op, uint32_t page)
{
	struct leaf *l = index_leaf(op->store, op->blk, page / LEAF_PAGES, false);

	return l && l->present >> (page % LEAF_PAGES) & 1 && l->loc[page % LEAF_PAGES] != LOC_LOST;
}

static bool needs_space(struct op *op, uint32_t page)
{
	const uint8_t *p;

	/* The usual overwrite: no look at all that is in flight. */
	if (!op->blk->zeroing && has_page(op, page))
		return false;
	switch (newest_in_flight(op->blk, page, &p)) {
	case FLIGHT_HOLE:
	case FLIGHT_LOST:
		return true;
	case FLIGHT_DATA:
		return false; /* that one reserved it, or found it there */
	case FLIGHT_NONE:
		break;
	}
	return !has_page(op, page);
}

/* Pages that will need new space: all of a large write, else those that have no place yet. */
static uint64_t pages_needed(struct op *op)
{
	const struct change *c = &op->c;
	uint64_t n = 0;

	if (op->large)
		return c->data_pages;
	for (unsigned i = 0; i < c->runs_n; i++)
		for (uint32_t p = c->runs[i].first;
		     c->runs[i].kind == RUN_JOURNAL && p < c->runs[i].first + (uint32_t)c->runs[i].pages; p++)
			n += needs_space(op, p);
	return n;
}

/* Repair, and the page of a file's attributes: cutting a file writes it, and so does the flush of data
 * that has its space already. */
static bool may_use_reserve(const struct op *op)
{
	return op->c.op == STORE_INSTALL || op->c.block == BLOCK_ATTR;
}

void prepare_start(struct op *op)
{
	struct store *s = op->store;
	struct blk *b = op->blk;
	uint64_t need;

	if (op->seq < b->fail_below) {
		op_fail(op, -ECANCELED);
		return;
	}
	if (op->result) {
		op_fail(op, op->result);
		return;
	}
	if (b->shift && op->c.shift && b->shift != op->c.shift) {
		op_fail(op, -EINVAL);
		return;
	}
	if (b->damaged && !op->c.repairs) {
		op_fail(op, ERR_CORRUPT);
		return;
	}
	if (op->c.shift)
		index_set_shift(s, b, op->c.shift);
	need = pages_needed(op);
	if (!space_reserve(s, need, may_use_reserve(op), op->grant)) {
		submit_wait_space(op);
		return;
	}
	space_spend(s, op); /* the promise is a reservation now, and must not count twice */
	op->reserved = need;
	op->reads_left = 1; /* ours: completions may not come before the loop ends */
	for (unsigned i = 0; i < op->old_n && !op->result; i++) {
		int rc = fetch_old(op, &op->old[i]);

		if (rc < 0) {
			op->result = rc;
			op->req->bad_page = op->old[i].page;
		}
	}
	if (--op->reads_left == 0)
		prepare_finish(op);
	else
		DL_APPEND(s->merging, op);
}
