/* Applying the log: batches, dispatch and exactly-once slots (RFC 8881, 2.10.6). */
#include "hint-server/catalog/internal.h"

/* What to do with each op and what answers it. */
struct handler {
	catalog_op *apply;
	enum msg_type reply;
	bool slotted;
};

/* The slot remembers the refusal as it does any answer: see refuse() in quorum/requests.c. */
static enum status op_refused(struct catalog *c, const struct msg *op, struct catalog_reply *reply)
{
	(void)c;
	(void)reply;
	return op->op_refused.refusal == STATUS_OK ? STATUS_INVALID
	                                           : (enum status)op->op_refused.refusal;
}

static const struct handler handlers[MSG_TYPE_MAX] = {
	[MSG_TYPE_op_session] = {op_session, MSG_TYPE_r_session, false},
	[MSG_TYPE_op_session_end] = {op_session_end, MSG_TYPE_r_status, false},
	[MSG_TYPE_op_create] = {op_create, MSG_TYPE_r_inode, true},
	[MSG_TYPE_op_link] = {op_link, MSG_TYPE_r_inode, true},
	[MSG_TYPE_op_unlink] = {op_unlink, MSG_TYPE_r_inode, true},
	[MSG_TYPE_op_rename] = {op_rename, MSG_TYPE_r_inode, true},
	[MSG_TYPE_op_setattr] = {op_setattr, MSG_TYPE_r_inode, true},
	[MSG_TYPE_op_setxattr] = {op_setxattr, MSG_TYPE_r_status, true},
	[MSG_TYPE_op_lease] = {op_lease, MSG_TYPE_r_lease, true},
	[MSG_TYPE_op_release] = {op_release, MSG_TYPE_r_status, true},
	[MSG_TYPE_op_reclaim] = {op_reclaim, MSG_TYPE_r_lease, true},
	[MSG_TYPE_op_lock] = {op_lock, MSG_TYPE_r_status, true},
	[MSG_TYPE_op_orphan_gone] = {op_orphan_gone, MSG_TYPE_r_status, false},
	[MSG_TYPE_op_drain] = {op_drain, MSG_TYPE_r_status, false},
	[MSG_TYPE_op_shown] = {op_shown, MSG_TYPE_r_status, false},
	[MSG_TYPE_op_refused] = {op_refused, MSG_TYPE_r_status, true},
	[MSG_TYPE_op_move] = {op_move, MSG_TYPE_r_status, true},
};

static const struct handler *handler_of(const struct msg *op)
{
	if ((unsigned)op->type >= MSG_TYPE_MAX || !handlers[op->type].apply)
		return NULL;
	return &handlers[op->type];
}

/* --- slots --- */

/* Slot record: u32 seq, the reply's body (msg.h). A stale map is left out: it can be large, and
 * as long as the asker holds the lease it is the file's. */
static void slot_store(struct catalog *c, const struct msg *op, const struct msg *reply)
{
	struct key k = key2('r', op->q_statfs.session, op->q_statfs.slot);
	struct msg kept = *reply;
	size_t len;
	uint8_t *bytes;

	if (kept.type == MSG_TYPE_r_lease)
		kept.r_lease.stale = (struct span){0};
	len = 4 + msg_body_bytes(&kept);
	bytes = catalog_scratch(c, len);
	put_u32le(bytes, op->q_statfs.seq);
	msg_encode_body(&kept, bytes + 4);
	db_put(c, &k, bytes, len);
}

static void slot_answer(struct catalog *c, struct cursor cur, struct catalog_reply *reply)
{
	const struct msg_r_lease *r = &reply->m.r_lease;
	struct inode i;

	if (msg_decode_body(cur.p, cur.left, &reply->m) < 0) {
		db_corrupt(c);
		return;
	}
	if (reply->m.type == MSG_TYPE_r_lease && r->granted == LEASE_EXCLUSIVE &&
	    inode_load(c, r->ino, &i) && i.holder == r->session && i.epoch == r->epoch)
		reply_stale(c, reply, r->ino);
}

