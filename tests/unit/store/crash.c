/* The model: for each block the list of changes submitted since the last restart, on top of the
 * content then. After a power cut the block must be at the state behind one of them: not older than
 * the last one acknowledged, and exactly that state in every byte (P1, P4). */
#include "tests/unit/store/crash.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/random.h"
#include "common/base/trace.h"
#include "core-server/store/state.h"
#include "tests/unit/store/rig.h"

#define FILES 3
#define BLOCKS 4
#define BLOCK_BYTES_MAX (1u << 19)
#define CHANGES_MAX 512
#define LEAVES (BLOCK_BYTES_MAX / PAGE_BYTES / LEAF_PAGES)

struct change_made {
	enum store_op op;
	uint32_t off, len;
	bool zero;
	uint64_t seed;
	uint64_t n;
	uint8_t set[16], zeroed[16]; /* INSTALL */
	bool acked, failed;
};

struct model_block {
	file_id_t file;
	uint64_t block;
	uint8_t shift;
	uint32_t bytes;
	uint8_t *base;             /* content at the last restart */
	uint64_t base_n;           /* 0: no record */
	struct change_made changes[CHANGES_MAX];
	unsigned n;
};

struct trial {
	const struct crash_options *o;
	struct rig g;
	struct random r;
	struct model_block blocks[FILES * BLOCKS];
	uint64_t seal_asked[FILES], seal_acked[FILES];
	uint64_t version;          /* of the file operations */
	unsigned inflight;
	uint64_t position;         /* of the journal, when last something was answered */
	bool over;                 /* rot was found and said: nothing more to learn */
	uint8_t *work, *got;
	char error[256];
};

struct request {
	struct trial *run;
	struct store_req req;
	struct store_file record;
	struct model_block *block; /* NULL: FILE, DELETE */
	unsigned first[BLOCKS];    /* index of the change; DELETE: in each block of the file */
	unsigned file;
	struct request *prev, *next;
};

static struct request *requests;

static void fail(struct trial *t, const char *what, const struct model_block *b, uint64_t x)
{
	if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "seed %" PRIu64 ": %s (file %" PRIu64 " block %" PRIu64
		         ", %" PRIu64 ") at %" PRIi64, t->o->seed, what, b ? b->file : 0, b ? b->block : 0, x,
		         t->g.now);
}

static uint32_t below(struct trial *t, uint32_t bound)
{
	return (uint32_t)random_below(&t->r, bound);
}

static void fill(uint8_t *p, uint32_t len, uint64_t seed)
{
	struct random r;

	random_seed(&r, seed);
	for (uint32_t i = 0; i < len; i += 8) {
		uint64_t v = random_u64(&r);

		memcpy(p + i, &v, MIN(8, len - i));
	}
}

/* --- what a change does to the content --- */
static void play(struct model_block *b, const struct change_made *c, uint8_t *to)
{
	unsigned k = 0;
	uint8_t page[PAGE_BYTES];

	switch (c->op) {
	case STORE_WRITE:
		if (c->zero)
			memset(to + c->off, 0, c->len);
		else
			fill(to + c->off, c->len, c->seed);
		break;
	case STORE_INSTALL:
		for (uint32_t p = 0; p < b->bytes / PAGE_BYTES; p++) {
			if (c->set[p / 8] >> (p % 8) & 1) {
				fill(page, PAGE_BYTES, c->seed + k++);
				memcpy(to + (size_t)p * PAGE_BYTES, page, PAGE_BYTES);
			} else if (c->zeroed[p / 8] >> (p % 8) & 1) {
				memset(to + (size_t)p * PAGE_BYTES, 0, PAGE_BYTES);
			}
		}
		break;
	case STORE_DELETE:
		memset(to, 0, b->bytes);
		break;
	case STORE_FILE:
		break;
	}
}

static struct change_made *add_change(struct trial *t, struct model_block *b, enum store_op op)
{
	struct change_made *c = &b->changes[b->n++];

	CHECK(b->n <= CHANGES_MAX);
	*c = (struct change_made){.op = op, .seed = random_u64(&t->r)};
	c->n = op == STORE_DELETE ? 0 : ++t->version;
	return c;
}

