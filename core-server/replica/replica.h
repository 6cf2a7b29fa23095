/* The replica protocol of one core server (design section 5): versions, predecessors, AHEAD, seals,
 * closed, installs, lists, space. Pure: store beneath, struct env around. One owner loop.
 *
 * Two rules: only a lease holder, in its epoch, changes what this server holds; and no block is
 * never zeros unless the server was told it holds the file completely (files created after it
 * registered, `complete_from`, or MSG_CLOSE with complete = 1).
 *
 * Verdicts a requester meets, beyond those described with each message:
 * - silence: the change is accepted and not durable yet, or a limit dropped the reply: ask again;
 * - STALE: the catalog said the file is gone;
 * - UNKNOWN to a read, list or write: the file is not held completely. INSTALL and SEAL work, a
 *   READ with READ_REPAIR is answered for blocks that have a record, and CLOSE with complete = 1
 *   ends that state;
 * - bad_page, unasked: a page here waits for the repair that only a holder can do;
 * - MOVED to a CLOSE: its epoch is not the one the file is sealed at here: seal first. */
#pragma once

#include "common/base/env.h"
#include "common/wire/msg.h"
#include "core-server/store/store.h"

struct replica;
struct session;

/* Planted bugs, for the simulator's own tests: each breaks one rule and must be found. */
enum replica_bug {
	REPLICA_BUG_NO_CLOSED = 1,        /* A1: rank ignores closed */
	REPLICA_BUG_ACK_AFTER_SEAL = 2,   /* A2: seals wait for nothing, acks still leave after one */
	REPLICA_BUG_DUP_ACKED_EARLY = 4,  /* A6: a repeated version is acked before it is durable */
	REPLICA_BUG_BLANK_COUNTS = 8,     /* A8: unknown blocks are served as zeros */
	REPLICA_BUG_SERVES_FENCED = 16,   /* A10: reads go on without a session */
	REPLICA_BUG_INSTALL_BLIND = 32,   /* B2: install does not look at the target's version */
	REPLICA_BUG_WRITES_FENCED = 64,   /* P5: writes and seals go on without a session */
	REPLICA_BUG_GAP_ACCEPTED = 1 << 16, /* P4: a write goes upon any older version */
	REPLICA_BUG_WALKS_ONCE = 1 << 17,   /* A15: deleted files are looked for after the start only */
};

struct replica_config {
	server_id_t server;
	uint64_t boot;           /* as told to the catalog */
	unsigned exceptions_max; /* of a file; default 65536. A CLOSE with more is refused: BUSY */
	unsigned bugs;
};

struct replica *replica_new(struct env *env, struct store *store, const struct replica_config *c);
/* At once; the store must be closed before, so that no completion comes any more. */
void replica_free(struct replica *r);

/* Whom to ask whether files still exist; without one nothing is ever deleted. Must outlive the
 * replica, or be replaced by NULL before it goes. */
void replica_set_catalog(struct replica *r, struct session *s);

/* A message for this server: data path or MSG_TYPE_forget. Others are ignored and counted. */
void replica_recv(struct replica *r, const struct msg *m);
/* An access server is connected: it may be told of bad pages. Optional: who asks for data is known
 * anyway. Idempotent. */
void replica_peer_up(struct replica *r, server_id_t peer);
/* The peer's connection is gone: its unused grants come back after a while. */
void replica_peer_down(struct replica *r, server_id_t peer);
/* Until when this server has a session (0: none): set by the session client, at every change.
 * complete_from (r_session): kept durably here. When it rises, the disk has lost its memory
 * (trap A8): every file up to it counts as incomplete until a holder says otherwise. */
void replica_set_session(struct replica *r, nsec_t valid_until, uint64_t complete_from);
/* The start counter to show the catalog: 1, as of a new disk, until a start finds on the disk what
 * the catalog answered to such a start. Else a second start before the first registration would hide
 * that the disk is new (trap A8). */
uint64_t replica_shown_start(const struct replica *r);
/* Returns when it wants to be called next. The store has its own store_tick(). */
nsec_t replica_tick(struct replica *r, nsec_t now);

struct replica_stats {
	uint64_t writes, reads, installs, seals, refused, bad_pages, repaired, scrubbed, malformed;
	uint64_t files_deleted;
};
void replica_get_stats(const struct replica *r, struct replica_stats *out);
/* The store failed for good: every request is answered with DISK; leave service. */
bool replica_disk_failed(const struct replica *r);

/* Starts a full scrub pass; progress in the stats. */
void replica_scrub(struct replica *r);
bool replica_scrubbing(const struct replica *r);

#define REPLICA_BAD_MAX 1024
struct replica_bad {              /* a page that failed its checksum and was not repaired yet */
	file_id_t file;
	uint64_t block;
	uint32_t page;
	uint8_t told, wait;       /* how often access servers were told; rounds until the next time */
};
/* Up to `max` of them; returns how many are known. */
unsigned replica_get_bad(const struct replica *r, struct replica_bad *out, unsigned max);
