/* The store's promises, one at a time, on a simulated disk. */
#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "tests/unit/store/rig.h"

#define FILE 42
#define PAGES 16

static struct rig rig;
static uint8_t page[65536], got[65536];
static const struct store_config config = {.journal_bytes = 1 << 20, .cache_bytes = 512 << 10};

static void fill(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i * 131 + seed * 17) >> (seed % 3));
}

static void setup(void)
{
	rig_init(&rig, 1, 64u << 20, &config);
	cr_assert_eq(rig_open(&rig), 0);
	fill(page, sizeof(page), 1);
}

static void teardown(void)
{
	rig_fini(&rig);
}

TestSuite(store, .init = setup, .fini = teardown);

Test(store, keeps_a_small_write_over_a_crash)
{
	struct store_block at;
	struct store_file f;

	cr_assert_eq(rig_write_sync(&rig, FILE, 3, 4096, page, 4096, 1), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(rig_read(&rig, FILE, 3, 0, got, 65536, &at), 0);
	cr_assert_eq(memcmp(got + 4096, page, 4096), 0);
	cr_assert_eq(got[0], 0);
	cr_assert_eq(at.version.n, 1);
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert_eq(f.seal, 1);
	cr_assert_eq(f.map, 1);
}

Test(store, keeps_a_large_write_over_a_crash)
{
	struct store_block at;

	cr_assert_eq(rig_write_sync(&rig, FILE, 3, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(rig_read(&rig, FILE, 3, 0, got, 65536, &at), 0);
	cr_assert_eq(memcmp(got, page, 65536), 0);
	cr_assert_eq(at.version.n, 1);
}

Test(store, merges_a_write_of_some_bytes_into_the_page)
{
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 8192, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 4000, "hello", 5, 2), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 4094, "border", 6, 3), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	memcpy(page + 4000, "hello", 5);
	memcpy(page + 4094, "border", 6);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 8192, NULL), 0);
	cr_assert_eq(memcmp(got, page, 8192), 0);
}

Test(store, makes_holes_of_whole_pages)
{
	struct store_block at;

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 100, NULL, 16000, 2), 0);
	memset(page + 100, 0, 16000);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 65536, NULL), 0);
	cr_assert_eq(memcmp(got, page, 65536), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, NULL, 65536, 3), 0);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert(at.holes);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert(at.holes);
	cr_assert_eq(at.version.n, 3);
}

/* A write that is not durable is not read: its version may still be lost. */
Test(store, reads_see_durable_data_only)
{
	struct rig_write *w;
	struct store_block at;

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	w = rig_write(&rig, FILE, 0, 0, page + 5, 4096, 2);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert_eq(at.version.n, 1);
	rig_wait(&rig, &w->answered);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert_eq(at.version.n, 2);
	mem_free(w);
}

/* All that arrive while a sync runs share the next one. */
Test(store, commits_in_groups)
{
	struct rig_write *w[20];
	uint64_t ops;

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	ops = sim_disk_ops(rig.disk);
	for (unsigned i = 0; i < 20; i++)
		w[i] = rig_write(&rig, FILE, i / 16, i % 16 * 4096, page, 4096, i + 2);
	for (unsigned i = 0; i < 20; i++) {
		rig_wait(&rig, &w[i]->answered);
		cr_assert_eq(w[i]->req.result, 0);
		mem_free(w[i]);
	}
	cr_assert_leq(sim_disk_ops(rig.disk) - ops, 4, "one or two records, not 20");
}

Test(store, answers_the_writes_of_a_block_in_order)
{
	struct rig_write *w[20];

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	for (unsigned i = 0; i < 20; i++) /* some must read old pages, some not, some are large */
		w[i] = rig_write(&rig, FILE, 0, i % 3 ? 0 : 100, page, i % 3 == 2 ? 65536 : 5000, i + 2);
	for (unsigned i = 20; i-- > 0;) {
		rig_wait(&rig, &w[i]->answered);
		for (unsigned k = 0; k < i; k++)
			cr_assert(w[k]->answered);
	}
	for (unsigned i = 0; i < 20; i++)
		mem_free(w[i]);
}

