/* A volume among three core servers (11, 21, 31, one per site) and a leader, all played by the test.
 * The volume and the session are the real ones. The leader answers by itself; what goes to the core
 * servers is written to a trace, one line each, and the test decides what they answer. */
#pragma once

#include "access-server/volume/volume.h"
#include "common/session/session.h"
#include "common/wire/stale.h"

#define INO ((uint64_t)77)
#define BLOCK ((uint64_t)65536)
#define WROTE_MAX 256

struct wrote { /* a write that was sent */
	server_id_t to;
	struct msg m;
};

struct world {
	struct env env;
	nsec_t now;
	uint64_t wall, random;
	struct session *session;
	struct volume *volume;
	session_id_t given;
	bool mute;               /* heartbeats stay without answer */
	uint16_t site[3];        /* of the file */
	uint64_t epoch;          /* of the next grant */
	uint64_t size;           /* in it */
	bool recover;            /* in it */
	bool held;               /* exclusively by this server, says the catalog, whatever it is asked for */
	struct stale_run stale;  /* in it, if its mask is not 0 */
	bool lost;               /* op_reclaim is refused */
	uint8_t state;           /* of the inode */
	uint32_t mode;           /* of it; 0: 0644 */
	bool no_release;         /* op_release stays without answer */
	bool no_inode;           /* q_inode waits for inode_answered() */
	unsigned busy;           /* so many q_inode are refused first */
	struct msg inode_asked;
	uint64_t reclaimed;      /* the epoch that op_reclaim named last */
	bool full;               /* no server grants space */
	bool down[40];           /* sends to the server fail */
	bool quiet;              /* reads, lists, seals are not answered by themselves */
	struct wrote wrote[WROTE_MAX];
	unsigned wrotes;
	struct msg asked[WROTE_MAX]; /* read, list, seal, install, close: as sent, spans dropped */
	unsigned askeds;
	struct msg inbox[128];
	unsigned arriving;
	uint64_t invalidated;    /* the last cookie; 0: confirmed */
	char trace[32768];
	size_t len;
};

extern struct world w;

void world_up(void);
void world_up_in(uint16_t second_site); /* 1: servers 11 and 21 share a site */
void world_down(void);
/* The trace since the last call must be this. */
void expect(const char *text);
void forget_trace(void);
void pass(nsec_t time);          /* in steps of a millisecond */
static inline void settle(void)
{
	pass(6 * NSEC_MSEC);
}

/* Core server `s` answers every write it was sent and not answered yet. */
void ack(server_id_t s);
/* It answers the oldest one this way, showing `durable`. */
void refuse(server_id_t s, enum status status, struct version durable);
void answer(const struct msg *request, struct msg *reply); /* from the server it was sent to */
struct msg *asked(enum msg_type type, server_id_t s);      /* oldest open one; NULL: none */
void recall(enum lease_mode to, uint64_t id);
void orphan_check(void);         /* the leader asks whether the file is open */
void session_ends(void);         /* and a new one begins */
void inode_answered(void);       /* as the file is now */

/* The file is known and granted; a handle of it. */
uint64_t opened(void);
void again(struct vol_req *req);  /* submits it once more */
struct vol_req *op(enum vol_op kind, uint64_t handle);
struct vol_req *writes(uint64_t handle, uint64_t off, uint32_t len, uint8_t byte, unsigned flags);
struct vol_req *reads(uint64_t handle, uint64_t off, uint32_t len);
#define PENDING_RC 12345
int rc_of(const struct vol_req *req); /* PENDING_RC before done() */
