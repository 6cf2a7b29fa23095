/* The small parts: attribute record, timers. */
#include <criterion/criterion.h>

#include "access-server/volume/parts.h"

Test(attr_record, round_trip)
{
	struct attr_record a = {1 << 20, 1, 2, 3, UINT64_MAX, {4, 5}}, b;
	uint8_t page[PAGE_BYTES];

	attr_record_encode(&a, page);
	cr_assert_eq(attr_record_decode(page, sizeof(page), &b), 0);
	cr_assert_eq(b.size, a.size);
	cr_assert_eq(b.atime, 1);
	cr_assert_eq(b.mtime, 2);
	cr_assert_eq(b.ctime, 3);
	cr_assert_eq(b.trim_from, UINT64_MAX);
	cr_assert(version_eq(b.trim_at, a.trim_at));
}

Test(attr_record, refuses_what_is_none)
{
	struct attr_record a = {1, 1, 1, 1, 1, {1, 1}}, b;
	uint8_t page[PAGE_BYTES];

	attr_record_encode(&a, page);
	for (size_t n = 0; n < ATTR_RECORD_BYTES; n++)
		cr_assert_eq(attr_record_decode(page, n, &b), ERR_CORRUPT);
	page[0] ^= 1;
	cr_assert_eq(attr_record_decode(page, sizeof(page), &b), ERR_CORRUPT);
	page[0] ^= 1;
	put_u64le(page + 4, FILE_BYTES_MAX + 1);
	cr_assert_eq(attr_record_decode(page, sizeof(page), &b), ERR_CORRUPT);
}

static unsigned fired[64], fires;
static struct vol_timer timer[64];

static void fire(struct volume *v UNUSED, struct vol_timer *t)
{
	fired[fires++] = (unsigned)(t - timer);
}

/* Whatever the order of setting, moving and stopping, timers fire by due time. */
Test(timers, fire_in_order)
{
	struct volume *v = mem_new(sizeof(*v));
	uint64_t random = 7;

	for (unsigned i = 0; i < 64; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		timer[i].fire = fire;
		timer_set(v, &timer[i], (nsec_t)(random >> 40));
	}
	for (unsigned i = 0; i < 64; i += 3) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		timer_set(v, &timer[i], (nsec_t)(random >> 40));
	}
	for (unsigned i = 0; i < 64; i += 5)
		timer_stop(v, &timer[i]);
	v->now = NSEC_NEVER;
	timers_run(v);
	cr_assert_eq(fires, 64 - 13);
	for (unsigned i = 1; i < fires; i++)
		cr_assert_leq(timer[fired[i - 1]].due, timer[fired[i]].due);
	cr_assert_eq(timers_due(v), NSEC_NEVER);
	timers_free(v);
	mem_free(v);
}