Test(store, refuses_data_that_fails_the_given_sums_and_what_follows_it)
{
	uint64_t sum = 12345;
	struct iobuf *b = rig_data(page, 4096);
	struct rig_write *next;
	struct rig_write bad = {.req = {.op = STORE_WRITE, .file = FILE, .block_shift = 16, .len = 4096,
	                                .data = {b, 0, 4096}, .sums = (uint8_t *)&sum,
	                                .version = {1, 1}, .seal = 1}};
	struct store_block at;

	next = rig_write(&rig, FILE, 7, 0, page, 4096, 1); /* another block: not concerned */
	bad.req.block = 3;
	cr_assert_eq(rig_do(&rig, &bad.req), ERR_CORRUPT);
	cr_assert(bad.req.bad_given);
	cr_assert_eq(bad.req.bad_page, 0);
	rig_wait(&rig, &next->answered);
	cr_assert_eq(next->req.result, 0);
	cr_assert_not(store_get_block(rig.store, FILE, 3, &at));
	iobuf_put(b);
	mem_free(next);
}

Test(store, breaks_the_chain_behind_a_failed_write)
{
	struct rig_write *after;
	bool answered;

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(sim_disk_rot(rig.disk, "data", 1), 1);
	struct rig_write *w = rig_write(&rig, FILE, 0, 5, "x", 1, 2);

	after = rig_write(&rig, FILE, 0, 8192, page, 4096, 3);
	rig_wait(&rig, &after->answered);
	answered = w->answered;
	cr_assert(answered);
	cr_assert_eq(w->req.result, ERR_CORRUPT, "no fresh sum over a rotten page (trap B2)");
	cr_assert_eq(w->req.bad_page, 0);
	cr_assert_not(w->req.bad_given);
	cr_assert_eq(after->req.result, -ECANCELED);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 2), 0, "a whole page mends it");
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 5, "x", 1, 3), 0);
	mem_free(w);
	mem_free(after);
}

/* --- INSTALL, FILE, DELETE, listing --- */
Test(store, installs_pages_version_and_closed_at_once)
{
	uint8_t set[2] = {0x06, 0}, zero[2] = {0x01, 0x80};
	uint64_t sums[2] = {page_sum(FILE, 2, 1, page), page_sum(FILE, 2, 2, page + 4096)};
	uint64_t exception[] = {1, 2, 9};
	struct store_file rec = {.seal = 4, .closed = 4, .exceptions = 3, .exception = exception};
	struct iobuf *b = rig_data(page, 8192);
	struct store_req file = {.op = STORE_FILE, .file = FILE, .record = &rec};
	struct store_req r = {.op = STORE_INSTALL, .file = FILE, .block = 2, .block_shift = 16,
	                      .data = {b, 0, 8192}, .sums = (uint8_t *)sums, .set = {set, 2},
	                      .zeroed = {zero, 2}, .version = {3, 9}, .closed = 4, .seal = 4};
	struct store_block at;

	fill(got, sizeof(got), 2);
	cr_assert_eq(rig_write_sync(&rig, FILE, 2, 0, got, 65536, 1), 0);
	cr_assert_eq(rig_do(&rig, &file), 0);
	cr_assert_eq(rig_do(&rig, &r), 0);
	memcpy(page + 8192, page + 4096, 4096);
	memmove(page + 4096, page, 4096);
	memset(page, 0, 4096);
	memcpy(page + 12288, got + 12288, 65536 - 12288 - 4096);
	memset(page + 15 * 4096, 0, 4096);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(rig_read(&rig, FILE, 2, 0, got, 65536, &at), 0);
		cr_assert_eq(memcmp(got + 12288, page + 12288, 65536 - 12288), 0);
		cr_assert_eq(at.version.epoch, 3);
		cr_assert_eq(at.version.n, 9);
		cr_assert_eq(at.closed, 4);
		cr_assert(store_get_file(rig.store, FILE, &rec));
		cr_assert_eq(rec.exceptions, 2, "the block is no exception any more");
		cr_assert_eq(rec.exception[1], 9);
		cr_assert_eq(rig_crash(&rig), 0);
	}
	iobuf_put(b);
}

