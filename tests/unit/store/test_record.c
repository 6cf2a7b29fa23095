/* Journal records and index values as bytes: what is encoded comes back, anything else is refused. */
#include <criterion/criterion.h>

#include "common/base/bytes.h"
#include "common/base/random.h"
#include "core-server/store/state.h"

static struct random rnd;

static struct change some_change(void)
{
	struct change c = {.op = (enum store_op)random_below(&rnd, 4), .shift = 22};
	uint16_t at = 0;

	c.file = random_u64(&rnd);
	c.block = random_u64(&rnd);
	c.version = (struct version){random_u64(&rnd), random_u64(&rnd)};
	c.closed = random_u64(&rnd);
	c.seal = random_u64(&rnd);
	c.map = random_u64(&rnd);
	c.repairs = random_below(&rnd, 2);
	if (c.op == STORE_WRITE || c.op == STORE_INSTALL) {
		c.runs_n = (unsigned)random_below(&rnd, 5);
		c.runs = mem_new_array(c.runs_n + 1, sizeof(*c.runs));
		for (unsigned i = 0; i < c.runs_n; i++) {
			c.runs[i] = (struct run){
				.first = at,
				.pages = (uint16_t)(1 + random_below(&rnd, 20)),
				.kind = (enum run_kind)random_below(&rnd, 4),
				.loc = (uint32_t)random_u64(&rnd),
			};
			at = (uint16_t)(at + c.runs[i].pages + random_below(&rnd, 3));
			c.data_pages += c.runs[i].kind == RUN_ZERO ? 0 : c.runs[i].pages;
		}
		c.sums = mem_new_array(c.data_pages + 1, 8);
		for (unsigned i = 0; i < c.data_pages; i++)
			c.sums[i] = random_u64(&rnd);
	}
	if (c.op == STORE_FILE) {
		c.record = (struct store_file){.seal = 1, .closed = 2, .map = 3, .complete = true};
		c.record.exceptions = (unsigned)random_below(&rnd, 9);
		c.record.exception = mem_new_array(c.record.exceptions + 1, 8);
	}
	return c;
}

Test(store_record, brings_changes_back)
{
	random_seed(&rnd, 1);
	for (unsigned n = 0; n < 200; n++) {
		struct change c = some_change(), d;
		size_t len = record_change_bytes(&c);
		uint8_t *bytes = mem_new(len), *again = mem_new(len);
		struct cursor cur = {.p = bytes, .left = len};

		cr_assert_eq(record_put_change(bytes, &c), bytes + len);
		cr_assert(record_take_change(&cur, &d));
		cr_assert(cursor_done(&cur));
		cr_assert_eq(record_change_bytes(&d), len);
		(void)record_put_change(again, &d);
		cr_assert_eq(memcmp(bytes, again, len), 0);
		for (size_t cut = 0; cut < len; cut++) {
			cur = (struct cursor){.p = bytes, .left = cut};
			change_fini(&d);
			cr_assert_not(record_take_change(&cur, &d), "cut at %zu of %zu", cut, len);
		}
		for (unsigned flips = 0; flips < 50; flips++) { /* anything: refused or taken, never a crash */
			uint64_t bit = random_below(&rnd, len * 8);

			bytes[bit / 8] ^= (uint8_t)(1u << (bit % 8));
			cur = (struct cursor){.p = bytes, .left = len};
			change_fini(&d);
			if (record_take_change(&cur, &d))
				cr_assert_leq(record_change_bytes(&d), len);
		}
		change_fini(&d);
		change_fini(&c);
		mem_free(bytes);
		mem_free(again);
	}
}

Test(store_record, knows_a_head_by_every_bit)
{
	static uint8_t page[PAGE_BYTES];
	struct record r = {.seq = 9, .off = 8192, .salt = 77, .head_bytes = PAGE_BYTES, .data_pages = 3,
	                   .ops_n = 1, .last_n = 2, .body_bytes = 300}, got;

	for (unsigned i = RECORD_HEAD_BYTES; i < 364; i++)
		page[i] = (uint8_t)i;
	record_seal(page, &r);
	cr_assert(record_get_head(page, 8192, 77, &got));
	cr_assert(record_body_good(page, &got));
	cr_assert_eq(got.seq, 9);
	cr_assert_eq(got.data_pages, 3);
	cr_assert_eq(got.body_bytes, 300);
	cr_assert_not(record_get_head(page, 4096, 77, &got), "another place");
	cr_assert_not(record_get_head(page, 8192, 78, &got), "another journal");
	for (unsigned bit = 0; bit < 364 * 8; bit++) {
		page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
		cr_assert_not(record_get_head(page, 8192, 77, &got) && record_body_good(page, &got),
		              "bit %u", bit);
		page[bit / 8] ^= (uint8_t)(1u << (bit % 8));
	}
}

Test(store_format, brings_page_tables_back)
{
	struct kv *kv = kv_new_mem();
	struct block_key key = {3, 4};

	random_seed(&rnd, 2);
	for (unsigned n = 0; n < 300; n++) {
		struct leaf l = {.present = random_u64(&rnd) & random_u64(&rnd)}, got = {0};

		if (n == 0)
			l.present = UINT64_MAX;
		memset(l.loc, 0xff, sizeof(l.loc));
		memset(got.loc, 0xff, sizeof(got.loc));
		for (unsigned p = 0; p < LEAF_PAGES; p++) {
			if (!(l.present >> p & 1))
				continue;
			l.sum[p] = random_u64(&rnd);
			l.loc[p] = 1000 * n + p;
			if (random_below(&rnd, 3) == 0)
				l.loc[p] = (uint32_t)random_below(&rnd, 1u << 30);
		}
		cr_assert_eq(kv_begin(kv), 0);
		cr_assert_eq(format_put_leaf(kv, &key, n % 8, &l), 0);
		cr_assert_eq(kv_commit(kv), 0);
		if (!l.present) {
			cr_assert_eq(format_get_leaf(kv, &key, n % 8, &got), -ENOENT);
			continue;
		}
		cr_assert_eq(format_get_leaf(kv, &key, n % 8, &got), 0);
		cr_assert_eq(memcmp(&l, &got, sizeof(l)), 0);
	}
	kv_close(kv);
}
