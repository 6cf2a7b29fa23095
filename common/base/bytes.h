/* Little-endian packing and a reading cursor that keeps its first error, so that a decoder is
 * straight-line code with one check at the end. */
#pragma once

#include "common/base/types.h"

static inline void put_u16le(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put_u32le(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, 4);
}

static inline void put_u64le(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, 8);
}

static inline uint16_t get_u16le(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_u32le(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return le32toh(v);
}

static inline uint64_t get_u64le(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return le64toh(v);
}

/* Big-endian, for keys whose byte order must be their numeric order. */
static inline void put_u64be(uint8_t *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, 8);
}

static inline uint64_t get_u64be(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return be64toh(v);
}

struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;  /* something was missing; every later take gives 0 */
};

static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || c->left < n) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	c->left -= n;
	return p;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 1);

	return p ? *p : 0;
}

static inline uint16_t cursor_u16(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 2);

	return p ? get_u16le(p) : 0;
}

static inline uint32_t cursor_u32(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 4);

	return p ? get_u32le(p) : 0;
}

static inline uint64_t cursor_u64(struct cursor *c)
{
	const uint8_t *p = cursor_take(c, 8);

	return p ? get_u64le(p) : 0;
}

static inline struct version cursor_ver(struct cursor *c)
{
	uint64_t epoch = cursor_u64(c);

	return (struct version){epoch, cursor_u64(c)};
}

/* u32 length, then the bytes: borrowed from the cursor's memory. */
static inline struct span cursor_span(struct cursor *c)
{
	uint32_t len = cursor_u32(c);
	const uint8_t *p = cursor_take(c, len);

	return (struct span){p, p ? len : 0};
}

/* True when all was there and nothing is left over. */
static inline bool cursor_done(const struct cursor *c)
{
	return !c->bad && c->left == 0;
}
