/* What is kept in memory per file: the accepted record and the accepted, not yet durable changes.
 *
 * The store is the truth; a state is built from it at first need and dropped, least recently used
 * first, when nothing of the file is on its way. `rec` is the record as it will be once everything
 * accepted is durable:
 *
 *   closed <= seal          a recovery closes what it sealed
 *   seal_durable <= seal    a seal counts at once, and is answered once it is durable */
#include "core-server/replica/internal.h"

bool file_durable(const struct replica *r, file_id_t file, struct store_file *out)
{
	if (!store_get_file(r->store, file, out)) {
		*out = (struct store_file){0};
		return false;
	}
	if (out->damaged && out->seal == UINT64_MAX)
		*out = (struct store_file){.damaged = true};
	return true;
}

static void load(struct replica *r, struct file_state *f)
{
	struct store_file rec;

	f->exists = file_durable(r, f->file, &rec);
	if (!f->exists)
		return;
	f->rec = rec;
	f->rec.exception = NULL;
	if (rec.exceptions > 0)
		f->rec.exception = mem_dup(rec.exception, rec.exceptions * sizeof(*rec.exception));
	f->seal_durable = rec.seal;
	if (file_doubted(r, f->file))
		f->rec.complete = false;
}

struct file_state *file_get(struct replica *r, file_id_t file)
{
	struct file_state *f;

	HASH_FIND(hh, r->files, &file, sizeof(file), f);
	if (f != NULL) {
		HASH_DELETE(hh, r->files, f); /* to the end: most recently used */
		HASH_ADD(hh, r->files, file, sizeof(f->file), f);
		return f;
	}
	if (r->n_files >= FILES_CACHED_MAX + CHANGES_MAX)
		return NULL;
	f = mem_new(sizeof(*f));
	f->file = file;
	load(r, f);
	HASH_ADD(hh, r->files, file, sizeof(f->file), f);
	r->n_files++;
	return f;
}

void file_free(struct replica *r, struct file_state *f)
{
	struct seal_wait *w, *next;

	CHECK(f->busy == 0);
	DL_FOREACH_SAFE(f->seal_waits, w, next)
		mem_free(w);
	HASH_DELETE(hh, r->files, f);
	r->n_files--;
	mem_free(f->rec.exception);
	mem_free(f);
}

/* Drops idle states past the limit, but not the one in use. */
void file_put_idle(struct replica *r, struct file_state *used)
{
	struct file_state *f, *next;
	unsigned tries = 16;

	if (r->n_files <= FILES_CACHED_MAX)
		return;
	HASH_ITER(hh, r->files, f, next) {
		if (f->busy == 0 && f != used)
			file_free(r, f);
		if (r->n_files <= FILES_CACHED_MAX || --tries == 0)
			return;
	}
}

bool file_complete(const struct replica *r, const struct file_state *f)
{
	if (replica_has_bug(r, REPLICA_BUG_BLANK_COUNTS))
		return true;
	return f->exists ? f->rec.complete : !f->moved_here && f->file > r->complete_from;
}

enum status file_take_placement(struct replica *r, struct file_state *f, uint64_t map)
{
	if (f->rec.map == 0)
		f->moved_here = placement_moved(map) > 0;
	if (f->rec.map == 0 || f->rec.map == map)
		return STATUS_OK;
	if (!placement_later(f->rec.map, map))
		return STATUS_WRONG_MAP;
	if (placement_moved(map) == placement_moved(f->rec.map)) {
		f->rec.map = map; /* what lies here lies here by the later map as well */
		return STATUS_OK;
	}
	if (r->n_changes >= CHANGES_MAX)
		return STATUS_BUSY;
	TRACE("move.here file map before", f->file, map, f->rec.map, 0);
	f->rec.map = map;
	f->rec.complete = false;
	(void)file_submit_record(r, f);
	return STATUS_OK;
}

void file_end_exception(struct file_state *f, uint64_t block)
{
	struct store_file *rec = &f->rec;
	unsigned i = 0;

	/* A record on its way was accepted after the install and says what holds then. */
	if (f->changes != NULL)
		return;
	while (i < rec->exceptions && rec->exception[i] != block)
		i++;
	if (i == rec->exceptions)
		return;
	rec->exceptions--;
	memmove(rec->exception + i, rec->exception + i + 1,
	        (rec->exceptions - i) * sizeof(*rec->exception));
}

bool file_has_older(const struct file_state *f)
{
	const struct block_state *b;
	const struct change *c;

	for (b = f->blocks; b != NULL; b = b->hh.next)
		DL_FOREACH(b->changes, c)
			if (c->epoch < f->rec.seal)
				return true;
	return false;
}

struct change *file_submit_record(struct replica *r, struct file_state *f)
{
	struct change *c = change_new(r, f, CHANGE_RECORD);

	c->epoch = f->rec.seal;
	c->req.op = STORE_FILE;
	c->req.record = &f->rec;
	f->exists = true;
	change_submit(c, 0);
	c->req.record = NULL; /* copied */
	return c;
}

void file_ensure_record(struct replica *r, struct file_state *f, uint64_t map, uint64_t epoch)
{
	if (f->exists && f->rec.map != 0)
		return;
	f->rec.complete = file_complete(r, f);
	f->rec.map = map;
	f->rec.seal = MAX(f->rec.seal, epoch);
	(void)file_submit_record(r, f);
}

struct block_state *block_find(const struct file_state *f, uint64_t block)
{
	struct block_state *b;

	HASH_FIND(hh, f->blocks, &block, sizeof(block), b);
	return b;
}

bool block_broken(const struct file_state *f, uint64_t block)
{
	const struct block_state *b = block_find(f, block);

	return b != NULL && b->broken;
}

struct store_block block_tip(const struct replica *r, const struct file_state *f, uint64_t block)
{
	const struct block_state *b = block_find(f, block);
	const struct change *c;
	struct store_block tip = {.version = VERSION_NONE};

	if (!store_get_block(r->store, f->file, block, &tip))
		tip = (struct store_block){.version = VERSION_NONE};
	if (b == NULL)
		return tip;
	tip.version = b->changes->prev->req.version; /* the newest: the head's prev is the tail */
	tip.exists = true;
	tip.damaged = false; /* nothing but a whole install is accepted on damage */
	for (c = b->closes > 0 ? b->changes : NULL; c != NULL; c = c->next)
		if (c->kind != CHANGE_WRITE)
			tip.closed = c->req.closed;
	return tip;
}

static bool is_exception(const struct store_file *rec, uint64_t block)
{
	unsigned low = 0, high = rec->exceptions;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (rec->exception[mid] < block)
			low = mid + 1;
		else
			high = mid;
	}
	return low < rec->exceptions && rec->exception[low] == block;
}

uint64_t closed_of(const struct replica *r, const struct store_file *rec, uint64_t block,
                   const struct store_block *b)
{
	if (b->damaged || replica_has_bug(r, REPLICA_BUG_NO_CLOSED))
		return 0;
	return is_exception(rec, block) ? b->closed : MAX(b->closed, rec->closed);
}

struct durable block_durable(const struct replica *r, file_id_t file, uint64_t block)
{
	struct durable d = {0};
	struct store_file rec;

	if (!store_get_block(r->store, file, block, &d.block))
		d.block = (struct store_block){.version = VERSION_NONE};
	(void)file_durable(r, file, &rec);
	d.closed = closed_of(r, &rec, block, &d.block);
	d.seal = rec.seal;
	return d;
}

void file_check(const struct file_state *f)
{
	CHECK(f->rec.closed <= f->rec.seal);
	CHECK(f->seal_durable <= f->rec.seal);
}
