/* The voter's log: what was reported durable is there after any power cut; damage is told from a
 * torn tail; a failed sync is final (A13). */
#include <criterion/criterion.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "hint-server/quorum/log.h"
#include "tests/unit/quorum/world_disk.h"

#define LOG_BYTES (512u << 10)
#define PAGE 4096

static struct world w;
static struct disk *disk;
static struct rlog *l;
static int loaded;      /* 1: not yet */
static int failures;
static bool retries;   /* HINT_BUG_SYNC_RETRIED */

static void on_loaded(void *ctx, int rc)
{
	(void)ctx;
	loaded = rc;
}

static void on_durable(void *ctx)
{
	(void)ctx;
}

static void on_failed(void *ctx, int rc)
{
	(void)ctx;
	(void)rc;
	failures++;
}

static void settle(void)
{
	world_run(&w, w.now + NSEC_SEC);
}

static int open_log(bool fresh)
{
	static const struct rlog_ops ops = {on_loaded, on_durable, on_failed};
	struct rlog_config c = {.cluster = 5, .server = 1, .id = 99, .bytes = LOG_BYTES, .fresh = fresh,
	                        .first = {(const uint8_t *)"conf", 4}, .first_type = 3,
	                        .bug_sync_retried = retries};

	loaded = 1;
	cr_assert_eq(rlog_open(&l, disk, &c, &ops, NULL), 0);
	settle();
	return loaded;
}

static void setup_seed(uint64_t seed)
{
	struct sim_disk_env env = world_disk_env(&w);

	world_init(&w, seed, TRACING_OFF);
	disk = sim_disk_new(seed, 16 << 20, &env);
	failures = 0;
	retries = false;
}

static void setup(void)
{
	setup_seed(1);
}

static void teardown(void)
{
	rlog_close(l);
	l = NULL;
	world_fini(&w);
	sim_disk_free(disk);
}

static void reopen(void)
{
	sim_disk_crash(disk);
	rlog_close(l);
	l = NULL;
	cr_assert_eq(open_log(false), 0, "%s", rlog_why(l));
}

static void append(uint64_t index, uint64_t term, uint32_t len)
{
	uint8_t *data = mem_new(len);

	put_u64le(data, index);
	put_u64le(data + 8, term);
	rlog_append(l, index, term, 1, data, len);
	mem_free(data);
}

static void check_entry(uint64_t index)
{
	const struct rlog_entry *e = rlog_get(l, index);

	cr_assert_not_null(e, "entry %lu is gone", index);
	if (index == 1)
		return;
	cr_assert_eq(get_u64le(e->data), index);
	cr_assert_eq(get_u64le(e->data + 8), e->term);
}

TestSuite(log, .init = setup, .fini = teardown);

Test(log, keeps_entries_term_and_vote)
{
	cr_assert_eq(open_log(true), 0);
	cr_assert_eq(rlog_last(l), 1);
	rlog_set_vote(l, 4, 2);
	for (uint64_t i = 2; i <= 40; i++)
		append(i, 4, 100);
	rlog_flush(l);
	settle();
	cr_assert_eq(rlog_durable(l), 40);
	reopen();
	cr_assert_eq(rlog_last(l), 40);
	cr_assert_eq(rlog_term(l), 4);
	cr_assert_eq(rlog_vote(l), 2);
	for (uint64_t i = 1; i <= 40; i++)
		check_entry(i);
}

Test(log, replaces_a_conflicting_suffix)
{
	cr_assert_eq(open_log(true), 0);
	for (uint64_t i = 2; i <= 20; i++)
		append(i, 1, 50);
	rlog_flush(l);
	settle();
	append(10, 2, 60);
	cr_assert_eq(rlog_last(l), 10);
	cr_assert_eq(rlog_durable(l), 9);
	rlog_flush(l);
	settle();
	reopen();
	cr_assert_eq(rlog_last(l), 10);
	cr_assert_eq(rlog_term_of(l, 10), 2);
	cr_assert_eq(rlog_term_of(l, 9), 1);
	cr_assert_eq(rlog_term(l), 2, "a term is at least that of the newest entry");
}

