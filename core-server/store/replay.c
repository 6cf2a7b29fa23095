/* Opening: check that the pieces belong together, redo the journal, count the start.
 *
 * Two header blocks begin the journal file, written one after the other with a sync between:
 *
 *   u64 magic | u32 version | u32 server | u64 cluster | u64 salt | u64 start | u64 journal bytes
 *   u64 XXH3 of the fields before
 *
 * Replay walks the records behind the checkpointed position. A record is applied when the one behind
 * it is known to be valid; the last one first has all its pages verified, also those of large data:
 * if one fails it is a torn tail and was never answered. Where no record with the next number
 * follows, the whole journal is searched for a later one: found, there is damage between, and the
 * later one's footprints name what is lost. Two lost in a row cannot be named: refused. */
#include "core-server/store/state.h"

#include <xxhash.h>

#include "common/base/bytes.h"
#include "common/base/trace.h"
#include "common/wire/msg.h"

#define JOURNAL_MAGIC 0x6c6e726a64636364ull /* "dccdjrnl" */
#define JOURNAL_VERSION 1
#define HEADER_BYTES 48
#define WINDOW_BYTES ((uint64_t)1 << 20)

struct replay {
	struct store *store;
	void (*done)(void *ctx, int rc);
	void *ctx;
	struct superblock sb;
	struct disk_req io;
	struct later later;
	int rc;
	void (*next)(struct replay *r);

	struct iobuf *window;
	uint64_t win_off, win_len;
	bool win_data;             /* holds pages of the data file */

	uint64_t at;               /* where the next record is expected */
	struct record head;        /* the one under inspection */
	uint64_t found_seq, found_off; /* search for later ones */
	uint64_t scan;

	struct record last;        /* good so far, not applied */
	struct jbuf *buf;          /* its data pages */
	struct change *changes;
	unsigned changes_n;
	unsigned check_change, check_run, check_page, check_sum; /* verification of its large data */
	unsigned step;
};

static void finish(struct replay *r, int rc);

/* --- reading through a window --- */
static void on_window(struct disk_req *io)
{
	struct store *s = io->owner;
	struct replay *r = s->replay;

	if (io->result < 0) {
		store_fail(s, io->result, "reading %" PRIu64 " bytes at %" PRIu64 " of the %s file failed: "
		           "%s", io->len, io->off, r->win_data ? "data" : "journal", err_text(io->result));
		finish(r, io->result);
		return;
	}
	r->next(r);
}

static void read_window(struct replay *r, struct disk_file *f, uint64_t off, uint64_t len,
                        void (*next)(struct replay *r))
{
	if (r->window && r->window->size < len) {
		iobuf_put(r->window);
		r->window = NULL;
	}
	if (!r->window)
		r->window = iobuf_new_reserve((uint32_t)MAX(len, WINDOW_BYTES));
	r->win_off = off;
	r->win_len = len;
	r->win_data = f == r->store->data;
	r->next = next;
	store_io(r->store, &r->io, DISK_READ, f, off, r->window->data, len, on_window);
}

/* True if [off, off+len) of the journal is in the window; else reads it and calls next later. */
static bool have(struct replay *r, uint64_t off, uint64_t len, void (*next)(struct replay *r))
{
	struct store *s = r->store;

	if (!r->win_data && r->window && off >= r->win_off && off + len <= r->win_off + r->win_len)
		return true;
	read_window(r, s->journal.file, off, MIN(MAX(len, WINDOW_BYTES), s->journal.bytes - off), next);
	return false;
}

static uint8_t *at(struct replay *r, uint64_t off)
{
	return r->window->data + (off - r->win_off);
}

/* --- the record that waits --- */
static void drop_last(struct replay *r)
{
	for (unsigned i = 0; i < r->changes_n; i++)
		change_fini(&r->changes[i]);
	mem_free(r->changes);
	if (r->buf)
		jbuf_put(r->buf);
	r->changes = NULL;
	r->changes_n = 0;
	r->buf = NULL;
	r->last.seq = 0;
}

