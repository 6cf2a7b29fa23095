#include "tests/sim/world.h"

#include <stdio.h>

#include "common/base/mem.h"

void world_init(struct world *w, uint64_t seed, enum world_tracing tracing)
{
	*w = (struct world){.tracing = tracing, .hash = 0xcbf29ce484222325u};
	for (unsigned i = 0; i < STREAMS; i++)
		random_seed(&w->stream[i], seed * STREAMS + i + 1);
	if (tracing == TRACING_RING)
		w->ring = mem_new_array(WORLD_RING_LINES, WORLD_LINE_BYTES);
}

void world_fini(struct world *w)
{
	for (unsigned i = 0; i < w->events; i++)
		w->heap[i]->drop(w->heap[i]);
	mem_free(w->heap);
	mem_free(w->ring);
	w->events = 0;
	w->heap = NULL;
	w->ring = NULL;
}

static bool before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void sift_up(struct world *w, unsigned i)
{
	struct event *e = w->heap[i];

	for (; i > 0 && before(e, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

static void sift_down(struct world *w, unsigned i)
{
	struct event *e = w->heap[i];

	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= w->events)
			break;
		if (child + 1 < w->events && before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w->heap[child], e))
			break;
		w->heap[i] = w->heap[child];
		i = child;
	}
	w->heap[i] = e;
}

void world_at(struct world *w, nsec_t at, struct event *e)
{
	CHECK(w->events < WORLD_EVENTS_MAX);
	if (w->events == w->capacity) {
		w->capacity = w->capacity ? 2 * w->capacity : 1024;
		w->heap = mem_resize(w->heap, w->capacity, sizeof(*w->heap));
	}
	e->at = MAX(at, w->now);
	e->seq = w->seq++;
	w->heap[w->events++] = e;
	sift_up(w, w->events - 1);
}

static struct event *take_first(struct world *w)
{
	struct event *e = w->heap[0];

	w->events--;
	if (w->events) {
		w->heap[0] = w->heap[w->events];
		sift_down(w, 0);
	}
	return e;
}

nsec_t world_next(const struct world *w)
{
	return w->events ? w->heap[0]->at : NSEC_NEVER;
}

void world_run(struct world *w, nsec_t until)
{
	while (!w->failed && world_next(w) <= until) {
		struct event *e = take_first(w);

		CHECK(e->at >= w->now);
		w->now = e->at;
		w->fired++;
		e->fire(e);
	}
	if (!w->failed && w->now < until)
		w->now = until;
}

void world_mix(struct world *w, uint64_t v)
{
	w->hash = (w->hash ^ v ^ (uint64_t)w->now) * 0x9e3779b97f4a7c15u;
	w->hash ^= w->hash >> 29;
}

static void add_line(struct world *w, const char *fmt, va_list args)
{
	char line[WORLD_LINE_BYTES];
	int n = snprintf(line, sizeof(line), "%6" PRId64 ".%06" PRId64 " ", w->now / NSEC_MSEC,
	                 w->now % NSEC_MSEC);

	vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, args);
	if (w->tracing == TRACING_ALL) {
		puts(line);
		return;
	}
	if (w->tracing == TRACING_RING)
		memcpy(w->ring[w->ring_next++ % WORLD_RING_LINES], line, sizeof(line));
}

void world_trace_line(struct world *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	add_line(w, fmt, args);
	va_end(args);
}

void world_fail(struct world *w, const char *fmt, ...)
{
	va_list args;

	if (w->failed || w->forgiving)
		return;
	w->failed = true;
	va_start(args, fmt);
	vsnprintf(w->failure, sizeof(w->failure), fmt, args);
	va_end(args);
	world_trace(w, "VIOLATION %s", w->failure);
}

void world_print_ring(const struct world *w)
{
	unsigned n = MIN(w->ring_next, WORLD_RING_LINES);

	for (unsigned i = w->ring_next - n; w->ring && i < w->ring_next; i++)
		puts(w->ring[i % WORLD_RING_LINES]);
}

nsec_t world_between(struct world *w, enum world_stream s, nsec_t lo, nsec_t hi)
{
	CHECK(lo <= hi);
	return lo + (nsec_t)random_below(&w->stream[s], (uint64_t)(hi - lo) + 1);
}

bool world_chance(struct world *w, enum world_stream s, unsigned per_mille)
{
	return per_mille && random_chance(&w->stream[s], per_mille);
}
