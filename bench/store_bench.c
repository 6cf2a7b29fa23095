/* store_bench DIR [SECONDS]: the block store on a real disk beside the disk itself.
 *
 * Each row is one pattern: operations a second and microseconds of processor time an operation, for
 * the store and for a plain loop of pwrite (O_DIRECT) and fdatasync on a file written before.
 * Depth 32 of the plain loop is one fdatasync for 32 writes: the best a group commit could do. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/disk/disk_uring.h"
#include "core-server/store/store.h"

#define FILE_ID 7
#define SPAN_BYTES ((uint64_t)1 << 30)
#define SHIFT 22
#define DEPTH_MAX 64

static double seconds = 2;
static struct random rnd;

struct result {
	double per_second, cpu_us;
};

static double cpu_now(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

struct timer {
	nsec_t start;
	double cpu;
};

static struct timer timer_start(void)
{
	return (struct timer){clock_boottime(), cpu_now()};
}

static struct result timer_end(struct timer t, uint64_t ops)
{
	double s = (double)(clock_boottime() - t.start) * 1e-9;

	return (struct result){(double)ops / s, ops ? (cpu_now() - t.cpu) * 1e6 / (double)ops : 0};
}

static bool going(struct timer t)
{
	return (double)(clock_boottime() - t.start) < seconds * 1e9;
}

static void die(const char *what, int rc)
{
	fprintf(stderr, "store_bench: %s: %s\n", what, err_text(rc));
	exit(1);
}

/* --- the disk itself --- */
static int raw_fd;

static void raw_open(const char *dir)
{
	char *name = mem_printf("%s/raw", dir);
	uint8_t *mem = aligned_alloc(4096, 1 << 20);

	raw_fd = open(name, O_RDWR | O_CREAT | O_DIRECT, 0600);
	if (raw_fd < 0 || !mem)
		die("opening the plain file", -errno);
	memset(mem, 1, 1 << 20);
	for (uint64_t off = 0; off < SPAN_BYTES; off += 1 << 20)
		if (pwrite(raw_fd, mem, 1 << 20, (off_t)off) != 1 << 20)
			die("writing the plain file", -errno);
	(void)fsync(raw_fd);
	free(mem);
	mem_free(name);
}

static uint64_t place(uint32_t bytes, uint64_t n, bool sequential)
{
	return sequential ? n % (SPAN_BYTES / bytes) : random_below(&rnd, SPAN_BYTES / bytes);
}

static struct result raw_write(uint32_t bytes, unsigned depth, bool sequential)
{
	uint8_t *mem = aligned_alloc(4096, bytes);
	struct timer t = timer_start();
	uint64_t ops = 0;

	memset(mem, 2, bytes);
	for (; going(t); ops += depth) {
		for (unsigned i = 0; i < depth; i++) {
			uint64_t n = place(bytes, ops + i, sequential);

			if (pwrite(raw_fd, mem, bytes, (off_t)(n * bytes)) != (ssize_t)bytes)
				die("writing the plain file", -errno);
		}
		if (fdatasync(raw_fd) < 0)
			die("syncing the plain file", -errno);
	}
	free(mem);
	return timer_end(t, ops);
}

static struct result raw_read(uint32_t bytes)
{
	uint8_t *mem = aligned_alloc(4096, bytes);
	struct timer t = timer_start();
	uint64_t ops = 0;

	for (; going(t); ops++)
		if (pread(raw_fd, mem, bytes,
		          (off_t)(random_below(&rnd, SPAN_BYTES / bytes) * bytes)) != (ssize_t)bytes)
			die("reading the plain file", -errno);
	free(mem);
	return timer_end(t, ops);
}

/* --- the store --- */
static struct disk *disk;
static struct kv *kv;
static struct store *store;
static bool opened;
static uint64_t version;

static nsec_t bench_now(void *ctx)
{
	(void)ctx;
	return clock_boottime();
}

static void on_open(void *ctx, int rc)
{
	(void)ctx;
	if (rc < 0)
		die(store_why(store), rc);
	opened = true;
}

static void turn(void)
{
	(void)store_tick(store, clock_boottime());
	(void)disk_uring_wait(disk);
}

static void store_begin(const char *dir, const char *kv_dir)
{
	struct store_config c = {.now = bench_now};
	int rc = disk_uring_open(&disk, dir);

	if (!rc)
		rc = kv_open_lmdb(&kv, kv_dir, (uint64_t)4 << 30);
	if (!rc)
		rc = store_format(disk, kv, 1, 1, &c);
	if (rc < 0)
		die("opening the store", rc);
	store_open(&store, disk, kv, 1, 1, &c, on_open, NULL);
	while (!opened)
		(void)disk_uring_wait(disk);
}

