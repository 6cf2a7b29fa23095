/* Entry points of a hint server; what is applied; what changes with the leadership.
 *
 * The catalog's kv is committed now and then, not for every entry: the log is durable, and what was
 * applied but not committed is applied again after a crash. Queries see it at once. */
#include "hint-server/quorum/hint.h"

#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#include <stdio.h>

#define COMMIT_ENTRIES 4096
#define COMMIT_AFTER (500 * NSEC_MSEC)
#define APPLY_MAX 2048                  /* entries of one turn */
#define TRAILING_MIN 64u
#define HEARTBEAT_MS 50u

/* Set before this voter takes part: from then on it must have its log. A snapshot from another
 * voter contains the same key and value. */
static const char used_key[] = "\xff" "quorum.used";

nsec_t hint_now(const struct hint *h)
{
	return h->env->now(h->env);
}

void hint_wake(struct hint *h, nsec_t at)
{
	h->wake_at = MIN(h->wake_at, at);
}

void hint_fail(struct hint *h, int rc, const char *why)
{
	if (h->failed)
		return;
	h->failed = true;
	snprintf(h->why, sizeof(h->why), "%s (%s)", why, err_text(rc));
	TRACE("hint.failed rc", rc, 0, 0, 0);
}

const char *hint_why(const struct hint *h)
{
	return h->why;
}

/* --- the catalog's transactions --- */

static void commit(struct hint *h)
{
	int rc;

	if (!h->in_batch)
		return;
	h->in_batch = false;
	h->batch_entries = 0;
	rc = catalog_commit(h->catalog);
	if (rc)
		hint_fail(h, rc, "the catalog's store failed");
	else
		h->applied_durable = catalog_applied(h->catalog);
}

/* Trims the log behind what the catalog has made durable. */
static void checkpoint_if_due(struct hint *h)
{
	uint64_t used, total;
	unsigned trailing = (unsigned)MIN(h->config.snapshot_entries / 4, 1u << 20);

	rlog_space(voter_log(h->voter), &used, &total);
	if (catalog_applied(h->catalog) < h->checkpoint_at + h->config.snapshot_entries &&
	    (used < total / 2 || catalog_applied(h->catalog) < h->checkpoint_at + TRAILING_MIN))
		return;
	commit(h);
	if (h->failed)
		return;
	if (used >= total / 2)
		trailing = TRAILING_MIN;
	h->checkpoint_at = h->applied_durable;
	voter_checkpoint(h->voter, h->applied_durable, trailing);
}

/* --- applying --- */

static int apply_one(struct hint *h, const struct rlog_entry *e, uint64_t index)
{
	struct msg op = {0};
	int rc;

	if (!h->in_batch) {
		rc = catalog_begin(h->catalog);
		if (rc)
			return rc;
		h->in_batch = true;
		h->batch_since = hint_now(h);
	}
	h->batch_entries++;
	if (e->type != VOTER_COMMAND)
		return catalog_apply(h->catalog, index, NULL, &h->reply);
	if (msg_decode_body(e->data, e->len, &op))
		return ERR_CORRUPT;
	rc = catalog_apply(h->catalog, index, &op, &h->reply);
	if (rc == 0 && h->leader)
		requests_applied(h, index, &op, &h->reply);
	return rc;
}

static void apply(struct hint *h)
{
	uint64_t to = voter_applicable(h->voter);

	for (unsigned n = 0; !h->failed && catalog_applied(h->catalog) < to; n++) {
		uint64_t index = catalog_applied(h->catalog) + 1;
		const struct rlog_entry *e = rlog_get(voter_log(h->voter), index);
		int rc;

		if (n == APPLY_MAX) {
			hint_wake(h, hint_now(h));
			break;
		}
		CHECK(e);
		rc = apply_one(h, e, index);
		if (rc)
			hint_fail(h, rc, "a log entry could not be applied to the catalog");
	}
	if (h->batch_entries >= COMMIT_ENTRIES)
		commit(h);
}

static void on_locks_freed(void *ctx, uint64_t ino)
{
	lock_waits_freed(ctx, ino);
}

static void on_holder_changed(void *ctx, uint64_t ino, session_id_t holder)
{
	(void)holder;
	lease_holder_changed(ctx, ino);
}

static void on_session_ended(void *ctx, session_id_t ended, server_id_t server)
{
	(void)server;
	sess_gone(ctx, ended);
}

static void on_orphaned(void *ctx, uint64_t ino)
{
	struct hint *h = ctx;

	(void)ino;
	h->orphans.due = true;
	hint_wake(h, hint_now(h));
}

