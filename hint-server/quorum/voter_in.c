#include "hint-server/quorum/voter_private.h"

#include "common/base/mem.h"
#include "common/base/trace.h"

#include <stdio.h>

/* What this server has trimmed is committed: such entries are the same in every leader's log.
 * libraft no longer knows their terms and would append them again, or refuse a message that begins
 * before; so the message is made to begin at the first committed entry that it knows. */
static void skip_trimmed(const struct voter *v, struct raft_append_entries *a, struct raft_entry *all)
{
	const struct raft_trail *t = &v->raft.trail;
	uint64_t first = t->snapshot.index > t->offset ? t->offset + 1 : t->offset;
	unsigned n;

	if (a->prev_log_index > t->offset || a->prev_log_index >= first)
		return;
	n = (unsigned)MIN(first - a->prev_log_index, a->n_entries);
	a->n_entries -= n;
	if (a->n_entries > 0)
		memmove(all, all + n, a->n_entries * sizeof(*all));
	a->prev_log_index = first;
	a->prev_log_term = rlog_term_of(v->log, first);
}

/* A refusal that an acknowledgement of the very same entries has overtaken. libraft (0.22.1) would step
 * back behind what it knows to match, take no later answer for progress, and never send this server
 * an entry again. */
static bool refusal_overtaken(const struct voter *v, const struct raft_message *m)
{
	const struct raft_append_entries_result *r = &m->append_entries_result;
	raft_index match;

	return v->raft.state == RAFT_LEADER && r->term == v->raft.current_term && r->rejected > 0 &&
	       raft_match_index(&v->raft, m->server_id, &match) == 0 && r->rejected <= match;
}

/* Entries that wait in memory for room in a log that nobody trims. */
static bool too_much(const struct voter *v, const struct raft_message *m)
{
	uint64_t used, total;

	if (!v->choked || m->type != RAFT_APPEND_ENTRIES || m->append_entries.n_entries == 0)
		return false;
	rlog_space(v->log, &used, &total);
	return used > total - total / 4;
}

static bool out_of_place(const struct voter *v, const struct raft_message *m)
{
	if (!voter_may_vote(v) && (m->type == RAFT_REQUEST_VOTE || m->type == RAFT_TIMEOUT_NOW))
		return true;
	if (m->type == RAFT_APPEND_ENTRIES_RESULT)
		return refusal_overtaken(v, m);
	if (m->type == RAFT_APPEND_ENTRIES)
		return v->raft.state == RAFT_LEADER && m->append_entries.term == v->raft.current_term;
	return false;
}

void voter_recv(struct voter *v, const struct msg *m)
{
	struct raft_message rm;
	struct raft_event e = {.type = RAFT_RECEIVE};
	char address[16];
	void *batch;
	int rc;

	if (!v->running || m->src == v->config.self || !voter_find_peer(v, m->src))
		return;
	if (raft_wire_decode(m->raft.bytes, m->src, &rm)) {
		TRACE("voter.bad_message from", m->src, 0, 0, 0);
		return;
	}
	v->state[voter_find_peer(v, m->src) - v->config.peer].heard = v->env->now(v->env);
	if (out_of_place(v, &rm) || too_much(v, &rm)) {
		raft_wire_free(&rm, true);
		return;
	}
	snprintf(address, sizeof(address), "%u", m->src);
	rm.server_address = address;
	batch = rm.type == RAFT_APPEND_ENTRIES && rm.append_entries.n_entries
	                ? rm.append_entries.entries[0].batch : NULL;
	if (rm.type == RAFT_APPEND_ENTRIES && !v->installing)
		skip_trimmed(v, &rm.append_entries, rm.append_entries.entries);
	if (batch && rm.append_entries.n_entries == 0)
		raft_free(batch);
	e.receive.message = &rm;
	rc = voter_step(v, &e);
	if (rm.type == RAFT_APPEND_ENTRIES)
		mem_free(rm.append_entries.entries);
	if (rc)
		voter_fail(v, ERR_CORRUPT, "the leader's log contradicts what was committed here");
	voter_tell(v);
}

bool voter_wants_install(const struct voter *v, uint64_t index, uint64_t term)
{
	return v->running && !v->installing && index > rlog_base(v->log) &&
	       rlog_term_of(v->log, index) != term;
}

void voter_snapshot_received(struct voter *v, server_id_t from, uint64_t leader_term,
                             uint64_t index, uint64_t term)
{
	struct raft_message m = {.type = RAFT_INSTALL_SNAPSHOT, .server_id = from};
	struct raft_event e = {.type = RAFT_RECEIVE};
	char address[16];

	if (!voter_wants_install(v, index, term) || leader_term < v->raft.current_term ||
	    (v->raft.state == RAFT_LEADER && leader_term == v->raft.current_term))
		return;
	snprintf(address, sizeof(address), "%u", from);
	m.server_address = address;
	m.install_snapshot.term = leader_term;
	m.install_snapshot.last_index = index;
	m.install_snapshot.last_term = term;
	m.install_snapshot.conf_index = 1;
	voter_configuration(&v->config, &m.install_snapshot.conf);
	e.receive.message = &m;
	if (voter_step(v, &e))
		voter_fail(v, ERR_CORRUPT, "raft refused a snapshot");
	voter_tell(v);
}
