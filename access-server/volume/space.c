/* Space in advance (trap B7): a write is acknowledged only when two replicas of each of its blocks
 * have promised the space, so ENOSPC comes from write(). Grants belong to a connection: when it
 * breaks, the server takes back what was not used, and so do we. */
#include "access-server/volume/parts.h"

#define ASK_AGAIN (500 * NSEC_MSEC)
#define REFUSED_FOR (1 * NSEC_SEC)

static bool on_space(struct rpc *rpc, const struct msg *m)
{
	struct volume *v = rpc->v;
	struct peer *p = rpc->ctx;

	if (m->type != MSG_TYPE_space_reply ||
	    (m->space_reply.status != STATUS_OK && m->space_reply.status != STATUS_NO_SPACE))
		return false;
	p->asking = false;
	peer_answered(v, m, STATUS_OK);
	p->no_space = m->space_reply.granted == 0;
	p->granted += m->space_reply.granted;
	if (p->no_space)
		timer_set(v, &p->ask_timer, v->now + REFUSED_FOR);
	room_retry(v);
	return true;
}

/* Whoever waits looks again, and asks for what it needs. */
static void on_ask_timer(struct volume *v, struct vol_timer *t UNUSED)
{
	room_retry(v);
}

void space_want(struct volume *v, struct peer *p, uint64_t need)
{
	uint64_t slack = v->config.journal_slack_bytes;
	struct msg m = {.type = MSG_TYPE_space, .dst = p->id};

	if (p->asking || p->granted >= MAX(slack / 2, need))
		return;
	if (p->no_space && v->now < p->asked_at + REFUSED_FOR)
		return;
	p->asking = true;
	p->asked_at = v->now;
	p->ask_timer.fire = on_ask_timer;
	m.space.want = MAX(slack, need) - p->granted;
	rpc_start(v, &m, on_space, p, 0);
}

/* Stale replicas that cannot be made whole again either, for want of space. One that is only behind, or
 * away, is waited for. */
static unsigned stale_and_full(struct volume *v, const server_id_t server[REPLICAS], uint8_t stale,
                               uint64_t bytes)
{
	unsigned n = 0;

	for (unsigned i = 0; i < REPLICAS; i++) {
		struct peer *p = stale >> i & 1 ? peer_get(v, server[i]) : NULL;

		if (!p)
			continue;
		space_want(v, p, bytes);
		n += p->granted < bytes && p->no_space;
	}
	return n;
}

int space_check(struct volume *v, const server_id_t server[REPLICAS], uint8_t stale, uint64_t bytes)
{
	unsigned enough = 0, refusing = 0;

	if (VOL_BUG(v, VOLUME_BUG_NO_GRANTS))
		return 1;
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct peer *p = peer_get(v, server[i]);

		if (stale >> i & 1)
			continue;
		if (p->granted < bytes + v->config.journal_slack_bytes / 2)
			space_want(v, p, bytes);
		if (p->granted >= bytes)
			enough++;
		else if (p->no_space && !p->asking) /* an old refusal is asked about first */
			refusing++;
	}
	if (refusing && VOL_BUG(v, VOLUME_BUG_ONE_FULL))
		return -ENOSPC;
	if (enough >= 2)
		return 1;
	if (refusing == 1)
		refusing += stale_and_full(v, server, stale, bytes);
	return refusing >= 2 ? -ENOSPC : 0;
}

uint64_t space_use(struct volume *v, server_id_t server, uint64_t bytes)
{
	struct peer *p = peer_get(v, server);
	uint64_t used = MIN(p->granted, bytes);

	p->granted -= used;
	space_want(v, p, 0);
	return used;
}

void space_given(struct volume *v, server_id_t server, uint64_t bytes)
{
	struct peer *p;

	if (bytes == 0)
		return;
	p = peer_get(v, server);
	p->granted += bytes;
	p->no_space = false;
	room_retry(v);
}

void space_peer_down(struct volume *v, server_id_t server)
{
	struct peer *p = peer_get(v, server);

	p->granted = 0;
	p->no_space = false;
}
