/* What the store says of a disk that lies: journal, index and files that are not what they were. */
#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "core-server/store/state.h"
#include "tests/unit/store/rig.h"

#define FILE 42

static struct rig rig;
static uint8_t page[65536], got[65536];
static const struct store_config config = {.journal_bytes = 1 << 20, .cache_bytes = 512 << 10};

static void setup(void)
{
	rig_init(&rig, 1, 64u << 20, &config);
	cr_assert_eq(rig_open(&rig), 0);
	for (unsigned i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 7 + i / 256);
}

static void teardown(void)
{
	rig_fini(&rig);
}

TestSuite(store_damage, .init = setup, .fini = teardown);

/* Writes 4 KiB to block i of FILE; where its record begins in the journal. */
static uint64_t write_at(uint64_t block, uint64_t n)
{
	uint64_t off = rig.store->journal.head;

	cr_assert_eq(rig_write_sync(&rig, FILE, block, 0, page, 4096, n), 0);
	return off;
}

static void expect_only_damage(uint64_t block, uint64_t blocks)
{
	struct store_block at;
	struct store_file f;

	for (uint64_t i = 0; i < blocks; i++) {
		cr_assert(store_get_block(rig.store, FILE, i, &at));
		cr_assert_eq(at.damaged, i == block, "block %" PRIu64, i);
		cr_assert_eq(at.version.n == 0, i == block);
		cr_assert_eq(rig_read(&rig, FILE, i, 0, got, 4096, NULL), i == block ? ERR_CORRUPT : 0);
	}
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert_not(f.complete);
	cr_assert_eq(f.seal, 1);
}

/* Trap A13: a rotten record in the middle is not the end of the journal. */
Test(store_damage, names_the_block_of_a_rotten_record)
{
	uint64_t off;

	write_at(0, 1);
	off = write_at(1, 2);
	write_at(2, 3);
	write_at(3, 4);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off));
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(store_damaged(rig.store), 1);
	expect_only_damage(1, 4);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	expect_only_damage(1, 4);
}

Test(store_damage, names_the_block_of_a_rotten_page_in_the_journal)
{
	uint64_t off;

	write_at(0, 1);
	off = write_at(1, 2);
	write_at(2, 3);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off + 4096));
	cr_assert_eq(rig_crash(&rig), 0);
	expect_only_damage(1, 3);
}

/* The empty record written in a quiet moment vouches for the last one. */
Test(store_damage, does_not_take_rot_for_a_torn_tail_after_a_quiet_moment)
{
	uint64_t off;

	write_at(0, 1);
	off = write_at(1, 2);
	rig_sleep(&rig, NSEC_SEC);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off));
	cr_assert_eq(rig_crash(&rig), 0);
	expect_only_damage(1, 2);
}

Test(store_damage, shows_an_older_position_when_the_last_record_is_gone)
{
	uint64_t off, position;

	write_at(0, 1);
	off = write_at(1, 2);
	position = store_journal_position(rig.store);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off));
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_lt(store_journal_position(rig.store), position, "so the catalog calls it blank");
}

Test(store_damage, refuses_when_it_cannot_name_what_is_lost)
{
	uint64_t a, b;

	write_at(0, 1);
	a = write_at(1, 2);
	b = write_at(2, 3);
	write_at(3, 4);
	write_at(4, 5);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", a));
	cr_assert(sim_disk_rot_at(rig.disk, "journal", b));
	cr_assert_eq(rig_crash(&rig), ERR_CORRUPT);
	cr_assert_not_null(strstr(store_why(rig.store), "format this store anew"));
}

Test(store_damage, doubts_a_file_whose_record_is_lost)
{
	struct store_file rec = {.seal = 9, .closed = 8, .complete = true}, f;
	struct store_req r = {.op = STORE_FILE, .file = FILE, .record = &rec};
	struct store_block at;
	uint64_t off;

	write_at(0, 1);
	off = rig.store->journal.head;
	cr_assert_eq(rig_do(&rig, &r), 0);
	write_at(1, 2);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off));
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert(f.damaged);
	cr_assert_not(f.complete);
	cr_assert_eq(f.seal, 9, "a seal is kept whatever is lost (P2)");
	cr_assert_eq(f.closed, 0);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert_eq(at.version.n, 1, "its blocks are what they were");
	cr_assert_eq(rig_do(&rig, &r), 0);
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert_not(f.damaged, "a complete record mends it");
}

