/* Formatted, opened, freed; what the catalog, the voter and the snapshots call back. */
#include "hint-server/quorum/hint_private.h"

#include "common/base/mem.h"
#include "common/base/trace.h"

#define HEARTBEAT_MS 50u

/* Set before this voter takes part: from then on it must have its log. A snapshot from another
 * voter contains the same key and value. */
static const char used_key[] = "\xff" "quorum.used";

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
	hint_progress(h);
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
	kv_commit_wait(h->kv);
	if (h->in_batch)
		catalog_abort(h->catalog);
	h->in_batch = false;
	h->batch_entries = 0;
	h->batch_bytes = h->committing_bytes = 0; /* or nothing is applied for ever: batch_closed() */
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

static int export(struct kv *kv, void *arg)
{
	struct hint *h = arg;

	return image_export(h->exporting, kv, h->config.snapshot_dir);
}

static void on_exported(void *ctx, int rc)
{
	struct hint *h = ctx;

	h->exporting->index = h->applied_durable;
	h->exporting->term = rlog_term_of(voter_log(h->voter), h->applied_durable);
	h->exporting = NULL;
	snapshots_exported(h->snapshots, rc);
	hint_wake(h, hint_now(h));
}

static int on_export(void *ctx, struct image *im)
{
	struct hint *h = ctx;
	int rc;

	if (h->failed || kv_committing(h->kv))
		return -EAGAIN;
	h->exporting = im;
	rc = kv_task_start(h->kv, export, h, on_exported, h);
	if (rc == -EBUSY) {
		hint_commit_wait(h);
		rc = h->failed ? -EIO : kv_task_start(h->kv, export, h, on_exported, h);
	}
	if (rc)
		h->exporting = NULL;
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
	if (!c->follow)
		c->follow = 10 * NSEC_SEC;
	if (!c->recover_after)
		c->recover_after = 600 * NSEC_SEC;
	if (!c->election_timeout)
		c->election_timeout = 500 * NSEC_MSEC;
	if (!c->snapshot_entries)
		c->snapshot_entries = 16384;
	if (!c->reserve_bytes)
		c->reserve_bytes = 8u << 20;
	if (!c->requests_max)
		c->requests_max = REQUESTS_MAX;
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
		on_loaded, hint_progress, hint_send, on_wants_snapshot, on_install, on_failed,
	};
	static const struct snapshots_ops snapshot_ops = {hint_send, on_export, on_received};
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
	                 (h->config.bugs & HINT_BUG_EPOCH_KEPT ? CATALOG_BUG_EPOCH_KEPT : 0) |
	                 (h->config.bugs & HINT_BUG_ORPHAN_UNMARKED ? CATALOG_BUG_ORPHAN_UNMARKED : 0) |
	                 (h->config.bugs & HINT_BUG_MOVE_UNMARKED ? CATALOG_BUG_MOVE_UNMARKED : 0) |
	                 (h->config.bugs & HINT_BUG_GC_STALE ? CATALOG_BUG_UNKNOWN_GONE : 0));
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
		hint_lose(h, false);
	relay_free(h);
	kv_commit_forget(h->kv);
	if (h->exporting) /* into memory of ours */
		kv_commit_wait(h->kv);
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