struct writer {
	struct store_req req;
	struct iobuf *buf;
	bool busy;
};

static uint64_t answered;

static void on_written(struct store_req *req)
{
	if (req->result < 0)
		die(store_why(store), req->result);
	container_of(req, struct writer, req)->busy = false;
	answered++;
}

static void write_one(struct writer *w, uint32_t bytes, uint64_t n)
{
	uint64_t off = n * bytes;

	w->req = (struct store_req){
		.op = STORE_WRITE,
		.file = FILE_ID,
		.block = off >> SHIFT,
		.block_shift = SHIFT,
		.off = (uint32_t)(off & ((1u << SHIFT) - 1)),
		.len = bytes,
		.data = {w->buf, 0, bytes},
		.version = {1, ++version},
		.seal = 1,
		.done = on_written,
	};
	w->busy = true;
	store_submit(store, &w->req);
}

static struct result store_write_run(uint32_t bytes, unsigned depth, bool sequential)
{
	static struct writer w[DEPTH_MAX];
	uint64_t sent = 0;
	struct timer t;

	for (unsigned i = 0; i < depth; i++) {
		w[i].buf = iobuf_new(bytes);
		memset(w[i].buf->data, (int)i, bytes);
	}
	t = timer_start();
	for (answered = 0; going(t) || answered < sent; turn())
		for (unsigned i = 0; i < depth && going(t); i++)
			if (!w[i].busy)
				write_one(&w[i], bytes, place(bytes, sent++, sequential));
	for (unsigned i = 0; i < depth; i++)
		iobuf_put(w[i].buf);
	return timer_end(t, answered);
}

static bool read_done;

static void on_read(struct store_read *r)
{
	if (r->result < 0)
		die("reading from the store", r->result);
	iobuf_put(r->data.buf);
	mem_free(r->sums);
	read_done = true;
}

static struct result store_read_run(uint32_t bytes)
{
	static struct store_read r;
	struct timer t = timer_start();
	uint64_t ops = 0;

	for (; going(t); ops++) {
		uint64_t off = random_below(&rnd, SPAN_BYTES / bytes) * bytes;

		r = (struct store_read){.file = FILE_ID, .block = off >> SHIFT, .block_shift = SHIFT,
		                        .off = (uint32_t)(off & ((1u << SHIFT) - 1)), .len = bytes,
		                        .done = on_read};
		read_done = false;
		store_read(store, &r);
		while (!read_done)
			turn();
	}
	return timer_end(t, ops);
}

static bool checkpointed;

static void on_checkpoint(void *ctx, int rc)
{
	(void)ctx;
	if (rc < 0)
		die(store_why(store), rc);
	checkpointed = true;
}

static void row(const char *what, struct result a, struct result raw)
{
	printf("%-34s %9.0f /s %7.1f us cpu   disk %9.0f /s %7.1f us cpu   %.2f\n", what, a.per_second,
	       a.cpu_us, raw.per_second, raw.cpu_us, a.per_second / raw.per_second);
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	char *dir, *kv_dir;

	if (argc < 2) {
		fprintf(stderr, "usage: store_bench DIR [SECONDS]\n");
		return 2;
	}
	if (argc > 2)
		seconds = strtod(argv[2], NULL);
	dir = mem_printf("%s/store_bench.%d", argv[1], (int)getpid());
	kv_dir = mem_printf("%s/index", dir);
	if (mkdir(dir, 0700) < 0 || mkdir(kv_dir, 0700) < 0)
		die(dir, -errno);
	random_seed(&rnd, 1);
	raw_open(dir);
	store_begin(dir, kv_dir);

	row("first write of 1 MiB, depth 4", store_write_run(1 << 20, 4, true),
	    raw_write(1 << 20, 4, true));
	row("durable 1 MiB writes, depth 1", store_write_run(1 << 20, 1, true),
	    raw_write(1 << 20, 1, true));
	row("durable 1 MiB writes, depth 4", store_write_run(1 << 20, 4, true),
	    raw_write(1 << 20, 4, true));
	row("durable 4 KiB random, depth 1", store_write_run(4096, 1, false), raw_write(4096, 1, false));
	row("durable 4 KiB random, depth 32", store_write_run(4096, 32, false),
	    raw_write(4096, 32, false));
	store_checkpoint(store, on_checkpoint, NULL);
	while (!checkpointed)
		turn();
	row("4 KiB random reads, depth 1", store_read_run(4096), raw_read(4096));
	row("1 MiB random reads, depth 1", store_read_run(1 << 20), raw_read(1 << 20));

	store_close(store);
	disk_uring_close(disk);
	kv_close(kv);
	printf("left in %s\n", dir);
	mem_free(dir);
	mem_free(kv_dir);
	return 0;
}
