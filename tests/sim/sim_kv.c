#include "tests/sim/sim_kv.h"

#include "common/kv/kv_behind.h"

#define WRITTEN_MAX (30 * NSEC_MSEC)
#define HEARD_MAX (2 * NSEC_MSEC)

static void run_job(void *ctx)
{
	struct sim_kv *s = ctx;
	void (*job)(void *arg) = s->job;

	s->job = NULL;
	if (job)
		job(s->arg);
}

static void on_heard(void *arg)
{
	kv_behind_done(((struct sim_kv *)arg)->kv);
}

static void on_written(void *arg)
{
	struct sim_kv *s = arg;

	if (!s->job)
		return; /* lost in a crash, or somebody waited for it */
	run_job(s);
	s->env.after(s->env.ctx, (nsec_t)random_below(&s->random, HEARD_MAX), on_heard, s);
}

static void start(void *ctx, void (*job)(void *arg), void *arg)
{
	struct sim_kv *s = ctx;

	CHECK(!s->job);
	s->job = job;
	s->arg = arg;
	s->env.after(s->env.ctx, (nsec_t)random_below(&s->random, WRITTEN_MAX), on_written, s);
}

static struct kv *new_kv(struct sim_kv *s)
{
	static const struct kv_behind_ops ops = {start, run_job};

	s->below = kv_new_mem();
	return kv_new_behind(s->below, &ops, s);
}

void sim_kv_init(struct sim_kv *s, uint64_t seed, const struct sim_disk_env *env)
{
	*s = (struct sim_kv){.env = *env};
	random_seed(&s->random, seed);
	s->kv = new_kv(s);
}

void sim_kv_fini(struct sim_kv *s)
{
	kv_close(s->kv);
}

void sim_kv_fill(struct sim_kv *s, uint64_t left)
{
	kv_mem_fill(s->below, left);
}

void sim_kv_crash(struct sim_kv *s)
{
	s->job = NULL;
	kv_mem_crash(s->kv);
}

void sim_kv_wipe(struct sim_kv *s)
{
	CHECK(!s->job);
	kv_close(s->kv);
	s->kv = new_kv(s);
}
