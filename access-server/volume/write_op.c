/* WRITE: a request becomes records as soon as everything for it is there at once: the versions of
 * its blocks, promised space on two replicas of each (trap B7), and room in the buffer. Until then it
 * waits and keeps no state, so a recall finds nothing half done. */
#include "access-server/volume/parts.h"

#define PROMISES_TAKE (100 * NSEC_MSEC) /* of servers that answer; else a stale replica may be needed */

static bool room_wait(struct volume *v, struct vol_req *req)
{
	if (v->in_room) {
		req_push_front(&v->room, req);
		v->room_blocked = true;
	} else {
		req_push(&v->room, req);
	}
	return true;
}

/* Space is promised by some servers, not by others, and one file's replicas may have to be repaired before
 * two can: that holds up nobody else. */
static bool space_wait(struct file *f, struct vol_req *req)
{
	req_push(&f->v->unpromised, req);
	if (!f->v->in_room && !stale_empty(&f->stale))
		repair_kick(f, PROMISES_TAKE);
	return true;
}

static void space_retry(struct volume *v)
{
	unsigned n = 0;

	for (struct vol_req *req = v->unpromised; req; req = rs(req)->next)
		n++;
	while (n-- > 0 && v->unpromised) {
		struct vol_req *req = req_pop(&v->unpromised);
		struct file *f = rs(req)->f;

		req_push_front(&f->waiting, req);
		file_run(f);
	}
}

/* Requests get room in the buffer in the order they came. */
void room_retry(struct volume *v)
{
	if (v->in_room)
		return;
	v->in_room = true;
	v->room_blocked = false;
	space_retry(v);
	while (v->room && !v->room_blocked) {
		struct vol_req *req = req_pop(&v->room);
		struct file *f = rs(req)->f;

		req_push_front(&f->waiting, req);
		file_run(f);
		if (f->in_run)
			break; /* called from inside: that run looks at it again */
	}
	v->in_room = false;
}

static void leave(struct file *f, struct vol_req *list)
{
	struct vol_req *req, *next;

	for (req = list; req; req = next) {
		next = rs(req)->next;
		if (rs(req)->f != f)
			continue;
		req_remove(req);
		req_push(&f->waiting, req);
	}
}

/* The lease goes: what waited for room under it waits for the next one first. */
void room_leave(struct file *f)
{
	leave(f, f->v->room);
	leave(f, f->v->unpromised);
}

static bool is_in(const struct file *f, struct vol_req *list)
{
	for (struct vol_req *req = list; req; req = rs(req)->next)
		if (rs(req)->f == f)
			return true;
	return false;
}

bool space_waits(const struct file *f)
{
	return is_in(f, f->v->unpromised);
}

bool room_waits(const struct file *f)
{
	return space_waits(f) || is_in(f, f->v->room);
}

struct piece {
	uint64_t no;
	uint32_t off, len;
};

/* The part of [off, end) in block `no`. */
static struct piece piece_of(const struct file *f, uint64_t no, uint64_t off, uint64_t end)
{
	uint64_t bytes = file_block_bytes(f), start = no * bytes;
	uint64_t from = MAX(off, start), to = MIN(end, start + bytes);

	return (struct piece){no, (uint32_t)(from - start), (uint32_t)(to - from)};
}

/* 1: every block of [off, end) has its version and its space. 0: not yet. */
static int blocks_ready(struct file *f, uint64_t off, uint64_t end, bool *room)
{
	uint64_t bytes = file_block_bytes(f);
	bool known = true;

	for (uint64_t no = off / bytes; no * bytes < end; no++) {
		if (recovery_block_waits(f, no) || !block_known(f, no))
			known = false;
	}
	if (!known)
		return 0;
	*room = true;
	for (uint64_t no = off / bytes; no * bytes < end; no++) {
		struct piece p = piece_of(f, no, off, end);
		struct block *b = block_find(f, no);
		int rc = space_check(f->v, b->server, block_stale(f, b), block_cost(p.off, p.len));

		if (rc < 0)
			return rc;
		if (rc == 0)
			*room = false;
	}
	return 1;
}

