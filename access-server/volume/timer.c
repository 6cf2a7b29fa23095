/* The volume's timers: a binary heap by due time, embedded timers. */
#include "access-server/volume/volume_internal.h"

static void place(struct timer_heap *h, unsigned i, struct vol_timer *t)
{
	h->heap[i] = t;
	t->slot = i + 1;
}

static void sift_up(struct timer_heap *h, unsigned i)
{
	struct vol_timer *t = h->heap[i];

	while (i > 0 && h->heap[(i - 1) / 2]->due > t->due) {
		place(h, i, h->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	place(h, i, t);
}

static void sift_down(struct timer_heap *h, unsigned i)
{
	struct vol_timer *t = h->heap[i];

	for (;;) {
		unsigned child = 2 * i + 1;

		if (child >= h->n)
			break;
		if (child + 1 < h->n && h->heap[child + 1]->due < h->heap[child]->due)
			child++;
		if (h->heap[child]->due >= t->due)
			break;
		place(h, i, h->heap[child]);
		i = child;
	}
	place(h, i, t);
}

void timer_set(struct volume *v, struct vol_timer *t, nsec_t due)
{
	struct timer_heap *h = &v->timers;

	if (t->slot) {
		t->due = due;
		sift_up(h, t->slot - 1);
		sift_down(h, t->slot - 1);
		return;
	}
	if (h->n == h->capacity) {
		h->capacity = h->capacity ? 2 * h->capacity : 64;
		h->heap = mem_resize(h->heap, h->capacity, sizeof(*h->heap));
	}
	t->due = due;
	place(h, h->n++, t);
	sift_up(h, h->n - 1);
}

void timer_set_sooner(struct volume *v, struct vol_timer *t, nsec_t due)
{
	if (!t->slot || due < t->due)
		timer_set(v, t, due);
}

void timer_stop(struct volume *v, struct vol_timer *t)
{
	struct timer_heap *h = &v->timers;
	unsigned i = t->slot;

	if (i == 0)
		return;
	i--;
	CHECK(i < h->n && h->heap[i] == t);
	t->slot = 0;
	h->n--;
	if (i == h->n)
		return;
	place(h, i, h->heap[h->n]);
	sift_up(h, i);
	sift_down(h, h->heap[i]->slot - 1);
}

/* A timer that sets itself again in fire() for a time already past is run again at the next tick,
 * so that one tick always ends. */
void timers_run(struct volume *v)
{
	unsigned most = v->timers.n;

	while (most-- > 0 && v->timers.n > 0 && v->timers.heap[0]->due <= v->now) {
		struct vol_timer *t = v->timers.heap[0];

		timer_stop(v, t);
		t->fire(v, t);
	}
}

nsec_t timers_due(const struct volume *v)
{
	return v->timers.n ? v->timers.heap[0]->due : NSEC_NEVER;
}

void timers_free(struct volume *v)
{
	mem_free(v->timers.heap);
	v->timers = (struct timer_heap){0};
}
