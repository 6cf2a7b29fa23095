/* A server's standing with the catalog: registration, heartbeats, validity, and calls to the
 * catalog with exactly-once slots. Used by core and access servers. Pure.
 *
 * The session is good until (send time of the last answered heartbeat) + T - margin, on the clock
 * read at the point of use (design section 7): session_valid(). Shared leases until + R:
 * session_shared_valid(). Nothing else decides, above all no received message about somebody. */
#pragma once

#include "common/base/env.h"
#include "common/wire/msg.h"

#define SESSION_SLOTS 256
#define SESSION_HINTS_MAX 16
#define SESSION_QUERIES_MAX 1024
#define SESSION_WAITING_MAX 65536

struct session;

struct session_config {
	server_id_t server;
	enum server_kind kind;
	uint64_t boot;               /* random, drawn at process start */
	uint64_t disk;               /* core: which disk it has; else 0 */
	uint64_t opened;             /* core: how often that was opened, with this time */
	char addr[64];               /* where peers reach this server; "" for access servers */
	char site[32];               /* name of its site; "" if none */
	unsigned hints;              /* hint servers, nearest first */
	server_id_t hint[SESSION_HINTS_MAX];
	nsec_t heartbeat;            /* default 200 ms */
};

/* All may be NULL. They are called from session_recv(), session_tick(), session_hint_down()
 * and session_hint_up(). */
struct session_ops {
	/* The session is valid: at the first answered heartbeat of a new one (`before`: the ended one,
	 * 0 at first), and again with given == before when one that had lapsed was revived. */
	void (*up)(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r);
	/* Shared leases of an older term are void (leader change), or validity has run out. */
	void (*shared_void)(void *ctx);
	/* Fills the statistics of a heartbeat; start, journal and total also go with the opening. */
	void (*stats)(void *ctx, struct msg_heartbeat *hb);
	/* Recalls that a heartbeat reply carried (again): records of 18 bytes, as in MSG_RECALL. */
	void (*recalls)(void *ctx, struct span recalls);
	/* The catalog's map version is newer than what stats() said in `map`; said again with every
	 * heartbeat until that has caught up. */
	void (*map_changed)(void *ctx, uint64_t map);
};

/* One call to the catalog. `request` is copied (spans too); done() gets the reply or, when the
 * session ended meanwhile, NULL: the outcome is then unknown and is looked up or reported, never
 * retried (trap B5). */
struct session_call {
	void (*done)(struct session_call *c, const struct msg *reply);
	void *backend[8];
};

struct session *session_new(struct env *env, const struct session_config *c,
                            const struct session_ops *ops, void *ctx);
void session_free(struct session *s);

/* Queries go with slot 0xffff, changes in a free slot; when none is free the call waits. Sent again
 * until answered (NOT_LEADER is no answer). type and fields of *request are given; session, slot
 * and seq are filled in. Past SESSION_WAITING_MAX waiting calls the reply is r_status BUSY. */
void session_call(struct session *s, struct session_call *c, const struct msg *request);
/* Forgets a call: done() will not be called. The change may still happen. */
void session_cancel(struct session *s, struct session_call *c);
/* A message from the catalog's side: replies, heartbeat replies. True if it was for this module. */
bool session_recv(struct session *s, const struct msg *m);
void session_hint_down(struct session *s, server_id_t hint); /* the connection broke */
/* The connection is there: what could not be sent goes out at once. Optional, saves waiting. */
void session_hint_up(struct session *s, server_id_t hint);
nsec_t session_tick(struct session *s, nsec_t now);

session_id_t session_id(const struct session *s);        /* 0: none yet */
bool session_valid(const struct session *s);             /* reads the clock */
nsec_t session_valid_until(const struct session *s);     /* 0: fenced */
bool session_shared_valid(const struct session *s);
nsec_t session_shared_until(const struct session *s);
uint64_t session_term(const struct session *s);          /* of the last answered heartbeat */
/* The hint server in use, for messages to SERVER_LEADER outside calls (recall_ack, ...). */
server_id_t session_via(const struct session *s);

struct session_stats {
	uint64_t heartbeats, answered, opened, ended, hint_changes;
	uint64_t senseless; /* answers of the catalog that cannot be: dropped */
	uint64_t calls, resent, waiting, waiting_peak; /* waiting: for a free slot or a session, now */
};
void session_get_stats(const struct session *s, struct session_stats *out);