/* True when the slot settles the request: a repeated one, or an impossible one. */
static bool slot_settles(struct catalog *c, const struct msg *op, const struct handler *h,
                         struct catalog_reply *reply)
{
	const struct msg_q_statfs *head = &op->q_statfs;
	struct key k = key2('r', head->session, head->slot);
	struct kv_span v;
	uint32_t seq;

	reply_start(reply, h->reply, op, STATUS_OK);
	if (!session_load(c, head->session, &c->session)) {
		reply->m.r_status.status = STATUS_NO_SESSION;
		return true;
	}
	if (head->slot >= CATALOG_SLOTS) {
		reply->m.r_status.status = STATUS_INVALID;
		return true;
	}
	if (!db_get(c, &k, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	seq = cursor_u32(&cur);
	if (head->seq == seq && !(c->bugs & CATALOG_BUG_NO_SLOTS))
		slot_answer(c, cur, reply);
	else if (head->seq < seq)
		reply->m.r_status.status = STATUS_INVALID;
	else
		return false;
	return true;
}

bool catalog_repeated(struct catalog *c, const struct msg *op, struct catalog_reply *reply)
{
	const struct handler *h = handler_of(op);
	const struct msg_q_statfs *head = &op->q_statfs;
	struct key k = key2('r', head->session, head->slot);
	struct kv_span v;

	if (!h || !h->slotted || c->bugs & CATALOG_BUG_NO_SLOTS)
		return false;
	if (!db_get(c, &k, &v) || v.len < 4 || get_u32le(v.p) != head->seq)
		return false;
	return slot_settles(c, op, h, reply) && c->rc == 0;
}

/* --- entries --- */

static void apply_op(struct catalog *c, const struct msg *op, struct catalog_reply *reply)
{
	const struct handler *h = handler_of(op);

	if (!h) {
		reply_start(reply, MSG_TYPE_r_status, op, STATUS_INVALID);
		return;
	}
	if (h->slotted && slot_settles(c, op, h, reply))
		return;
	reply_start(reply, h->reply, op, STATUS_OK);
	reply->m.r_status.status = (uint16_t)h->apply(c, op, reply);
	if (h->slotted && c->rc == 0)
		slot_store(c, op, &reply->m);
}

int catalog_apply(struct catalog *c, uint64_t index, const struct msg *op,
                  struct catalog_reply *reply)
{
	bool own = !c->batch;
	int rc;

	memset(&reply->m, 0, sizeof(reply->m));
	if (index <= c->meta.applied)
		return 0;
	rc = own ? catalog_begin(c) : c->rc;
	if (rc < 0)
		return rc;
	c->index = index;
	c->meta.applied = index;
	meta_changed(c);
	if (op)
		apply_op(c, op, reply);
	ending_sweep(c);
	refill_sweep(c);
	if (own)
		return catalog_commit(c);
	return c->rc;
}

uint64_t catalog_applied(const struct catalog *c)
{
	return c->meta.applied;
}

int catalog_begin(struct catalog *c)
{
	int rc;

	CHECK(!c->batch);
	rc = c->rc < 0 ? c->rc : kv_begin(c->kv);
	if (rc < 0)
		return rc;
	c->batch = true;
	return 0;
}

/* After a failure the voter stops, so the caches need not be read again. */
static int end_batch(struct catalog *c)
{
	int rc;

	CHECK(c->batch);
	rc = meta_flush(c);
	c->batch = false;
	if (rc < 0)
		kv_abort(c->kv);
	return rc;
}

int catalog_commit(struct catalog *c)
{
	int rc = end_batch(c);

	return rc < 0 ? rc : kv_commit(c->kv);
}

int catalog_commit_start(struct catalog *c, void (*done)(void *ctx, int rc), void *ctx)
{
	int rc = end_batch(c);

	if (rc < 0)
		return rc;
	kv_commit_start(c->kv, done, ctx);
	return 0;
}

void catalog_abort(struct catalog *c)
{
	CHECK(c->batch);
	kv_abort(c->kv);
	c->batch = false;
	c->rc = catalog_reload(c);
}
