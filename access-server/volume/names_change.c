/* Changes of the namespace. The leader recalls what others have cached before it proposes one; our
 * own cache follows from the reply. */
#include "access-server/volume/names.h"

#include <sys/stat.h>

#define NOT_KNOWN UINT64_MAX

/* What the directory's entry leads to now (0: nowhere), if that may be said at all. What the kernel
 * believes of the name until `kernel_until` stays on record for a recall. */
static struct item *set_entry(struct name_op *op, struct node *dir, struct span name, uint64_t ino,
                              nsec_t kernel_until)
{
	struct volume *v = op->v;
	struct item *i = item_find(v, dir->ino, ITEM_ENTRY, name);
	bool known = ino != NOT_KNOWN && dir->leased && op_fresh(op, dir);

	node_drop_kind(v, dir, ITEM_DIRENTS);
	dir->whole &= known;
	kernel_until = MAX(kernel_until, i ? i->kernel_until : 0);
	if (!known && kernel_until <= v->now) {
		if (i)
			item_drop(v, i);
		return NULL;
	}
	i = item_put(v, dir, ITEM_ENTRY, name, (struct span){0});
	i->kernel_until = kernel_until;
	i->ino = known ? ino : 0;
	i->unknown = !known;
	return known ? i : NULL;
}

static uint64_t cached_ino(struct volume *v, uint64_t dir, struct span name)
{
	struct item *i = item_find(v, dir, ITEM_ENTRY, name);

	return i && !i->unknown && i->node->leased ? i->ino : 0;
}

static void touch_dirs(struct name_op *op)
{
	names_touch(op->v, op->dir->ino);
	if (op->other)
		names_touch(op->v, op->other->ino);
}

/* Attributes are old from the sending on, and again when it is done: those asked for in between may
 * be of before or after the change. */
static void send_change(struct name_op *op)
{
	touch_dirs(op);
	if (op->moved)
		names_touch(op->v, op->moved);
	op_send(op);
}

/* The directory's lease, if the reply brings it: before the entries are set. True: it does. */
static bool take_dir_lease(struct name_op *op, const struct msg_r_inode *r)
{
	if (!r->dir_meta || !op_fresh(op, op->dir))
		return false;
	node_lease(op->v, op->dir);
	return true;
}

/* What was answered before the change is old; what the change's own reply says is not. */
static void take_dir_attr(struct name_op *op, const struct msg_r_inode *r, bool leased)
{
	struct file *f = file_find(op->v, op->dir->ino);

	touch_dirs(op);
	if (!leased || !f || !f->have_attr)
		return;
	f->attr.nlink = r->dir_nlink;
	f->size = f->attr.size = r->dir_size;
	f->mtime = f->attr.mtime = r->dir_mtime;
	f->ctime = f->attr.ctime = r->dir_ctime;
	f->meta = true;
}

/* --- create --- */

static void on_created(struct name_op *op, const struct msg_r_inode *r)
{
	struct vol_req *req = op->req;
	bool leased = take_dir_lease(op, r);
	struct item *i = set_entry(op, op->dir, op->name, r->ino, 0);
	struct file *f;

	take_dir_attr(op, r, leased);
	f = r->lease == LEASE_EXCLUSIVE ? file_created_with_lease(op->v, r, op->seq)
	                                : file_take_change(op->v, r, op->seq);
	if (r->meta && f->meta)
		node_begin_new(op->v, r->ino, S_ISDIR(r->mode));
	if (!req) {
		/* Nobody waited for it, so that the kernel knows neither the inode nor a handle. */
		f->forgotten = true;
		file_put_if_unused(f);
		return;
	}
	f->forgotten = false;
	if (S_ISREG(r->mode))
		handle_open(op->v, f, req);
	names_fill_attr(req, f);
	if (i)
		names_tell_entry(op->v, req, i);
}