static const struct catalog_watch watch = {
	.locks_freed = on_locks_freed,
	.holder_changed = on_holder_changed,
	.session_ended = on_session_ended,
	.orphaned = on_orphaned,
};

/* --- leadership --- */

static void lose(struct hint *h, bool tell)
{
	TRACE("hint.follows term", h->leader_term, 0, 0, 0);
	requests_drop(h, tell);
	lock_waits_clear(h);
	orphans_clear(h);
	sessions_clear(h);
	leases_clear(h);
	snapshots_stop(h->snapshots);
	h->leader = h->ready = false;
}

static void win(struct hint *h)
{
	h->leader = true;
	h->ready = false;
	h->leader_term = voter_term(h->voter);
	/* With the barrier that libraft adds when it is needed: trap B6. */
	h->ready_index = voter_last(h->voter);
	h->grace_until = hint_now(h) + h->config.shared_timeout + h->shared_margin;
	read_index_reset(&h->reads, h->leader_term, &h->voter_config);
	TRACE("hint.leads term ready_index", h->leader_term, h->ready_index, 0, 0);
}

static void follow_role(struct hint *h)
{
	bool leads = voter_leads(h->voter);

	if (h->leader && (!leads || voter_term(h->voter) != h->leader_term))
		lose(h, true);
	if (leads && !h->leader)
		win(h);
	if (h->held)
		relay_leader_known(h);
}

static void become_ready(struct hint *h)
{
	if (!h->leader || h->ready || catalog_applied(h->catalog) < h->ready_index)
		return;
	h->ready = true;
	h->dirty = true;
	sessions_load(h);
	h->orphans.due = true;
	hint_wake(h, h->grace_until);
	TRACE("hint.ready term", h->leader_term, 0, 0, 0);
}

/* --- every entry point --- */

static void send_it(void *ctx, const struct msg *m)
{
	relay_send(ctx, m);
}

/* A server that slept blames nobody for it: all deadlines move (trap B4). */
static void enter(struct hint *h)
{
	nsec_t now = hint_now(h);

	if (h->depth++ > 0)
		return;
	if (h->tick_due != NSEC_NEVER && now > h->tick_due + LATE_MAX) {
		sessions_shift(h, now - h->tick_due);
		leases_shift(h, now - h->tick_due);
		TRACE("hint.late ns", now - h->tick_due, 0, 0, 0);
		h->tick_due = now;
	}
}

/* Everything that follows from what just happened. */
static void settle(struct hint *h)
{
	bool more = true;

	while (more && !h->failed && voter_running(h->voter)) {
		uint64_t confirmed = h->reads.confirmed, applied = catalog_applied(h->catalog);

		follow_role(h);
		apply(h);
		become_ready(h);
		if (!h->leader)
			break;
		beats_run(h);
		requests_run(h);
		requests_submit(h);
		read_index_flush(&h->reads, hint_now(h), send_it, h);
		if (h->reads.confirmed > confirmed)
			h->dirty = true;
		more = h->reads.confirmed > confirmed ||
		       (catalog_applied(h->catalog) > applied && h->dirty);
	}
	if (!h->failed && voter_running(h->voter))
		checkpoint_if_due(h);
	else if (h->leader)
		lose(h, true);
}

static void leave(struct hint *h)
{
	if (h->depth == 1)
		settle(h);
	h->depth--;
}

static void on_progress(void *ctx)
{
	enter(ctx);
	leave(ctx);
}

/* --- start --- */

static bool was_used(struct hint *h)
{
	struct kv_span key = {used_key, sizeof(used_key) - 1}, value;

	return kv_get(h->kv, key, &value) == 0;
}

static int mark_used(struct hint *h)
{
	struct kv_span key = {used_key, sizeof(used_key) - 1}, value = {"1", 1};
	int rc = kv_begin(h->kv);

	if (rc)
		return rc;
	rc = kv_put(h->kv, key, value);
	if (rc) {
		kv_abort(h->kv);
		return rc;
	}
	return kv_commit(h->kv);
}

static void on_loaded(void *ctx, int rc)
{
	struct hint *h = ctx;

	if (rc == 0 && h->fresh)
		rc = mark_used(h);
	if (rc == 0)
		rc = voter_start(h->voter, h->applied_durable);
	if (rc)
		hint_fail(h, rc, voter_why(h->voter)[0] ? voter_why(h->voter)
		                                        : "the catalog's store failed");
	h->started = rc == 0;
	h->checkpoint_at = rc ? 0 : rlog_base(voter_log(h->voter));
	on_progress(h);
}

