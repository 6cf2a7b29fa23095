/* The kernel's requests on open files, copied into calls. On the serving threads. */
#include "access-server/fuse/fs_internal.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/file.h>
#include <time.h>

static void op_open(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct fuse_open_in *raw = (const void *)(fs_raw_request() + 1);
	struct call *c = call_new(fuse, VOL_OPEN, ino, 0);

	c->fi = *fi;
	c->req.flags = (fi->flags & O_TRUNC ? VOL_F_TRUNC : 0) |
	               ((fi->flags & O_ACCMODE) == O_RDONLY ? VOL_F_READ_ONLY : 0) |
	               (raw->open_flags & FUSE_OPEN_KILL_SUIDGID ? VOL_F_KILL_SUID : 0);
	call_post(c, reply_open);
}

static void op_release(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_CLOSE, ino, 0);

	c->req.handle = fh_handle(fi->fh);
	c->req.lock.owner = fi->lock_owner;
	call_post(c, reply_none);
}

static void op_read(fuse_req_t fuse, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_READ, ino, 0);

	c->req.handle = fh_handle(fi->fh);
	c->req.off = (uint64_t)off;
	c->req.len = MIN(size, (size_t)FS_REQUEST_BYTES_MAX);
	c->room = size;
	call_post(c, reply_read);
}

/* Memory for a write. Past the budget this thread waits (P8) until the volume has written something out;
 * the loop hands over to threads. But the last thread awake takes from the reserve: interrupts must still
 * be read, or a fenced volume would make its callers unkillable. */
static struct iobuf *write_buffer(struct fs *fs, uint32_t bytes)
{
	const struct timespec pause = {.tv_nsec = 2 * 1000 * 1000};
	struct iobuf *b = iobuf_new(bytes);

	if (!b && serving_on_loop()) {
		fs->serving.no_memory = true;
		return iobuf_new_reserve(bytes);
	}
	while (!b) {
		unsigned before = __atomic_fetch_add(&fs->threads_waiting, 1, __ATOMIC_RELAXED);

		if (before + 1 >= fs->threads)
			b = iobuf_new_reserve(bytes);
		else
			nanosleep(&pause, NULL);
		__atomic_fetch_sub(&fs->threads_waiting, 1, __ATOMIC_RELAXED);
		if (!b)
			b = iobuf_new(bytes);
	}
	return b;
}

/* The data is copied before anything else: a page spliced or mapped may change later (trap B8). */
static void op_write(fuse_req_t fuse, fuse_ino_t ino, const char *data, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
	const struct fuse_write_in *raw = (const void *)(fs_raw_request() + 1);
	struct call *c = call_new(fuse, VOL_WRITE, ino, 0);
	struct vol_req *r = &c->req;

	c->fi = *fi;
	r->handle = fh_handle(fi->fh);
	r->off = (uint64_t)off;
	r->len = size;
	if (size) {
		r->data = (struct slice){write_buffer(c->fs, (uint32_t)size), 0, (uint32_t)size};
		memcpy(r->data.buf->data, data, size);
	}
	if (fi->writepage)
		r->flags = VOL_F_WRITEBACK;
	else
		r->flags = (fi->flags & O_APPEND ? VOL_F_APPEND : 0) |
		           (fi->flags & O_DSYNC ? VOL_F_DSYNC : 0) |
		           ((fi->flags & O_SYNC) == O_SYNC ? VOL_F_SYNC : 0);
	if (raw->write_flags & FUSE_WRITE_KILL_SUIDGID)
		r->flags |= VOL_F_KILL_SUID;
	call_post(c, reply_write);
}

static void op_flush(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_FLUSH, ino, 0);

	c->req.handle = fh_handle(fi->fh);
	c->req.lock.owner = fi->lock_owner;
	call_post(c, reply_sync);
}

static void op_fsync(fuse_req_t fuse, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct call *c = call_new(fuse, VOL_FSYNC, ino, 0);

	c->req.handle = fh_handle(fi->fh);
	c->req.flags = data_only ? VOL_F_DSYNC : VOL_F_SYNC;
	call_post(c, reply_sync);
}