/* Somebody else made it meanwhile. Without O_EXCL it is opened; to cut it needs another call. */
static int on_exists(struct name_op *op, const struct msg_r_inode *r)
{
	struct vol_req *req = op->req;
	struct msg_r_inode plain = *r;
	struct file *f;

	if (!req || req->flags & VOL_F_EXCL || !r->ino || !S_ISREG(r->mode))
		return -EEXIST;
	if (req->flags & VOL_F_TRUNC)
		return -ESTALE;
	plain.meta = 0;
	plain.lease = LEASE_NONE;
	f = file_take_inode(op->v, &plain, op->seq);
	f->forgotten = false;
	handle_open(op->v, f, req);
	names_fill_attr(req, f);
	return 0;
}

static void on_create(struct name_op *op, const struct msg *m)
{
	unsigned status = m->r_status.status;
	int rc = vol_status_errno(status);

	if (m->type != MSG_TYPE_r_inode)
		rc = status == STATUS_OK ? -EIO : rc;
	else if (status == STATUS_OK)
		on_created(op, &m->r_inode);
	else if (status == STATUS_EXISTS)
		rc = on_exists(op, &m->r_inode);
	op_end(op, rc);
}

void names_create(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_create);
	struct msg_op_create *c = &op->ask.op_create;

	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_op_create;
	c->dir = req->ino;
	c->name = op->name;
	c->mode = req->mode;
	c->uid = req->uid;
	c->gid = req->gid;
	c->rdev = req->rdev;
	c->now = v->env->wall(v->env);
	c->block_shift = v->config.block_shift;
	c->lease = S_ISREG(req->mode) ? LEASE_EXCLUSIVE : LEASE_NONE;
	c->home = v->config.site;
	c->value = req->value;
	send_change(op);
}

/* --- link --- */

static void on_link(struct name_op *op, const struct msg *m)
{
	const struct msg_r_inode *r = &m->r_inode;
	struct vol_req *req = op->req;
	struct item *i;
	struct file *f;
	bool leased;

	if (m->type != MSG_TYPE_r_inode || r->status != STATUS_OK) {
		op_end(op, r->status == STATUS_OK ? -EIO : vol_status_errno(r->status));
		return;
	}
	leased = take_dir_lease(op, r);
	i = set_entry(op, op->dir, op->name, r->ino, 0);
	take_dir_attr(op, r, leased);
	f = file_take_change(op->v, r, op->seq);
	if (req) {
		f->forgotten = false;
		names_fill_attr(req, f);
		if (i)
			names_tell_entry(op->v, req, i);
	}
	op_end(op, 0);
}

void names_link(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_link);

	op->dir = node_pin(v, req->ino);
	op->moved = req->new_ino;
	op->ask.type = MSG_TYPE_op_link;
	op->ask.op_link.ino = req->new_ino;
	op->ask.op_link.dir = req->ino;
	op->ask.op_link.name = op->name;
	op->ask.op_link.now = v->env->wall(v->env);
	send_change(op);
}

/* --- unlink, rmdir --- */

static void drop_node_of(struct volume *v, uint64_t ino)
{
	struct node *n = node_find(v, ino);

	if (n)
		node_drop(v, n);
}

static void take_unlinked(struct name_op *op, const struct msg_r_inode *r)
{
	if (file_find(op->v, r->ino))
		file_take_change(op->v, r, op->seq);
	drop_node_of(op->v, r->ino);
}

static void on_unlink(struct name_op *op, const struct msg *m)
{
	unsigned status = m->r_status.status;
	bool inode = m->type == MSG_TYPE_r_inode;
	bool leased = status == STATUS_OK && inode && take_dir_lease(op, &m->r_inode);

	if (status == STATUS_OK) {
		set_entry(op, op->dir, op->name, 0, 0);
		take_dir_attr(op, &m->r_inode, leased);
		if (inode && m->r_inode.ino)
			take_unlinked(op, &m->r_inode);
	}
	op_end(op, vol_status_errno(status));
}

void names_unlink(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_unlink);

	op->dir = node_pin(v, req->ino);
	op->moved = cached_ino(v, req->ino, req->name);
	op->ask.type = MSG_TYPE_op_unlink;
	op->ask.op_unlink.dir = req->ino;
	op->ask.op_unlink.name = op->name;
	op->ask.op_unlink.rmdir = req->op == VOL_RMDIR;
	op->ask.op_unlink.now = v->env->wall(v->env);
	send_change(op);
}

/* --- rename --- */

