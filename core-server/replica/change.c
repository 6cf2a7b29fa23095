/* Accepted changes: from the hand-over to the store until they are durable. */
#include "core-server/replica/internal.h"

struct change *change_new(struct replica *r, struct file_state *f, enum change_kind kind)
{
	struct change *c = mem_new(sizeof(*c));

	c->r = r;
	c->file = f;
	c->kind = kind;
	c->req.file = f->file;
	return c;
}

static void unlink_change(struct change *c)
{
	struct block_state *b = c->block;

	c->r->n_changes--;
	c->file->busy--;
	if (b == NULL) {
		DL_DELETE(c->file->changes, c);
		return;
	}
	DL_DELETE(b->changes, c);
	b->closes -= c->kind != CHANGE_WRITE;
	b->broken = b->broken || c->req.result != 0;
	if (b->changes == NULL) {
		HASH_DELETE(hh, c->file->blocks, b);
		mem_free(b);
	}
	c->block = NULL;
}

static void finish(struct change *c)
{
	struct replica *r = c->r;
	int result = c->req.result;

	switch (c->kind) {
	case CHANGE_WRITE:
	case CHANGE_INSTALL:
		replica_write_done(c);
		break;
	case CHANGE_KEEP:
		/* Without it the record behind it would lower a rank: better no server than that. */
		if (result != 0)
			r->disk_failed = true;
		break;
	case CHANGE_RECORD:
		if (result == 0)
			c->file->seal_durable = MAX(c->file->seal_durable, c->epoch);
		if (c->close)
			replica_close_done(c);
		break;
	case CHANGE_DELETE:
		collect_deleted(c);
		break;
	}
	if (result != 0)
		(void)replica_disk_status(r, result);
}

static void on_durable(struct store_req *req)
{
	struct change *c = container_of(req, struct change, req);
	struct replica *r = c->r;
	struct file_state *f = c->file;
	bool of_block = c->block != NULL;

	TRACE("durable file block kind result", f->file, req->block, c->kind, -req->result);
	unlink_change(c);
	finish(c);
	replica_seal_progress(r, f, c->kind == CHANGE_RECORD ? req->result : 0);
	file_check(f);
	if (of_block)
		replica_reads_retry(r, f->file, req->block);
	file_put_idle(r, NULL);
	mem_free(c);
}

void change_submit(struct change *c, uint64_t block)
{
	struct file_state *f = c->file;
	struct block_state *b;

	CHECK(c->epoch <= f->rec.seal); /* and stays so: a seal only rises */
	c->r->n_changes++;
	f->busy++;
	c->req.done = on_durable;
	if (c->kind == CHANGE_RECORD || c->kind == CHANGE_DELETE) {
		DL_APPEND(f->changes, c);
		store_submit(c->r->store, &c->req);
		return;
	}
	c->req.block = block;
	b = block_find(f, block);
	if (b == NULL) {
		b = mem_new(sizeof(*b));
		b->block = block;
		HASH_ADD(hh, f->blocks, block, sizeof(b->block), b);
	}
	c->block = b;
	b->closes += c->kind != CHANGE_WRITE;
	DL_APPEND(b->changes, c);
	store_submit(c->r->store, &c->req);
}
