/* The locks this server holds on a file, as ranges per owner. */
#include "access-server/volume/locks.h"

#define RECLAIM_BYTES 30 /* owner, start, end u64, pid u32, type, flavour u8: as the catalog reads it */

static struct held_lock *list_of(const struct file *f)
{
	const struct held_locks *h = f->locks;

	return h ? h->list : NULL;
}

static bool same_owner(const struct held_lock *h, const struct msg_op_lock *l)
{
	return h->owner == l->owner && h->flavour == l->flavour;
}

static bool overlaps(const struct held_lock *h, const struct msg_op_lock *l)
{
	return same_owner(h, l) && h->start <= l->end && h->end >= l->start;
}

bool held_overlaps(const struct file *f, const struct msg_op_lock *l)
{
	struct held_lock *h, *list = list_of(f);

	DL_FOREACH(list, h) {
		if (overlaps(h, l))
			return true;
	}
	return false;
}

static void drop(struct held_locks *all, struct held_lock *h)
{
	DL_DELETE(all->list, h);
	mem_free(h);
}

/* Cuts [start, end] out of `h`: what is left of it is up to two pieces. */
static void cut(struct held_locks *all, struct held_lock *h, uint64_t start, uint64_t end)
{
	struct held_lock *rest;

	if (h->start < start && h->end > end) {
		rest = mem_dup(h, sizeof(*h));
		rest->start = end + 1;
		DL_APPEND(all->list, rest);
	}
	if (h->start < start)
		h->end = start - 1;
	else if (h->end > end)
		h->start = end + 1;
	else
		drop(all, h);
}

void held_clear(struct file *f, const struct msg_op_lock *l)
{
	struct held_locks *all = f->locks;
	struct held_lock *h, *next;

	if (!all)
		return;
	DL_FOREACH_SAFE(all->list, h, next) {
		if (overlaps(h, l))
			cut(all, h, l->start, l->end);
	}
}

void held_set(struct file *f, const struct msg_op_lock *l, uint64_t handle)
{
	struct held_locks *all;
	struct held_lock *h;

	held_clear(f, l);
	if (!f->locks)
		f->locks = mem_new(sizeof(struct held_locks));
	all = f->locks;
	h = mem_new(sizeof(*h));
	h->owner = l->owner;
	h->start = l->start;
	h->end = l->end;
	h->handle = handle;
	h->pid = l->pid;
	h->type = l->type;
	h->flavour = l->flavour;
	DL_APPEND(all->list, h);
}

static void take(struct file *f, struct held_lock *h, struct msg_op_lock *out)
{
	*out = (struct msg_op_lock){
		.ino = f->ino,
		.owner = h->owner,
		.start = h->start,
		.end = h->end,
		.pid = h->pid,
		.flavour = h->flavour,
	};
	drop(f->locks, h);
}

bool held_take(struct file *f, uint64_t handle, struct msg_op_lock *out)
{
	struct held_lock *h, *list = list_of(f);

	DL_FOREACH(list, h) {
		if (h->handle != handle)
			continue;
		take(f, h, out);
		return true;
	}
	return false;
}

bool held_take_any(struct file *f, struct msg_op_lock *out)
{
	struct held_lock *list = list_of(f);

	if (!list)
		return false;
	take(f, list, out);
	return true;
}

bool locks_held(const struct file *f)
{
	return list_of(f) != NULL;
}

struct span locks_encode(struct file *f)
{
	struct held_locks *all = f->locks;
	struct held_lock *h;
	unsigned n = 0;
	uint8_t *p;

	if (!all || !all->list)
		return (struct span){0};
	DL_COUNT(all->list, h, n);
	all->encoded = mem_resize(all->encoded, n, RECLAIM_BYTES);
	p = all->encoded;
	DL_FOREACH(all->list, h) {
		put_u64le(p, h->owner);
		put_u64le(p + 8, h->start);
		put_u64le(p + 16, h->end);
		put_u32le(p + 24, h->pid);
		p[28] = h->type;
		p[29] = h->flavour;
		p += RECLAIM_BYTES;
	}
	return (struct span){all->encoded, n * RECLAIM_BYTES};
}

void locks_file_free(struct file *f)
{
	struct held_locks *all = f->locks;

	if (!all)
		return;
	while (all->list)
		drop(all, all->list);
	mem_free(all->encoded);
	mem_free(all);
	f->locks = NULL;
}
