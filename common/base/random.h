/* Seeded random numbers: xoshiro256** seeded by splitmix64 (Blackman & Vigna 2018). Pure. */
#pragma once

#include "common/base/base.h"

struct random {
	uint64_t s[4];
};

void random_seed(struct random *r, uint64_t seed);
uint64_t random_u64(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound); /* 0 ... bound - 1; bound > 0 */
bool random_chance(struct random *r, unsigned per_mille);
