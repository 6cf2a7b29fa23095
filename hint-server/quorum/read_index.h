/* Linearizable reads (design section 6, trap B6): has a majority confirmed, in a round begun after
 * the request came, that the leader's term is still the newest?
 *
 * Rounds are numbered; a peer's answer to round n confirms all up to n. A few rounds may be under
 * way at once; requests that come meanwhile share the next. Pure; leader only. */
#pragma once

#include "common/base/env.h"
#include "common/wire/msg.h"
#include "hint-server/quorum/voter.h"

#define READ_ROUNDS_MAX 8   /* under way at once */

struct read_index {
	uint64_t term;
	uint64_t wanted;     /* the highest round somebody waits for */
	uint64_t sent;
	uint64_t confirmed;
	nsec_t resend_at;
	struct read_peer {
		server_id_t id;
		uint64_t acked;
		nsec_t heard;
	} peer[VOTER_PEERS_MAX]; /* the other voters */
	unsigned peers;
};

/* A new term as leader; rounds of older ones count for nothing. */
void read_index_reset(struct read_index *r, uint64_t term, const struct voter_config *c);
/* The round a request that arrives now has to wait for. */
uint64_t read_index_join(struct read_index *r);
/* Sends what is due; `send` gets a complete message but for src. */
void read_index_flush(struct read_index *r, nsec_t now,
                      void (*send)(void *ctx, const struct msg *m), void *ctx);
/* A peer's answer. True if `confirmed` rose. */
bool read_index_answer(struct read_index *r, const struct msg *m, nsec_t now);
nsec_t read_index_due(const struct read_index *r);
unsigned read_index_heard(const struct read_index *r, nsec_t since); /* voters, self included */
