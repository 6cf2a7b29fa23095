/* Checker of P2, from what is seen on the wire only: no server acknowledges a write of an epoch that
 * it has sealed off, and no epoch of a file is granted to two servers. Also notes takeovers. */
#pragma once

#include "common/wire/msg.h"

struct cluster;
struct node;
struct wire_seal;
struct wire_grant;

struct check_wire {
	struct wire_seal *seals;
	struct wire_grant *grants;
	uint64_t acks;          /* durable writes seen */
};

/* A message leaves a node. */
void check_wire_sent(struct cluster *c, const struct node *from, const struct msg *m);
/* The server's disk is new: it remembers no seal. */
void check_wire_forget(struct check_wire *w, server_id_t server);
void check_wire_fini(struct check_wire *w);
