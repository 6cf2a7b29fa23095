/* Writes (spec: the version chain; traps A2, A6).
 *
 * `cur` is the block's newest accepted version:
 *
 *   epoch below the seal      SEALED
 *   version <= durable        a repeat: OK with what is durable
 *   version <= cur            a repeat of what is on its way: silence, the reply leaves when durable
 *   cur == prev               accepted
 *   cur < prev                GAP
 *   otherwise                 AHEAD: nobody "repairs" this replica
 *   the block is damaged      BAD_PAGE: what it had is lost, a whole install must come first
 *
 * An acknowledgement leaves only if its epoch is not below the seal at that moment (A2): a seal
 * is answered after all accepted writes of lower epochs are durable, so that what it reports and
 * what was acknowledged agree. */
#include "core-server/replica/internal.h"

void replica_answer_write(struct replica *r, struct origin to, enum msg_type type, enum status s,
                          file_id_t file, uint64_t block, struct version asked)
{
	struct durable d = {0};
	struct msg m = {.type = type};
	struct msg_write_reply *reply = &m.write_reply;

	if (s != STATUS_INVALID && s != STATUS_DISK)
		d = block_durable(r, file, block);
	if (s == STATUS_OK && replica_has_bug(r, REPLICA_BUG_DUP_ACKED_EARLY) &&
	    version_cmp(d.block.version, asked) < 0)
		d.block.version = asked;
	*reply = (struct msg_write_reply){
		.status = (uint16_t)s,
		.file = file,
		.block = block,
		.asked = asked,
		.durable = d.block.version,
		.closed = d.closed,
		.seal = d.seal,
		.boot = r->config.boot,
		.journal = store_journal_position(r->store),
		.pages = d.block.pages,
	};
	replica_reply(r, to, &m);
}

/* The change on its way that makes `version` durable. */
static struct change *find_on_its_way(const struct file_state *f, uint64_t block,
                                      struct version version)
{
	const struct block_state *b = block_find(f, block);
	struct change *c;

	if (b == NULL)
		return NULL;
	DL_FOREACH(b->changes, c)
		if (c->kind == CHANGE_WRITE && version_eq(c->req.version, version))
			return c;
	return NULL;
}

static void accept_write(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_write *w = &m->write;
	struct change *c;

	file_ensure_record(r, f, w->map, w->epoch);
	f->rec.seal = MAX(f->rec.seal, w->epoch);
	c = change_new(r, f, CHANGE_WRITE);
	c->epoch = w->epoch;
	c->from = origin_of(m);
	c->req.op = STORE_WRITE;
	c->req.block_shift = w->block_shift;
	c->req.zero = w->op == WRITE_ZERO;
	c->req.off = w->off;
	c->req.len = w->len;
	c->req.data = m->payload;
	c->req.sums = w->sums.p;
	c->req.version = w->version;
	c->req.seal = w->epoch;
	c->req.map = w->map;
	if (w->op == WRITE_DATA)
		c->req.grant_bytes = space_use(r, m->src, w->paid);
	r->stats.writes++;
	scrub_note_fixed(r, m);
	TRACE("write.accept file block epoch n", f->file, w->block, w->version.epoch, w->version.n);
	change_submit(c, w->block);
	c->req.sums = NULL; /* copied; the data's place is the store's until done() */
}

/* OK: a repeat of what is durable. PENDING: accepted, now or before. */
static enum status judge(struct replica *r, struct file_state *f, const struct msg *m)
{
	const struct msg_write *w = &m->write;
	struct version durable = block_durable(r, f->file, w->block).block.version;
	struct store_block tip = block_tip(r, f, w->block);
	struct version cur = tip.version;
	struct change *c;

	if (tip.damaged)
		return STATUS_BAD_PAGE;

	if (version_cmp(w->version, durable) <= 0)
		return STATUS_OK;
	if (version_cmp(w->version, cur) <= 0) {
		if (replica_has_bug(r, REPLICA_BUG_DUP_ACKED_EARLY))
			return STATUS_OK;
		c = find_on_its_way(f, w->block, w->version);
		if (c != NULL)
			c->from = origin_of(m);
		return STATUS_PENDING;
	}
	if (block_broken(f, w->block))
		return STATUS_BUSY;
	if (version_cmp(cur, w->prev) < 0 && !replica_has_bug(r, REPLICA_BUG_GAP_ACCEPTED))
		return STATUS_GAP;
	if (version_cmp(cur, w->prev) > 0)
		return STATUS_AHEAD;
	if (r->n_changes >= CHANGES_MAX)
		return STATUS_BUSY;
	accept_write(r, f, m);
	return STATUS_PENDING;
}

void replica_write(struct replica *r, const struct msg *m)
{
	const struct msg_write *w = &m->write;
	struct file_state *f = NULL;
	enum status s = STATUS_INVALID;

	if (check_write(m))
		s = replica_admit(r, w->file, w->map, w->epoch, false, &f);
	if (s == STATUS_OK && !file_complete(r, f))
		s = STATUS_UNKNOWN;
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
	replica_answer_write(r, origin_of(m), MSG_TYPE_write_reply, s, w->file, w->block, w->version);
}

/* The store is done with a write or an install. */
void replica_write_done(struct change *c)
{
	struct replica *r = c->r;
	struct file_state *f = c->file;
	bool install = c->kind == CHANGE_INSTALL;
	enum status s = replica_disk_status(r, c->req.result);

	if (s == STATUS_OK) {
		f->seal_durable = MAX(f->seal_durable, c->epoch);
		if (install)
			file_end_exception(f, c->req.block);
		if (c->epoch < f->rec.seal && !replica_has_bug(r, REPLICA_BUG_ACK_AFTER_SEAL))
			s = replica_refuse(r, STATUS_SEALED);
	} else if (s == STATUS_GAP && install) {
		s = STATUS_MOVED;
	} else if (s == STATUS_BAD_PAGE && c->req.bad_given) {
		s = replica_refuse(r, STATUS_INVALID);
	} else if (s == STATUS_BAD_PAGE) {
		scrub_note_bad(r, f->file, c->req.block, c->req.bad_page);
	}
	replica_answer_write(r, c->from, install ? MSG_TYPE_install_reply : MSG_TYPE_write_reply, s,
	                     f->file, c->req.block, c->req.version);
}
