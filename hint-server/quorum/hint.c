/* Entry points of a hint server; what is applied; what changes with the leadership.
 *
 * The catalog's kv is committed now and then, not for every entry: the log is durable, and what was
 * applied but not committed is applied again after a crash. Queries see it at once. Entries go on
 * being applied while a commit is under way. */
#include "hint-server/quorum/hint.h"

#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#include <stdio.h>

#define COMMIT_ENTRIES 4096
#define COMMIT_ENTRIES_FULL 128         /* each writes some pages anew before others are free */
#define BATCH_PARTS 4                   /* of the reserve: two batches, and what is on its way */
#define COMMIT_AFTER (500 * NSEC_MSEC)
#define APPLY_MAX 2048                  /* entries of one turn */
#define TRAILING_MIN 64u

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

static void on_committed(void *ctx, int rc)
{
	struct hint *h = ctx;

	if (rc == -ENOSPC && room_stuck(h))
		room_refused(h);
	else if (rc)
		hint_fail(h, rc, "the catalog's store failed");
	else
		room_committed(h);
	h->dirty = true; /* some wait for room_waits() */
	hint_wake(h, hint_now(h));
}

static void commit(struct hint *h)
{
	int rc;

	if (!h->in_batch || kv_committing(h->kv) || room_stuck(h))
		return;
	h->in_batch = false;
	h->batch_entries = 0;
	h->committing_bytes = h->batch_bytes;
	h->batch_bytes = 0;
	h->committing = catalog_applied(h->catalog);
	rc = catalog_commit_start(h->catalog, on_committed, h);
	if (rc)
		on_committed(h, rc);
}

void hint_commit_again(struct hint *h)
{
	kv_commit_again(h->kv, on_committed, h);
}

void hint_commit_wait(struct hint *h)
{
	kv_commit_wait(h->kv);
	commit(h);
	kv_commit_wait(h->kv);
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
	if (h->failed || h->applied_durable <= h->checkpoint_at)
		return; /* on_committed() comes back here */
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
	h->batch_bytes += e->len;
	if (e->type != VOTER_COMMAND)
		return catalog_apply(h->catalog, index, NULL, &h->reply);
	if (msg_decode_body(e->data, e->len, &op))
		return ERR_CORRUPT;
	if (op.type == MSG_TYPE_op_shown && !h->leader && h->config.bugs & HINT_BUG_SHOWN_BY_LEADER)
		return catalog_apply(h->catalog, index, NULL, &h->reply);
	rc = catalog_apply(h->catalog, index, &op, &h->reply);
	if (rc == 0 && h->leader)
		requests_applied(h, index, &op, &h->reply);
	return rc;
}

/* No batch outgrows what is held for it, or the memory that it is kept in: it waits for the one before. */
static bool batch_closed(struct hint *h)
{
	if (h->batch_bytes >= h->config.reserve_bytes / BATCH_PARTS)
		commit(h);
	return h->batch_bytes >= h->config.reserve_bytes / BATCH_PARTS;
}

static void apply(struct hint *h)
{
	uint64_t to = voter_applicable(h->voter);

	for (unsigned n = 0; !h->failed && !room_stuck(h) && catalog_applied(h->catalog) < to; n++) {
		uint64_t index = catalog_applied(h->catalog) + 1;
		const struct rlog_entry *e = rlog_get(voter_log(h->voter), index);
		int rc;

		if (batch_closed(h))
			break; /* on_committed() comes back here */
		if (n == APPLY_MAX) {
			hint_wake(h, hint_now(h));
			break;
		}
		CHECK(e);
		rc = apply_one(h, e, index);
		if (rc)
			hint_fail(h, rc, "a log entry could not be applied to the catalog");
	}
	if (h->batch_entries >= (h->full ? COMMIT_ENTRIES_FULL : COMMIT_ENTRIES))
		commit(h);
	room_applied(h);
}

/* --- leadership --- */

uint16_t hint_voter_site(const struct hint *h, unsigned i)
{
	const struct map *map = catalog_map(h->catalog);
	char addr[sizeof(h->config.voter[i].addr)], *port;

	memcpy(addr, h->config.voter[i].addr, sizeof(addr));
	port = strrchr(addr, ':');
	if (port)
		*port = 0;
	return map_site_of(map->site, map->sites, addr);
}

void hint_lose(struct hint *h, bool tell)
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
	/* No answer to an earlier leader may fit a question of this one: it is of another moment. */
	h->next_id = h->config.bugs & HINT_BUG_IDS_REPEAT ? 0 : MAX(h->next_id, h->leader_term << 32);
	/* With the barrier that libraft adds when it is needed: trap B6. */
	h->ready_index = voter_last(h->voter);
	h->grace_until = hint_now(h) + h->config.shared_timeout + h->shared_margin;
	read_index_reset(&h->reads, h->leader_term, &h->voter_config);
	follow_reset(h);
	absent_reset(h);
	TRACE("hint.leads term ready_index", h->leader_term, h->ready_index, 0, 0);
}

static void follow_role(struct hint *h)
{
	bool leads = voter_leads(h->voter);

	if (h->leader && (!leads || voter_term(h->voter) != h->leader_term))
		hint_lose(h, true);
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
	moves_reset(h);
	hint_wake(h, h->grace_until);
	TRACE("hint.ready term", h->leader_term, 0, 0, 0);
}

/* --- every entry point --- */

void hint_send(void *ctx, const struct msg *m)
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
		read_index_flush(&h->reads, hint_now(h), hint_send, h);
		if (h->reads.confirmed > confirmed)
			h->dirty = true;
		more = h->reads.confirmed > confirmed ||
		       (catalog_applied(h->catalog) > applied && h->dirty);
	}
	if (!h->failed && voter_running(h->voter))
		checkpoint_if_due(h);
	else if (h->leader)
		hint_lose(h, true);
}

static void leave(struct hint *h)
{
	if (h->depth == 1)
		settle(h);
	h->depth--;
}

void hint_progress(void *ctx)
{
	enter(ctx);
	leave(ctx);
}

void hint_recv(struct hint *h, const struct msg *m)
{
	enter(h);
	relay_learn(h, m);
	if (!h->failed && h->started && !relay_pass_on(h, m) && voter_running(h->voter))
		hint_dispatch(h, m);
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
	next = MIN(next, room_tick(h, now));
	if (!voter_may_vote(h->voter))
		next = MIN(next, proof_tick(&h->proof, &h->voter_config, now, hint_send, h));
	if (h->leader) {
		next = MIN(next, leases_tick(h, now));
		next = MIN(next, lock_waits_tick(h, now));
		next = MIN(next, orphans_tick(h, now));
		next = MIN(next, moves_tick(h, now));
		next = MIN(next, follow_tick(h, now));
	}
	if (h->in_batch && now >= h->batch_since + COMMIT_AFTER)
		commit(h);
	leave(h);
	if (h->in_batch && !kv_committing(h->kv) && !room_stuck(h))
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
