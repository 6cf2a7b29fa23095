/* Messages: any bytes as a body, any fields as a frame, any bytes as a stream. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/net/rx.h"
#include "tests/fuzz/fuzz.h"

/* What decodes must print and encode to the very bytes it came from. */
static void body(const uint8_t *data, size_t size)
{
	char line[4096];
	struct msg m;
	uint8_t *out;

	if (msg_decode_body(data, size, &m) < 0)
		return;
	CHECK(msg_print(&m, line, sizeof(line)) > 0);
	msg_print(&m, line, 16);
	CHECK(memchr(line, '\0', 16) != NULL);
	CHECK(msg_body_bytes(&m) == size);
	out = mem_new(size);
	msg_encode_body(&m, out);
	CHECK(memcmp(out, data, size) == 0);
	mem_free(out);
}

/* --- a valid message of any type, its fields taken from the input --- */

static struct span take_span(struct cursor *c)
{
	size_t len = cursor_u8(c);
	const uint8_t *p;

	len = MIN(len, c->left);
	p = cursor_take(c, len);
	return (struct span){p, p ? (uint32_t)len : 0};
}

#define TAKE_u8(name) m->name = cursor_u8(c);
#define TAKE_u16(name) m->name = cursor_u16(c);
#define TAKE_u32(name) m->name = cursor_u32(c);
#define TAKE_u64(name) m->name = cursor_u64(c);
#define TAKE_ver(name) m->name = cursor_ver(c);
#define TAKE_span(name) m->name = take_span(c);
#define X(kind, name) TAKE_##kind(name)
#define M(name, number, fields) \
	static void fill_##name(struct msg_##name *m, struct cursor *c) \
	{ \
		(void)m; \
		(void)c; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

static void fill(struct msg *m, struct cursor *c)
{
	static const enum msg_type types[] = {
#define M(name, number, fields) MSG_TYPE_##name,
		MSG_LIST(M)
#undef M
	};

	m->type = types[cursor_u8(c) % ARRAY_LEN(types)];
	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		fill_##name(&m->name, c); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
}

static void put_payload(struct msg *m, struct cursor *c)
{
	uint32_t len = (uint32_t)MIN(c->left, 4096u);

	if (c->bad || len == 0)
		return;
	m->payload = (struct slice){iobuf_new(len), 0, len};
	memcpy(m->payload.buf->data, cursor_take(c, len), len);
}

/* A stranger's bytes, in pieces. How many messages they were. */
static unsigned stream(const uint8_t *data, size_t size)
{
	struct rx rx;
	struct msg m;
	unsigned messages = 0;
	int rc = 0;

	rx_init(&rx);
	rx_set_limits(&rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
	while (size > 0 && rc >= 0) {
		uint8_t *p;
		size_t room, n;

		rx_space(&rx, &p, &room);
		n = MIN(MIN(room, size), (size_t)1 + data[0]);
		memcpy(p, data, n);
		data += n;
		size -= n;
		rx_filled(&rx, n);
		while ((rc = rx_next(&rx, &m)) == 1)
			messages++;
	}
	rx_fini(&rx);
	return messages;
}

/* A whole frame, of today's wire version whatever the corpus holds, as a stream. */
static void arrives(const uint8_t *wire, size_t head, struct slice payload)
{
	uint8_t *all = mem_new(head + payload.len);

	memcpy(all, wire, head);
	if (payload.len > 0)
		memcpy(all + head, slice_data(payload), payload.len);
	CHECK(stream(all, head + payload.len) == 1);
	mem_free(all);
}

/* Whatever the fields are, a frame decodes to what was encoded; with a bit flipped it does not. */
static void frame(const uint8_t *data, size_t size)
{
	struct cursor c = {data, size, false};
	struct msg m = {0}, back;
	struct frame_info info;
	uint32_t flip = cursor_u32(&c);
	uint8_t *wire, *again;
	size_t head;
	int rc;

	fill(&m, &c);
	m.src = flip;
	m.id = size;
	put_payload(&m, &c);
	head = msg_head_bytes(&m);
	wire = mem_new(head);
	again = mem_new(head);
	msg_encode(&m, wire);
	CHECK(msg_decode_header(wire, &info) == 0);
	CHECK(info.body_bytes + WIRE_HEADER_BYTES == head && info.payload_bytes == m.payload.len);
	rc = msg_decode(wire, wire + WIRE_HEADER_BYTES, m.payload, &back);
	CHECK(rc == 0);
	CHECK(back.type == m.type && back.src == m.src && back.id == m.id);
	msg_encode(&back, again);
	CHECK(memcmp(wire, again, head) == 0);
	arrives(wire, head, m.payload);

	wire[flip / 8 % head] ^= (uint8_t)(1u << flip % 8);
	rc = msg_decode_header(wire, &info);
	if (rc == 0)
		rc = msg_decode(wire, wire + WIRE_HEADER_BYTES, m.payload, &back);
	CHECK(rc == ERR_CORRUPT || rc == ERR_VERSION);
	iobuf_put(m.payload.buf);
	mem_free(wire);
	mem_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	body(data, size);
	frame(data, size);
	(void)stream(data, size);
	return 0;
}
