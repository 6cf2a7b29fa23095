/* The store's promises, one at a time, on a simulated disk. */
#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "tests/unit/store/rig.h"

#define FILE 42

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
	cr_assert_eq(store_start_counter(rig.store), 2);
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

Test(store, serves_from_the_data_file_after_a_checkpoint)
{
	for (unsigned i = 0; i < 16; i++)
		cr_assert_eq(rig_write_sync(&rig, FILE, i, i * 4096, page + i, 4096, i + 1), 0);
	cr_assert_eq(rig_checkpoint(&rig), 0);
	cr_assert_eq(rig_crash(&rig), 0);
	for (unsigned i = 0; i < 16; i++) {
		cr_assert_eq(rig_read(&rig, FILE, i, i * 4096, got, 4096, NULL), 0);
		cr_assert_eq(memcmp(got, page + i, 4096), 0);
	}
	cr_assert_eq(sim_disk_rot(rig.disk, "data", 1), 1);
	int bad = 0;

	for (unsigned i = 0; i < 16; i++)
		bad += rig_read(&rig, FILE, i, i * 4096, got, 4096, NULL) == ERR_CORRUPT;
	cr_assert_eq(bad, 1, "a rotten page is found, and only that one");
}
