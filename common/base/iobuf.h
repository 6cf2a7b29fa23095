/* Reference-counted byte buffer: the only form in which bulk data crosses modules.
 *
 * Written by its creator, immutable once a second reference exists. Counts are atomic, so a
 * buffer may be put on another thread than the one that made it. Data is 4 KiB aligned, so that
 * it can go to the disk by O_DIRECT as it is. Memory comes from a budget (iobuf_budget_set);
 * iobuf_new() returns NULL past it, and NULL means back-pressure: the caller waits. */
#pragma once

#include "common/base/types.h"

struct iobuf {
	uint8_t *data;
	uint32_t size;  /* capacity in bytes */
	uint32_t refs;
	void *owner;    /* what `data` lies in, for the allocator only */
};

/* A piece of a buffer. Holding a slice does not hold a reference unless said so. */
struct slice {
	struct iobuf *buf; /* NULL for an empty slice */
	uint32_t off;
	uint32_t len;
};

struct iobuf *iobuf_new(uint32_t size);       /* refs = 1; NULL past the budget */
struct iobuf *iobuf_new_reserve(uint32_t size); /* ignores the budget: for replies that free memory */
struct iobuf *iobuf_get(struct iobuf *b);     /* one more reference; returns b */
void iobuf_put(struct iobuf *b);              /* drops one; NULL is fine */
void iobuf_budget_set(uint64_t bytes);        /* default 512 MiB */
uint64_t iobuf_used(void);
uint64_t iobuf_budget(void);

static inline const uint8_t *slice_data(struct slice s)
{
	return s.buf ? s.buf->data + s.off : NULL;
}
