#include "common/kv/kv_worker_uv.h"

#include "common/base/clock.h"
#include "common/kv/kv_behind.h"

static void run(void *arg)
{
	struct kv_worker *w = arg;

	uv_mutex_lock(&w->lock);
	while (!w->stop || w->job) {
		if (!w->job) {
			uv_cond_wait(&w->changed, &w->lock);
			continue;
		}
		uv_mutex_unlock(&w->lock);
		w->job(w->arg); /* nobody changes it while it is set */
		uv_mutex_lock(&w->lock);
		w->job = NULL;
		uv_cond_broadcast(&w->changed);
		uv_async_send(&w->ran);
	}
	uv_mutex_unlock(&w->lock);
}

static void start_job(void *ctx, void (*job)(void *arg), void *arg)
{
	struct kv_worker *w = ctx;

	uv_mutex_lock(&w->lock);
	/* The job before has run and may have told so, by a bell that an older one rang, before its
	 * thread got here. */
	while (w->job)
		uv_cond_wait(&w->changed, &w->lock);
	CHECK(!w->stop);
	w->job = job;
	w->arg = arg;
	uv_cond_broadcast(&w->changed);
	uv_mutex_unlock(&w->lock);
}

static void wait_idle(void *ctx)
{
	struct kv_worker *w = ctx;

	uv_mutex_lock(&w->lock);
	while (w->job)
		uv_cond_wait(&w->changed, &w->lock);
	uv_mutex_unlock(&w->lock);
}

static const struct kv_behind_ops ops = {start_job, wait_idle};

static void on_ran(uv_async_t *async)
{
	clock_awake();
	kv_behind_done(container_of(async, struct kv_worker, ran)->kv);
}

int kv_worker_start(struct kv_worker *w, uv_loop_t *loop, struct kv **kv)
{
	int rc = uv_async_init(loop, &w->ran, on_ran);

	if (rc < 0)
		return rc;
	CHECK(uv_mutex_init(&w->lock) == 0 && uv_cond_init(&w->changed) == 0);
	rc = uv_thread_create(&w->thread, run, w);
	if (rc < 0) {
		uv_close((uv_handle_t *)&w->ran, NULL);
		return rc;
	}
	uv_unref((uv_handle_t *)&w->ran);
	w->kv = *kv = kv_new_behind(*kv, &ops, w);
	return 0;
}

void kv_worker_stop(struct kv_worker *w)
{
	if (!w->kv)
		return;
	uv_mutex_lock(&w->lock);
	w->stop = true;
	uv_cond_broadcast(&w->changed);
	uv_mutex_unlock(&w->lock);
	uv_thread_join(&w->thread);
	uv_close((uv_handle_t *)&w->ran, NULL);
	w->kv = NULL;
}
