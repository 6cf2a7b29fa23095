#include "hint-server/quorum/voter_private.h"

#include "common/base/mem.h"

#include <stdio.h>

#define INFLIGHT_ENTRIES_MAX 2048
/* Until raft asks again for a snapshot that nobody confirmed: the voter may have died with it. One
 * that is still on its way is not begun anew (snapshots_start()). */
#define SNAPSHOT_TIMEOUT_MS 10000

void voter_configuration(const struct voter_config *c, struct raft_configuration *out)
{
	char text[16];

	raft_configuration_init(out);
	for (unsigned i = 0; i < c->peers; i++) {
		snprintf(text, sizeof(text), "%u", c->peer[i].id);
		CHECK(raft_configuration_add(out, c->peer[i].id, text,
		                             c->peer[i].vote ? RAFT_VOTER : RAFT_STANDBY) == 0);
	}
}

static void no_trace(struct raft_tracer *t, int type, const void *info)
{
	(void)t;
	(void)type;
	(void)info;
}

int voter_open(struct voter **out, struct env *env, struct disk *disk, const struct voter_config *c,
               const struct voter_ops *ops, void *ctx)
{
	struct voter *v = mem_new(sizeof(*v));
	struct raft_configuration conf;
	struct raft_buffer first;
	struct rlog_config log = c->log;
	int rc;

	CHECK(voter_find_peer(&(struct voter){.config = *c}, c->self));
	v->env = env;
	v->config = *c;
	v->ops = ops;
	v->ctx = ctx;
	voter_configuration(c, &conf);
	CHECK(raft_configuration_encode(&conf, &first) == 0);
	raft_configuration_close(&conf);
	log.first = (struct span){first.base, (uint32_t)first.len};
	log.first_type = RAFT_CHANGE;
	rc = rlog_open(&v->log, disk, &log, &voter_log_ops, v);
	raft_free(first.base);
	if (rc) {
		mem_free(v);
		return rc;
	}
	*out = v;
	return 0;
}

/* The entry with the members must say what the configuration file says. */
static bool members_match(const struct voter *v)
{
	const struct rlog_entry *e = rlog_get(v->log, 1);
	struct raft_configuration conf;
	struct raft_buffer want;
	bool same;

	if (!e)
		return true;
	voter_configuration(&v->config, &conf);
	CHECK(raft_configuration_encode(&conf, &want) == 0);
	raft_configuration_close(&conf);
	same = want.len == e->len && memcmp(want.base, e->data, e->len) == 0;
	raft_free(want.base);
	return same;
}

static void raft_prepare(struct voter *v)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", v->config.self);
	CHECK(raft_init(&v->raft, NULL, NULL, v->config.self, text) == 0);
	v->inited = true;
	v->tracer = (struct raft_tracer){.version = 2, .emit = no_trace};
	v->raft.tracer = &v->tracer;
	raft_seed(&v->raft, (unsigned)v->env->random(v->env));
	raft_set_pre_vote(&v->raft, true);
	raft_set_election_timeout(&v->raft, v->config.election_ms);
	raft_set_heartbeat_timeout(&v->raft, v->config.heartbeat_ms);
	raft_set_install_snapshot_timeout(&v->raft, SNAPSHOT_TIMEOUT_MS);
	raft_set_max_inflight_entries(&v->raft, INFLIGHT_ENTRIES_MAX);
}

int voter_start_raft(struct voter *v)
{
	struct raft_event e = {.type = RAFT_START};
	struct raft_snapshot_metadata meta = {0};
	uint64_t base = rlog_base(v->log), last = rlog_last(v->log);
	unsigned n = (unsigned)(last - base);
	struct raft_entry *entries = mem_new_array(n + 1, sizeof(*entries));
	int rc;

	raft_prepare(v);
	for (unsigned i = 0; i < n; i++) {
		const struct rlog_entry *x = rlog_get(v->log, base + 1 + i);

		entries[i].term = x->term;
		entries[i].type = x->type;
		entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)x->data, x->len};
	}
	e.start.term = rlog_term(v->log);
	e.start.voted_for = rlog_vote(v->log);
	e.start.start_index = base + 1;
	e.start.entries = entries;
	e.start.n_entries = n;
	if (v->start_applied > 0) {
		meta.index = v->start_applied;
		meta.term = rlog_term_of(v->log, meta.index);
		voter_configuration(&v->config, &meta.configuration);
		meta.configuration_index = 1;
		e.start.metadata = &meta;
	}
	v->running = true;
	rc = voter_step(v, &e);
	mem_free(entries);
	if (rc)
		voter_fail(v, ERR_CORRUPT, "raft refused the log");
	return rc ? ERR_CORRUPT : 0;
}

static int settle_install(struct voter *v, uint64_t applied)
{
	uint64_t index, term;

	if (!rlog_installing(v->log, &index, &term))
		return 0;
	if (applied == index)
		rlog_reset(v->log, index, term);
	else if (applied < index)
		rlog_install_cancel(v->log);
	else
		return ERR_CORRUPT;
	return 0;
}

int voter_start(struct voter *v, uint64_t applied)
{
	const char *why = NULL;

	if (settle_install(v, applied) || applied < rlog_base(v->log))
		why = "the catalog is older than the voter's log begins: one of the two was replaced";
	else if (applied > rlog_last(v->log))
		why = "the voter's log ends before what the catalog has applied: it was replaced or cut; "
		      "this voter must join again under a new id";
	else if (!members_match(v))
		why = "the voters in the configuration are not those the log was formatted with";
	if (why) {
		snprintf(v->why, sizeof(v->why), "%s", why);
		return ERR_CORRUPT;
	}
	v->start_applied = applied;
	if (!voter_has_vote(v, v->config.self) || voter_votes(v) == 1)
		rlog_prove(v->log); /* nobody else to ask, or nothing to prove */
	if (voter_votes(v) == 1 && voter_has_vote(v, v->config.self)) {
		/* libraft lets a sole voter lead again in its old term; leases and rounds of ours are
		 * told apart by the term, so it starts a new one. */
		v->vote_needed = rlog_set_vote(v->log, rlog_term(v->log) + 1, v->config.self);
		v->sole_start = true;
		rlog_flush(v->log);
		return 0;
	}
	rlog_flush(v->log);
	return voter_start_raft(v);
}

void voter_free(struct voter *v)
{
	if (!v)
		return;
	voter_outbox_free(v);
	if (v->installing)
		raft_configuration_close(&v->incoming.configuration);
	if (v->inited)
		raft_close(&v->raft, NULL);
	rlog_close(v->log);
	mem_free(v);
}
