/* The one who breaks things: a schedule of faults drawn from the seed, each undone after a while. */
#pragma once

#include "tests/sim/cluster.h"

enum fault_class {
	FAULT_CRASH = 1,       /* processes die and restart, some by power cut */
	FAULT_SITE = 2,        /* whole sites: cut, or without power */
	FAULT_CUT = 4,         /* links between two nodes, one way or both; single nodes */
	FAULT_PAUSE = 8,       /* SIGSTOP */
	FAULT_PACKETS = 16,    /* loss, duplicates, late ones, corrupted ones, full queues */
	FAULT_SLOW = 32,       /* links and disks */
	FAULT_BLACKOUT = 64,   /* everything loses power at once */
	FAULT_ROT = 128,       /* bit rot, in one site of the run */
	FAULT_SYNC = 256,      /* failing fsyncs and writes, in that site */
	FAULT_WIPE = 512,      /* a core server of that site gets an empty disk, once */
	FAULT_ROLLBACK = 1024, /* a core server of that site goes back to an old image, once */
	FAULT_VOTE = 2048,     /* failing fsyncs and writes of any hint server */
	FAULT_FULL = 4096,     /* disks of core servers: of one, of two sites, or all */
	FAULT_ALL = 8191,
};

#define FAULT_CLASSES 13u

struct faults {
	struct cluster *c;
	unsigned classes;
	uint16_t site;         /* where disks may lie: P1 survives one site */
	bool replaced;         /* the one wipe or rollback of the run was used */
	bool stopped;
};

/* Draws classes that may happen in this run. */
unsigned faults_draw(struct cluster *c, unsigned allowed);
void faults_start(struct faults *f, struct cluster *c, unsigned classes);
/* Undoes everything: links whole, nodes up and awake, disks well, clocks true. */
void faults_heal(struct faults *f);
