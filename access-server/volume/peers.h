/* The core servers as the volume sees them, and requests to them that are sent again until they are
 * answered. Writes do not use rpcs: their acknowledgements are cumulative (writer.c). */
#pragma once

#include "access-server/volume/volume_internal.h"

struct peer {
	UT_hash_handle hh;
	server_id_t id;
	struct volume *v;
	bool down;             /* told so, and nothing heard since */
	nsec_t refused_at;     /* it said that it cannot serve (no session, disk out of service) */
	bool reconnected;      /* while peer_up runs: what was in flight is lost */
	nsec_t heard;          /* last answer that was not a refusal */
	uint64_t boot, journal; /* the furthest it acknowledged; goes with releases (trap A8) */
	nsec_t latency;        /* of reads, smoothed; 0 unknown */
	uint64_t granted;      /* bytes of space promised and not used (space.c) */
	bool asking;           /* a space request is out */
	bool no_space;         /* the last one gave nothing */
	nsec_t asked_at;
	struct vol_timer ask_timer;
};

struct peer *peer_get(struct volume *v, server_id_t id);
void peer_answered(struct volume *v, const struct msg *m, unsigned status); /* notes how it is */
void peer_acknowledged(struct volume *v, server_id_t id, const struct msg_write_reply *r);
bool peer_unwell(struct volume *v, server_id_t id); /* down, or cannot serve: ask others first */
nsec_t peer_rtt(struct volume *v, server_id_t id); /* 0 unknown */
nsec_t peer_resend_after(struct volume *v, server_id_t id); /* 2 round trips + 200 ms */
void peers_free(struct volume *v);

struct rpc {
	UT_hash_handle hh;
	uint64_t id;
	struct volume *v;
	struct msg m;          /* spans are copies */
	uint8_t *bytes;        /* of the spans */
	nsec_t sent_at;        /* 0: never left */
	nsec_t wait;
	struct vol_timer timer;
	/* False: the answer is none (busy, fenced): keep asking. The rpc is freed after true. */
	bool (*done)(struct rpc *rpc, const struct msg *reply);
	void *ctx;
	unsigned tag;
};

/* Sends `m` to m->dst and keeps sending it until done() is happy. Never calls done() itself. */
struct rpc *rpc_start(struct volume *v, const struct msg *m,
                      bool (*done)(struct rpc *rpc, const struct msg *reply), void *ctx, unsigned tag);
void rpc_cancel(struct rpc *rpc); /* NULL is fine */
bool rpc_recv(struct volume *v, const struct msg *m); /* false: nobody waits for it */
void rpcs_peer_up(struct volume *v, server_id_t peer);

/* space.c */
void space_want(struct volume *v, struct peer *p, uint64_t need);
/* Enough space promised for `bytes` on two of the three servers, stale ones not counted? 1 yes, 0
 * not yet, -ENOSPC. */
int space_check(struct volume *v, const server_id_t server[REPLICAS], uint8_t stale, uint64_t bytes);
uint64_t space_use(struct volume *v, server_id_t server, uint64_t bytes); /* returns what was promised */
void space_given(struct volume *v, server_id_t server, uint64_t bytes);
void space_peer_down(struct volume *v, server_id_t server);

/* maps.c */
void maps_want_newest(struct volume *v, uint64_t version);
struct map *maps_get(struct volume *v, uint64_t version); /* NULL: being fetched */
void maps_session_up(struct volume *v);
void maps_free(struct volume *v);
