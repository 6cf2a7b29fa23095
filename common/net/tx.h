/* The sending side of a connection: frames in, pieces for writev out. Pure.
 *
 * Headers and bodies of many frames share one piece; payloads go by reference. What a write under
 * way looks at is sealed: nothing is added to it. */
#pragma once

#include "common/wire/msg.h"

struct tx_seg;

struct tx {
	struct tx_seg *head, *tail;
	struct tx_seg *spare;      /* one empty segment kept for the next frames */
	uint64_t bytes;            /* not sent yet */
};

struct tx_piece {
	const uint8_t *p;
	size_t len;
};

void tx_init(struct tx *tx);
void tx_fini(struct tx *tx);
void tx_add(struct tx *tx, const struct msg *m);
/* The first `max` pieces at most; returns how many. They stay good until consumed. */
unsigned tx_pieces(struct tx *tx, struct tx_piece *out, unsigned max);
void tx_consume(struct tx *tx, size_t bytes);
