/* Files without a name that may still be open (trap A15b): every session of an access server is
 * asked; a file goes when all have said that they have it not open, or have ended.
 *
 * One round asks about a bounded number of files. A session that lapsed and stands in the way is
 * ended. Volatile: a new leader asks again. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#define ROUND_FILES_MAX 256
#define ROUND_TIME (3 * NSEC_SEC)
#define ROUND_PAUSE (1 * NSEC_SEC)
#define ASK_AGAIN (500 * NSEC_MSEC)

void orphans_clear(struct hint *h)
{
	struct orphans *o = &h->orphans;

	mem_free(o->ino);
	mem_free(o->session);
	mem_free(o->answered);
	*o = (struct orphans){0};
}

static void round_begin(struct hint *h, nsec_t now)
{
	struct orphans *o = &h->orphans;
	struct sess *s, *tmp;
	uint64_t ino = 0;

	orphans_clear(h);
	o->ino = mem_new_array(ROUND_FILES_MAX, sizeof(*o->ino));
	while (o->n < ROUND_FILES_MAX && catalog_orphan_next(h->catalog, ino, &ino))
		o->ino[o->n++] = ino;
	if (o->n == 0)
		return;
	o->session = mem_new_array(HASH_COUNT(h->sessions) + 1, sizeof(*o->session));
	HASH_ITER(hh, h->sessions, s, tmp)
		if (s->kind == SERVER_ACCESS)
			o->session[o->askers++] = s->id;
	o->answered = mem_new_array((size_t)o->askers * o->n + 1, sizeof(*o->answered));
	o->resend_at = now;
	o->until = now + ROUND_TIME;
}

/* 8 bytes each, as MSG_INOS has them. */
static uint8_t *pack(const uint64_t *ino, unsigned n)
{
	uint8_t *p = mem_new((size_t)n * 8 + 1);

	for (unsigned i = 0; i < n; i++)
		put_u64le(p + (size_t)i * 8, ino[i]);
	return p;
}

static bool has_answered(const struct orphans *o, unsigned asker)
{
	for (unsigned i = 0; i < o->n; i++)
		if (o->answered[(size_t)asker * o->n + i])
			return true;
	return false;
}

static void ask(struct hint *h)
{
	struct orphans *o = &h->orphans;
	uint8_t *inos = pack(o->ino, o->n);

	for (unsigned a = 0; a < o->askers; a++) {
		struct msg m = {.type = MSG_TYPE_orphan_check};
		struct sess *s = sess_find(h, o->session[a]);

		if (!s || has_answered(o, a))
			continue;
		if (sess_lapsed(h, s)) {
			sess_end(h, s);
			continue;
		}
		m.dst = s->server;
		m.orphan_check.session = s->id;
		m.orphan_check.inos = (struct span){inos, o->n * 8};
		relay_send(h, &m);
	}
	mem_free(inos);
}

/* Proposes the removal of those that nobody has open. True: the round is over. */
static bool conclude(struct hint *h)
{
	struct orphans *o = &h->orphans;
	uint64_t gone[ROUND_FILES_MAX];
	struct msg op = {.type = MSG_TYPE_op_orphan_gone};
	uint8_t *inos;
	unsigned n = 0;

	for (unsigned i = 0; i < o->n; i++) {
		bool asked = !(h->config.bugs & HINT_BUG_ORPHANS_UNASKED), open = false;

		for (unsigned a = 0; a < o->askers && asked; a++)
			open |= !o->answered[(size_t)a * o->n + i] && sess_find(h, o->session[a]);
		if (!open)
			gone[n++] = o->ino[i];
	}
	if (n < o->n && hint_now(h) < o->until)
		return false;
	if (n) {
		TRACE("orphans.gone n first", n, gone[0], 0, 0);
		inos = pack(gone, n);
		op.op_orphan_gone.slot = 0xffff;
		op.op_orphan_gone.inos = (struct span){inos, n * 8};
		requests_internal(h, &op);
		mem_free(inos);
	}
	return true;
}

void orphans_answer(struct hint *h, const struct msg *m)
{
	struct orphans *o = &h->orphans;
	const struct msg_orphan_answer *a = &m->orphan_answer;
	const struct sess *s = sess_find(h, a->session);
	unsigned asker = 0;

	if (!o->n || !s || s->server != m->src)
		return;
	while (asker < o->askers && o->session[asker] != a->session)
		asker++;
	if (asker == o->askers)
		return;
	for (uint32_t off = 0; off + 8 <= a->inos.len; off += 8) {
		uint64_t ino = get_u64le(a->inos.p + off);

		for (unsigned i = 0; i < o->n; i++)
			if (o->ino[i] == ino)
				o->answered[(size_t)asker * o->n + i] = true;
	}
	hint_wake(h, hint_now(h));
}

nsec_t orphans_tick(struct hint *h, nsec_t now)
{
	struct orphans *o = &h->orphans;

	/* Until everybody's standing is known there is nobody to conclude about. */
	if (!h->ready || now < h->grace_until)
		return h->ready ? h->grace_until : NSEC_NEVER;
	if (!o->n) {
		if (!o->due)
			return NSEC_NEVER;
		if (now < o->until)
			return o->until;
		round_begin(h, now);
		if (!o->n)
			return NSEC_NEVER;
		o->due = true;
	}
	if (now >= o->resend_at) {
		ask(h);
		o->resend_at = now + ASK_AGAIN;
	}
	if (conclude(h)) {
		orphans_clear(h);
		o->due = true;
		o->until = now + ROUND_PAUSE;
		return o->until;
	}
	return MIN(o->resend_at, o->until);
}
