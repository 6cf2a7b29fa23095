#include "hint-server/quorum/voter_private.h"

#include "common/base/mem.h"
#include "common/base/trace.h"

#include <assert.h>
#include <stdio.h>

#define GONE_WAIT_MS_MIN 10
#define GONE_WAIT_MS 150              /* spread, so that not all stand at once */

static_assert(VOTER_COMMAND == RAFT_COMMAND, "entry types are libraft's");

static raft_time raft_now(const struct voter *v)
{
	return (raft_time)(v->env->now(v->env) / NSEC_MSEC);
}

void voter_fail(struct voter *v, int rc, const char *why)
{
	if (v->failed)
		return;
	v->failed = true;
	v->running = false;
	snprintf(v->why, sizeof(v->why), "%s", why);
	TRACE("voter.failed rc", rc, 0, 0, 0);
	v->ops->failed(v->ctx, rc);
}

const char *voter_why(const struct voter *v)
{
	return v->why;
}

bool voter_running(const struct voter *v)
{
	return v->running;
}

const struct voter_peer *voter_find_peer(const struct voter *v, uint64_t id)
{
	for (unsigned i = 0; i < v->config.peers; i++)
		if (v->config.peer[i].id == id)
			return &v->config.peer[i];
	return NULL;
}

unsigned voter_votes(const struct voter *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->config.peers; i++)
		n += v->config.peer[i].vote;
	return n;
}

bool voter_has_vote(const struct voter *v, server_id_t id)
{
	const struct voter_peer *p = voter_find_peer(v, id);

	return p && p->vote;
}

/* --- carrying out an update --- */

static void store_entries(struct voter *v, const struct raft_update *u)
{
	void *batch = u->entries.batch[0].batch;

	for (unsigned i = 0; i < u->entries.n; i++) {
		const struct raft_entry *e = &u->entries.batch[i];

		rlog_append(v->log, u->entries.index + i, e->term, (uint8_t)e->type, e->buf.base,
		            (uint32_t)e->buf.len);
	}
	raft_free(batch);
}

static void carry_out(struct voter *v, const struct raft_update *u)
{
	if (u->flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR))
		v->vote_needed = rlog_set_vote(v->log, raft_current_term(&v->raft),
		                               raft_voted_for(&v->raft));
	if (u->flags & RAFT_UPDATE_ENTRIES)
		store_entries(v, u);
	if (u->flags & RAFT_UPDATE_SNAPSHOT) {
		v->installing = true;
		v->replaced = false;
		v->incoming = u->snapshot.metadata;
		rlog_install_begin(v->log, v->incoming.index, v->incoming.term);
	}
	if (u->flags & RAFT_UPDATE_MESSAGES)
		voter_post_all(v, u);
	rlog_flush(v->log);
}

int voter_step(struct voter *v, struct raft_event *e)
{
	struct raft_update u;
	int rc;

	CHECK(!v->stepping);
	v->stepping = true;
	e->time = raft_now(v);
	e->capacity = UINT16_MAX;
	memset(&u, 0, sizeof(u));
	rc = raft_step(&v->raft, e, &u);
	if (rc == 0)
		carry_out(v, &u);
	v->stepping = false;
	return rc;
}

void voter_tell(struct voter *v)
{
	server_id_t leader = voter_leader(v);

	if (!v->running || (voter_applicable(v) == v->commit_told && v->raft.state == v->state_told &&
	                    v->raft.current_term == v->term_told && leader == v->leader_told))
		return;
	v->commit_told = voter_applicable(v);
	v->state_told = v->raft.state;
	v->term_told = v->raft.current_term;
	v->leader_told = leader;
	v->ops->progress(v->ctx);
}

/* --- what the log reports --- */

/* Raft accepted a snapshot: first the log notes it, then the state machine is replaced, then the
 * log is emptied, then raft hears of it. A crash at any point is settled by voter_start(). */
