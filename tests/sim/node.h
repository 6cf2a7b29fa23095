/* A simulated process: one server with the real cores in it, its clock, its disk, its generator.
 *
 * A node is the adapter: what main_uv.c does for a server with libuv, node_*.c does here with
 * virtual time. Nothing here decides about the protocol. */
#pragma once

#include "common/base/env.h"
#include "common/session/session.h"
#include "common/wire/msg.h"
#include "tests/sim/sim_kv.h"
#include "tests/sim/world.h"

struct cluster;
struct disk;
struct kv;
struct store;
struct replica;
struct volume;
struct hint;

#define NODES_MAX 52
#define ACCESS_BUFFER_BYTES (4u << 20) /* an access server's write buffer */

struct node {
	struct env env;            /* first */
	struct cluster *c;
	unsigned index;
	server_id_t id;
	enum server_kind kind;
	uint16_t site;
	char addr[64];
	bool alive;
	bool serving;              /* core: the store is open */
	bool blank;                /* its disk is to be formatted at the next start */
	uint32_t life;             /* grows with every start */
	nsec_t paused_until;       /* SIGSTOP: its events wait, the clock does not */
	struct event **held;       /* they */
	unsigned helds;
	nsec_t clock_true, clock_local; /* the clock runs on from here ... */
	int clock_rate_ppm;        /* ... so much faster than true time */
	struct random random;
	nsec_t tick_at;            /* when its tick is due; NSEC_NEVER */
	uint64_t tick_seq;
	unsigned ticks_here;       /* at this instant: a core that spins is found */
	nsec_t ticked;
	struct disk *disk;
	struct sim_kv kv;
	struct store *store;
	struct replica *replica;
	struct session *session;
	struct volume *volume;
	struct hint *hint;
	unsigned maps_seen;        /* access: the maps its connections follow */
	bool replaced;             /* its disk was wiped or rolled back: it may be refused */
	nsec_t full_until;         /* others filled its disk until then; NSEC_NEVER: they still do */
	bool rotted;               /* its last record may be gone, which is a step back */
	uint64_t opening;          /* its last question for a session */
	uint32_t refused;          /* the life in which the catalog refused it */
	uint32_t restarting;       /* the life that is about to end because its disk failed */
	uint64_t complete_from;    /* core: told by the catalog */
	void *image;               /* of the kv, beside sim_disk_snapshot() */
	size_t image_bytes;
};

/* An event that happens inside a node: waits while it is paused, is dropped when it died. */
struct node_event {
	struct event e;            /* first */
	struct node *n;
	uint32_t life;
	void (*run)(struct node *n, struct node_event *ev);
	void (*free)(struct node_event *ev); /* what it owns, and itself; NULL: just the memory */
};

void node_event_at(struct node *n, nsec_t at, struct node_event *ev);

void node_init(struct node *n, struct cluster *c, server_id_t id, enum server_kind kind,
               uint16_t site);
void node_fini(struct node *n);
void node_start(struct node *n);   /* with what its disk holds */
void node_crash(struct node *n, bool power); /* power: what was not synced is lost or torn */
void node_pause(struct node *n, nsec_t until);
void node_resume(struct node *n); /* before that time */
void node_set_clock_rate(struct node *n, int ppm);
nsec_t node_clock(const struct node *n);

/* Only while it is down: an empty disk; back to what node_remember() saw. */
void node_wipe(struct node *n);
void node_remember(struct node *n);
void node_restore(struct node *n);
bool node_disk_failed(const struct node *n); /* out of service until a restart */

void node_restart_soon(struct node *n);
void node_format_soon(struct node *n); /* as an operator does with a refused core server */

/* After an entry point of its cores was called: their tick, and when the next one is due. */
void node_after(struct node *n);
void node_recv(struct node *n, const struct msg *m);
void node_peer(struct node *n, server_id_t peer, bool up);

/* Per kind; called by the above only. */
void core_start(struct node *n);
void core_stop(struct node *n);
void core_recv(struct node *n, const struct msg *m);
void core_peer(struct node *n, server_id_t peer, bool up);
nsec_t core_tick(struct node *n, nsec_t now);
bool core_disk_failed(const struct node *n);
/* What is not the store's grows, so that `left` bytes are free on its disk; and goes again. */
void core_fill(struct node *n, uint64_t left);
#define HINT_RESERVE (4u << 10)
void hint_fill(struct node *n, uint64_t left); /* UINT64_MAX: not any more */
void core_unfill(struct node *n);
bool hint_disk_failed(const struct node *n);
void hint_start(struct node *n);
void hint_stop(struct node *n);
nsec_t hint_node_tick(struct node *n, nsec_t now);
void access_start(struct node *n);
void access_stop(struct node *n);
void access_recv(struct node *n, const struct msg *m);
void access_peer(struct node *n, server_id_t peer, bool up);
nsec_t access_tick(struct node *n, nsec_t now);
/* The session configuration that core and access servers share. */
void node_session_config(struct node *n, struct session_config *out);
