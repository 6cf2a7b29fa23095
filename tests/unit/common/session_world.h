/* A catalog and a network for the session client: a virtual clock, what was sent, and answers. */
#pragma once

#include "common/session/session.h"

#include <criterion/criterion.h>

#define HINT_NEAR 31
#define HINT_MIDDLE 32
#define HINT_FAR 33
#define SENT_MAX 4096

struct world {
	struct env env;
	nsec_t now;
	uint64_t random;
	bool down[64];            /* by server id: nothing leads there */
	unsigned sent_n;
	struct msg sent[SENT_MAX];

	struct session *s;
	unsigned ups, voids, recalls;
	session_id_t given, before;
	uint64_t map_changed, map_said;
};

extern struct world w;

void setup(void);        /* of a core server */
void setup_access(void); /* of an access server */
void teardown(void);

#define MS(n) ((n) * NSEC_MSEC)

/* Lets virtual time pass, ticking whenever the session asks for it. */
void run_ms(int64_t ms);
/* Newest message of a type that was sent; the test fails if there is none. */
const struct msg *last(enum msg_type type);
unsigned count(enum msg_type type);
/* Forgets what was sent so far. */
void clear_sent(void);

void answer_open(const struct msg *open, session_id_t given);
/* T = 5 s, margin 500 ms, R = 0.8 s. */
void answer_beat(const struct msg *beat, uint64_t term);
void answer_beat_with(const struct msg *beat, enum status status, uint64_t term,
                      uint32_t shared_ms);
/* r_status for a call. */
void answer_call(const struct msg *call, enum status status);
/* Opens session `id` and answers its first heartbeat. */
void open_session(session_id_t id);
