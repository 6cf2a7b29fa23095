/* Order and admission of changes.
 *
 *   store.queue  all requests, in order, until there is room in memory (P8)
 *   file.waiting a file's requests, in order, until nothing before them must come first: a write waits
 *                while an earlier one of its block still merges old pages; FILE and DELETE wait
 *                until everything before them is in the journal's queue; what follows a DELETE
 *                waits until that is done, as it may not merge with pages from before
 *
 * A request that fails takes with it every later one of its block that was submitted before the
 * caller learned of it: they are links of a chain that is broken. */
#include "core-server/store/state.h"

#define OPS_MAX 65536 /* requests in the store; their data is bounded by the iobuf budget */

static uint64_t op_cost(const struct op *op)
{
	switch (op->req->op) {
	case STORE_WRITE:
		return op->req->zero ? 2 * PAGE_BYTES : ALIGN_UP(op->req->len, PAGE_BYTES) + PAGE_BYTES;
	case STORE_INSTALL:
		return op->req->data.len + PAGE_BYTES;
	case STORE_FILE:
		return op->req->record->exceptions * 8ull + PAGE_BYTES;
	case STORE_DELETE:
		break;
	}
	return PAGE_BYTES;
}

static unsigned bits_in(struct span s)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < s.len; i++)
		n += (unsigned)__builtin_popcount(s.p[i]);
	return n;
}

static bool valid_shape(const struct store *s, const struct store_req *r, uint64_t cost)
{
	uint32_t bytes;

	if (!r->file || cost > s->journal.bytes / 4)
		return false;
	if (r->op == STORE_FILE || r->op == STORE_DELETE)
		return true;
	if (r->op == STORE_INSTALL && r->block_shift == 0) /* version and closed alone */
		return !r->data.len && !bits_in(r->set) && !bits_in(r->zeroed);
	if (r->block_shift < BLOCK_SHIFT_MIN || r->block_shift > BLOCK_SHIFT_MAX)
		return false;
	bytes = r->block == BLOCK_ATTR ? PAGE_BYTES : 1u << r->block_shift;
	if (r->op == STORE_INSTALL)
		return r->set.len <= DIV_UP(bytes / PAGE_BYTES, 8) &&
		       r->zeroed.len <= DIV_UP(bytes / PAGE_BYTES, 8) &&
		       r->lost.len <= r->set.len && r->data.len == bits_in(r->set) * PAGE_BYTES;
	return r->len && r->off < bytes && r->len <= bytes - r->off &&
	       (r->zero || r->data.len == r->len);
}

static void copy_request(struct op *op)
{
	const struct store_req *r = op->req;
	struct change *c = &op->c;

	*c = (struct change){
		.op = r->op,
		.file = r->file,
		.block = r->block,
		.shift = r->block_shift,
		.version = r->version,
		.closed = r->closed,
		.seal = r->seal,
		.map = r->map,
	};
	if (r->op == STORE_FILE) {
		c->record = *r->record;
		c->record.exception =
			mem_dup(r->record->exception, (size_t)r->record->exceptions * 8);
		c->seal = r->record->seal;
	}
	if ((r->op == STORE_WRITE && !r->zero) || r->op == STORE_INSTALL)
		op->data = r->data.buf ? iobuf_get(r->data.buf) : NULL;
}

void store_submit(struct store *s, struct store_req *req)
{
	struct op *op = mem_new(sizeof(*op));

	op->store = s;
	op->req = req;
	op->grant = req->grant_bytes;
	op->seq = ++s->submit_seq;
	req->result = 0;
	op->cost = op_cost(op);
	op->large = req->op == STORE_INSTALL || (req->op == STORE_WRITE && !req->zero)
	                    ? req->data.len >= s->config.large_bytes
	                    : false;
	s->ops_n++;
	op->file = index_file(s, req->file);
	op->file->refs++;
	if (req->op == STORE_WRITE || req->op == STORE_INSTALL) {
		op->blk = index_blk(s, req->file, req->block);
		op->blk->refs++;
	}
	if (s->ops_n > OPS_MAX || (!s->failed && !valid_shape(s, req, op->large ? 0 : op->cost))) {
		op_fail(op, s->ops_n > OPS_MAX ? -EAGAIN : -EINVAL);
		return;
	}
	copy_request(op);
	prepare_copy(op);
	DL_APPEND(s->queue, op);
	submit_pump(s);
}

