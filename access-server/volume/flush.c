/* FSYNC, SYNC, and everybody who waits until what was written is durable (promise P1).
 *
 * A flush point is a number n of the file: it is passed when file.unflushed has nothing up to n, that
 * is, each record up to it is on two replicas that count together. A flush that cannot succeed any
 * more has lost its handles: file_fail() answers -EIO, now and for every later call (trap A9a). */
#include "access-server/volume/parts.h"

bool file_flushed(const struct file *f, uint64_t n)
{
	return !f->unflushed || f->unflushed->n > n;
}

void flush_wait(struct file *f, struct vol_req *req, uint64_t n)
{
	rs(req)->n = n;
	f->flush_asked = n;
	if (file_flushed(f, n)) {
		vol_complete(f->v, req, 0);
		return;
	}
	req_push(&f->flushing, req);
	writer_push(f->v);
}

void flush_check(struct file *f)
{
	struct vol_req *req, *next;

	/* Points are almost always in order: numbers only grow. */
	for (req = f->flushing; req; req = next) {
		next = rs(req)->next;
		if (!file_flushed(f, rs(req)->n))
			break;
		req_remove(req);
		vol_complete(f->v, req, 0);
	}
}

bool fsync_try(struct file *f, struct vol_req *req)
{
	bool attr = f->size_dirty || (f->times_dirty && !(req->flags & VOL_F_DSYNC));

	f->v->stats.flushes++;
	if (f->error) {
		vol_complete(f->v, req, f->error);
		f->error = 0;
		return true;
	}
	if (attr && f->lease == LEASE_EXCLUSIVE && !attr_write(f))
		return false;
	flush_wait(f, req, f->n);
	return true;
}

/* --- SYNC: every file, as of now --- */

struct sync_point {
	uint64_t ino, epoch, n;
};

static void sync_points(struct volume *v, struct vol_req *req)
{
	struct file *f, *next;
	unsigned n = 0, capacity = 0;
	struct sync_point *point = NULL;

	HASH_ITER(hh, v->files, f, next) {
		if (f->lease != LEASE_EXCLUSIVE)
			continue;
		if (f->size_dirty || f->times_dirty)
			attr_write(f);
		if (!f->unflushed)
			continue;
		if (n == capacity) {
			capacity = capacity ? 2 * capacity : 16;
			point = mem_resize(point, capacity, sizeof(*point));
		}
		point[n++] = (struct sync_point){f->ino, f->epoch, f->n};
	}
	rs(req)->op = point;
	rs(req)->step = n;
}

static bool sync_done(struct volume *v, struct vol_req *req)
{
	struct sync_point *point = rs(req)->op;

	while (rs(req)->step > 0) {
		struct sync_point *p = &point[rs(req)->step - 1];
		struct file *f = file_find(v, p->ino);

		if (f && f->lease == LEASE_EXCLUSIVE && f->epoch == p->epoch && !file_flushed(f, p->n))
			return false;
		rs(req)->step--;
	}
	return true;
}

void sync_submit(struct volume *v, struct vol_req *req)
{
	sync_points(v, req);
	writer_push(v);
	req_push(&v->syncing, req);
	v->sync_check = true;
}

void vol_sync_check(struct volume *v)
{
	struct vol_req *req, *next;

	if (!v->sync_check)
		return;
	v->sync_check = false;
	for (req = v->syncing; req; req = next) {
		next = rs(req)->next;
		if (!sync_done(v, req))
			continue;
		req_remove(req);
		mem_free(rs(req)->op);
		rs(req)->op = NULL;
		vol_complete(v, req, 0);
	}
}
