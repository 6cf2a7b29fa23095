/* Seals (design section 5, trap A2): the promise to refuse lower epochs of a file.
 *
 * A seal counts in memory at once: later requests of lower epochs are refused. It is answered when
 * every accepted change of a lower epoch is durable and then the seal itself is, in a record that
 * is kept for files of which this server holds no block, too. */
#include "core-server/replica/internal.h"

/* Counting more would stall the loop, and nobody needs the number but people. */
#define COUNT_MAX 65536

static uint64_t count_blocks(struct replica *r, file_id_t file)
{
	struct store_block b;
	uint64_t n = 0, block;

	for (uint64_t from = 0; n < COUNT_MAX; from = block + 1) {
		if (!store_next_block(r->store, file, from, &block, &b) || block == BLOCK_ATTR)
			break;
		n++;
	}
	return n;
}

static void answer(struct replica *r, struct file_state *f, file_id_t file, struct origin to,
                   uint64_t epoch, enum status s)
{
	struct msg m = {.type = MSG_TYPE_seal_reply};
	struct msg_seal_reply *reply = &m.seal_reply;
	struct store_file rec;

	*reply = (struct msg_seal_reply){.status = (uint16_t)s, .file = file, .epoch = epoch};
	if (s != STATUS_INVALID && s != STATUS_DISK && file_durable(r, file, &rec)) {
		reply->seal = rec.seal;
		reply->closed = replica_has_bug(r, REPLICA_BUG_NO_CLOSED) ? 0 : rec.closed;
	}
	if (f != NULL) {
		reply->complete = file_complete(r, f);
		if (s == STATUS_OK)
			reply->blocks = count_blocks(r, file);
	}
	replica_reply(r, to, &m);
}

static bool record_on_its_way(const struct file_state *f)
{
	const struct change *c;

	DL_FOREACH(f->changes, c)
		if (c->kind == CHANGE_RECORD && c->epoch >= f->rec.seal)
			return true;
	return false;
}

/* Called after every event of the file: answers the waiting seals when their time has come.
 * `result`: of a record that just failed, else 0. */
void replica_seal_progress(struct replica *r, struct file_state *f, int result)
{
	struct seal_wait *w, *next;
	enum status failed = result == 0 ? STATUS_OK : replica_disk_status(r, result);

	if (f->seal_waits == NULL)
		return;
	if (failed == STATUS_OK && !replica_has_bug(r, REPLICA_BUG_ACK_AFTER_SEAL)) {
		if (file_has_older(f))
			return;
		if (f->seal_durable < f->rec.seal) {
			if (!record_on_its_way(f))
				(void)file_submit_record(r, f);
			return;
		}
	}
	DL_FOREACH_SAFE(f->seal_waits, w, next) {
		enum status s = failed;

		if (s == STATUS_OK && w->epoch < f->rec.seal)
			s = replica_refuse(r, STATUS_SEALED);
		answer(r, f, f->file, w->from, w->epoch, s);
		DL_DELETE(f->seal_waits, w);
		mem_free(w);
		f->n_seal_waits--;
		f->busy--;
	}
}

static void wait_for_seal(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_seal *q = &m->seal;
	struct seal_wait *w;

	r->stats.seals++;
	f->rec.seal = MAX(f->rec.seal, q->epoch);
	if (!f->exists)
		f->rec.complete = file_complete(r, f);
	if (f->rec.map == 0)
		f->rec.map = q->map;
	DL_FOREACH(f->seal_waits, w)
		if (w->from.peer == m->src && w->epoch == q->epoch)
			break;
	if (w == NULL) {
		w = mem_new(sizeof(*w));
		w->epoch = q->epoch;
		DL_APPEND(f->seal_waits, w);
		f->n_seal_waits++;
		f->busy++;
	}
	w->from = origin_of(m); /* of a repeat: the newest */
	TRACE("seal file epoch seal older", f->file, q->epoch, f->rec.seal, file_has_older(f));
	replica_seal_progress(r, f, 0);
}

void replica_seal(struct replica *r, const struct msg *m)
{
	const struct msg_seal *q = &m->seal;
	struct file_state *f = NULL;
	enum status s = STATUS_INVALID;

	if (check_file(q->file) && q->epoch != 0)
		s = replica_admit(r, q->file, q->map, q->epoch, false, &f);
	if (s == STATUS_OK && (f->n_seal_waits >= SEAL_WAITS_MAX || r->n_changes >= CHANGES_MAX))
		s = STATUS_BUSY;
	if (s != STATUS_OK) {
		answer(r, f, q->file, origin_of(m), q->epoch, replica_refuse(r, s));
		return;
	}
	wait_for_seal(r, f, m);
	file_check(f);
	file_put_idle(r, f);
}
