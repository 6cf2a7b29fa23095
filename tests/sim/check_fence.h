/* Checker of P5: who has no session serves nothing. Sessions are followed on the wire only: a server's is
 * good, by its own clock, until it sent the last heartbeat that a leader answered, plus T less the margin.
 *
 * A core server without one may still answer what reached it in time, as long as the disk took. */
#pragma once

#include "tests/sim/node.h"

#define FENCE_BEATS 16 /* heartbeats remembered of each server */

struct fence_request;

struct check_fence {
	struct fence_node {
		uint32_t life;
		unsigned next;
		uint64_t nonce[FENCE_BEATS];
		nsec_t sent[FENCE_BEATS];  /* on its own clock */
		nsec_t good_until;
	} node[NODES_MAX];
	struct fence_request *requests;    /* that reached a core server with a session */
};

/* A message leaves a node; a message reaches one. */
void check_fence_sent(struct cluster *c, const struct node *from, const struct msg *m);
void check_fence_arrived(struct cluster *c, const struct node *at, const struct msg *m);
/* The server's session is certainly over, or never was. */
bool check_fence_over(struct cluster *c, const struct node *n);
void check_fence_fini(struct check_fence *f);
