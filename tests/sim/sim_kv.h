/* A key-value store whose commits take virtual time (kv_behind.h): up to 30 ms until they are durable,
 * and up to 2 ms more until that is heard. A crash in between loses them, or leaves them unheard. */
#pragma once

#include "common/base/random.h"
#include "common/kv/kv.h"
#include "tests/sim/sim_disk.h"

struct sim_kv {
	struct kv *kv;
	struct kv *below;
	struct sim_disk_env env;
	struct random random;
	void (*job)(void *arg);  /* has not happened yet; NULL: none */
	void *arg;
};

void sim_kv_init(struct sim_kv *s, uint64_t seed, const struct sim_disk_env *env);
void sim_kv_fini(struct sim_kv *s);
void sim_kv_crash(struct sim_kv *s);
void sim_kv_fill(struct sim_kv *s, uint64_t left); /* kv_mem_fill() */
void sim_kv_wipe(struct sim_kv *s); /* an empty one; not while a server uses it */
