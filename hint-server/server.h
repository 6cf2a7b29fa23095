/* The program distcloud-hint: one hint server's core on a libuv loop.
 *
 * place_sys.c   the directory: made, locked
 * hint_uv.c     disk, key-value store, connections and the core, wired together
 * main_uv.c     options, signals, exit status */
#pragma once

#include <uv.h>

#include "common/base/env.h"
#include "common/base/random.h"
#include "common/config/config.h"
#include "common/disk/disk_uring_uv.h"
#include "common/kv/kv.h"
#include "common/net/net.h"
#include "hint-server/quorum/hint.h"

#define WHY_BYTES 512

enum exit_status { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct place {                /* the server's directory, held by this process alone */
	char dir[CONFIG_PATH_MAX];
	char kv_dir[CONFIG_PATH_MAX + 16];
	int lock_fd;
};

struct hint_server {
	struct env env;
	struct config config;
	struct place place;
	struct random random;
	uint64_t boot;
	uv_loop_t loop;
	struct kv *kv;
	struct disk *disk;
	struct disk_uring_uv disk_loop;
	struct net *net;
	struct hint *hint;
	struct hint_status said;  /* what the log was told last */
	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_signal_t sigterm, sigint, sigusr1;
	bool ticking, stopping, net_gone, disk_stopping;
	enum exit_status status;
};

/* --- place_sys.c --- */
MUST_CHECK int place_take(struct place *p, const char *dir, bool make, char *why, size_t why_size);
void place_leave(struct place *p);

/* --- hint_uv.c --- */
MUST_CHECK int server_format(struct hint_server *s, char *why, size_t why_size);
MUST_CHECK int server_start(struct hint_server *s, char *why, size_t why_size);
void server_stop(struct hint_server *s, enum exit_status status); /* the loop ends by itself */
void server_close(struct hint_server *s);                         /* after the loop */
