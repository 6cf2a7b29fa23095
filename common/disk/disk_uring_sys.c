/* The io_uring backend of disk.h. A request waits in one of: `nops` (answered by the next flush),
 * `waiting` (more than the kernel's queue holds), or the kernel. `req->backend` holds the links.
 *
 * fdatasync by IORING_OP_FSYNC: it covers what was completed before, as disk.h says. A durable write is
 * RWF_DSYNC: one request instead of two, and no worker thread of the kernel for the second. Files are grown
 * by fallocate, so that a full file system is noticed when space is promised. */
#include "common/disk/disk_uring.h"

#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/iobuf.h"
#include "common/base/mem.h"

#define FREE_FOR (100 * NSEC_MSEC) /* an answer of statvfs() is believed */

struct list {
	struct disk_req *first, *last;
};

struct disk_uring {
	struct disk base;
	struct io_uring ring;
	int dir;
	unsigned inflight;
	unsigned queued;           /* in the submission queue, not yet handed over */
	struct list nops, waiting;
	uint64_t generation;       /* counts abandonments */
	uint64_t free_bytes;
	nsec_t free_again;
};

struct disk_file {
	struct disk_uring *disk;
	int fd;
	uint64_t bytes;
};

/* What a request keeps in `backend`. */
struct pending {
	struct disk_req *next;
	struct iovec iov[2];       /* READ, WRITE of up to 2 pieces; more are allocated */
	void *many;
};
_Static_assert(sizeof(struct pending) <= sizeof(((struct disk_req *)0)->backend), "too large");

static struct disk_uring *self(struct disk *d)
{
	return container_of(d, struct disk_uring, base);
}

static struct pending *pending(struct disk_req *r)
{
	return (struct pending *)(void *)r->backend;
}

static void list_push(struct list *l, struct disk_req *r)
{
	pending(r)->next = NULL;
	if (l->last)
		pending(l->last)->next = r;
	else
		l->first = r;
	l->last = r;
}

static struct disk_req *list_pop(struct list *l)
{
	struct disk_req *r = l->first;

	if (!r)
		return NULL;
	l->first = pending(r)->next;
	if (!l->first)
		l->last = NULL;
	return r;
}

/* --- files --- */
static int grow(int fd, uint64_t from, uint64_t bytes)
{
	int rc;

	do {
		rc = fallocate(fd, 0, (off_t)from, (off_t)(bytes - from));
	} while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return -errno;
	return ftruncate(fd, (off_t)bytes) < 0 ? -errno : 0; /* tmpfs of old, some network systems */
}

/* What a fallocate took before the file system was full, which nobody would use. */
static void give_back(struct disk_file *f)
{
	(void)!ftruncate(f->fd, (off_t)f->bytes);
	f->disk->free_again = 0;
}

static int uring_resize(struct disk_file *f, uint64_t bytes)
{
	int rc = bytes > f->bytes ? grow(f->fd, f->bytes, bytes) : 0;

	if (rc < 0)
		give_back(f);
	if (!rc && bytes > f->bytes)
		rc = fsync(f->fd) < 0 ? -errno : 0; /* the size; later syncs find it unchanged */
	if (rc < 0)
		return rc;
	f->bytes = MAX(f->bytes, bytes);
	f->disk->free_again = 0;
	return 0;
}

static int open_at(int dir, const char *name)
{
	int flags = O_RDWR | O_CREAT | O_CLOEXEC;
	int fd = openat(dir, name, flags | O_DIRECT, 0600);

	if (fd < 0 && errno == EINVAL)
		fd = openat(dir, name, flags, 0600); /* a file system without O_DIRECT */
	return fd < 0 ? -errno : fd;
}

static int uring_open_file(struct disk *base, const char *name, uint64_t bytes,
                           struct disk_file **out)
{
	struct disk_uring *d = self(base);
	struct disk_file *f;
	struct stat st;
	int rc, fd = open_at(d->dir, name);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || fsync(d->dir) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	f = mem_new(sizeof(*f));
	*f = (struct disk_file){.disk = d, .fd = fd, .bytes = (uint64_t)st.st_size};
	rc = uring_resize(f, bytes);
	if (rc < 0) {
		close(fd);
		mem_free(f);
		return rc;
	}
	*out = f;
	return 0;
}

