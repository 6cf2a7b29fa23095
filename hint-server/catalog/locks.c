#include "hint-server/catalog/locks.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#include <fcntl.h>

void lock_table_init(struct lock_table *t)
{
	*t = (struct lock_table){0};
}

void lock_table_fini(struct lock_table *t)
{
	mem_free(t->lock);
	lock_table_init(t);
}

static bool same_owner(const struct catalog_lock *a, const struct catalog_lock *b)
{
	return a->flavour == b->flavour && a->session == b->session && a->owner == b->owner;
}

static bool overlap(const struct catalog_lock *a, const struct catalog_lock *b)
{
	return a->start <= b->end && b->start <= a->end;
}

/* Overlapping, or one ends where the other begins. */
static bool touch(const struct catalog_lock *a, const struct catalog_lock *b)
{
	return overlap(a, b) || (a->end != UINT64_MAX && a->end + 1 == b->start) ||
	       (b->end != UINT64_MAX && b->end + 1 == a->start);
}

const struct catalog_lock *lock_table_conflict(const struct lock_table *t,
                                               const struct catalog_lock *want)
{
	for (unsigned i = 0; i < t->n && want->type != F_UNLCK; i++) {
		const struct catalog_lock *l = &t->lock[i];

		if (l->flavour == want->flavour && !same_owner(l, want) && overlap(l, want) &&
		    (l->type == F_WRLCK || want->type == F_WRLCK))
			return l;
	}
	return NULL;
}

static int order(const struct catalog_lock *a, const struct catalog_lock *b)
{
	if (a->flavour != b->flavour)
		return a->flavour < b->flavour ? -1 : 1;
	if (a->session != b->session)
		return a->session < b->session ? -1 : 1;
	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	return a->start == b->start ? 0 : a->start < b->start ? -1 : 1;
}

static void insert(struct lock_table *t, const struct catalog_lock *l)
{
	unsigned at = t->n;

	if (t->n == t->capacity) {
		t->capacity = MAX(8u, t->capacity * 2);
		t->lock = mem_resize(t->lock, t->capacity, sizeof(*t->lock));
	}
	for (; at > 0 && order(&t->lock[at - 1], l) > 0; at--)
		t->lock[at] = t->lock[at - 1];
	t->lock[at] = *l;
	t->n++;
}

bool lock_table_set(struct lock_table *t, const struct catalog_lock *want)
{
	struct catalog_lock grown = *want, rest[2];
	unsigned kept = 0, rests = 0;
	bool less = false;

	for (unsigned i = 0; i < t->n; i++) {
		struct catalog_lock *l = &t->lock[i];

		if (same_owner(l, want) && l->type == want->type && l->pid == want->pid &&
		    touch(l, want)) {
			grown.start = MIN(grown.start, l->start);
			grown.end = MAX(grown.end, l->end);
			continue;
		}
		if (!same_owner(l, want) || !overlap(l, want)) {
			t->lock[kept++] = *l;
			continue;
		}
		/* What sticks out on either side stays; only the first and the last lock can. */
		less = less || l->type == F_WRLCK || want->type == F_UNLCK;
		if (l->start < want->start) {
			rest[rests] = *l;
			rest[rests++].end = want->start - 1;
		}
		if (l->end > want->end) {
			rest[rests] = *l;
			rest[rests++].start = want->end + 1;
		}
	}
	t->n = kept;
	for (unsigned i = 0; i < rests; i++)
		insert(t, &rest[i]);
	if (want->type != F_UNLCK)
		insert(t, &grown);
	return less;
}

bool lock_table_drop_session(struct lock_table *t, session_id_t s)
{
	unsigned kept = 0, before = t->n;

	for (unsigned i = 0; i < t->n; i++)
		if (t->lock[i].session != s)
			t->lock[kept++] = t->lock[i];
	t->n = kept;
	return kept < before;
}

bool lock_table_has_session(const struct lock_table *t, session_id_t s)
{
	for (unsigned i = 0; i < t->n; i++)
		if (t->lock[i].session == s)
			return true;
	return false;
}

void lock_table_encode(const struct lock_table *t, uint8_t *p)
{
	for (unsigned i = 0; i < t->n; i++, p += LOCK_BYTES) {
		const struct catalog_lock *l = &t->lock[i];

		put_u64le(p, l->session);
		put_u64le(p + 8, l->owner);
		put_u64le(p + 16, l->start);
		put_u64le(p + 24, l->end);
		put_u32le(p + 32, l->pid);
		p[36] = l->type;
		p[37] = l->flavour;
	}
}

static bool valid(const struct catalog_lock *l)
{
	return l->start <= l->end && (l->type == F_RDLCK || l->type == F_WRLCK) &&
	       (l->flavour == LOCK_POSIX || l->flavour == LOCK_FLOCK);
}

int lock_table_decode(struct lock_table *t, const uint8_t *p, size_t len)
{
	struct cursor c = {p, len, false};

	t->n = 0;
	while (c.left > 0) {
		struct catalog_lock l = {0};

		l.session = cursor_u64(&c);
		l.owner = cursor_u64(&c);
		l.start = cursor_u64(&c);
		l.end = cursor_u64(&c);
		l.pid = cursor_u32(&c);
		l.type = cursor_u8(&c);
		l.flavour = cursor_u8(&c);
		if (c.bad || !valid(&l))
			return ERR_CORRUPT;
		insert(t, &l);
	}
	return 0;
}