static void install_go_on(struct voter *v)
{
	struct raft_event e = {.type = RAFT_PERSISTED_SNAPSHOT};

	if (!v->replaced) {
		if (!rlog_install_durable(v->log))
			return;
		if (v->ops->install(v->ctx, v->incoming.index, v->incoming.term)) {
			voter_fail(v, ERR_CORRUPT, "a snapshot from the leader could not be installed");
			return;
		}
		v->replaced = true;
		v->reset_at = rlog_reset(v->log, v->incoming.index, v->incoming.term);
		rlog_flush(v->log);
	}
	if (rlog_vote_durable(v->log) < v->reset_at)
		return;
	v->installing = false;
	e.persisted_snapshot.metadata = v->incoming;
	e.persisted_snapshot.last = true;
	if (voter_step(v, &e))
		voter_fail(v, ERR_CORRUPT, "raft refused an installed snapshot");
}

static void report_durable(struct voter *v)
{
	struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES};

	e.persisted_entries.index = rlog_durable(v->log);
	if (v->raft.state == RAFT_CANDIDATE || e.persisted_entries.index <= v->raft.last_stored)
		return;
	if (voter_step(v, &e))
		voter_fail(v, ERR_CORRUPT, "raft could not go on after a log write");
}

static void on_durable(void *ctx)
{
	struct voter *v = ctx;

	if (v->failed)
		return;
	if (v->sole_start && rlog_vote_durable(v->log) >= v->vote_needed) {
		v->sole_start = false;
		if (voter_start_raft(v))
			return;
	}
	voter_outbox_send(v);
	if (!v->running)
		return;
	if (v->installing)
		install_go_on(v);
	else
		report_durable(v);
	voter_tell(v);
}

static void on_failed(void *ctx, int rc)
{
	struct voter *v = ctx;

	voter_fail(v, rc, rlog_why(v->log));
}

static void on_loaded(void *ctx, int rc)
{
	struct voter *v = ctx;

	if (rc)
		snprintf(v->why, sizeof(v->why), "%s", rlog_why(v->log));
	v->ops->loaded(v->ctx, rc);
}

const struct rlog_ops voter_log_ops = {on_loaded, on_durable, on_failed};

/* --- events --- */

/* As leader no more often than heartbeats are due: libraft takes a follower that did not answer since
 * the last timeout for unreachable. */
static nsec_t timeout_due(const struct voter *v)
{
	nsec_t due = (nsec_t)raft_timeout(&v->raft) * NSEC_MSEC;

	if (v->raft.state == RAFT_LEADER)
		due = MAX(due, v->timed_out_at + v->config.heartbeat_ms * NSEC_MSEC);
	return due;
}

nsec_t voter_tick(struct voter *v, nsec_t now)
{
	struct raft_event e = {.type = RAFT_TIMEOUT};

	if (!v->running)
		return NSEC_NEVER;
	if (!voter_may_vote(v))
		return now + v->config.heartbeat_ms * NSEC_MSEC; /* it never stands for election */
	if (now >= timeout_due(v)) {
		v->timed_out_at = now;
		if (voter_step(v, &e))
			voter_fail(v, ERR_CORRUPT, "raft could not handle a timeout");
		voter_tell(v);
		if (!v->running)
			return NSEC_NEVER;
	}
	return MAX(timeout_due(v), now + NSEC_MSEC);
}

uint64_t voter_submit(struct voter *v, unsigned n, const struct span *command)
{
	struct raft_event e = {.type = RAFT_SUBMIT};
	struct raft_entry *entries;
	uint64_t first = rlog_last(v->log) + 1;
	size_t bytes = 0;
	uint8_t *batch;
	int rc;

	if (!voter_leads(v) || n == 0)
		return 0;
	for (unsigned i = 0; i < n; i++)
		bytes += command[i].len;
	entries = mem_new_array(n, sizeof(*entries));
	entries[0].batch = batch = raft_malloc(bytes);
	CHECK(batch);
	for (unsigned i = 0; i < n; i++) {
		entries[i] = (struct raft_entry){
			.term = v->raft.current_term, .type = RAFT_COMMAND,
			.buf = {batch, command[i].len}, .batch = entries[0].batch,
		};
		memcpy(batch, command[i].p, command[i].len);
		batch += command[i].len;
	}
	e.submit.entries = entries;
	e.submit.n = n;
	/* A follower without traffic for a while is probed: it would get the entry with the next
	 * heartbeat only. */
	raft_set_heartbeat_timeout(&v->raft, 0);
	rc = voter_step(v, &e);
	raft_set_heartbeat_timeout(&v->raft, v->config.heartbeat_ms);
	if (rc)
		raft_free(entries[0].batch);
	mem_free(entries);
	return rc ? 0 : first;
}

