/* Opening: check that the pieces belong together, redo the journal (replay.c), count the start.
 *
 * Two header blocks begin the journal file, written one after the other with a sync between:
 *
 *   u64 magic | u32 version | u32 server | u64 cluster | u64 salt | u64 start | u64 journal bytes
 *   u64 XXH3 of the fields before
 *
 * The index (superblock in the kv) and the journal's header carry the start counter: the header is
 * written first, so it is equal or one ahead. Anything else was put together from different times. */
#include "core-server/store/replay.h"

#include <xxhash.h>

#include "common/base/bytes.h"

#define JOURNAL_MAGIC 0x6c6e726a64636364ull /* "dccdjrnl" */
#define JOURNAL_VERSION 1
#define HEADER_BYTES 48
#define WINDOW_BYTES REPLAY_WINDOW_BYTES

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
		open_finish(r, rc);
		return;
	}
	s->start = r->sb.start;
	s->serving = true;
	s->journal.written = s->config.now(s->config.ctx);
	store_kick(s);
	open_finish(r, 0);
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
		open_finish(r, io->result);
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

void open_start(struct replay *r)
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
		open_finish(r, io->result);
	} else if (n) {
		r->scan += n;
		store_io(s, &r->io, DISK_WRITE, s->journal.file, r->scan - n, r->window->data, n, on_zeroed);
	} else {
		open_start(r);
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
		replay_walk(r);
		return;
	}
	open_finish(r, ERR_CORRUPT);
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
	open_finish(r, r->rc);
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
		replay_window(r, s->journal.file, 0, MIN(WINDOW_BYTES, s->journal.bytes), check_headers);
	}
}

void replay_free(struct store *s)
{
	if (!s->replay)
		return;
	replay_drop_last(s->replay);
	iobuf_put(s->replay->window);
	mem_free(s->replay);
	s->replay = NULL;
}

void open_finish(struct replay *r, int rc)
{
	struct store *s = r->store;
	void (*done)(void *ctx, int rc) = r->done;
	void *ctx = r->ctx;

	replay_free(s);
	done(ctx, rc);
}
