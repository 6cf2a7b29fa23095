#include "common/base/trace.h"

struct trace_event {
	const char *key;
	uint64_t v[4];
};

static _Thread_local struct trace_event ring[TRACE_EVENTS];
static _Thread_local uint64_t count;
static _Thread_local FILE *live;

static void print_event(FILE *to, const struct trace_event *e)
{
	fprintf(to, "%s: %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", e->key, e->v[0], e->v[1],
	        e->v[2], e->v[3]);
}

void trace4(const char *key, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	struct trace_event *e = &ring[count++ % TRACE_EVENTS];

	*e = (struct trace_event){key, {a, b, c, d}};
	if (live)
		print_event(live, e);
}

void trace_dump(FILE *to)
{
	uint64_t i = count > TRACE_EVENTS ? count - TRACE_EVENTS : 0;

	for (; i < count; i++)
		print_event(to, &ring[i % TRACE_EVENTS]);
}

void trace_clear(void)
{
	count = 0;
}

void trace_live(FILE *to)
{
	live = to;
}
