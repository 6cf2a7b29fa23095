/* One run: make the files, break things under load, heal, and require that all is well again. */
#pragma once

#include "tests/sim/cluster.h"

struct run_options {
	uint64_t seed;
	unsigned sites;              /* 0: drawn */
	nsec_t until;                /* length of the first phase; 0: drawn */
	const char *scenario;        /* NULL: random faults */
	bool hostile;                /* mad peers instead (hostile.h); only crashes fail */
	unsigned replica_bugs, volume_bugs, hint_bugs, store_bugs;
	enum world_tracing tracing;
};

struct run_result {
	bool failed;
	char failure[600];
	uint64_t hash, events, ops, acks;
	nsec_t virtual_time;
	nsec_t longest_sync;
};

/* Prints the last events of a failing run when tracing is TRACING_RING. */
void run(const struct run_options *o, struct run_result *out);

/* The phases, also for scenarios. Each gives false after a violation. */
void run_shape(struct shape *s, const struct run_options *o);
bool run_until_made(struct cluster *c);       /* servers up, files made */
bool run_heal(struct cluster *c);             /* wait for clients, verify from every mount */
bool run_converge(struct cluster *c);         /* replicas equal, catalogs equal and sound, garbage gone */