Test(store, keeps_a_seal_of_a_file_without_blocks_and_never_lowers_it)
{
	struct store_file rec = {.seal = 9, .complete = true}, out;
	struct store_req r = {.op = STORE_FILE, .file = 77, .record = &rec};

	cr_assert_eq(rig_do(&rig, &r), 0);
	rec.seal = 5;
	cr_assert_eq(rig_do(&rig, &r), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert(store_get_file(rig.store, 77, &out));
	cr_assert_eq(out.seal, 9);
	cr_assert(out.complete);
	cr_assert_eq(store_next_file(rig.store, 0), 77);
	cr_assert_eq(store_next_file(rig.store, 77), 0);
}

Test(store, lists_blocks_from_journal_and_index_in_order)
{
	static const uint64_t first[] = {3, 9, 200}, second[] = {0, 5, 10, BLOCK_ATTR};
	static const uint64_t all[] = {0, 3, 5, 9, 10, 200, BLOCK_ATTR};
	uint64_t block, from = 0;
	struct store_block at;

	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, first[i], 0, page, 4096, i + 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, second[i], 0, page, 4096, i + 10), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE + 1, 1, 0, page, 4096, 1), 0);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++, from = block + 1) {
		cr_assert(store_next_block(rig.store, FILE, from, &block, &at));
		cr_assert_eq(block, all[i]);
		cr_assert(at.exists);
	}
	cr_assert_not(store_next_block(rig.store, FILE, 201, &block, &at) && block != BLOCK_ATTR);
	cr_assert_eq(store_next_file(rig.store, FILE), FILE + 1);
}

Test(store, forgets_a_deleted_file_and_gives_its_space_back)
{
	struct store_space before, after;
	struct store_req r = {.op = STORE_DELETE, .file = FILE};
	struct store_file f;
	uint64_t block;
	struct store_block at;

	cr_assert_eq(rig_write_sync(&rig, 1, 0, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	store_get_space(rig.store, &before);
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, i, 0, page, i % 2 ? 65536 : 8192, i + 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 50, 0, page, 4096, 60), 0);
	cr_assert_eq(rig_do(&rig, &r), 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_not(store_get_file(rig.store, FILE, &f));
		cr_assert_not(store_next_block(rig.store, FILE, 0, &block, &at));
		cr_assert_eq(store_next_file(rig.store, 1), 0);
		if (i == 0)
			cr_assert_eq(rig_crash(&rig), 0);
		else
			cr_assert_eq(rig_checkpoint(&rig), 0);
	}
	store_get_space(rig.store, &after);
	cr_assert_eq(after.free, before.free);
}

/* --- reads --- */
Test(store, tells_sums_and_present_pages_without_data)
{
	struct store_read r = {.file = FILE, .block = 1, .block_shift = 16, .len = 65536,
	                       .sums_only = true};

	cr_assert_eq(rig_write_sync(&rig, FILE, 1, 4096, page, 4096, 1), 0);
	cr_assert_eq(rig_read_raw(&rig, &r), 0);
	cr_assert_eq(r.present_pages, 1);
	cr_assert_eq(r.present[0], 2);
	cr_assert_eq(r.sums[0], page_sum(FILE, 1, 1, page));
	cr_assert_null(r.data.buf);
	mem_free(r.sums);
}

Test(store, never_returns_a_rotten_page)
{
	int bad = 0;

	for (unsigned i = 0; i < 16; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, i, i * 4096, page + i, 4096, i + 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	for (unsigned i = 0; i < 16; i++) {
		cr_assert_eq(rig_read(&rig, FILE, i, i * 4096, got, 4096, NULL), 0);
		cr_assert_eq(memcmp(got, page + i, 4096), 0);
	}
	cr_assert_eq(sim_disk_rot(rig.disk, "data", 1), 1);
	for (unsigned i = 0; i < 16; i++)
		bad += rig_read(&rig, FILE, i, i * 4096, got, 4096, NULL) == ERR_CORRUPT;
	cr_assert_eq(bad, 1, "a rotten page is found, and only that one");
}

Test(store, catches_lost_and_misdirected_writes)
{
	struct sim_disk_faults f = {.lost_write_permille = 1000};
	unsigned bad = 0;

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 65536, 1), 0);
	sim_disk_set_faults(rig.disk, &f);
	cr_assert_eq(rig_write_sync(&rig, FILE, 1, 0, page, 65536, 2), 0);
	f = (struct sim_disk_faults){.misdirected_write_permille = 1000};
	sim_disk_set_faults(rig.disk, &f);
	cr_assert_eq(rig_write_sync(&rig, FILE, 2, 0, page, 65536, 3), 0);
	f = (struct sim_disk_faults){0};
	sim_disk_set_faults(rig.disk, &f);
	for (unsigned i = 1; i < 3; i++)
		bad += rig_read(&rig, FILE, i, 0, got, 65536, NULL) == ERR_CORRUPT;
	cr_assert_eq(bad, 2);
}