/* --- requests --- */
static void on_answer(struct store_req *req)
{
	struct request *q = container_of(req, struct request, req);
	struct trial *t = q->run;
	int rc = req->result;

	t->inflight--;
	if (!rc)
		t->position = store_journal_position(t->g.store);
	TRACE("test.answer op file block n", req->op, req->file, req->block, req->version.n);
	if (q->block) {
		struct change_made *c = &q->block->changes[q->first[0]];

		c->acked = rc == 0;
		c->failed = rc == -ENOSPC || rc == -ECANCELED;
		if (rc && !c->failed && !t->o->sync_fails)
			fail(t, "a write failed", q->block, (uint64_t)-rc);
	} else if (!rc && req->op == STORE_FILE) {
		t->seal_acked[q->file] = MAX(t->seal_acked[q->file], q->record.seal);
	} else if (!rc) {
		for (unsigned i = 0; i < BLOCKS; i++)
			t->blocks[q->file * BLOCKS + i].changes[q->first[i]].acked = true;
	}
	iobuf_put(req->data.buf);
	DL_DELETE(requests, q);
	mem_free(q);
}

static void submit(struct trial *t, struct request *q)
{
	q->run = t;
	q->req.done = on_answer;
	t->inflight++;
	DL_APPEND(requests, q);
	TRACE("test.submit op file block n", q->req.op, q->req.file, q->req.block, q->req.version.n);
	TRACE("test.submit off len zero", q->req.off, q->req.len, q->req.zero, 0);
	store_submit(t->g.store, &q->req);
}

static struct request *block_request(struct trial *t, struct model_block *b, enum store_op op)
{
	struct request *q = mem_new(sizeof(*q));
	struct change_made *c = add_change(t, b, op);

	q->block = b;
	q->first[0] = b->n - 1;
	q->req = (struct store_req){.op = op,
	                            .file = b->file,
	                            .block = b->block,
	                            .block_shift = b->shift,
	                            .version = {1, c->n},
	                            .seal = 1,
	                            .map = 1};
	return q;
}

static void do_write(struct trial *t, struct model_block *b)
{
	struct request *q = block_request(t, b, STORE_WRITE);
	struct change_made *c = &b->changes[q->first[0]];
	uint32_t pages = b->bytes / PAGE_BYTES;

	switch (random_below(&t->r, 5)) {
	case 0: /* some bytes */
		c->off = below(t, b->bytes - 1);
		c->len = 1 + below(t, MIN(b->bytes - c->off, 9000u));
		break;
	case 1: /* large */
		c->len = 16384 + PAGE_BYTES * below(t, 20);
		c->len = MIN(b->bytes, c->len);
		c->off = 4096 * below(t, (b->bytes - c->len) / 4096 + 1);
		break;
	case 2: /* large, with ragged ends */
		c->off = below(t, b->bytes / 2);
		c->len = b->bytes - c->off - below(t, b->bytes / 4);
		break;
	default: /* a page or a few */
		c->off = PAGE_BYTES * below(t, pages);
		c->len = PAGE_BYTES * (1 + below(t, 3));
		c->len = MIN(b->bytes - c->off, c->len);
		break;
	}
	if (b->block == BLOCK_ATTR) {
		c->off = 0;
		c->len = PAGE_BYTES;
	}
	c->zero = random_below(&t->r, 5) == 0;
	q->req.zero = c->zero;
	q->req.off = c->off;
	q->req.len = c->len;
	if (!c->zero) {
		q->req.data = (struct slice){iobuf_new_reserve(c->len), 0, c->len};
		fill(q->req.data.buf->data, c->len, c->seed);
	}
	submit(t, q);
}

static void do_install(struct trial *t, struct model_block *b)
{
	struct request *q = block_request(t, b, STORE_INSTALL);
	struct change_made *c = &b->changes[q->first[0]];
	uint32_t n = 0, pages = b->bytes / PAGE_BYTES;
	uint64_t kind = random_below(&t->r, 3);
	uint64_t *sums = mem_new_array(pages, 8);
	struct store_req *r = &q->req;

	r->data.buf = iobuf_new_reserve(b->bytes);
	for (uint32_t p = 0; p < pages; p++) {
		uint64_t what = kind == 2 ? 0 : random_below(&t->r, 4);

		if (what == 0) {
			c->set[p / 8] |= (uint8_t)(1u << (p % 8));
			fill(r->data.buf->data + (size_t)n * PAGE_BYTES, PAGE_BYTES, c->seed + n);
			sums[n] = page_sum(b->file, b->block, p, r->data.buf->data + (size_t)n * PAGE_BYTES);
			n++;
		} else if (what == 1) {
			c->zeroed[p / 8] |= (uint8_t)(1u << (p % 8));
		}
	}
	r->data.len = n * PAGE_BYTES;
	r->sums = (const uint8_t *)sums;
	r->set = (struct span){c->set, DIV_UP(pages, 8)};
	r->zeroed = (struct span){c->zeroed, DIV_UP(pages, 8)};
	r->closed = 1;
	submit(t, q);
	mem_free(sums);
}