static struct footprint footprint_of(const struct change *c)
{
	return (struct footprint){c->op, c->file, c->block, c->seal};
}

/* Sums of the pages that are in the journal itself. */
static bool pages_good(const struct change *c, const uint8_t *pages)
{
	unsigned k = 0;

	for (unsigned i = 0; i < c->runs_n; i++) {
		for (uint32_t n = 0; c->runs[i].kind != RUN_ZERO && n < c->runs[i].pages; n++, k++) {
			if (c->runs[i].kind != RUN_JOURNAL)
				continue;
			if (page_sum(c->file, c->block, c->runs[i].first + n, pages) != c->sums[k])
				return false;
			pages += PAGE_BYTES;
		}
	}
	return true;
}

static unsigned journal_pages(const struct change *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->runs_n; i++)
		n += c->runs[i].kind == RUN_JOURNAL ? c->runs[i].pages : 0;
	return n;
}

static void apply_last(struct replay *r)
{
	struct store *s = r->store;
	struct journal *j = &s->journal;
	uint8_t *pages = r->buf ? r->buf->mem : NULL;

	if (!r->last.seq)
		return;
	j->last = mem_resize(j->last, MAX(r->changes_n, 1), sizeof(*j->last));
	j->last_n = r->changes_n;
	for (unsigned i = 0; i < r->changes_n; i++) {
		const struct change *c = &r->changes[i];

		j->last[i] = footprint_of(c);
		if (pages_good(c, pages))
			apply_change(s, c, r->buf, pages);
		else
			apply_damage(s, &j->last[i]);
		pages += (size_t)journal_pages(c) * PAGE_BYTES;
	}
	j->seq = r->last.seq;
	j->head = r->last.off + r->last.head_bytes + r->last.data_pages * PAGE_BYTES;
	drop_last(r);
	index_trim(s);
}

/* Takes the record at r->head, all of it in the window, as the last one. False: it is not good. */
static bool take_record(struct replay *r, struct footprint **lost, unsigned *lost_n)
{
	const uint8_t *page = at(r, r->head.off);
	struct cursor c = {.p = page + RECORD_HEAD_BYTES, .left = r->head.body_bytes};
	struct change *changes;
	uint64_t pages = 0;
	bool good;

	if (!record_body_good(page, &r->head) || r->head.ops_n > BATCH_OPS_MAX ||
	    r->head.last_n > BATCH_OPS_MAX)
		return false;
	*lost = mem_new_array(r->head.last_n + 1, sizeof(**lost));
	*lost_n = r->head.last_n;
	changes = mem_new_array(r->head.ops_n + 1, sizeof(*changes));
	good = true;
	for (unsigned i = 0; i < r->head.last_n && good; i++)
		good = record_take_footprint(&c, &(*lost)[i]);
	for (unsigned i = 0; i < r->head.ops_n && good; i++) {
		good = record_take_change(&c, &changes[i]);
		pages += journal_pages(&changes[i]);
	}
	good = good && cursor_done(&c) && pages == r->head.data_pages;
	if (!good) {
		for (unsigned i = 0; i < r->head.ops_n; i++)
			change_fini(&changes[i]);
		mem_free(changes);
		return false;
	}
	apply_last(r);
	r->last = r->head;
	r->changes = changes;
	r->changes_n = r->head.ops_n;
	if (pages) {
		r->buf = jbuf_new(r->store, pages * PAGE_BYTES);
		memcpy(r->buf->mem, page + r->head.head_bytes, pages * PAGE_BYTES);
	}
	return true;
}

/* --- walking --- */
static void walk(struct replay *r);
static void walk_wrapped(struct replay *r);
static void search(struct replay *r);
static void verify_last(struct replay *r);

static uint64_t expected(const struct replay *r)
{
	return (r->last.seq ? r->last.seq : r->store->journal.seq) + 1;
}

static bool head_fits(struct replay *r, uint64_t off)
{
	struct store *s = r->store;
	uint64_t bytes;

	if (!record_get_head(at(r, off), off, s->journal.salt, &r->head))
		return false;
	bytes = r->head.head_bytes + r->head.data_pages * PAGE_BYTES;
	return bytes <= s->journal.bytes - off;
}

