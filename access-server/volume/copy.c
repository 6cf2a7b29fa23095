/* One block from a replica to another (copy.h):
 *
 *   checksums of the target -> checksums of the source -> the pages that differ -> INSTALL
 *
 * Pages that are bad at the source are looked for elsewhere (copy_bad.c).
 *
 * Invariants:
 * - all that is read from the source is of one version; if it moved between the steps, all over;
 * - the target takes it only if it is still as the first step found it (INSTALL's guard);
 * - a target that outranks the source is left alone;
 * - while a held block is copied its records are kept, so that whatever follows the copied version
 *   can be sent after it. */
#include "access-server/volume/copy.h"

#define GIVE_UP (5 * NSEC_SEC)

uint32_t block_len(const struct file *f, uint64_t no)
{
	return no == BLOCK_ATTR ? PAGE_BYTES : (uint32_t)file_block_bytes(f);
}

void copy_end(struct copy *c, enum copy_result result)
{
	timer_stop(c->f->v, &c->timer);
	c->done(c, result);
}

void copy_free(struct copy *c)
{
	struct block *b = c->retains ? block_find(c->f, c->no) : NULL;

	timer_stop(c->f->v, &c->timer);
	rpc_cancel(c->rpc);
	if (b)
		b->retain--;
	c->f->v->copies--;
	for (unsigned k = 0; k < 2; k++) {
		mem_free(c->present[k]);
		mem_free(c->sums[k]);
	}
	iobuf_put(c->data);
	mem_free(c->page);
	mem_free(c->fits);
	repair_copy_ended(c->f->v);
	mem_free(c);
}

/* The sum of a page in one of the two sets, 0 for a hole: sums come in page order. */
static void spread(struct copy *c, unsigned which, const struct msg_read_reply *r)
{
	uint32_t pages = block_len(c->f, c->no) / PAGE_BYTES, at = 0;

	mem_free(c->present[which]);
	mem_free(c->sums[which]);
	c->present[which] = mem_new(DIV_UP(pages, 8));
	c->sums[which] = mem_new_array(pages, 8);
	for (uint32_t p = 0; p < pages; p++)
		if (bit_get(r->present, p) && (at + 1) * 8 <= r->sums.len) {
			bit_set(c->present[which], p);
			memcpy(c->sums[which] + p * 8, r->sums.p + at++ * 8, 8);
		}
}

bool copy_same_sum(const struct copy *c, uint32_t p)
{
	return memcmp(c->sums[SOURCE] + p * 8, c->sums[TARGET] + p * 8, 8) == 0;
}

static bool source_has(const struct copy *c, uint32_t p)
{
	return c->present[SOURCE][p / 8] >> p % 8 & 1;
}

/* --- the last step --- */

static bool on_installed(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_write_reply *r = (const struct msg_write_reply *)&m->install_reply;
	unsigned status = m->install_reply.status;

	if (m->type != MSG_TYPE_install_reply || r->file != c->f->ino)
		return false;
	if (m->install_reply.seal > c->f->epoch) {
		lease_sealed(c->f, m->install_reply.seal);
		return true;
	}
	if (status == STATUS_FENCED || status == STATUS_BUSY || status == STATUS_PENDING)
		return false;
	c->rpc = NULL;
	rpc_cancel(rpc);
	if (status == STATUS_OK)
		peer_acknowledged(c->f->v, m->src, r);
	if (status == STATUS_OK)
		copy_end(c, COPY_DONE);
	else if (status == STATUS_AHEAD)
		copy_end(c, COPY_AHEAD);
	else if (status == STATUS_BAD_PAGE && !c->whole)
		copy_end(c, COPY_BAD);
	else
		copy_end(c, COPY_AGAIN);
	return true;
}

/* Pages are moved down to the front of the buffer they were read into, those without bytes as zeros. */
static uint32_t gather_pages(struct copy *c, uint8_t *set, uint8_t *zero, uint8_t *lost, uint8_t *sums)
{
	uint32_t pages = block_len(c->f, c->no) / PAGE_BYTES, n = 0;

	for (uint32_t p = 0; p < pages; p++) {
		if (c->page[p] == PAGE_ZERO)
			bit_set(zero, p);
		if (c->page[p] != PAGE_GOT && c->page[p] != PAGE_BAD)
			continue;
		bit_set(set, p);
		memcpy(sums + n * 8, c->sums[SOURCE] + p * 8, 8);
		if (c->page[p] == PAGE_GOT) {
			memmove(c->data->data + n * PAGE_BYTES,
			        c->data->data + (p - c->first) * PAGE_BYTES, PAGE_BYTES);
		} else {
			bit_set(lost, p);
			memset(c->data->data + n * PAGE_BYTES, 0, PAGE_BYTES);
		}
		n++;
	}
	return n;
}

