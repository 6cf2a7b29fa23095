/* Ordered key-value store with atomic, durable transactions: the home of everything that is
 * small and must survive (catalog, block index).
 *
 * Two backends: kv_lmdb_sys.c (servers) and kv_mem.c (simulator; commits are atomic and, as with
 * LMDB, what is not committed is gone after a crash). Over either, kv_behind.c takes commits off the
 * owner's thread. One writer at a time, owned by one thread.
 * Reads between kv_begin() and kv_commit() see the transaction's own writes. */
#pragma once

#include "common/base/base.h"

#define KV_KEY_BYTES_MAX 511

struct kv;

struct kv_span {
	const void *p;
	size_t len;
};

/* Opens (creates) the store in directory `path`; `map_bytes` bounds its size.
 * -EIO, -ENOSPC, -EACCES, ERR_CORRUPT, ERR_VERSION. */
MUST_CHECK int kv_open_lmdb(struct kv **out, const char *path, uint64_t map_bytes);

/* Empty in-memory store. */
struct kv *kv_new_mem(void);

/* In-memory store only: forget what was not committed, as a power cut would. Behind kv_behind.c, a job
 * that was started and has not run must not run any more. */
void kv_mem_crash(struct kv *kv);

/* In-memory store only: the file system has `left` more bytes for it, whatever it asks for; UINT64_MAX:
 * enough. What it holds beyond that is gone. */
void kv_mem_fill(struct kv *kv, uint64_t left);

void kv_close(struct kv *kv); /* an open transaction is dropped */

/* Starts the write transaction. Reading needs none. */
MUST_CHECK int kv_begin(struct kv *kv);
/* Makes it durable. On error nothing of it is kept and the store must be closed. */
MUST_CHECK int kv_commit(struct kv *kv);
void kv_abort(struct kv *kv);

/* As kv_commit(), but does not wait: done(ctx, rc) is called when the transaction is durable, at once
 * by a backend for which that takes no time. Until then reads see it, and another may begin, but
 * only one is on its way at a time. */
void kv_commit_start(struct kv *kv, void (*done)(void *ctx, int rc), void *ctx);
/* The same for a task: fn(store, arg), which may only export or hold, sees what is durable. -EBUSY: this
 * backend cannot while a transaction is open. */
MUST_CHECK int kv_task_start(struct kv *kv, int (*fn)(struct kv *kv, void *arg), void *arg,
                             void (*done)(void *ctx, int rc), void *ctx);
/* True after a commit that gave -ENOSPC to a store that keeps what it could not write (kv_behind.h): it
 * is still seen, and must be written by kv_commit_again() before the next commit. */
bool kv_commit_left(const struct kv *kv);
void kv_commit_again(struct kv *kv, void (*done)(void *ctx, int rc), void *ctx);
bool kv_committing(const struct kv *kv); /* a commit or a task is under way */
void kv_commit_wait(struct kv *kv);   /* done() is called before it returns */
void kv_commit_forget(struct kv *kv); /* done() is not called any more */

/* 0, or -ENOENT. *value is valid until the next write, commit or abort. */
MUST_CHECK int kv_get(struct kv *kv, struct kv_span key, struct kv_span *value);
/* Inside a transaction only. -ENOSPC when the map is full. */
MUST_CHECK int kv_put(struct kv *kv, struct kv_span key, struct kv_span value);
MUST_CHECK int kv_del(struct kv *kv, struct kv_span key); /* -ENOENT if absent */

/* First entry whose key is >= *key in memcmp order: fills both. -ENOENT at the end.
 * The spans are valid until the next write, commit or abort. */
MUST_CHECK int kv_seek(struct kv *kv, struct kv_span from, struct kv_span *key,
                       struct kv_span *value);
/* The same, among the keys that share the first `prefix` bytes of `from` only. For these it does not
 * matter how many keys behind them were deleted and are not committed yet. */
MUST_CHECK int kv_seek_prefix(struct kv *kv, struct kv_span from, size_t prefix, struct kv_span *key,
                              struct kv_span *value);

/* Whole-store copy for snapshots: a consistent image of the last commit as a stream of bytes.
 * LMDB writes a compacted copy to `path` first (mdb_env_copy2), so no long read transaction
 * stops page reuse; the memory store serialises to a malloc'ed buffer. */
MUST_CHECK int kv_export_file(struct kv *kv, const char *path);
MUST_CHECK int kv_export_mem(struct kv *kv, void **bytes, size_t *len);
/* Replaces the whole content by an exported image, atomically and durably. */
MUST_CHECK int kv_import_file(struct kv *kv, const char *path);
MUST_CHECK int kv_import_mem(struct kv *kv, const void *bytes, size_t len);

/* Bytes in use, without what deletes left free inside the file, and the bound. */
void kv_space(struct kv *kv, uint64_t *used, uint64_t *total);

/* A file system that somebody else fills must not stop a store in the middle: kv_hold() takes `bytes`
 * of it for the store in advance (at most the bound). -ENOSPC: what there was stays held. A commit
 * that needs more than is held takes it then, or fails. */
MUST_CHECK int kv_hold(struct kv *kv, uint64_t bytes);
uint64_t kv_held(struct kv *kv); /* UINT64_MAX: nobody can take it away */
