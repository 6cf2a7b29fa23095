/* The receiving side of a connection: bytes in, frames out. Pure: the adapter reads from the stream
 * to where rx_space() points.
 *
 * Headers, bodies and small payloads arrive through a buffer, many frames by one read; of a large
 * payload the rest goes straight into the iobuf that is handed on. */
#pragma once

#include "common/wire/msg.h"

struct rx {
	uint8_t *buf;
	size_t cap, start, end;
	uint32_t body_max, payload_max;

	/* The frame at buf + start. */
	struct frame_info info;
	bool head_good;            /* `info` is set */
	bool held;                 /* handed out: goes with the next call */
	struct iobuf *payload;
	uint32_t payload_got;
	size_t taken;              /* bytes of it in `buf` */
};

void rx_init(struct rx *rx);
void rx_fini(struct rx *rx);
/* Limits of what the peer may send; at first a greeting's. Ends the life of the last message's
 * spans. */
void rx_set_limits(struct rx *rx, uint32_t body_max, uint32_t payload_max);

/* Where the next bytes go, at least one. Ends the life of the last message. */
void rx_space(struct rx *rx, uint8_t **p, size_t *len);
void rx_filled(struct rx *rx, size_t len);
/* 1: *m is the next frame, until the next call; 0: more bytes are needed; -ENOMEM: no memory for
 * a payload now, try later; ERR_CORRUPT, ERR_VERSION: the stream is of no use any more. */
MUST_CHECK int rx_next(struct rx *rx, struct msg *m);