void copy_install(struct copy *c)
{
	struct file *f = c->f;
	uint32_t pages = block_len(f, c->no) / PAGE_BYTES, n, bytes = DIV_UP(pages, 8);
	uint8_t *set = mem_new(bytes), *zero = mem_new(bytes), *lost = mem_new(bytes);
	uint8_t *sums = mem_new_array(pages, 8);
	struct msg m = {.type = MSG_TYPE_install, .dst = c->server[c->to]};

	n = gather_pages(c, set, zero, lost, sums);
	m.install.file = f->ino;
	m.install.map = file_placement(f, m.dst);
	m.install.epoch = f->epoch;
	m.install.block = c->no;
	m.install.block_shift = f->attr.block_shift;
	m.install.old = c->old;
	m.install.old_closed = c->old_closed;
	m.install.version = c->at;
	m.install.closed = c->closed ? c->closed : c->at_closed;
	m.install.set = (struct span){set, bytes};
	m.install.zero = (struct span){zero, bytes};
	m.install.lost = (struct span){lost, bytes};
	m.install.sums = (struct span){sums, n * 8};
	if (n > 0)
		m.payload = (struct slice){c->data, 0, n * PAGE_BYTES};
	c->rpc = rpc_start(f->v, &m, on_installed, c, 0);
	mem_free(set);
	mem_free(zero);
	mem_free(lost);
	mem_free(sums);
}

/* --- reading --- */

void copy_read(struct copy *c, unsigned replica, unsigned flags, uint32_t first, uint32_t pages,
               bool (*done)(struct rpc *rpc, const struct msg *m))
{
	struct file *f = c->f;
	struct msg m = {.type = MSG_TYPE_read, .dst = c->server[replica]};

	m.read.file = f->ino;
	m.read.map = file_placement(f, m.dst);
	m.read.epoch = f->epoch;
	m.read.block = c->no;
	m.read.block_shift = f->attr.block_shift;
	m.read.flags = (uint8_t)flags;
	m.read.off = first * PAGE_BYTES;
	m.read.len = pages * PAGE_BYTES;
	c->rpc = rpc_start(f->v, &m, done, c, 0);
}

/* False: not an answer to go on with (asked again, or the copy has ended). */
bool copy_take(struct rpc *rpc, const struct msg *m, bool *finished)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;

	*finished = false;
	if (m->type != MSG_TYPE_read_reply || r->file != c->f->ino || r->block != c->no ||
	    r->status == STATUS_BUSY)
		return false;
	peer_answered(c->f->v, m, r->status);
	*finished = true;
	if (r->seal > c->f->epoch) {
		lease_sealed(c->f, r->seal);
		return false;
	}
	c->rpc = NULL;
	rpc_cancel(rpc);
	return true;
}

/* What is installed goes by the pages the server listed before: the data of the same version must be of
 * these. */
static bool as_listed(const struct copy *c, const struct msg_read_reply *r)
{
	uint32_t at = 0;

	if (r->off != c->page_at * PAGE_BYTES || r->len != (c->page_end - c->page_at) * PAGE_BYTES)
		return false;
	for (uint32_t p = c->page_at; p < c->page_end; p++) {
		if (bit_get(r->present, p - c->page_at) != source_has(c, p))
			return false;
		if (source_has(c, p) && memcmp(r->sums.p + at++ * 8, c->sums[SOURCE] + p * 8, 8) != 0)
			return false;
	}
	return true;
}

void copy_got_page(struct copy *c, uint32_t p, const uint8_t *data)
{
	memcpy(c->data->data + (p - c->first) * PAGE_BYTES, data, PAGE_BYTES);
	c->page[p] = PAGE_GOT;
}

/* --- pages of the source --- */

static bool on_data(struct rpc *rpc, const struct msg *m);

/* From the next page that is wanted up to one that is bad. */
static void read_more(struct copy *c)
{
	uint32_t last = c->first + c->pages;

	while (c->page_at < last && c->page[c->page_at] != PAGE_WANTED)
		c->page_at++;
	if (c->page_at == last) {
		copy_bad_pages(c);
		return;
	}
	c->page_end = c->page_at + 1;
	while (c->page_end < last && c->page[c->page_end] != PAGE_BAD && c->page[c->page_end] != PAGE_SKIPPED)
		c->page_end++;
	copy_read(c, c->from, 0, c->page_at, c->page_end - c->page_at, on_data);
}

static bool bad_page_told(struct copy *c, uint32_t off)
{
	uint32_t p = off / PAGE_BYTES;

	if (p < c->page_at || p >= c->page_end)
		return false;
	c->page[p] = c->page[p] == PAGE_WANTED ? PAGE_BAD : PAGE_SKIPPED;
	return true;
}

static void got_pages(struct copy *c, struct slice data)
{
	uint32_t at = 0;

	for (uint32_t p = c->page_at; p < c->page_end; p++) {
		if (c->page[p] == PAGE_WANTED)
			copy_got_page(c, p, slice_data(data) + at * PAGE_BYTES);
		at += source_has(c, p);
	}
	c->page_at = c->page_end;
}

