/* READ: pieces of blocks from the nearest replica that is not stale, checked page by page, with the
 * records on their way laid over them.
 *
 * Invariants (P3, P6, P7):
 * - what is returned holds every record acknowledged before: a replica's answer counts only if its
 *   version is at least block.freed *at the time it arrives*, and everything newer is still in
 *   block.records and is laid over, oldest first (laying one over a page that has it is harmless);
 * - a reply is given only under a lease that is good at that moment; otherwise the request starts
 *   again under the next one;
 * - a reply's seal above our epoch ends the lease, whatever the clock says (trap A10c). */
#include "access-server/volume/parts.h"

#define HEDGE_MIN (10 * NSEC_MSEC)
#define HEDGE_UNKNOWN (50 * NSEC_MSEC)
#define RETRY (200 * NSEC_MSEC)

struct read_op;

struct read_piece {
	struct read_op *op;
	uint64_t no;
	uint32_t off, len;   /* wanted, in the block */
	uint32_t from, to;   /* the pages around it */
	uint32_t out_off;
	server_id_t server[REPLICAS];
	unsigned order[REPLICAS], replicas;
	unsigned tried;      /* bits */
	unsigned bad;        /* bits: said that a page of it is bad */
	uint32_t end;        /* of the pages; behind `to` when they are read one by one */
	bool single;
	struct rpc *rpc[REPLICAS];
	struct vol_timer timer;
	bool done;
};

struct read_op {
	struct read_op *prev, *next;
	struct file *f;
	struct vol_req *req;
	uint64_t epoch;
	struct slice out;
	uint32_t len;
	unsigned left, pieces;
	struct read_piece piece[];
};

static void piece_next(struct read_piece *p);

unsigned bits_count(struct span bits, unsigned n)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n; i++)
		count += bit_get(bits, i);
	return count;
}

bool read_reply_good(struct file *f, const struct msg_read_reply *r, struct slice payload)
{
	uint32_t first = r->off / PAGE_BYTES, pages = r->len / PAGE_BYTES, at = 0;
	unsigned count = bits_count(r->present, pages);

	if (VOL_BUG(f->v, VOLUME_BUG_SUMS_UNCHECKED))
		return true;
	if (r->sums.len != count * 8 || payload.len != count * PAGE_BYTES || r->present.len * 8 < pages)
		return false;
	for (uint32_t i = 0; i < pages; i++) {
		if (!bit_get(r->present, i))
			continue;
		if (page_sum(f->ino, r->block, first + i, slice_data(payload) + at * PAGE_BYTES) !=
		    get_u64le(r->sums.p + at * 8))
			return false;
		at++;
	}
	return true;
}

/* --- the end of an operation --- */

static void piece_quiet(struct read_piece *p)
{
	timer_stop(p->op->f->v, &p->timer);
	for (unsigned i = 0; i < REPLICAS; i++) {
		rpc_cancel(p->rpc[i]);
		p->rpc[i] = NULL;
	}
}

static void op_free(struct read_op *op)
{
	for (unsigned i = 0; i < op->pieces; i++)
		piece_quiet(&op->piece[i]);
	DL_DELETE(op->f->reads, op);
	if (op->req)
		rs(op->req)->op = NULL;
	iobuf_put(op->out.buf);
	mem_free(op);
}

void reads_abort(struct file *f)
{
	while (f->reads) {
		struct read_op *op = f->reads;
		struct vol_req *req = op->req;

		op_free(op);
		file_requeue(f, req);
	}
}

bool reader_interrupt(struct file *f, struct vol_req *req)
{
	struct read_op *op;

	DL_FOREACH(f->reads, op)
		if (op->req == req) {
			op_free(op);
			rs(req)->flags |= REQ_INTERRUPTED;
			vol_complete(f->v, req, -EINTR);
			recall_step(f);
			return true;
		}
	return false;
}

static void op_finish(struct read_op *op)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;

	if (!file_lease_good(f, LEASE_SHARED) || f->epoch != op->epoch) {
		op_free(op);
		file_requeue(f, req);
		file_run(f);
		return;
	}
	req->out = op->out;
	req->out_len = op->len;
	op->out = (struct slice){0};
	op_free(op);
	f->kernel_may_cache = true;
	vol_complete(f->v, req, 0);
	recall_step(f);
	file_put_if_unused(f);
}

