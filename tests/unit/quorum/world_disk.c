#include "tests/unit/quorum/world_disk.h"

#include "common/base/mem.h"

struct after {
	struct event e;
	void (*fn)(void *arg);
	void *arg;
};

static void drop(struct event *e)
{
	mem_free(e);
}

static void fire(struct event *e)
{
	struct after a = *container_of(e, struct after, e);

	mem_free(e);
	a.fn(a.arg);
}

static void after(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg)
{
	struct after *a = mem_new(sizeof(*a));
	struct world *w = ctx;

	*a = (struct after){{.fire = fire, .drop = drop}, fn, arg};
	world_at(w, w->now + delay, &a->e);
}

static nsec_t now(void *ctx)
{
	return ((struct world *)ctx)->now;
}

struct sim_disk_env world_disk_env(struct world *w)
{
	return (struct sim_disk_env){now, after, w};
}
