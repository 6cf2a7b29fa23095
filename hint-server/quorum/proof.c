#include "hint-server/quorum/proof.h"

#include "common/base/trace.h"

#define ASK_AGAIN (100 * NSEC_MSEC)
#define FIRST_TERM 1

/* Told from the rounds of read_index.h, which only leaders begin, by their term 0. */
nsec_t proof_tick(struct proof *p, const struct voter_config *c, nsec_t now,
                  void (*send)(void *ctx, const struct msg *m), void *ctx)
{
	if (now < p->ask_at)
		return p->ask_at;
	p->ask_at = now + ASK_AGAIN;
	p->round++;
	for (unsigned i = 0; i < c->peers; i++) {
		struct msg m = {.type = MSG_TYPE_term_check, .dst = c->peer[i].id};

		if (c->peer[i].id == c->self || !c->peer[i].vote)
			continue;
		m.term_check.nonce = p->round;
		send(ctx, &m);
	}
	return p->ask_at;
}

static bool cluster_is_new(const struct proof *p, const struct voter_config *c)
{
	for (unsigned i = 0; i < c->peers; i++)
		if (c->peer[i].vote && c->peer[i].id != c->self && !p->peer[i].first_term)
			return false;
	return true;
}

/* Each answer of one round says what was so after the round began. */
static bool caught_up(const struct proof *p, const struct voter_config *c, const struct voter *v)
{
	unsigned votes = 0, agree = 0;
	uint64_t need = 0;
	bool leader = false;

	for (unsigned i = 0; i < c->peers; i++) {
		votes += c->peer[i].vote;
		if (!c->peer[i].vote || c->peer[i].id == c->self || p->peer[i].round != p->round ||
		    p->peer[i].term != voter_term(v))
			continue;
		agree++;
		need = MAX(need, p->peer[i].commit);
		leader |= c->peer[i].id == voter_leader(v);
	}
	return leader && agree > votes / 2 && voter_applicable(v) >= need;
}

bool proof_answer(struct proof *p, const struct voter_config *c, const struct voter *v,
                  const struct msg *m)
{
	unsigned i = 0;

	while (i < c->peers && c->peer[i].id != m->src)
		i++;
	if (i == c->peers || !c->peer[i].vote || m->term_check_reply.nonce > p->round)
		return false;
	p->peer[i].round = m->term_check_reply.nonce;
	p->peer[i].term = m->term_check_reply.term;
	p->peer[i].commit = m->term_check_reply.commit;
	p->peer[i].first_term |= m->term_check_reply.term == FIRST_TERM;
	if (voter_term(v) <= FIRST_TERM ? cluster_is_new(p, c) : caught_up(p, c, v)) {
		TRACE("proof.done term round", voter_term(v), p->round, 0, 0);
		return true;
	}
	return false;
}
