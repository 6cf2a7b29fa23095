/* Questions: answered from the cache while the metadata lease is held, else by the leader. */
#include "access-server/volume/names.h"

/* --- lookup --- */

/* The reply's meta speaks of the inode and of the directory; for an absent name, of the latter. */
static struct item *cache_entry(struct name_op *op, const struct msg_r_inode *r, uint64_t ino)
{
	struct item *i;

	if (!r->meta || !op_fresh(op, op->dir))
		return NULL;
	node_lease(op->v, op->dir);
	i = item_put(op->v, op->dir, ITEM_ENTRY, op->name, (struct span){0});
	i->ino = ino;
	return i;
}

static void on_lookup(struct name_op *op, const struct msg *m)
{
	const struct msg_r_inode *r = &m->r_inode;
	struct vol_req *req = op->req;
	struct item *i = NULL;
	struct file *f;

	if (m->type != MSG_TYPE_r_inode) {
		op_end(op, m->r_status.status == STATUS_OK ? -EIO : vol_status_errno(m->r_status.status));
		return;
	}
	if (r->status == STATUS_NOT_FOUND || r->status == STATUS_OK)
		i = cache_entry(op, r, r->status == STATUS_OK ? r->ino : 0);
	if (r->status == STATUS_OK) {
		f = file_take_inode(op->v, r, op->seq);
		if (req) {
			f->forgotten = false;
			names_fill_attr(req, f);
		}
	}
	if (i && req)
		names_tell_entry(op->v, req, i);
	op_end(op, vol_status_errno(r->status));
}

static bool lookup_cached(struct volume *v, struct vol_req *req)
{
	struct item *i = item_find(v, req->ino, ITEM_ENTRY, req->name);
	struct file *f;

	if (!i || i->unknown || !node_usable(v, i->node))
		return false;
	f = i->ino ? file_find(v, i->ino) : NULL;
	if (i->ino && (!f || !file_attr_cached(f)))
		return false;
	item_use(v, i);
	if (f) {
		f->forgotten = false;
		names_fill_attr(req, f);
	}
	names_tell_entry(v, req, i);
	vol_complete(v, req, f ? 0 : -ENOENT);
	return true;
}

static bool is_dots(struct span name)
{
	return name.len <= 2 && memcmp(name.p, "..", name.len) == 0;
}

/* A directory of which all entries are cached has no other. */
static bool lookup_absent(struct volume *v, struct vol_req *req)
{
	struct node *n = node_find(v, req->ino);

	if (!n || !n->whole || !node_usable(v, n) || is_dots(req->name) ||
	    item_find(v, req->ino, ITEM_ENTRY, req->name))
		return false;
	names_tell_entry(v, req, item_put(v, n, ITEM_ENTRY, req->name, (struct span){0}));
	vol_complete(v, req, -ENOENT);
	return true;
}

static void on_self(struct name_op *op, const struct msg *m)
{
	const struct msg_r_inode *r = &m->r_inode;
	struct file *f;

	if (m->type == MSG_TYPE_r_inode && r->status == STATUS_OK) {
		f = file_take_inode(op->v, r, op->seq);
		if (op->req) {
			f->forgotten = false;
			names_fill_attr(op->req, f);
		}
	}
	op_end(op, vol_status_errno(m->r_status.status));
}

/* "." of whatever inode: how the kernel comes back to one that it has forgotten, by a file handle
 * (open_by_handle_at, an NFS server). Inode numbers are for ever, so they are handle enough. */
static void lookup_self(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_self);

	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_inode;
	op->ask.q_inode.ino = req->ino;
	op_send(op);
}

void names_lookup(struct volume *v, struct vol_req *req)
{
	struct name_op *op;

	if (req->name.len == 1 && req->name.p[0] == '.') {
		lookup_self(v, req);
		return;
	}
	if (lookup_cached(v, req) || lookup_absent(v, req))
		return;
	op = op_new(v, req, on_lookup);
	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_lookup;
	op->ask.q_lookup.dir = req->ino;
	op->ask.q_lookup.name = op->name;
	op_send(op);
}

/* --- symbolic links: their targets never change --- */

static void on_readlink(struct name_op *op, const struct msg *m)
{
	if (m->r_status.status == STATUS_OK && m->type == MSG_TYPE_r_bytes) {
		item_put(op->v, op->dir, ITEM_LINK, (struct span){0}, m->r_bytes.bytes);
		if (op->req)
			names_give_bytes(op->req, m->r_bytes.bytes);
	}
	op_end(op, vol_status_errno(m->r_status.status));
}

void names_readlink(struct volume *v, struct vol_req *req)
{
	struct item *i = item_find(v, req->ino, ITEM_LINK, (struct span){0});
	struct name_op *op;

	if (i) {
		item_use(v, i);
		names_give_bytes(req, (struct span){i->value, i->bytes});
		vol_complete(v, req, 0);
		return;
	}
	op = op_new(v, req, on_readlink);
	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_readlink;
	op->ask.q_readlink.ino = req->ino;
	op_send(op);
}

/* --- statfs --- */

static void on_statfs(struct name_op *op, const struct msg *m)
{
	if (op->req && m->type == MSG_TYPE_r_statfs)
		op->req->statfs = m->r_statfs;
	op_end(op, vol_status_errno(m->r_status.status));
}

void names_statfs(struct volume *v, struct vol_req *req)
{
	struct name_op *op = op_new(v, req, on_statfs);

	op->ask.type = MSG_TYPE_q_statfs;
	op_send(op);
}