Test(store_damage, is_mended_by_a_whole_install_only)
{
	uint8_t set[2] = {1, 0}, zero[2] = {0xfe, 0xff};
	struct iobuf *b = rig_data(page, 4096);
	struct store_req r = {.op = STORE_INSTALL, .file = FILE, .block = 1, .block_shift = 16,
	                      .data = {b, 0, 4096}, .set = {set, 2}, .zeroed = {zero, 1},
	                      .version = {2, 7}, .closed = 2, .seal = 2};
	uint64_t off;
	struct store_block at;

	write_at(0, 1);
	cr_assert_eq(rig_write_sync(&rig, FILE, 1, 0, page, 65536, 2), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	off = write_at(1, 3);
	write_at(2, 4);
	cr_assert(sim_disk_rot_at(rig.disk, "journal", off));
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(rig_write_sync(&rig, FILE, 1, 0, page, 4096, 9), ERR_CORRUPT);
	cr_assert_eq(rig_do(&rig, &r), ERR_CORRUPT, "half a block");
	r.zeroed.len = 2;
	cr_assert_eq(rig_do(&rig, &r), 0);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(rig_read(&rig, FILE, 1, 0, got, 65536, &at), 0);
		cr_assert_not(at.damaged);
		cr_assert_eq(at.version.n, 7);
		cr_assert_eq(memcmp(got, page, 4096), 0);
		cr_assert_eq(got[4096], 0);
		if (i == 0)
			cr_assert_eq(rig_checkpoint(&rig), 0);
		else
			cr_assert_eq(rig_crash(&rig), 0);
	}
	iobuf_put(b);
}

/* A page whose bytes nobody has: an install of few pages (journal) and of many (new space). */
static void lose_page(uint64_t block, unsigned pages)
{
	uint8_t set[2] = {0xff, pages > 8 ? 0xff : 0}, lost[2] = {0x04, 0};
	struct iobuf *b = rig_data(page, pages * 4096);
	uint64_t sums[16];
	struct store_req r = {.op = STORE_INSTALL, .file = FILE, .block = block, .block_shift = 16,
	                      .data = {b, 0, pages * 4096}, .sums = (uint8_t *)sums, .set = {set, 2},
	                      .lost = {lost, 1}, .version = {1, 7}, .closed = 2, .seal = 2};

	for (unsigned i = 0; i < pages; i++)
		sums[i] = page_sum(FILE, block, i, page + i * 4096);
	sums[2] ^= 1;
	cr_assert_eq(rig_do(&rig, &r), 0);
	iobuf_put(b);
}

Test(store_damage, of_a_lost_page_is_its_own_until_it_is_written)
{
	struct store_block at;
	struct store_space before, after;

	for (uint64_t block = 1; block <= 2; block++) {
		cr_assert_eq(rig_write_sync(&rig, FILE, block, 0, page, 65536, 1), 0);
		lose_page(block, block == 1 ? 8 : 16);
	}
	for (unsigned i = 0; i < 6; i++) {
		uint64_t block = 1 + i % 2;

		cr_assert_eq(rig_read(&rig, FILE, block, 2 * 4096, got, 4096, &at), ERR_CORRUPT);
		cr_assert_eq(rig_read(&rig, FILE, block, 0, got, 2 * 4096, &at), 0);
		cr_assert_eq(rig_read(&rig, FILE, block, 3 * 4096, got, 13 * 4096, &at), 0);
		cr_assert_eq(memcmp(got, page + 3 * 4096, 13 * 4096), 0);
		cr_assert_eq(at.pages, 16);
		cr_assert_eq(at.version.n, 7);
		cr_assert_eq(rig_write_sync(&rig, FILE, block, 2 * 4096 + 512, page, 512, 8), ERR_CORRUPT,
		             "nobody knows the rest of the page");
		if (i == 2)
			cr_assert_eq(rig_checkpoint(&rig), 0);
		else if (i > 2)
			cr_assert_eq(rig_crash(&rig), 0);
	}
	store_get_space(rig.store, &before);
	for (uint64_t block = 1; block <= 2; block++)
		cr_assert_eq(rig_write_sync(&rig, FILE, block, 2 * 4096, page + 4096, 4096, 8), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	store_get_space(rig.store, &after);
	cr_assert_eq(before.free - after.free, 2 * 4096, "it has a place again");
	for (uint64_t block = 1; block <= 2; block++) {
		cr_assert_eq(rig_read(&rig, FILE, block, 0, got, 65536, &at), 0);
		cr_assert_eq(memcmp(got + 2 * 4096, page + 4096, 4096), 0);
	}
}

/* --- the index --- */
static void spoil(const char *prefix, size_t n)
{
	struct kv_span k, v, from = {prefix, n};
	uint8_t key[32], value[1024];
	size_t key_len, value_len;

	cr_assert_eq(kv_seek(rig.kv, from, &k, &v), 0);
	cr_assert_leq(v.len, sizeof(value));
	key_len = k.len;
	value_len = v.len;
	memcpy(key, k.p, k.len);
	memcpy(value, v.p, v.len);
	value[0] ^= 4;
	cr_assert_eq(kv_begin(rig.kv), 0);
	cr_assert_eq(kv_put(rig.kv, (struct kv_span){key, key_len}, (struct kv_span){value, value_len}), 0);
	cr_assert_eq(kv_commit(rig.kv), 0);
}

Test(store_damage, treats_a_rotten_block_record_as_a_damaged_block)
{
	struct store_block at;

	write_at(0, 1);
	write_at(1, 2);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	spoil("B", 1);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert(at.damaged);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 4096, NULL), ERR_CORRUPT);
	cr_assert_eq(rig_read(&rig, FILE, 1, 0, got, 4096, NULL), 0);
	cr_assert_eq(store_damaged(rig.store), 1);
	cr_assert_eq(rig_checkpoint(&rig), 0);
}

