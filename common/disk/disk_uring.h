/* Files through io_uring (Linux), O_DIRECT where the file system has it.
 *
 * Requests gather in the submission queue and go to the kernel in one system call when
 * disk_uring_flush() is called: once per loop iteration, by disk_uring_uv.c. The ring's descriptor is
 * readable while completions wait; disk_uring_poll() delivers them. One owner thread. */
#pragma once

#include "common/disk/disk.h"

#define DISK_URING_DEPTH_MAX 1024 /* requests in the kernel; more wait in a list */

/* `dir` must exist. -ENOENT, -EACCES, -ENOSYS (no io_uring), ... */
MUST_CHECK int disk_uring_open(struct disk **out, const char *dir);
/* Waits for what is in flight, without calling done(). Files must be closed. */
void disk_uring_close(struct disk *d);
/* Makes `name` a file of `bytes` zeros that were written, not only allocated: a sync after the first
 * write of an allocated page commits the file system's journal, which takes several times as long.
 * Synchronous, for formatting; a multiple of 1 MiB. */
MUST_CHECK int disk_uring_fill(struct disk *d, const char *name, uint64_t bytes);
int disk_uring_fd(const struct disk *d); /* readable when completions wait */
/* Answers what is complete. */
void disk_uring_poll(struct disk *d);
/* Answers NOPs and hands what was submitted to the kernel. */
void disk_uring_flush(struct disk *d);
/* For programs without a loop: flush, sleep until something completes, poll. False: nothing was in
 * flight. */
bool disk_uring_wait(struct disk *d);
