/* Space grants (P8, trap B7): what this server promised to hold for writes not sent yet, per peer.
 *
 * A grant is used up by the writes of its peer. It belongs to a connection: when that breaks, the peer
 * asks anew, but writes it accepted under the old grant are still to come. So what is unused comes
 * back only after a while. */
#include "core-server/replica/internal.h"

static struct peer *peer_find(struct replica *r, server_id_t id)
{
	struct peer *p;

	HASH_FIND(hh, r->peers, &id, sizeof(id), p);
	return p;
}

static struct peer *peer_get(struct replica *r, server_id_t id)
{
	struct peer *p = peer_find(r, id);

	if (p != NULL || HASH_COUNT(r->peers) >= PEERS_MAX)
		return p;
	p = mem_new(sizeof(*p));
	p->id = id;
	p->return_at = NSEC_NEVER;
	HASH_ADD(hh, r->peers, id, sizeof(p->id), p);
	return p;
}

static void peer_drop(struct replica *r, struct peer *p)
{
	HASH_DELETE(hh, r->peers, p);
	mem_free(p);
}

static void answer(struct replica *r, const struct msg *q, enum status s, uint64_t granted)
{
	struct msg m = {.type = MSG_TYPE_space_reply};
	struct store_space space;

	store_get_space(r->store, &space);
	m.space_reply = (struct msg_space_reply){
		.status = (uint16_t)s,
		.granted = granted,
		.free = space.free,
		.total = space.total,
	};
	replica_reply(r, origin_of(q), &m);
}

void replica_space(struct replica *r, const struct msg *m)
{
	struct peer *p;

	/* A failed store is not a full one: it has nothing to say about space (P8). */
	if (r->disk_failed || store_failed(r->store)) {
		answer(r, m, replica_refuse(r, STATUS_DISK), 0);
		return;
	}
	if (replica_fenced(r)) {
		answer(r, m, replica_refuse(r, STATUS_FENCED), 0);
		return;
	}
	p = peer_get(r, m->src);
	if (p == NULL) {
		answer(r, m, replica_refuse(r, STATUS_BUSY), 0);
		return;
	}
	if (m->id != p->last_id) { /* a repeat gets the same grant, not another one */
		p->last_id = m->id;
		p->last_grant = store_grant(r->store, m->space.want);
		p->granted += p->last_grant;
	}
	answer(r, m, STATUS_OK, p->last_grant);
}

/* Takes what a write of the peer needs out of its grant; returns what there was. */
uint64_t space_use(struct replica *r, server_id_t peer, uint64_t bytes)
{
	struct peer *p = peer_find(r, peer);
	uint64_t old, new;

	if (p == NULL)
		return 0;
	old = MIN(p->old, bytes);
	new = MIN(p->granted, bytes - old);
	p->old -= old;
	p->granted -= new;
	return old + new;
}

void replica_peer_down(struct replica *r, server_id_t peer)
{
	struct peer *p = peer_find(r, peer);

	scrub_drop_asker(r, peer);
	if (p == NULL)
		return;
	p->old += p->granted;
	p->granted = 0;
	p->last_id = 0;
	p->last_grant = 0;
	p->return_at = r->env->now(r->env) + GRANT_RETURN_AFTER;
}

nsec_t space_tick(struct replica *r, nsec_t now)
{
	struct peer *p, *next;
	nsec_t due = NSEC_NEVER;

	HASH_ITER(hh, r->peers, p, next) {
		if (p->return_at > now) {
			due = MIN(due, p->return_at);
			continue;
		}
		store_grant_return(r->store, p->old);
		p->old = 0;
		p->return_at = NSEC_NEVER;
		if (p->granted == 0 && p->last_id == 0)
			peer_drop(r, p);
	}
	return due;
}

void space_free(struct replica *r)
{
	struct peer *p, *next;

	HASH_ITER(hh, r->peers, p, next)
		peer_drop(r, p);
}