static uint8_t *op_out(struct read_op *op)
{
	if (!op->out.buf) {
		op->out = (struct slice){iobuf_new_reserve(op->len), 0, op->len};
		memset(op->out.buf->data, 0, op->len);
	}
	return op->out.buf->data;
}

static void piece_done(struct read_piece *p)
{
	piece_quiet(p);
	p->done = true;
	if (--p->op->left == 0)
		op_finish(p->op);
}

/* --- putting a piece together --- */

static bool overlaps(const struct record *r, const struct read_piece *p)
{
	return r->off < p->off + p->len && p->off < r->off + r->len;
}

static void lay_over(struct read_piece *p, const struct block *b)
{
	uint8_t *out = op_out(p->op) + p->out_off;
	struct record *r;

	DL_FOREACH(b->records, r) {
		uint32_t from = MAX(r->off, p->off), to = MIN(r->off + r->len, p->off + p->len);

		if (from >= to)
			continue;
		if (r->op == WRITE_ZERO)
			memset(out + (from - p->off), 0, to - from);
		else
			memcpy(out + (from - p->off), slice_data(r->data) + (from - r->off), to - from);
	}
}

/* One record, or an unbroken run of them, covers all that is wanted: no replica need be asked. */
static bool covered(const struct read_piece *p, const struct block *b)
{
	uint32_t at = p->off;
	struct record *r;
	bool grew = true;

	while (grew && at < p->off + p->len) {
		grew = false;
		DL_FOREACH(b->records, r)
			if (r->off <= at && r->off + r->len > at) {
				at = r->off + r->len;
				grew = true;
			}
	}
	return at >= p->off + p->len;
}

static bool overlaid(const struct read_piece *p, const struct block *b)
{
	struct record *r;

	if (b)
		DL_FOREACH(b->records, r)
			if (overlaps(r, p))
				return true;
	return false;
}

static void copy_pages(struct read_piece *p, const struct msg_read_reply *r, struct slice payload)
{
	uint8_t *out = op_out(p->op) + p->out_off;
	uint32_t at = 0;

	for (uint32_t i = 0; i < r->len / PAGE_BYTES; i++) {
		uint32_t page = r->off + i * PAGE_BYTES;
		uint32_t from = MAX(page, p->off), to = MIN(page + PAGE_BYTES, p->off + p->len);

		if (!bit_get(r->present, i))
			continue;
		if (from < to)
			memcpy(out + (from - p->off),
			       slice_data(payload) + at * PAGE_BYTES + (from - page), to - from);
		at++;
	}
}

static void page_next(struct read_piece *p);

static void piece_take(struct read_piece *p, const struct msg_read_reply *r, struct slice payload)
{
	struct read_op *op = p->op;
	struct block *b = block_find(op->f, p->no);
	bool whole = payload.len == p->to - p->from && !p->single;

	if (op->pieces == 1 && whole && !overlaid(p, b)) {
		op->out = (struct slice){iobuf_get(payload.buf), payload.off + (p->off - p->from), p->len};
	} else {
		copy_pages(p, r, payload);
		if (b)
			lay_over(p, b);
	}
	if (p->single) {
		lost_written(op->f, p->no, p->from, PAGE_BYTES); /* it was not */
		page_next(p);
	} else {
		piece_done(p);
	}
}

/* --- asking replicas --- */

static void note_latency(struct volume *v, const struct rpc *rpc)
{
	struct peer *peer = peer_get(v, rpc->m.dst);
	nsec_t took = v->now - rpc->sent_at;

	if (rpc->sent_at == 0)
		return;
	peer->latency = peer->latency ? (7 * peer->latency + took) / 8 : took;
}

