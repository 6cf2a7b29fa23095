/* Virtual time: one heap of events ordered by (time, sequence), one thread, no clock but this.
 *
 * Everything that happens in a simulated cluster is an event fired here, so the same seed and the
 * same binary give the same bytes of trace. */
#pragma once

#include "common/base/base.h"
#include "common/base/random.h"

struct event {
	nsec_t at;
	uint64_t seq;
	void (*fire)(struct event *e);  /* owns the event from here on */
	void (*drop)(struct event *e);  /* the world ends first: frees it */
};

#define WORLD_RING_LINES 400
#define WORLD_LINE_BYTES 320
#define WORLD_EVENTS_MAX (1u << 20)

enum world_tracing { TRACING_OFF, TRACING_RING, TRACING_ALL };

/* One generator per concern: a new draw in one place does not shift the others. */
enum world_stream {
	STREAM_NET, STREAM_FAULT, STREAM_CLIENT, STREAM_SHAPE, STREAM_NODE, STREAM_OPERATOR, STREAMS
};

struct world {
	nsec_t now;
	uint64_t seq;
	struct event **heap;
	unsigned events, capacity;
	struct random stream[STREAMS];
	enum world_tracing tracing;
	char (*ring)[WORLD_LINE_BYTES];
	unsigned ring_next;
	uint64_t hash;          /* of all that was traced: tells whether a replay is exact */
	uint64_t fired;
	bool forgiving;         /* broken promises do not end the run */
	bool failed;
	char failure[600];
};

void world_init(struct world *w, uint64_t seed, enum world_tracing tracing);
void world_fini(struct world *w);

/* Takes the event, which its caller allocated with mem_new(). */
void world_at(struct world *w, nsec_t at, struct event *e);
/* Fires events up to and including `until`, or until a violation. */
void world_run(struct world *w, nsec_t until);
/* Next event's time; NSEC_NEVER when there is none. */
nsec_t world_next(const struct world *w);

/* A line of the trace; formatted only when somebody will read it. */
#define world_trace(w, ...) \
	do { \
		if ((w)->tracing != TRACING_OFF) \
			world_trace_line(w, __VA_ARGS__); \
	} while (0)
void world_trace_line(struct world *w, const char *fmt, ...) PRINTF(2, 3);
/* Mixes into the replay hash, traced or not. */
void world_mix(struct world *w, uint64_t v);
/* A promise is broken: the first one ends the run. */
void world_fail(struct world *w, const char *fmt, ...) PRINTF(2, 3);
void world_print_ring(const struct world *w);

/* Uniform in [lo, hi]. */
nsec_t world_between(struct world *w, enum world_stream s, nsec_t lo, nsec_t hi);
bool world_chance(struct world *w, enum world_stream s, unsigned per_mille);
