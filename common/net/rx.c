#include "common/net/rx.h"

#include "common/base/mem.h"

#define BUF_BYTES (64u << 10)
/* From here on a payload's rest is worth a read of its own. */
#define DIRECT_BYTES (32u << 10)
#define GREETING_BYTES_MAX 4096
/* Strangers may be many. */
#define GREETING_BUF_BYTES (8u << 10)
/* Less room than this at the end of the buffer, and what is in it moves to the front. */
#define ROOM_MIN (16u << 10)

void rx_init(struct rx *rx)
{
	*rx = (struct rx){.cap = GREETING_BUF_BYTES, .body_max = GREETING_BYTES_MAX};
	rx->buf = mem_new(rx->cap);
}

void rx_fini(struct rx *rx)
{
	iobuf_put(rx->payload);
	mem_free(rx->buf);
	*rx = (struct rx){0};
}

static size_t head_bytes(const struct rx *rx)
{
	return WIRE_HEADER_BYTES + (rx->head_good ? (size_t)rx->info.body_bytes : 0);
}

static uint32_t payload_left(const struct rx *rx)
{
	return rx->payload ? rx->info.payload_bytes - rx->payload_got : 0;
}

/* Drops the frame that was handed out. */
static void release(struct rx *rx)
{
	if (!rx->held)
		return;
	iobuf_put(rx->payload);
	rx->payload = NULL;
	rx->start += rx->taken;
	rx->held = rx->head_good = false;
	if (rx->start == rx->end)
		rx->start = rx->end = 0;
}

static void resize(struct rx *rx, size_t cap)
{
	rx->buf = mem_resize(rx->buf, cap, 1);
	rx->cap = cap;
}

void rx_set_limits(struct rx *rx, uint32_t body_max, uint32_t payload_max)
{
	rx->body_max = body_max;
	rx->payload_max = payload_max;
	if (rx->cap < BUF_BYTES)
		resize(rx, BUF_BYTES);
}

/* Room for the head of the frame at `start`, and for at least one byte. Memory comes as the bytes of
 * the head do: that a long one follows is easily said. */
static void make_room(struct rx *rx)
{
	size_t need = head_bytes(rx) + 1;

	if (rx->start > 0 && (rx->start + need > rx->cap || rx->cap - rx->end < ROOM_MIN)) {
		memmove(rx->buf, rx->buf + rx->start, rx->end - rx->start);
		rx->end -= rx->start;
		rx->start = 0;
	}
	if (need > rx->cap && rx->cap - rx->end < ROOM_MIN)
		resize(rx, MIN(need, 2 * rx->cap));
	else if (rx->cap > BUF_BYTES && rx->start == rx->end && need <= BUF_BYTES)
		resize(rx, BUF_BYTES);
	CHECK(rx->end < rx->cap);
}

void rx_space(struct rx *rx, uint8_t **p, size_t *len)
{
	release(rx);
	if (payload_left(rx) >= DIRECT_BYTES) {
		*p = rx->payload->data + rx->payload_got;
		*len = payload_left(rx);
		return;
	}
	make_room(rx);
	*p = rx->buf + rx->end;
	*len = rx->cap - rx->end;
}

void rx_filled(struct rx *rx, size_t len)
{
	if (payload_left(rx) >= DIRECT_BYTES) {
		CHECK(len <= payload_left(rx));
		rx->payload_got += (uint32_t)len;
		return;
	}
	CHECK(len <= rx->cap - rx->end);
	rx->end += len;
}

static int take_head(struct rx *rx)
{
	int rc = msg_decode_header(rx->buf + rx->start, &rx->info);

	if (rc < 0)
		return rc;
	if (rx->info.body_bytes > rx->body_max || rx->info.payload_bytes > rx->payload_max)
		return ERR_CORRUPT;
	rx->head_good = true;
	rx->payload_got = 0;
	return 0;
}

/* Memory for the payload. What this server asked for itself comes from the reserve: such replies
 * free memory, and other replies wait behind them on the same connection. */
static int take_buffer(struct rx *rx)
{
	uint32_t size = rx->info.payload_bytes;

	rx->payload = rx->info.type == MSG_TYPE_read_reply ? iobuf_new_reserve(size) : iobuf_new(size);
	return rx->payload ? 0 : -ENOMEM;
}

/* Moves what the buffer has of the payload. */
static void pull_payload(struct rx *rx)
{
	size_t n = MIN(rx->end - (rx->start + rx->taken), payload_left(rx));

	memcpy(rx->payload->data + rx->payload_got, rx->buf + rx->start + rx->taken, n);
	rx->payload_got += (uint32_t)n;
	rx->taken += n;
	if (payload_left(rx) > 0) {
		/* Nothing lies behind it: the room is free again. */
		rx->taken = head_bytes(rx);
		rx->end = rx->start + rx->taken;
	}
}

int rx_next(struct rx *rx, struct msg *m)
{
	struct slice payload = {0};
	const uint8_t *head;
	int rc;

	release(rx);
	if (!rx->head_good) {
		if (rx->end - rx->start < WIRE_HEADER_BYTES)
			return 0;
		rc = take_head(rx);
		if (rc < 0)
			return rc;
	}
	if (rx->end - rx->start < head_bytes(rx))
		return 0;
	if (!rx->payload)
		rx->taken = head_bytes(rx);
	if (rx->info.payload_bytes > 0) {
		if (!rx->payload && (rc = take_buffer(rx)) < 0)
			return rc;
		pull_payload(rx);
		if (payload_left(rx) > 0)
			return 0;
		payload = (struct slice){rx->payload, 0, rx->info.payload_bytes};
	}
	head = rx->buf + rx->start;
	rc = msg_decode(head, head + WIRE_HEADER_BYTES, payload, m);
	if (rc < 0)
		return rc;
	rx->held = true;
	return 1;
}
