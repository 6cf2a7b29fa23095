/* The io_uring backend on real files, alone, under the store, and driven by a libuv loop. */
#include <criterion/criterion.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/iobuf.h"
#include "common/base/mem.h"
#include "common/base/types.h"
#include "common/disk/disk_uring.h"
#include "common/disk/disk_uring_uv.h"
#include "core-server/store/store.h"

static char dir[64];
static struct disk *disk;
static unsigned answers;

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/dc-disk-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	cr_assert_eq(disk_uring_open(&disk, dir), 0);
	answers = 0;
}

static void teardown(void)
{
	char name[128];

	disk_uring_close(disk);
	for (unsigned i = 0; i < 4; i++) {
		static const char *const names[] = {"a", "data", "journal", "b"};

		snprintf(name, sizeof(name), "%s/%s", dir, names[i]);
		(void)unlink(name);
	}
	cr_assert_eq(rmdir(dir), 0);
}

TestSuite(disk_uring, .init = setup, .fini = teardown);

static void on_done(struct disk_req *r)
{
	(void)r;
	answers++;
}

static struct disk_req request(enum disk_op op, struct disk_file *f, uint64_t off, void *p, size_t len)
{
	return (struct disk_req){.op = op, .file = f, .off = off, .len = len, .iov = {{p, len}},
	                         .iovs = p ? 1 : 0, .done = on_done};
}

static int run(struct disk_req *r)
{
	unsigned before = answers;

	disk_submit(disk, r);
	cr_assert_eq(answers, before, "never from inside");
	while (answers == before)
		cr_assert(disk_uring_wait(disk));
	return r->result;
}

Test(disk_uring, writes_syncs_and_reads_back)
{
	struct iobuf *a = iobuf_new(16384), *b = iobuf_new(16384);
	struct disk_file *f;
	struct disk_req r;

	cr_assert_eq(disk->ops->open_file(disk, "a", 1 << 20, &f), 0);
	cr_assert_eq(disk->ops->size(f), 1 << 20);
	memset(a->data, 7, 16384);
	r = request(DISK_WRITE, f, 8192, NULL, 16384);
	for (unsigned i = 0; i < 4; i++) {
		r.iov[i].p = a->data + (size_t)(3 - i) * 4096;
		r.iov[i].len = 4096;
		a->data[i * 4096] = (uint8_t)(10 + i);
	}
	r.iovs = 4;
	cr_assert_eq(run(&r), 0);
	r = request(DISK_SYNC, f, 0, NULL, 0);
	cr_assert_eq(run(&r), 0);
	r = request(DISK_WRITE, f, 4096, a->data, 4096);
	r.durable = true;
	cr_assert_eq(run(&r), 0);
	r = request(DISK_READ, f, 4096, b->data, 4096);
	cr_assert_eq(run(&r), 0);
	cr_assert_eq(b->data[0], 10);
	r = request(DISK_READ, f, 8192, b->data, 16384);
	cr_assert_eq(run(&r), 0);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(b->data[i * 4096], 13 - i);
		cr_assert_eq(b->data[i * 4096 + 1], 7);
	}
	r = request(DISK_READ, f, (1 << 20) - 4096, b->data, 8192);
	cr_assert_eq(run(&r), -ENODATA, "past the end");
	cr_assert_eq(disk->ops->resize(f, 2 << 20), 0);
	r = request(DISK_READ, f, (1 << 20) - 4096, b->data, 8192);
	cr_assert_eq(run(&r), 0);
	cr_assert_eq(disk->ops->size(f), 2 << 20);
	disk->ops->close_file(f);
	cr_assert_eq(disk->ops->open_file(disk, "a", 0, &f), 0);
	cr_assert_eq(disk->ops->size(f), 2 << 20, "opening again keeps the size");
	disk->ops->close_file(f);
	iobuf_put(a);
	iobuf_put(b);
}

/* What stood there before is gone: the caller takes what it reads for never written. */
Test(disk_uring, a_filled_file_is_zeros_over_its_whole_size)
{
	struct iobuf *b = iobuf_new(4096);
	struct disk_file *f;
	struct disk_req r;

	cr_assert_eq(disk->ops->open_file(disk, "f", 1 << 20, &f), 0);
	memset(b->data, 7, 4096);
	r = request(DISK_WRITE, f, 8192, b->data, 4096);
	cr_assert_eq(run(&r), 0);
	disk->ops->close_file(f);
	cr_assert_eq(disk_uring_fill(disk, "f", 2 << 20), 0);
	cr_assert_eq(disk->ops->open_file(disk, "f", 0, &f), 0);
	cr_assert_eq(disk->ops->size(f), 2 << 20);
	for (uint64_t off = 0; off < 2 << 20; off += 4096) {
		b->data[0] = b->data[4095] = 1;
		r = request(DISK_READ, f, off, b->data, 4096);
		cr_assert_eq(run(&r), 0);
		cr_assert(b->data[0] == 0 && memcmp(b->data, b->data + 1, 4095) == 0);
	}
	disk->ops->close_file(f);
	iobuf_put(b);
}

