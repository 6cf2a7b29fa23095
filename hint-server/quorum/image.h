/* A copy of the whole catalog for a voter that lags too far: made by kv_export, sent in chunks,
 * taken in by kv_import. In a file of `dir`, or in memory when `dir` is empty (simulator).
 * Synchronous; the chunks are small. */
#pragma once

#include "common/kv/kv.h"

struct image {
	uint64_t index, term; /* of the last entry it contains */
	uint64_t total;       /* bytes */
	void *mem;
	int fd;               /* -1: in memory */
	char path[320];
};

/* The state of the last commit. */
MUST_CHECK int image_export(struct image *im, struct kv *kv, const char *dir);
/* An empty one to be filled. `name` tells the images of one directory apart. */
MUST_CHECK int image_create(struct image *im, const char *dir, const char *name, uint64_t total);
MUST_CHECK int image_read(const struct image *im, uint64_t off, void *out, size_t len);
MUST_CHECK int image_write(struct image *im, uint64_t off, const void *p, size_t len);
MUST_CHECK int image_import(struct image *im, struct kv *kv); /* durably */
void image_drop(struct image *im); /* and its file; fine when zeroed with fd = -1 */
