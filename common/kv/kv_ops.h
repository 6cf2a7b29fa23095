/* What a backend of kv.h provides. For kv*.c only. */
#pragma once

#include "common/kv/kv.h"

struct kv_ops {
	void (*close)(struct kv *kv);
	int (*begin)(struct kv *kv);
	int (*commit)(struct kv *kv);
	void (*abort)(struct kv *kv);
	/* NULL: a commit takes no time. Else the backend ends it with base.committed(). */
	void (*commit_start)(struct kv *kv);
	void (*commit_again)(struct kv *kv);         /* NULL: nothing is ever left */
	void (*task_start)(struct kv *kv, int (*fn)(struct kv *kv, void *arg), void *arg);
	void (*wait)(struct kv *kv);
	void (*crash)(struct kv *kv);                /* NULL: abort is enough */
	/* For another thread that writes while the owner reads; NULL: itself, no such threads. */
	struct kv *(*writer)(struct kv *kv);
	void (*refresh)(struct kv *kv);              /* reads see what the writer committed; or NULL */
	int (*get)(struct kv *kv, struct kv_span key, struct kv_span *value);
	int (*put)(struct kv *kv, struct kv_span key, struct kv_span value);
	int (*del)(struct kv *kv, struct kv_span key);
	/* May give any later key instead of -ENOENT when none is left that shares `prefix` bytes of `from`. */
	int (*seek)(struct kv *kv, struct kv_span from, size_t prefix, struct kv_span *key,
	            struct kv_span *value);
	int (*export_file)(struct kv *kv, const char *path);
	int (*export_mem)(struct kv *kv, void **bytes, size_t *len);
	int (*import_file)(struct kv *kv, const char *path);
	int (*import_mem)(struct kv *kv, const void *bytes, size_t len);
	void (*space)(struct kv *kv, uint64_t *used, uint64_t *total);
	int (*hold)(struct kv *kv, uint64_t bytes);  /* this and the next: NULL in memory */
	uint64_t (*held)(struct kv *kv);
};

/* In memory, for kv_behind.c: nothing in it is ever undone, so that a change costs one search. */
struct kv *kv_new_changes(void);

/* Embedded first in each backend's struct. */
struct kv {
	const struct kv_ops *ops;
	bool in_transaction, committing;
	bool left;           /* a commit had no space, and can be repeated */
	void (*committed)(void *ctx, int rc);
	void *committed_ctx;
};