static void do_file(struct trial *t, unsigned file)
{
	struct request *q = mem_new(sizeof(*q));
	uint64_t exceptions[200];

	q->file = file;
	t->seal_asked[file]++;
	q->record = (struct store_file){.seal = t->seal_asked[file] + 1, .complete = true};
	q->record.exceptions = (unsigned)random_below(&t->r, ARRAY_LEN(exceptions));
	q->record.exception = exceptions;
	for (unsigned i = 0; i < q->record.exceptions; i++)
		exceptions[i] = 1000 + i;
	q->req = (struct store_req){.op = STORE_FILE, .file = 1 + file, .record = &q->record};
	submit(t, q);
}

static void do_delete(struct trial *t, unsigned file)
{
	struct request *q = mem_new(sizeof(*q));

	q->file = file;
	for (unsigned i = 0; i < BLOCKS; i++) {
		struct model_block *b = &t->blocks[file * BLOCKS + i];

		add_change(t, b, STORE_DELETE);
		q->first[i] = b->n - 1;
	}
	q->req = (struct store_req){.op = STORE_DELETE, .file = 1 + file};
	t->seal_asked[file] = t->seal_acked[file] = 0;
	submit(t, q);
}

static void on_checkpoint(void *ctx, int rc)
{
	(void)ctx;
	(void)rc;
}

static void step(struct trial *t)
{
	struct model_block *b = &t->blocks[random_below(&t->r, FILES * BLOCKS)];
	unsigned file = (unsigned)random_below(&t->r, FILES);

	if (b->n + BLOCKS >= CHANGES_MAX)
		return;
	switch (random_below(&t->r, 40)) {
	case 0:
		if (!t->inflight) /* so that seals are easy to follow */
			do_delete(t, file);
		break;
	case 1:
	case 2:
		do_file(t, file);
		break;
	case 3:
		store_checkpoint(t->g.store, on_checkpoint, t);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		do_install(t, b);
		break;
	default:
		do_write(t, b);
		break;
	}
}

/* --- checks --- */

/* Does `now` (content and version) equal the state behind change i (-1: the base)? */
static bool verify_block(struct trial *t, struct model_block *b)
{
	struct store_block at;
	int must = -1, found = -2, rc;

	for (unsigned i = 0; i < b->n; i++)
		if (b->changes[i].acked)
			must = (int)i;
	rc = rig_read_block(&t->g, b->file, b->block, b->shift, b->bytes, t->got, &at);
	if (rc == ERR_CORRUPT && t->o->rot) {
		t->over = true;
		return false;
	}
	if (rc) {
		fail(t, "a block cannot be read", b, (uint64_t)-rc);
		return false;
	}
	memcpy(t->work, b->base, b->bytes);
	for (int i = -1; i < (int)b->n; i++) {
		uint64_t n;

		if (i >= 0 && b->changes[i].failed)
			continue;
		if (i >= 0)
			play(b, &b->changes[i], t->work);
		n = i >= 0 ? b->changes[i].n : b->base_n;
		if (i >= must && n == at.version.n && memcmp(t->work, t->got, b->bytes) == 0)
			found = i;
		else if (i >= must && n == at.version.n && n)
			fail(t, "content is not that of its version", b, n);
	}
	if (found == -2) {
		fail(t, "an acknowledged change is gone, or the version was never sent", b, at.version.n);
		return false;
	}
	if (at.damaged)
		fail(t, "damage where there was none", b, 0);
	memcpy(b->base, t->got, b->bytes);
	b->base_n = at.version.n;
	b->n = 0;
	return true;
}