Test(log, goes_round_when_it_is_trimmed)
{
	uint64_t index = 1, used, total;

	cr_assert_eq(open_log(true), 0);
	for (unsigned turn = 0; turn < 600; turn++) {
		for (unsigned i = 0; i < 5; i++)
			append(++index, 1, 1000);
		rlog_flush(l);
		settle();
		cr_assert_eq(rlog_durable(l), index);
		rlog_space(l, &used, &total);
		if (used > total / 2)
			rlog_trim(l, index - 20);
	}
	reopen();
	cr_assert_eq(rlog_last(l), index);
	for (uint64_t i = rlog_base(l) + 1; i <= index; i++)
		check_entry(i);
}

Test(log, waits_when_it_is_full)
{
	uint64_t index = 1;

	cr_assert_eq(open_log(true), 0);
	for (unsigned i = 0; i < 300; i++) {
		append(++index, 1, 1000);
		rlog_flush(l);
		settle();
	}
	cr_assert_lt(rlog_durable(l), index, "the file has room for fewer");
	rlog_trim(l, rlog_durable(l) - 10);
	rlog_flush(l);
	settle();
	cr_assert_eq(rlog_durable(l), index);
	reopen();
	cr_assert_eq(rlog_last(l), index);
}

Test(log, starts_again_behind_a_snapshot)
{
	uint64_t index, term;

	cr_assert_eq(open_log(true), 0);
	append(2, 1, 30);
	rlog_flush(l);
	settle();
	rlog_install_begin(l, 500, 7);
	rlog_flush(l);
	settle();
	cr_assert(rlog_install_durable(l));
	reopen();
	cr_assert(rlog_installing(l, &index, &term), "a crash in between must be seen");
	cr_assert_eq(index, 500);
	rlog_reset(l, index, term);
	append(501, 7, 30);
	rlog_flush(l);
	settle();
	reopen();
	cr_assert_not(rlog_installing(l, &index, &term));
	cr_assert_eq(rlog_base(l), 500);
	cr_assert_eq(rlog_base_term(l), 7);
	cr_assert_eq(rlog_last(l), 501);
}

static void fill_pages(unsigned n)
{
	cr_assert_eq(open_log(true), 0);
	rlog_set_vote(l, 3, 1);
	for (unsigned i = 0; i < n; i++) {
		append(rlog_last(l) + 1, 3, 3900);
		rlog_flush(l);
		settle();
	}
}

static int reopen_damaged(void)
{
	sim_disk_crash(disk);
	rlog_close(l);
	l = NULL;
	return open_log(false);
}

Test(log, tells_damage_from_a_torn_tail)
{
	fill_pages(10);
	cr_assert(sim_disk_rot_at(disk, "votes.log", 2 * PAGE + 4 * PAGE + 30));
	cr_assert_eq(reopen_damaged(), ERR_CORRUPT, "acknowledged entries lie behind the bad one");
}

Test(log, survives_rot_of_one_slot)
{
	fill_pages(10);
	cr_assert(sim_disk_rot_at(disk, "votes.log", 40));
	cr_assert_eq(reopen_damaged(), 0);
	cr_assert_eq(rlog_vote(l), 1);
	cr_assert_eq(rlog_term(l), 3);
	cr_assert_eq(rlog_last(l), 11);
}

Test(log, refuses_when_both_slots_are_bad)
{
	fill_pages(10);
	cr_assert(sim_disk_rot_at(disk, "votes.log", 40));
	cr_assert(sim_disk_rot_at(disk, "votes.log", PAGE + 40));
	cr_assert_eq(reopen_damaged(), ERR_CORRUPT);
	cr_assert(strlen(rlog_why(l)) > 20);
}

Test(log, refuses_when_it_is_gone)
{
	fill_pages(3);
	sim_disk_crash(disk);
	rlog_close(l);
	l = NULL;
	sim_disk_wipe(disk);
	cr_assert_eq(open_log(false), ERR_CORRUPT);
	cr_assert(strstr(rlog_why(l), "new id"));
}

Test(log, a_failed_sync_is_final)
{
	fill_pages(3);
	append(rlog_last(l) + 1, 3, 100);
	sim_disk_fail_next_sync(disk);
	rlog_flush(l);
	settle();
	cr_assert_eq(failures, 1);
	cr_assert_eq(rlog_durable(l), rlog_last(l) - 1);
	rlog_flush(l);
	settle();
	cr_assert_eq(rlog_durable(l), rlog_last(l) - 1, "nothing becomes durable any more");
	cr_assert_eq(failures, 1);
}

