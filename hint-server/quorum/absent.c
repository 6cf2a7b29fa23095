/* Files whose holder is absent. Whoever opens one has it at once; that nobody asks for it must not cost its
 * holder what it has buffered and locked: after a cut it comes back and reclaims what nobody took, so its users
 * have only waited. Therefore files are recovered in the background only `recover_after` later, or soon after
 * their holder is back without having reclaimed them.
 *
 * The catalog knows a server's last session and the one before; since when a session is over is what this
 * leader saw, or the begin of its leadership. */
#include "common/base/mem.h"
#include "hint-server/quorum/hint_private.h"

#define ABSENT_MAX 1024
#define RECLAIM_TIMEOUTS 2 /* of sessions, in which one that is back reclaims */

struct absent {
	session_id_t id;
	nsec_t since;
	UT_hash_handle hh;
};

void absent_reset(struct hint *h)
{
	struct absent *a, *tmp;

	HASH_ITER(hh, h->absent, a, tmp) {
		HASH_DEL(h->absent, a);
		mem_free(a);
	}
	h->led_since = hint_now(h);
}

void absent_add(struct hint *h, session_id_t id)
{
	struct absent *a;

	HASH_FIND(hh, h->absent, &id, sizeof(id), a);
	if (a)
		return;
	if (HASH_COUNT(h->absent) >= ABSENT_MAX) {
		a = h->absent; /* the oldest */
		HASH_DEL(h->absent, a);
		mem_free(a);
	}
	a = mem_new(sizeof(*a));
	a->id = id;
	a->since = hint_now(h);
	HASH_ADD(hh, h->absent, id, sizeof(a->id), a);
}

/* The session that the server of this ended one has now; false: it ended another one since. */
static bool followed_by(struct hint *h, session_id_t ended, session_id_t *now)
{
	struct catalog_server s = {0};

	while (catalog_server_next(h->catalog, s.id, &s)) {
		if (s.ended == ended) {
			*now = s.session;
			return true;
		}
	}
	return false;
}

/* Its files are recovered then, whether it is back or not. */
static nsec_t until(struct hint *h, session_id_t id)
{
	const struct sess *s = sess_find(h, id);
	const struct absent *a;

	HASH_FIND(hh, h->absent, &id, sizeof(id), a);
	return (s ? s->deadline : a ? a->since : h->led_since) + h->config.recover_after;
}

nsec_t absent_left(struct hint *h, session_id_t id)
{
	return absent_over(h, id) ? 0 : MAX(until(h, id) - hint_now(h), 0);
}

bool absent_over(struct hint *h, session_id_t id)
{
	const struct sess *s = sess_find(h, id);
	session_id_t next = 0;

	if (h->config.bugs & HINT_BUG_RECOVERS_AT_ONCE)
		return true;
	if (s)
		return sess_lapsed(h, s) && hint_now(h) >= until(h, id);
	if (!followed_by(h, id, &next) || hint_now(h) >= until(h, id))
		return true;
	s = next ? sess_find(h, next) : NULL;
	return s && !sess_lapsed(h, s) &&
	       hint_now(h) >= s->since + RECLAIM_TIMEOUTS * h->config.session_timeout;
}
