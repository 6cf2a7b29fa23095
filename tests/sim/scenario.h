/* Named schedules: the traps of the design's review, each against the cores as they are, and the
 * table of planted bugs that must be found. */
#pragma once

#include "tests/sim/run.h"

struct scenario {
	const char *name;
	const char *text;        /* what it sets up */
	void (*shape)(struct shape *s);
	void (*run)(struct cluster *c);
};

extern const struct scenario scenarios[];
extern const unsigned scenarios_n;

const struct scenario *scenario_find(const char *name);
/* Before cluster_init(): the scenario's own sizes. */
void scenario_shape(const char *name, struct shape *s);
void scenario_run(struct cluster *c, const char *name);

struct planted_bug {
	const char *name;
	const char *text;        /* the rule it breaks */
	unsigned replica, volume, hint, store;
	const char *scenario;    /* finds it; NULL: random seeds do */
	unsigned seeds;          /* within so many */
};

extern const struct planted_bug planted_bugs[];
extern const unsigned planted_bugs_n;
const struct planted_bug *planted_bug_find(const char *name);
