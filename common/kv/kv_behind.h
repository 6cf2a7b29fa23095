/* A store whose commits do not block: a transaction is kept as changes in memory over the store below
 * and written to it elsewhere, by a worker thread in the servers, some time later in the simulator.
 *
 * Reads see, newest first, the open transaction, the one being written, the store below; the three
 * together are what a blocking commit would have left. One transaction is written at a time. One for which
 * there is no space below stays, and can be tried again. Pure:
 * one owner, and the worker touches nothing but the store below and changes that are immutable. */
#pragma once

#include "common/kv/kv.h"

struct kv_behind_ops {
	/* Has job(arg) run once, elsewhere; after it kv_behind_done() is called by the owner. */
	void (*start)(void *ctx, void (*job)(void *arg), void *arg);
	/* Returns when what was started has run. */
	void (*wait)(void *ctx);
};

/* Takes ownership of `below`, which nobody else may use. */
struct kv *kv_new_behind(struct kv *below, const struct kv_behind_ops *ops, void *ctx);
/* The job has run. May come late or twice: what is known already is ignored. */
void kv_behind_done(struct kv *kv);
