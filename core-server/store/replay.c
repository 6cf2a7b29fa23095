/* Redoing the journal.
 *
 * Replay walks the records behind the checkpointed position. A record is applied when the one behind
 * it is known to be valid; the last one first has all its pages verified, also those of large data:
 * if one fails it is a torn tail and was never answered. Where no record with the next number
 * follows, the whole journal is searched for a later one: found, there is damage between, and the
 * later one's footprints name what is lost. Two lost in a row cannot be named: refused. */
#include "core-server/store/replay.h"

#include "common/base/bytes.h"
#include "common/base/trace.h"
#include "common/wire/msg.h"

#define WINDOW_BYTES REPLAY_WINDOW_BYTES

/* --- reading through a window --- */
static void on_window(struct disk_req *io)
{
	struct store *s = io->owner;
	struct replay *r = s->replay;

	if (io->result < 0) {
		store_fail(s, io->result, "reading %" PRIu64 " bytes at %" PRIu64 " of the %s file failed: "
		           "%s", io->len, io->off, r->win_data ? "data" : "journal", err_text(io->result));
		open_finish(r, io->result);
		return;
	}
	r->next(r);
}

void replay_window(struct replay *r, struct disk_file *f, uint64_t off, uint64_t len,
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
	replay_window(r, s->journal.file, off, MIN(MAX(len, WINDOW_BYTES), s->journal.bytes - off), next);
	return false;
}

static uint8_t *at(struct replay *r, uint64_t off)
{
	return r->window->data + (off - r->win_off);
}

/* --- the record that waits --- */
void replay_drop_last(struct replay *r)
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
		if (pages)
			pages += (size_t)journal_pages(c) * PAGE_BYTES;
	}
	j->seq = r->last.seq;
	j->head = r->last.off + r->last.head_bytes + r->last.data_pages * PAGE_BYTES;
	replay_drop_last(r);
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
		pages += good ? journal_pages(&changes[i]) : 0;
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
	r->next = replay_walk;
	store_later(r->store, &r->later); /* not deeper and deeper */
}

void replay_walk(struct replay *r)
{
	if (r->at + PAGE_BYTES > r->store->journal.bytes)
		r->at = JOURNAL_FIRST;
	if (!have(r, r->at, PAGE_BYTES, replay_walk))
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
		open_finish(r, ERR_CORRUPT);
		return;
	}
	for (unsigned i = 0; i < lost_n; i++)
		apply_damage(s, &lost[i]);
	mem_free(lost);
	r->at = r->last.off + bytes;
	r->next = replay_walk;
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
static void end_walk(struct replay *r, bool good)
{
	if (good) {
		apply_last(r);
	} else {
		TRACE("store.torn seq", r->last.seq, 0, 0, 0);
		replay_drop_last(r);
	}
	open_start(r);
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
		const struct run *run;
		uint32_t n;

		if (r->check_run >= c->runs_n) {
			r->check_change++;
			r->check_run = r->check_page = r->check_sum = 0;
			continue;
		}
		run = &c->runs[r->check_run];
		if (run->kind != RUN_EXTENT || r->check_page >= run->pages) {
			r->check_sum += run->kind == RUN_JOURNAL || run->kind == RUN_LOST ? run->pages : 0;
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
			replay_window(r, r->store->data, off, n * PAGE_BYTES, check_large);
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
		if (pages)
			pages += (size_t)journal_pages(&r->changes[i]) * PAGE_BYTES;
	}
	r->win_len = 0;
	r->win_data = true;
	r->check_change = r->check_run = r->check_page = r->check_sum = 0;
	check_large(r);
}
