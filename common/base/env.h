/* The world as a protocol core sees it: a clock and a way to send. Cores are pure: everything else
 * reaches them as a call. The servers implement this with libuv, the simulator with virtual time. */
#pragma once

#include "common/base/base.h"

struct msg;

struct env {
	/* CLOCK_BOOTTIME now, read at each call: never a cached loop time (a process that slept must
	 * see that it slept). */
	nsec_t (*now)(struct env *env);
	/* The wall clock, ns since 1970: for timestamps shown to users only. */
	uint64_t (*wall)(struct env *env);
	/* Hands `m` to the connection towards m->dst: encoded at once, payload referenced.
	 * 0; -ENOTCONN: nothing leads there now; -EAGAIN: the connection's queue is at its limit,
	 * wait for the drained event. A message may still be lost: who asks, asks again. */
	int (*send)(struct env *env, const struct msg *m);
	/* Uniform random bits from the node's seeded generator. */
	uint64_t (*random)(struct env *env);
};
