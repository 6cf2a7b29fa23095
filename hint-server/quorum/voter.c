#include "hint-server/quorum/voter.h"

#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/raft_wire.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#define OUTBOX_MAX 1024
#define APPEND_BYTES_MAX (1u << 20)   /* entries of one message, unless a single one is larger */
#define INFLIGHT_ENTRIES_MAX 2048
#define SNAPSHOT_TIMEOUT_MS 60000
#define GONE_WAIT_MS_MIN 10
#define GONE_WAIT_MS 150              /* spread, so that not all stand at once */

static_assert(VOTER_COMMAND == RAFT_COMMAND, "entry types are libraft's");

/* A message that waits until the vote it speaks for is durable. */
struct outgoing {
	struct outgoing *next, *prev;
	server_id_t to;
	uint64_t vote;
	uint8_t *bytes;
	size_t len;
};

struct voter {
	struct env *env;
	struct voter_config config;
	const struct voter_ops *ops;
	void *ctx;
	struct rlog *log;
	struct raft raft;
	struct raft_tracer tracer;
	bool inited, running, failed;
	bool stepping;
	bool installing;         /* between raft's acceptance and the reset log being durable */
	bool replaced;           /* the state machine is the new one already */
	uint64_t reset_at;       /* the log's generation to wait for */
	struct raft_snapshot_metadata incoming;
	uint64_t vote_needed;
	uint64_t start_applied;
	bool sole_start;         /* a sole voter waits for its raised term */
	uint64_t commit_told;
	unsigned short state_told;
	uint64_t term_told;
	server_id_t leader_told;
	nsec_t timed_out_at;     /* as leader, the last time */
	struct peer_state {
		nsec_t heard;    /* 0: never */
		nsec_t sent;     /* entries */
	} state[VOTER_PEERS_MAX];
	struct outgoing *outbox;
	unsigned outgoing;
	char why[256];
};

static raft_time raft_now(const struct voter *v)
{
	return (raft_time)(v->env->now(v->env) / NSEC_MSEC);
}

static void fail(struct voter *v, int rc, const char *why)
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

static const struct voter_peer *find_peer(const struct voter *v, uint64_t id)
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
	const struct voter_peer *p = find_peer(v, id);

	return p && p->vote;
}

/* Every voter starts from this configuration; addresses are ids, so that moving a server to
 * another address is no change of membership. */
static void configuration(const struct voter_config *c, struct raft_configuration *out)
{
	char text[16];

	raft_configuration_init(out);
	for (unsigned i = 0; i < c->peers; i++) {
		snprintf(text, sizeof(text), "%u", c->peer[i].id);
		CHECK(raft_configuration_add(out, c->peer[i].id, text,
		                             c->peer[i].vote ? RAFT_VOTER : RAFT_STANDBY) == 0);
	}
}

/* --- messages out --- */

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

static void outbox_send(struct voter *v)
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
	struct peer_state *p = &v->state[find_peer(v, m->server_id) - v->config.peer];
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

static void post_all(struct voter *v, const struct raft_update *u)
{
	for (unsigned i = 0; i < u->messages.n; i++) {
		struct raft_message m = u->messages.batch[i];

		if (!find_peer(v, m.server_id))
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
		post_all(v, u);
	rlog_flush(v->log);
}

static int step(struct voter *v, struct raft_event *e)
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

/* Tells the owner what changed since it was told last. */
static void tell(struct voter *v)
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
			fail(v, ERR_CORRUPT, "a snapshot from the leader could not be installed");
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
	if (step(v, &e))
		fail(v, ERR_CORRUPT, "raft refused an installed snapshot");
}

static void report_durable(struct voter *v)
{
	struct raft_event e = {.type = RAFT_PERSISTED_ENTRIES};

	e.persisted_entries.index = rlog_durable(v->log);
	if (v->raft.state == RAFT_CANDIDATE || e.persisted_entries.index <= v->raft.last_stored)
		return;
	if (step(v, &e))
		fail(v, ERR_CORRUPT, "raft could not go on after a log write");
}

static int start_raft(struct voter *v);

static void on_durable(void *ctx)
{
	struct voter *v = ctx;

	if (v->failed)
		return;
	if (v->sole_start && rlog_vote_durable(v->log) >= v->vote_needed) {
		v->sole_start = false;
		if (start_raft(v))
			return;
	}
	outbox_send(v);
	if (!v->running)
		return;
	if (v->installing)
		install_go_on(v);
	else
		report_durable(v);
	tell(v);
}

