/* Wiring: frames and disk completions go to the core, which is ticked before the loop sleeps. */
#include "hint-server/hint_server.h"

#include <stdio.h>

#include "common/base/log.h"
#include "common/disk/disk_uring.h"
#include "hint-server/quorum/log.h"

#define KV_BYTES ((uint64_t)16 << 30) /* a bound: the file is sparse */

/* --- connections --- */

void hint_server_recv(struct server *s, const struct msg *m)
{
	hint_recv(((struct hint_server *)s)->hint, m);
}

void hint_server_peer_up(struct server *s, server_id_t peer)
{
	hint_peer_up(((struct hint_server *)s)->hint, peer);
}

void hint_server_peer_down(struct server *s, server_id_t peer)
{
	hint_peer_down(((struct hint_server *)s)->hint, peer);
}

/* --- opening --- */

static int core_config(const struct config *c, struct hint_config *out, char *why, size_t why_size)
{
	_Static_assert(CONFIG_HINTS_MAX <= HINT_VOTERS_MAX, "all hint servers fit");
	memset(out, 0, sizeof(*out));
	out->server = c->id;
	out->cluster = c->cluster;
	out->voters = c->hints;
	for (unsigned i = 0; i < c->hints; i++) {
		out->voter[i].id = c->hint[i].id;
		out->voter[i].vote = c->hint[i].vote;
		snprintf(out->voter[i].addr, sizeof(out->voter[i].addr), "%s", c->hint[i].addr);
	}
	out->sites = c->sites;
	memcpy(out->site, c->site, c->sites * sizeof(c->site[0]));
	out->session_timeout = c->session;
	out->shared_timeout = c->shared;
	out->election_timeout = c->election;
	out->follow = c->follow;
	out->recover_after = c->recover_after;
	if (strlen(c->directory) < sizeof(out->snapshot_dir)) {
		snprintf(out->snapshot_dir, sizeof(out->snapshot_dir), "%.*s",
		         (int)sizeof(out->snapshot_dir) - 1, c->directory);
		return 0;
	}
	snprintf(why, why_size, "the directory's name is longer than %zu bytes",
	         sizeof(out->snapshot_dir) - 1);
	return -ENAMETOOLONG;
}

static int open_parts(struct hint_server *h, char *why, size_t why_size)
{
	const struct state_dir *dir = &h->server.dir;
	int rc = kv_open_lmdb(&h->kv, dir->below, KV_BYTES);

	if (rc) {
		snprintf(why, why_size, "cannot open the catalog in %s: %s", dir->below, err_text(rc));
		return rc;
	}
	rc = disk_uring_open(&h->disk, dir->path);
	if (rc)
		snprintf(why, why_size, "cannot use io_uring in %s: %s", dir->path, err_text(rc));
	return rc;
}

static int format(struct hint_server *h, const struct hint_config *config, char *why,
                  size_t why_size)
{
	const char *path = h->server.dir.path;
	int rc = hint_format(h->disk, h->kv, config);

	if (rc == -EEXIST)
		snprintf(why, why_size, "%s holds a hint server already", path);
	else if (rc)
		snprintf(why, why_size, "cannot format %s: %s", path, err_text(rc));
	if (rc)
		return rc;
	rc = disk_uring_fill(h->disk, RLOG_FILE, RLOG_BYTES);
	if (rc)
		snprintf(why, why_size, "cannot write the voter's log in %s: %s", path, err_text(rc));
	return rc;
}

int hint_server_format(struct server *s, char *why, size_t why_size)
{
	struct hint_server *h = (struct hint_server *)s;
	struct hint_config config;
	int rc = core_config(&s->config, &config, why, why_size);

	if (rc == 0)
		rc = open_parts(h, why, why_size);
	if (rc == 0)
		rc = format(h, &config, why, why_size);
	hint_server_close(s);
	return rc;
}

