/* What replicas say to records: durable, or why not (writer.c sends and frees them).
 *
 * Invariants (traps A5, A6, A8):
 * - `durable` only grows, except for a replica that shows less than it had: that one counts for
 *   nothing any more, with all it has of the file, until it is proven again (repair.c);
 * - a gap is filled from the records kept, or the replica becomes stale; a replica that is ahead is
 *   never repaired: the file becomes unclean, and the next grant decides by rank. */
#include "access-server/volume/parts.h"

static void on_durable(struct block *b, unsigned i, struct version durable)
{
	struct file *f = b->f;
	struct volume *v = f->v;
	uint8_t bit = (uint8_t)(1u << i);

	if (version_cmp(durable, b->durable[i]) <= 0)
		return;
	b->durable[i] = durable;
	b->want_stale &= (uint8_t)~bit;
	b->no_space &= (uint8_t)~bit;
	b->wait[i] = peer_resend_after(v, b->server[i]);
	b->sent_at[i] = v->now;
	/* It was only slow: all that was ever written to this block is there now. */
	if ((stale_get(&f->stale, b->no) & bit) && version_eq(durable, b->version))
		stale_clear(&f->stale, b->no, b->no, i);
	if (b->probing & bit)
		block_resend(b, i);
}

/* The replica is at `has`, which is not what it was told to follow on. */
static void on_gap(struct block *b, unsigned i, struct version asked, struct version has)
{
	struct volume *v = b->f->v;
	struct record *r;

	DL_FOREACH(b->records, r)
		if (version_eq(r->version, asked))
			break;
	if (r && version_cmp(has, r->floor[i]) < 0) {
		/* It shows less than it had when this record was first sent: a disk that lost its
		 * memory (trap A8). Nothing it holds of this file counts any more. */
		vol_log(v, "volume.rolled_back", "file=%" PRIu64 " server=%u shows less than it acknowledged",
		        b->f->ino, b->server[i]);
		b->durable[i] = has;
		file_behind_add(b->f, b->server[i]);
		repair_kick(b->f, NSEC_SEC);
		return;
	}
	DL_FOREACH(b->records, r)
		if (version_eq(r->before, has))
			break;
	if (!r) {
		if (b->records && version_cmp(has, b->records->before) < 0)
			b->want_stale |= (uint8_t)(1u << i);
		return;
	}
	if (v->now < b->gap_at[i] + MAX(peer_rtt(v, b->server[i]), 10 * NSEC_MSEC))
		return;
	b->gap_at[i] = v->now;
	b->sent[i] = r->n - 1;
	block_send_to(b, i);
}

/* The replica holds something newer than what we build upon: never "repaired" (trap A5). The next
 * grant recovers and decides by rank. If two say so, we were wrong from the start. */
static void on_ahead(struct block *b, unsigned i, struct version has)
{
	struct file *f = b->f;

	if (has.epoch == f->epoch && version_cmp(has, b->version) <= 0) {
		on_durable(b, i, has);
		return;
	}
	if (VOL_BUG(f->v, VOLUME_BUG_REPAIR_AHEAD)) {
		repair_note_blank(f, b->server[i]);
		return;
	}
	f->unclean = true;
	b->want_stale |= (uint8_t)(1u << i);
	if (!(b->ahead >> i & 1))
		vol_log(f->v, "volume.ahead",
			"file=%" PRIu64 " block=%" PRIu64 " server=%u has=%" PRIu64 ".%" PRIu64,
			f->ino, b->no, b->server[i], has.epoch, has.n);
	b->ahead |= (uint8_t)(1u << i);
}

static void on_no_space(struct block *b, unsigned i)
{
	struct file *f = b->f;

	space_peer_down(f->v, b->server[i]);
	b->no_space |= (uint8_t)(1u << i);
	b->want_stale |= (uint8_t)(1u << i);
}

