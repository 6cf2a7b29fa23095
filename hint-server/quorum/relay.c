/* Frames that are not for this server: hint servers know where everybody is.
 *
 * A server is reached directly when it is connected here, else through the neighbour its last
 * message came from. What is for the leader goes there in at most one hop between hint servers, so
 * that two servers that each believe in the other pass nothing round in circles. */
#include "common/base/mem.h"
#include "hint-server/quorum/hint_private.h"

#define ROUTES_MAX 4096

bool relay_is_hint(const struct hint *h, server_id_t id)
{
	for (unsigned i = 0; i < h->config.voters; i++)
		if (h->config.voter[i].id == id)
			return true;
	return false;
}

static struct route *route_find(const struct hint *h, server_id_t id)
{
	struct route *r;

	HASH_FIND(hh, h->routes, &id, sizeof(id), r);
	return r;
}

static struct route *route_get(struct hint *h, server_id_t id)
{
	struct route *r = route_find(h, id), *old, *tmp;

	if (r)
		return r;
	if (HASH_COUNT(h->routes) >= ROUTES_MAX) {
		HASH_ITER(hh, h->routes, old, tmp) { /* the oldest that is not connected */
			if (old->direct)
				continue;
			HASH_DEL(h->routes, old);
			mem_free(old);
			break;
		}
	}
	r = mem_new(sizeof(*r));
	r->server = id;
	HASH_ADD(hh, h->routes, server, sizeof(r->server), r);
	return r;
}

bool relay_direct(const struct hint *h, server_id_t id)
{
	const struct route *r = route_find(h, id);

	return r && r->direct;
}

void relay_learn(struct hint *h, const struct msg *m)
{
	if (m->src && m->src != h->config.server && m->src != SERVER_LEADER)
		route_get(h, m->src)->via = m->via;
}

void hint_peer_up(struct hint *h, server_id_t peer)
{
	route_get(h, peer)->direct = true;
}

void hint_peer_down(struct hint *h, server_id_t peer)
{
	struct route *r = route_find(h, peer), *other, *tmp;

	if (r)
		r->direct = false;
	HASH_ITER(hh, h->routes, other, tmp)
		if (other->via == peer)
			other->via = 0;
	if (h->started && voter_leader(h->voter) == peer) {
		voter_leader_gone(h->voter);
		hint_wake(h, hint_now(h));
	}
}

void relay_send(struct hint *h, const struct msg *m)
{
	struct msg out = *m;
	const struct route *r = route_find(h, m->dst);

	if (!out.src)
		out.src = h->config.server;
	/* A server that is not connected here is where its last message came from. */
	if (r && !r->direct && r->via)
		out.via = r->via;
	else
		out.via = 0;
	(void)h->env->send(h->env, &out); /* who asks, asks again */
}

void relay_reply(struct hint *h, struct msg *m, const struct msg *to)
{
	m->src = h->config.server;
	m->dst = to->src;
	m->id = to->id;
	m->via = to->via == to->src ? 0 : to->via;
	(void)h->env->send(h->env, m);
}

void relay_refuse(struct hint *h, const struct msg *m)
{
	struct msg r = {0};

	if (m->type == MSG_TYPE_heartbeat) {
		r.type = MSG_TYPE_heartbeat_reply;
		r.heartbeat_reply.status = STATUS_NOT_LEADER;
		r.heartbeat_reply.session = m->heartbeat.session;
		r.heartbeat_reply.nonce = m->heartbeat.nonce;
	} else if (m->type == MSG_TYPE_admin) {
		r.type = MSG_TYPE_admin_reply;
		r.admin_reply.status = STATUS_NOT_LEADER;
	} else if (requests_is_change(m->type) || requests_is_query(m->type)) {
		r.type = MSG_TYPE_r_status;
		r.r_status.status = STATUS_NOT_LEADER;
		r.r_status.session = m->q_statfs.session;
		r.r_status.slot = m->q_statfs.slot;
		r.r_status.seq = m->q_statfs.seq;
	} else {
		return;
	}
	relay_reply(h, &r, m);
}

/* --- waiting for a leader --- */

static void hold(struct hint *h, const struct msg *m)
{
	struct held *w;

	if (h->n_held == HELD_MAX) {
		relay_refuse(h, m);
		return;
	}
	w = mem_new(sizeof(*w));
	w->body = mem_new(msg_body_bytes(m));
	msg_encode_body(m, w->body);
	CHECK(msg_decode_body(w->body, msg_body_bytes(m), &w->m) == 0);
	w->m.src = m->src;
	w->m.dst = m->dst;
	w->m.via = m->via;
	w->m.id = m->id;
	w->until = hint_now(h) + HELD_FOR;
	hint_wake(h, w->until);
	DL_APPEND(h->held, w);
	h->n_held++;
}

static void held_free(struct hint *h, struct held *w)
{
	DL_DELETE(h->held, w);
	h->n_held--;
	mem_free(w->body);
	mem_free(w);
}

static void to_leader(struct hint *h, const struct msg *m)
{
	server_id_t leader = h->voter ? voter_leader(h->voter) : 0;
	struct msg out = *m;

	if (relay_is_hint(h, m->via)) { /* has come from a hint server already */
		relay_refuse(h, m);
		return;
	}
	if (!leader || leader == h->config.server) {
		hold(h, m);
		return;
	}
	out.via = leader;
	if (h->env->send(h->env, &out))
		relay_refuse(h, m);
}

bool relay_pass_on(struct hint *h, const struct msg *m)
{
	struct msg out = *m;
	const struct route *r;

	if (m->dst == h->config.server)
		return false;
	if (m->dst == SERVER_LEADER) {
		if (h->leader)
			return false;
		to_leader(h, m);
		return true;
	}
	r = route_find(h, m->dst);
	if (r && r->direct) {
		out.via = 0;
	} else if (r && r->via && r->via != m->via && r->via != m->src) {
		out.via = r->via;
	} else {
		return true;
	}
	(void)h->env->send(h->env, &out);
	return true;
}

/* A leader is known: hands over what has waited, here or there. */
void relay_leader_known(struct hint *h)
{
	struct held *w, *tmp, *all = h->held;

	if (!h->leader && (!voter_leader(h->voter) || voter_leader(h->voter) == h->config.server))
		return;
	h->held = NULL;
	h->n_held = 0;
	DL_FOREACH_SAFE(all, w, tmp) {
		DL_DELETE(all, w);
		if (!h->leader)
			to_leader(h, &w->m);
		else if (w->m.type == MSG_TYPE_heartbeat)
			beats_arrive(h, &w->m);
		else if (w->m.type == MSG_TYPE_admin)
			admin_recv(h, &w->m);
		else
			requests_arrive(h, &w->m);
		mem_free(w->body);
		mem_free(w);
	}
}

nsec_t relay_tick(struct hint *h, nsec_t now)
{
	struct held *w, *tmp;

	DL_FOREACH_SAFE(h->held, w, tmp) {
		if (now < w->until)
			return w->until;
		relay_refuse(h, &w->m);
		held_free(h, w);
	}
	return NSEC_NEVER;
}

void relay_free(struct hint *h)
{
	struct route *r, *tmp;

	while (h->held)
		held_free(h, h->held);
	HASH_ITER(hh, h->routes, r, tmp) {
		HASH_DEL(h->routes, r);
		mem_free(r);
	}
}
