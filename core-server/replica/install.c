/* Installs: repair and recovery copies, by the holder of an epoch (traps A5, B2).
 *
 * Pages and version arrive in one transaction, and only if the block still has the version and
 * the `closed` that the holder saw:
 *
 *   it has               accepted, unless the copy's rank is below the block's: AHEAD
 *   it is what was sent  a repeat: OK, once durable
 *   its rank is higher   AHEAD: nothing ever repairs a replica that is ahead
 *   otherwise            MOVED: the holder starts again from what the reply says
 *
 * A block lost to damage takes a copy of all its pages, or none: BAD_PAGE. */
#include "core-server/replica/internal.h"

static void accept_install(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_install *i = &m->install;
	struct change *c;

	file_ensure_record(r, f, i->map, i->epoch);
	f->rec.seal = MAX(f->rec.seal, i->epoch);
	c = change_new(r, f, CHANGE_INSTALL);
	c->epoch = i->epoch;
	c->from = origin_of(m);
	c->req.op = STORE_INSTALL;
	c->req.block_shift = i->block_shift;
	c->req.data = m->payload;
	c->req.sums = i->sums.p;
	c->req.set = i->set;
	c->req.zeroed = i->zero;
	c->req.lost = i->lost;
	c->req.version = i->version;
	c->req.closed = i->closed;
	c->req.seal = i->epoch;
	c->req.map = i->map;
	r->stats.installs++;
	scrub_note_fixed(r, m);
	TRACE("install.accept file block epoch n", f->file, i->block, i->version.epoch, i->version.n);
	change_submit(c, i->block);
	c->req.data = (struct slice){0}; /* the store has its own reference */
	c->req.sums = NULL;
	c->req.set = c->req.zeroed = c->req.lost = (struct span){0};
}

static struct change *newest_change(const struct file_state *f, uint64_t block)
{
	const struct block_state *b = block_find(f, block);

	return b == NULL ? NULL : b->changes->prev; /* utlist: the head's prev is the tail */
}

static bool is_whole(const struct msg_install *i)
{
	uint32_t count = i->sums.len / 8;

	for (uint32_t at = 0; at < i->zero.len; at++)
		count += (uint32_t)__builtin_popcount(i->zero.p[at]);
	return count == block_bytes(i->block, i->block_shift) / PAGE_BYTES;
}

static enum status judge(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_install *i = &m->install;
	struct store_block tip = block_tip(r, f, i->block);
	struct rank now = {closed_of(r, &f->rec, i->block, &tip), tip.version};
	struct rank sent = {i->closed, i->version};
	struct change *last = newest_change(f, i->block);
	bool blind = replica_has_bug(r, REPLICA_BUG_INSTALL_BLIND);

	if (tip.damaged && !is_whole(i))
		return STATUS_BAD_PAGE;
	if (block_broken(f, i->block))
		return STATUS_BUSY;
	if (blind || (version_eq(now.version, i->old) && now.closed == i->old_closed)) {
		if (!blind && rank_cmp(sent, now) < 0)
			return STATUS_AHEAD;
		if (r->n_changes >= CHANGES_MAX)
			return STATUS_BUSY;
		accept_install(r, f, m);
		return STATUS_PENDING;
	}
	if (version_eq(now.version, i->version) && now.closed >= i->closed) {
		if (last == NULL)
			return STATUS_OK;
		if (last->kind == CHANGE_INSTALL)
			last->from = origin_of(m);
		return STATUS_PENDING;
	}
	return rank_cmp(sent, now) < 0 ? STATUS_AHEAD : STATUS_MOVED;
}

void replica_install(struct replica *r, const struct msg *m)
{
	const struct msg_install *i = &m->install;
	struct file_state *f = NULL;
	enum status s = STATUS_INVALID;

	if (check_install(m))
		s = replica_admit(r, i->file, i->map, i->epoch, false, &f);
	if (s == STATUS_OK)
		s = judge(r, f, m);
	if (f != NULL) {
		file_check(f);
		file_put_idle(r, f);
	}
	if (s == STATUS_PENDING)
		return;
	if (s != STATUS_OK)
		(void)replica_refuse(r, s);
	replica_answer_write(r, origin_of(m), MSG_TYPE_install_reply, s, i->file, i->block,
	                     i->version);
}