static bool admit(struct store *s, struct op *op)
{
	uint64_t held = s->overlay_bytes + s->admitted_bytes + s->dirty_bytes;
	uint64_t kv_used, kv_total;

	if (held && held + op->cost > s->config.cache_bytes) {
		if (checkpoint_useful(s))
			checkpoint_want(s);
		return false;
	}
	if (op->req->op == STORE_WRITE) {
		kv_space(s->kv, &kv_used, &kv_total);
		if (kv_total && kv_used > kv_total - kv_total / 10)
			op->result = -ENOSPC;
	}
	return true;
}

void submit_pump(struct store *s)
{
	struct op *op;

	if (s->pumping || (!s->serving && !s->failed))
		return; /* what comes while it opens waits */
	s->pumping = true;
	while ((op = s->queue) != NULL) {
		if (!s->failed && !admit(s, op))
			break;
		DL_DELETE(s->queue, op);
		op->admitted = true;
		s->admitted_bytes += op->cost;
		DL_APPEND(op->file->waiting, op);
		submit_pump_file(s, op->file);
	}
	s->pumping = false;
	index_trim(s);
}

void submit_pump_file(struct store *s, struct file *f)
{
	struct op *op;

	while ((op = f->waiting) != NULL) {
		if (s->failed) {
			DL_DELETE(f->waiting, op);
			op_fail(op, s->failed);
			continue;
		}
		if (f->deleting || (op->blk ? op->blk->preparing : f->preparing != 0))
			break;
		DL_DELETE(f->waiting, op);
		f->preparing++;
		op->preparing = true;
		if (op->blk) {
			op->blk->preparing = true;
			prepare_start(op);
		} else {
			f->deleting = op->c.op == STORE_DELETE;
			op_ready(op);
		}
	}
}

/* Full, but checkpoints may give back what changes replaced: two of them are worth waiting for. Its
 * block and the file's FILE and DELETE wait with it. */
void submit_wait_space(struct op *op)
{
	struct store *s = op->store;

	if (!op->patience)
		op->patience = s->checkpoints + 2;
	if (s->checkpoints >= op->patience || !space_coming(s)) {
		op_fail(op, -ENOSPC);
		return;
	}
	DL_APPEND(s->no_space, op);
	checkpoint_want(s);
}

void submit_retry_space(struct store *s)
{
	struct op *op, *list = s->no_space;

	s->no_space = NULL;
	while ((op = list) != NULL) {
		struct file *f = op->file;

		DL_DELETE(list, op);
		if (s->failed)
			op_fail(op, s->failed);
		else
			prepare_start(op);
		submit_pump_file(s, f);
	}
}

static void end_preparing(struct op *op)
{
	if (!op->preparing)
		return;
	op->preparing = false;
	op->file->preparing--;
	if (op->blk)
		op->blk->preparing = false;
}

static bool makes_room(const struct op *op)
{
	for (unsigned i = 0; i < op->c.runs_n; i++)
		if (op->c.runs[i].kind == RUN_ZERO || op->c.runs[i].kind == RUN_LOST)
			return true;
	return false;
}

/* All old pages are merged and large data is on its way: the journal's turn. */
void op_ready(struct op *op)
{
	struct blk *b = op->blk;

	end_preparing(op);
	if (b) {
		DL_APPEND2(b->inflight, op, bprev, bnext);
		b->zeroing += makes_room(op);
	}
	journal_push(op);
}

void op_landed(struct op *op)
{
	struct blk *b = op->blk;

	if (!b)
		return;
	DL_DELETE2(b->inflight, op, bprev, bnext);
	b->zeroing -= makes_room(op);
}

void op_free(struct op *op)
{
	struct store *s = op->store;

	if (op->admitted)
		s->admitted_bytes -= op->cost;
	s->ops_n--;
	if (op->file)
		op->file->refs--;
	if (op->blk)
		op->blk->refs--;
	prepare_free(op);
	change_fini(&op->c);
	mem_free(op);
}

static void on_fail_later(struct later *l)
{
	struct op *op = container_of(l, struct op, later);
	struct store *s = op->store;
	struct store_req *req = op->req;

	if (op->blk && op->result != -ECANCELED)
		op->blk->fail_below = s->submit_seq + 1;
	req->result = op->result;
	space_spend(s, op);
	DL_DELETE(s->failing, op);
	op_free(op);
	req->done(req);
}

/* Answers from the loop. The op is in no list any more. */
void op_fail(struct op *op, int rc)
{
	struct store *s = op->store;

	end_preparing(op);
	op->result = rc;
	if (op->blk && rc != -ECANCELED)
		op->blk->fail_below = UINT64_MAX;
	s->space.reserved -= op->reserved;
	op->reserved = 0;
	DL_APPEND(s->failing, op);
	op->later.fn = on_fail_later;
	store_later(s, &op->later);
}