Test(disk_uring, answers_more_requests_than_the_kernel_queues)
{
	enum { N = DISK_URING_DEPTH_MAX * 2 + 5 };
	struct disk_req *r = mem_new_array(N, sizeof(*r));
	struct iobuf *b = iobuf_new(4096);
	struct disk_file *f;

	memset(b->data, 3, 4096);
	cr_assert_eq(disk->ops->open_file(disk, "a", N * 4096, &f), 0);
	for (unsigned i = 0; i < N; i++) {
		r[i] = request(i % 7 ? DISK_WRITE : DISK_NOP, f, (uint64_t)i * 4096, b->data, 4096);
		disk_submit(disk, &r[i]);
	}
	while (answers < N)
		cr_assert(disk_uring_wait(disk));
	for (unsigned i = 0; i < N; i++)
		cr_assert_eq(r[i].result, 0);
	cr_assert_not(disk_uring_wait(disk), "nothing is left");
	disk->ops->close_file(f);
	mem_free(r);
	iobuf_put(b);
}

Test(disk_uring, answers_nobody_after_abandon)
{
	struct iobuf *b = iobuf_new(1 << 20);
	struct disk_req r[8];
	struct disk_file *f;

	cr_assert_eq(disk->ops->open_file(disk, "a", 8 << 20, &f), 0);
	for (unsigned i = 0; i < 8; i++) {
		r[i] = request(i % 2 ? DISK_READ : DISK_NOP, f, (uint64_t)i << 20, b->data, 1 << 20);
		disk_submit(disk, &r[i]);
		if (i == 4)
			disk_uring_flush(disk);
	}
	unsigned before = answers;

	disk->ops->abandon(disk);
	memset(r, 0xff, sizeof(r));
	disk_uring_flush(disk);
	disk_uring_poll(disk);
	cr_assert_eq(answers, before);
	disk->ops->close_file(f);
	iobuf_put(b);
}

Test(disk_uring, refuses_a_directory_that_is_not_there)
{
	struct disk *d;

	cr_assert_eq(disk_uring_open(&d, "/nowhere/at/all"), -ENOENT);
}

/* --- the store on it --- */
static nsec_t now(void *ctx)
{
	(void)ctx;
	return clock_boottime();
}

static int opened;

static void on_open(void *ctx, int rc)
{
	(void)ctx;
	opened = rc ? rc : 1;
}

static void on_write(struct store_req *r)
{
	cr_assert_eq(r->result, 0);
	answers++;
}

static void on_read(struct store_read *r)
{
	cr_assert_eq(r->result, 0);
	answers++;
}

static struct store *open_store(struct kv *kv, const struct store_config *c)
{
	struct store *s;

	opened = 0;
	store_open(&s, disk, kv, 1, 1, c, on_open, NULL);
	while (!opened)
		cr_assert(disk_uring_wait(disk));
	cr_assert_eq(opened, 1, "%s", store_why(s));
	return s;
}

Test(disk_uring, carries_a_store_over_a_kill)
{
	struct store_config c = {.now = now, .journal_bytes = 4 << 20, .data_bytes_max = 64 << 20};
	struct kv *kv = kv_new_mem();
	struct iobuf *b = iobuf_new(1 << 20);
	struct store_req w[40];
	struct store_read r = {.file = 1, .block_shift = 20, .len = 1 << 20, .done = on_read};
	struct store *s;

	for (uint32_t i = 0; i < 1 << 20; i++)
		b->data[i] = (uint8_t)(i / 4096 + i);
	cr_assert_eq(store_format(disk, kv, 1, 1, &c), 0);
	s = open_store(kv, &c);
	for (unsigned i = 0; i < 40; i++) {
		w[i] = (struct store_req){.op = STORE_WRITE, .file = 1, .block = i / 4, .block_shift = 20,
		                          .len = i % 4 ? 5000 : 1 << 20, .off = i % 4 * 100000,
		                          .version = {1, i + 1}, .seal = 1, .done = on_write};
		w[i].len = i % 4 ? 5000 : 1 << 20;
		w[i].data = (struct slice){b, i % 4 * 100000, w[i].len};
		store_submit(s, &w[i]);
	}
	while (answers < 40)
		cr_assert(disk_uring_wait(disk));
	store_close(s);
	s = open_store(kv, &c);
	for (r.block = 0; r.block < 10; r.block++) {
		unsigned before = answers;

		store_read(s, &r);
		while (answers == before)
			cr_assert(disk_uring_wait(disk));
		cr_assert_eq(r.present_pages, 256);
		cr_assert_eq(memcmp(slice_data(r.data), b->data, 1 << 20), 0);
		iobuf_put(r.data.buf);
		mem_free(r.sums);
	}
	store_close(s);
	iobuf_put(b);
	kv_close(kv);
}

/* --- the loop --- */
static struct disk_uring_uv uv;
static struct disk_req loop_req;
static struct iobuf *loop_buf;
static bool closed;

static void on_closed(void *ctx)
{
	(void)ctx;
	closed = true;
}

static void on_loop_read(struct disk_req *r)
{
	cr_assert_eq(r->result, 0);
	if (++answers < 20) {
		r->op = answers % 2 ? DISK_NOP : DISK_READ;
		disk_submit(disk, r);
	} else {
		disk_uring_uv_stop(&uv, on_closed, NULL);
	}
}

Test(disk_uring, is_driven_by_a_libuv_loop)
{
	uv_loop_t loop;
	struct disk_file *f;

	loop_buf = iobuf_new(4096);
	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(disk->ops->open_file(disk, "b", 4096, &f), 0);
	cr_assert_eq(disk_uring_uv_start(&uv, &loop, disk), 0);
	loop_req = request(DISK_READ, f, 0, loop_buf->data, 4096);
	loop_req.done = on_loop_read;
	disk_submit(disk, &loop_req);
	cr_assert_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
	cr_assert_eq(answers, 20);
	cr_assert(closed);
	cr_assert_eq(uv_loop_close(&loop), 0);
	disk->ops->close_file(f);
	iobuf_put(loop_buf);
}
