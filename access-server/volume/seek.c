/* SEEK_DATA and SEEK_HOLE: a scan says which blocks exist, then the present bits of one block after
 * another (reads of checksums only), with the records on their way laid over them, by pages. */
#include "access-server/volume/parts.h"

static void look(struct scan_op *op);

static void finish(struct scan_op *op, int rc, uint64_t pos)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;

	scan_op_end(op);
	req->out_len = pos;
	vol_complete(f->v, req, rc);
}

/* A page is data if a record on its way wrote to it, a hole if one zeroed all of it; the newest
 * word counts. */
static void lay_over(struct block *b, uint8_t *bits, unsigned pages)
{
	struct record *r;

	if (!b)
		return;
	DL_FOREACH(b->records, r) {
		bool data = r->op == WRITE_DATA;
		uint32_t first = data ? r->off / PAGE_BYTES : DIV_UP(r->off, PAGE_BYTES);
		uint32_t end = data ? DIV_UP(r->off + r->len, PAGE_BYTES) : (r->off + r->len) / PAGE_BYTES;

		for (uint32_t p = first; p < end && p < pages; p++) {
			if (data)
				bit_set(bits, p);
			else
				bits[p / 8] &= (uint8_t)~(1u << p % 8);
		}
	}
}

/* Looks through one block. True: found, and the operation has ended. */
static bool look_in(struct scan_op *op, uint64_t no, struct span present)
{
	struct file *f = op->f;
	bool want = (op->req->flags & VOL_F_SEEK_DATA) != 0;
	uint64_t bytes = file_block_bytes(f), start = no * bytes;
	unsigned pages = (unsigned)(bytes / PAGE_BYTES);
	uint8_t *bits = mem_new(BLOCK_PAGES_MAX / 8);
	uint64_t pos = op->pos;

	memcpy(bits, present.p, MIN(present.len, BLOCK_PAGES_MAX / 8));
	lay_over(block_find(f, no), bits, pages);
	while (pos < start + bytes && pos < f->size) {
		unsigned page = (unsigned)((pos - start) / PAGE_BYTES);

		if ((bits[page / 8] >> page % 8 & 1) == want)
			break;
		pos = ALIGN_DOWN(pos, PAGE_BYTES) + PAGE_BYTES;
	}
	mem_free(bits);
	op->pos = pos;
	if (pos >= f->size || pos >= start + bytes)
		return false;
	finish(op, 0, pos);
	return true;
}

static bool on_sums(struct rpc *rpc, const struct msg *m)
{
	struct scan_op *op = rpc->ctx;
	struct file *f = op->f;
	const struct msg_read_reply *r = &m->read_reply;
	struct block *b = block_find(f, r->block);
	uint64_t bytes = file_block_bytes(f);

	if (m->type != MSG_TYPE_read_reply || r->file != f->ino || r->block != rpc->m.read.block)
		return false;
	if (r->seal > f->epoch) {
		lease_sealed(f, r->seal);
		return true;
	}
	op->rpc = NULL;
	rpc_cancel(rpc);
	if (r->status != STATUS_OK || r->len != bytes || (b && version_cmp(r->version, b->freed) < 0)) {
		look(op); /* the next replica */
		return true;
	}
	op->tried = 0;
	op->at++;
	if (!look_in(op, r->block, r->present))
		look(op);
	recall_step(f);
	file_put_if_unused(f);
	return true;
}

static void on_seek_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	struct scan_op *op = container_of(t, struct scan_op, timer);

	rpc_cancel(op->rpc);
	op->rpc = NULL;
	look(op);
}

static void ask(struct scan_op *op, uint64_t no)
{
	struct file *f = op->f;
	struct msg m = {.type = MSG_TYPE_read};
	unsigned order[REPLICAS], n, k = 0;
	server_id_t server[REPLICAS];

	n = replicas_by_nearness(f, no, order, server);
	while (k < n && (op->tried >> order[k] & 1))
		k++;
	op->timer.fire = on_seek_timer;
	if (k == n) {
		op->tried = 0;
		timer_set(f->v, &op->timer, f->v->now + 200 * NSEC_MSEC);
		return;
	}
	op->tried |= 1u << order[k];
	m.dst = server[order[k]];
	m.read.file = f->ino;
	m.read.map = file_placement(f, m.dst);
	m.read.epoch = f->epoch;
	m.read.block = no;
	m.read.block_shift = f->attr.block_shift;
	m.read.flags = READ_SUMS_ONLY;
	m.read.len = (uint32_t)file_block_bytes(f);
	op->rpc = rpc_start(f->v, &m, on_sums, op, 0);
	timer_set(f->v, &op->timer, f->v->now + MAX(4 * peer_rtt(f->v, m.dst), 200 * NSEC_MSEC));
}

/* Goes on from op->pos: a gap between existing blocks is a hole. */
static void look(struct scan_op *op)
{
	struct file *f = op->f;
	bool want = (op->req->flags & VOL_F_SEEK_DATA) != 0;
	uint64_t bytes = file_block_bytes(f);

	timer_stop(f->v, &op->timer);
	while (op->pos < f->size) {
		struct scan *s = op->scan;
		uint64_t no = op->pos / bytes;
		struct scan_entry *e;

		while (op->at < s->n && s->entry[op->at].no < no)
			op->at++;
		e = op->at < s->n ? &s->entry[op->at] : NULL;
		if (e && e->no == no) {
			ask(op, no);
			return;
		}
		if (!want) {
			finish(op, 0, op->pos);
			return;
		}
		op->pos = e ? e->no * bytes : f->size;
	}
	if (want)
		finish(op, -ENXIO, 0);
	else
		finish(op, 0, f->size);
}

static void start(struct scan_op *op)
{
	op->pos = op->req->off;
	look(op);
}

bool seek_try(struct file *f, struct vol_req *req)
{
	uint64_t bytes = file_block_bytes(f);

	if (req->off >= f->size) {
		vol_complete(f->v, req, -ENXIO);
		return true;
	}
	scan_op_start(f, req, req->off / bytes, (f->size - 1) / bytes, start);
	return true;
}
