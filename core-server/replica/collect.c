/* Garbage collection (design section 5, trap A15): files are deleted when the catalog says that
 * they exist no more, in a linearizable read, and never by inference.
 *
 * A hint (MSG_FORGET) makes the server ask at once; a slow walk over all files finds what no hint
 * reached. File ids are never reused, so an answer never gets old. */
#include "core-server/replica/internal.h"

static void delete_file(struct replica *r, file_id_t file)
{
	struct file_state *f = file_get(r, file);
	struct change *c;

	if (f == NULL)
		return; /* the walk comes by again */
	DL_FOREACH(f->changes, c)
		if (c->kind == CHANGE_DELETE)
			return;
	f->gone = true;
	c = change_new(r, f, CHANGE_DELETE);
	c->epoch = f->rec.seal;
	c->req.op = STORE_DELETE;
	TRACE("collect.delete file", file, 0, 0, 0);
	change_submit(c, 0);
}

void collect_deleted(struct change *c)
{
	if (c->req.result != 0)
		return;
	c->r->stats.files_deleted++;
	c->file->exists = false;
	scrub_note_deleted(c->r, c->file->file);
}

static bool was_asked(const struct replica *r, file_id_t file)
{
	for (unsigned i = 0; i < r->collect.n_asked; i++)
		if (r->collect.asked[i] == file)
			return true;
	return false;
}

static void on_answer(struct session_call *call, const struct msg *reply)
{
	struct replica *r = container_of(call, struct replica, collect.call);
	struct span gone;

	r->collect.asking = false;
	if (reply == NULL || reply->type != MSG_TYPE_r_bytes ||
	    reply->r_bytes.status != STATUS_OK)
		return;
	gone = reply->r_bytes.bytes;
	for (uint32_t at = 0; at + 8 <= gone.len; at += 8) {
		file_id_t file = get_u64le(gone.p + at);

		if (was_asked(r, file))
			delete_file(r, file);
	}
	file_put_idle(r, NULL);
}

static void ask(struct replica *r)
{
	uint8_t inos[8 * COLLECT_BATCH];
	struct msg m = {.type = MSG_TYPE_q_files};

	for (unsigned i = 0; i < r->collect.n_asked; i++)
		put_u64le(inos + 8 * i, r->collect.asked[i]);
	m.q_files.inos = (struct span){inos, 8 * r->collect.n_asked};
	r->collect.asking = true;
	r->collect.call.done = on_answer;
	session_call(r->catalog, &r->collect.call, &m);
}

static void take_forgets(struct replica *r)
{
	unsigned n = MIN(r->collect.n_forgets, (unsigned)COLLECT_BATCH);

	memcpy(r->collect.asked, r->collect.forgets, n * sizeof(r->collect.asked[0]));
	r->collect.n_asked = n;
	r->collect.n_forgets -= n;
	memmove(r->collect.forgets, r->collect.forgets + n,
	        r->collect.n_forgets * sizeof(r->collect.forgets[0]));
}

static void take_next_batch(struct replica *r, nsec_t now)
{
	r->collect.n_asked = 0;
	while (r->collect.n_asked < COLLECT_BATCH) {
		r->collect.after = store_next_file(r->store, r->collect.after);
		if (r->collect.after == FILE_BOOK)
			r->collect.after = 0; /* the last of all */
		if (r->collect.after == 0)
			break;
		r->collect.asked[r->collect.n_asked++] = r->collect.after;
	}
	r->collect.due = now + (r->collect.after == 0 ? COLLECT_PAUSE : COLLECT_EVERY);
	if (r->collect.after == 0 && replica_has_bug(r, REPLICA_BUG_WALKS_ONCE))
		r->collect.due = NSEC_NEVER;
}

nsec_t collect_tick(struct replica *r, nsec_t now)
{
	if (r->catalog == NULL || r->disk_failed || r->collect.asking)
		return NSEC_NEVER;
	if (replica_fenced(r))
		return r->collect.n_forgets > 0 ? now + COLLECT_EVERY : NSEC_NEVER;
	if (r->collect.n_forgets > 0)
		take_forgets(r);
	else if (now >= r->collect.due)
		take_next_batch(r, now);
	else
		return r->collect.due;
	if (r->collect.n_asked > 0)
		ask(r);
	return r->collect.asking ? NSEC_NEVER : r->collect.due;
}

void collect_stop(struct replica *r)
{
	if (r->collect.asking)
		session_cancel(r->catalog, &r->collect.call);
	r->collect.asking = false;
}

void replica_forget(struct replica *r, const struct msg *m)
{
	file_id_t file = m->forget.file;
	struct store_file rec;

	if (!check_file(file) || r->disk_failed || r->collect.n_forgets >= FORGETS_MAX)
		return;
	for (unsigned i = 0; i < r->collect.n_forgets; i++)
		if (r->collect.forgets[i] == file)
			return;
	if (store_get_file(r->store, file, &rec))
		r->collect.forgets[r->collect.n_forgets++] = file;
}
