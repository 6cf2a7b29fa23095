/* The kernel's namespace and attribute requests, copied into calls. On the serving threads. */
#include "access-server/fuse/fs_internal.h"

#include <time.h>

#include "common/base/mem.h"

/* Copies `text` behind the call's other texts, from *at on. */
static struct span put_text(struct call *c, size_t *at, const char *text, size_t len)
{
	struct span s = {(uint8_t *)c->text + *at, (uint32_t)len};

	memcpy(c->text + *at, text, len);
	*at += len;
	return s;
}

static struct call *call_named(fuse_req_t fuse, enum vol_op op, fuse_ino_t dir, const char *name,
                               size_t more)
{
	size_t len = strlen(name), at = 0;
	struct call *c = call_new(fuse, op, dir, len + more);
	const struct fuse_ctx *who = fuse_req_ctx(fuse);

	c->req.name = put_text(c, &at, name, len);
	c->req.uid = who->uid;
	c->req.gid = who->gid;
	return c;
}

static void op_lookup(fuse_req_t fuse, fuse_ino_t dir, const char *name)
{
	call_post(call_named(fuse, VOL_LOOKUP, dir, name, 0), reply_entry);
}

struct forget_letter {
	struct letter letter;
	struct fs *fs;
	size_t n;
	struct fuse_forget_data item[];
};

static void deliver_forget(struct letter *letter)
{
	struct forget_letter *f = container_of(letter, struct forget_letter, letter);

	for (size_t i = 0; i < f->n; i++)
		known_forget(f->fs, f->item[i].ino, f->item[i].nlookup);
	mem_free(f);
}

static void op_forget_multi(fuse_req_t fuse, size_t n, struct fuse_forget_data *items)
{
	struct forget_letter *f = mem_new(sizeof(*f) + n * sizeof(*items));

	f->fs = fuse_req_userdata(fuse);
	f->n = n;
	memcpy(f->item, items, n * sizeof(*items));
	fs_post(f->fs, &f->letter, deliver_forget);
	fuse_reply_none(fuse);
}

static void op_forget(fuse_req_t fuse, fuse_ino_t ino, uint64_t lookups)
{
	struct fuse_forget_data item = {.ino = ino, .nlookup = lookups};

	op_forget_multi(fuse, 1, &item);
}

static void op_getattr(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_GETATTR, ino, 0);

	if (fi)
		c->req.handle = fh_handle(fi->fh);
	call_post(c, reply_attr);
}

/* Times are nanoseconds around 1970, from 1677 to 2262; beyond, the nearest, as on any filesystem. */
static uint64_t ns_of(struct timespec t)
{
	const int64_t most = INT64_MAX / NSEC_SEC - 1;

	if (t.tv_sec > most || t.tv_sec < -most)
		t = (struct timespec){.tv_sec = t.tv_sec < 0 ? -most : most};
	return (uint64_t)(t.tv_sec * NSEC_SEC + t.tv_nsec);
}

static uint64_t ns_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return ns_of(t);
}

static void fill_times(struct vol_req *r, const struct stat *st, int set)
{
	if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW)) {
		r->valid |= SETATTR_ATIME;
		r->atime = set & FUSE_SET_ATTR_ATIME_NOW ? ns_now() : ns_of(st->st_atim);
	}
	if (set & (FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW)) {
		r->valid |= SETATTR_MTIME;
		r->mtime = set & FUSE_SET_ATTR_MTIME_NOW ? ns_now() : ns_of(st->st_mtim);
	}
}

static void op_setattr(fuse_req_t fuse, fuse_ino_t ino, struct stat *st, int set,
                       struct fuse_file_info *fi)
{
	const struct fuse_setattr_in *raw = (const void *)(fs_raw_request() + 1);
	struct call *c = call_new(fuse, VOL_SETATTR, ino, 0);
	struct vol_req *r = &c->req;

	r->handle = fi ? fh_handle(fi->fh) : 0;
	r->mode = st->st_mode;
	r->uid = st->st_uid;
	r->gid = st->st_gid;
	r->size = (uint64_t)st->st_size;
	r->valid = (set & FUSE_SET_ATTR_MODE ? SETATTR_MODE : 0) |
	           (set & FUSE_SET_ATTR_UID ? SETATTR_UID : 0) |
	           (set & FUSE_SET_ATTR_GID ? SETATTR_GID : 0) |
	           (set & FUSE_SET_ATTR_SIZE ? VOL_ATTR_SIZE : 0);
	fill_times(r, st, set);
	if (raw->valid & FATTR_KILL_SUIDGID)
		r->flags |= VOL_F_KILL_SUID;
	call_post(c, reply_attr);
}

static void op_readlink(fuse_req_t fuse, fuse_ino_t ino)
{
	call_post(call_new(fuse, VOL_READLINK, ino, 0), reply_readlink);
}

static void op_mknod(fuse_req_t fuse, fuse_ino_t dir, const char *name, mode_t mode, dev_t rdev)
{
	struct call *c = call_named(fuse, VOL_CREATE, dir, name, 0);

	c->req.mode = mode;
	c->req.rdev = rdev;
	c->req.flags = VOL_F_EXCL;
	call_post(c, reply_entry);
}

static void op_mkdir(fuse_req_t fuse, fuse_ino_t dir, const char *name, mode_t mode)
{
	op_mknod(fuse, dir, name, (mode & ~(mode_t)S_IFMT) | S_IFDIR, 0);
}

