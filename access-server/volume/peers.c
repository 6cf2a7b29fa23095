/* Core servers and requests to them (peers.h). */
#include "access-server/volume/peers.h"

#define RESEND_MAX (2 * NSEC_SEC)

struct peer *peer_get(struct volume *v, server_id_t id)
{
	struct peer *p;

	HASH_FIND(hh, v->peers, &id, sizeof(id), p);
	if (p)
		return p;
	p = mem_new(sizeof(*p));
	p->id = id;
	p->v = v;
	HASH_ADD(hh, v->peers, id, sizeof(id), p);
	return p;
}

#define UNWELL_FOR (2 * NSEC_SEC)

void peer_answered(struct volume *v, const struct msg *m, unsigned status)
{
	struct peer *p = peer_get(v, m->src);

	p->down = false;
	p->refused_at = status == STATUS_FENCED || status == STATUS_DISK ? v->now : 0;
}

void peer_acknowledged(struct volume *v, server_id_t id, const struct msg_write_reply *r)
{
	struct peer *p = peer_get(v, id);

	if (p->boot != r->boot)
		p->journal = 0;
	p->boot = r->boot;
	p->journal = MAX(p->journal, r->journal);
}

bool peer_unwell(struct volume *v, server_id_t id)
{
	struct peer *p = peer_get(v, id);

	return p->down || (p->refused_at && v->now < p->refused_at + UNWELL_FOR);
}

nsec_t peer_rtt(struct volume *v, server_id_t id)
{
	return v->ops->rtt ? v->ops->rtt(v->ctx, id) : 0;
}

nsec_t peer_resend_after(struct volume *v, server_id_t id)
{
	return 2 * peer_rtt(v, id) + 200 * NSEC_MSEC;
}

void peers_free(struct volume *v)
{
	struct peer *p, *next_peer;
	struct rpc *r, *next_rpc;

	HASH_ITER(hh, v->rpcs, r, next_rpc)
		rpc_cancel(r);
	HASH_ITER(hh, v->peers, p, next_peer) {
		timer_stop(v, &p->ask_timer);
		HASH_DEL(v->peers, p);
		mem_free(p);
	}
}

/* --- requests --- */

#define RPC_SPANS_MAX 4

/* The spans a data-path request can have. */
static unsigned rpc_spans(struct msg *m, struct span *out[RPC_SPANS_MAX])
{
	if (m->type == MSG_TYPE_install) {
		out[0] = &m->install.set;
		out[1] = &m->install.zero;
		out[2] = &m->install.lost;
		out[3] = &m->install.sums;
		return 4;
	}
	if (m->type == MSG_TYPE_close) {
		out[0] = &m->close.exceptions;
		return 1;
	}
	return 0;
}

static void rpc_copy(struct rpc *rpc, const struct msg *m)
{
	struct span *span[RPC_SPANS_MAX];
	unsigned n;
	size_t total = 0;
	uint8_t *p;

	rpc->m = *m;
	n = rpc_spans(&rpc->m, span);
	for (unsigned i = 0; i < n; i++)
		total += span[i]->len;
	rpc->bytes = total ? mem_new(total) : NULL;
	p = rpc->bytes;
	for (unsigned i = 0; i < n; i++) {
		if (span[i]->len)
			memcpy(p, span[i]->p, span[i]->len);
		span[i]->p = p;
		p += span[i]->len;
	}
	if (rpc->m.payload.buf)
		iobuf_get(rpc->m.payload.buf);
}

static void rpc_send(struct rpc *rpc)
{
	struct volume *v = rpc->v;

	if (v->env->send(v->env, &rpc->m) == 0 && rpc->sent_at == 0)
		rpc->sent_at = v->now;
	timer_set(v, &rpc->timer, v->now + rpc->wait);
	rpc->wait = MIN(2 * rpc->wait, RESEND_MAX);
}

static void on_rpc_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	rpc_send(container_of(t, struct rpc, timer));
}

struct rpc *rpc_start(struct volume *v, const struct msg *m,
                      bool (*done)(struct rpc *rpc, const struct msg *reply), void *ctx, unsigned tag)
{
	struct rpc *rpc = mem_new(sizeof(*rpc));

	rpc_copy(rpc, m);
	rpc->v = v;
	rpc->id = rpc->m.id = ++v->next_id;
	rpc->done = done;
	rpc->ctx = ctx;
	rpc->tag = tag;
	rpc->wait = peer_resend_after(v, m->dst);
	rpc->timer.fire = on_rpc_timer;
	HASH_ADD(hh, v->rpcs, id, sizeof(rpc->id), rpc);
	rpc_send(rpc);
	return rpc;
}

void rpc_cancel(struct rpc *rpc)
{
	if (!rpc)
		return;
	timer_stop(rpc->v, &rpc->timer);
	HASH_DEL(rpc->v->rpcs, rpc);
	iobuf_put(rpc->m.payload.buf);
	mem_free(rpc->bytes);
	mem_free(rpc);
}

bool rpc_recv(struct volume *v, const struct msg *m)
{
	struct rpc *rpc;
	uint64_t id = m->id;

	HASH_FIND(hh, v->rpcs, &id, sizeof(id), rpc);
	if (!rpc || rpc->m.dst != m->src)
		return false;
	peer_get(v, m->src)->down = false;
	if (!rpc->done(rpc, m))
		return true; /* the timer asks again */
	HASH_FIND(hh, v->rpcs, &id, sizeof(id), rpc); /* done() may have cancelled it */
	rpc_cancel(rpc);
	return true;
}

void rpcs_peer_up(struct volume *v, server_id_t peer)
{
	struct rpc *rpc, *next;

	HASH_ITER(hh, v->rpcs, rpc, next)
		if (rpc->m.dst == peer) {
			rpc->wait = peer_resend_after(v, peer);
			rpc_send(rpc);
		}
}
