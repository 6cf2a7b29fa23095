/* Scrub: reads every block and verifies its page checksums, one at a time and slowly.
 *
 * What is found bad here or by a read is remembered until a holder's install replaces it: this
 * server never repairs by itself, because only a lease holder knows what is right. It tells the
 * access servers that come here for data, one after the other, until one of them has done it. */
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

void scrub_note_asker(struct replica *r, server_id_t peer)
{
	for (unsigned i = 0; i < r->scrub.n_askers; i++)
		if (r->scrub.asker[i] == peer)
			return;
	if (r->scrub.n_askers < ASKERS_MAX)
		r->scrub.n_askers++;
	memmove(r->scrub.asker + 1, r->scrub.asker,
	        (r->scrub.n_askers - 1) * sizeof(r->scrub.asker[0]));
	r->scrub.asker[0] = peer;
}

void replica_peer_up(struct replica *r, server_id_t peer)
{
	scrub_note_asker(r, peer);
}

void scrub_drop_asker(struct replica *r, server_id_t peer)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < r->scrub.n_askers; i++)
		if (r->scrub.asker[i] != peer)
			r->scrub.asker[kept++] = r->scrub.asker[i];
	r->scrub.n_askers = kept;
}

static nsec_t tell_tick(struct replica *r, nsec_t now)
{
	struct msg m = {.type = MSG_TYPE_bad_page};
	struct origin to = {0};

	if (r->scrub.n_bad == 0 || r->scrub.n_askers == 0)
		return NSEC_NEVER;
	if (now < r->scrub.tell_due)
		return r->scrub.tell_due;
	r->scrub.tell_due = now + TELL_EVERY;
	if (replica_fenced(r))
		return r->scrub.tell_due;
	to.peer = r->scrub.asker[r->scrub.next_asker++ % r->scrub.n_askers];
	for (unsigned i = 0; i < MIN(r->scrub.n_bad, (unsigned)TELL_AT_ONCE_MAX); i++) {
		struct replica_bad *b = &r->scrub.bad[r->scrub.next_bad++ % r->scrub.n_bad];

		if (b->wait > 0) {
			b->wait--;
			continue;
		}
		/* What stays bad after that can perhaps not be repaired: ever more seldom. */
		b->told = (uint8_t)MIN(b->told + 1, TOLD_MAX);
		b->wait = (uint8_t)((1u << b->told) - 2);
		m.bad_page = (struct msg_bad_page){b->file, b->block, b->page};
		replica_reply(r, to, &m);
	}
	return r->scrub.tell_due;
}

static nsec_t read_tick(struct replica *r, nsec_t now)
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

nsec_t scrub_tick(struct replica *r, nsec_t now)
{
	nsec_t due = read_tick(r, now);

	return r->disk_failed ? NSEC_NEVER : MIN(due, tell_tick(r, now));
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
	if (r->scrub.n_bad == BAD_MAX)
		return;
	/* Who reads it learns it from the reply: others are told soon, not at once. */
	if (r->scrub.n_bad == 0)
		r->scrub.tell_due = r->env->now(r->env) + NSEC_SEC;
	r->scrub.bad[r->scrub.n_bad++] = (struct replica_bad){.file = file, .block = block, .page = page};
}

static void drop_bad(struct replica *r, unsigned i)
{
	r->scrub.bad[i] = r->scrub.bad[--r->scrub.n_bad];
}

static bool has_bit(struct span bits, uint32_t i)
{
	return i / 8 < bits.len && (bits.p[i / 8] >> i % 8 & 1) != 0;
}

static bool replaces(const struct msg *m, const struct replica_bad *b)
{
	const struct msg_install *i = &m->install;
	const struct msg_write *w = &m->write;
	uint64_t at = (uint64_t)b->page * PAGE_BYTES;

	if (m->type == MSG_TYPE_install)
		return b->file == i->file && b->block == i->block && !has_bit(i->lost, b->page) &&
		       (has_bit(i->set, b->page) || has_bit(i->zero, b->page));
	return b->file == w->file && b->block == w->block && w->off <= at &&
	       at + PAGE_BYTES <= (uint64_t)w->off + w->len;
}

/* If that fails they are found again. */
void scrub_note_fixed(struct replica *r, const struct msg *m)
{
	for (unsigned i = 0; i < r->scrub.n_bad;) {
		if (!replaces(m, &r->scrub.bad[i])) {
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
	for (unsigned i = 0; i < MIN(max, r->scrub.n_bad); i++)
		out[i] = r->scrub.bad[i];
	return r->scrub.n_bad;
}
