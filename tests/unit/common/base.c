#include "common/base/bytes.h"
#include "common/base/iobuf.h"
#include "common/base/mem.h"
#include "common/base/random.h"

#include <criterion/criterion.h>

/* Past the budget there is no buffer: callers wait instead of the process growing (P8). */
Test(iobuf, gives_nothing_past_its_budget)
{
	uint64_t before = iobuf_used();
	struct iobuf *a, *b;

	iobuf_budget_set(before + 8192);
	a = iobuf_new(4096);
	b = iobuf_new(4096);
	cr_assert(a);
	cr_assert(b);
	cr_assert_null(iobuf_new(1));
	iobuf_put(a);
	a = iobuf_new(100);
	cr_assert(a, "a returned buffer makes room again");
	iobuf_put(a);
	iobuf_put(b);
	cr_assert_eq(iobuf_used(), before);
}

Test(iobuf, is_page_aligned_and_counted)
{
	struct iobuf *b = iobuf_new(70000);

	cr_assert_eq((uintptr_t)b->data % PAGE_BYTES, 0);
	cr_assert_geq(b->size, 70000);
	iobuf_get(b);
	iobuf_put(b);
	cr_assert_eq(b->refs, 1);
	iobuf_put(b);
}

Test(err, has_a_text_for_every_code)
{
	cr_assert_str_eq(err_text(0), "success");
	cr_assert_str_eq(err_text(-ENOSPC), "No space left on device");
	cr_assert_str_eq(err_text(ERR_CORRUPT), "checksum or format of stored data is wrong");
	cr_assert_str_eq(err_text(-99999), "unknown error");
}

Test(random, repeats_for_a_seed_and_stays_below_its_bound)
{
	struct random a, b, c;
	unsigned hits[10] = {0};

	random_seed(&a, 7);
	random_seed(&b, 7);
	random_seed(&c, 8);
	cr_assert_neq(random_u64(&a), random_u64(&c));
	random_u64(&b);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t x = random_below(&a, 10);

		cr_assert_eq(x, random_below(&b, 10));
		cr_assert_lt(x, 10);
		hits[x]++;
	}
	for (unsigned i = 0; i < 10; i++)
		cr_assert(hits[i] > 800 && hits[i] < 1200, "%u hits of %u", hits[i], i);
}

/* A decoder may read straight on after the end and look at the cursor once. */
Test(cursor, keeps_its_first_error)
{
	const uint8_t bytes[] = {1, 2, 0, 0, 0, 9, 9};
	struct cursor c = {bytes, sizeof(bytes), false};
	struct span s;

	cr_assert_eq(cursor_u8(&c), 1);
	s = cursor_span(&c);
	cr_assert_eq(s.len, 2);
	cr_assert(cursor_done(&c));
	cr_assert_eq(cursor_u64(&c), 0);
	cr_assert(c.bad);
	cr_assert_eq(cursor_u8(&c), 0);
	cr_assert_not(cursor_done(&c));
}

Test(cursor, refuses_a_span_longer_than_what_is_left)
{
	const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 1};
	struct cursor c = {bytes, sizeof(bytes), false};

	cr_assert_eq(cursor_span(&c).len, 0);
	cr_assert(c.bad);
}
