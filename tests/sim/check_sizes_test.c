/* The checker of sizes must be able to fail. Histories by hand, in pages: mounts 1 and 2. */

#include "tests/sim/check_sizes.h"

#include <criterion/criterion.h>

#include "common/base/types.h"

static struct history h;
static struct size_report report;

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

TestSuite(sizes, .init = setup, .fini = teardown);

static uint32_t begin(struct hist_op op)
{
	static uint64_t value;

	op.value = op.type == HIST_WRITE && !op.cut ? ++value : 0;
	op.units = op.type == HIST_WRITE ? 1 : 0;
	return history_begin(&h, &op);
}

static void done(struct hist_op op)
{
	history_end(&h, begin(op), 0, 0);
}

static void write_to(uint32_t mount, uint32_t unit)
{
	done((struct hist_op){.type = HIST_WRITE, .mount = mount, .unit = unit});
}

static void cut_to(uint32_t mount, uint32_t unit)
{
	done((struct hist_op){.type = HIST_WRITE, .mount = mount, .unit = unit, .cut = true});
}

static void stat_by(uint32_t mount, uint64_t pages)
{
	uint32_t op = begin((struct hist_op){.type = HIST_STAT, .mount = mount});

	h.op[op].value = pages * PAGE_BYTES;
	history_end(&h, op, 0, 0);
}

static void take_over(void)
{
	static uint64_t epoch;

	history_takeover(&h, 7, ++epoch);
}

Test(sizes, follow_writes_and_cuts)
{
	stat_by(2, 0);
	write_to(1, 3);
	stat_by(2, 4);
	cut_to(1, 2);
	stat_by(2, 2);
	cut_to(1, 6);
	stat_by(2, 6);
	cr_assert(sizes_check(&h, &report));
}

Test(sizes, are_not_less_than_what_was_written)
{
	write_to(1, 3);
	stat_by(2, 3);
	cr_assert(!sizes_check(&h, &report));
	cr_assert_eq(report.bytes, 4 * PAGE_BYTES);
}

Test(sizes, are_not_more_than_anybody_made)
{
	write_to(1, 3);
	stat_by(2, 5);
	cr_assert(!sizes_check(&h, &report));
	cr_assert_eq(report.evidence, report.stat);
}

Test(sizes, may_be_of_before_or_after_a_cut_under_way)
{
	uint32_t op;

	write_to(1, 3);
	op = begin((struct hist_op){.type = HIST_WRITE, .mount = 1, .unit = 1, .cut = true});
	stat_by(2, 4);
	stat_by(2, 1);
	history_end(&h, op, 0, 0);
	cr_assert(sizes_check(&h, &report));
}

Test(sizes, come_back_after_no_cut)
{
	write_to(1, 3);
	cut_to(1, 1);
	write_to(1, 3);
	stat_by(2, 1);
	cr_assert(!sizes_check(&h, &report));
}

Test(sizes, may_be_lost_by_a_takeover)
{
	write_to(1, 3);
	stat_by(1, 4);
	take_over();
	stat_by(2, 0);
	cr_assert(sizes_check(&h, &report));
}

Test(sizes, are_not_lost_once_synced)
{
	write_to(1, 3);
	done((struct hist_op){.type = HIST_SYNC, .mount = 1});
	take_over();
	stat_by(2, 0);
	cr_assert(!sizes_check(&h, &report));
}

Test(sizes, are_not_lost_once_told_elsewhere)
{
	write_to(1, 3);
	stat_by(2, 4);
	take_over();
	stat_by(2, 0);
	cr_assert(!sizes_check(&h, &report));
	cr_assert_eq(h.op[report.evidence].type, HIST_STAT);
}
