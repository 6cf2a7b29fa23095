/* The sending side of a connection: frames in, pieces for writev out. Pure.
 *
 * Headers and bodies of many frames share a chunk of memory, and a piece where they are neighbours;
 * payloads go by reference. What a write under way looks at is sealed: nothing is added to it. */
#pragma once

#include "common/wire/msg.h"

struct tx_chunk;

struct tx_piece {
	const uint8_t *p;
	size_t len;
	struct iobuf *buf;         /* what it lies in: a payload */
	struct tx_chunk *chunk;    /* or a chunk */
};

struct tx {
	struct tx_piece *ring;     /* of `cap` pieces, a power of two */
	unsigned cap, first, n;
	unsigned sealed;           /* of the first ones */
	struct tx_chunk *chunk;    /* where the next head goes */
	struct tx_chunk *spare;
	uint64_t bytes;            /* not sent yet */
};

void tx_init(struct tx *tx);
void tx_fini(struct tx *tx);
void tx_add(struct tx *tx, const struct msg *m);
/* Seals the first `max` pieces at most and returns how many; they stay until consumed. */
unsigned tx_seal(struct tx *tx, unsigned max);
const struct tx_piece *tx_piece(const struct tx *tx, unsigned i);
void tx_consume(struct tx *tx, size_t bytes);
