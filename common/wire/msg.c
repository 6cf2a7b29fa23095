#include "common/wire/msg.h"

#include "common/base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC 0x44434c44u /* "DLCD" */

/* Header layout; all little-endian. */
enum {
	OFF_MAGIC = 0, OFF_VERSION = 4, OFF_TYPE = 6, OFF_SRC = 8, OFF_DST = 12, OFF_ID = 16,
	OFF_BODY = 24, OFF_PAYLOAD = 28, OFF_DATA_SUM = 32, OFF_ZERO = 40, OFF_HEAD_SUM = 44,
};
static_assert(OFF_HEAD_SUM + 4 == WIRE_HEADER_BYTES, "header size");

/* --- sizes --- */

#define SIZE_u8(m, name) 1
#define SIZE_u16(m, name) 2
#define SIZE_u32(m, name) 4
#define SIZE_u64(m, name) 8
#define SIZE_ver(m, name) 16
#define SIZE_span(m, name) (4 + (size_t)(m)->name.len)
#define X(kind, name) +SIZE_##kind(m, name)
#define M(name, number, fields) \
	static size_t size_##name(const struct msg_##name *m) \
	{ \
		(void)m; \
		return 0 fields(X); \
	}
MSG_LIST(M)
#undef M
#undef X

/* --- encoding --- */

static uint8_t *put_span(uint8_t *p, struct span s)
{
	put_u32le(p, s.len);
	if (s.len > 0)
		memcpy(p + 4, s.p, s.len);
	return p + 4 + s.len;
}

#define PUT_u8(name) *p++ = m->name;
#define PUT_u16(name) put_u16le(p, m->name); p += 2;
#define PUT_u32(name) put_u32le(p, m->name); p += 4;
#define PUT_u64(name) put_u64le(p, m->name); p += 8;
#define PUT_ver(name) put_u64le(p, m->name.epoch); put_u64le(p + 8, m->name.n); p += 16;
#define PUT_span(name) p = put_span(p, m->name);
#define X(kind, name) PUT_##kind(name)
#define M(name, number, fields) \
	static uint8_t *encode_##name(const struct msg_##name *m, uint8_t *p) \
	{ \
		(void)m; \
		fields(X) return p; \
	}
MSG_LIST(M)
#undef M
#undef X

/* --- decoding --- */

#define X(kind, name) m->name = cursor_##kind(c);
#define M(name, number, fields) \
	static void decode_##name(struct msg_##name *m, struct cursor *c) \
	{ \
		(void)m; \
		(void)c; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

/* --- dispatch by type --- */

static size_t fields_bytes(const struct msg *m)
{
	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		return size_##name(&m->name);
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
	CHECK(!"message type is known");
	return 0;
}

static uint8_t *encode_fields(const struct msg *m, uint8_t *p)
{
	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		return encode_##name(&m->name, p);
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
	CHECK(!"message type is known");
	return p;
}

/* False when the type is unknown. */
static bool decode_fields(unsigned type, struct msg *m, struct cursor *c)
{
	switch (type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		m->type = MSG_TYPE_##name; \
		decode_##name(&m->name, c); \
		return true;
		MSG_LIST(M)
#undef M
	default:
		return false;
	}
}

size_t msg_head_bytes(const struct msg *m)
{
	return WIRE_HEADER_BYTES + fields_bytes(m);
}

static uint64_t data_sum(const uint8_t *body, uint32_t body_bytes, struct slice payload)
{
	uint64_t sum = XXH3_64bits(body, body_bytes);

	/* Chained rather than streamed: one call per part keeps XXH3's fast path. */
	if (payload.len > 0)
		sum = XXH3_64bits_withSeed(slice_data(payload), payload.len, sum);
	return sum;
}

void msg_encode(const struct msg *m, uint8_t *out)
{
	uint8_t *body = out + WIRE_HEADER_BYTES, *end = encode_fields(m, body);
	uint32_t body_bytes = (uint32_t)(end - body);

	CHECK(body_bytes <= WIRE_BODY_BYTES_MAX);
	CHECK(m->payload.len <= WIRE_PAYLOAD_BYTES_MAX);
	memset(out, 0, WIRE_HEADER_BYTES);
	put_u32le(out + OFF_MAGIC, MAGIC);
	put_u16le(out + OFF_VERSION, WIRE_VERSION);
	put_u16le(out + OFF_TYPE, (uint16_t)m->type);
	put_u32le(out + OFF_SRC, m->src);
	put_u32le(out + OFF_DST, m->dst);
	put_u64le(out + OFF_ID, m->id);
	put_u32le(out + OFF_BODY, body_bytes);
	put_u32le(out + OFF_PAYLOAD, m->payload.len);
	put_u64le(out + OFF_DATA_SUM, data_sum(body, body_bytes, m->payload));
	put_u32le(out + OFF_HEAD_SUM, XXH32(out, OFF_HEAD_SUM, 0));
}

int msg_decode_header(const uint8_t head[WIRE_HEADER_BYTES], struct frame_info *out)
{
	if (get_u32le(head + OFF_MAGIC) != MAGIC)
		return ERR_CORRUPT;
	if (get_u32le(head + OFF_HEAD_SUM) != XXH32(head, OFF_HEAD_SUM, 0))
		return ERR_CORRUPT;
	out->version = get_u16le(head + OFF_VERSION);
	if (out->version != WIRE_VERSION)
		return ERR_VERSION;
	out->type = get_u16le(head + OFF_TYPE);
	out->body_bytes = get_u32le(head + OFF_BODY);
	out->payload_bytes = get_u32le(head + OFF_PAYLOAD);
	if (out->body_bytes > WIRE_BODY_BYTES_MAX || out->payload_bytes > WIRE_PAYLOAD_BYTES_MAX)
		return ERR_CORRUPT;
	return 0;
}

int msg_decode(const uint8_t head[WIRE_HEADER_BYTES], const uint8_t *body, struct slice payload,
               struct msg *m)
{
	uint32_t body_bytes = get_u32le(head + OFF_BODY);
	struct cursor c = {body, body_bytes, false};

	if (payload.len != get_u32le(head + OFF_PAYLOAD) ||
	    data_sum(body, body_bytes, payload) != get_u64le(head + OFF_DATA_SUM))
		return ERR_CORRUPT;
	*m = (struct msg){
		.src = get_u32le(head + OFF_SRC),
		.dst = get_u32le(head + OFF_DST),
		.id = get_u64le(head + OFF_ID),
		.payload = payload,
	};
	if (!decode_fields(get_u16le(head + OFF_TYPE), m, &c) || !cursor_done(&c))
		return ERR_CORRUPT;
	return 0;
}

size_t msg_body_bytes(const struct msg *m)
{
	return 2 + fields_bytes(m);
}

void msg_encode_body(const struct msg *m, uint8_t *out)
{
	put_u16le(out, (uint16_t)m->type);
	encode_fields(m, out + 2);
}

int msg_decode_body(const uint8_t *p, size_t len, struct msg *m)
{
	struct cursor c = {p, len, false};
	unsigned type = cursor_u16(&c);

	*m = (struct msg){0};
	if (!decode_fields(type, m, &c) || !cursor_done(&c))
		return ERR_CORRUPT;
	return 0;
}

uint64_t page_sum(file_id_t file, uint64_t block, uint32_t page, const void *data)
{
	uint8_t place[20];
	uint64_t sum;

	put_u64le(place, file);
	put_u64le(place + 8, block);
	put_u32le(place + 16, page);
	sum = XXH3_64bits_withSeed(data, PAGE_BYTES, XXH3_64bits(place, sizeof(place)));
	return sum ? sum : 1;
}
