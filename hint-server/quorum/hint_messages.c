/* Which message is whose. */
#include "hint-server/quorum/hint_private.h"

static void recv_term_check(struct hint *h, const struct msg *m)
{
	struct msg r = {.type = MSG_TYPE_term_check_reply};

	r.term_check_reply.term = voter_term(h->voter);
	r.term_check_reply.nonce = m->term_check.nonce;
	r.term_check_reply.commit = h->leader ? voter_last(h->voter) : voter_commit(h->voter);
	r.term_check_reply.room = (uint8_t)room_of(h);
	relay_reply(h, &r, m);
}

static void recv_term_check_reply(struct hint *h, const struct msg *m)
{
	room_told(h, m);
	if (!voter_may_vote(h->voter)) {
		if (proof_answer(&h->proof, &h->voter_config, h->voter, m))
			voter_prove(h->voter);
	} else if (h->leader && read_index_answer(&h->reads, m, hint_now(h))) {
		h->dirty = true;
	}
}

static void recv_chunk(struct hint *h, const struct msg *m)
{
	const struct msg_snapshot_chunk *c = &m->snapshot_chunk;
	bool wanted = c->term >= voter_term(h->voter) &&
	              voter_wants_install(h->voter, c->index, c->snapshot_term);

	snapshots_chunk(h->snapshots, m, wanted);
}

static void note_heard(struct hint *h, server_id_t id)
{
	for (unsigned i = 0; i < h->config.voters; i++)
		if (h->config.voter[i].id == id)
			h->heard[i] = hint_now(h);
}

static void recv_from_voter(struct hint *h, const struct msg *m)
{
	note_heard(h, m->src);
	switch ((unsigned)m->type) {
	case MSG_TYPE_raft:
		voter_recv(h->voter, m);
		break;
	case MSG_TYPE_term_check:
		recv_term_check(h, m);
		break;
	case MSG_TYPE_term_check_reply:
		recv_term_check_reply(h, m);
		break;
	case MSG_TYPE_snapshot_chunk:
		recv_chunk(h, m);
		break;
	case MSG_TYPE_snapshot_ack:
		if (h->leader)
			snapshots_ack(h->snapshots, m);
		break;
	default:
		break;
	}
}

static void recv_for_leader(struct hint *h, const struct msg *m)
{
	if (!h->leader) {
		relay_refuse(h, m);
		return;
	}
	switch ((unsigned)m->type) {
	case MSG_TYPE_heartbeat:
		beats_arrive(h, m);
		break;
	case MSG_TYPE_recall_ack:
		lease_ack(h, m);
		break;
	case MSG_TYPE_holder_attr_reply:
		query_attr_reply(h, m);
		break;
	case MSG_TYPE_orphan_answer:
		orphans_answer(h, m);
		break;
	default:
		if (requests_is_change(m->type) || requests_is_query(m->type))
			requests_arrive(h, m);
		break;
	}
}

void hint_dispatch(struct hint *h, const struct msg *m)
{
	if (m->type >= MSG_TYPE_raft && m->type <= MSG_TYPE_snapshot_ack) {
		if (m->dst == h->config.server && relay_is_hint(h, m->src))
			recv_from_voter(h, m);
	} else if (m->type == MSG_TYPE_admin) {
		admin_recv(h, m);
	} else {
		recv_for_leader(h, m);
	}
}
