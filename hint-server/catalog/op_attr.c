/* Attributes and extended attributes. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

#define SETATTR_ALL \
	(SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME)

enum status op_setattr(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_setattr *op = &m->op_setattr;
	struct inode i;

	if (op->valid & ~(uint32_t)SETATTR_ALL)
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	if (op->valid & (SETATTR_ATIME | SETATTR_MTIME) && i.holder != 0 && i.holder != op->session)
		return STATUS_BUSY;
	if (op->valid & SETATTR_MODE)
		i.mode = (i.mode & S_IFMT) | (op->mode & 07777);
	if (op->valid & SETATTR_UID)
		i.uid = op->uid;
	if (op->valid & SETATTR_GID)
		i.gid = op->gid;
	if (op->valid & SETATTR_ATIME)
		i.atime = op->atime;
	if (op->valid & SETATTR_MTIME)
		i.mtime = op->mtime;
	if (op->valid & SETATTR_CTIME)
		i.ctime = op->ctime;
	inode_store(c, &i);
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}


static enum status check_xattr(const struct msg_op_setxattr *op, bool there)
{
	if (there && op->flags == XATTR_FLAG_CREATE)
		return STATUS_EXISTS;
	if (!there && (op->flags == XATTR_FLAG_REPLACE || op->flags == XATTR_FLAG_REMOVE))
		return STATUS_NO_ATTR;
	return STATUS_OK;
}

static bool valid_xattr(const struct msg_op_setxattr *op)
{
	if (op->flags != 0 && op->flags != XATTR_FLAG_CREATE && op->flags != XATTR_FLAG_REPLACE &&
	    op->flags != XATTR_FLAG_REMOVE)
		return false;
	return op->name.len > 0 && !memchr(op->name.p, 0, op->name.len) &&
	       op->value.len <= XATTR_BYTES_MAX;
}

enum status op_setxattr(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_setxattr *op = &m->op_setxattr;
	bool remove = op->flags == XATTR_FLAG_REMOVE, there;
	enum status status;
	struct kv_span old;
	struct inode i;

	(void)reply;
	if (op->name.len > NAME_BYTES_MAX)
		return STATUS_NAME_TOO_LONG;
	if (!valid_xattr(op))
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	struct key k = key_name('x', op->ino, op->name);

	there = db_get(c, &k, &old);
	status = check_xattr(op, there);
	if (status != STATUS_OK)
		return status;
	/* Kept in the inode, so that the bounds need no scan. Sums stay far below 2^32. */
	i.xattr_names += (remove ? 0 : op->name.len + 1) - (there ? op->name.len + 1 : 0);
	i.xattr_values += (remove ? 0 : op->value.len) - (there ? (uint32_t)old.len : 0);
	if (i.xattr_names > CATALOG_XATTR_NAMES_BYTES_MAX ||
	    i.xattr_values > CATALOG_XATTR_VALUES_BYTES_MAX)
		return STATUS_NO_SPACE;
	if (remove)
		db_del(c, &k);
	else
		db_put(c, &k, op->value.p, op->value.len);
	i.ctime = op->now;
	inode_store(c, &i);
	return STATUS_OK;
}
