/* The journal: a circular file of records (record.c) behind two header blocks (open.c), and group
 * commit. One record is on its way at a time; whatever becomes ready meanwhile goes together into the
 * next one. A commit is: write the record, and wait for the large data of its changes; then sync
 * journal and, if it has large data, data file, in parallel; then all of it is durable. */
#include "core-server/store/state.h"

#include "common/base/trace.h"

void journal_push(struct op *op)
{
	struct store *s = op->store;

	DL_APPEND(s->journal.ready, op);
	store_kick(s);
}

static uint64_t journal_data_pages(const struct change *c)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < c->runs_n; i++)
		n += c->runs[i].kind == RUN_JOURNAL ? c->runs[i].pages : 0;
	return n;
}

/* Where a record of `bytes` goes; false if the journal has no room for it. The page behind the last
 * record is never one that is still needed: opening clears it. */
static bool place(const struct store *s, uint64_t bytes, uint64_t keep, uint64_t *off,
                  uint64_t *waste)
{
	const struct journal *j = &s->journal;

	*waste = 0;
	*off = j->head;
	if (j->head + bytes > j->bytes) {
		*waste = j->bytes - j->head;
		*off = JOURNAL_FIRST;
	}
	return j->used + *waste + bytes + keep <= j->bytes - JOURNAL_FIRST;
}

/* Takes what fits into one record from the queue. */
static void gather(struct store *s, struct record *r)
{
	struct batch *b = &s->batch;
	struct op *op;
	uint64_t data = 0;

	r->last_n = s->journal.last_n;
	r->body_bytes = record_footprint_bytes(r->last_n);
	while ((op = s->journal.ready) != NULL && b->ops_n < BATCH_OPS_MAX) {
		uint64_t body = r->body_bytes + record_change_bytes(&op->c);
		uint64_t pages = data + journal_data_pages(&op->c), off, waste;
		uint64_t bytes = ALIGN_UP(body + RECORD_HEAD_BYTES, PAGE_BYTES) + pages * PAGE_BYTES;

		if (b->ops_n && bytes > MIN((uint64_t)BATCH_BYTES_MAX, s->journal.bytes / 8))
			break;
		if (!place(s, bytes, 2 * PAGE_BYTES, &off, &waste)) {
			checkpoint_want(s);
			break;
		}
		DL_DELETE(s->journal.ready, op);
		DL_APPEND(b->ops, op);
		b->ops_n++;
		r->body_bytes = body;
		data = pages;
	}
	r->ops_n = b->ops_n;
	r->data_pages = data;
	r->head_bytes = ALIGN_UP(r->body_bytes + RECORD_HEAD_BYTES, PAGE_BYTES);
}

/* Copies the pages of RUN_JOURNAL runs: the overlay's memory from now on. */
static uint8_t *put_pages(uint8_t *to, const struct op *op)
{
	unsigned k = 0;

	for (unsigned i = 0; i < op->c.runs_n; i++) {
		const struct run *r = &op->c.runs[i];

		for (unsigned p = 0; r->kind != RUN_ZERO && p < r->pages; p++, k++) {
			if (r->kind != RUN_JOURNAL)
				continue;
			memcpy(to, op->src[k], PAGE_BYTES);
			to += PAGE_BYTES;
		}
	}
	return to;
}

static void encode(struct store *s, struct record *r)
{
	struct batch *b = &s->batch;
	uint8_t *p, *pages;
	struct op *op;

	b->buf = jbuf_new(s, b->bytes);
	p = b->buf->mem + RECORD_HEAD_BYTES;
	pages = b->buf->mem + r->head_bytes;
	for (unsigned i = 0; i < s->journal.last_n; i++)
		p = record_put_footprint(p, &s->journal.last[i]);
	DL_FOREACH(b->ops, op)
	{
		p = record_put_change(p, &op->c);
		pages = put_pages(pages, op);
		s->admitted_bytes -= op->cost;
		op->admitted = false;
	}
	CHECK(p == b->buf->mem + RECORD_HEAD_BYTES + r->body_bytes);
	CHECK(pages == b->buf->mem + b->bytes);
	memset(p, 0, (size_t)(b->buf->mem + r->head_bytes - p));
	record_seal(b->buf->mem, r);
}

static void on_record_written(struct disk_req *io);
static void on_synced(struct disk_req *io);

static void write_batch(struct store *s, struct record *r)
{
	struct batch *b = &s->batch;
	uint64_t waste;
	struct op *op;

	b->busy = true;
	b->head_bytes = r->head_bytes;
	b->data = false;
	b->bytes = r->head_bytes + r->data_pages * PAGE_BYTES;
	CHECK(place(s, b->bytes, 0, &b->off, &waste));
	r->off = b->off;
	r->salt = s->journal.salt;
	r->seq = s->journal.seq + 1;
	encode(s, r);
	b->left = 1;
	DL_FOREACH(b->ops, op)
	{
		b->left += op->writes_left > 0;
		b->data = b->data || op->writes;
		op->in_batch = true;
	}
	/* Without data in its place there is nothing else to wait for. */
	if (b->data)
		store_io(s, &b->write, DISK_WRITE, s->journal.file, b->off, b->buf->mem, b->bytes,
		         on_record_written);
	else
		store_io_durable(s, &b->write, s->journal.file, b->off, b->buf->mem, b->bytes,
		                 on_synced);
}