static void begin_search(struct replay *r)
{
	r->found_seq = 0;
	r->scan = JOURNAL_FIRST;
	r->win_len = 0;
	search(r);
}

static void body(struct replay *r)
{
	uint64_t bytes = r->head.head_bytes + r->head.data_pages * PAGE_BYTES;
	struct footprint *lost = NULL;
	unsigned lost_n;
	bool good;

	if (!have(r, r->head.off, bytes, body))
		return;
	good = take_record(r, &lost, &lost_n);
	mem_free(lost);
	if (!good) {
		begin_search(r);
		return;
	}
	r->at = r->last.off + bytes;
	r->next = walk;
	store_later(r->store, &r->later); /* not deeper and deeper */
}

static void walk(struct replay *r)
{
	if (r->at + PAGE_BYTES > r->store->journal.bytes)
		r->at = JOURNAL_FIRST;
	if (!have(r, r->at, PAGE_BYTES, walk))
		return;
	if (head_fits(r, r->at) && r->head.seq == expected(r))
		body(r);
	else if (r->at != JOURNAL_FIRST)
		walk_wrapped(r);
	else
		begin_search(r);
}

static void walk_wrapped(struct replay *r)
{
	if (!have(r, JOURNAL_FIRST, PAGE_BYTES, walk_wrapped))
		return;
	if (head_fits(r, JOURNAL_FIRST) && r->head.seq == expected(r))
		body(r);
	else
		begin_search(r);
}

/* The record at found_off is the first good one behind damage. */
static void behind_damage(struct replay *r)
{
	struct store *s = r->store;
	uint64_t bytes = r->head.head_bytes + r->head.data_pages * PAGE_BYTES;
	struct footprint *lost = NULL;
	unsigned lost_n = 0;
	uint64_t want = expected(r);

	if (!have(r, r->head.off, bytes, behind_damage))
		return;
	if (r->found_seq != want + 1 || !take_record(r, &lost, &lost_n)) {
		mem_free(lost);
		store_fail(s, ERR_CORRUPT, "journal records %" PRIu64 " to %" PRIu64 " are damaged and what "
		           "they held cannot be named; format this store anew, other servers refill it",
		           want, r->found_seq);
		finish(r, ERR_CORRUPT);
		return;
	}
	for (unsigned i = 0; i < lost_n; i++)
		apply_damage(s, &lost[i]);
	mem_free(lost);
	r->at = r->last.off + bytes;
	r->next = walk;
	store_later(s, &r->later);
}

static void search(struct replay *r)
{
	struct store *s = r->store;
	uint64_t want = expected(r);
	struct record head;

	for (; r->scan + PAGE_BYTES <= s->journal.bytes; r->scan += PAGE_BYTES) {
		if (!have(r, r->scan, PAGE_BYTES, search))
			return;
		if (!record_get_head(at(r, r->scan), r->scan, s->journal.salt, &head) || head.seq <= want)
			continue;
		if (!r->found_seq || head.seq < r->found_seq) {
			r->found_seq = head.seq;
			r->found_off = r->scan;
			r->head = head;
		}
	}
	if (!r->found_seq || r->head.head_bytes + r->head.data_pages * PAGE_BYTES >
	                             s->journal.bytes - r->found_off)
		verify_last(r);
	else
		behind_damage(r);
}

/* --- the tail --- */
static void begin_start(struct replay *r);

static void end_walk(struct replay *r, bool good)
{
	if (good) {
		apply_last(r);
	} else {
		TRACE("store.torn seq", r->last.seq, 0, 0, 0);
		drop_last(r);
	}
	begin_start(r);
}