/* The answer of replica `tag`; the rpc ends in any case, and another replica may be asked. */
static bool on_read(struct rpc *rpc, const struct msg *m)
{
	struct read_piece *p = rpc->ctx;
	struct file *f = p->op->f;
	struct volume *v = f->v;
	const struct msg_read_reply *r = &m->read_reply;
	struct block *b = block_find(f, p->no);
	unsigned i = rpc->tag;

	if (m->type != MSG_TYPE_read_reply || r->file != f->ino || r->block != p->no)
		return false;
	peer_answered(v, m, r->status);
	if (r->seal > f->epoch && !VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED)) {
		lease_sealed(f, r->seal);
		return true;
	}
	if (r->status == STATUS_OK && r->off == p->from && r->len == p->to - p->from &&
	    !(b && version_cmp(r->version, b->freed) < 0)) {
		if (read_reply_good(f, r, m->payload)) {
			note_latency(v, rpc);
			piece_take(p, r, m->payload);
			return true;
		}
		vol_log(v, "volume.checksum", "file=%" PRIu64 " block=%" PRIu64 " server=%u",
			f->ino, p->no, m->src);
		repair_note_bad(f, p->no, m->src, PAGE_UNKNOWN);
	} else if (r->status == STATUS_BAD_PAGE) {
		p->bad |= 1u << i;
		repair_note_bad(f, p->no, m->src, r->off / PAGE_BYTES);
	} else if (r->status == STATUS_UNKNOWN) {
		repair_note_blank(f, m->src);
	}
	p->rpc[i] = NULL;
	rpc_cancel(rpc);
	piece_next(p);
	return true;
}

static void ask(struct read_piece *p, unsigned i)
{
	struct file *f = p->op->f;
	struct block *b = block_find(f, p->no);
	struct msg m = {.type = MSG_TYPE_read, .dst = p->server[i]};

	p->tried |= 1u << i;
	m.read.file = f->ino;
	m.read.map = file_placement(f, m.dst);
	m.read.epoch = f->epoch;
	m.read.block = p->no;
	m.read.block_shift = f->attr.block_shift;
	m.read.off = p->from;
	m.read.len = p->to - p->from;
	m.read.min = b ? b->freed : VERSION_NONE;
	p->rpc[i] = rpc_start(f->v, &m, on_read, p, i);
}

static nsec_t hedge_after(struct volume *v, server_id_t s)
{
	nsec_t latency = peer_get(v, s)->latency;

	if (VOL_BUG(v, VOLUME_BUG_NO_HEDGE))
		return 10 * NSEC_SEC;
	return latency ? MAX(2 * latency, HEDGE_MIN) : MAX(2 * peer_rtt(v, s), HEDGE_UNKNOWN);
}

/* --- bad pages --- */

/* Whom to ask. Of one that is stale for nothing but a bad page the other pages are as good as anybody's. */
static void find_replicas(struct read_piece *p)
{
	struct file *f = p->op->f;
	struct block *b = block_find(f, p->no);

	p->replicas = replicas_by_nearness(f, p->no, p->order, p->server);
	for (unsigned i = 0; b && p->single && i < REPLICAS; i++)
		if ((b->only_bad >> i & 1) && (stale_get(&f->stale, p->no) >> i & 1) &&
		    !file_behind(f, b->server[i]))
			p->order[p->replicas++] = i;
}

/* Everybody says that a page is bad, or is away. */
static bool all_bad(const struct read_piece *p)
{
	for (unsigned k = 0; k < p->replicas; k++)
		if (!(p->bad >> p->order[k] & 1) &&
		    !(peer_get(p->op->f->v, p->server[p->order[k]])->down && (p->tried >> p->order[k] & 1)))
			return false;
	return p->bad != 0;
}

static void page_ask(struct read_piece *p, uint32_t page)
{
	piece_quiet(p);
	p->single = true;
	p->from = page;
	p->to = page + PAGE_BYTES;
	p->tried = p->bad = 0;
	find_replicas(p);
	piece_next(p);
}

static void page_next(struct read_piece *p)
{
	if (p->to >= p->end)
		piece_done(p);
	else
		page_ask(p, p->to);
}

/* The part that is wanted of the page was written since and is still here. */
static bool page_covered(const struct read_piece *p)
{
	struct block *b = block_find(p->op->f, p->no);
	struct read_piece part = *p;

	part.off = MAX(p->off, p->from);
	part.len = MIN(p->off + p->len, p->to) - part.off;
	return b && b->records && covered(&part, b);
}

static void op_fail(struct read_op *op)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;

	if (!file_lease_good(f, LEASE_SHARED) || f->epoch != op->epoch) {
		op_finish(op);
		return;
	}
	op_free(op);
	vol_complete(f->v, req, -EIO);
	recall_step(f);
	file_put_if_unused(f);
}

/* Which page is bad where is found out one by one; one that is bad everywhere is an error of this read
 * alone (P7). */
static void piece_bad(struct read_piece *p)
{
	struct file *f = p->op->f;

	if (!p->single) {
		page_ask(p, p->from);
	} else if (page_covered(p)) {
		lay_over(p, block_find(f, p->no));
		page_next(p);
	} else {
		lost_add(f, p->no, p->from / PAGE_BYTES);
		op_fail(p->op);
	}
}

