/* The program distcloud-hint: one hint server's core on a libuv loop.
 *
 * hint_uv.c     disk, key-value store, connections and the core, wired together
 * main_uv.c     what it is called with
 *
 * What all servers have in common is in common/server. */
#pragma once

#include "common/disk/disk_uring_uv.h"
#include "common/kv/kv_worker_uv.h"
#include "common/server/server_uv.h"
#include "hint-server/quorum/hint.h"

struct hint_server {
	struct server server;     /* first: server_uv.h */
	struct kv *kv;
	struct kv_worker kv_worker;
	struct disk *disk;
	struct disk_uring_uv disk_loop;
	struct hint *hint;
	struct hint_status said;  /* what the log was told last */
	bool disk_in_loop, net_gone, disk_stopping;
};

MUST_CHECK int hint_server_format(struct server *s, char *why, size_t why_size);
MUST_CHECK int hint_server_start(struct server *s, char *why, size_t why_size);
nsec_t hint_server_tick(struct server *s, nsec_t now);
void hint_server_stats(struct server *s, json_t *o);
void hint_server_stop(struct server *s);
void hint_server_close(struct server *s);
void hint_server_recv(struct server *s, const struct msg *m);
void hint_server_peer_up(struct server *s, server_id_t peer);
void hint_server_peer_down(struct server *s, server_id_t peer);
