/* What clients write: every 512-byte chunk tells which write it comes from and where it belongs, in
 * every one of its bytes, so that a reader can tell whose bytes it got or that they are nobody's. */
#pragma once

#include "common/base/base.h"

#define CHUNK_BYTES 512u
#define CONTENT_GARBAGE UINT64_MAX /* no write ever made this chunk here */

/* Fills one chunk. value: the write's number, not 0. */
void content_fill(uint8_t *chunk, uint64_t value, uint32_t file, uint64_t chunk_index);
/* The write that made this chunk, 0 for zeros, CONTENT_GARBAGE. */
uint64_t content_read(const uint8_t *chunk, uint32_t file, uint64_t chunk_index);
