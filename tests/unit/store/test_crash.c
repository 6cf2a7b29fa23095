/* P1, P4 and trap A13: power cuts at random disk operations, thousands of short lives. Each planted
 * bug must be found. */
#include <criterion/criterion.h>
#include <signal.h>

#include "core-server/store/store.h"
#include "tests/unit/store/crash.h"

static unsigned broken(uint64_t first, uint64_t count, struct crash_options o)
{
	unsigned n = 0;

	for (o.seed = first; o.seed < first + count; o.seed++) {
		const char *error = crash_run(&o);

		if (error && !o.bugs)
			cr_log_error("%s", error);
		n += error != NULL;
	}
	return n;
}

Test(store_crash, loses_nothing_acknowledged_and_tears_no_page)
{
	cr_assert_eq(broken(1, 600, (struct crash_options){.rounds = 4}), 0);
}

Test(store_crash, keeps_its_promises_on_a_full_disk)
{
	cr_assert_eq(broken(10001, 200, (struct crash_options){.rounds = 4, .full_disk = true}), 0);
}

Test(store_crash, keeps_its_promises_when_syncs_fail)
{
	cr_assert_eq(broken(20001, 200, (struct crash_options){.rounds = 4, .sync_fails = true}), 0);
}

/* P7: what rotted is refused, named or shown by an older journal position, never returned. */
Test(store_crash, returns_nothing_rotten)
{
	cr_assert_eq(broken(30001, 200, (struct crash_options){.rounds = 4, .rot = true}), 0);
}

/* The tests of the test. */
Test(store_crash, finds_a_failed_sync_tried_again)
{
	cr_assert_gt(broken(1, 20, (struct crash_options){.rounds = 4, .sync_fails = true,
	                                                  .bugs = STORE_BUG_SYNC_RETRIED}), 0);
}

Test(store_crash, finds_large_writes_in_place)
{
	cr_assert_gt(broken(1, 20, (struct crash_options){.rounds = 4, .bugs = STORE_BUG_IN_PLACE}), 0);
}

Test(store_crash, finds_a_commit_without_its_data)
{
	cr_assert_gt(broken(1, 20, (struct crash_options){.rounds = 4, .bugs = STORE_BUG_NO_DATA_SYNC}),
	             0);
}

/* A checkpoint's last commit takes a while: until then the journal is what a crash leaves. Replay
 * contradicts itself, and a CHECK says so. */
Test(store_crash, finds_a_journal_cut_before_the_index_is_durable, .signal = SIGABRT)
{
	broken(1, 200, (struct crash_options){.rounds = 4, .bugs = STORE_BUG_EARLY_CUT});
}
