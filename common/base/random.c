#include "common/base/random.h"

static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void random_seed(struct random *r, uint64_t seed)
{
	for (unsigned i = 0; i < ARRAY_LEN(r->s); i++)
		r->s[i] = splitmix(&seed);
}

static uint64_t rotate(uint64_t x, unsigned k)
{
	return (x << k) | (x >> (64 - k));
}

uint64_t random_u64(struct random *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
	CHECK(bound > 0);
	return (uint64_t)(((unsigned __int128)random_u64(r) * bound) >> 64);
}

bool random_chance(struct random *r, unsigned per_mille)
{
	return random_below(r, 1000) < per_mille;
}
