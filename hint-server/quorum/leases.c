/* Shared leases on attributes, entries (META) and data (DATA): the leader's own, never logged.
 *
 *   granted --recall--> recalled --recall_ack--------------------------> gone
 *      |                    |  reader's validity runs out (shared_until)    ^
 *      +--------------------+---- session ends, leadership ends ------------+
 *
 * A change claims what it touches: from then on nobody is granted anything there, so that it cannot
 * starve; claims go by arrival. Recalls are pushed, repeated, and carried in heartbeat answers; who
 * does not give up in time is not answered any more, so its validity runs out (trap B3). Exclusive
 * leases live in the catalog; here is only their recall. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

struct ilease *lease_get(struct hint *h, uint64_t ino)
{
	struct ilease *il;

	HASH_FIND(hh, h->ileases, &ino, sizeof(ino), il);
	if (il)
		return il;
	il = mem_new(sizeof(*il));
	il->ino = ino;
	HASH_ADD(hh, h->ileases, ino, sizeof(il->ino), il);
	return il;
}

void lease_maybe_free(struct hint *h, struct ilease *il)
{
	if (il->holds || il->claim || il->changes || il->users || il->ex_id)
		return;
	/* granted_at matters only under contention, which a claim would show. */
	HASH_DEL(h->ileases, il);
	mem_free(il);
}

static void recall_end(struct hint *h, struct hold *d)
{
	if (!d->recall)
		return;
	DL_DELETE2(h->recalled, d, r_prev, r_next);
	d->sess->n_recalled--;
	d->recall = 0;
	h->dirty = true;
}

static void hold_drop(struct hint *h, struct hold *d)
{
	struct sess *s = d->sess;

	recall_end(h, d);
	DL_DELETE(d->il->holds, d);
	DL_DELETE2(s->holds, d, s_prev, s_next);
	s->n_holds--;
	mem_free(d);
}

static void ex_clear(struct hint *h, struct ilease *il)
{
	if (!il->ex_id)
		return;
	DL_DELETE2(h->ex_recalled, il, ex_prev, ex_next);
	il->ex_id = 0;
	il->ex_from = 0;
}

void lease_drop_session(struct hint *h, struct sess *s)
{
	struct hold *d, *tmp;

	DL_FOREACH_SAFE2(s->holds, d, tmp, s_next) {
		struct ilease *il = d->il;

		hold_drop(h, d);
		lease_maybe_free(h, il);
	}
}

void leases_clear(struct hint *h)
{
	struct ilease *il, *tmp;

	HASH_ITER(hh, h->ileases, il, tmp) {
		while (il->holds)
			hold_drop(h, il->holds);
		ex_clear(h, il);
		HASH_DEL(h->ileases, il);
		mem_free(il);
	}
}

/* --- granting --- */

bool lease_may_grant(struct hint *h, const struct sess *s, uint64_t ino)
{
	struct ilease *il;

	if (!s || s->ending || sess_lapsed(h, s))
		return false;
	HASH_FIND(hh, h->ileases, &ino, sizeof(ino), il);
	return !il || (!il->claim && !il->changes);
}

static struct hold *hold_find(struct ilease *il, const struct sess *s, unsigned what)
{
	struct hold *d;

	DL_FOREACH(il->holds, d)
		if (d->sess == s && d->what == what)
			return d;
	return NULL;
}

bool lease_grant(struct hint *h, struct sess *s, uint64_t ino, unsigned what)
{
	struct ilease *il = lease_get(h, ino);

	if (s->n_holds + 2 > HOLDS_PER_SESSION_MAX) {
		lease_maybe_free(h, il);
		return false;
	}
	for (unsigned w = RECALL_META; w <= RECALL_DATA; w <<= 1) {
		struct hold *d;

		if (!(what & w))
			continue;
		d = hold_find(il, s, w);
		if (d) {
			/* The answer to an older recall will not be about this grant. */
			recall_end(h, d);
			continue;
		}
		d = mem_new(sizeof(*d));
		d->sess = s;
		d->il = il;
		d->what = (uint8_t)w;
		DL_APPEND(il->holds, d);
		DL_APPEND2(s->holds, d, s_prev, s_next);
		s->n_holds++;
	}
	if (what & RECALL_DATA)
		il->granted_at = hint_now(h);
	return true;
}

/* --- recalling --- */

static void send_recall(struct hint *h, const struct sess *s, uint64_t ino, uint8_t what, uint8_t to,
                        uint64_t id)
{
	struct msg m = {.type = MSG_TYPE_recall, .dst = s->server};

	m.recall = (struct msg_recall){.ino = ino, .what = what, .to = to, .id = id};
	relay_send(h, &m);
}