static void on_failed(void *ctx, int rc)
{
	struct voter *v = ctx;

	fail(v, rc, rlog_why(v->log));
}

static void on_loaded(void *ctx, int rc)
{
	struct voter *v = ctx;

	if (rc)
		snprintf(v->why, sizeof(v->why), "%s", rlog_why(v->log));
	v->ops->loaded(v->ctx, rc);
}

/* --- starting --- */

static void no_trace(struct raft_tracer *t, int type, const void *info)
{
	(void)t;
	(void)type;
	(void)info;
}

int voter_open(struct voter **out, struct env *env, struct disk *disk, const struct voter_config *c,
               const struct voter_ops *ops, void *ctx)
{
	static const struct rlog_ops log_ops = {on_loaded, on_durable, on_failed};
	struct voter *v = mem_new(sizeof(*v));
	struct raft_configuration conf;
	struct raft_buffer first;
	struct rlog_config log = c->log;
	int rc;

	CHECK(find_peer(&(struct voter){.config = *c}, c->self));
	v->env = env;
	v->config = *c;
	v->ops = ops;
	v->ctx = ctx;
	configuration(c, &conf);
	CHECK(raft_configuration_encode(&conf, &first) == 0);
	raft_configuration_close(&conf);
	log.first = (struct span){first.base, (uint32_t)first.len};
	log.first_type = RAFT_CHANGE;
	rc = rlog_open(&v->log, disk, &log, &log_ops, v);
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
	configuration(&v->config, &conf);
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

static int start_raft(struct voter *v)
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
		configuration(&v->config, &meta.configuration);
		meta.configuration_index = 1;
		e.start.metadata = &meta;
	}
	v->running = true;
	rc = step(v, &e);
	mem_free(entries);
	if (rc)
		fail(v, ERR_CORRUPT, "raft refused the log");
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
	return start_raft(v);
}

void voter_free(struct voter *v)
{
	if (!v)
		return;
	while (v->outbox)
		outgoing_free(v, v->outbox);
	if (v->installing)
		raft_configuration_close(&v->incoming.configuration);
	if (v->inited)
		raft_close(&v->raft, NULL);
	rlog_close(v->log);
	mem_free(v);
}

/* --- events --- */

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

static bool out_of_place(const struct voter *v, const struct raft_message *m)
{
	if (!voter_may_vote(v) && (m->type == RAFT_REQUEST_VOTE || m->type == RAFT_TIMEOUT_NOW))
		return true;
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

	if (!v->running || m->src == v->config.self || !find_peer(v, m->src))
		return;
	if (raft_wire_decode(m->raft.bytes, m->src, &rm)) {
		TRACE("voter.bad_message from", m->src, 0, 0, 0);
		return;
	}
	v->state[find_peer(v, m->src) - v->config.peer].heard = v->env->now(v->env);
	if (out_of_place(v, &rm)) {
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
	rc = step(v, &e);
	if (rm.type == RAFT_APPEND_ENTRIES)
		mem_free(rm.append_entries.entries);
	if (rc)
		fail(v, ERR_CORRUPT, "the leader's log contradicts what was committed here");
	tell(v);
}

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
		if (step(v, &e))
			fail(v, ERR_CORRUPT, "raft could not handle a timeout");
		tell(v);
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
	rc = step(v, &e);
	raft_set_heartbeat_timeout(&v->raft, v->config.heartbeat_ms);
	if (rc)
		raft_free(entries[0].batch);
	mem_free(entries);
	return rc ? 0 : first;
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
	configuration(&v->config, &m.install_snapshot.conf);
	e.receive.message = &m;
	if (step(v, &e))
		fail(v, ERR_CORRUPT, "raft refused a snapshot");
	tell(v);
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
	configuration(&v->config, &e.snapshot.metadata.configuration);
	if (step(v, &e)) {
		fail(v, ERR_CORRUPT, "raft refused a checkpoint");
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
	tell(v);
}

void voter_stepdown(struct voter *v)
{
	struct raft_event e = {.type = RAFT_TRANSFER};

	if (voter_leads(v) && step(v, &e))
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
