/* The program distcloud-access: a volume behind a FUSE mount, on one libuv loop.
 *
 * place_sys.c    the state directory: made, and locked against a second process
 * access_uv.c    connections, session, volume and mount, wired together
 * stop_uv.c      the end: dirty data, leases, mount, connections, in that order
 * admin.c        what `distcloud` may ask, answered in JSON
 * main_uv.c      options, signals, exit status */
#pragma once

#include <uv.h>

#include "access-server/fuse/fs.h"
#include "access-server/volume/volume.h"
#include "common/base/random.h"
#include "common/config/config.h"
#include "common/net/net.h"
#include "common/session/session.h"

#define WHY_BYTES 512

/* Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or configuration. */
enum exit_status { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

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
	struct env env;             /* first: cores get this pointer */
	struct config config;
	int lock_fd;
	uv_loop_t loop;
	struct random random;
	uint64_t boot;

	struct net *net;
	struct session *session;
	struct volume *volume;
	struct fs *fs;
	uint64_t map_connected;     /* version of the map whose servers we connect to */
	nsec_t fenced_since;        /* 0: not fenced */

	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_signal_t sigterm, sigint, sigusr1;

	enum stop_phase phase;
	enum exit_status status;
	nsec_t stop_by;             /* what is not written by then is given up */
	struct vol_req sync;
	bool syncing, abandoned;
};

/* --- place_sys.c; `why` gets a sentence --- */
MUST_CHECK int place_take(const char *dir, int *lock_fd, char *why, size_t why_size);
void place_leave(int lock_fd);

/* --- access_uv.c --- */
/* Connects, mounts, begins to serve. On failure the caller stops. */
MUST_CHECK int access_start(struct access *a, char *why, size_t why_size);
const struct config_hint *access_hint(const struct access *a, server_id_t id); /* NULL: none */

/* --- stop_uv.c --- */
void access_stop(struct access *a, enum exit_status status);
void access_stop_now(struct access *a); /* asked a second time: what is unwritten is lost */
/* From the loop, after the ticks: goes on to the next phase when the present one is through. */
void access_stop_step(struct access *a, nsec_t now);

/* --- admin.c --- */
/* The answer to a verb as JSON text, malloc'ed; *status says whether it was understood. */
char *access_admin(struct access *a, struct span verb, struct span args, enum status *status);
