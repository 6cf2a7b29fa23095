/* Drives a disk_uring from a libuv loop: flushes before the loop sleeps, polls when it wakes. */
#pragma once

#include <uv.h>

#include "common/disk/disk.h"

struct disk_uring_uv {
	struct disk *disk;
	uv_poll_t poll;
	uv_prepare_t prepare;
	void (*closed)(void *ctx);
	void *ctx;
	unsigned open_handles;
};

MUST_CHECK int disk_uring_uv_start(struct disk_uring_uv *u, uv_loop_t *loop, struct disk *disk);
/* closed(ctx) once both handles are gone; only then may *u and the disk go. */
void disk_uring_uv_stop(struct disk_uring_uv *u, void (*closed)(void *ctx), void *ctx);