Test(store, reads_on_while_checkpoints_overwrite_the_pages)
{
	struct sim_disk_faults slow = {.read_ns = 5 * NSEC_MSEC};

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	sim_disk_set_faults(rig.disk, &slow);
	struct store_read r = {.file = FILE, .block = 0, .block_shift = 16, .len = 65536};

	rig_read_begin(&rig, &r);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page + 1, 4096, 2), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 4096, page, 61440, 3), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, 1, 0, page + i, 65000, i + 4), 0);
	cr_assert_eq(rig_read_end(&rig, &r), 0);
	cr_assert_eq(r.at.version.n, 1);
	cr_assert_eq(memcmp(slice_data(r.data), page, 65536), 0, "one atomic state");
	iobuf_put(r.data.buf);
	mem_free(r.sums);
}

/* What a read had got belongs to nobody when the store closes under it: its owner frees the rest. */
Test(store, leaves_nothing_in_a_read_it_gives_up)
{
	struct store_read r = {.file = FILE, .block = 0, .block_shift = 16, .len = 65536};

	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 65536, 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	rig_read_begin(&rig, &r);
	cr_assert_not_null(r.data.buf);
	cr_assert_not_null(r.sums);
	rig_close(&rig);
	cr_assert_null(r.data.buf);
	cr_assert_null(r.sums);
}

/* --- space --- */
Test(store, is_full_when_it_is_full_and_deletes_go_on)
{
	struct store_config small = config;
	struct store_req del = {.op = STORE_DELETE, .file = FILE};
	struct store_space sp;
	unsigned n = 0;
	int rc = 0;

	rig_fini(&rig);
	small.data_bytes_max = 2 << 20;
	rig_init(&rig, 1, 64u << 20, &small);
	cr_assert_eq(rig_open(&rig), 0);
	store_get_space(rig.store, &sp);
	cr_assert_eq(sp.total, 2 << 20);
	for (; rc == 0; n++)
		rc = rig_write_sync(&rig, FILE, n, 0, page, 65536, n + 1);
	cr_assert_eq(rc, -ENOSPC);
	cr_assert_eq(n - 1, (sp.total - sp.reserve) / 65536);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page + 1, 4096, n), 0, "overwrites need no space");
	cr_assert_eq(rig_do(&rig, &del), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE + 1, 0, 0, page, 65536, 1), 0,
	             "what the delete gives back is waited for");
}

Test(store, keeps_what_it_granted_for_who_holds_the_grant)
{
	struct store_config small = config;
	struct store_space sp;
	struct rig_write *w;
	uint64_t grant;
	unsigned n = 0;

	rig_fini(&rig);
	small.data_bytes_max = 2 << 20;
	rig_init(&rig, 1, 64u << 20, &small);
	cr_assert_eq(rig_open(&rig), 0);
	grant = store_grant(rig.store, 128 << 10);
	cr_assert_eq(grant, 128 << 10);
	while (rig_write_sync(&rig, FILE, n, 0, page, 65536, n + 1) == 0)
		n++;
	store_get_space(rig.store, &sp);
	cr_assert_lt(sp.free, 65536);
	cr_assert_eq(store_grant(rig.store, 1 << 20) / 65536, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct store_req r = {.op = STORE_WRITE, .file = FILE + 1, .block = i, .block_shift = 16,
		                      .len = 65536, .version = {1, i + 1}, .seal = 1,
		                      .data = {rig_data(page, 65536), 0, 65536}, .grant_bytes = 65536};

		cr_assert_eq(rig_do(&rig, &r), 0, "promised space is there");
		iobuf_put(r.data.buf);
	}
	w = rig_write(&rig, FILE + 2, 0, 0, page, 65536, 1);
	rig_wait(&rig, &w->answered);
	cr_assert_eq(w->req.result, -ENOSPC);
	mem_free(w);
}

