/* Giving metadata back: our cache at once, the kernel's by invalidation, then the answer.
 *
 *   recall -> items dropped, names the kernel may believe noted -> (SETTLE) told to the kernel
 *          -> all dropped, or nothing of it valid any more -> recall_ack
 *
 * Replies that were made before the recall are delivered first (SETTLE), so that none of them tells
 * the kernel again. Dropping an entry takes the directory's lock in the kernel, which a change of
 * our own may hold while it waits for the leader, who waits for this answer: therefore the end of
 * the validity we gave is as good as the kernel's word. */
#include "access-server/volume/names.h"

#define SETTLE NSEC_MSEC
#define SLACK (20 * NSEC_MSEC) /* the kernel counts in jiffies, from when it reads the reply */

static void note_name(struct names_recall *r, struct span name)
{
	r->names = mem_resize(r->names, r->names_bytes + 2 + name.len, 1);
	put_u16le(r->names + r->names_bytes, (uint16_t)name.len);
	memcpy(r->names + r->names_bytes + 2, name.p, name.len);
	r->names_bytes += 2 + name.len;
}

static void note_kernel_names(struct names_recall *r, const struct node *n)
{
	struct item *i;

	DL_FOREACH(n->items, i) {
		if (i->kernel_until <= r->v->now)
			continue;
		note_name(r, item_name(i));
		r->until = MAX(r->until, i->kernel_until + SLACK);
	}
}

static void recall_free(struct names_recall *r)
{
	struct volume *v = r->v;

	timer_stop(v, &r->timer);
	DL_DELETE(names_of(v)->recalls, r);
	node_unpin(v, r->node);
	mem_free(r->names);
	mem_free(r);
}

static void finish(struct names_recall *r)
{
	struct volume *v = r->v;

	vol_send_recall_ack(v, r->ino, RECALL_META, LEASE_NONE, r->id);
	recall_free(r);
}

static void tell_kernel(struct names_recall *r)
{
	struct volume *v = r->v;
	struct file *f = file_find(v, r->ino);
	uint32_t at = 0;

	r->asked = true;
	r->waiting = 1; /* all are told before one answer ends it */
	if (!f || attr_valid_in_kernel(f, SLACK)) {
		r->waiting++;
		v->ops->invalidate(v->ctx, r->ino, VOL_ATTRIBUTES_ONLY, 0, r->cookie);
	}
	while (at < r->names_bytes) {
		struct span name = {r->names + at + 2, get_u16le(r->names + at)};

		r->waiting++;
		v->ops->invalidate_entry(v->ctx, r->ino, name, r->cookie);
		at += 2 + name.len;
	}
	timer_set(v, &r->timer, MAX(r->until, v->now + ATTR_VALID_MAX + SLACK));
	names_invalidated(v, r->cookie);
}

static void on_timer(struct volume *v, struct vol_timer *t)
{
	struct names_recall *r = container_of(t, struct names_recall, timer);
	struct file *f = file_find(v, r->ino);

	if (r->asked)
		finish(r);
	else if (f && v->now < r->since + ATTR_VALID_MAX &&
	         (attr_awaited(f, r->since) || (f->inval_cookie && !attr_valid_in_kernel(f, SLACK))))
		timer_set(v, t, v->now + SETTLE);
	else
		tell_kernel(r);
}

static bool under_way(struct volume *v, uint64_t ino, uint64_t id)
{
	struct names_recall *r;

	DL_FOREACH(names_of(v)->recalls, r) {
		if (r->ino == ino && r->id == id)
			return true;
	}
	return false;
}

static struct names_recall *recall_new(struct volume *v, uint64_t ino)
{
	struct names_recall *r = mem_new(sizeof(*r));

	r->v = v;
	r->ino = ino;
	r->cookie = COOKIE_NAMES | ++v->next_cookie;
	r->timer.fire = on_timer;
	DL_APPEND(names_of(v)->recalls, r);
	return r;
}

void names_recall_meta(struct volume *v, uint64_t ino, uint64_t id)
{
	struct file *f = file_find(v, ino);
	struct node *n = node_find(v, ino);
	struct names_recall *r;

	if (f)
		f->meta = false;
	if (under_way(v, ino, id))
		return; /* the leader repeats itself until answered */
	names_note_contended(v, ino);
	r = recall_new(v, ino);
	r->id = id;
	r->since = v->now;
	if (n) {
		r->node = node_pin(v, ino);
		note_kernel_names(r, n);
		node_drop(v, n);
	}
	timer_set(v, &r->timer, v->now + SETTLE);
}

void names_invalidated(struct volume *v, uint64_t cookie)
{
	struct names_recall *r;

	DL_FOREACH(names_of(v)->recalls, r) {
		if (r->cookie != cookie)
			continue;
		CHECK(r->waiting > 0);
		if (--r->waiting == 0)
			finish(r);
		return;
	}
}

/* The kernel's validity ends by itself with ours: it was never given more. */
void names_shared_void(struct volume *v)
{
	struct file *f, *next;

	names_of(v)->voids++;
	v->shared_void_seq = v->recall_unknown = ++v->recall_seq; /* answers under way bring no lease either */
	/* A reply that waits for the session to return comes too late for any validity. */
	for (struct vol_req *req = v->done; req; req = rs(req)->next)
		req->attr_valid = req->entry_valid = 0;
	HASH_ITER(hh, v->files, f, next)
		f->meta = false;
	names_drop_all(v);
}

void names_file_free(struct file *f)
{
	(void)f; /* nodes live on their own: a cached entry needs no inode */
}
