/* Drives libraft's pure core, raft_step(): events in (messages, durable entries, timeouts,
 * proposals), and carries out what it returns: entries, term and vote to the log, messages to the
 * peers. Pure. One owner loop.
 *
 * Nothing leaves before the term and vote it speaks for are durable. Entries count as stored when
 * the log says so. libraft keeps no entries: the log does, and this module fills them into
 * messages. Applying is the owner's: up to voter_applicable(). */
#pragma once

#include "common/base/env.h"
#include "common/wire/msg.h"
#include "hint-server/quorum/log.h"

struct voter;

#define VOTER_PEERS_MAX 15
#define VOTER_COMMAND 1 /* rlog_entry.type of what voter_submit() appends */

struct voter_peer {
	server_id_t id;
	bool vote;
};

struct voter_config {
	server_id_t self;
	unsigned peers;              /* self included */
	struct voter_peer peer[VOTER_PEERS_MAX];
	unsigned election_ms, heartbeat_ms;
	struct rlog_config log;
};

struct voter_ops {
	/* The log is read; the state machine says what it has applied by voter_start(). */
	void (*loaded)(void *ctx, int rc);
	void (*progress)(void *ctx);        /* more is applicable, or leader or term changed */
	void (*send)(void *ctx, const struct msg *m);
	/* `peer` needs entries that are trimmed: send it a snapshot that goes to `index` or beyond.
	 * Called again and again until the peer has it. */
	void (*wants_snapshot)(void *ctx, server_id_t peer, uint64_t index);
	/* Raft accepted the received snapshot and the log knows: replace the state machine. 0 or the
	 * voter fails. */
	int (*install)(void *ctx, uint64_t index, uint64_t term);
	void (*failed)(void *ctx, int rc);  /* out of service; voter_why() */
};

/* 0 and later loaded(), or an error at once. */
MUST_CHECK int voter_open(struct voter **out, struct env *env, struct disk *disk,
                          const struct voter_config *c, const struct voter_ops *ops, void *ctx);
void voter_free(struct voter *v);
/* After loaded(0): `applied` is durable in the state machine. ERR_CORRUPT: log and state machine do
 * not belong together. */
MUST_CHECK int voter_start(struct voter *v, uint64_t applied);
const char *voter_why(const struct voter *v);
bool voter_running(const struct voter *v);

void voter_recv(struct voter *v, const struct msg *m);   /* MSG_raft of a peer */
nsec_t voter_tick(struct voter *v, nsec_t now);
/* Appends commands in order, as leader: index of the first, or 0 when it does not lead. */
uint64_t voter_submit(struct voter *v, unsigned n, const struct span *command);
/* A snapshot up to `index` (last entry's `term`) lies complete here, sent by the leader `from`. */
void voter_snapshot_received(struct voter *v, server_id_t from, uint64_t leader_term,
                             uint64_t index, uint64_t term);
bool voter_wants_install(const struct voter *v, uint64_t index, uint64_t term); /* not yet there */
/* The state machine is durable up to `index`: entries before the last `trailing` go. */
void voter_checkpoint(struct voter *v, uint64_t index, unsigned trailing);
/* The connection to the leader broke: a short random wait instead of the election timeout. A follower
 * alone in this wins no pre-vote, so it disturbs nobody. Tick again by voter_tick(). */
void voter_leader_gone(struct voter *v);
/* Nothing more is applied for want of space: entries that would fill the log are left to be sent again. */
void voter_choke(struct voter *v, bool choked);
void voter_hand_over(struct voter *v, server_id_t to);
void voter_stepdown(struct voter *v);                    /* hands leadership to another voter */

bool voter_leads(const struct voter *v);
server_id_t voter_leader(const struct voter *v);         /* 0: unknown */
/* It has a vote and may use it: see proof.h. Others keep a log and acknowledge entries. */
bool voter_may_vote(const struct voter *v);
void voter_prove(struct voter *v);
uint64_t voter_term(const struct voter *v);
uint64_t voter_commit(const struct voter *v);
uint64_t voter_applicable(const struct voter *v);        /* committed and durable here */
uint64_t voter_last(const struct voter *v);
uint64_t voter_match(const struct voter *v, server_id_t peer); /* leader only; 0 unknown */
unsigned voter_votes(const struct voter *v);
bool voter_has_vote(const struct voter *v, server_id_t id);
struct rlog *voter_log(struct voter *v);