Test(store_damage, treats_a_rotten_page_table_as_a_damaged_block)
{
	struct store_block at;

	write_at(0, 1);
	write_at(1, 2);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	spoil("L", 1);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 4096, NULL), ERR_CORRUPT);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert(at.damaged);
	cr_assert_eq(rig_read(&rig, FILE, 1, 0, got, 4096, NULL), 0);
}

Test(store_damage, accepts_nothing_for_a_file_whose_seal_is_lost)
{
	struct store_file rec = {.seal = 4, .closed = 4, .complete = true}, f;
	struct store_req r = {.op = STORE_FILE, .file = FILE, .record = &rec};
	struct store_block at;

	write_at(0, 1);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	spoil("F", 1);
	cr_assert_eq(rig_crash(&rig), 0);
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert(f.damaged);
	cr_assert_eq(f.seal, UINT64_MAX);
	cr_assert_not(f.complete);
	cr_assert(store_get_block(rig.store, FILE, 0, &at));
	cr_assert_eq(at.version.n, 1);
	cr_assert_eq(rig_do(&rig, &r), 0);
	cr_assert(store_get_file(rig.store, FILE, &f));
	cr_assert_eq(f.seal, 4);
	cr_assert_not(f.damaged);
}

/* --- pieces that do not belong together --- */
static int open_as(uint64_t cluster, server_id_t server)
{
	static bool opened;
	static int result;
	struct store *s;

	opened = false;
	rig_close(&rig);
	rig_open_as(&rig, cluster, server, &s, &result, &opened);
	rig.store = s;
	return result;
}

Test(store_damage, refuses_a_foreign_store)
{
	cr_assert_eq(open_as(RIG_CLUSTER + 1, RIG_SERVER), -EEXIST);
	cr_assert_not_null(strstr(store_why(rig.store), "belongs to server 5"));
	cr_assert_eq(open_as(RIG_CLUSTER, RIG_SERVER + 1), -EEXIST);
	cr_assert_eq(open_as(RIG_CLUSTER, RIG_SERVER), 0);
}

Test(store_damage, refuses_when_nothing_was_formatted)
{
	struct kv *old = rig.kv;

	rig_close(&rig);
	rig.kv = kv_new_mem();
	cr_assert_eq(rig_open(&rig), -ENOENT);
	cr_assert_not_null(strstr(store_why(rig.store), "format"));
	rig_close(&rig);
	kv_close(rig.kv);
	rig.kv = old;
}

Test(store_damage, answers_with_the_reason_when_it_did_not_open)
{
	cr_assert_eq(open_as(RIG_CLUSTER + 1, RIG_SERVER), -EEXIST);
	cr_assert_eq(rig_write_sync(&rig, FILE, 0, 0, page, 4096, 1), -EEXIST);
	cr_assert_eq(rig_read(&rig, FILE, 0, 0, got, 4096, NULL), -EEXIST);
}

Test(store_damage, serves_what_was_asked_while_it_opened)
{
	struct rig_write *w;

	rig_close(&rig);
	rig.opened = false;
	rig_open_begin(&rig);
	w = rig_write(&rig, FILE, 0, 0, page, 4096, 1);
	rig_wait(&rig, &w->answered);
	cr_assert(w->answered);
	cr_assert_eq(w->req.result, 0);
	cr_assert(rig.opened);
	mem_free(w);
}

Test(store_damage, refuses_to_format_what_is_a_store)
{
	cr_assert_eq(store_format(rig.disk, rig.kv, 1, 1, &rig.config), -EEXIST);
}

Test(store_damage, refuses_an_index_without_its_files)
{
	write_at(0, 1);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	rig_close(&rig);
	sim_disk_wipe(rig.disk);
	cr_assert_eq(rig_open(&rig), ERR_CORRUPT);
	cr_assert_neq(store_why(rig.store)[0], 0);
}

Test(store_damage, refuses_files_older_than_the_index)
{
	cr_assert_eq(rig_crash(&rig), 0);
	rig_close(&rig);
	sim_disk_snapshot(rig.disk);
	cr_assert_eq(rig_open(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	rig_close(&rig);
	sim_disk_rollback(rig.disk);
	cr_assert_eq(rig_open(&rig), ERR_CORRUPT);
	cr_assert_not_null(strstr(store_why(rig.store), "backup"));
}

Test(store_damage, shows_less_than_before_when_all_was_rolled_back)
{
	void *image;
	size_t len;
	uint64_t start;

	write_at(0, 1);
	rig_close(&rig);
	sim_disk_crash(rig.disk);
	sim_disk_snapshot(rig.disk);
	cr_assert_eq(kv_export_mem(rig.kv, &image, &len), 0);
	cr_assert_eq(rig_open(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	start = store_start_counter(rig.store);
	rig_close(&rig);
	sim_disk_rollback(rig.disk);
	cr_assert_eq(kv_import_mem(rig.kv, image, len), 0);
	cr_assert_eq(rig_open(&rig), 0);
	cr_assert_lt(store_start_counter(rig.store), start, "trap A8: the catalog remembers more");
	free(image);
}
