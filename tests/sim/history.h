/* What the clients of a run asked and were told, in one order, and what became of their mounts: all
 * that the checkers of contents see. */
#pragma once

#include "common/base/base.h"
#include "tests/sim/check_names.h"

struct world;

#define FILES_MAX 32
#define FILE_BLOCK_SHIFT 16u
#define FILE_BYTES (3u << FILE_BLOCK_SHIFT) /* clients stay below */

enum hist_type { HIST_READ, HIST_WRITE, HIST_SYNC, HIST_STAT };

struct hist_op {
	enum hist_type type;
	uint32_t client, mount;
	uint32_t opened;             /* stamp at which the handle was opened */
	uint32_t file;               /* index */
	uint32_t unit, units;
	uint64_t value;              /* WRITE; 0: zeros. STAT: the size that was told */
	bool cut;                    /* WRITE of zeros: the file ends at `unit` */
	uint64_t *values;            /* READ: one per unit */
	bool sync;
	int rc;
	nsec_t begun, ended;
};

enum hist_event_type { HIST_INVOKE, HIST_RETURN, HIST_FAIL, HIST_CRASH, HIST_TAKEOVER };

struct hist_event {              /* its stamp is its index */
	enum hist_event_type type;
	uint32_t arg;                /* op; CRASH: mount; TAKEOVER: file index */
};

struct hist_file {
	uint64_t ino;                /* 0: not made yet */
	uint32_t unit_bytes;         /* what writes are multiples of: a page or a chunk */
	bool append;                 /* one write per chunk, each where the file ended */
	uint16_t site[3];            /* where it lives */
	bool gone;                   /* unlinked */
};

struct hist_takeover {
	uint64_t ino, epoch;
};

struct history {
	struct hist_op *op;
	uint32_t ops, ops_capacity;
	struct hist_event *event;
	uint32_t events, events_capacity;
	struct hist_file file[FILES_MAX];
	unsigned files;
	struct hist_takeover *takeover;
	unsigned takeovers, takeovers_capacity;
	/* names */
	struct name_op *name_op;
	uint32_t name_ops, name_ops_capacity;
	struct name_event *name_event;
	uint32_t name_events, name_events_capacity;
};

void history_fini(struct history *h);
uint32_t history_stamp(const struct history *h);
/* Both take over nothing but op->values. Return the op's index. */
uint32_t history_begin(struct history *h, const struct hist_op *op);
void history_end(struct history *h, uint32_t op, int rc, nsec_t now);
void history_crash(struct history *h, uint32_t mount);
/* The catalog granted the file for recovery, with a new epoch. Repeats are ignored. */
void history_takeover(struct history *h, uint64_t ino, uint64_t epoch);

uint32_t history_name_begin(struct history *h, const struct name_op *op);
void history_name_event(struct history *h, enum name_event_type type, uint32_t op);

/* For checkers: when each op began, and returned without error; UINT32_MAX: it did not. */
void history_stamps(const struct history *h, uint32_t *begun, uint32_t *returned);

/* The checkers over all of it: calls world_fail() for what is broken. */
void history_check(struct history *h, struct world *w);

struct history_stats {
	uint64_t registers, gave_up, ops;
	unsigned states_max;
};
extern struct history_stats history_stats; /* of all runs of this process */
