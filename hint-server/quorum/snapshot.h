/* Snapshots between voters: the leader streams its catalog to one that lags behind the log.
 *
 * Pure but for image.h. Chunks are pipelined within a window and acknowledged by offset, so a
 * transfer goes on where it stood after a lost message or a broken connection. Nothing holds a read
 * transaction while the stream lasts (trap B11): the catalog is copied first. */
#pragma once

#include "common/base/env.h"
#include "common/wire/msg.h"
#include "hint-server/quorum/image.h"
#include "hint-server/quorum/voter.h"

struct snapshots;

struct snapshots_ops {
	void (*send)(void *ctx, const struct msg *m);
	/* Begins to export the state machine as of its last commit; snapshots_exported() follows, with
	 * index and term filled in, perhaps at once. An error: not now. */
	int (*export)(void *ctx, struct image *im);
	/* A received image is complete: shall it be installed, ask voter_snapshot_received(). */
	void (*received)(void *ctx, server_id_t from, uint64_t leader_term, uint64_t index,
	                 uint64_t term);
};

struct snapshots *snapshots_new(struct env *env, const char *dir, const struct snapshots_ops *ops,
                                void *ctx);
void snapshots_free(struct snapshots *s);

/* Leader: `peer` wants one. `oldest`: an image below this index is of no use any more. */
void snapshots_start(struct snapshots *s, server_id_t peer, uint64_t term, uint64_t oldest);
void snapshots_exported(struct snapshots *s, int rc);
void snapshots_ack(struct snapshots *s, const struct msg *m);
void snapshots_stop(struct snapshots *s); /* no longer the leader */

/* Follower. `wanted`: would raft take a snapshot at this index? */
void snapshots_chunk(struct snapshots *s, const struct msg *m, bool wanted);
/* The complete image; image_drop() it after use. NULL: none for that index. */
struct image *snapshots_image(struct snapshots *s, uint64_t index, uint64_t term);

nsec_t snapshots_tick(struct snapshots *s, nsec_t now);
