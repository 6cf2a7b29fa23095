#include "hint-server/quorum/read_index.h"

#define RESEND (100 * NSEC_MSEC)

void read_index_reset(struct read_index *r, uint64_t term, const struct voter_config *c)
{
	*r = (struct read_index){.term = term};
	for (unsigned i = 0; i < c->peers; i++)
		if (c->peer[i].vote && c->peer[i].id != c->self)
			r->peer[r->peers++].id = c->peer[i].id;
}

uint64_t read_index_join(struct read_index *r)
{
	r->wanted = r->sent + 1;
	return r->wanted;
}

/* The round that a majority (this server included) has answered. */
static uint64_t majority(const struct read_index *r)
{
	unsigned need = (r->peers + 1) / 2; /* answers besides our own */
	uint64_t best = 0;

	if (need == 0)
		return r->sent;
	for (unsigned i = 0; i < r->peers; i++) {
		unsigned n = 0;

		for (unsigned j = 0; j < r->peers; j++)
			n += r->peer[j].acked >= r->peer[i].acked;
		if (n >= need)
			best = MAX(best, r->peer[i].acked);
	}
	return best;
}

static void ask(struct read_index *r, uint64_t round, bool again,
                void (*send)(void *ctx, const struct msg *m), void *ctx)
{
	for (unsigned i = 0; i < r->peers; i++) {
		struct msg m = {.type = MSG_TYPE_term_check, .dst = r->peer[i].id};

		if (again && r->peer[i].acked >= round)
			continue;
		m.term_check.term = r->term;
		m.term_check.nonce = round;
		send(ctx, &m);
	}
}

void read_index_flush(struct read_index *r, nsec_t now,
                      void (*send)(void *ctx, const struct msg *m), void *ctx)
{
	if (r->wanted > r->sent && r->sent - r->confirmed < READ_ROUNDS_MAX) {
		ask(r, ++r->sent, false, send, ctx);
		r->resend_at = now + RESEND;
	} else if (r->sent > r->confirmed && now >= r->resend_at) {
		ask(r, r->sent, true, send, ctx);
		r->resend_at = now + RESEND;
	}
	r->confirmed = MAX(r->confirmed, majority(r));
}

bool read_index_answer(struct read_index *r, const struct msg *m, nsec_t now)
{
	uint64_t before = r->confirmed;

	for (unsigned i = 0; i < r->peers; i++) {
		if (r->peer[i].id != m->src)
			continue;
		r->peer[i].heard = now;
		if (m->term_check_reply.term == r->term && m->term_check_reply.nonce <= r->sent)
			r->peer[i].acked = MAX(r->peer[i].acked, m->term_check_reply.nonce);
	}
	r->confirmed = MAX(r->confirmed, majority(r));
	return r->confirmed > before;
}

nsec_t read_index_due(const struct read_index *r)
{
	return r->sent > r->confirmed ? r->resend_at : NSEC_NEVER;
}

unsigned read_index_heard(const struct read_index *r, nsec_t since)
{
	unsigned n = 1;

	for (unsigned i = 0; i < r->peers; i++)
		n += r->peer[i].heard && r->peer[i].heard >= since;
	return n;
}
