#include "hint-server/quorum/voter_private.h"

#include "common/base/mem.h"

#include <utlist.h>

#define OUTBOX_MAX 1024
#define APPEND_BYTES_MAX (1u << 20)   /* entries of one message, unless a single one is larger */

static void transmit(struct voter *v, server_id_t to, const uint8_t *bytes, size_t len)
{
	struct msg m = {.type = MSG_TYPE_raft, .src = v->config.self, .dst = to};

	m.raft.bytes = (struct span){bytes, (uint32_t)len};
	v->ops->send(v->ctx, &m);
}

static void outgoing_free(struct voter *v, struct outgoing *o)
{
	DL_DELETE(v->outbox, o);
	v->outgoing--;
	mem_free(o->bytes);
	mem_free(o);
}

void voter_outbox_send(struct voter *v)
{
	struct outgoing *o, *next;

	DL_FOREACH_SAFE(v->outbox, o, next) {
		if (o->vote > rlog_vote_durable(v->log))
			break;
		transmit(v, o->to, o->bytes, o->len);
		outgoing_free(v, o);
	}
}

static void post(struct voter *v, const struct raft_message *m)
{
	struct outgoing *o;
	size_t len;
	uint8_t *bytes = raft_wire_encode(m, &len);

	if (!v->outbox && v->vote_needed <= rlog_vote_durable(v->log)) {
		transmit(v, (server_id_t)m->server_id, bytes, len);
		mem_free(bytes);
		return;
	}
	if (v->outgoing == OUTBOX_MAX)
		outgoing_free(v, v->outbox);
	o = mem_new(sizeof(*o));
	o->to = (server_id_t)m->server_id;
	o->vote = v->vote_needed;
	o->bytes = bytes;
	o->len = len;
	DL_APPEND(v->outbox, o);
	v->outgoing++;
}

/* A follower that is away gets entries once per heartbeat, not with each new one. */
static bool spare_the_absent(struct voter *v, const struct raft_message *m)
{
	struct peer_state *p = &v->state[voter_find_peer(v, m->server_id) - v->config.peer];
	nsec_t now = v->env->now(v->env);
	bool away = !p->heard || now - p->heard > v->config.election_ms * NSEC_MSEC;

	if (m->append_entries.n_entries == 0)
		return false;
	if (away && now - p->sent < v->config.heartbeat_ms * NSEC_MSEC)
		return true;
	p->sent = now;
	return false;
}

/* One AppendEntries of libraft may hold more than a frame can: it becomes several, each complete
 * in itself. */
static void post_append(struct voter *v, struct raft_message *m)
{
	struct raft_append_entries *a = &m->append_entries;
	unsigned left = a->n_entries;
	uint64_t index = a->prev_log_index;

	if (spare_the_absent(v, m))
		return;
	do {
		struct raft_entry *entries = mem_new_array(left + 1, sizeof(*entries));
		size_t bytes = 0;
		unsigned n = 0;

		for (; n < left; n++) {
			const struct rlog_entry *e = rlog_get(v->log, index + 1 + n);

			CHECK(e);
			if (n && bytes + e->len > APPEND_BYTES_MAX)
				break;
			bytes += e->len;
			entries[n] = (struct raft_entry){
				.term = e->term, .type = e->type,
				.buf = {(void *)(uintptr_t)e->data, e->len},
			};
		}
		a->entries = entries;
		a->n_entries = n;
		a->prev_log_index = index;
		a->prev_log_term = index ? rlog_term_of(v->log, index) : 0;
		post(v, m);
		mem_free(entries);
		index += n;
		left -= n;
	} while (left > 0);
}

void voter_post_all(struct voter *v, const struct raft_update *u)
{
	for (unsigned i = 0; i < u->messages.n; i++) {
		struct raft_message m = u->messages.batch[i];

		if (!voter_find_peer(v, m.server_id))
			continue; /* id 0: for a leader that is gone */
		if (m.type == RAFT_INSTALL_SNAPSHOT)
			v->ops->wants_snapshot(v->ctx, (server_id_t)m.server_id,
			                       m.install_snapshot.last_index);
		else if (m.type == RAFT_APPEND_ENTRIES)
			post_append(v, &m);
		else
			post(v, &m);
	}
}

void voter_outbox_free(struct voter *v)
{
	while (v->outbox)
		outgoing_free(v, v->outbox);
}
