/* Closing a recovery (design section 5, trap A1): `closed` := the epoch for every block of the file
 * here but the exceptions, blocks without a record included.
 *
 * Closed never falls. A block that becomes an exception loses what the old file record said of it,
 * so that is written into the block's own record first: else a replica that this recovery did not
 * get to would fall behind what an earlier one had ruled out, and lost writes would come back. */
#include "core-server/replica/internal.h"

static void answer(struct replica *r, struct origin to, file_id_t file, uint64_t epoch,
                   enum status s)
{
	struct msg m = {.type = MSG_TYPE_close_reply};
	struct store_file rec;

	m.close_reply = (struct msg_close_reply){.status = (uint16_t)s, .file = file, .epoch = epoch};
	if (s != STATUS_INVALID && s != STATUS_DISK && file_durable(r, file, &rec))
		m.close_reply.seal = rec.seal;
	replica_reply(r, to, &m);
}

/* Keeps `closed` of a block that becomes an exception. */
static void keep_closed(struct replica *r, struct file_state *f, uint64_t block)
{
	struct store_block tip = block_tip(r, f, block);
	uint64_t counts = closed_of(r, &f->rec, block, &tip);
	struct change *c;

	if (counts <= tip.closed)
		return;
	c = change_new(r, f, CHANGE_KEEP);
	c->epoch = f->rec.seal;
	c->req.op = STORE_INSTALL;
	c->req.version = tip.version;
	c->req.closed = counts;
	c->req.seal = f->rec.seal;
	c->req.map = f->rec.map;
	change_submit(c, block);
}

static void accept_close(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_close *q = &m->close;
	unsigned n = q->exceptions.len / 8;
	struct change *c;

	for (unsigned i = 0; i < n; i++)
		keep_closed(r, f, get_u64le(q->exceptions.p + 8 * i));
	mem_free(f->rec.exception);
	f->rec.exception = n == 0 ? NULL : mem_new_array(n, sizeof(*f->rec.exception));
	for (unsigned i = 0; i < n; i++)
		f->rec.exception[i] = get_u64le(q->exceptions.p + 8 * i);
	f->rec.exceptions = n;
	f->rec.closed = q->epoch;
	if (q->complete != 0) {
		f->rec.complete = true;
		f->rec.damaged = false;
	}
	TRACE("close.accept file epoch exceptions complete", f->file, q->epoch, n, q->complete);
	c = file_submit_record(r, f);
	c->close = true;
	c->from = origin_of(m);
}

void replica_close(struct replica *r, const struct msg *m)
{
	const struct msg_close *q = &m->close;
	struct file_state *f = NULL;
	enum status s = STATUS_INVALID;

	if (check_file(q->file) && q->epoch != 0 && q->complete <= 1 &&
	    check_exceptions(q->exceptions))
		s = replica_admit(r, q->file, q->map, q->epoch, false, &f);
	if (s == STATUS_OK && q->epoch != f->rec.seal)
		s = STATUS_MOVED;
	if (s == STATUS_OK && (q->exceptions.len / 8 > r->config.exceptions_max ||
	                       r->n_changes >= CHANGES_MAX))
		s = STATUS_BUSY;
	if (s != STATUS_OK) {
		answer(r, origin_of(m), q->file, q->epoch, replica_refuse(r, s));
		return;
	}
	accept_close(r, f, m);
	file_check(f);
	file_put_idle(r, f);
}

void replica_close_done(struct change *c)
{
	struct replica *r = c->r;
	enum status s = replica_disk_status(r, c->req.result);

	if (s == STATUS_OK && c->epoch < c->file->rec.seal)
		s = replica_refuse(r, STATUS_SEALED);
	answer(r, c->from, c->file->file, c->epoch, s);
}
