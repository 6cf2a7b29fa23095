/* Checker of P1, P3 and P4 for one register: a page (or 512-byte unit) of a file, with the history
 * of what clients asked and were told. Never looks inside a core.
 *
 * Just-in-time linearization (Lowe 2017; after Wing & Gong 1993) over the set of all states that
 * the history so far allows. A state is the order of the writes that a power cut may still take
 * back, oldest first: the first is safe, the last is what a read returns. What makes writes safe:
 * a sync of the mount that made them, or a read through another mount. What may take unsafe ones
 * back: a takeover (the file granted for recovery), which keeps any prefix, and nothing else. What a
 * takeover dropped makes the handles of its mount lost: no later success through them (P1). */
#pragma once

#include "common/base/base.h"

enum register_event_type {
	REG_INVOKE,    /* an op begins */
	REG_RETURN,    /* it succeeded */
	REG_FAIL,      /* it returned an error: it may have happened up to now, or not */
	REG_CRASH,     /* the mount died with everything it had under way */
	REG_TAKEOVER,  /* the file was granted for recovery */
};

enum register_op_type { REG_READ, REG_WRITE, REG_SYNC };

struct register_op {
	enum register_op_type type;
	uint32_t mount;   /* which incarnation of which access server */
	uint64_t value;   /* written, or what the read returned; 0: zeros */
	bool sync;        /* WRITE: returns when durable, with all before it */
	uint32_t opened;  /* stamp at which its handle was opened */
	uint32_t tag;     /* the caller's, for the report */
};

struct register_event {
	enum register_event_type type;
	uint32_t op;      /* index; CRASH: the mount */
	uint32_t stamp;   /* grows; order among events of all registers and opens */
};

enum register_verdict { REG_OK, REG_VIOLATION, REG_GAVE_UP };

struct register_report {
	uint32_t event;       /* after which no state was left */
	unsigned states_max;  /* the most that were possible at once */
	char text[300];       /* the states before it */
};

/* All registers start as zeros, safe. */
enum register_verdict register_check(const struct register_op *ops, unsigned n_ops,
                                     const struct register_event *events, unsigned n_events,
                                     struct register_report *report);
