/* A voter's log file with bytes changed, checksums put right again or not: it loads or says why not, and what
 * loads goes on: entries can be had, appended and trimmed, and are there after the next start.
 *
 * The file is one that the log itself wrote. Input: edits of 6 bytes, u8 batch | u8 what | u16 where | u16
 * value. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "hint-server/quorum/log_format.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/quorum/world_disk.h"

#define LOG_BYTES (512u << 10)
#define BATCHES_MAX 64
#define EDIT_BYTES 6

static uint8_t image[LOG_BYTES];
static struct world w;
static struct disk *disk;
static struct rlog *l;
static int loaded;

static struct batch {
	uint64_t at;
	struct rlog_batch head;
} batch[BATCHES_MAX];
static unsigned batches;

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
}

static void settle(void)
{
	world_run(&w, w.now + NSEC_SEC);
}

static int open_log(bool fresh)
{
	static const struct rlog_ops ops = {on_loaded, on_durable, on_failed};
	struct rlog_config c = {.cluster = 5, .server = 1, .id = 99, .bytes = LOG_BYTES, .fresh = fresh,
	                        .first = {(const uint8_t *)"conf", 4}, .first_type = 3};

	loaded = 1;
	CHECK(rlog_open(&l, disk, &c, &ops, NULL) == 0);
	settle();
	CHECK(loaded <= 0);
	return loaded;
}

static void on_io(struct disk_req *io)
{
	*(bool *)io->owner = true;
}

static void image_io(enum disk_op op)
{
	bool done = false;
	struct disk_req io = {.op = op, .len = sizeof(image), .iov = {{image, sizeof(image)}}, .iovs = 1,
	                      .done = on_io, .owner = &done};

	CHECK(disk->ops->open_file(disk, RLOG_FILE, sizeof(image), &io.file) == 0);
	disk_submit(disk, &io);
	settle();
	CHECK(done && io.result == 0);
	disk->ops->close_file(io.file);
}

static void append(uint64_t index, uint64_t term, uint32_t len)
{
	static const uint8_t data[3000];

	rlog_append(l, index, term, 1, data, len);
	rlog_flush(l);
	settle();
}

static void make_log(void)
{
	CHECK(open_log(true) == 0);
	for (uint64_t i = 2; i < 12; i++)
		append(i, 1 + i / 4, (uint32_t)i * 250);
	(void)rlog_set_vote(l, 4, 2);
	settle();
	append(10, 4, 20); /* drops a suffix */
	rlog_trim(l, 3);
	settle();
	rlog_close(l);
	image_io(DISK_READ);
	batches = 0;
	for (uint64_t at = RLOG_RING; at < sizeof(image) && batches < BATCHES_MAX; at += RLOG_PAGE) {
		batch[batches].at = at;
		batches += !rlog_batch_decode(image + at, &batch[batches].head);
	}
	CHECK(batches > 5);
}

static void edit_slot(uint16_t where, uint16_t value)
{
	struct rlog_slot s;
	uint64_t *field[] = {&s.generation, &s.term, &s.vote, &s.tail_pos, &s.tail_seq, &s.base_index,
	                     &s.base_term, &s.install_index, &s.install_term, &s.id, &s.capacity, &s.unproven};
	uint8_t *page = image + (where & 1 ? RLOG_PAGE : 0);

	if (rlog_slot_decode(page, &s))
		return;
	*field[(where >> 1) % ARRAY_LEN(field)] = where & 0x8000 ? (uint64_t)value << 48 : value;
	rlog_slot_encode(&s, page);
}

static void edit(const uint8_t *e)
{
	struct batch *b = &batch[e[0] % batches];
	uint16_t where = get_u16le(e + 2), value = get_u16le(e + 4);
	uint64_t room = sizeof(image) - b->at - RLOG_BATCH_HEAD;

	switch (e[1] % 8) {
	case 0:
		b->head.seq += value;
		break;
	case 1:
		b->head.count = value;
		break;
	case 2:
		b->head.first = value;
		break;
	case 3:
		b->head.bytes = (uint32_t)MIN((uint64_t)value, room);
		break;
	case 4: /* rot */
		image[where * 4ull % sizeof(image)] ^= (uint8_t)(value | 1);
		return;
	case 5:
		edit_slot(where, value);
		return;
	default:
		if (b->head.bytes > 0)
			image[b->at + RLOG_BATCH_HEAD + where % b->head.bytes] = (uint8_t)value;
	}
	b->head.sum = rlog_sum(image + b->at + RLOG_BATCH_HEAD, b->head.bytes);
	rlog_batch_encode(&b->head, image + b->at);
}

static void serve(void)
{
	uint64_t last, term = rlog_term(l);

	CHECK(rlog_base(l) <= rlog_last(l));
	for (uint64_t i = rlog_base(l) + 1; i <= rlog_last(l); i++) {
		const struct rlog_entry *e = rlog_get(l, i);

		CHECK(e && e->len <= RLOG_ENTRY_BYTES_MAX && rlog_term_of(l, i) == e->term);
		term = MAX(term, e->term);
	}
	append(rlog_last(l) + 1, term, 100);
	last = rlog_last(l);
	if (rlog_durable(l) != last)
		return; /* no room: the voter would take a checkpoint first */
	rlog_close(l);
	CHECK(open_log(false) == 0);
	CHECK(rlog_last(l) == last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim_disk_env env = world_disk_env(&w);
	int rc;

	world_init(&w, 1, TRACING_OFF);
	disk = sim_disk_new(1, 4 << 20, &env);
	make_log();
	for (size_t at = 0; at + EDIT_BYTES <= size && at < (size_t)16 * EDIT_BYTES; at += EDIT_BYTES)
		edit(data + at);
	image_io(DISK_WRITE);
	rc = open_log(false);
	CHECK(rc == 0 || rlog_why(l)[0] != '\0');
	if (rc == 0)
		serve();
	rlog_close(l);
	world_fini(&w);
	sim_disk_free(disk);
	return 0;
}
