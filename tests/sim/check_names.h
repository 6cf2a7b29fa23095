/* Checker of P3 for names: the history of one directory's entries is linearizable.
 *
 * State: which inode each of a few names stands for. Just-in-time linearization as in
 * check_register.h; changes do not commute, so their orders are searched when one returns. An op
 * whose outcome nobody learned (crash, session lost) may happen until its mount is known to have a
 * new session, or never. */
#pragma once

#include "common/base/base.h"

#define NAMES_MAX 8

enum name_op_type { NAME_CREATE, NAME_UNLINK, NAME_RENAME, NAME_LOOKUP };

/* Outcomes as the client saw them. */
enum name_outcome { NAME_OK, NAME_ABSENT, NAME_EXISTS };

struct name_op {
	enum name_op_type type;
	enum name_outcome outcome;
	uint32_t mount;
	uint8_t name, to;    /* indices of names; `to`: RENAME */
	uint64_t ino;        /* CREATE: of the new file; LOOKUP: what was found. 0: absent */
	uint32_t tag;
};

enum name_event_type {
	NAME_INVOKE,
	NAME_RETURN,   /* with the op's outcome */
	NAME_UNKNOWN,  /* nobody will learn the outcome */
	NAME_RETIRE,   /* ops of this mount (event.op) with unknown outcome happen no more */
};

struct name_event {
	enum name_event_type type;
	uint32_t op;
};

enum name_verdict { NAMES_OK, NAMES_VIOLATION, NAMES_GAVE_UP };

struct name_report {
	uint32_t event;
	unsigned states_max;
};

/* `ino` of a CREATE with unknown outcome is 0: whatever was created. */
enum name_verdict names_check(const struct name_op *ops, unsigned n_ops,
                              const struct name_event *events, unsigned n_events,
                              struct name_report *report);