#define FILL_BYTES (1u << 20)

static int fill(int fd, const void *zeros, uint64_t bytes)
{
	int rc = grow(fd, 0, bytes);

	for (uint64_t off = 0; rc == 0 && off < bytes; off += FILL_BYTES) {
		ssize_t n = pwrite(fd, zeros, FILL_BYTES, (off_t)off);

		if (n != FILL_BYTES)
			rc = n < 0 ? -errno : -EIO;
	}
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	return rc;
}

int disk_uring_fill(struct disk *base, const char *name, uint64_t bytes)
{
	struct iobuf *zeros = iobuf_new_reserve(FILL_BYTES);
	int rc, fd = open_at(self(base)->dir, name);

	CHECK(bytes % FILL_BYTES == 0);
	memset(zeros->data, 0, FILL_BYTES);
	rc = fd < 0 ? fd : fill(fd, zeros->data, bytes);
	if (fd >= 0)
		close(fd);
	iobuf_put(zeros);
	return rc;
}

static uint64_t uring_size(struct disk_file *f)
{
	return f->bytes;
}

static void uring_close_file(struct disk_file *f)
{
	close(f->fd);
	mem_free(f);
}

/* Asked at every admission of a write, so the answer is kept for a while. */
static uint64_t uring_free_bytes(struct disk *base)
{
	struct disk_uring *d = self(base);
	struct statvfs st;

	nsec_t now = clock_boottime();

	if (now >= d->free_again && fstatvfs(d->dir, &st) == 0) {
		d->free_again = now + FREE_FOR;
		d->free_bytes = (uint64_t)st.f_bavail * st.f_frsize;
	}
	return d->free_bytes;
}

/* --- requests --- */
static struct iovec *iovecs(struct disk_req *r)
{
	struct pending *p = pending(r);
	struct iovec *v = p->iov;

	p->many = NULL;
	if (r->iovs > ARRAY_LEN(p->iov))
		v = p->many = mem_new_array(r->iovs, sizeof(*v));
	for (unsigned i = 0; i < r->iovs; i++)
		v[i] = (struct iovec){r->iov[i].p, r->iov[i].len};
	return v;
}

static void prepare(struct io_uring_sqe *sqe, struct disk_req *r)
{
	int fd = r->file->fd;

	pending(r)->many = NULL;
	switch (r->op) {
	case DISK_READ:
		io_uring_prep_readv(sqe, fd, iovecs(r), r->iovs, r->off);
		break;
	case DISK_WRITE:
		io_uring_prep_writev2(sqe, fd, iovecs(r), r->iovs, r->off, r->durable ? RWF_DSYNC : 0);
		break;
	case DISK_SYNC:
		io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
		break;
	case DISK_DISCARD:
		io_uring_prep_fallocate(sqe, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		                        (off_t)r->off, (off_t)r->len);
		break;
	case DISK_NOP:
		io_uring_prep_nop(sqe);
		break;
	}
	io_uring_sqe_set_data(sqe, r);
}

static bool queue(struct disk_uring *d, struct disk_req *r)
{
	struct io_uring_sqe *sqe;

	if (d->inflight + d->queued >= DISK_URING_DEPTH_MAX)
		return false;
	sqe = io_uring_get_sqe(&d->ring);
	if (!sqe)
		return false;
	prepare(sqe, r);
	d->queued++;
	return true;
}

static void uring_submit(struct disk *base, struct disk_req *r)
{
	struct disk_uring *d = self(base);

	if (r->op == DISK_NOP)
		list_push(&d->nops, r);
	else if (d->waiting.first || !queue(d, r))
		list_push(&d->waiting, r);
}