static void recall_hold(struct hint *h, struct hold *d)
{
	if (d->recall)
		return;
	d->recall = ++h->next_id;
	d->recalled_at = hint_now(h);
	d->resend_at = d->recalled_at + RECALL_RESEND;
	DL_APPEND2(h->recalled, d, r_prev, r_next);
	d->sess->n_recalled++;
	hint_wake(h, d->resend_at);
	TRACE("lease.recall ino what session id", d->il->ino, d->what, d->sess->id, d->recall);
	send_recall(h, d->sess, d->il->ino, d->what, LEASE_NONE, d->recall);
}

static void recall_exclusive(struct hint *h, struct ilease *il, const struct sess *s, uint8_t to)
{
	if (il->ex_id && il->ex_from == s->id)
		return;
	ex_clear(h, il);
	il->ex_id = ++h->next_id;
	il->ex_from = s->id;
	il->ex_to = to;
	il->ex_at = hint_now(h);
	il->ex_resend_at = il->ex_at + RECALL_RESEND;
	DL_APPEND2(h->ex_recalled, il, ex_prev, ex_next);
	hint_wake(h, il->ex_resend_at);
	TRACE("lease.recall_exclusive ino session id", il->ino, s->id, il->ex_id, 0);
	send_recall(h, s, il->ino, RECALL_DATA | RECALL_HELD, to, il->ex_id);
}

/* A grant lasts at least one operation, else two writers only ever pass the file to each other. */
static bool too_fresh(struct hint *h, const struct ilease *il)
{
	nsec_t until = il->granted_at + LEASE_HOLD_MIN;

	if (!il->granted_at || hint_now(h) >= until)
		return false;
	hint_wake(h, until);
	return true;
}

/* What others share of it. True: nothing (any more). */
static bool clear_shared(struct hint *h, struct ilease *il, unsigned what, session_id_t mine)
{
	struct hold *d, *tmp;
	bool clear = true;

	DL_FOREACH_SAFE(il->holds, d, tmp) {
		struct sess *s = d->sess;

		if (!(d->what & what) || s->id == mine)
			continue;
		if (hint_now(h) >= s->shared_until) {
			/* Its validity ran out. Should it come back, it hears that all is void. */
			s->greeted = false;
			hold_drop(h, d);
			continue;
		}
		clear = false;
		hint_wake(h, s->shared_until);
		if (d->what == RECALL_META || !too_fresh(h, il))
			recall_hold(h, d);
	}
	return clear;
}

static bool clear_exclusive(struct hint *h, struct ilease *il, session_id_t holder, uint8_t to)
{
	struct sess *s = sess_find(h, holder);

	if (!s || s->ending)
		return false; /* its end is being applied */
	if (sess_lapsed(h, s)) {
		sess_end(h, s);
		return false;
	}
	hint_wake(h, s->deadline);
	if (!too_fresh(h, il))
		recall_exclusive(h, il, s, to);
	return false;
}

/* Does `claim` wait for the exclusive lease of this very session? The holder cannot give the lease
 * back before its own writes are done, and one of these may wait for a change of the inode, to
 * take setuid away: such a change goes first. There is an end to them, for the holder is recalled. */
static bool waits_for(const struct request *claim, uint64_t ino, session_id_t session)
{
	for (unsigned i = 0; i < claim->touches; i++)
		if (claim->touch[i].ino == ino && claim->touch[i].holder == session)
			return true;
	return false;
}

static bool clear_touch(struct hint *h, struct request *r, unsigned i)
{
	const struct catalog_touch *t = &r->touch[i];
	struct ilease *il = r->touched[i];
	session_id_t mine = r->m.q_statfs.session;
	bool lease = r->m.type == MSG_TYPE_op_lease;
	bool move = r->m.type == MSG_TYPE_op_move; /* its asker too must ask where the replicas are then */
	bool clear = true;

	if (il->claim && il->claim != r && il->claim->arrival < r->arrival &&
	    !waits_for(il->claim, t->ino, mine))
		return false;
	if (lease && il->changes)
		return false;
	if (t->what && !(h->config.bugs & HINT_BUG_NO_RECALL && t->what == RECALL_META))
		clear = clear_shared(h, il, t->what, move ? 0 : mine);
	if (t->holder && (t->holder != mine || move))
		clear &= clear_exclusive(h, il, t->holder,
		                         lease && r->m.op_lease.mode == LEASE_SHARED ? LEASE_SHARED
		                                                                     : LEASE_NONE);
	return clear;
}

