/* The network: latency, jitter, loss, duplication, reordering, partitions, slow links, full queues.
 *
 * Every message goes through the real encoder and decoder. A connection between two nodes is up
 * when both live and packets pass both ways; its end is noticed after a while, as with pings.
 * A message sent over a connection reaches only the life of the peer that it was opened with. */
#pragma once

#include "tests/sim/hostile.h"
#include "tests/sim/node.h"

#define SIMNET_QUEUE_BYTES_MAX (4u << 20)
#define SIMNET_HOOKS_MAX 8

struct simnet_faults {
	unsigned loss_permille, dup_permille;
	unsigned late_permille;         /* messages that take up to late_max longer */
	nsec_t late_max;
	unsigned clog_permille;         /* sends refused with -EAGAIN, drained soon after */
	unsigned corrupt_permille;      /* frames with a flipped bit: must be refused */
	unsigned jitter_percent;
	bool fifo;                      /* keep order, as one TCP connection does */
};

enum simnet_verdict { SIMNET_PASS, SIMNET_DROP, SIMNET_SPOIL };

/* Scenarios decide about single messages: drop, or pass with *delay more, or with a bit of the data
 * flipped in the sender's memory, where no frame's checksum covers it. */
struct simnet_hook {
	enum simnet_verdict (*fn)(void *ctx, struct node *from, struct node *to, const struct msg *m,
	                          nsec_t *delay);
	void *ctx;
};

struct simnet_pair {
	bool up;              /* from's view of the connection to `to` */
	bool cut;             /* packets from -> to are lost */
	bool changing;        /* a change of view is on its way */
	bool clogged;         /* from was told -EAGAIN and waits for the drained event */
	uint32_t life;        /* of `to`, when the connection was opened */
	uint32_t bytes;       /* in flight */
	nsec_t slow;          /* added to the latency */
	nsec_t last;          /* fifo: arrival of the last message */
};

struct simnet {
	struct cluster *c;
	struct simnet_faults faults;
	nsec_t latency[65][65];              /* by site */
	struct simnet_pair pair[NODES_MAX][NODES_MAX];
	struct simnet_hook hook[SIMNET_HOOKS_MAX];
	unsigned hooks;
	struct hostile hostile;
	uint64_t sent, delivered, lost;
	uint64_t count[MSG_TYPE_MAX];        /* delivered, by type */
	void (*observe)(struct cluster *c, const struct node *from, const struct msg *m);
	void (*arrived)(struct cluster *c, const struct node *at, const struct msg *m);
};

void simnet_init(struct simnet *s, struct cluster *c);
int simnet_send(struct simnet *s, struct node *from, const struct msg *m);
/* Reachability changed (node, cut, map): views follow after a while. */
void simnet_update(struct simnet *s);
/* The node died: peers notice at once (reset) or by missing pings. */
void simnet_node_died(struct simnet *s, struct node *n);
void simnet_cut(struct simnet *s, unsigned from, unsigned to, bool cut); /* one way */
void simnet_cut_site(struct simnet *s, uint16_t site, bool cut);         /* both ways, all others */
void simnet_heal(struct simnet *s);
void simnet_add_hook(struct simnet *s, const struct simnet_hook *h);
