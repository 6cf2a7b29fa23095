/* Cutting a file, and making holes in it (trap A7).
 *
 * A cut is one atomic step here: a scan says which blocks lie beyond, then the attribute record with
 * the new size and the pending trim gets its number, and a WRITE_ZERO of each block the next ones.
 * The zeros wait (record.gate) until the attribute record is flushed, so that no crash leaves zeros
 * under the old size; recovery repeats a pending trim. A second cut waits for the first. */
#include "access-server/volume/parts.h"

static void zero_part(struct file *f, const struct scan_entry *e, uint64_t off, uint64_t end, uint64_t gate)
{
	uint64_t bytes = file_block_bytes(f), start = e->no * bytes;
	uint64_t from = MAX(off, start), to = MIN(end, start + bytes);
	struct block *b = scan_block(f, e);

	if (from < to && !(e->holes && !b->records))
		writer_add(f, b, WRITE_ZERO, (uint32_t)(from - start), (uint32_t)(to - from),
			   (struct slice){0}, gate);
}

static void cut(struct scan_op *op)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;
	struct scan *s = op->scan;
	uint64_t size = req->op == VOL_OPEN ? 0 : req->size, bytes = file_block_bytes(f);

	if (f->trim_from != UINT64_MAX || !block_known(f, BLOCK_ATTR) || size >= f->size) {
		scan_op_end(op);
		file_requeue(f, req); /* another cut was faster */
		return;
	}
	f->size = size;
	attr_now(f, true);
	attr_dirty(f, true);
	if (s->n > 0 && !VOL_BUG(f->v, VOLUME_BUG_NO_TRIM)) {
		f->trim_from = size;
		f->trim_at = (struct version){f->epoch, f->n + 1};
		CHECK(attr_write(f));
		f->gate = f->n;
		for (unsigned i = 0; i < s->n; i++)
			zero_part(f, &s->entry[i], size, (s->entry[i].no + 1) * bytes, f->gate);
		f->trim_n = f->n;
		writer_push(f->v);
	}
	scan_op_end(op);
	setattr_after_truncate(f, req, 0);
	truncate_progress(f);
}

bool truncate_try(struct file *f, struct vol_req *req)
{
	uint64_t size = req->op == VOL_OPEN ? 0 : req->size, bytes = file_block_bytes(f);

	if (size > FILE_BYTES_MAX) {
		vol_complete(f->v, req, -EFBIG);
		return true;
	}
	if (privs_strip(f, req))
		return true;
	if (f->trim_from != UINT64_MAX || f->recovery_waits || !block_known(f, BLOCK_ATTR))
		return false;
	f->kernel_may_cache = true;
	if (size < f->size) {
		/* To the very end: a write may make the file grow while the scan is under way. */
		scan_op_start(f, req, size / bytes, FILE_BYTES_MAX / bytes - 1, cut);
		return true;
	}
	if (size > f->size) {
		f->size = size;
		attr_dirty(f, true);
	}
	attr_now(f, true);
	setattr_after_truncate(f, req, 0);
	return true;
}

/* The trim is done: the next attribute record says so. A record that still names it does no harm,
 * since every block it speaks of is newer now. */
void truncate_progress(struct file *f)
{
	if (f->trim_from == UINT64_MAX || f->recovery_waits || f->lease != LEASE_EXCLUSIVE ||
	    !file_flushed(f, f->trim_n))
		return;
	f->trim_from = UINT64_MAX;
	attr_dirty(f, false);
	file_run(f);
}

/* --- FALLOCATE --- */

static uint64_t range_end(const struct vol_req *req)
{
	uint64_t end;

	return __builtin_add_overflow(req->off, req->len, &end) ? UINT64_MAX : end;
}

static void grow(struct file *f, struct vol_req *req)
{
	uint64_t end = range_end(req);

	if (!(req->flags & VOL_F_KEEP_SIZE) && !(req->flags & VOL_F_PUNCH) && end > f->size) {
		f->size = end;
		attr_dirty(f, true);
	}
	attr_now(f, true);
	f->kernel_may_cache = true;
	vol_complete(f->v, req, 0);
}

static void punch(struct scan_op *op)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;

	for (unsigned i = 0; i < op->scan->n; i++)
		zero_part(f, &op->scan->entry[i], req->off, range_end(req), 0);
	scan_op_end(op);
	grow(f, req);
}

bool fallocate_try(struct file *f, struct vol_req *req)
{
	uint64_t end = range_end(req), bytes = file_block_bytes(f);

	if (req->len == 0 || end > FILE_BYTES_MAX) {
		vol_complete(f->v, req, req->len == 0 ? -EINVAL : -EFBIG);
		return true;
	}
	if (privs_strip(f, req))
		return true;
	/* Blocks that recovery has not decided yet cannot be zeroed upon. */
	if (f->recovery_waits)
		return false;
	if ((req->flags & (VOL_F_PUNCH | VOL_F_ZERO_RANGE)) && req->off < f->size)
		scan_op_start(f, req, req->off / bytes, (MIN(end, f->size) - 1) / bytes, punch);
	else
		grow(f, req);
	return true;
}