/* r->touch was found out anew, after lease_release_claims(). */
bool lease_clear_for(struct hint *h, struct request *r, bool changes)
{
	bool clear = true;

	for (unsigned i = 0; i < r->touches; i++) {
		r->touched[i] = lease_get(h, r->touch[i].ino);
		r->touched[i]->users++;
	}
	for (unsigned i = 0; i < r->touches; i++)
		clear &= clear_touch(h, r, i);
	/* Readers of the previous leader may still trust what it granted. */
	if (changes && r->touches && hint_now(h) < h->grace_until) {
		hint_wake(h, h->grace_until);
		clear = false;
	}
	for (unsigned i = 0; i < r->touches; i++) {
		struct ilease *il = r->touched[i];

		if (!clear && (!il->claim || il->claim->arrival > r->arrival))
			il->claim = r;
		else if (clear && il->claim == r)
			il->claim = NULL;
	}
	return clear;
}

/* Forgets which inodes the request touches, claims included. */
void lease_release_claims(struct hint *h, struct request *r)
{
	for (unsigned i = 0; i < r->touches; i++) {
		struct ilease *il = r->touched[i];

		if (!il)
			continue;
		r->touched[i] = NULL;
		il->users--;
		if (il->claim == r)
			il->claim = NULL;
		lease_maybe_free(h, il);
	}
}

void lease_ack(struct hint *h, const struct msg *m)
{
	struct hold *d, *tmp;

	if (!m->recall_ack.id)
		return;
	DL_FOREACH_SAFE2(h->recalled, d, tmp, r_next) {
		struct ilease *il = d->il;

		if (d->recall != m->recall_ack.id || il->ino != m->recall_ack.ino ||
		    d->sess->server != m->src)
			continue;
		hold_drop(h, d);
		lease_maybe_free(h, il);
		return;
	}
}

void lease_holder_changed(struct hint *h, uint64_t ino)
{
	struct ilease *il;

	HASH_FIND(hh, h->ileases, &ino, sizeof(ino), il);
	if (il) {
		ex_clear(h, il);
		il->granted_at = hint_now(h);
	}
	h->dirty = true;
}

/* --- time --- */

bool lease_overdue(const struct hint *h, const struct sess *s)
{
	const struct hold *d;
	const struct ilease *il;
	nsec_t now = hint_now(h);

	if (s->n_recalled)
		DL_FOREACH2(h->recalled, d, r_next)
			if (d->sess == s && now >= d->recalled_at + h->config.shared_timeout)
				return true;
	DL_FOREACH2(h->ex_recalled, il, ex_next)
		if (il->ex_from == s->id && now >= il->ex_at + h->config.session_timeout)
			return true;
	return false;
}

unsigned lease_recalls(struct hint *h, struct sess *s, uint8_t *out, unsigned max)
{
	struct ilease *il;
	struct hold *d;
	unsigned n = 0;

	DL_FOREACH2(h->ex_recalled, il, ex_next) {
		uint8_t *p = out + (size_t)n * RECALL_RECORD_BYTES;

		if (il->ex_from != s->id || n == max)
			continue;
		put_u64le(p, il->ino);
		p[8] = RECALL_DATA | RECALL_HELD;
		p[9] = il->ex_to;
		put_u64le(p + 10, il->ex_id);
		n++;
	}
	if (!s->n_recalled)
		return n;
	DL_FOREACH2(h->recalled, d, r_next) {
		uint8_t *p = out + (size_t)n * RECALL_RECORD_BYTES;

		if (d->sess != s || n == max)
			continue;
		put_u64le(p, d->il->ino);
		p[8] = d->what;
		p[9] = LEASE_NONE;
		put_u64le(p + 10, d->recall);
		n++;
	}
	return n;
}

nsec_t leases_tick(struct hint *h, nsec_t now)
{
	nsec_t next = NSEC_NEVER;
	struct ilease *il;
	struct hold *d;

	DL_FOREACH2(h->recalled, d, r_next) {
		if (now >= d->resend_at) {
			d->resend_at = now + RECALL_RESEND;
			send_recall(h, d->sess, d->il->ino, d->what, LEASE_NONE, d->recall);
		}
		next = MIN(next, d->resend_at);
	}
	DL_FOREACH2(h->ex_recalled, il, ex_next) {
		const struct sess *s = sess_find(h, il->ex_from);

		if (s && now >= il->ex_resend_at) {
			il->ex_resend_at = now + RECALL_RESEND;
			send_recall(h, s, il->ino, RECALL_DATA | RECALL_HELD, il->ex_to, il->ex_id);
		}
		next = MIN(next, MAX(il->ex_resend_at, now + NSEC_MSEC));
	}
	return next;
}

void leases_shift(struct hint *h, nsec_t late)
{
	struct ilease *il;
	struct hold *d;

	DL_FOREACH2(h->recalled, d, r_next)
		d->recalled_at += late;
	DL_FOREACH2(h->ex_recalled, il, ex_next)
		il->ex_at += late;
}
