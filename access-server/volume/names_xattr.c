/* Extended attributes, present and absent ones cached under the inode's metadata lease: the kernel
 * asks for security.capability with many a write. */
#include "access-server/volume/names.h"

#define OP_XATTR_CREATE 1
#define OP_XATTR_REPLACE 2
#define OP_XATTR_REMOVE 4
#define OP_XATTR_BOTH (OP_XATTR_CREATE | OP_XATTR_REPLACE) /* as XATTR_* of setxattr(2) */

/* The namespaces of xattr(7) without "system.": ACLs would have to be obeyed, not only kept. The
 * kernel has checked who may use which. */
static bool supported(struct span name)
{
	static const char *const namespaces[] = {"user.", "trusted.", "security."};

	for (unsigned i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		size_t len = strlen(namespaces[i]);

		if (name.len > len && memcmp(name.p, namespaces[i], len) == 0)
			return true;
	}
	return false;
}

static void on_bytes(struct name_op *op, const struct msg *m, enum item_kind kind)
{
	unsigned status = m->r_status.status;
	bool absent = status == STATUS_NO_ATTR;
	struct item *i;

	if (m->type != MSG_TYPE_r_bytes && status == STATUS_OK) {
		op_end(op, -EIO);
		return;
	}
	if ((status == STATUS_OK || absent) && m->type == MSG_TYPE_r_bytes && m->r_bytes.meta &&
	    op_fresh(op, op->dir)) {
		op->dir->leased = true;
		i = item_put(op->v, op->dir, kind, op->name, m->r_bytes.bytes);
		i->absent = absent;
	}
	if (op->req && status == STATUS_OK)
		names_give_bytes(op->req, m->r_bytes.bytes);
	op_end(op, vol_status_errno(status));
}

static void on_getxattr(struct name_op *op, const struct msg *m)
{
	on_bytes(op, m, ITEM_XATTR);
}

static void on_listxattr(struct name_op *op, const struct msg *m)
{
	on_bytes(op, m, ITEM_XATTR_LIST);
}

static bool answer_cached(struct volume *v, struct vol_req *req, enum item_kind kind)
{
	struct item *i = item_find(v, req->ino, kind, req->name);

	if (!i || !node_usable(v, i->node))
		return false;
	item_use(v, i);
	if (!i->absent)
		names_give_bytes(req, (struct span){i->value, i->bytes});
	vol_complete(v, req, i->absent ? -ENODATA : 0);
	return true;
}

/* Made here, and nobody gave it any. */
static bool answer_bare(struct volume *v, struct vol_req *req, int rc)
{
	struct node *n = node_find(v, req->ino);

	if (!n || !n->bare || !node_usable(v, n))
		return false;
	vol_complete(v, req, rc);
	return true;
}

void names_getxattr(struct volume *v, struct vol_req *req)
{
	struct name_op *op;

	if (!supported(req->name)) {
		vol_complete(v, req, -EOPNOTSUPP);
		return;
	}
	if (answer_cached(v, req, ITEM_XATTR) || answer_bare(v, req, -ENODATA))
		return;
	op = op_new(v, req, on_getxattr);
	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_getxattr;
	op->ask.q_getxattr.ino = req->ino;
	op->ask.q_getxattr.name = op->name;
	op_send(op);
}

void names_listxattr(struct volume *v, struct vol_req *req)
{
	struct name_op *op;

	if (answer_cached(v, req, ITEM_XATTR_LIST) || answer_bare(v, req, 0))
		return;
	op = op_new(v, req, on_listxattr);
	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_listxattr;
	op->ask.q_listxattr.ino = req->ino;
	op_send(op);
}

static bool is_caps(struct span name)
{
	static const char caps[] = "security.capability";

	return name.len == sizeof(caps) - 1 && memcmp(name.p, caps, name.len) == 0;
}

static void on_setxattr(struct name_op *op, const struct msg *m)
{
	struct item *i = item_find(op->v, op->dir->ino, ITEM_XATTR, op->name);
	struct file *f = file_find(op->v, op->dir->ino);

	if (i)
		item_drop(op->v, i);
	node_drop_kind(op->v, op->dir, ITEM_XATTR_LIST);
	if (m->r_status.status == STATUS_OK) {
		names_touch(op->v, op->dir->ino);
		if (f)
			f->caps |= is_caps(op->name);
	}
	op_end(op, vol_status_errno(m->r_status.status));
}

void names_setxattr(struct volume *v, struct vol_req *req)
{
	struct name_op *op;

	if (!supported(req->name)) {
		vol_complete(v, req, -EOPNOTSUPP);
		return;
	}
	if (req->value.len > XATTR_BYTES_MAX) {
		vol_complete(v, req, -E2BIG);
		return;
	}
	op = op_new(v, req, on_setxattr);
	op->dir = node_pin(v, req->ino);
	op->dir->bare = false;
	op->ask.type = MSG_TYPE_op_setxattr;
	op->ask.op_setxattr.ino = req->ino;
	op->ask.op_setxattr.name = op->name;
	op->ask.op_setxattr.value = req->value;
	op->ask.op_setxattr.flags = req->op == VOL_REMOVEXATTR ? OP_XATTR_REMOVE :
	                                                         req->xattr_flags & OP_XATTR_BOTH;
	op->ask.op_setxattr.now = v->env->wall(v->env);
	op_send(op);
}
