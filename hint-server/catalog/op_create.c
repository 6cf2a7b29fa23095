/* New inodes and links. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

#define MODE_BITS 07777u

/* The directory a name is to be added to. */
static enum status open_dir(struct catalog *c, uint64_t ino, struct span name, struct inode *dir)
{
	enum status status = name_check(name);

	if (status != STATUS_OK)
		return status;
	if (!inode_load(c, ino, dir))
		return STATUS_STALE;
	if (!inode_is(dir, S_IFDIR))
		return STATUS_NOT_DIR;
	return dir->nlink > 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static bool valid_type(const struct msg_op_create *op)
{
	switch (op->mode & S_IFMT) {
	case S_IFREG:
		return op->block_shift == 0 ||
		       (op->block_shift >= BLOCK_SHIFT_MIN && op->block_shift <= BLOCK_SHIFT_MAX);
	case S_IFLNK:
		return op->value.len > 0 && op->value.len <= SYMLINK_BYTES_MAX &&
		       !memchr(op->value.p, 0, op->value.len);
	case S_IFDIR:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		return true;
	default:
		return false;
	}
}

/* Placement, and the lease that saves the creator a round trip. False: no three core servers. */
static bool make_file(struct catalog *c, const struct msg_op_create *op, struct inode *i)
{
	uint16_t sites[REPLICAS];

	if (map_choose_sites(c->map, i->ino, op->home, sites) < 0)
		return false;
	i->site0 = sites[0];
	i->site1 = sites[1];
	i->site2 = sites[2];
	i->map = c->meta.map;
	i->block_shift = op->block_shift ? op->block_shift : BLOCK_SHIFT_DEFAULT;
	map_count(c, i->map, 1);
	c->meta.files++;
	if (op->lease == LEASE_EXCLUSIVE) {
		i->epoch = 1;
		inode_mark_taken(c, i, c->session.server);
		inode_set_holder(c, i, op->session);
	}
	return true;
}

static void make_symlink(struct catalog *c, const struct msg_op_create *op, struct inode *i)
{
	struct key k = key1('y', i->ino);

	i->size = op->value.len;
	db_put(c, &k, op->value.p, op->value.len);
}

static void inherit(struct inode *i, const struct inode *dir)
{
	if (!(dir->mode & S_ISGID))
		return;
	i->gid = dir->gid;
	if (inode_is(i, S_IFDIR))
		i->mode |= S_ISGID;
}

enum status op_create(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_create *op = &m->op_create;
	struct inode dir, i = {
		.mode = op->mode & (S_IFMT | MODE_BITS),
		.uid = op->uid,
		.gid = op->gid,
		.nlink = 1,
		.atime = op->now,
		.mtime = op->now,
		.ctime = op->now,
		.parent = op->dir,
	};
	enum status status = open_dir(c, op->dir, op->name, &dir);
	struct entry e;

	if (status != STATUS_OK)
		return status;
	if (!valid_type(op))
		return STATUS_INVALID;
	if (entry_find(c, op->dir, op->name, &e)) {
		if (inode_load(c, e.ino, &i))
			reply_inode(&reply->m.r_inode, &i);
		return STATUS_EXISTS;
	}
	i.ino = meta_new_file(c);
	inherit(&i, &dir);
	if (inode_is(&i, S_IFREG) && !make_file(c, op, &i))
		return STATUS_NO_SPACE;
	if (inode_is(&i, S_IFLNK))
		make_symlink(c, op, &i);
	if (inode_is(&i, S_IFCHR) || inode_is(&i, S_IFBLK))
		i.rdev = op->rdev;
	if (inode_is(&i, S_IFDIR)) {
		i.nlink = 2;
		i.cookie = COOKIE_FIRST - 1;
		dir.nlink++;
	}
	entry_add(c, &dir, op->name, &i);
	dir.mtime = dir.ctime = op->now;
	inode_store(c, &dir);
	inode_store(c, &i);
	c->meta.inodes++;
	reply_inode(&reply->m.r_inode, &i);
	reply->m.r_inode.lease = i.holder != 0 ? LEASE_EXCLUSIVE : LEASE_NONE;
	return STATUS_OK;
}

enum status op_link(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_link *op = &m->op_link;
	struct inode dir, i;
	enum status status = open_dir(c, op->dir, op->name, &dir);
	struct entry e;

	if (status != STATUS_OK)
		return status;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	if (inode_is(&i, S_IFDIR))
		return STATUS_NOT_PERMITTED;
	if (i.nlink == 0)
		return STATUS_NOT_FOUND;
	if (i.nlink >= CATALOG_LINKS_MAX)
		return STATUS_TOO_MANY_LINKS;
	if (entry_find(c, op->dir, op->name, &e))
		return STATUS_EXISTS;
	i.nlink++;
	i.ctime = op->now;
	i.parent = op->dir;
	entry_add(c, &dir, op->name, &i);
	dir.mtime = dir.ctime = op->now;
	inode_store(c, &dir);
	inode_store(c, &i);
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}
