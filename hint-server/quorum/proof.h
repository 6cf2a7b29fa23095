/* A voter with a new log may be an old one that lost its memory: it may have voted and acknowledged
 * entries, and must not vote otherwise now (trap A8c). Until that is settled it does not vote; it
 * takes entries and acknowledges them. It asks the others, and may vote when
 *
 * - every other voter is still in the first term: the cluster is new, nobody has ever voted; or
 * - a majority, counted without itself and with the leader among them, says that the leader's term is
 *   the newest, and its log holds all that the leader's held then: whatever it acknowledged or voted
 *   for before is part of that, or void.
 *
 * So a new cluster starts once all its voters have been there, and a vote that was lost comes back
 * only while a majority of the others lives. Pure. */
#pragma once

#include "common/base/env.h"
#include "hint-server/quorum/voter.h"

struct proof {
	uint64_t round;
	nsec_t ask_at;
	struct {
		bool first_term;   /* said so since this server started */
		uint64_t round;    /* of its newest answer */
		uint64_t term, commit;
	} peer[VOTER_PEERS_MAX];
};

/* Asks again when it is time; returns when that is. `send` gets a message complete but for src. */
nsec_t proof_tick(struct proof *p, const struct voter_config *c, nsec_t now,
                  void (*send)(void *ctx, const struct msg *m), void *ctx);
/* An answer to a question of this module: proven now? */
MUST_CHECK bool proof_answer(struct proof *p, const struct voter_config *c, const struct voter *v,
                             const struct msg *m);
