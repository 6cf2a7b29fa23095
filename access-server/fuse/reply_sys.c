/* Answers to the kernel, on the loop. An answer that comes back with -ENOENT found nobody waiting
 * any more: what it gave (a lookup, a handle) is taken back. */
#include "access-server/fuse/fs_internal.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "access-server/fuse/caller.h"
#include "common/base/mem.h"

/* What stat(2) advises for I/O; tools copy in pieces of it. */
#define BLKSIZE (128 * 1024)

static struct timespec timespec_of(uint64_t ns)
{
	int64_t t = (int64_t)ns, part = t % NSEC_SEC;

	if (part < 0)
		part += NSEC_SEC;
	return (struct timespec){.tv_sec = (t - part) / NSEC_SEC, .tv_nsec = part};
}

struct stat stat_of(const struct msg_r_inode *a)
{
	struct stat st = {
		.st_ino = a->ino,
		.st_mode = a->mode,
		.st_nlink = a->nlink,
		.st_uid = a->uid,
		.st_gid = a->gid,
		.st_rdev = a->rdev,
		.st_size = (off_t)a->size,
		.st_blksize = BLKSIZE,
		.st_blocks = (blkcnt_t)(S_ISREG(a->mode) ? a->pages * (PAGE_BYTES / 512)
		                                         : DIV_UP(a->size, 512)),
		.st_atim = timespec_of(a->atime),
		.st_mtim = timespec_of(a->mtime),
		.st_ctim = timespec_of(a->ctime),
	};

	return st;
}

double seconds(nsec_t ns)
{
	return ns <= 0 ? 0 : (double)ns / (double)NSEC_SEC;
}

static bool reply_error(struct call *c)
{
	if (c->req.rc == 0)
		return false;
	fuse_reply_err(c->fuse, fs_errno(c->req.rc));
	return true;
}

void reply_none(struct call *c)
{
	fuse_reply_err(c->fuse, fs_errno(c->req.rc));
}

void reply_sync(struct call *c)
{
	int error = writeback_error(c->fs, c->req.ino);

	fuse_reply_err(c->fuse, fs_errno(c->req.rc ? c->req.rc : error));
}

static struct fuse_entry_param entry_of(const struct vol_req *r)
{
	return (struct fuse_entry_param){
		.ino = r->attr.ino,
		.attr = stat_of(&r->attr),
		.attr_timeout = seconds(r->attr_valid),
		.entry_timeout = seconds(r->entry_valid),
	};
}

/* The lookup is counted before the kernel can forget it again. */
void reply_entry(struct call *c)
{
	struct fuse_entry_param e = {.entry_timeout = seconds(c->req.entry_valid)};

	if (c->req.rc == 0 && c->req.out_handle) /* mknod opens nothing */
		call_close_handle(c->fs, c->req.attr.ino, c->req.out_handle);
	if (c->req.op == VOL_LOOKUP && c->req.rc == -ENOENT && c->req.entry_valid > 0) {
		fuse_reply_entry(c->fuse, &e); /* ino 0: known to be absent */
		return;
	}
	if (reply_error(c))
		return;
	e = entry_of(&c->req);
	known_add(c->fs, e.ino);
	if (fuse_reply_entry(c->fuse, &e) == -ENOENT)
		known_forget(c->fs, e.ino, 1);
}

/* Appends bypass the page cache, for the kernel would put them where it believes the end to be;
 * so does O_DIRECT, as asked. */
static void fill_open(struct call *c)
{
	c->fi.direct_io = (c->fi.flags & (O_DIRECT | O_APPEND)) != 0;
	c->fi.fh = fh_make(c->req.out_handle, c->fi.direct_io);
	c->fi.keep_cache = c->req.keep_cache;
}

/* The kernel asks to create what it knows no name for. If there is one meanwhile, another site made
 * it: ESTALE has the kernel look it up, check permissions, and open it. */
void reply_create(struct call *c)
{
	struct fuse_entry_param e;

	if (c->req.rc == -EEXIST && !(c->fi.flags & O_EXCL))
		c->req.rc = -ESTALE;
	if (reply_error(c))
		return;
	e = entry_of(&c->req);
	fill_open(c);
	known_add(c->fs, e.ino);
	if (fuse_reply_create(c->fuse, &e, &c->fi) == -ENOENT) {
		call_close_handle(c->fs, e.ino, c->req.out_handle);
		known_forget(c->fs, e.ino, 1);
	}
}

void reply_open(struct call *c)
{
	if (reply_error(c))
		return;
	fill_open(c);
	if (fuse_reply_open(c->fuse, &c->fi) == -ENOENT)
		call_close_handle(c->fs, c->req.ino, c->req.out_handle);
}