static void op_symlink(fuse_req_t fuse, const char *target, fuse_ino_t dir, const char *name)
{
	size_t len = strlen(target), at = strlen(name);
	struct call *c = call_named(fuse, VOL_CREATE, dir, name, len);

	c->req.mode = S_IFLNK | 0777;
	c->req.flags = VOL_F_EXCL;
	c->req.value = put_text(c, &at, target, len);
	call_post(c, reply_entry);
}

static void op_unlink(fuse_req_t fuse, fuse_ino_t dir, const char *name)
{
	call_post(call_named(fuse, VOL_UNLINK, dir, name, 0), reply_none);
}

static void op_rmdir(fuse_req_t fuse, fuse_ino_t dir, const char *name)
{
	call_post(call_named(fuse, VOL_RMDIR, dir, name, 0), reply_none);
}

static void op_rename(fuse_req_t fuse, fuse_ino_t dir, const char *name, fuse_ino_t new_dir,
                      const char *new_name, unsigned flags)
{
	size_t len = strlen(new_name), at = strlen(name);
	struct call *c = call_named(fuse, VOL_RENAME, dir, name, len);

	c->req.new_ino = new_dir;
	c->req.new_name = put_text(c, &at, new_name, len);
	c->req.rename_flags = flags;
	call_post(c, reply_none);
}

static void op_link(fuse_req_t fuse, fuse_ino_t ino, fuse_ino_t dir, const char *name)
{
	struct call *c = call_named(fuse, VOL_LINK, dir, name, 0);

	c->req.new_ino = ino;
	call_post(c, reply_entry);
}

static void op_create(fuse_req_t fuse, fuse_ino_t dir, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
	struct call *c = call_named(fuse, VOL_CREATE, dir, name, 0);

	c->fi = *fi;
	c->req.mode = mode;
	c->req.flags = VOL_F_EXCL; /* see reply_create() */
	call_post(c, reply_create);
}

/* A directory needs no handle: cookies are stable and changes are seen as they come. */
static void op_opendir(fuse_req_t fuse, fuse_ino_t dir, struct fuse_file_info *fi)
{
	(void)dir;
	fuse_reply_open(fuse, fi);
}

static void op_releasedir(fuse_req_t fuse, fuse_ino_t dir, struct fuse_file_info *fi)
{
	(void)dir;
	(void)fi;
	fuse_reply_err(fuse, 0);
}

/* Names are durable when the call that made them returns. */
static void op_fsyncdir(fuse_req_t fuse, fuse_ino_t dir, int data, struct fuse_file_info *fi)
{
	(void)data;
	op_releasedir(fuse, dir, fi);
}

static void op_readdir(fuse_req_t fuse, fuse_ino_t dir, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_READDIR, dir, 0);

	(void)fi;
	c->room = MIN(size, (size_t)FS_REQUEST_BYTES_MAX);
	c->req.off = (uint64_t)off;
	c->req.len = c->room;
	call_post(c, reply_dirents);
}

static void op_readdirplus(fuse_req_t fuse, fuse_ino_t dir, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_READDIR, dir, 0);

	(void)fi;
	c->room = MIN(size, (size_t)FS_REQUEST_BYTES_MAX);
	c->req.flags = VOL_F_PLUS;
	c->req.off = (uint64_t)off;
	c->req.len = c->room;
	call_post(c, reply_dirents_plus);
}

static void op_statfs(fuse_req_t fuse, fuse_ino_t ino)
{
	call_post(call_new(fuse, VOL_STATFS, ino, 0), reply_statfs);
}

static void op_setxattr(fuse_req_t fuse, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
	size_t at = strlen(name);
	struct call *c = call_named(fuse, VOL_SETXATTR, ino, name, size);

	c->req.value = put_text(c, &at, value, size);
	c->req.xattr_flags = (uint32_t)flags;
	call_post(c, reply_none);
}

static void op_getxattr(fuse_req_t fuse, fuse_ino_t ino, const char *name, size_t size)
{
	struct call *c = call_named(fuse, VOL_GETXATTR, ino, name, 0);

	c->room = size;
	call_post(c, reply_xattr);
}

static void op_listxattr(fuse_req_t fuse, fuse_ino_t ino, size_t size)
{
	struct call *c = call_new(fuse, VOL_LISTXATTR, ino, 0);

	c->room = size;
	call_post(c, reply_xattr);
}

static void op_removexattr(fuse_req_t fuse, fuse_ino_t ino, const char *name)
{
	call_post(call_named(fuse, VOL_REMOVEXATTR, ino, name, 0), reply_none);
}

void fs_fill_ops(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = op_lookup;
	ops->forget = op_forget;
	ops->forget_multi = op_forget_multi;
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->readlink = op_readlink;
	ops->mknod = op_mknod;
	ops->mkdir = op_mkdir;
	ops->symlink = op_symlink;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->rename = op_rename;
	ops->link = op_link;
	ops->create = op_create;
	ops->opendir = op_opendir;
	ops->releasedir = op_releasedir;
	ops->fsyncdir = op_fsyncdir;
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->statfs = op_statfs;
	ops->setxattr = op_setxattr;
	ops->getxattr = op_getxattr;
	ops->listxattr = op_listxattr;
	ops->removexattr = op_removexattr;
}
