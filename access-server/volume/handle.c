/* Open files, their close, and attributes that the leader asks a holder for. */
#include "access-server/volume/parts.h"

void handle_open(struct volume *v, struct file *f, struct vol_req *req)
{
	struct handle *h = mem_new(sizeof(*h));

	h->id = ++v->next_handle;
	h->f = f;
	h->read_only = req->flags & VOL_F_READ_ONLY;
	HASH_ADD(hh, v->handles, id, sizeof(h->id), h);
	DL_APPEND(f->handles, h);
	f->forgotten = false;
	req->out_handle = h->id;
}

bool handles_write(const struct file *f)
{
	struct handle *h;

	DL_FOREACH(f->handles, h)
		if (!h->read_only && !h->lost)
			return true;
	return false;
}

struct handle *handle_find(struct volume *v, uint64_t id)
{
	struct handle *h;

	HASH_FIND(hh, v->handles, &id, sizeof(id), h);
	return h;
}

void handle_close(struct volume *v, struct handle *h)
{
	DL_DELETE(h->f->handles, h);
	HASH_DEL(v->handles, h);
	mem_free(h);
}

void close_submit(struct file *f, struct vol_req *req)
{
	struct handle *h = handle_find(f->v, req->handle);

	if (h) {
		locks_release(f->v, f, h->id);
		handle_close(f->v, h);
	}
	vol_complete(f->v, req, h ? 0 : -EBADF);
	file_put_if_unused(f);
}

/* close(2): reports what went wrong; data stays in the buffer, as in a local page cache. */
void flush_submit(struct file *f, struct vol_req *req)
{
	struct handle *h = req->handle ? handle_find(f->v, req->handle) : NULL;

	if (locks_flush(f->v, req, f))
		return;
	vol_complete(f->v, req, h && h->lost ? -EIO : 0);
}

static void holder_reply(struct file *f, const struct holder_ask *ask)
{
	struct msg m = {.type = MSG_TYPE_holder_attr_reply, .dst = SERVER_LEADER};

	m.holder_attr_reply.status = STATUS_OK;
	m.holder_attr_reply.ino = f->ino;
	m.holder_attr_reply.id = ask->id;
	m.holder_attr_reply.size = ask->size;
	m.holder_attr_reply.pages = f->pages;
	m.holder_attr_reply.atime = ask->atime;
	m.holder_attr_reply.mtime = ask->mtime;
	m.holder_attr_reply.ctime = ask->ctime;
	vol_send(f->v, &m);
}

/* Size and times as of now, once the record that carries them has its number. */
static bool ask_taken(struct file *f, struct holder_ask *a)
{
	if (!a->taken && ((!f->size_dirty && !f->times_dirty) || attr_write(f))) {
		a->taken = true;
		a->n = f->n;
		a->size = f->size;
		a->atime = f->atime;
		a->mtime = f->mtime;
		a->ctime = f->ctime;
	}
	return a->taken;
}

/* What another site is told must not go back when this server dies (P4): size and times are made
 * durable before they are given away. */
void holder_attr_progress(struct file *f)
{
	unsigned left = 0;

	for (unsigned i = 0; i < f->asks_n && f->lease == LEASE_EXCLUSIVE; i++) {
		struct holder_ask *a = &f->asks[i];

		if (ask_taken(f, a) &&
		    (file_flushed(f, a->n) || VOL_BUG(f->v, VOLUME_BUG_TOLD_UNSYNCED)))
			holder_reply(f, a);
		else
			f->asks[left++] = *a;
	}
	f->asks_n = left;
}

void holder_attr_arrived(struct volume *v, const struct msg *m)
{
	struct file *f = file_find(v, m->holder_attr.ino);
	struct msg none = {.type = MSG_TYPE_holder_attr_reply, .dst = SERVER_LEADER};

	/* Not known yet, or on its way back after a recovery that failed; the leader asks again. */
	if (f && (f->phase == PHASE_ASK || f->phase == PHASE_RECOVER || f->phase == PHASE_RECLAIM ||
	          (f->unserved && !VOL_BUG(v, VOLUME_BUG_TOLD_UNRECOVERED))))
		return;
	if (!f || f->lease != LEASE_EXCLUSIVE) {
		none.holder_attr_reply.status = STATUS_NOT_FOUND;
		none.holder_attr_reply.ino = m->holder_attr.ino;
		none.holder_attr_reply.id = m->holder_attr.id;
		vol_send(v, &none);
		return;
	}
	if (!vol_session_valid(v))
		return;
	for (unsigned i = 0; i < f->asks_n; i++)
		if (f->asks[i].id == m->holder_attr.id)
			return;
	if (f->asks_n == HOLDER_ASKS_MAX)
		return;
	f->asks[f->asks_n++] = (struct holder_ask){.id = m->holder_attr.id};
	holder_attr_progress(f);
	writer_push(v);
}

bool vol_get_file(struct volume *v, uint64_t ino, struct vol_file_stats *out)
{
	struct file *f = file_find(v, ino);
	const struct record *r;

	if (!f || f->lease != LEASE_EXCLUSIVE || !vol_session_valid(v) || f->phase == PHASE_ASK ||
	    f->phase == PHASE_RECOVER || f->phase == PHASE_RECLAIM)
		return false;
	*out = (struct vol_file_stats){f->epoch, f->size, f->mtime, 0};
	DL_FOREACH2(f->unflushed, r, unext)
		out->unflushed_bytes += r->len;
	return true;
}