void reply_attr(struct call *c)
{
	struct stat st;

	if (reply_error(c))
		return;
	st = stat_of(&c->req.attr);
	fuse_reply_attr(c->fuse, &st, seconds(c->req.attr_valid));
}

/* One writev from the buffer that the block arrived in. libfuse 3.14 splices memory only by copying it
 * into a pipe first: as many copies, and more calls. */
static void reply_bytes(struct call *c, size_t max)
{
	size_t len = MIN((size_t)c->req.out.len, max);

	fuse_reply_buf(c->fuse, (const char *)slice_data(c->req.out), len);
}

void reply_read(struct call *c)
{
	if (!reply_error(c))
		reply_bytes(c, c->room);
}

/* The kernel believes that an append went to its own idea of the end. Where it did not, its pages
 * from there on are wrong and go before the writer goes on; a handle that became an appending one
 * by fcntl is cached, its pages may be locked until the answer, so they go right after it. */
void reply_write(struct call *c)
{
	const struct vol_req *r = &c->req;
	bool astray = r->rc == 0 && (r->flags & VOL_F_APPEND) && r->out_off != r->off;
	bool later = c->deferred;

	if (astray && !later && fh_direct(c->fi.fh)) {
		c->deferred = true;
		invalidate_then(c->fs, r->ino, MIN(r->off, r->out_off), c);
		return;
	}
	if (r->rc)
		fuse_reply_err(c->fuse, fs_errno(r->rc));
	else
		fuse_reply_write(c->fuse, r->out_len);
	if (astray && !later)
		invalidate_then(c->fs, r->ino, MIN(r->off, r->out_off), NULL);
}

void reply_readlink(struct call *c)
{
	char *text;

	if (reply_error(c))
		return;
	text = mem_new((size_t)c->req.out.len + 1);
	if (c->req.out.len)
		memcpy(text, slice_data(c->req.out), c->req.out.len);
	fuse_reply_readlink(c->fuse, text);
	mem_free(text);
}

#define TRUSTED "trusted."

/* trusted.* exists for administrators only; of single ones the kernel itself takes care. */
static void hide_trusted(struct call *c)
{
	struct slice *out = &c->req.out;
	uint32_t from = 0, to = 0, len = out->len;
	char *names = len ? (char *)out->buf->data + out->off : NULL;
	bool asked = false, admin = false;

	while (from < len) {
		uint32_t n = (uint32_t)strnlen(names + from, len - from) + 1;
		bool trusted = strncmp(names + from, TRUSTED, sizeof(TRUSTED) - 1) == 0;

		if (trusted && !asked) {
			admin = caller_admin(c->thread);
			asked = true;
		}
		if (!trusted || admin) {
			memmove(names + to, names + from, MIN(n, len - from));
			to += n;
		}
		from += n;
	}
	out->len = MIN(to, len);
}

void reply_xattr(struct call *c)
{
	if (reply_error(c))
		return;
	if (c->req.op == VOL_LISTXATTR)
		hide_trusted(c);
	if (c->room == 0)
		fuse_reply_xattr(c->fuse, c->req.out.len);
	else if (c->req.out.len > c->room)
		fuse_reply_err(c->fuse, ERANGE);
	else
		reply_bytes(c, c->room);
}

void reply_statfs(struct call *c)
{
	const struct msg_r_statfs *s = &c->req.statfs;
	struct statvfs st = {
		.f_bsize = PAGE_BYTES,
		.f_frsize = PAGE_BYTES,
		.f_blocks = s->total / PAGE_BYTES,
		.f_bfree = s->free / PAGE_BYTES,
		.f_bavail = s->free / PAGE_BYTES,
		.f_files = s->files + s->free / PAGE_BYTES,
		.f_ffree = s->free / PAGE_BYTES,
		.f_favail = s->free / PAGE_BYTES,
		.f_namemax = NAME_BYTES_MAX,
	};

	if (!reply_error(c))
		fuse_reply_statfs(c->fuse, &st);
}

void reply_lock(struct call *c)
{
	struct flock lock = {
		.l_type = (short)c->req.lock.type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)c->req.lock.start,
		.l_pid = (pid_t)c->req.lock.pid,
	};

	if (reply_error(c))
		return;
	if (c->req.lock.end < (uint64_t)INT64_MAX)
		lock.l_len = (off_t)(c->req.lock.end - c->req.lock.start + 1);
	fuse_reply_lock(c->fuse, &lock);
}

void reply_seek(struct call *c)
{
	if (!reply_error(c))
		fuse_reply_lseek(c->fuse, (off_t)c->req.out_len);
}