Test(log, a_retried_sync_lies)
{
	uint64_t last;

	retries = true;
	fill_pages(3);
	append(rlog_last(l) + 1, 3, 3900);
	last = rlog_last(l);
	sim_disk_fail_next_sync(disk);
	rlog_flush(l);
	settle();
	cr_assert_eq(rlog_durable(l), last, "it says so");
	reopen();
	cr_assert_lt(rlog_last(l), last, "and it is not: the disk dropped it with the first error");
}

/* --- random work, power cuts at any disk operation --- */

#define INDEX_MAX 4000

static bool crashed;

static void on_crash(void *ctx)
{
	(void)ctx;
	sim_disk_crash(disk);
	crashed = true;
}

struct vote_record {
	uint64_t generation, term, vote;
};

static void work(uint64_t *model, struct vote_record *votes, unsigned *n_votes)
{
	uint64_t term = rlog_term(l);

	switch (world_between(&w, STREAM_CLIENT, 0, 9)) {
	case 0:
		votes[*n_votes].term = ++term;
		votes[*n_votes].vote = (uint64_t)world_between(&w, STREAM_CLIENT, 0, 3);
		votes[*n_votes].generation = rlog_set_vote(l, term, votes[*n_votes].vote);
		++*n_votes;
		break;
	case 1:
		if (rlog_durable(l) > rlog_base(l) + 30)
			rlog_trim(l, rlog_durable(l) - 20);
		break;
	default: {
		uint64_t index = rlog_last(l) + 1;

		if (term > rlog_term_of(l, rlog_last(l)) && world_chance(&w, STREAM_CLIENT, 500) &&
		    rlog_last(l) > rlog_base(l) + 8)
			index = rlog_last(l) - (uint64_t)world_between(&w, STREAM_CLIENT, 0, 5);
		append(index, term, (uint32_t)world_between(&w, STREAM_CLIENT, 16, 3000));
		for (uint64_t i = index; i < INDEX_MAX; i++)
			model[i] = 0;
		model[index] = term;
	}
	}
	rlog_flush(l);
	world_run(&w, w.now + world_between(&w, STREAM_CLIENT, 0, 300000));
}

static void one_life(uint64_t *model)
{
	struct vote_record votes[400] = {{.generation = 0, .term = rlog_term(l), .vote = rlog_vote(l)}};
	unsigned n_votes = 1, kept = 0;
	uint64_t durable, base, vote_durable;

	crashed = false;
	sim_disk_crash_at(disk, (uint64_t)world_between(&w, STREAM_FAULT, 1, 120), on_crash, NULL);
	for (unsigned n = 0; n < 300 && !crashed && rlog_last(l) < INDEX_MAX - 10; n++)
		work(model, votes, &n_votes);
	durable = rlog_durable(l);
	base = rlog_base(l);
	vote_durable = rlog_vote_durable(l);
	sim_disk_crash_at(disk, 0, NULL, NULL);
	reopen();
	cr_assert_leq(rlog_base(l), base);
	cr_assert_geq(rlog_last(l), durable);
	for (uint64_t i = base + 1; i <= durable; i++) {
		check_entry(i);
		cr_assert(i == 1 || rlog_term_of(l, i) == model[i]);
	}
	for (uint64_t i = rlog_base(l) + 1; i <= rlog_last(l); i++)
		check_entry(i);
	for (unsigned i = 0; i < n_votes; i++)
		if (votes[i].generation <= vote_durable)
			kept = i;
	cr_assert_geq(rlog_term(l), votes[kept].term, "a durable vote was forgotten");
	if (rlog_term(l) == votes[kept].term)
		cr_assert_eq(rlog_vote(l), votes[kept].vote);
	for (uint64_t i = 1; i < INDEX_MAX; i++)
		model[i] = i <= rlog_last(l) && i > rlog_base(l) ? rlog_term_of(l, i) : 0;
}

Test(log, survives_power_cuts_at_any_operation)
{
	static uint64_t model[INDEX_MAX + 400];

	teardown();
	for (uint64_t seed = 1; seed <= 60; seed++) {
		setup_seed(seed);
		memset(model, 0, sizeof(model));
		cr_assert_eq(open_log(true), 0);
		for (unsigned life = 0; life < 8; life++)
			one_life(model);
		if (seed < 60)
			teardown();
	}
}