static void hand_over(struct disk_uring *d)
{
	struct disk_req *r;

	while ((r = d->waiting.first) != NULL) {
		struct list rest = d->waiting;

		(void)list_pop(&rest); /* queue() reuses the link */
		if (!queue(d, r))
			break;
		d->waiting = rest;
	}
	while (d->queued) {
		int n = io_uring_submit(&d->ring);

		if (n == -EINTR)
			continue;
		if (n == -EAGAIN || n == -EBUSY)
			break; /* the kernel is short of memory: again with the next flush */
		CHECK(n >= 0);
		d->inflight += (unsigned)n;
		d->queued -= MIN(d->queued, (unsigned)n);
	}
}

static void answer_nops(struct disk_uring *d)
{
	struct list nops = d->nops;
	struct disk_req *r;
	uint64_t generation = d->generation;

	d->nops = (struct list){0};
	while (generation == d->generation && (r = list_pop(&nops)) != NULL) {
		r->result = 0;
		r->done(r);
	}
}

/* A completion of nothing, so that the loop comes round again at once. With a full queue others come. */
static void wake(struct disk_uring *d)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&d->ring);

	if (!sqe)
		return;
	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	d->queued++;
	hand_over(d);
}

void disk_uring_flush(struct disk *base)
{
	struct disk_uring *d = self(base);

	answer_nops(d);
	hand_over(d);
	if (d->nops.first)
		wake(d);
}

static int result_of(const struct disk_req *r, int res)
{
	if (res < 0)
		return res;
	if ((r->op == DISK_READ || r->op == DISK_WRITE) && (uint64_t)res != r->len)
		return r->op == DISK_READ ? -ENODATA : -EIO;
	return 0;
}

static bool reap(struct disk_uring *d, bool tell)
{
	struct io_uring_cqe *cqe;
	struct disk_req *r;
	int res;

	if (io_uring_peek_cqe(&d->ring, &cqe) != 0 || !cqe)
		return false;
	r = io_uring_cqe_get_data(cqe);
	res = cqe->res;
	io_uring_cqe_seen(&d->ring, cqe);
	d->inflight--;
	if (!r)
		return true; /* wake()'s */
	mem_free(pending(r)->many);
	r->result = result_of(r, res);
	if (tell)
		r->done(r);
	return true;
}

void disk_uring_poll(struct disk *base)
{
	struct disk_uring *d = self(base);

	while (reap(d, true))
		;
}

bool disk_uring_wait(struct disk *base)
{
	struct disk_uring *d = self(base);
	struct io_uring_cqe *cqe;

	disk_uring_flush(base);
	if (!d->inflight && !d->nops.first)
		return false;
	if (!d->nops.first)
		(void)io_uring_wait_cqe(&d->ring, &cqe);
	disk_uring_poll(base);
	return true;
}

/* What the kernel has still reads and writes the caller's memory: wait for it. */
static void uring_abandon(struct disk *base)
{
	struct disk_uring *d = self(base);
	struct io_uring_cqe *cqe;

	d->nops = d->waiting = (struct list){0};
	d->generation++;
	while (d->queued)
		hand_over(d);
	while (d->inflight)
		if (io_uring_wait_cqe(&d->ring, &cqe) == 0)
			(void)reap(d, false);
}

static const struct disk_ops ops = {
	.open_file = uring_open_file,
	.resize = uring_resize,
	.size = uring_size,
	.close_file = uring_close_file,
	.submit = uring_submit,
	.free_bytes = uring_free_bytes,
	.abandon = uring_abandon,
};

int disk_uring_open(struct disk **out, const char *dir)
{
	struct disk_uring *d = mem_new(sizeof(*d));
	int rc;

	d->base.ops = &ops;
	d->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir < 0) {
		rc = -errno;
		goto out_free;
	}
	rc = io_uring_queue_init(DISK_URING_DEPTH_MAX, &d->ring, 0);
	if (rc < 0)
		goto out_dir;
	*out = &d->base;
	return 0;

out_dir:
	close(d->dir);
out_free:
	mem_free(d);
	return rc;
}

void disk_uring_close(struct disk *base)
{
	struct disk_uring *d = self(base);

	uring_abandon(base);
	io_uring_queue_exit(&d->ring);
	close(d->dir);
	mem_free(d);
}

int disk_uring_fd(const struct disk *base)
{
	return container_of(base, const struct disk_uring, base)->ring.ring_fd;
}
