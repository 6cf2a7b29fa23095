/* Many seeds, each guarded by a child process: a run that dies (a failed CHECK, a sanitizer) is a
 * failed seed, not the end. */
#pragma once

#include "tests/sim/run.h"

struct jobs_options {
	uint64_t first, last;     /* seeds */
	unsigned jobs;            /* children at once */
	unsigned soak_seconds;    /* go on from `first` until then, 0: until `last` */
	struct run_options run;   /* seed and tracing are set by jobs */
	bool verbose;             /* replay the first failure */
	bool quiet;               /* no line per failing seed */
	bool stop_at_failure;     /* begin nothing more after it */
};

struct jobs_result {
	uint64_t passed, failed;
	uint64_t ops, events;
	nsec_t virtual_time;
	uint64_t first_failed;    /* seed */
	char why[160];            /* it failed; cut */
};

#define JOBS_MAX 16
#define JOBS_FAILED_MAX 64

/* Prints a line per failing seed and, for the first, the last events of its run. */
void jobs_run(const struct jobs_options *o, struct jobs_result *out);