static bool on_data(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;
	bool finished;

	if (!copy_take(rpc, m, &finished))
		return finished;
	if (r->status == STATUS_BAD_PAGE && version_eq(r->version, c->at) && bad_page_told(c, r->off)) {
		read_more(c);
		return true;
	}
	if (r->status == STATUS_BAD_PAGE) {
		copy_end(c, COPY_BAD);
	} else if (r->status != STATUS_OK || !version_eq(r->version, c->at)) {
		copy_end(c, COPY_AGAIN);
	} else if (!read_reply_good(c->f, r, m->payload) || !as_listed(c, r)) {
		copy_end(c, COPY_BAD);
	} else {
		got_pages(c, m->payload);
		read_more(c);
	}
	return true;
}

/* What is to be done with each page. [first, first + pages) spans what must be read. */
static void differences(struct copy *c)
{
	uint32_t pages = block_len(c->f, c->no) / PAGE_BYTES;

	c->page = mem_new(pages);
	c->fits = mem_new(DIV_UP(pages, 8));
	c->first = c->pages = 0;
	for (uint32_t p = 0; p < pages; p++) {
		if (!c->whole && copy_same_sum(c, p))
			continue;
		c->page[p] = source_has(c, p) ? PAGE_WANTED : PAGE_ZERO;
		if (c->page[p] == PAGE_ZERO)
			continue;
		if (c->pages == 0)
			c->first = p;
		c->pages = p - c->first + 1;
	}
	c->page_at = c->first;
	if (c->pages > 0)
		c->data = iobuf_new_reserve(c->pages * PAGE_BYTES);
}

static bool on_source_sums(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;
	struct rank source, target = {c->old_closed, c->old};
	struct block *b = block_find(c->f, c->no);
	bool finished;

	if (!copy_take(rpc, m, &finished))
		return finished;
	if (r->status != STATUS_OK || (b && version_cmp(r->version, b->freed) < 0)) {
		copy_end(c, r->status == STATUS_BAD_PAGE ? COPY_BAD : COPY_AGAIN);
		return true;
	}
	c->at = r->version;
	c->at_closed = r->closed;
	/* Equal versions are equal bytes, whichever of the two was recovered or made whole since. */
	if (version_eq(c->at, c->old) && !VOL_BUG(c->f->v, VOLUME_BUG_EQUAL_AHEAD))
		c->at_closed = MAX(r->closed, c->old_closed);
	source = (struct rank){MAX(c->at_closed, c->closed), r->version};
	if (rank_cmp(source, target) < 0 && !VOL_BUG(c->f->v, VOLUME_BUG_REPAIR_AHEAD)) {
		copy_end(c, COPY_AHEAD);
		return true;
	}
	spread(c, SOURCE, r);
	/* But a lower `closed` would outrank nothing (trap A1). */
	if (version_eq(c->at, c->old) && !c->whole && c->closed == 0 && c->old_closed >= c->at_closed) {
		copy_end(c, COPY_DONE);
		return true;
	}
	differences(c);
	if (c->pages > 0)
		read_more(c);
	else
		copy_install(c);
	return true;
}

static bool on_target_sums(struct rpc *rpc, const struct msg *m)
{
	struct copy *c = rpc->ctx;
	const struct msg_read_reply *r = &m->read_reply;
	bool finished;

	if (!copy_take(rpc, m, &finished))
		return finished;
	/* A blank server knows nothing of the block; one with a bad page needs all of them. */
	if (r->status != STATUS_OK && r->status != STATUS_UNKNOWN && r->status != STATUS_BAD_PAGE) {
		copy_end(c, COPY_AGAIN);
		return true;
	}
	c->comparable = r->status == STATUS_OK;
	c->whole = c->whole || !c->comparable;
	c->old = r->version;
	c->old_closed = r->closed;
	spread(c, TARGET, &(struct msg_read_reply){0});
	if (r->status == STATUS_OK)
		spread(c, TARGET, r);
	copy_read(c, c->from, READ_SUMS_ONLY, 0, block_len(c->f, c->no) / PAGE_BYTES, on_source_sums);
	return true;
}

static void on_copy_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	copy_end(container_of(t, struct copy, timer), COPY_AGAIN);
}

void copy_start(struct copy *c)
{
	struct file *f = c->f;

	f->v->copies++;
	c->timer.fire = on_copy_timer;
	timer_set(f->v, &c->timer, f->v->now + GIVE_UP);
	CHECK(file_place(f, c->no, c->server));
	if (c->into)
		c->server[c->to] = c->into;
	if (f->lease == LEASE_EXCLUSIVE) {
		block_get(f, c->no)->retain++;
		c->retains = true;
	}
	copy_read(c, c->to, READ_SUMS_ONLY | READ_REPAIR, 0, block_len(f, c->no) / PAGE_BYTES, on_target_sums);
}
