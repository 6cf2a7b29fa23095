/* Scrub: reads every block and verifies its page checksums, one at a time and slowly.
 *
 * What is found bad here or by a read is remembered until a holder's install replaces it: this
 * server never repairs by itself, because only a lease holder knows what is right. */
#include "core-server/replica/internal.h"

void replica_scrub(struct replica *r)
{
	if (r->scrub.on) {
		r->scrub.again = true; /* the cursor is somewhere: a full pass needs another round */
		return;
	}
	r->scrub.on = true;
	r->scrub.again = false;
	r->scrub.due = r->env->now(r->env);
}

bool replica_scrubbing(const struct replica *r)
{
	return r->scrub.on;
}

static void on_scrubbed(void *ctx, int rc, file_id_t file, uint64_t block, uint32_t bad_page)
{
	struct replica *r = ctx;

	r->scrub.reading = false;
	switch (rc) {
	case 0:
		r->stats.scrubbed++;
		break;
	case ERR_CORRUPT:
		r->stats.scrubbed++;
		scrub_note_bad(r, file, block, bad_page);
		break;
	case -ENOENT: /* the end */
		r->scrub.on = r->scrub.again;
		r->scrub.again = false;
		break;
	default:
		r->scrub.on = false;
		(void)replica_disk_status(r, rc);
		break;
	}
}

nsec_t scrub_tick(struct replica *r, nsec_t now)
{
	if (!r->scrub.on || r->scrub.reading || r->disk_failed)
		return NSEC_NEVER;
	if (now < r->scrub.due)
		return r->scrub.due;
	r->scrub.due = now + SCRUB_EVERY;
	r->scrub.reading = true;
	store_scrub_next(r->store, on_scrubbed, r);
	return NSEC_NEVER;
}

void scrub_note_bad(struct replica *r, file_id_t file, uint64_t block, uint32_t page)
{
	r->stats.bad_pages++;
	TRACE("bad_page file block page", file, block, page, 0);
	for (unsigned i = 0; i < r->scrub.n_bad; i++) {
		const struct replica_bad *b = &r->scrub.bad[i];

		if (b->file == file && b->block == block && b->page == page)
			return;
	}
	if (r->scrub.n_bad < BAD_MAX)
		r->scrub.bad[r->scrub.n_bad++] = (struct replica_bad){file, block, page};
}

static void drop_bad(struct replica *r, unsigned i)
{
	r->scrub.bad[i] = r->scrub.bad[--r->scrub.n_bad];
}

/* An install replaced pages of the block. What is still bad is found again. */
void scrub_note_fixed(struct replica *r, file_id_t file, uint64_t block)
{
	for (unsigned i = 0; i < r->scrub.n_bad;) {
		if (r->scrub.bad[i].file != file || r->scrub.bad[i].block != block) {
			i++;
			continue;
		}
		r->stats.repaired++;
		drop_bad(r, i);
	}
}

void scrub_note_deleted(struct replica *r, file_id_t file)
{
	for (unsigned i = 0; i < r->scrub.n_bad;) {
		if (r->scrub.bad[i].file == file)
			drop_bad(r, i);
		else
			i++;
	}
}

unsigned replica_get_bad(const struct replica *r, struct replica_bad *out, unsigned max)
{
	memcpy(out, r->scrub.bad, MIN(max, r->scrub.n_bad) * sizeof(*out));
	return r->scrub.n_bad;
}
