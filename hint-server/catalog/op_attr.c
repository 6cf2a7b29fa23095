/* Attributes and extended attributes. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

#define SETATTR_KILL (SETATTR_KILL_SUID | SETATTR_KILL_CAPS)
#define SETATTR_ALL                                                                              \
	(SETATTR_MODE | SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME |  \
	 SETATTR_KILL)

static struct span caps_name(void)
{
	return (struct span){(const uint8_t *)XATTR_CAPS, sizeof(XATTR_CAPS) - 1};
}

bool name_is_caps(struct span name)
{
	struct span caps = caps_name();

	return name.len == caps.len && memcmp(name.p, caps.p, caps.len) == 0;
}

/* setgid without the group's right to execute is none, but an old mark for mandatory locks. */
static uint32_t rights(uint32_t mode)
{
	return (mode & S_ISUID) | (mode & S_IXGRP ? mode & S_ISGID : 0);
}

bool setattr_gives_rights(const struct msg_op_setattr *op, const struct inode *i)
{
	return inode_is(i, S_IFREG) && op->valid & SETATTR_MODE && rights(op->mode) & ~rights(i->mode);
}

/* A holder takes setuid, setgid and capabilities away when it writes, and knows of them from its
 * lease: they are given while nobody else holds one. */
static bool held_by_other(const struct inode *i, session_id_t session)
{
	return i->holder != 0 && i->holder != session;
}

/* True: there was something to take away. */
static bool kill_rights(struct catalog *c, struct inode *i, uint32_t valid)
{
	struct key k = key_name('x', i->ino, caps_name());
	uint32_t mode = i->mode;
	struct kv_span old;

	if (valid & SETATTR_KILL_SUID)
		i->mode &= ~rights(mode);
	if (!(valid & SETATTR_KILL_CAPS && i->flags & INO_CAPS) || !db_get(c, &k, &old))
		return i->mode != mode;
	i->xattr_names -= caps_name().len + 1;
	i->xattr_values -= (uint32_t)old.len;
	i->flags = (uint8_t)(i->flags & ~INO_CAPS);
	db_del(c, &k);
	return true;
}

enum status op_setattr(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_setattr *op = &m->op_setattr;
	bool changed = op->valid & ~(uint32_t)(SETATTR_KILL | SETATTR_CTIME);
	struct inode i;

	if (op->valid & ~(uint32_t)SETATTR_ALL)
		return STATUS_INVALID;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	if ((op->valid & (SETATTR_ATIME | SETATTR_MTIME) || setattr_gives_rights(op, &i)) &&
	    held_by_other(&i, op->session))
		return STATUS_BUSY;
	changed |= kill_rights(c, &i, op->valid) || !(op->valid & SETATTR_KILL);
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
	if (op->valid & SETATTR_CTIME && changed)
		i.ctime = op->ctime;
	inode_store(c, &i);
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}


static enum status check_xattr(const struct msg_op_setxattr *op, bool there)
{
	if (there && op->flags & XATTR_FLAG_CREATE)
		return STATUS_EXISTS;
	if (!there && op->flags & (XATTR_FLAG_REPLACE | XATTR_FLAG_REMOVE))
		return STATUS_NO_ATTR;
	return STATUS_OK;
}

static bool valid_xattr(const struct msg_op_setxattr *op)
{
	if (op->flags > XATTR_FLAG_REMOVE)
		return false;
	return op->name.len > 0 && !memchr(op->name.p, 0, op->name.len) &&
	       op->value.len <= XATTR_BYTES_MAX;
}

enum status op_setxattr(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_setxattr *op = &m->op_setxattr;
	bool remove = op->flags == XATTR_FLAG_REMOVE, caps = name_is_caps(op->name), there;
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
	if (caps && !remove && held_by_other(&i, op->session))
		return STATUS_BUSY;
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
	if (caps)
		i.flags = (uint8_t)(remove ? i.flags & ~INO_CAPS : i.flags | INO_CAPS);
	i.ctime = op->now;
	inode_store(c, &i);
	return STATUS_OK;
}