static void on_failed(void *ctx, int rc)
{
	struct hint *h = ctx;

	hint_fail(h, rc, voter_why(h->voter));
}

static void on_wants_snapshot(void *ctx, server_id_t peer, uint64_t index)
{
	struct hint *h = ctx;

	snapshots_start(h->snapshots, peer, voter_term(h->voter), index);
}

static int on_install(void *ctx, uint64_t index, uint64_t term)
{
	struct hint *h = ctx;
	struct image *im = snapshots_image(h->snapshots, index, term);
	int rc;

	if (!im)
		return -ENOENT;
	if (h->in_batch)
		catalog_abort(h->catalog);
	h->in_batch = false;
	h->batch_entries = 0;
	rc = image_import(im, h->kv);
	if (rc == 0)
		rc = catalog_reload(h->catalog);
	if (rc == 0 && catalog_applied(h->catalog) != index)
		rc = ERR_CORRUPT;
	image_drop(im);
	h->applied_durable = h->checkpoint_at = index;
	TRACE("hint.installed index rc", index, rc, 0, 0);
	return rc;
}

static int on_export(void *ctx, struct image *im)
{
	struct hint *h = ctx;
	int rc;

	commit(h);
	if (h->failed)
		return -EIO;
	rc = image_export(im, h->kv, h->config.snapshot_dir);
	im->index = h->applied_durable;
	im->term = rlog_term_of(voter_log(h->voter), im->index);
	return rc;
}

static void on_received(void *ctx, server_id_t from, uint64_t leader_term, uint64_t index,
                        uint64_t term)
{
	struct hint *h = ctx;

	voter_snapshot_received(h->voter, from, leader_term, index, term);
}

static void set_defaults(struct hint_config *c)
{
	if (!c->session_timeout)
		c->session_timeout = 5 * NSEC_SEC;
	if (!c->margin)
		c->margin = c->session_timeout / 10;
	if (!c->shared_timeout)
		c->shared_timeout = 800 * NSEC_MSEC;
	if (!c->election_timeout)
		c->election_timeout = 500 * NSEC_MSEC;
	if (!c->snapshot_entries)
		c->snapshot_entries = 16384;
	if (!c->log_bytes)
		c->log_bytes = RLOG_BYTES;
}

static void voter_settings(struct hint *h)
{
	struct voter_config *v = &h->voter_config;

	v->self = h->config.server;
	v->peers = h->config.voters;
	for (unsigned i = 0; i < h->config.voters; i++)
		v->peer[i] = (struct voter_peer){h->config.voter[i].id, h->config.voter[i].vote};
	v->election_ms = (unsigned)(h->config.election_timeout / NSEC_MSEC);
	v->heartbeat_ms = MIN(HEARTBEAT_MS, MAX(v->election_ms / 5, 1));
	v->log = (struct rlog_config){
		.cluster = h->config.cluster, .server = h->config.server,
		.id = h->env->random(h->env), .bytes = h->config.log_bytes, .fresh = h->fresh,
		.bug_sync_retried = h->config.bugs & HINT_BUG_SYNC_RETRIED,
	};
}

int hint_format(struct disk *disk, struct kv *kv, const struct hint_config *config)
{
	struct hint_config c = *config;
	struct catalog_seed seed;

	(void)disk; /* the log is made at the first start, which the kv remembers */
	set_defaults(&c);
	seed = (struct catalog_seed){
		.cluster = c.cluster, .sites = c.sites, .site = c.site,
		.session_ms = (uint32_t)(c.session_timeout / NSEC_MSEC),
		.margin_ms = (uint32_t)(c.margin / NSEC_MSEC),
	};
	return catalog_format(kv, &seed);
}

static bool config_ok(const struct hint_config *c, const char **why)
{
	bool self = false;
	unsigned votes = 0;

	for (unsigned i = 0; i < c->voters && i < HINT_VOTERS_MAX; i++) {
		self |= c->voter[i].id == c->server;
		votes += c->voter[i].vote;
	}
	*why = "the list of hint servers must name this server and at least one with a vote";
	return self && votes > 0 && c->voters <= HINT_VOTERS_MAX;
}

