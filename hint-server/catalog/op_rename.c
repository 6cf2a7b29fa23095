/* Names that go or move: unlink, rmdir, rename (POSIX, renameat2). */
#include "hint-server/catalog/internal.h"

#include <stdio.h>
#include <sys/stat.h>

static enum status open_dir(struct catalog *c, uint64_t ino, struct span name, struct inode *dir)
{
	enum status status = name_check(name);

	if (status != STATUS_OK)
		return status;
	if (!inode_load(c, ino, dir))
		return STATUS_STALE;
	return inode_is(dir, S_IFDIR) ? STATUS_OK : STATUS_NOT_DIR;
}

static void touch_dir(struct inode *dir, uint64_t now)
{
	dir->mtime = now;
	dir->ctime = now;
}

/* An entry and what it leads to. False: no such name. */
static bool find(struct catalog *c, uint64_t dir, struct span name, struct entry *e,
                 struct inode *i)
{
	if (!entry_find(c, dir, name, e))
		return false;
	if (!inode_load(c, e->ino, i)) {
		db_corrupt(c);
		return false;
	}
	return true;
}

enum status op_unlink(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_unlink *op = &m->op_unlink;
	struct inode dir, i;
	enum status status = open_dir(c, op->dir, op->name, &dir);
	struct entry e;

	if (status != STATUS_OK)
		return status;
	if (!find(c, op->dir, op->name, &e, &i))
		return STATUS_NOT_FOUND;
	if (op->rmdir && !inode_is(&i, S_IFDIR))
		return STATUS_NOT_DIR;
	if (!op->rmdir && inode_is(&i, S_IFDIR))
		return STATUS_IS_DIR;
	if (op->rmdir && i.size > 0)
		return STATUS_NOT_EMPTY;
	entry_remove(c, &dir, op->name, &e);
	if (op->rmdir)
		dir.nlink--;
	touch_dir(&dir, op->now);
	inode_drop_link(c, &i, op->now);
	inode_store(c, &dir);
	inode_store(c, &i);
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}

/* --- rename --- */

struct side {
	struct inode *dir;  /* both sides may share one */
	struct span name;
	bool there;
	struct entry entry;
	struct inode inode;
};

static bool is_dir(const struct side *s)
{
	return inode_is(&s->inode, S_IFDIR);
}

/* Moving a directory into itself or below would cut both off from the root. */
static bool would_loop(struct catalog *c, const struct side *moved, const struct side *to)
{
	return is_dir(moved) && entry_is_below(c, to->dir->ino, moved->inode.ino);
}

static enum status check_replace(struct catalog *c, const struct side *from, const struct side *to,
                                 unsigned flags)
{
	if (to->there && flags & RENAME_NOREPLACE)
		return STATUS_EXISTS;
	if (would_loop(c, from, to))
		return STATUS_LOOP;
	if (!to->there)
		return STATUS_OK;
	if (is_dir(from) && !is_dir(to))
		return STATUS_NOT_DIR;
	if (!is_dir(from) && is_dir(to))
		return STATUS_IS_DIR;
	if (is_dir(to) && to->inode.size > 0)
		return STATUS_NOT_EMPTY;
	return STATUS_OK;
}

static enum status check_exchange(struct catalog *c, const struct side *from, const struct side *to)
{
	if (!to->there)
		return STATUS_NOT_FOUND;
	return would_loop(c, from, to) || would_loop(c, to, from) ? STATUS_LOOP : STATUS_OK;
}

/* The inode of `s` now lives in `dir`. */
static void adopt(struct side *s, struct inode *dir, uint64_t now)
{
	if (is_dir(s)) {
		s->dir->nlink--;
		dir->nlink++;
	}
	s->inode.parent = dir->ino;
	s->inode.ctime = now;
}

static void exchange(struct catalog *c, struct side *from, struct side *to, uint64_t now)
{
	entry_replace(c, to->dir->ino, to->name, &to->entry, &from->inode);
	entry_replace(c, from->dir->ino, from->name, &from->entry, &to->inode);
	adopt(from, to->dir, now);
	adopt(to, from->dir, now);
	inode_store(c, &to->inode);
}

static void move(struct catalog *c, struct side *from, struct side *to, uint64_t now)
{
	entry_remove(c, from->dir, from->name, &from->entry);
	adopt(from, to->dir, now);
	if (!to->there) {
		entry_add(c, to->dir, to->name, &from->inode);
		return;
	}
	entry_replace(c, to->dir->ino, to->name, &to->entry, &from->inode);
	if (is_dir(to))
		to->dir->nlink--;
	inode_drop_link(c, &to->inode, now);
	inode_store(c, &to->inode);
}

/* Loads both sides. *new_dir is only used when the directories differ. */
static enum status open_sides(struct catalog *c, const struct msg_op_rename *op, struct side *from,
                              struct side *to, struct inode *new_dir)
{
	enum status status = open_dir(c, op->dir, op->name, from->dir);

	if (status != STATUS_OK)
		return status;
	to->dir = op->dir == op->new_dir ? from->dir : new_dir;
	status = name_check(op->new_name);
	if (status == STATUS_OK && to->dir == new_dir)
		status = open_dir(c, op->new_dir, op->new_name, new_dir);
	if (status != STATUS_OK)
		return status;
	from->name = op->name;
	to->name = op->new_name;
	from->there = find(c, op->dir, op->name, &from->entry, &from->inode);
	to->there = find(c, op->new_dir, op->new_name, &to->entry, &to->inode);
	return from->there && to->dir->nlink > 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status op_rename(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_rename *op = &m->op_rename;
	struct inode dir, new_dir;
	struct side from = {.dir = &dir}, to = {0};
	bool swap = op->flags == RENAME_EXCHANGE;
	enum status status;

	if (op->flags != 0 && op->flags != RENAME_NOREPLACE && !swap)
		return STATUS_INVALID;
	status = open_sides(c, op, &from, &to, &new_dir);
	if (status != STATUS_OK)
		return status;
	/* Two names of one inode: nothing happens (POSIX). */
	if (op->flags != RENAME_NOREPLACE && to.there && to.inode.ino == from.inode.ino)
		return STATUS_OK;
	status = swap ? check_exchange(c, &from, &to) : check_replace(c, &from, &to, op->flags);
	if (status != STATUS_OK)
		return status;
	if (swap)
		exchange(c, &from, &to, op->now);
	else
		move(c, &from, &to, op->now);
	touch_dir(from.dir, op->now);
	touch_dir(to.dir, op->now);
	inode_store(c, from.dir);
	if (to.dir != from.dir)
		inode_store(c, to.dir);
	inode_store(c, &from.inode);
	if (!swap && to.there)
		reply_inode(&reply->m.r_inode, &to.inode);
	reply->m.r_inode.moved = from.inode.ino;
	reply->m.r_inode.swapped = swap ? to.inode.ino : 0;
	return STATUS_OK;
}
