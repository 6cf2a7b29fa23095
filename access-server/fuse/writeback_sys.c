/* Pages dirtied through a mapping, on their way from the kernel to the volume.
 *
 * The kernel does not say when a page becomes dirty, so it may be under a shared lease, and is then
 * written when that is recalled: the invalidation waits for the write, the write for an exclusive
 * lease, and that for the invalidation. Therefore a writeback is answered as soon as its bytes are
 * copied; the volume gets it as it would otherwise, and whoever could tell the difference (reads,
 * syncs and the closing of the inode's handles) waits until it is done. An error is kept for the
 * next fsync, as the kernel keeps its own. */
#include "access-server/fuse/fs_internal.h"

#include "common/base/mem.h"

struct writeback {
	UT_hash_handle hh;
	uint64_t ino;
	unsigned pending;
	int error;             /* for the next fsync or close */
	struct call *waiting;
};

static struct writeback *find(struct fs *fs, uint64_t ino)
{
	struct writeback *w;

	HASH_FIND(hh, fs->writebacks, &ino, sizeof(ino), w);
	return w;
}

static void free_if_unused(struct fs *fs, struct writeback *w)
{
	if (w->pending || w->waiting || w->error)
		return;
	HASH_DEL(fs->writebacks, w);
	mem_free(w);
}

static void on_written(struct call *c)
{
	struct fs *fs = c->fs;
	struct writeback *w = find(fs, c->req.ino);

	CHECK(w);
	CHECK(w->pending > 0);
	w->pending--;
	if (c->req.rc)
		w->error = c->req.rc;
	while (!w->pending && w->waiting) {
		struct call *next = w->waiting;

		DL_DELETE2(w->waiting, next, wait_prev, wait_next);
		next->waits = false;
		call_submit(next);
	}
	free_if_unused(fs, w);
}

void writeback_begin(struct call *c)
{
	struct fs *fs = c->fs;
	struct writeback *w = find(fs, c->req.ino);

	if (!w) {
		w = mem_new(sizeof(*w));
		w->ino = c->req.ino;
		HASH_ADD(hh, fs->writebacks, ino, sizeof(w->ino), w);
	}
	w->pending++;
	c->reply = on_written;
	call_answered(c);
	fuse_reply_write(c->fuse, c->req.len);
	c->fuse = NULL;
}

bool writeback_holds(struct call *c)
{
	struct writeback *w = c->fs->writebacks ? find(c->fs, c->req.ino) : NULL;

	if (!w || !w->pending)
		return false;
	switch (c->req.op) {
	case VOL_READ:
	case VOL_FSYNC:
	case VOL_FLUSH:
	case VOL_CLOSE:
	case VOL_SEEK:
		break;
	case VOL_LOOKUP:
	case VOL_GETATTR:
	case VOL_SETATTR:
	case VOL_READLINK:
	case VOL_CREATE:
	case VOL_LINK:
	case VOL_UNLINK:
	case VOL_RMDIR:
	case VOL_RENAME:
	case VOL_OPEN:
	case VOL_WRITE:
	case VOL_READDIR:
	case VOL_STATFS:
	case VOL_GETXATTR:
	case VOL_LISTXATTR:
	case VOL_SETXATTR:
	case VOL_REMOVEXATTR:
	case VOL_GETLK:
	case VOL_SETLK:
	case VOL_FALLOCATE:
	case VOL_SYNC:
		return false;
	}
	c->waits = true;
	DL_APPEND2(w->waiting, c, wait_prev, wait_next);
	return true;
}

void writeback_leave(struct call *c)
{
	struct writeback *w = find(c->fs, c->req.ino);

	DL_DELETE2(w->waiting, c, wait_prev, wait_next);
	c->waits = false;
}

int writeback_error(struct fs *fs, uint64_t ino)
{
	struct writeback *w = fs->writebacks ? find(fs, ino) : NULL;
	int error;

	if (!w || !w->error)
		return 0;
	error = w->error;
	w->error = 0;
	free_if_unused(fs, w);
	return error;
}

void writebacks_free(struct fs *fs)
{
	struct writeback *w, *next;

	HASH_ITER(hh, fs->writebacks, w, next) {
		HASH_DEL(fs->writebacks, w);
		mem_free(w);
	}
}
