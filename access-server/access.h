/* The program distcloud-access: a volume behind a FUSE mount, on one libuv loop.
 *
 * access_uv.c    session, volume and mount, wired together
 * stop_uv.c      the end: dirty data, leases, mount, connections, in that order
 * admin.c        what `distcloud` may ask, answered in JSON
 * main_uv.c      what it is called with
 *
 * What all servers have in common is in common/server. The state directory is for the lock alone:
 * an access server remembers nothing. */
#pragma once

#include "access-server/fuse/fs.h"
#include "access-server/volume/volume.h"
#include "common/server/server_uv.h"

enum stop_phase {
	STOP_NOT,       /* serving */
	STOP_QUIESCE,   /* the kernel writes its dirty pages */
	STOP_SYNC,      /* the volume writes its own */
	STOP_RELEASE,   /* leases go back */
	STOP_MOUNT,     /* the mount and its threads end */
	STOP_NET,       /* connections close */
	STOP_DONE,
};

struct access {
	struct server server;       /* first: server_uv.h */
	struct volume *volume;
	struct fs *fs;
	unsigned maps_connected;    /* vol_maps() when we connected to their servers */
	nsec_t fenced_since;        /* 0: not fenced */

	enum stop_phase phase;
	nsec_t stop_by;             /* what is not written by then is given up */
	struct vol_req sync;
	bool syncing, abandoned;
};

/* --- access_uv.c --- */
/* Connects, mounts, begins to serve. */
MUST_CHECK int access_start(struct server *s, char *why, size_t why_size);
nsec_t access_tick(struct server *s, nsec_t now);
void access_recv(struct server *s, const struct msg *m);
void access_peer_up(struct server *s, server_id_t peer);
void access_peer_down(struct server *s, server_id_t peer);

/* --- stop_uv.c --- */
void access_stop(struct server *s);
void access_stop_now(struct server *s); /* asked a second time: what is unwritten is lost */
/* From the loop, after the ticks: goes on to the next phase when the present one is through. */
void access_stop_step(struct access *a, nsec_t now);

/* --- admin.c --- */
#define ACCESS_VERBS 3
extern const struct admin_verb access_verbs[ACCESS_VERBS];
void access_stats(struct server *s, json_t *o);
