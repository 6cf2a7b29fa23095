/* A thread that commits a store's transactions for a loop (kv_behind.h): a commit syncs a file, which
 * takes milliseconds, and a server that does not answer for so long is taken for a slow one. */
#pragma once

#include <uv.h>

#include "common/kv/kv.h"

struct kv_worker {
	struct kv *kv;
	uv_async_t ran;
	uv_thread_t thread;
	uv_mutex_t lock;
	uv_cond_t changed;
	/* under the lock */
	void (*job)(void *arg);  /* NULL: idle */
	void *arg;
	bool stop;
};

/* *kv becomes a store whose kv_commit_start() does not block the loop; it stays the caller's. */
MUST_CHECK int kv_worker_start(struct kv_worker *w, uv_loop_t *loop, struct kv **kv);
/* Waits for the commit that is under way, ends the thread and closes the handle. The store may be
 * closed when the loop has ended. Nothing if it was not started. */
void kv_worker_stop(struct kv_worker *w);
