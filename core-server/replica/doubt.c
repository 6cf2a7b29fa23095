/* A disk without memory (trap A8): new, or rolled back to an older state.
 *
 * The catalog remembers the highest file id that existed when this disk joined (complete_from).
 * Files up to it are held completely only where a holder's MSG_CLOSE said so. When the catalog's
 * number rises, it saw the disk show less than it had shown before: what the disk's records say
 * about completeness is then worth nothing, and is taken back file by file. The new number becomes
 * durable after that, so that a crash in between starts the walk again. */
#include "core-server/replica/internal.h"

static void write_book(struct replica *r)
{
	struct file_state *book = file_get(r, FILE_BOOK);

	if (book == NULL)
		return; /* at the limit: the next session tells the number again */
	book->rec.closed = book->rec.seal = r->complete_from;
	(void)file_submit_record(r, book);
}

void doubt_load(struct replica *r)
{
	struct store_file rec;

	if (!store_get_file(r->store, FILE_BOOK, &rec))
		return;
	r->complete_from = rec.closed;
	r->complete_from_known = r->joined = true;
}

void doubt_start(struct replica *r, uint64_t complete_from)
{
	struct file_state *f;
	bool known = r->complete_from_known;

	r->complete_from = complete_from;
	r->complete_from_known = true;
	if (!known) {
		write_book(r);
		return;
	}
	r->doubt.on = true;
	r->doubt.after = 0;
	for (f = r->files; f != NULL; f = f->hh.next)
		if (f->file <= complete_from)
			f->rec.complete = false;
	TRACE("doubt complete_from", complete_from, 0, 0, 0);
}

bool file_doubted(const struct replica *r, file_id_t file)
{
	return r->doubt.on && file > r->doubt.after && file <= r->complete_from;
}

static void doubt_file(struct replica *r, file_id_t file)
{
	struct store_file durable;
	struct file_state *f;

	if (!file_durable(r, file, &durable) || !durable.complete)
		return;
	f = file_get(r, file);
	if (f == NULL || f->gone || f->rec.complete) /* told again since, by a holder */
		return;
	(void)file_submit_record(r, f);
}

nsec_t doubt_tick(struct replica *r, nsec_t now)
{
	if (!r->doubt.on || r->disk_failed)
		return NSEC_NEVER;
	for (unsigned i = 0; i < DOUBT_BATCH; i++) {
		file_id_t file;

		if (r->n_changes >= CHANGES_MAX / 2)
			return now + NSEC_MSEC;
		file = store_next_file(r->store, r->doubt.after);
		if (file == 0 || file > r->complete_from) {
			r->doubt.on = false;
			write_book(r);
			return NSEC_NEVER;
		}
		doubt_file(r, file);
		r->doubt.after = file;
	}
	return now;
}
