/* Generates the codec of a record from its field list (internal.h). Little-endian, no padding. */
#pragma once

#include "common/base/bytes.h"

#define RECORD_BYTES_MAX 512

#define RECORD_PUT_u8(name) *p++ = r->name;
#define RECORD_PUT_u16(name) put_u16le(p, r->name); p += 2;
#define RECORD_PUT_u32(name) put_u32le(p, r->name); p += 4;
#define RECORD_PUT_u64(name) put_u64le(p, r->name); p += 8;
#define RECORD_PUT(kind, name) RECORD_PUT_##kind(name)
#define RECORD_TAKE(kind, name) r->name = cursor_##kind(c);

/* static uint8_t *put_<type>(const struct <type> *r, uint8_t *p): returns the end.
 * static void take_<type>(struct <type> *r, struct cursor *c). */
#define RECORD_CODEC(type, FIELDS) \
	static uint8_t *put_##type(const struct type *r, uint8_t *p) \
	{ \
		FIELDS(RECORD_PUT) \
		return p; \
	} \
	static void take_##type(struct type *r, struct cursor *c) \
	{ \
		FIELDS(RECORD_TAKE) \
	}
