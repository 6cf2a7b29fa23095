/* A core server's journal with pages changed, their checksums put right again or not: the store opens or says
 * why not, and what it serves then it serves to the end, also after the next start.
 *
 * The journal is one that the store itself wrote. Input: edits of 6 bytes, u8 record | u8 what | u16 where |
 * u16 value. A record sealed again gets past the sums, to everything behind them. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "core-server/store/state.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>

#define JOURNAL_BYTES (1u << 20)
#define DISK_BYTES (16u << 20)
#define RECORDS_MAX 64
#define EDIT_BYTES 6

static uint8_t journal[JOURNAL_BYTES];
static struct record record[RECORDS_MAX]; /* where they lie, as they were */
static unsigned records;

static void on_io(struct disk_req *io)
{
	*(bool *)io->owner = true;
}

static void journal_io(struct rig *g, enum disk_op op)
{
	bool done = false;
	struct disk_req io = {.op = op, .len = sizeof(journal), .iov = {{journal, sizeof(journal)}}, .iovs = 1,
	                      .done = on_io, .owner = &done};

	CHECK(g->disk->ops->open_file(g->disk, "journal", sizeof(journal), &io.file) == 0);
	disk_submit(g->disk, &io);
	rig_wait(g, &done);
	CHECK(io.result == 0);
	if (op == DISK_WRITE) {
		io.op = DISK_SYNC;
		done = false;
		disk_submit(g->disk, &io);
		rig_wait(g, &done);
	}
	g->disk->ops->close_file(io.file);
}

/* Small and large writes, a hole, a file record, a delete: every kind of change. */
static void make_journal(struct rig *g)
{
	static uint8_t data[1 << 16];
	struct store_file sealed = {.seal = 2, .closed = 1, .map = 1, .complete = true, .exceptions = 2,
	                            .exception = (uint64_t[]){1, 7}};
	struct store_req file = {.op = STORE_FILE, .file = 2, .record = &sealed};
	struct store_req gone = {.op = STORE_DELETE, .file = 3};

	memset(data, 7, sizeof(data));
	CHECK(rig_open(g) == 0);
	for (uint64_t n = 1; n < 6; n++)
		CHECK(rig_write_sync(g, n % 3 + 1, n / 3, (uint32_t)n * 1000, data, 5000, n) == 0);
	CHECK(rig_write_sync(g, 1, 4, 0, data, sizeof(data), 7) == 0);
	CHECK(rig_write_sync(g, 1, 0, 4096, NULL, 8192, 8) == 0);
	CHECK(rig_do(g, &file) == 0);
	CHECK(rig_do(g, &gone) == 0);
	rig_close(g);
	journal_io(g, DISK_READ);
}

static void find_records(struct rig *g)
{
	struct superblock sb;

	CHECK(format_get_super(g->kv, &sb) == 0);
	records = 0;
	for (uint64_t off = JOURNAL_FIRST; off < sizeof(journal) && records < RECORDS_MAX; off += PAGE_BYTES)
		records += record_get_head(journal + off, off, sb.salt, &record[records]);
	CHECK(records > 5);
}

static void edit(const uint8_t *e)
{
	struct record *r = &record[e[0] % records];
	uint16_t where = get_u16le(e + 2), value = get_u16le(e + 4);
	uint64_t bytes = r->head_bytes + r->data_pages * PAGE_BYTES;

	switch (e[1] % 8) {
	case 0:
		r->seq += value;
		break;
	case 1:
		r->ops_n = value;
		break;
	case 2:
		r->last_n = value;
		break;
	case 3:
		r->body_bytes = MIN(value, r->head_bytes - RECORD_HEAD_BYTES);
		break;
	case 4: /* not sealed: rot */
		journal[r->off + where % bytes] ^= (uint8_t)(value | 1);
		return;
	default: /* senseless, but well sealed */
		where = (uint16_t)(where % (r->head_bytes - RECORD_HEAD_BYTES));
		journal[r->off + RECORD_HEAD_BYTES + where] = (uint8_t)value;
	}
	record_seal(journal + r->off, r);
}

/* Everything it says it has can be asked for; it takes what is new. */
static void serve(struct rig *g)
{
	static uint8_t to[BLOCK_PAGES_MAX * PAGE_BYTES];
	file_id_t file = 0;

	for (unsigned n = 0; n < 100 && (file = store_next_file(g->store, file)) != 0; n++) {
		uint64_t block = 0;
		struct store_block b;

		for (unsigned k = 0; k < 100 && store_next_block(g->store, file, block, &block, &b); k++) {
			(void)rig_read(g, file, block, 0, to, 1 << 16, &b);
			if (block++ == BLOCK_ATTR)
				break;
		}
	}
	(void)rig_write_sync(g, 9, 0, 0, to, 100, 1);
	(void)rig_checkpoint(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct store_config config = {.journal_bytes = JOURNAL_BYTES};
	struct rig g;
	int rc;

	rig_init(&g, 1, DISK_BYTES, &config);
	make_journal(&g);
	find_records(&g);
	for (size_t at = 0; at + EDIT_BYTES <= size && at < (size_t)16 * EDIT_BYTES; at += EDIT_BYTES)
		edit(data + at);
	journal_io(&g, DISK_WRITE);
	rc = rig_open(&g);
	CHECK(rc == 0 || store_why(g.store)[0] != '\0');
	if (rc == 0) {
		serve(&g);
		rc = rig_crash(&g);
		CHECK(rc == 0 || store_why(g.store)[0] != '\0');
	}
	rig_fini(&g);
	return 0;
}
