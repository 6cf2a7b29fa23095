/* The exclusive lease of a file: who may write it, in which epoch (P2).
 *
 *            grant (epoch + 1)                    session ends
 *   clean ---------------------> held ---------------------------------> unclean
 *     ^                           | ^                                     |  |
 *     |      release, clean = 1   | | reclaim (same epoch, nobody else)   |  |
 *     +---------------------------+ +-------------------------------------+  |
 *                                 | ^          grant = recovery (epoch + 1)  |
 *         release, clean = 0      | +----------------------------------------+
 *   unclean <---------------------+
 *
 * Shared leases are the leader's own and never stored: nobody may have one while a file is held or
 * unclean, so none is ever lost in a way that a later grant could not tell. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

/* How far above the known epoch a seal may lie: a bad peer must not use up the numbers (P9). */
#define SEAL_AHEAD_MAX ((uint64_t)1 << 40)

static enum status grant_reply(struct catalog *c, const struct inode *i, enum lease_mode mode,
                               struct catalog_reply *reply)
{
	struct msg_r_lease *r = &reply->m.r_lease;

	reply_lease(r, i);
	r->granted = (uint8_t)mode;
	r->recover = mode == LEASE_EXCLUSIVE && i->flags & INO_RECOVER;
	if (mode != LEASE_NONE && i->flags & INO_STALE)
		reply_stale(c, reply, i->ino);
	return STATUS_OK;
}

static void grant(struct catalog *c, struct inode *i, uint64_t above)
{
	bool recover = i->flags & (INO_UNCLEAN | INO_RECOVER) || above > i->epoch;

	if (!(recover && c->bugs & CATALOG_BUG_EPOCH_KEPT && i->epoch > 0))
		i->epoch = MAX(i->epoch, above) + 1;
	i->flags &= (uint8_t)~(INO_UNCLEAN | INO_RECOVER);
	if (recover)
		i->flags |= INO_RECOVER;
	i->lost_by = 0;
	inode_mark_taken(c, i, c->session.server);
	inode_set_holder(c, i, c->session.id);
	inode_store(c, i);
}

enum status op_lease(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_lease *op = &m->op_lease;
	struct inode i;

	if (op->mode != LEASE_SHARED && op->mode != LEASE_EXCLUSIVE)
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	if (!inode_is(&i, S_IFREG) ||
	    (op->above > i.epoch && op->above - i.epoch > SEAL_AHEAD_MAX))
		return STATUS_INVALID;
	if (i.holder != 0 && i.holder != op->session)
		return STATUS_BUSY;
	if (i.holder == op->session && op->above <= i.epoch)
		return grant_reply(c, &i, LEASE_EXCLUSIVE, reply);
	if (op->mode == LEASE_SHARED && i.holder == 0 && !(i.flags & INO_UNCLEAN) &&
	    op->above <= i.epoch)
		return grant_reply(c, &i, LEASE_SHARED, reply);
	/* A seal over the known epoch: what is stored may be newer than the catalog (A8d), recover. */
	grant(c, &i, op->above);
	return grant_reply(c, &i, LEASE_EXCLUSIVE, reply);
}

enum status op_release(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_release *op = &m->op_release;
	struct stale_map stale;
	struct inode i;

	(void)reply;
	if (op->to > LEASE_EXCLUSIVE || op->size > FILE_BYTES_MAX)
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	if (i.holder != op->session || i.epoch != op->epoch)
		return STATUS_LOST;
	stale_init(&stale);
	if (op->stale.len > 0 && stale_decode(&stale, op->stale.p, op->stale.len) < 0) {
		stale_fini(&stale);
		return STATUS_INVALID;
	}
	if (shown_take(c, op->shown) != STATUS_OK) {
		stale_fini(&stale);
		return STATUS_INVALID;
	}
	inode_set_stale(c, &i, &stale);
	stale_fini(&stale);
	i.size = op->size;
	i.pages = op->pages;
	i.atime = op->atime;
	i.mtime = op->mtime;
	/* chmod, link and the like went on in the catalog meanwhile. */
	i.ctime = MAX(i.ctime, op->ctime);
	if (op->clean)
		i.flags &= (uint8_t)~(INO_UNCLEAN | INO_RECOVER);
	if (op->to != LEASE_EXCLUSIVE) {
		if (!op->clean)
			i.flags |= INO_UNCLEAN;
		i.flags &= (uint8_t)~INO_RECOVER;
		inode_set_holder(c, &i, 0);
		if (op->map && op->clean && op->to == LEASE_NONE)
			move_released(c, &i, op);
		refill_apply(c, &i);
	}
	inode_store(c, &i);
	return STATUS_OK;
}

/* --- reclaim: handles of a session that ended (A9) --- */

/* Index of the last grant, of a lease or a lock, to another server than `mine`. */
static uint64_t last_other_grant(const struct inode *i, server_id_t mine)
{
	return i->taken_by == mine ? i->other_index : i->taken_index;
}

/* The lease goes back to a holder whose session ended, in the same epoch: its replicas were not
 * sealed, its buffer is what it was. */
static void give_back(struct catalog *c, struct inode *i)
{
	i->flags &= (uint8_t)~INO_UNCLEAN;
	i->lost_by = 0;
	inode_set_holder(c, i, c->session.id);
}

enum status op_reclaim(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_reclaim *op = &m->op_reclaim;
	struct server_record server;
	struct inode i;
	enum status status;
	bool exclusive;

	if (op->locks.len % CATALOG_RECLAIM_LOCK_BYTES != 0 ||
	    op->locks.len / CATALOG_RECLAIM_LOCK_BYTES > CATALOG_LOCKS_PER_FILE_MAX)
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	reply->m.r_lease.taken_by = i.taken_by;
	if (!server_load(c, c->session.server, &server) || op->old_session == 0 ||
	    server.ended != op->old_session ||
	    last_other_grant(&i, server.id) > server.ended_index)
		return STATUS_LOST;
	exclusive = i.lost_by == op->old_session;
	/* An unclean file is some dead holder's; our own grants since then moved the epoch. */
	if (op->epoch != 0 && (i.epoch != op->epoch || (!exclusive && i.holder != op->session)))
		return STATUS_LOST;
	status = locks_restore(c, op->ino, op->session, op->locks);
	if (status != STATUS_OK)
		return status == STATUS_AGAIN ? STATUS_LOST : status;
	if (op->epoch != 0 && exclusive) {
		give_back(c, &i);
		refill_keep(c, &i);
	}
	if (i.holder == op->session || op->locks.len > 0)
		inode_mark_taken(c, &i, c->session.server);
	inode_store(c, &i);
	return grant_reply(c, &i, i.holder == op->session ? LEASE_EXCLUSIVE : LEASE_NONE, reply);
}