/* A later change of the same record replaced the page: then a checkpoint may have overwritten it. */
static bool replaced_later(const struct replay *r, unsigned change, uint32_t page)
{
	const struct change *c = &r->changes[change];

	for (unsigned i = change + 1; i < r->changes_n; i++) {
		const struct change *e = &r->changes[i];

		if (e->file != c->file)
			continue;
		if (e->op == STORE_DELETE)
			return true;
		for (unsigned n = 0; e->block == c->block && n < e->runs_n; n++)
			if (page >= e->runs[n].first && page < e->runs[n].first + (uint32_t)e->runs[n].pages)
				return true;
	}
	return false;
}

static bool large_pages_good(struct replay *r, uint32_t n)
{
	const struct change *c = &r->changes[r->check_change];

	for (uint32_t i = 0; i < n; i++) {
		uint32_t page = c->runs[r->check_run].first + r->check_page + i;
		const uint8_t *p = r->window->data + (size_t)i * PAGE_BYTES;

		if (page_sum(c->file, c->block, page, p) != c->sums[r->check_sum + i] &&
		    !replaced_later(r, r->check_change, page))
			return false;
	}
	return true;
}

/* Large data of the last record, a window at a time. */
static void check_large(struct replay *r)
{
	while (r->check_change < r->changes_n) {
		const struct change *c = &r->changes[r->check_change];
		const struct run *run = &c->runs[r->check_run];
		uint32_t n;

		if (r->check_run >= c->runs_n) {
			r->check_change++;
			r->check_run = r->check_page = r->check_sum = 0;
			continue;
		}
		if (run->kind != RUN_EXTENT || r->check_page >= run->pages) {
			r->check_sum += run->kind == RUN_JOURNAL ? run->pages : 0;
			r->check_run++;
			r->check_page = 0;
			continue;
		}
		n = MIN(run->pages - r->check_page, (uint32_t)(WINDOW_BYTES / PAGE_BYTES));
		if (!r->win_data || !r->win_len) {
			uint64_t off = ((uint64_t)run->loc + r->check_page) * PAGE_BYTES;

			if (off + n * PAGE_BYTES > r->store->disk->ops->size(r->store->data)) {
				end_walk(r, false);
				return;
			}
			read_window(r, r->store->data, off, n * PAGE_BYTES, check_large);
			return;
		}
		if (!large_pages_good(r, n)) {
			end_walk(r, false);
			return;
		}
		r->check_page += n;
		r->check_sum += n;
		r->win_len = 0;
	}
	end_walk(r, true);
}

static void verify_last(struct replay *r)
{
	const uint8_t *pages = r->buf ? r->buf->mem : NULL;

	for (unsigned i = 0; i < r->changes_n; i++) {
		if (!pages_good(&r->changes[i], pages)) {
			end_walk(r, false);
			return;
		}
		pages += (size_t)journal_pages(&r->changes[i]) * PAGE_BYTES;
	}
	r->win_len = 0;
	r->win_data = true;
	r->check_change = r->check_run = r->check_page = r->check_sum = 0;
	check_large(r);
}

/* --- header blocks and the start counter --- */
static void put_header(struct replay *r, uint8_t *page, uint64_t start)
{
	memset(page, 0, PAGE_BYTES);
	put_u64le(page, JOURNAL_MAGIC);
	put_u32le(page + 8, JOURNAL_VERSION);
	put_u32le(page + 12, r->sb.server);
	put_u64le(page + 16, r->sb.cluster);
	put_u64le(page + 24, r->sb.salt);
	put_u64le(page + 32, start);
	put_u64le(page + 40, r->sb.journal_bytes);
	put_u64le(page + HEADER_BYTES, XXH3_64bits(page, HEADER_BYTES));
}

static bool get_header(struct replay *r, const uint8_t *page, uint64_t *start)
{
	if (get_u64le(page) != JOURNAL_MAGIC || get_u32le(page + 8) != JOURNAL_VERSION ||
	    get_u64le(page + HEADER_BYTES) != XXH3_64bits(page, HEADER_BYTES) ||
	    get_u64le(page + 24) != r->sb.salt || get_u64le(page + 16) != r->sb.cluster ||
	    get_u32le(page + 12) != r->sb.server || get_u64le(page + 40) != r->sb.journal_bytes)
		return false;
	*start = MAX(*start, get_u64le(page + 32));
	return true;
}