void journal_start(struct store *s)
{
	struct record r = {0};

	if (s->batch.busy || !s->journal.ready || s->failed || !s->serving)
		return;
	gather(s, &r);
	if (s->batch.ops_n)
		write_batch(s, &r);
}

/* An empty record vouches for the one before it: from then on rot in that one is damage, not a torn
 * tail. Written when the journal has been quiet for a moment. */
void journal_seal(struct store *s)
{
	struct journal *j = &s->journal;
	struct record r = {.last_n = j->last_n, .body_bytes = record_footprint_bytes(j->last_n)};
	uint64_t off, waste;

	if (s->batch.busy || j->ready || j->sealed || s->failed)
		return;
	r.head_bytes = ALIGN_UP(r.body_bytes + RECORD_HEAD_BYTES, PAGE_BYTES);
	if (place(s, r.head_bytes, PAGE_BYTES, &off, &waste))
		write_batch(s, &r);
}

static void remember(struct store *s)
{
	struct journal *j = &s->journal;
	struct op *op;

	j->last = mem_resize(j->last, MAX(s->batch.ops_n, 1), sizeof(*j->last));
	j->last_n = 0;
	DL_FOREACH(s->batch.ops, op)
	{
		j->last[j->last_n++] = (struct footprint){op->c.op, op->c.file, op->c.block, op->c.seal};
	}
}

static void finish_op(struct store *s, struct op *op)
{
	struct store_req *req = op->req;
	struct file *f = op->file;

	space_spend(s, op);
	req->result = s->failed;
	op_free(op);
	if (req->op == STORE_DELETE) {
		f->deleting = false;
		submit_pump_file(s, f);
	}
	req->done(req);
}

static void apply_batch(struct store *s)
{
	struct batch *b = &s->batch;
	uint8_t *pages = b->buf->mem + b->head_bytes;
	struct op *op;

	DL_FOREACH(b->ops, op)
	{
		s->space.reserved -= op->reserved;
		op->reserved = 0;
		apply_change(s, &op->c, b->buf, pages);
		pages += journal_data_pages(&op->c) * PAGE_BYTES;
	}
}

/* Durable, or failed for ever: all of it is answered, in order. */
static void end_batch(struct store *s)
{
	struct batch *b = &s->batch;
	struct journal *j = &s->journal;
	struct op *op;

	if (!s->failed) {
		uint64_t waste = b->off < j->head ? j->bytes - j->head : 0;

		j->seq++;
		j->used += waste + b->bytes;
		j->head = b->off + b->bytes;
		j->sealed = b->ops_n == 0;
		j->written = s->config.now(s->config.ctx);
		remember(s);
		apply_batch(s);
	}
	jbuf_put(b->buf);
	b->buf = NULL;
	while ((op = b->ops) != NULL) {
		DL_DELETE(b->ops, op);
		op_landed(op);
		finish_op(s, op);
	}
	b->ops_n = 0;
	b->busy = false;
	if (checkpoint_due(s, j->written))
		checkpoint_want(s);
	submit_pump(s);
	store_kick(s);
}

static void on_synced(struct disk_req *io)
{
	struct store *s = io->owner;
	struct batch *b = &s->batch;

	if (io->result < 0 && s->config.bugs & STORE_BUG_SYNC_RETRIED && !s->failed) {
		store_io(s, io, DISK_SYNC, io->file, 0, NULL, 0, on_synced);
		return;
	}
	if (io->result < 0)
		store_fail(s, io->result, "%s the %s file failed: %s; what it covered may be "
		           "lost, so this disk is out of service: replace it and format anew",
		           io->op == DISK_SYNC ? "a sync of" : "a durable write to",
		           io->file == s->data ? "data" : "journal", err_text(io->result));
	if (--b->left == 0)
		end_batch(s);
}

static void part_written(struct store *s)
{
	struct batch *b = &s->batch;

	if (--b->left)
		return;
	if (s->failed) {
		end_batch(s);
		return;
	}
	if (s->config.bugs & STORE_BUG_NO_DATA_SYNC)
		b->data = false;
	b->left = 1 + b->data;
	if (b->data)
		store_io(s, &b->data_sync, DISK_SYNC, s->data, 0, NULL, 0, on_synced);
	store_io(s, &b->sync, DISK_SYNC, s->journal.file, 0, NULL, 0, on_synced);
}

static void on_record_written(struct disk_req *io)
{
	struct store *s = io->owner;

	if (io->result < 0)
		store_fail(s, io->result, "writing %" PRIu64 " bytes at %" PRIu64
		           " of the journal failed: %s; replace the disk", io->len, io->off,
		           err_text(io->result));
	part_written(s);
}

void journal_data_written(struct op *op)
{
	if (op->in_batch)
		part_written(op->store);
	else if (op->store->failed)
		store_kick(op->store);
}

uint64_t store_journal_position(const struct store *s)
{
	return s->journal.seq;
}