#define RENAME_EXCHANGE 2

static struct node *new_dir(const struct name_op *op)
{
	return op->other ? op->other : op->dir;
}

static nsec_t kernel_until(struct name_op *op, struct node *dir, struct span name)
{
	struct item *i = item_find(op->v, dir->ino, ITEM_ENTRY, name);

	return i ? i->kernel_until : 0;
}

/* What lies somewhere else now: its ctime, and a directory's "..". */
static void take_moved(struct volume *v, uint64_t ino)
{
	struct node *n = ino ? node_find(v, ino) : NULL;
	struct item *up = item_find(v, ino, ITEM_ENTRY, (struct span){(const uint8_t *)"..", 2});

	if (!ino)
		return;
	names_touch(v, ino);
	if (!n)
		return;
	n->pins++;
	node_drop_kind(v, n, ITEM_DIRENTS);
	if (up)
		item_drop(v, up);
	node_unpin(v, n);
}

/* The kernel moves its own entries along, with what validity they had. */
static void renamed(struct name_op *op, const struct msg *m)
{
	const struct msg_r_inode *r = &m->r_inode;
	bool leased = m->type == MSG_TYPE_r_inode && !op->other && take_dir_lease(op, r);
	nsec_t from = kernel_until(op, op->dir, op->name);
	nsec_t to = kernel_until(op, new_dir(op), op->new_name);
	bool exchange = op->ask.op_rename.flags & RENAME_EXCHANGE;
	uint64_t moved = m->type == MSG_TYPE_r_inode ? r->moved : 0;
	uint64_t swapped = m->type == MSG_TYPE_r_inode ? r->swapped : 0;
	uint64_t left = !exchange ? 0 : swapped ? swapped : NOT_KNOWN;

	if (!moved && m->type == MSG_TYPE_r_inode)
		return; /* two names of one inode */
	set_entry(op, new_dir(op), op->new_name, moved ? moved : NOT_KNOWN, from);
	set_entry(op, op->dir, op->name, left, to);
	take_dir_attr(op, r, leased);
	take_moved(op->v, moved);
	take_moved(op->v, swapped);
}

static void on_rename(struct name_op *op, const struct msg *m)
{
	const struct msg_r_inode *r = &m->r_inode;
	bool replaced = m->type == MSG_TYPE_r_inode && r->ino != 0;

	if (m->r_status.status == STATUS_OK) {
		renamed(op, m);
		if (replaced)
			take_unlinked(op, r);
	}
	op_end(op, vol_status_errno(m->r_status.status));
}

static void on_synced(struct vol_req *sync)
{
	struct name_op *op = container_of(sync, struct name_op, sync);

	sync->done = NULL;
	/* That was the one report of data that is lost. */
	if (op->req && sync->rc == -EIO)
		op_end(op, -EIO);
	else if (op->req)
		send_change(op);
	else
		op_end(op, -EINTR);
}

/* Replacing by renaming a new file over the old one is how editors save: what is renamed is made
 * durable first, as ext4 does, so that a crash leaves the one or the other. */
static bool wants_flush(struct name_op *op)
{
	struct file *f = op->moved ? file_find(op->v, op->moved) : NULL;
	uint64_t target = cached_ino(op->v, op->ask.op_rename.new_dir, op->new_name);

	return f && target && (f->unflushed || f->size_dirty);
}

void names_rename(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_rename);

	op->dir = node_pin(v, req->ino);
	if (req->new_ino != req->ino)
		op->other = node_pin(v, req->new_ino);
	op->moved = cached_ino(v, req->ino, req->name);
	op->ask.type = MSG_TYPE_op_rename;
	op->ask.op_rename.dir = req->ino;
	op->ask.op_rename.name = op->name;
	op->ask.op_rename.new_dir = req->new_ino;
	op->ask.op_rename.new_name = op->new_name;
	op->ask.op_rename.flags = req->rename_flags;
	op->ask.op_rename.now = v->env->wall(v->env);
	if (!wants_flush(op)) {
		send_change(op);
		return;
	}
	op->sync = (struct vol_req){.op = VOL_FSYNC, .ino = op->moved, .done = on_synced};
	vol_submit(v, &op->sync);
}