static unsigned granted_done;

static void on_granted(struct store_req *req)
{
	cr_assert_eq(req->result, 0, "promised space is there");
	granted_done++;
}

/* P8: a promise counts once, as promised or as reserved: all that was granted fits at the same time,
 * also when others have taken the rest of the file system meanwhile. */
Test(store, has_room_for_all_it_granted_at_once)
{
	struct store_req r[128] = {0};
	unsigned n;

	rig_fini(&rig);
	rig_init(&rig, 1, 2u << 20, &config);
	cr_assert_eq(rig_open(&rig), 0);
	n = (unsigned)(store_grant(rig.store, 16u << 20) / 16384);
	sim_disk_set_bytes(rig.disk, 0);
	cr_assert_gt(n, 8);
	cr_assert_leq(n, ARRAY_LEN(r));
	for (unsigned i = 0; i < n; i++) {
		r[i] = (struct store_req){.op = STORE_WRITE, .file = FILE, .block = i, .block_shift = 16,
		                          .len = 16384, .version = {1, i + 1}, .seal = 1,
		                          .data = {rig_data(page, 16384), 0, 16384}, .grant_bytes = 16384,
		                          .done = on_granted};
		store_submit(rig.store, &r[i]);
		iobuf_put(r[i].data.buf);
	}
	rig_run(&rig);
	cr_assert_eq(granted_done, n);
}

Test(store, takes_back_grants_that_were_not_used)
{
	struct store_space a, b;

	store_get_space(rig.store, &a);
	cr_assert_eq(store_grant(rig.store, 1 << 20), 1 << 20);
	store_get_space(rig.store, &b);
	cr_assert_eq(a.free - b.free, 1 << 20);
	store_grant_return(rig.store, 1 << 20);
	store_get_space(rig.store, &b);
	cr_assert_eq(a.free, b.free);
}

/* --- limits --- */
Test(store, makes_writers_wait_past_its_memory)
{
	struct rig_write *w[300];

	for (unsigned i = 0; i < 300; i++) /* 1.2 MB of small writes, 512 KiB of memory */
		w[i] = rig_write(&rig, FILE, i / 16, i % 16 * 4096, page + i, 4096, i + 1);
	cr_assert_leq(iobuf_used(), (300u * 4096) + (1u << 20));
	for (unsigned i = 0; i < 300; i++) {
		rig_wait(&rig, &w[i]->answered);
		cr_assert_eq(w[i]->req.result, 0);
		mem_free(w[i]);
	}
	cr_assert_eq(rig_crash(&rig), 0);
	for (unsigned i = 0; i < 300; i++) {
		cr_assert_eq(rig_read(&rig, FILE, i / 16, i % 16 * 4096, got, 4096, NULL), 0);
		cr_assert_eq(memcmp(got, page + i, 4096), 0);
	}
}