static void serve(struct replay *r)
{
	struct store *s = r->store;
	int rc = kv_begin(s->kv);

	if (!rc) {
		r->sb.start++;
		rc = format_put_super(s->kv, &r->sb);
		if (rc < 0)
			kv_abort(s->kv);
		else
			rc = kv_commit(s->kv);
	}
	if (rc < 0) {
		store_fail(s, rc, "the start counter could not be written to the index: %s", err_text(rc));
		finish(r, rc);
		return;
	}
	s->start = r->sb.start;
	s->serving = true;
	s->journal.written = s->config.now(s->config.ctx);
	finish(r, 0);
}

/* The page where the next record may go, a zero page, then header block A, sync, header block B,
 * sync. A torn record could otherwise come to life: if the next one does not fit behind its
 * predecessor and goes to the start of the file, both carry the same number. */
static void write_step(struct replay *r, unsigned step);

static void on_step(struct disk_req *io)
{
	struct store *s = io->owner;
	struct replay *r = s->replay;

	if (io->result < 0) {
		store_fail(s, io->result, "writing the journal's header failed: %s", err_text(io->result));
		finish(r, io->result);
		return;
	}
	write_step(r, ++r->step);
}

static void write_step(struct replay *r, unsigned step)
{
	struct store *s = r->store;
	struct disk_file *f = s->journal.file;
	uint8_t *page = r->window->data;

	r->step = step;
	switch (step) {
	case 0:
		memset(page, 0, PAGE_BYTES);
		store_io(s, &r->io, s->journal.head + PAGE_BYTES <= s->journal.bytes ? DISK_WRITE : DISK_NOP,
		         f, s->journal.head, page, PAGE_BYTES, on_step);
		break;
	case 1:
		put_header(r, page, r->sb.start + 1);
		store_io(s, &r->io, DISK_WRITE, f, 0, page, PAGE_BYTES, on_step);
		break;
	case 3:
		store_io(s, &r->io, DISK_WRITE, f, PAGE_BYTES, page, PAGE_BYTES, on_step);
		break;
	case 2:
	case 4:
		store_io(s, &r->io, DISK_SYNC, f, 0, NULL, 0, on_step);
		break;
	default:
		serve(r);
	}
}

static void begin_start(struct replay *r)
{
	struct store *s = r->store;
	struct journal *j = &s->journal;

	j->tail = r->sb.head;
	j->used = j->head >= j->tail ? j->head - j->tail
	                             : j->bytes - j->tail + j->head - JOURNAL_FIRST;
	j->sealed = j->last_n == 0;
	space_rebuild(s);
	write_step(r, 0);
}

/* --- first open: the journal is written once, so that later syncs carry no metadata --- */
static void on_zeroed(struct disk_req *io)
{
	struct store *s = io->owner;
	struct replay *r = s->replay;
	uint64_t n = MIN(s->journal.bytes - r->scan, WINDOW_BYTES);

	if (io->result < 0) {
		store_fail(s, io->result, "writing the new journal failed: %s", err_text(io->result));
		finish(r, io->result);
	} else if (n) {
		r->scan += n;
		store_io(s, &r->io, DISK_WRITE, s->journal.file, r->scan - n, r->window->data, n, on_zeroed);
	} else {
		begin_start(r);
	}
}

static void check_headers(struct replay *r)
{
	struct store *s = r->store;
	uint64_t start = 0;
	bool a = get_header(r, r->window->data, &start);
	bool b = get_header(r, r->window->data + PAGE_BYTES, &start);

	if (!a && !b) {
		store_fail(s, ERR_CORRUPT, "the journal file does not belong to this index: another store's, "
		           "or deleted and made anew; restore it or format this store anew");
	} else if (start < r->sb.start || start > r->sb.start + 1) {
		store_fail(s, ERR_CORRUPT, "journal (start %" PRIu64 ") and index (start %" PRIu64 ") are of "
		           "different times: one was restored from a backup; format this store anew",
		           start, r->sb.start);
	} else {
		r->at = r->sb.head;
		r->win_len = 0;
		walk(r);
		return;
	}
	finish(r, ERR_CORRUPT);
}

