/* The checker of P4 over a block must be able to fail. Histories by hand: mount 1 writes to a file of
 * pages, 16 to a block; somebody takes it over; mount 2 reads. */

#include "tests/sim/check_prefix.h"

#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "common/base/types.h"

static struct history h;
static struct prefix_report report;

static void setup(void)
{
	memset(&h, 0, sizeof(h));
	h.files = 1;
	h.file[0] = (struct hist_file){.ino = 7, .unit_bytes = PAGE_BYTES};
}

static void teardown(void)
{
	history_fini(&h);
}

TestSuite(prefix, .init = setup, .fini = teardown);

static uint32_t begin_write(uint32_t mount, uint32_t unit, uint64_t value)
{
	return history_begin(&h, &(struct hist_op){.type = HIST_WRITE, .mount = mount, .unit = unit,
	                                           .units = 1, .value = value});
}

static void write_to(uint32_t mount, uint32_t unit, uint64_t value)
{
	history_end(&h, begin_write(mount, unit, value), 0, 0);
}

static void cut_from(uint32_t unit)
{
	uint32_t op = history_begin(&h, &(struct hist_op){.type = HIST_WRITE, .mount = 1, .unit = unit,
	                                                  .units = 48 - unit});

	history_end(&h, op, 0, 0);
}

static void read_from(uint32_t unit, uint64_t value)
{
	uint32_t op = history_begin(&h, &(struct hist_op){.type = HIST_READ, .mount = 2, .unit = unit,
	                                                  .units = 1});

	h.op[op].values = mem_new(sizeof(uint64_t));
	h.op[op].values[0] = value;
	history_end(&h, op, 0, 0);
}

static void take_over(void)
{
	static uint64_t epoch;

	history_takeover(&h, 7, ++epoch);
}

/* Pages 3 and 1 with something in them. */
static void two_pages(void)
{
	write_to(1, 3, 1);
	write_to(1, 1, 2);
}

Test(prefix, is_broken_when_the_later_write_alone_survives)
{
	two_pages();
	write_to(1, 3, 3);
	write_to(1, 1, 4);
	take_over();
	read_from(1, 4);
	read_from(3, 1);
	cr_assert(!prefix_check(&h, &report));
	cr_assert_eq(h.op[report.earlier].value, 3);
	cr_assert_eq(h.op[report.later].value, 4);
	cr_assert_eq(report.unit, 3);
}

Test(prefix, may_end_after_the_earlier_write)
{
	two_pages();
	write_to(1, 3, 3);
	write_to(1, 1, 4);
	take_over();
	read_from(1, 2);
	read_from(3, 3);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, speaks_of_one_block)
{
	two_pages();
	write_to(1, 3, 3);
	write_to(1, 17, 4);
	take_over();
	read_from(17, 4);
	read_from(3, 1);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, does_not_order_writes_that_ran_at_once)
{
	uint32_t a, b;

	two_pages();
	a = begin_write(1, 3, 3);
	b = begin_write(1, 1, 4);
	history_end(&h, a, 0, 0);
	history_end(&h, b, 0, 0);
	take_over();
	read_from(1, 4);
	read_from(3, 1);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, begins_anew_with_a_takeover)
{
	two_pages();
	write_to(1, 3, 3);
	take_over();
	write_to(1, 1, 4);
	take_over();
	read_from(1, 4);
	read_from(3, 1);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, says_nothing_of_a_write_that_failed)
{
	two_pages();
	history_end(&h, begin_write(1, 3, 3), -EIO, 0);
	write_to(1, 1, 4);
	take_over();
	read_from(1, 4);
	read_from(3, 1);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, takes_zeros_for_what_was_there_before)
{
	write_to(1, 1, 3);
	write_to(1, 3, 4);
	take_over();
	read_from(3, 4);
	read_from(1, 0);
	cr_assert(!prefix_check(&h, &report));
}

Test(prefix, does_not_if_they_may_be_newer_or_behind_the_end)
{
	write_to(1, 1, 3);
	write_to(1, 3, 4);
	cut_from(1);
	take_over();
	read_from(3, 4);
	read_from(1, 0);
	cr_assert(prefix_check(&h, &report));
	teardown();
	setup();
	write_to(1, 3, 3);
	write_to(1, 1, 4);
	take_over();
	read_from(1, 4);
	read_from(3, 0);
	cr_assert(prefix_check(&h, &report));
}

Test(prefix, lets_a_later_write_replace_the_earlier)
{
	two_pages();
	write_to(1, 3, 3);
	write_to(1, 1, 4);
	take_over();
	write_to(2, 3, 5);
	read_from(1, 4);
	read_from(3, 5);
	cr_assert(prefix_check(&h, &report));
}
