/* Who waits for a lock: told when it may be asked for again. Volatile; a waiter also asks now and
 * then by itself, so a lost notice or a new leader costs time, not the lock. */
#include "common/base/mem.h"
#include "hint-server/quorum/hint_private.h"

#define LOCK_WAITS_MAX 8192
#define LOCK_READY_RESEND (200 * NSEC_MSEC)
#define LOCK_READY_MAX 10

static void wait_free(struct hint *h, struct lock_wait *w)
{
	DL_DELETE(h->lock_waits, w);
	h->n_lock_waits--;
	mem_free(w);
}

void lock_wait_add(struct hint *h, const struct msg *op)
{
	struct lock_wait *w;

	if (h->n_lock_waits == LOCK_WAITS_MAX)
		wait_free(h, h->lock_waits);
	w = mem_new(sizeof(*w));
	w->session = op->op_lock.session;
	w->ino = op->op_lock.ino;
	w->owner = op->op_lock.owner;
	w->resend_at = NSEC_NEVER;
	DL_APPEND(h->lock_waits, w);
	h->n_lock_waits++;
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
