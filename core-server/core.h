/* The program distcloud-core: store and replica protocol on one libuv loop.
 *
 * open_uv.c     key-value store, disk and block store: opened, formatted, closed
 * core_uv.c     session and replica, wired together; the end
 * admin.c       what `distcloud` may ask, answered in JSON
 * main_uv.c     what it is called with
 *
 * What all servers have in common is in common/server. */
#pragma once

#include "common/disk/disk_uring_uv.h"
#include "common/kv/kv_worker_uv.h"
#include "common/server/server_uv.h"
#include "core-server/replica/replica.h"
#include "core-server/store/store.h"

struct core {
	struct server server; /* first: server_uv.h */

	struct kv *kv;
	struct kv_worker kv_worker;
	struct disk *disk;
	struct disk_uring_uv disk_loop;
	struct store *store;
	bool store_open;

	struct replica *replica;
	uint64_t complete_from;
	uint64_t map_seen;    /* newest version of the cluster map heard of */
	bool full;            /* as logged */
	bool ready_to_close, closed;
};

/* --- open_uv.c --- */
MUST_CHECK int core_format(struct server *s, char *why, size_t why_size);
/* Key-value store and disk; the block store then opens on the loop and calls core_opened(). */
MUST_CHECK int core_start(struct server *s, char *why, size_t why_size);
/* Everything that holds files or memory, once the loop is empty. */
void core_close(struct server *s);

/* --- core_uv.c --- */
void core_opened(struct core *c, int rc);
nsec_t core_tick(struct server *s, nsec_t now);
/* Ends service: with a checkpoint unless the disk failed. */
void core_stop(struct server *s);
void core_recv(struct server *s, const struct msg *m);
void core_peer_up(struct server *s, server_id_t peer);
void core_peer_down(struct server *s, server_id_t peer);
void core_session_heard(struct server *s);

/* --- admin.c --- */
#define CORE_VERBS 5
extern const struct admin_verb core_verbs[CORE_VERBS];
void core_stats(struct server *s, json_t *o);