/* Asks the next replica; when all have been, waits for any of them and then starts over. */
static void piece_next(struct read_piece *p)
{
	struct file *f = p->op->f;
	bool asking = false;

	if (all_bad(p)) {
		piece_bad(p);
		return;
	}
	for (unsigned k = 0; k < p->replicas; k++) {
		unsigned i = p->order[k];

		if (p->tried >> i & 1)
			continue;
		ask(p, i);
		timer_set(f->v, &p->timer, f->v->now + hedge_after(f->v, p->server[i]));
		return;
	}
	for (unsigned i = 0; i < REPLICAS; i++)
		asking |= p->rpc[i] != NULL;
	timer_set(f->v, &p->timer, f->v->now + (asking ? 5 * RETRY : RETRY));
}

static void on_piece_timer(struct volume *v, struct vol_timer *t)
{
	struct read_piece *p = container_of(t, struct read_piece, timer);
	unsigned asked = 0;

	for (unsigned k = 0; k < p->replicas; k++)
		asked += p->tried >> p->order[k] & 1;
	if (asked == p->replicas) {
		/* Which replicas are stale may have changed since; ask whoever is not being asked. */
		if (all_bad(p)) {
			piece_bad(p);
			return;
		}
		find_replicas(p);
		p->tried = p->bad = 0;
		for (unsigned i = 0; i < REPLICAS; i++)
			if (p->rpc[i])
				p->tried |= 1u << i;
	} else {
		v->stats.hedged++;
	}
	piece_next(p);
}

static bool hole(struct file *f, const struct block *b)
{
	if (f->lease != LEASE_EXCLUSIVE)
		return false;
	if (!b)
		return f->all_known;
	return b->known && !b->records && version_eq(b->version, VERSION_NONE);
}

static void piece_start(struct read_piece *p)
{
	struct file *f = p->op->f;
	struct block *b = block_find(f, p->no);

	if (hole(f, b)) {
		op_out(p->op);
		piece_done(p);
		return;
	}
	if (b && b->records && covered(p, b)) {
		lay_over(p, b);
		piece_done(p);
		return;
	}
	find_replicas(p);
	piece_next(p);
}

static void pieces_cut(struct read_op *op, uint64_t off, uint64_t end)
{
	uint64_t bytes = file_block_bytes(op->f), at = off;

	for (unsigned i = 0; i < op->pieces; i++) {
		struct read_piece *p = &op->piece[i];
		uint64_t no = at / bytes, to = MIN(end, (no + 1) * bytes);

		p->op = op;
		p->no = no;
		p->off = (uint32_t)(at - no * bytes);
		p->len = (uint32_t)(to - at);
		p->from = ALIGN_DOWN(p->off, PAGE_BYTES);
		p->to = p->end = ALIGN_UP(p->off + p->len, PAGE_BYTES);
		p->out_off = (uint32_t)(at - off);
		p->timer.fire = on_piece_timer;
		at = to;
	}
}

bool read_try(struct file *f, struct vol_req *req)
{
	uint64_t bytes = file_block_bytes(f), end;
	struct read_op *op;
	unsigned pieces, i;

	if (req->off >= f->size || req->len == 0) {
		f->kernel_may_cache = true;
		vol_complete(f->v, req, 0);
		return true;
	}
	end = MIN(f->size, req->off + MIN(req->len, (uint64_t)1 << BLOCK_SHIFT_MAX));
	if (recovery_refuses(f, req->off, end)) {
		vol_complete(f->v, req, -EIO);
		return true;
	}
	pieces = (unsigned)(DIV_UP(end, bytes) - req->off / bytes);
	for (uint64_t no = req->off / bytes; no * bytes < end; no++)
		if (recovery_block_waits(f, no))
			return false;
	op = mem_new(sizeof(*op) + pieces * sizeof(op->piece[0]));
	op->f = f;
	op->req = req;
	op->epoch = f->epoch;
	op->len = (uint32_t)(end - req->off);
	op->pieces = op->left = pieces;
	rs(req)->op = op;
	DL_APPEND(f->reads, op);
	pieces_cut(op, req->off, end);
	f->v->stats.reads++;
	for (i = 0; i < pieces; i++)
		piece_start(&op->piece[i]); /* with the last one the operation may be over */
	return true;
}