static struct call *call_lock(fuse_req_t fuse, enum vol_op op, fuse_ino_t ino,
                              const struct fuse_file_info *fi, unsigned flags)
{
	struct call *c = call_new(fuse, op, ino, 0);

	c->req.handle = fh_handle(fi->fh);
	c->req.flags = flags;
	c->req.lock.owner = fi->lock_owner;
	c->req.lock.end = UINT64_MAX;
	c->req.lock.pid = (uint32_t)fuse_req_ctx(fuse)->pid;
	return c;
}

static void set_range(struct call *c, const struct flock *lock)
{
	c->req.lock.type = (uint8_t)lock->l_type;
	c->req.lock.start = (uint64_t)lock->l_start;
	c->req.lock.end = lock->l_len ? (uint64_t)(lock->l_start + lock->l_len - 1) : UINT64_MAX;
	if (lock->l_pid)
		c->req.lock.pid = (uint32_t)lock->l_pid;
}

static void op_getlk(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi,
                     struct flock *lock)
{
	struct call *c = call_lock(fuse, VOL_GETLK, ino, fi, 0);

	set_range(c, lock);
	call_post(c, reply_lock);
}

static void op_setlk(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi,
                     struct flock *lock, int sleep)
{
	struct call *c = call_lock(fuse, VOL_SETLK, ino, fi, sleep ? VOL_F_WAIT : 0);

	set_range(c, lock);
	call_post(c, reply_none);
}

static void op_flock(fuse_req_t fuse, fuse_ino_t ino, struct fuse_file_info *fi, int how)
{
	unsigned flags = VOL_F_FLOCK | (how & LOCK_NB ? 0 : VOL_F_WAIT);
	struct call *c = call_lock(fuse, VOL_SETLK, ino, fi, flags);

	how &= ~LOCK_NB;
	c->req.lock.type = how == LOCK_SH ? F_RDLCK : how == LOCK_EX ? F_WRLCK : F_UNLCK;
	call_post(c, reply_none);
}

static void op_fallocate(fuse_req_t fuse, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
	struct call *c;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		fuse_reply_err(fuse, EOPNOTSUPP);
		return;
	}
	c = call_new(fuse, VOL_FALLOCATE, ino, 0);
	c->req.handle = fh_handle(fi->fh);
	c->req.off = (uint64_t)off;
	c->req.len = (uint64_t)len;
	c->req.flags = (mode & FALLOC_FL_KEEP_SIZE ? VOL_F_KEEP_SIZE : 0) |
	               (mode & FALLOC_FL_PUNCH_HOLE ? VOL_F_PUNCH : 0) |
	               (mode & FALLOC_FL_ZERO_RANGE ? VOL_F_ZERO_RANGE : 0) |
	               (fuse_req_ctx(fuse)->uid ? VOL_F_KILL_SUID : 0); /* the kernel does not say */
	call_post(c, reply_none);
}

static void op_lseek(fuse_req_t fuse, fuse_ino_t ino, off_t off, int whence,
                     struct fuse_file_info *fi)
{
	struct call *c;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(fuse, EINVAL);
		return;
	}
	c = call_new(fuse, VOL_SEEK, ino, 0);
	c->req.handle = fh_handle(fi->fh);
	c->req.off = (uint64_t)off;
	c->req.flags = whence == SEEK_DATA ? VOL_F_SEEK_DATA : 0;
	call_post(c, reply_seek);
}

static void op_ioctl(fuse_req_t fuse, fuse_ino_t ino, unsigned cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_len,
                     size_t out_len)
{
	(void)ino;
	(void)cmd;
	(void)arg;
	(void)fi;
	(void)flags;
	(void)in;
	(void)in_len;
	(void)out_len;
	fuse_reply_err(fuse, ENOTTY);
}

void fs_fill_data_ops(struct fuse_lowlevel_ops *ops)
{
	ops->open = op_open;
	ops->release = op_release;
	ops->read = op_read;
	ops->write = op_write;
	ops->flush = op_flush;
	ops->fsync = op_fsync;
	ops->getlk = op_getlk;
	ops->setlk = op_setlk;
	ops->flock = op_flock;
	ops->fallocate = op_fallocate;
	ops->lseek = op_lseek;
	ops->ioctl = op_ioctl;
}
