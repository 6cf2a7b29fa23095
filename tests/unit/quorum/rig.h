/* A few hint servers in virtual time: real cores, simulated disks, a network that can be cut, lose
 * and delay; and clients that speak to them as access servers do. */
#pragma once

#include "common/kv/kv.h"
#include "common/wire/msg.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/sim_kv.h"
#include "tests/sim/world.h"

#define RIG_HINTS_MAX 7
#define RIG_CLIENTS_MAX 6
#define RIG_CLIENT_ID 100

struct rig;

struct rig_node {
	struct env env;
	struct rig *rig;
	server_id_t id;
	struct disk *disk;
	struct sim_kv kv;
	struct hint *hint;      /* NULL: down */
	unsigned life;          /* events of an earlier life are void */
	uint64_t tick_number;   /* only the newest armed tick counts */
	bool paused;
};

struct rig_client {
	struct rig *rig;
	server_id_t id;
	enum server_kind kind;  /* access unless set before rig_open() */
	unsigned at;            /* the hint server it speaks to */
	session_id_t session;
	uint64_t start, journal; /* of a core server */
	uint32_t seq;
	bool beating;
	bool acks;              /* gives shared leases back when recalled */
	unsigned answered, recalls, lock_ready, holder_attrs;
	uint16_t beat_status;
	uint32_t shared_ms;
	nsec_t last_beat_sent, valid_sent; /* send time of the newest answered heartbeat */
	uint64_t nonce;
	nsec_t nonce_sent[64];
	struct msg_recall recall; /* the newest */
	uint64_t waiting_for;   /* request id; 0: nothing */
	struct msg reply;
	uint8_t reply_body[1 << 16];
	uint64_t attr_size;     /* what it answers as a holder; 0: does not answer */
	bool not_open;          /* answers orphan checks */
};

struct rig {
	struct world w;
	unsigned hints, clients;
	struct rig_node node[RIG_HINTS_MAX];
	struct rig_client client[RIG_CLIENTS_MAX];
	bool cut[RIG_HINTS_MAX + RIG_CLIENTS_MAX][RIG_HINTS_MAX + RIG_CLIENTS_MAX]; /* [from][to] */
	unsigned loss_permille, duplicate_permille;
	nsec_t delay, jitter;
	struct hint_config config;
	uint64_t next_id;
	unsigned frames;
};

void rig_init(struct rig *g, unsigned hints, unsigned clients, uint64_t seed);
void rig_fini(struct rig *g);
void rig_start(struct rig *g, unsigned i);
void rig_kill(struct rig *g, unsigned i);   /* power cut */
void rig_wipe(struct rig *g, unsigned i);   /* a dead one gets a new disk, formatted as the old */
void rig_run(struct rig *g, nsec_t time);
/* Runs until cond(g) or the time is over; what cond said last. */
bool rig_until(struct rig *g, nsec_t time, bool (*cond)(struct rig *g));
int rig_leader(struct rig *g);              /* index of a leader with the highest term; -1 none */
bool rig_has_leader(struct rig *g);         /* ... that a majority hears */
void rig_isolate(struct rig *g, unsigned i, bool on); /* a hint server, from everybody */

uint16_t rig_register(struct rig *g, unsigned client); /* asks for a session: status */
void rig_open(struct rig *g, unsigned client);        /* ... and checks that it worked */
/* Sends a change (a new seq) or query; waits for the reply. NULL: none in time. */
const struct msg *rig_call(struct rig *g, unsigned client, struct msg *m, nsec_t time);
void rig_send(struct rig *g, unsigned client, struct msg *m); /* without waiting; asked again */
bool rig_replied(const struct rig *g, unsigned client);
uint16_t rig_create(struct rig *g, unsigned client, const char *name); /* in the root: status */
uint16_t rig_lookup(struct rig *g, unsigned client, const char *name); /* NOT_FOUND, OK, ... */
struct span span_of(const char *text);
