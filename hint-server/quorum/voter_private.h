/* Inside of a voter, for voter*.c:
 *
 * voter.c        carrying out what libraft wants, what the log reports, events, state
 * voter_start.c  opened, started, freed
 * voter_in.c     messages that arrive
 * voter_out.c    messages that leave, each when the vote it speaks for is durable */
#pragma once

#include "hint-server/quorum/raft_wire.h"
#include "hint-server/quorum/voter.h"

/* A message that waits until the vote it speaks for is durable. */
struct outgoing {
	struct outgoing *next, *prev;
	server_id_t to;
	uint64_t vote;
	uint8_t *bytes;
	size_t len;
};

struct voter {
	struct env *env;
	struct voter_config config;
	const struct voter_ops *ops;
	void *ctx;
	struct rlog *log;
	struct raft raft;
	struct raft_tracer tracer;
	bool inited, running, failed;
	bool stepping;
	bool choked;             /* what is committed is not applied: the log fills */
	bool installing;         /* between raft's acceptance and the reset log being durable */
	bool replaced;           /* the state machine is the new one already */
	uint64_t reset_at;       /* the log's generation to wait for */
	struct raft_snapshot_metadata incoming;
	uint64_t vote_needed;
	uint64_t start_applied;
	bool sole_start;         /* a sole voter waits for its raised term */
	uint64_t commit_told;
	unsigned short state_told;
	uint64_t term_told;
	server_id_t leader_told;
	nsec_t timed_out_at;     /* as leader, the last time */
	struct peer_state {
		nsec_t heard;    /* 0: never */
		nsec_t sent;     /* entries */
	} state[VOTER_PEERS_MAX];
	struct outgoing *outbox;
	unsigned outgoing;
	char why[256];
};

/* --- voter.c --- */
void voter_fail(struct voter *v, int rc, const char *why);
const struct voter_peer *voter_find_peer(const struct voter *v, uint64_t id); /* NULL: none */
MUST_CHECK int voter_step(struct voter *v, struct raft_event *e);
/* Tells the owner what changed since it was told last. */
void voter_tell(struct voter *v);
extern const struct rlog_ops voter_log_ops;

/* --- voter_start.c --- */
/* Every voter starts from this configuration; addresses are ids, so that moving a server to
 * another address is no change of membership. */
void voter_configuration(const struct voter_config *c, struct raft_configuration *out);
MUST_CHECK int voter_start_raft(struct voter *v);

/* --- voter_out.c --- */
void voter_post_all(struct voter *v, const struct raft_update *u);
void voter_outbox_send(struct voter *v);
void voter_outbox_free(struct voter *v);