static int open_files(struct replay *r)
{
	struct store *s = r->store;
	int rc = s->disk->ops->open_file(s->disk, "journal", r->sb.journal_bytes, &s->journal.file);

	if (rc < 0) {
		store_fail(s, rc, "the journal file cannot be opened: %s", err_text(rc));
		return rc;
	}
	rc = s->disk->ops->open_file(s->disk, "data", 0, &s->data);
	if (rc < 0) {
		store_fail(s, rc, "the data file cannot be opened: %s", err_text(rc));
		return rc;
	}
	if (s->disk->ops->size(s->data) < r->sb.data_bytes) {
		store_fail(s, ERR_CORRUPT, "the data file has %" PRIu64 " bytes and should have %" PRIu64
		           ": it was cut or replaced; format this store anew", s->disk->ops->size(s->data),
		           r->sb.data_bytes);
		return ERR_CORRUPT;
	}
	return 0;
}

static int check_super(struct replay *r)
{
	struct store *s = r->store;
	int rc = format_get_super(s->kv, &r->sb);

	if (rc == -ENOENT)
		store_fail(s, rc, "there is no store here; format one first");
	else if (rc == ERR_VERSION)
		store_fail(s, rc, "the store's format is of another version of this program");
	else if (rc < 0)
		store_fail(s, rc, "the index cannot be read: %s", err_text(rc));
	else if (r->sb.cluster != s->cluster || r->sb.server != s->server) {
		rc = -EEXIST;
		store_fail(s, rc, "the store belongs to server %u of cluster %016" PRIx64 ", not to server "
		           "%u of cluster %016" PRIx64, r->sb.server, r->sb.cluster, s->server, s->cluster);
	}
	return rc;
}

static int begin(struct replay *r)
{
	struct store *s = r->store;
	int rc = check_super(r);

	if (rc < 0)
		return rc;
	rc = open_files(r);
	if (rc < 0)
		return rc;
	s->journal.bytes = r->sb.journal_bytes;
	s->journal.salt = r->sb.salt;
	s->journal.seq = r->sb.seq;
	s->journal.head = r->sb.head;
	space_init(s, s->disk->ops->size(s->data) / PAGE_BYTES);
	rc = space_load(s);
	if (rc < 0)
		store_fail(s, rc, "the index of free space cannot be read: %s; format this store anew",
		           err_text(rc));
	return rc;
}

static void on_later(struct later *l)
{
	struct replay *r = container_of(l, struct replay, later);

	r->next(r);
}

static void on_refused(struct replay *r)
{
	finish(r, r->rc);
}

void replay_start(struct store *s, void (*done)(void *ctx, int rc), void *ctx)
{
	struct replay *r = mem_new(sizeof(*r));

	r->store = s;
	r->done = done;
	r->ctx = ctx;
	r->later.fn = on_later;
	s->replay = r;
	r->rc = begin(r);
	if (r->rc < 0) {
		r->next = on_refused;
		store_later(s, &r->later);
	} else if (!r->sb.start) {
		r->window = iobuf_new_reserve((uint32_t)WINDOW_BYTES);
		memset(r->window->data, 0, WINDOW_BYTES);
		r->scan = 0;
		r->io = (struct disk_req){.owner = s};
		store_io(s, &r->io, DISK_NOP, NULL, 0, NULL, 0, on_zeroed);
	} else {
		read_window(r, s->journal.file, 0, MIN(WINDOW_BYTES, s->journal.bytes), check_headers);
	}
}

void replay_free(struct store *s)
{
	if (!s->replay)
		return;
	drop_last(s->replay);
	iobuf_put(s->replay->window);
	mem_free(s->replay);
	s->replay = NULL;
}

static void finish(struct replay *r, int rc)
{
	struct store *s = r->store;
	void (*done)(void *ctx, int rc) = r->done;
	void *ctx = r->ctx;

	replay_free(s);
	done(ctx, rc);
}