static void verify_listing_of(struct trial *t, unsigned f)
{
	struct model_block *b = &t->blocks[f * BLOCKS];
	uint64_t from = 0, block;
	struct store_block at;
	unsigned i = 0;

	while (i <= BLOCKS && store_next_block(t->g.store, 1 + f, from, &block, &at)) {
		for (; i < BLOCKS && b[i].block != block; i++)
			if (b[i].base_n)
				fail(t, "a block is missing from the list", &b[i], 0);
		if (i == BLOCKS || b[i].base_n != at.version.n)
			fail(t, "the list has a wrong block", NULL, block);
		i++;
		from = block + 1;
		if (block == BLOCK_ATTR)
			break;
	}
	for (; i < BLOCKS; i++)
		if (b[i].base_n)
			fail(t, "a block is missing from the list", &b[i], 1);
}

static void count_page(struct trial *t, const struct model_block *b, uint32_t loc, uint64_t *seen)
{
	if (seen[loc / 64] >> (loc % 64) & 1)
		fail(t, "a page of the data file is used twice", b, loc);
	seen[loc / 64] |= 1ull << (loc % 64);
	if (!space_committed(t->g.store, loc))
		fail(t, "the allocator does not know a page", b, loc);
}

/* How many pages the block's tables in the kv refer to. */
static uint32_t count_pages(struct trial *t, const struct model_block *b, uint64_t *seen)
{
	struct block_key key = {b->file, b->block};
	uint32_t pages = 0;

	for (unsigned n = 0; n < LEAVES; n++) {
		struct leaf l = {0};

		memset(l.loc, 0xff, sizeof(l.loc));
		if (format_get_leaf(t->g.kv, &key, n, &l) < 0)
			continue;
		for (unsigned p = 0; p < LEAF_PAGES; p++) {
			if (!(l.present >> p & 1))
				continue;
			pages++;
			count_page(t, b, l.loc[p], seen);
		}
	}
	return pages;
}

/* The kv after a checkpoint: every page is referred to once, the allocator knows exactly those, and
 * a block's record counts them. */
static void verify_index(struct trial *t)
{
	struct store *s = t->g.store;
	uint64_t *seen = mem_new_array(s->space.pages / 64 + 1, 8);
	uint64_t committed = 0, referred = 0;

	for (unsigned i = 0; i < FILES * BLOCKS; i++) {
		const struct model_block *b = &t->blocks[i];
		struct blk rec = {.key = {b->file, b->block}};
		uint32_t pages = count_pages(t, b, seen);

		referred += pages;
		if (format_get_blk(t->g.kv, &rec) == 0 ? rec.pages != pages : pages != 0)
			fail(t, "a block record counts its pages wrongly", b, rec.pages);
	}
	for (uint64_t i = 0; i < s->space.pages; i++)
		committed += space_committed(s, (uint32_t)i);
	if (committed != referred)
		fail(t, "pages of the data file are lost", NULL, committed - referred);
	mem_free(seen);
}

static void verify(struct trial *t)
{
	if (t->o->rot && store_journal_position(t->g.store) < t->position) {
		t->over = true; /* it says that it lost something: the catalog calls it blank */
		return;
	}
	t->position = store_journal_position(t->g.store);
	for (unsigned f = 0; f < FILES; f++) {
		struct store_file rec;

		if (store_get_file(t->g.store, 1 + f, &rec) ? rec.seal < t->seal_acked[f]
		                                            : t->seal_acked[f] != 0)
			fail(t, "an acknowledged seal is gone", NULL, f);
	}
	for (unsigned i = 0; i < FILES * BLOCKS && !t->error[0] && !t->over; i++)
		verify_block(t, &t->blocks[i]);
	if (t->over)
		return;
	if (!t->error[0])
		for (unsigned f = 0; f < FILES; f++)
			verify_listing_of(t, f);
	if (store_damaged(t->g.store) && !t->o->rot)
		fail(t, "replay found damage where only power was cut", NULL, 0);
}

/* --- rounds --- */
static void on_crash(void *ctx)
{
	struct trial *t = ctx;

	t->g.stopped = true;
	TRACE("test.crash ops", sim_disk_ops(t->g.disk), 0, 0, 0);
	sim_disk_crash(t->g.disk);
}

static void forget_requests(struct trial *t)
{
	while (requests) {
		struct request *q = requests;

		DL_DELETE(requests, q);
		iobuf_put(q->req.data.buf);
		mem_free(q);
	}
	t->inflight = 0;
}

