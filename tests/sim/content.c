#include "tests/sim/content.h"

#include "common/base/bytes.h"

#define WORDS (CHUNK_BYTES / 8)
#define K1 0x9e3779b97f4a7c15u
#define K2 0xd6e8feb86659fd93u

static uint64_t word(uint64_t value, uint64_t place, unsigned i)
{
	uint64_t x = (value + place) * K1 + (uint64_t)i * K2;

	return x ^ x >> 32;
}

void content_fill(uint8_t *chunk, uint64_t value, uint32_t file, uint64_t chunk_index)
{
	uint64_t place = ((uint64_t)file << 40 | chunk_index) * K2;

	CHECK(value != 0 && value != CONTENT_GARBAGE);
	put_u64le(chunk, value);
	for (unsigned i = 1; i < WORDS; i++)
		put_u64le(chunk + 8 * i, word(value, place, i));
}

uint64_t content_read(const uint8_t *chunk, uint32_t file, uint64_t chunk_index)
{
	uint64_t place = ((uint64_t)file << 40 | chunk_index) * K2;
	uint64_t value = get_u64le(chunk), wrong = 0;

	if (value == 0) {
		for (unsigned i = 1; i < WORDS; i++)
			wrong |= get_u64le(chunk + 8 * i);
		return wrong ? CONTENT_GARBAGE : 0;
	}
	for (unsigned i = 1; i < WORDS; i++)
		wrong |= get_u64le(chunk + 8 * i) ^ word(value, place, i);
	return wrong ? CONTENT_GARBAGE : value;
}
