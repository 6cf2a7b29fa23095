/* The stale map of a file: which replicas may be behind, as runs of blocks. Pure.
 *
 * Bit i of a block's mask stands for replica i (inode's replica site i). At least two replicas of a
 * block are always clear: stale_set() refuses to mark a second one. */
#pragma once

#include "common/base/types.h"

struct stale_run {
	uint64_t first;
	uint64_t last;  /* inclusive; BLOCK_ATTR is a block like any other */
	uint8_t mask;   /* never 0 */
};

struct stale_map {
	struct stale_run *runs; /* ascending, disjoint, neighbours with equal masks merged */
	unsigned n;
	unsigned capacity;
};

#define STALE_RUNS_MAX 65536
#define STALE_RUN_BYTES 17

void stale_init(struct stale_map *s);
void stale_fini(struct stale_map *s);
uint8_t stale_get(const struct stale_map *s, uint64_t block);
/* Marks replica `i` stale in [first, last]. A full map is coarsened, which marks more. -EBUSY: another
 * replica is stale somewhere in there, or nothing could be joined; the caller must keep its data (P8). */
MUST_CHECK int stale_set(struct stale_map *s, uint64_t first, uint64_t last, unsigned i);
void stale_clear(struct stale_map *s, uint64_t first, uint64_t last, unsigned i);
/* Joins neighbours of one replica over the smallest gaps, whose blocks become stale as well, until
 * there are at most `max` runs. False: between runs of different replicas nothing can be joined. */
bool stale_coarsen(struct stale_map *s, unsigned max);
/* First run at or after `from`, clipped to start there; false at the end. */
bool stale_next(const struct stale_map *s, uint64_t from, struct stale_run *out);
bool stale_empty(const struct stale_map *s);
/* Blocks with a stale replica among the first `blocks` blocks and ATTR. */
uint64_t stale_count(const struct stale_map *s, uint64_t blocks);

size_t stale_encoded_bytes(const struct stale_map *s);
void stale_encode(const struct stale_map *s, uint8_t *out);
/* Replaces the content. ERR_CORRUPT: unsorted, empty mask, or two stale replicas in a block. */
MUST_CHECK int stale_decode(struct stale_map *s, const uint8_t *p, size_t len);