Test(store, keeps_few_block_records_in_memory)
{
	struct store_config small = config;
	struct store_block at;

	rig_fini(&rig);
	small.index_bytes = 64 << 10;
	rig_init(&rig, 1, 64u << 20, &small);
	cr_assert_eq(rig_open(&rig), 0);
	for (unsigned i = 0; i < 2000; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, i, 0, page + i, 4096, i + 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	for (unsigned i = 0; i < 2000; i++) {
		cr_assert(store_get_block(rig.store, FILE, i, &at));
		cr_assert_eq(at.version.n, i + 1);
	}
	cr_assert_lt(rig_index_bytes(&rig), 128 << 10);
}

Test(store, refuses_senseless_requests)
{
	struct store_req r[] = {
		{.op = STORE_WRITE, .file = 0, .block_shift = 16, .zero = true, .len = 1},
		{.op = STORE_WRITE, .file = 1, .block_shift = 15, .zero = true, .len = 1},
		{.op = STORE_WRITE, .file = 1, .block_shift = 25, .zero = true, .len = 1},
		{.op = STORE_WRITE, .file = 1, .block_shift = 16, .zero = true, .len = 0},
		{.op = STORE_WRITE, .file = 1, .block_shift = 16, .zero = true, .off = 65535, .len = 2},
		{.op = STORE_WRITE, .file = 1, .block_shift = 16, .len = 4096},
		{.op = STORE_WRITE, .file = 1, .block = BLOCK_ATTR, .block_shift = 16, .zero = true,
		 .off = 4096, .len = 1},
		{.op = STORE_INSTALL, .file = 1, .block_shift = 16, .set = {page, 3}},
		{.op = STORE_INSTALL, .file = 1, .block_shift = 16, .set = {(const uint8_t *)"\1", 1}},
	};
	struct store_read rd = {.file = 1, .block_shift = 16, .off = 100, .len = 4096};

	for (unsigned i = 0; i < ARRAY_LEN(r); i++)
		cr_assert_eq(rig_do(&rig, &r[i]), -EINVAL, "request %u", i);
	cr_assert_eq(rig_read_raw(&rig, &rd), -EINVAL);
	cr_assert_eq(rig_write_sync(&rig, 1, 0, 0, page, 4096, 1), 0);
}

/* --- failure and position --- */
Test(store, is_out_of_service_after_a_failed_sync)
{
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	sim_disk_fail_next_sync(rig.disk);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page + 1, 4096, 2), -EIO);
	cr_assert_eq(rig_write_sync(&rig, FILE, 1, 0, page + 1, 4096, 3), -EIO, "final");
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 4096, NULL), -EIO);
	cr_assert_eq(store_grant(rig.store, 4096), 0);
	cr_assert_not_null(strstr(store_why(rig.store), "a durable write to the journal"));
	cr_assert_eq(rig_checkpoint(&rig), -EIO);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 4096, NULL), 0);
	cr_assert_eq(memcmp(got, page, 4096), 0);
}

Test(store, counts_starts_and_journal_positions)
{
	uint64_t at = store_journal_position(rig.store);

	cr_assert_eq(store_start_counter(rig.store), 1);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	cr_assert_gt(store_journal_position(rig.store), at);
	at = store_journal_position(rig.store);
	for (unsigned i = 2; i < 5; i++) {
		cr_assert_eq(rig_crash(&rig), 0);
		cr_assert_eq(store_start_counter(rig.store), i);
		cr_assert_geq(store_journal_position(rig.store), at);
	}
}

Test(store, checkpoints_by_itself_and_then_rests)
{
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), 0);
	rig_sleep(&rig, 40 * NSEC_SEC);
	cr_assert_eq(store_tick(rig.store, rig.now), NSEC_NEVER);
	uint64_t ops = sim_disk_ops(rig.disk);

	rig_sleep(&rig, 600 * NSEC_SEC);
	cr_assert_eq(sim_disk_ops(rig.disk), ops, "an idle store leaves its disk alone");
}

/* --- scrub --- */
struct scrubbed {
	bool done;
	int rc;
	uint64_t block;
};

static void on_scrub(void *ctx, int rc, file_id_t file, uint64_t block, uint32_t bad_page)
{
	struct scrubbed *s = ctx;

	(void)file;
	(void)bad_page;
	*s = (struct scrubbed){true, rc, block};
}

Test(store, scrubs_every_block_and_finds_the_rot)
{
	unsigned good = 0, bad = 0, ends = 0;

	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE + i / 5, i % 5 ? i : BLOCK_ATTR, 0, page, 4096, i + 1),
		             0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(sim_disk_rot(rig.disk, "data", 1), 1);
	while (ends < 2) {
		struct scrubbed s = {0};

		store_scrub_next(rig.store, on_scrub, &s);
		cr_assert_not(s.done);
		rig_wait(&rig, &s.done);
		good += s.rc == 0;
		bad += s.rc == ERR_CORRUPT;
		ends += s.rc == -ENOENT;
	}
	cr_assert_eq(good, 18);
	cr_assert_eq(bad, 2);
}
