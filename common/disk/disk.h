/* Asynchronous files: the only way protocol code reaches a disk.
 *
 * Two backends: disk_uring_sys.c (io_uring, O_DIRECT where the file system has it) and the
 * simulator's (tests/sim: crashes lose, tear or reorder what was not synced; bit rot, full and
 * slow disks, failing fsyncs). One owner loop; completions are called from that loop, never from
 * inside disk_submit(). Offsets, lengths and memory are multiples of 4 KiB. */
#pragma once

#include "common/base/base.h"

struct disk;
struct disk_file;

/* NOP does nothing: its done() comes from the owner loop after the events at hand. Work that may not
 * be done inside a call, and writes that want to gather company, wait for it. */
enum disk_op { DISK_READ, DISK_WRITE, DISK_SYNC, DISK_DISCARD, DISK_NOP };

/* One request, embedded by the caller, untouched by it until done() is called. */
struct disk_req {
	enum disk_op op;
	struct disk_file *file;
	uint64_t off;
	uint64_t len;           /* bytes; sum of iov for reads and writes */
	struct {
		void *p;
		size_t len;
	} iov[4];               /* READ, WRITE: memory owned by the caller */
	unsigned iovs;
	bool durable;           /* WRITE: done when these bytes are durable, as if a SYNC of them alone */
	                        /* followed; it fails and is final as that would */
	void (*done)(struct disk_req *req); /* `result` is set: 0 or a negative errno; a short */
	                                    /* read (past the end) is -ENODATA */
	int result;
	void *owner;            /* the caller's own */
	void *backend[8];       /* the backend's own */
};

struct disk_ops {
	/* Opens or creates `name` in the store's directory with at least `bytes` of size.
	 * Synchronous; start-up only. */
	int (*open_file)(struct disk *d, const char *name, uint64_t bytes, struct disk_file **out);
	int (*resize)(struct disk_file *f, uint64_t bytes); /* grows; -ENOSPC */
	uint64_t (*size)(struct disk_file *f);
	void (*close_file)(struct disk_file *f);
	void (*submit)(struct disk *d, struct disk_req *req);
	uint64_t (*free_bytes)(struct disk *d); /* of the file system beneath */
	/* After it returns no done() is called any more for anything submitted before: the memory of
	 * requests may go. Whether those requests took effect is open, as after a crash. */
	void (*abandon)(struct disk *d);
};

/* Embedded first in each backend's own struct. */
struct disk {
	const struct disk_ops *ops;
};

/* A completed DISK_SYNC covers the writes completed before it was submitted, nothing else.
 * A failed one is final: the caller takes the disk out of service and never retries. */
static inline void disk_submit(struct disk *d, struct disk_req *req)
{
	d->ops->submit(d, req);
}
