/* Inside of the session client: session.c owns standing and time, session_calls.c the calls. */
#pragma once

#include "common/session/session.h"

#include <uthash.h>

#define NONCES 64

enum session_state {
	SESSION_OPENING,   /* no session: op_session is sent until answered */
	SESSION_PROVING,   /* id given, no heartbeat of it answered yet */
	SESSION_STANDING,  /* answered once; valid or lapsed as the clock says */
};

/* A heartbeat that was sent and may still be answered. */
struct session_nonce {
	uint64_t nonce; /* 0: free */
	nsec_t sent;
	unsigned hint;
	bool probe;     /* to a nearer hint server than the one in use */
};

enum pending_place {
	PENDING_WAITING,  /* for a session, a slot, or room among the queries */
	PENDING_SENT,
	PENDING_ENDED,    /* its session ended: done(NULL) is due */
	PENDING_REFUSED,  /* too many waiting: done(BUSY) is due */
};

/* A call's copy of its request. */
struct pending {
	struct session_call *call; /* NULL: cancelled, only the slot has to be answered */
	struct msg request;        /* spans point into `bytes` */
	uint8_t *bytes;
	enum pending_place place;
	nsec_t resend;
	struct pending *prev, *next;
	UT_hash_handle hh;         /* by request.id, while sent */
};

struct session {
	struct env *env;
	struct session_config config;
	struct session_ops ops;
	void *ctx;

	enum session_state state;
	session_id_t id, before;
	struct msg_r_session given;
	nsec_t valid_until;   /* 0: not valid */
	nsec_t shared_until;
	uint64_t term;
	bool hurried;         /* an extra heartbeat was sent for shared leases */
	bool up_told, shared_told; /* what the owner was told last: valid, shared leases good */

	unsigned hint;        /* index of the one in use */
	nsec_t patient_until; /* none that is farther away is used before, for being connected */
	unsigned unanswered;  /* sent by way of it since it last passed an answer on */
	nsec_t next_probe;    /* of the nearest hint server, while another is in use */

	nsec_t next_beat;     /* of heartbeats, or of op_session while opening */
	nsec_t open_not_before;
	uint64_t open_id;     /* request id of the op_session under way */
	uint64_t start;       /* of a server without a disk: above what the catalog told */
	uint32_t open_seq;
	uint64_t next_id;
	uint64_t map_said;
	struct session_nonce nonce[NONCES];
	unsigned nonce_at;

	struct pending *slot[SESSION_SLOTS];
	uint32_t seq[SESSION_SLOTS];
	unsigned slots_used, queries;
	struct pending *by_id;
	struct pending *sent;      /* in order of `resend` */
	struct pending *waiting;
	struct pending *finished;  /* done() is due */
	struct session_stats stats;
};

int session_send(struct session *s, struct msg *m, unsigned hint);

/* Sends what waits, as far as slots go. */
void calls_pump(struct session *s);
void calls_resend_due(struct session *s, nsec_t now);
/* The way changed: everything under way is sent again. */
void calls_resend_all(struct session *s);
void calls_session_ended(struct session *s);
/* Calls done() of what ended or was refused. */
void calls_finish(struct session *s);
nsec_t calls_due(const struct session *s);
/* *ended: the catalog says the session is no more. */
void calls_recv(struct session *s, const struct msg *m, bool *ended);
void calls_free(struct session *s);
