/* Garbage collection (design section 5, trap A15): files are deleted when the catalog says that
 * they exist no more, in a linearizable read, and never by inference.
 *
 * A hint (MSG_FORGET) makes the server ask at once; a slow walk over all files finds what no hint
 * reached. File ids are never reused, so that answer never gets old.
 *
 * The catalog also says which files have no replica here any more, and are whole elsewhere. That answer
 * does get old: a file can come back. So the question brings the file's seal here: who makes a replica here
 * holds the file in an epoch that is sealed here first, and as long as it does the catalog does not call
 * the file gone from here. And the answer counts only if nobody has said anything of the file since it was
 * asked for. */
#include "core-server/replica/internal.h"

static void delete_file(struct replica *r, struct file_state *f)
{
	struct change *c;

	DL_FOREACH(f->changes, c)
		if (c->kind == CHANGE_DELETE)
			return;
	c = change_new(r, f, CHANGE_DELETE);
	c->epoch = f->rec.seal;
	c->req.op = STORE_DELETE;
	TRACE("collect.delete file leaving", f->file, f->leaving, 0, 0);
	change_submit(c, 0);
}

static void file_gone(struct replica *r, file_id_t file)
{
	struct file_state *f = file_get(r, file);

	if (f == NULL)
		return; /* the walk comes by again */
	f->gone = true;
	delete_file(r, f);
}

/* Its replica is elsewhere; `asked`: what was here when that was asked for. */
static void file_left(struct replica *r, const struct collect_asked *asked)
{
	struct file_state *f = file_get(r, asked->file);

	if (f == NULL || f->gone || f->leaving)
		return;
	if (f->busy > 0 || f->rec.map != asked->map || f->rec.seal != asked->seal)
		return;
	f->leaving = true;
	delete_file(r, f);
}

void collect_deleted(struct change *c)
{
	struct file_state *f = c->file;
	bool leaving = f->leaving;

	f->leaving = false;
	if (c->req.result != 0)
		return;
	c->r->stats.files_deleted++;
	f->exists = false;
	scrub_note_deleted(c->r, f->file);
	if (!leaving)
		return;
	mem_free(f->rec.exception);
	f->rec = (struct store_file){0};
	f->seal_durable = 0;
}

static const struct collect_asked *was_asked(const struct replica *r, file_id_t file)
{
	for (unsigned i = 0; i < r->collect.n_asked; i++)
		if (r->collect.asked[i].file == file)
			return &r->collect.asked[i];
	return NULL;
}

static void on_answer(struct session_call *call, const struct msg *reply)
{
	struct replica *r = container_of(call, struct replica, collect.call);
	const struct collect_asked *asked;
	struct span gone;

	r->collect.asking = false;
	if (reply == NULL || reply->type != MSG_TYPE_r_bytes ||
	    reply->r_bytes.status != STATUS_OK)
		return;
	gone = reply->r_bytes.bytes;
	for (uint32_t at = 0; at + 8 <= gone.len; at += 8) {
		file_id_t file = get_u64le(gone.p + at);
		bool left = file & Q_FILES_LEFT;

		asked = was_asked(r, file & ~Q_FILES_LEFT);
		if (asked && left)
			file_left(r, asked);
		else if (asked)
			file_gone(r, file);
	}
	file_put_idle(r, NULL);
}

static void ask(struct replica *r)
{
	uint8_t files[Q_FILES_BYTES * COLLECT_BATCH];
	struct msg m = {.type = MSG_TYPE_q_files};

	for (unsigned i = 0; i < r->collect.n_asked; i++) {
		struct collect_asked *a = &r->collect.asked[i];
		struct file_state *f = file_get(r, a->file);

		a->map = f ? f->rec.map : 0;
		a->seal = f ? f->rec.seal : UINT64_MAX;
		put_u64le(files + Q_FILES_BYTES * i, a->file);
		put_u64le(files + Q_FILES_BYTES * i + 8, a->seal);
	}
	file_put_idle(r, NULL);
	m.q_files.inos = (struct span){files, Q_FILES_BYTES * r->collect.n_asked};
	r->collect.asking = true;
	r->collect.call.done = on_answer;
	session_call(r->catalog, &r->collect.call, &m);
}

static void take_forgets(struct replica *r)
{
	unsigned n = MIN(r->collect.n_forgets, (unsigned)COLLECT_BATCH);

	for (unsigned i = 0; i < n; i++)
		r->collect.asked[i].file = r->collect.forgets[i];
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
		r->collect.asked[r->collect.n_asked++].file = r->collect.after;
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
