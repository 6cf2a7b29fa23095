/* Who waits for a lock: told when it may be asked for again. Volatile; a waiter also asks now and
 * then by itself, so a lost notice or a new leader costs time, not the lock.
 *
 * Who waits, round some corners, for itself gets EDEADLK (fcntl(2)), as Linux finds it: from each waiter to
 * whoever is in its way, and to what that one waits for. Nobody tells of a wait that was given up, so a
 * circle counts when all of it has been asked for again since it was found first. flock has none of this. */
#include "common/base/mem.h"
#include "hint-server/quorum/hint_private.h"

#define LOCK_WAITS_MAX 8192
#define LOCK_READY_RESEND (200 * NSEC_MSEC)
#define LOCK_READY_MAX 10
#define CIRCLE_MAX 10

static void wait_free(struct hint *h, struct lock_wait *w)
{
	DL_DELETE(h->lock_waits, w);
	h->n_lock_waits--;
	mem_free(w);
}

static struct lock_wait *find(struct hint *h, session_id_t session, uint64_t owner, uint64_t ino)
{
	struct lock_wait *w;

	DL_FOREACH(h->lock_waits, w)
		if (w->session == session && w->owner == owner && w->lock.flavour == LOCK_POSIX &&
		    (ino == 0 || w->ino == ino))
			return w;
	return NULL;
}

/* Every wait on the way was asked for after `since`. */
static bool in_circle(struct hint *h, const struct msg_op_lock *asked, nsec_t since)
{
	const struct msg_op_lock *lock = asked;
	struct catalog_lock blocker;
	const struct lock_wait *w;

	for (unsigned n = 0; n < CIRCLE_MAX; n++) {
		if (!catalog_lock_blocker(h->catalog, lock->session, lock, &blocker))
			return false;
		if (blocker.session == asked->session && blocker.owner == asked->owner)
			return true;
		w = find(h, blocker.session, blocker.owner, 0);
		if (!w || w->asked_at <= since)
			return false;
		lock = &w->lock;
	}
	return false;
}

bool lock_wait_add(struct hint *h, const struct msg *op)
{
	const struct msg_op_lock *lock = &op->op_lock;
	struct lock_wait *w = find(h, lock->session, lock->owner, lock->ino);
	bool circle = lock->flavour == LOCK_POSIX && in_circle(h, lock, 0);
	nsec_t since = circle && w ? w->circle_since : 0;

	lock_wait_forget(h, lock->session, lock->ino, lock->owner);
	if (since && in_circle(h, lock, since))
		return false;
	if (h->n_lock_waits == LOCK_WAITS_MAX)
		wait_free(h, h->lock_waits);
	w = mem_new(sizeof(*w));
	w->session = lock->session;
	w->ino = lock->ino;
	w->owner = lock->owner;
	w->lock = *lock;
	w->asked_at = hint_now(h);
	w->circle_since = since || !circle ? since : w->asked_at;
	w->resend_at = NSEC_NEVER;
	DL_APPEND(h->lock_waits, w);
	h->n_lock_waits++;
	return true;
}

void lock_wait_forget(struct hint *h, session_id_t session, uint64_t ino, uint64_t owner)
{
	struct lock_wait *w, *tmp;

	DL_FOREACH_SAFE(h->lock_waits, w, tmp)
		if (w->session == session && w->ino == ino && w->owner == owner)
			wait_free(h, w);
}

void lock_waits_freed(struct hint *h, uint64_t ino)
{
	struct lock_wait *w;

	DL_FOREACH(h->lock_waits, w)
		if (w->ino == ino) {
			w->resend_at = hint_now(h);
			hint_wake(h, w->resend_at);
		}
}

nsec_t lock_waits_tick(struct hint *h, nsec_t now)
{
	nsec_t next = NSEC_NEVER;
	struct lock_wait *w, *tmp;

	DL_FOREACH_SAFE(h->lock_waits, w, tmp) {
		const struct sess *s = sess_find(h, w->session);
		struct msg m = {.type = MSG_TYPE_lock_ready};

		if (!s || w->sent == LOCK_READY_MAX) {
			wait_free(h, w);
			continue;
		}
		if (now >= w->resend_at) {
			m.dst = s->server;
			m.lock_ready = (struct msg_lock_ready){w->ino, w->owner};
			relay_send(h, &m);
			w->sent++;
			w->resend_at = now + LOCK_READY_RESEND;
		}
		next = MIN(next, w->resend_at);
	}
	return next;
}

void lock_waits_clear(struct hint *h)
{
	while (h->lock_waits)
		wait_free(h, h->lock_waits);
}
