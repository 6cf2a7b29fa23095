/* The program distcloud-core: store and replica protocol on one libuv loop.
 *
 * place_sys.c   the directory: made, locked, measured
 * open_uv.c     key-value store, disk and block store: opened, formatted, closed
 * core_uv.c     connections, session and replica, wired together
 * admin.c       what `distcloud` may ask, answered in JSON
 * main_uv.c     options, signals, exit status */
#pragma once

#include <uv.h>

#include "common/base/env.h"
#include "common/base/random.h"
#include "common/config/config.h"
#include "common/disk/disk_uring_uv.h"
#include "common/kv/kv.h"
#include "common/net/net.h"
#include "common/session/session.h"
#include "core-server/replica/replica.h"
#include "core-server/store/store.h"

#define WHY_BYTES 512

/* Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or configuration. */
enum exit_status { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct place {                /* the server's directory, held by this process alone */
	char dir[CONFIG_PATH_MAX];
	char kv_dir[CONFIG_PATH_MAX + 8];
	int lock_fd;
	uint64_t fs_bytes;    /* size of the file system */
};

struct core {
	struct env env;       /* first: cores get this pointer */
	struct config config;
	struct place place;
	uv_loop_t loop;
	struct random random;
	uint64_t boot;

	struct kv *kv;
	struct disk *disk;
	struct disk_uring_uv disk_loop;
	struct store *store;
	bool store_open;

	struct net *net;
	struct session *session;
	struct replica *replica;
	uint64_t complete_from;
	uint64_t map_seen;    /* newest version of the cluster map heard of */

	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_signal_t sigterm, sigint, sigusr1;
	bool stopping, ready_to_close, closed;
	enum exit_status status;
};

/* --- place_sys.c; `why` gets a sentence --- */
MUST_CHECK int place_take(struct place *p, const char *dir, bool make, char *why, size_t why_size);
void place_leave(struct place *p);

/* --- open_uv.c --- */
MUST_CHECK int core_format(const struct config *c, char *why, size_t why_size);
/* Key-value store and disk; the block store then opens on the loop and calls core_opened(). */
MUST_CHECK int core_open(struct core *c, char *why, size_t why_size);
void core_opened(struct core *c, int rc);
/* Everything that holds files or memory, once the loop is empty. */
void core_close_files(struct core *c);

/* --- core_uv.c --- */
MUST_CHECK int core_serve(struct core *c);
/* Ends service: with a checkpoint unless the disk failed; the loop runs empty after it. */
void core_stop(struct core *c, enum exit_status status);
void core_tick_start(struct core *c);

/* --- admin.c --- */
/* The answer to a verb as JSON text, malloc'ed; *status says whether it was understood. */
char *core_admin(struct core *c, struct span verb, struct span args, enum status *status);