static void restart(struct trial *t)
{
	int rc;

	for (unsigned tries = 0;; tries++) {
		if (t->g.store)
			rig_close(&t->g);
		forget_requests(t);
		sim_kv_crash(&t->g.index);
		t->g.stopped = false;
		if (tries < 3 && random_below(&t->r, 4) == 0) /* a power cut while it opens */
			sim_disk_crash_at(t->g.disk, 1 + random_below(&t->r, 8), on_crash, t);
		rc = rig_open(&t->g);
		if (!t->g.stopped)
			break;
	}
	sim_disk_crash_at(t->g.disk, 0, NULL, NULL);
	if (rc == ERR_CORRUPT && t->o->rot) {
		t->over = true;
	} else if (rc) {
		snprintf(t->error, sizeof(t->error), "seed %" PRIu64 ": it does not open: %s", t->o->seed,
		         store_why(t->g.store));
	}
}

static void round_of(struct trial *t)
{
	unsigned depth = 1 + (unsigned)random_below(&t->r, 12);
	unsigned steps = 10 + (unsigned)random_below(&t->r, 120);

	if (random_below(&t->r, 8))
		sim_disk_crash_at(t->g.disk, 1 + random_below(&t->r, steps * 2), on_crash, t);
	if (t->o->sync_fails && random_below(&t->r, 2))
		sim_disk_fail_next_sync(t->g.disk);
	for (unsigned i = 0; i < steps && !t->g.stopped && !t->error[0]; i++) {
		if (t->inflight < depth)
			step(t);
		for (uint64_t n = random_below(&t->r, 12); n && rig_step(&t->g); n--)
			;
		if (!t->g.stopped && random_below(&t->r, 20) == 0)
			rig_sleep(&t->g, (nsec_t)random_below(&t->r, 100) * NSEC_MSEC);
	}
	if (t->g.stopped || t->error[0])
		return;
	if (random_below(&t->r, 2)) { /* quiet: all is answered, nothing may be lost */
		rig_run(&t->g);
		if (!t->g.stopped && t->inflight)
			fail(t, "requests are never answered", NULL, t->inflight);
	}
	if (!t->g.stopped)
		on_crash(t);
}

static void setup(struct trial *t)
{
	struct store_config c = {
		.journal_bytes = 256 << 10,
		.cache_bytes = 256 << 10,
		.index_bytes = 4096,
		.large_bytes = 16384,
		.bugs = t->o->bugs,
	};
	struct sim_disk_faults f = {.jitter_percent = 100};
	static const uint8_t shifts[FILES] = {16, 17, 19};

	random_seed(&t->r, t->o->seed);
	f.tear_bytes = random_below(&t->r, 2) ? 512 : 4096;
	rig_init(&t->g, random_u64(&t->r), t->o->full_disk ? 1500 << 10 : 64 << 20, &c);
	sim_disk_set_faults(t->g.disk, &f);
	t->work = mem_new(BLOCK_BYTES_MAX);
	t->got = mem_new(BLOCK_BYTES_MAX);
	for (unsigned i = 0; i < FILES * BLOCKS; i++) {
		struct model_block *b = &t->blocks[i];

		b->file = 1 + i / BLOCKS;
		b->block = i % BLOCKS == BLOCKS - 1 ? BLOCK_ATTR : i % BLOCKS * 3;
		b->shift = shifts[i / BLOCKS];
		b->bytes = b->block == BLOCK_ATTR ? PAGE_BYTES : 1u << b->shift;
		b->base = mem_new(b->bytes);
	}
}

const char *crash_run(const struct crash_options *o)
{
	static char error[256];
	struct trial *t = mem_new(sizeof(*t));

	t->o = o;
	trace_clear();
	setup(t);
	restart(t);
	for (unsigned i = 0; i < o->rounds && !t->error[0] && !t->over; i++) {
		round_of(t);
		if (t->error[0])
			break;
		if (o->rot)
			sim_disk_rot(t->g.disk, random_below(&t->r, 2) ? "journal" : "data", 1);
		restart(t);
		if (!t->error[0] && !t->over)
			verify(t);
		if (!t->error[0] && !t->over && random_below(&t->r, 3) == 0 && rig_checkpoint(&t->g) == 0)
			verify_index(t);
	}
	memcpy(error, t->error, sizeof(error));
	rig_fini(&t->g);
	forget_requests(t);
	for (unsigned i = 0; i < FILES * BLOCKS; i++)
		mem_free(t->blocks[i].base);
	mem_free(t->work);
	mem_free(t->got);
	mem_free(t);
	return error[0] ? error : NULL;
}