static bool buffer_has_room(struct volume *v, const struct vol_req *req, uint64_t len)
{
	uint64_t limit = VOL_BUG(v, VOLUME_BUG_UNBOUNDED) ? UINT64_MAX / 2 : v->config.buffer_bytes;

	/* A recall waits for the kernel, and the kernel for its writebacks: they may go beyond. */
	if (req->flags & VOL_F_WRITEBACK)
		limit += limit / 4;
	else if (v->room && !v->in_room)
		return false;
	return v->buffered == 0 || v->buffered + len <= limit;
}

static void write_pieces(struct file *f, struct slice data, uint64_t off, uint64_t end)
{
	uint64_t bytes = file_block_bytes(f);

	for (uint64_t no = off / bytes; no * bytes < end; no++) {
		struct piece p = piece_of(f, no, off, end);
		struct block *b = block_find(f, no);
		uint8_t stale = block_stale(f, b);

		for (unsigned i = 0; i < REPLICAS; i++)
			if (!(stale >> i & 1))
				b->paid[i] = (uint32_t)space_use(f->v, b->server[i],
				                                 block_cost(p.off, p.len));
		writer_add(f, b, WRITE_DATA, p.off, p.len,
			   (struct slice){iobuf_get(data.buf),
					  data.off + (uint32_t)(no * bytes + p.off - off), p.len},
			   0);
	}
}

/* Durable writes carry the attribute record beside the data: one round trip for both. */
static void write_done(struct file *f, struct vol_req *req)
{
	if (f->size_dirty || ((req->flags & VOL_F_SYNC) && f->times_dirty))
		attr_write(f);
	flush_wait(f, req, f->n);
}

/* A small write in a large buffer would keep all of it: copied. */
static bool own_data(struct slice in, struct slice *out)
{
	struct iobuf *copy;

	if (in.len >= in.buf->size / 4 || in.buf->size <= PAGE_BYTES) {
		*out = (struct slice){iobuf_get(in.buf), in.off, in.len};
		return true;
	}
	copy = iobuf_new(in.len);
	if (!copy)
		return false;
	memcpy(copy->data, slice_data(in), in.len);
	*out = (struct slice){copy, 0, in.len};
	return true;
}

bool write_try(struct file *f, struct vol_req *req)
{
	struct volume *v = f->v;
	bool append = req->flags & VOL_F_APPEND && !VOL_BUG(v, VOLUME_BUG_APPEND_EARLY);
	uint64_t off = append ? f->size : req->off, end;
	bool durable = (req->flags & (VOL_F_DSYNC | VOL_F_SYNC)) != 0, room = false;
	struct slice data;
	int rc;

	if (off < FILE_BYTES_MAX && req->data.len > FILE_BYTES_MAX - off) /* what fits is written */
		req->data.len = (uint32_t)(FILE_BYTES_MAX - off);
	if (req->data.len == 0 || __builtin_add_overflow(off, req->data.len, &end) || end > FILE_BYTES_MAX) {
		vol_complete(v, req, req->data.len == 0 ? 0 : -EFBIG);
		return true;
	}
	if (privs_strip(f, req))
		return true;
	if (recovery_refuses(f, off, end) || lost_in_part(f, off, end)) {
		vol_complete(v, req, -EIO);
		return true;
	}
	if (f->recovery_waits && end > f->size)
		return false;
	rc = blocks_ready(f, off, end, &room);
	if (rc < 0) {
		vol_complete(v, req, rc);
		return true;
	}
	if (!block_known(f, BLOCK_ATTR) && durable)
		return false;
	if (rc == 0)
		return false;
	if (!room && !VOL_BUG(v, VOLUME_BUG_ALL_WAIT))
		return space_wait(f, req);
	if (!room || !buffer_has_room(v, req, req->data.len) || !own_data(req->data, &data))
		return room_wait(v, req);
	write_pieces(f, data, off, end);
	iobuf_put(data.buf);
	attr_now(f, true);
	if (end > f->size) {
		f->size = end;
		attr_dirty(f, true);
	}
	v->stats.writes++;
	f->kernel_may_cache = true;
	req->out_off = off;
	req->out_len = req->data.len;
	if (durable)
		write_done(f, req);
	else
		vol_complete(v, req, 0);
	return true;
}
