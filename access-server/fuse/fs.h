/* The POSIX filesystem of a datastore: libfuse's low-level interface in front of a volume.
 *
 * The loop that owns the volume reads the kernel's requests; threads do when there is much to copy, and post
 * to it. Completions answer from that loop. The kernel's caches are dropped by threads of their own that
 * serve no request (trap A11): an invalidation may wait for a page that a request holds. */
#pragma once

#include <uv.h>

#include "access-server/volume/volume.h"

struct fs;

struct fs_config {
	const char *mount;        /* directory; made if its parent is there */
	unsigned threads;         /* that read requests; default 4 */
	unsigned readahead_kib;   /* default 4096 */
	bool debug;               /* libfuse prints every request */
};

struct fs_ops {
	/* The mount went away without fs_stop(): somebody else unmounted it. On the loop. */
	void (*unmounted)(void *ctx);
};

/* Prepares everything but the mount. `loop` will own all calls. */
MUST_CHECK int fs_new(struct fs **out, uv_loop_t *loop, const struct fs_config *c,
                      const struct fs_ops *ops, void *ctx);
/* Mounts and begins to serve `v`. A stale mount of a dead process is removed first. *why says in a
 * sentence what failed; -ENODEV: no /dev/fuse; -EBUSY, -ENOENT, -EPERM ... */
MUST_CHECK int fs_start(struct fs *fs, struct volume *v, const char **why);

/* For struct volume_ops; cookie 0 asks for no vol_invalidated(). */
void fs_invalidate(struct fs *fs, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie);
void fs_invalidate_entry(struct fs *fs, uint64_t dir, struct span name, uint64_t cookie);

/* Has the kernel write its dirty pages and unmounts if nobody has anything open; `done` on the loop,
 * `free` says so. Requests are served on. */
void fs_quiesce(struct fs *fs, void (*done)(void *ctx, bool free), void *ctx);
/* Ends the mount whoever uses it, and the threads; `done` on the loop, then fs_free(). Calls that
 * the volume still holds are never answered. */
void fs_stop(struct fs *fs, void (*done)(void *ctx), void *ctx);
void fs_kick(struct fs *fs); /* now and then until it is done */
void fs_free(struct fs *fs);
bool fs_mounted(const struct fs *fs);
/* Ends the kernel's waiting: everything under way on the mount fails. From any thread. */
void fs_abort(struct fs *fs);

/* The server is fenced and its users want errors rather than waiting: what waits ends with EIO. */
void fs_fail_waiting(struct fs *fs);

/* Looks which of those that wait here have been killed meanwhile, and ends their calls; and decides who reads
 * requests. To be called before the loop sleeps; when it wants to be called again, or NSEC_NEVER. */
nsec_t fs_watch(struct fs *fs, nsec_t now);

struct fs_stats {
	uint64_t calls, in_flight, inodes_known, invalidations, interrupts;
};
void fs_get_stats(const struct fs *fs, struct fs_stats *out);