int hint_server_start(struct server *s, char *why, size_t why_size)
{
	struct hint_server *h = (struct hint_server *)s;
	struct hint_config config;
	const char *sentence = "";
	int rc = core_config(&s->config, &config, why, why_size);

	if (rc == 0)
		rc = open_parts(h, why, why_size);
	if (rc)
		return rc;
	rc = disk_uring_uv_start(&h->disk_loop, &s->loop, h->disk);
	if (rc) {
		snprintf(why, why_size, "cannot wait for the disk in the event loop: %s", err_text(rc));
		return rc;
	}
	h->disk_in_loop = true;
	rc = kv_worker_start(&h->kv_worker, &s->loop, &h->kv);
	if (rc) {
		snprintf(why, why_size, "cannot start a thread for the catalog: %s", err_text(rc));
		return rc;
	}
	rc = hint_new(&h->hint, &s->env, h->disk, h->kv, &config, &sentence);
	if (rc) {
		snprintf(why, why_size, "%s: %s (%s)", s->dir.path, sentence, err_text(rc));
		return rc;
	}
	rc = server_start_net(s, why, why_size);
	if (rc == 0)
		log_info("hint.up", "listening on %s, %s", s->config.listen, s->dir.path);
	return rc;
}

void hint_server_stats(struct server *s, json_t *o)
{
	struct hint_server *h = (struct hint_server *)s;
	struct hint_status status;
	json_t *v = json_object();

	hint_get_status(h->hint, &status);
	admin_put_bool(v, "leads", status.leader);
	admin_put(v, "leader", status.leader_id);
	admin_put(v, "term", status.term);
	admin_put(v, "commit", status.commit);
	admin_put(v, "applied", status.applied);
	admin_put(v, "voters", status.voters);
	admin_put(v, "voters_heard", status.voters_heard);
	json_object_set_new(o, "vote", v);
}

/* --- the end --- */

static void on_disk_stopped(void *ctx)
{
	server_end(ctx);
}

/* The last log write ends before its memory goes. */
static void end_when_idle(struct hint_server *h)
{
	if (h->disk_stopping || !h->net_gone || (h->hint && hint_disk_busy(h->hint)))
		return;
	h->disk_stopping = true;
	hint_free(h->hint);
	h->hint = NULL;
	kv_worker_stop(&h->kv_worker);
	if (h->disk_in_loop)
		disk_uring_uv_stop(&h->disk_loop, on_disk_stopped, &h->server);
	else
		server_end(&h->server);
}

static void on_net_gone(struct server *s)
{
	((struct hint_server *)s)->net_gone = true;
	server_wake(s);
}

void hint_server_stop(struct server *s)
{
	server_stop_net(s, on_net_gone);
}

void hint_server_close(struct server *s)
{
	struct hint_server *h = (struct hint_server *)s;

	if (h->disk)
		disk_uring_close(h->disk);
	if (h->kv)
		kv_close(h->kv);
}

/* --- ticks --- */

static void say_role(struct hint_server *h)
{
	struct hint_status now;

	hint_get_status(h->hint, &now);
	if (now.leader != h->said.leader || now.leader_id != h->said.leader_id) {
		if (now.leader)
			log_info("hint.leads", "leads the catalog in term %" PRIu64, now.term);
		else if (now.leader_id)
			log_info("hint.follows", "follows hint server %" PRIu32 " in term %" PRIu64,
			         now.leader_id, now.term);
		else
			log_info("hint.alone", "knows no leader, term %" PRIu64, now.term);
	}
	if (now.full && !h->said.full)
		log_warn("hint.full", "no room for the catalog to grow: the file system of %s is full; what "
		         "needs space is refused when a majority says so", h->server.dir.path);
	else if (!now.full && h->said.full)
		log_info("hint.room", "the catalog has room again");
	h->said = now;
}

nsec_t hint_server_tick(struct server *s, nsec_t now)
{
	struct hint_server *h = (struct hint_server *)s;
	struct hint_status status;
	nsec_t due;

	if (s->stopping) {
		end_when_idle(h);
		return NSEC_NEVER;
	}
	due = hint_tick(h->hint, now);
	hint_get_status(h->hint, &status);
	if (status.failed) {
		log_error("hint.failed", "%s", hint_why(h->hint));
		server_stop(s, EXIT_FAILED);
		return now;
	}
	say_role(h);
	return due;
}
