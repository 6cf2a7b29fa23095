#include "common/wire/stale.h"

#include "common/base/mem.h"
#include "common/base/random.h"

#include <criterion/criterion.h>

/* Two of three replicas always count: the second bit of a block is refused. */
Test(stale, never_marks_two_replicas_of_a_block)
{
	struct stale_map s;

	stale_init(&s);
	cr_assert_eq(stale_set(&s, 10, 20, 1), 0);
	cr_assert_eq(stale_set(&s, 20, 30, 2), -EBUSY);
	cr_assert_eq(stale_get(&s, 21), 0, "a refused call changes nothing");
	cr_assert_eq(stale_set(&s, 21, 30, 2), 0);
	cr_assert_eq(stale_set(&s, 0, UINT64_MAX, 2), -EBUSY);
	stale_fini(&s);
}

Test(stale, covers_the_attribute_record)
{
	struct stale_map s;

	stale_init(&s);
	cr_assert_eq(stale_set(&s, 0, BLOCK_ATTR, 0), 0);
	cr_assert_eq(s.n, 1);
	cr_assert_eq(stale_count(&s, 5), 6);
	stale_clear(&s, BLOCK_ATTR, BLOCK_ATTR, 0);
	cr_assert_eq(stale_get(&s, BLOCK_ATTR), 0);
	cr_assert_eq(stale_get(&s, BLOCK_ATTR - 1), 1);
	cr_assert_eq(stale_count(&s, 5), 5);
	stale_fini(&s);
}

/* However many blocks lag here and there, they fit: some more are marked with them. */
Test(stale, a_full_map_is_coarsened)
{
	struct stale_map s;

	stale_init(&s);
	for (uint64_t no = 0; no < 3 * STALE_RUNS_MAX; no++)
		cr_assert_eq(stale_set(&s, 5 * no, 5 * no, 0), 0);
	cr_assert_eq(stale_set(&s, (uint64_t)1 << 50, (uint64_t)1 << 50, 1), 0);
	cr_assert(s.n <= STALE_RUNS_MAX);
	for (uint64_t no = 0; no < 3 * STALE_RUNS_MAX; no++)
		cr_assert_eq(stale_get(&s, 5 * no), 1);
	cr_assert_eq(stale_get(&s, 15ull * STALE_RUNS_MAX), 0, "nothing behind the last");
	cr_assert_eq(stale_get(&s, (uint64_t)1 << 50), 2);
	stale_fini(&s);
}

Test(stale, joins_the_smallest_gaps_and_never_two_replicas)
{
	struct stale_map s;

	stale_init(&s);
	for (uint64_t no = 0; no < 100; no++)
		cr_assert_eq(stale_set(&s, no * no, no * no, no < 50 ? 0 : 1), 0);
	cr_assert(stale_coarsen(&s, 60));
	cr_assert_eq(stale_get(&s, 2), 1);
	cr_assert_eq(stale_get(&s, 50 * 50 - 1), 0, "between two replicas");
	cr_assert_eq(stale_get(&s, 99 * 99 - 1), 0, "a larger gap");
	cr_assert_not(stale_coarsen(&s, 1));
	cr_assert_eq(s.n, 2);
	stale_fini(&s);
}

static void compare(const struct stale_map *s, const uint8_t *model, unsigned blocks)
{
	struct stale_run run = {0};
	uint64_t at = 0;

	for (unsigned b = 0; b < blocks; b++)
		cr_assert_eq(stale_get(s, b), model[b], "block %u", b);
	for (unsigned i = 1; i < s->n; i++)
		cr_assert(s->runs[i - 1].last < s->runs[i].first);
	for (unsigned i = 1; i < s->n; i++)
		cr_assert(s->runs[i - 1].mask != s->runs[i].mask ||
		          s->runs[i - 1].last + 1 < s->runs[i].first, "neighbours are merged");
	while (at < blocks && stale_next(s, at, &run)) {
		for (uint64_t b = at; b < run.first; b++)
			cr_assert_eq(model[b], 0);
		at = run.last + 1;
	}
}

/* Random marks and clears against one byte per block. */
Test(stale, equals_a_plain_array)
{
	enum { BLOCKS = 40 };
	uint8_t model[BLOCKS] = {0}, *bytes;
	struct stale_map s, copy;
	struct random r;

	random_seed(&r, 3);
	stale_init(&s);
	stale_init(&copy);
	for (unsigned step = 0; step < 20000; step++) {
		unsigned first = (unsigned)random_below(&r, BLOCKS);
		unsigned last = first + (unsigned)random_below(&r, BLOCKS - first);
		unsigned replica = (unsigned)random_below(&r, REPLICAS);
		uint8_t bit = (uint8_t)(1u << replica);
		bool clash = false;

		if (random_chance(&r, 500)) {
			stale_clear(&s, first, last, replica);
			for (unsigned b = first; b <= last; b++)
				model[b] = (uint8_t)(model[b] & ~bit);
		} else {
			for (unsigned b = first; b <= last; b++)
				clash = clash || (model[b] & ~bit);
			cr_assert_eq(stale_set(&s, first, last, replica), clash ? -EBUSY : 0);
			for (unsigned b = first; b <= last && !clash; b++)
				model[b] |= bit;
		}
		compare(&s, model, BLOCKS);
		bytes = mem_new(stale_encoded_bytes(&s));
		stale_encode(&s, bytes);
		cr_assert_eq(stale_decode(&copy, bytes, stale_encoded_bytes(&s)), 0);
		compare(&copy, model, BLOCKS);
		mem_free(bytes);
	}
	stale_fini(&s);
	stale_fini(&copy);
}

Test(stale, refuses_malformed_bytes)
{
	struct stale_map s;
	uint8_t bytes[2 * STALE_RUN_BYTES] = {0};

	stale_init(&s);
	cr_assert_eq(stale_decode(&s, bytes, 5), ERR_CORRUPT);
	cr_assert_eq(stale_decode(&s, bytes, STALE_RUN_BYTES), ERR_CORRUPT, "empty mask");
	bytes[16] = 3;
	cr_assert_eq(stale_decode(&s, bytes, STALE_RUN_BYTES), ERR_CORRUPT, "two replicas");
	bytes[16] = 1;
	bytes[33] = 1;
	cr_assert_eq(stale_decode(&s, bytes, sizeof(bytes)), ERR_CORRUPT, "overlapping");
	cr_assert(stale_empty(&s));
	stale_fini(&s);
}