/* The record writes a part of a page that no replica can read: nobody will ever take it. */
static bool on_lost_page(const struct block *b, struct version asked)
{
	uint64_t start = b->no * file_block_bytes(b->f);
	const struct record *r;

	DL_FOREACH(b->records, r)
		if (version_eq(r->version, asked))
			return lost_in_part(b->f, start + r->off, start + r->off + r->len);
	return false;
}

/* False: the lease is gone, and the block with it. */
static bool on_refusal(struct block *b, unsigned i, const struct msg_write_reply *r)
{
	struct file *f = b->f;

	switch ((enum status)r->status) {
	case STATUS_SEALED:
		if (r->seal > f->epoch) {
			lease_sealed(f, r->seal);
			return false;
		}
		return true;
	case STATUS_GAP:
		on_gap(b, i, r->asked, r->durable);
		return true;
	case STATUS_AHEAD:
		on_ahead(b, i, r->durable);
		return true;
	case STATUS_NO_SPACE:
		on_no_space(b, i);
		return true;
	case STATUS_DISK:
		b->want_stale |= (uint8_t)(1u << i);
		return true;
	case STATUS_UNKNOWN:
		repair_note_blank(f, b->server[i]);
		return true;
	case STATUS_STALE:
		file_deleted(f);
		return f->lease == LEASE_EXCLUSIVE;
	case STATUS_BAD_PAGE:
		/* A partial write on top of a rotten page: the replica needs the whole block. */
		b->want_stale |= (uint8_t)(1u << i);
		b->stuck = b->stuck || on_lost_page(b, r->asked);
		repair_note_bad(f, b->no, b->server[i], PAGE_UNKNOWN);
		return true;
	case STATUS_OK:
	case STATUS_FENCED:
	case STATUS_WRONG_MAP:
	case STATUS_BUSY:
	case STATUS_NOT_LEADER:
	case STATUS_NO_SESSION:
	case STATUS_INVALID:
	case STATUS_MOVED:
	case STATUS_LOST:
	case STATUS_NOT_FOUND:
	case STATUS_EXISTS:
	case STATUS_NOT_DIR:
	case STATUS_IS_DIR:
	case STATUS_NOT_EMPTY:
	case STATUS_NAME_TOO_LONG:
	case STATUS_TOO_MANY_LINKS:
	case STATUS_NO_ATTR:
	case STATUS_AGAIN:
	case STATUS_DEADLOCK:
	case STATUS_LOOP:
	case STATUS_FILE_TOO_BIG:
	case STATUS_RANGE:
	case STATUS_NOT_PERMITTED:
	case STATUS_PENDING:
		return true; /* the timer asks again */
	}
	return true;
}

static bool hopeless(const struct block *b)
{
	return __builtin_popcount(b->ahead) >= 2 || b->stuck;
}

void writer_recv(struct volume *v, const struct msg *m)
{
	const struct msg_write_reply *r = &m->write_reply;
	struct file *f = file_find(v, r->file);
	struct block *b;
	unsigned i = 0;

	space_given(v, m->src, r->space);
	b = f && f->lease == LEASE_EXCLUSIVE ? block_find(f, r->block) : NULL;
	while (b && i < REPLICAS && b->server[i] != m->src)
		i++;
	if (!b || i == REPLICAS || r->asked.epoch != f->epoch)
		return;
	if (r->seal > f->epoch) {
		lease_sealed(f, r->seal);
		return;
	}
	peer_answered(v, m, r->status);
	if (r->status == STATUS_OK) {
		peer_get(v, m->src)->heard = v->now;
		peer_acknowledged(v, m->src, r);
		on_durable(b, i, r->durable);
		pages_told(b, r->durable, r->pages);
	} else if (!on_refusal(b, i, r)) {
		return;
	}
	if (hopeless(b)) {
		f->unclean = true;
		file_fail(f);
		give_back(f, LEASE_NONE);
		return;
	}
	block_settle(b);
}