void voter_checkpoint(struct voter *v, uint64_t index, unsigned trailing)
{
	struct raft_event e = {.type = RAFT_SNAPSHOT};

	if (!v->running || v->installing || index <= v->raft.trail.snapshot.index)
		return;
	e.snapshot.metadata.index = index;
	e.snapshot.metadata.term = rlog_term_of(v->log, index);
	e.snapshot.metadata.configuration_index = 1;
	e.snapshot.trailing = trailing;
	voter_configuration(&v->config, &e.snapshot.metadata.configuration);
	if (voter_step(v, &e)) {
		voter_fail(v, ERR_CORRUPT, "raft refused a checkpoint");
		return;
	}
	if (v->raft.trail.offset > rlog_base(v->log))
		rlog_trim(v->log, v->raft.trail.offset);
	rlog_flush(v->log);
}

/* What libraft does when its timer runs out, only sooner: no leader is known, so that others get this
 * vote, and an election follows. */
void voter_leader_gone(struct voter *v)
{
	raft_time now = raft_now(v), wait = GONE_WAIT_MS_MIN + v->env->random(v->env) % GONE_WAIT_MS;

	if (!v->running || v->raft.state != RAFT_FOLLOWER || !v->raft.follower_state.current_leader.id)
		return;
	v->raft.follower_state.current_leader.id = 0;
	v->raft.follower_state.randomized_election_timeout = (unsigned)wait;
	v->raft.election_timer_start = now;
	voter_tell(v);
}

void voter_choke(struct voter *v, bool choked)
{
	v->choked = choked;
}

void voter_stepdown(struct voter *v)
{
	voter_hand_over(v, 0);
}

void voter_hand_over(struct voter *v, server_id_t to)
{
	struct raft_event e = {.type = RAFT_TRANSFER};

	e.transfer.server_id = to;
	if (voter_leads(v) && voter_step(v, &e))
		TRACE("voter.stepdown nobody to take over", 0, 0, 0, 0);
}

/* --- state --- */

bool voter_leads(const struct voter *v)
{
	return v->running && v->raft.state == RAFT_LEADER;
}

server_id_t voter_leader(const struct voter *v)
{
	raft_id id = 0;
	const char *address;

	if (v->running)
		raft_leader((struct raft *)(uintptr_t)&v->raft, &id, &address);
	return (server_id_t)id;
}

bool voter_may_vote(const struct voter *v)
{
	return rlog_proven(v->log);
}

void voter_prove(struct voter *v)
{
	rlog_prove(v->log);
	rlog_flush(v->log);
}

uint64_t voter_term(const struct voter *v)
{
	return v->inited ? raft_current_term(&v->raft) : 0;
}

uint64_t voter_commit(const struct voter *v)
{
	return v->inited ? raft_commit_index(&v->raft) : 0;
}

uint64_t voter_applicable(const struct voter *v)
{
	return v->installing ? 0 : MIN(voter_commit(v), rlog_durable(v->log));
}

uint64_t voter_last(const struct voter *v)
{
	return rlog_last(v->log);
}

uint64_t voter_match(const struct voter *v, server_id_t peer)
{
	raft_index index;

	return voter_leads(v) && raft_match_index(&v->raft, peer, &index) == 0 ? index : 0;
}

struct rlog *voter_log(struct voter *v)
{
	return v->log;
}