int hint_new(struct hint **out, struct env *env, struct disk *disk, struct kv *kv,
             const struct hint_config *c, const char **why)
{
	static const struct voter_ops voter_ops = {
		on_loaded, on_progress, send_it, on_wants_snapshot, on_install, on_failed,
	};
	static const struct snapshots_ops snapshot_ops = {send_it, on_export, on_received};
	struct hint *h;
	int rc;

	if (!config_ok(c, why))
		return -EINVAL;
	h = mem_new(sizeof(*h));
	h->env = env;
	h->disk = disk;
	h->kv = kv;
	h->config = *c;
	h->wake_at = h->tick_due = NSEC_NEVER;
	set_defaults(&h->config);
	h->shared_margin = (nsec_t)((double)h->config.shared_timeout * (double)h->config.margin /
	                            (double)h->config.session_timeout);
	catalog_reply_init(&h->reply);
	catalog_reply_init(&h->scratch);
	rc = catalog_open(&h->catalog, kv);
	if (rc) {
		*why = rc == -ENOENT ? "no catalog here: format it first"
		                     : "the catalog's store cannot be read";
		hint_free(h);
		return rc;
	}
	catalog_set_watch(h->catalog, &watch, h);
	catalog_set_bugs(h->catalog,
	                 (h->config.bugs & HINT_BUG_NO_SLOTS ? CATALOG_BUG_NO_SLOTS : 0) |
	                 (h->config.bugs & HINT_BUG_EPOCH_KEPT ? CATALOG_BUG_EPOCH_KEPT : 0));
	h->applied_durable = catalog_applied(h->catalog);
	h->fresh = !was_used(h);
	h->proof.round = env->random(env) >> 1; /* no answer of an earlier life fits */
	voter_settings(h);
	h->snapshots = snapshots_new(env, h->config.snapshot_dir, &snapshot_ops, h);
	rc = voter_open(&h->voter, env, disk, &h->voter_config, &voter_ops, h);
	if (rc) {
		*why = "the voter's log cannot be opened";
		hint_free(h);
		return rc;
	}
	*out = h;
	return 0;
}

void hint_free(struct hint *h)
{
	if (!h)
		return;
	if (h->voter && h->leader)
		lose(h, false);
	relay_free(h);
	snapshots_free(h->snapshots);
	voter_free(h->voter);
	if (h->catalog) {
		if (h->in_batch)
			catalog_abort(h->catalog);
		catalog_close(h->catalog);
	}
	catalog_reply_fini(&h->reply);
	catalog_reply_fini(&h->scratch);
	mem_free(h);
}

/* --- messages --- */

static void recv_term_check(struct hint *h, const struct msg *m)
{
	struct msg r = {.type = MSG_TYPE_term_check_reply};

	r.term_check_reply.term = voter_term(h->voter);
	r.term_check_reply.nonce = m->term_check.nonce;
	r.term_check_reply.commit = h->leader ? voter_last(h->voter) : voter_commit(h->voter);
	relay_reply(h, &r, m);
}

static void recv_term_check_reply(struct hint *h, const struct msg *m)
{
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

static void dispatch(struct hint *h, const struct msg *m)
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

void hint_recv(struct hint *h, const struct msg *m)
{
	enter(h);
	relay_learn(h, m);
	if (!h->failed && h->started && !relay_pass_on(h, m) && voter_running(h->voter))
		dispatch(h, m);
	leave(h);
}

/* --- time --- */

nsec_t hint_tick(struct hint *h, nsec_t now)
{
	nsec_t next = NSEC_NEVER;

	if (h->failed || !h->started)
		return NSEC_NEVER;
	enter(h);
	if (now >= h->wake_at) {
		h->wake_at = NSEC_NEVER;
		h->dirty = true;
	}
	next = MIN(next, voter_tick(h->voter, now));
	next = MIN(next, snapshots_tick(h->snapshots, now));
	next = MIN(next, relay_tick(h, now));
	if (!voter_may_vote(h->voter))
		next = MIN(next, proof_tick(&h->proof, &h->voter_config, now, send_it, h));
	if (h->leader) {
		next = MIN(next, leases_tick(h, now));
		next = MIN(next, lock_waits_tick(h, now));
		next = MIN(next, orphans_tick(h, now));
	}
	if (h->in_batch && now >= h->batch_since + COMMIT_AFTER)
		commit(h);
	leave(h);
	if (h->in_batch)
		next = MIN(next, h->batch_since + COMMIT_AFTER);
	if (h->leader)
		next = MIN(next, read_index_due(&h->reads));
	next = MIN(next, h->wake_at);
	h->tick_due = MAX(next, now);
	return next;
}

bool hint_disk_busy(const struct hint *h)
{
	return rlog_busy(voter_log(h->voter));
}

void hint_stepdown(struct hint *h)
{
	enter(h);
	voter_stepdown(h->voter);
	leave(h);
}
