/* What a change would touch: the leader recalls leases on that before it proposes the change, so
 * that no cache shows the old state once the change is acknowledged (A14). */
#include "hint-server/catalog/internal.h"

struct touches {
	struct catalog *c;
	struct catalog_touch *out;
	unsigned n;
};

static struct catalog_touch *touch(struct touches *t, uint64_t ino, unsigned what)
{
	unsigned i = 0;

	while (i < t->n && t->out[i].ino != ino)
		i++;
	if (i == t->n) {
		CHECK(t->n < CATALOG_TOUCH_MAX);
		t->out[t->n++] = (struct catalog_touch){.ino = ino};
	}
	t->out[i].what |= (uint8_t)what;
	return &t->out[i];
}

/* The directory, and what the name leads to now. */
static void touch_name(struct touches *t, uint64_t dir, struct span name)
{
	uint64_t ino;

	touch(t, dir, RECALL_META);
	if (catalog_lookup(t->c, dir, name, &ino))
		touch(t, ino, RECALL_META);
}

/* The data of a file that another session may hold. */
static void touch_data(struct touches *t, uint64_t ino, unsigned what, session_id_t mine)
{
	struct catalog_touch *touched = touch(t, ino, what);
	struct inode i;

	if (inode_load(t->c, ino, &i) && i.holder != mine)
		touched->holder = i.holder;
}

static void touch_lease(struct touches *t, const struct msg_op_lease *op)
{
	struct inode i;

	if (!inode_load(t->c, op->ino, &i) || i.holder == op->session)
		return;
	/* A shared lease on a clean file changes nothing that others may have. */
	if (op->mode == LEASE_SHARED && i.holder == 0 && !(i.flags & INO_UNCLEAN))
		return;
	touch_data(t, op->ino, RECALL_DATA, op->session);
}

static void touch_attr(struct touches *t, const struct msg_op_setattr *op)
{
	struct inode i;

	if (op->valid & (SETATTR_ATIME | SETATTR_MTIME) ||
	    (inode_load(t->c, op->ino, &i) && setattr_gives_rights(op, &i)))
		touch_data(t, op->ino, RECALL_META | RECALL_DATA, op->session);
	else
		touch(t, op->ino, RECALL_META);
}

static void touch_xattr(struct touches *t, const struct msg_op_setxattr *op)
{
	if (name_is_caps(op->name))
		touch_data(t, op->ino, RECALL_META | RECALL_DATA, op->session);
	else
		touch(t, op->ino, RECALL_META);
}

/* Messages without a row change nothing that is leased. */
unsigned catalog_touches(struct catalog *c, const struct msg *op,
                         struct catalog_touch out[CATALOG_TOUCH_MAX])
{
	struct touches t = {c, out, 0};
	unsigned type = (unsigned)op->type;

	if (type == MSG_TYPE_op_create) {
		touch(&t, op->op_create.dir, RECALL_META);
	} else if (type == MSG_TYPE_op_link) {
		touch(&t, op->op_link.dir, RECALL_META);
		touch(&t, op->op_link.ino, RECALL_META);
	} else if (type == MSG_TYPE_op_unlink) {
		touch_name(&t, op->op_unlink.dir, op->op_unlink.name);
	} else if (type == MSG_TYPE_op_rename) {
		touch_name(&t, op->op_rename.dir, op->op_rename.name);
		touch_name(&t, op->op_rename.new_dir, op->op_rename.new_name);
	} else if (type == MSG_TYPE_op_setattr) {
		touch_attr(&t, &op->op_setattr);
	} else if (type == MSG_TYPE_op_setxattr) {
		touch_xattr(&t, &op->op_setxattr);
	} else if (type == MSG_TYPE_op_lease) {
		touch_lease(&t, &op->op_lease);
	} else if (type == MSG_TYPE_op_move) {
		/* Nobody may go on with the old placement, the asker neither. */
		touch_data(&t, op->op_move.ino, RECALL_META | RECALL_DATA, 0);
	}
	return t.n;
}
