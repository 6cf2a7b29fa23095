/* Wiring: frames and disk completions go to the core, which is ticked before the loop sleeps. */
#include "hint-server/server.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/disk/disk_uring.h"
#include "hint-server/quorum/log.h"

#define KV_BYTES ((uint64_t)16 << 30) /* a bound: the file is sparse */

/* --- the world, for the core --- */

static nsec_t env_now(struct env *env)
{
	(void)env;
	return clock_boottime();
}

static uint64_t env_wall(struct env *env)
{
	(void)env;
	return clock_wall();
}

static int env_send(struct env *env, const struct msg *m)
{
	struct hint_server *s = container_of(env, struct hint_server, env);

	return s->net ? net_send(s->net, m) : -ENOTCONN;
}

static uint64_t env_random(struct env *env)
{
	return random_u64(&container_of(env, struct hint_server, env)->random);
}

/* --- connections --- */

static void on_recv(void *ctx, const struct msg *m)
{
	struct hint_server *s = ctx;

	if (!s->stopping)
		hint_recv(s->hint, m);
}

static void on_peer_up(void *ctx, server_id_t peer)
{
	struct hint_server *s = ctx;

	if (!s->stopping)
		hint_peer_up(s->hint, peer);
}

static void on_peer_down(void *ctx, server_id_t peer)
{
	struct hint_server *s = ctx;

	if (!s->stopping)
		hint_peer_down(s->hint, peer);
}

static int start_net(struct hint_server *s, char *why, size_t why_size)
{
	static const struct net_ops ops = {on_recv, on_peer_up, on_peer_down};
	char host[ADDR_TEXT_MAX];
	uint16_t port;
	struct net_config config = {
		.server = s->config.id, .kind = SERVER_HINT, .cluster = s->config.cluster,
		.boot = s->boot, .bind_addr = host,
	};
	int rc = config_split_address(s->config.listen, host, sizeof(host), &port);

	if (rc == 0)
		rc = net_new(&s->net, &s->loop, &config, &ops, s);
	if (rc == 0)
		rc = net_listen(s->net, s->config.listen);
	if (rc)
		snprintf(why, why_size, "cannot listen on %s: %s", s->config.listen, err_text(rc));
	for (unsigned i = 0; rc == 0 && i < s->config.hints; i++)
		if (s->config.hint[i].id != s->config.id)
			net_connect(s->net, s->config.hint[i].id, s->config.hint[i].addr);
	return rc;
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
	if (strlen(c->directory) < sizeof(out->snapshot_dir)) {
		snprintf(out->snapshot_dir, sizeof(out->snapshot_dir), "%.*s",
		         (int)sizeof(out->snapshot_dir) - 1, c->directory);
		return 0;
	}
	snprintf(why, why_size, "the directory's name is longer than %zu bytes",
	         sizeof(out->snapshot_dir) - 1);
	return -ENAMETOOLONG;
}

static int open_parts(struct hint_server *s, char *why, size_t why_size)
{
	int rc = kv_open_lmdb(&s->kv, s->place.kv_dir, KV_BYTES);

	if (rc) {
		snprintf(why, why_size, "cannot open the catalog in %s: %s", s->place.kv_dir, err_text(rc));
		return rc;
	}
	rc = disk_uring_open(&s->disk, s->place.dir);
	if (rc)
		snprintf(why, why_size, "cannot use io_uring in %s: %s", s->place.dir, err_text(rc));
	return rc;
}

int server_format(struct hint_server *s, char *why, size_t why_size)
{
	struct hint_config config;
	int rc = core_config(&s->config, &config, why, why_size);

	s->place.lock_fd = -1;
	if (rc == 0)
		rc = place_take(&s->place, s->config.directory, true, why, why_size);
	if (rc == 0)
		rc = open_parts(s, why, why_size);
	if (rc == 0) {
		rc = hint_format(s->disk, s->kv, &config);
		if (rc == -EEXIST)
			snprintf(why, why_size, "%s holds a hint server already", s->place.dir);
		else if (rc)
			snprintf(why, why_size, "cannot format %s: %s", s->place.dir, err_text(rc));
	}
	if (rc == 0) {
		rc = disk_uring_fill(s->disk, RLOG_FILE, RLOG_BYTES);
		if (rc)
			snprintf(why, why_size, "cannot write the voter's log in %s: %s", s->place.dir,
			         err_text(rc));
	}
	server_close(s);
	return rc;
}

/* --- ticks --- */

static void say_role(struct hint_server *s)
{
	struct hint_status now;

	hint_get_status(s->hint, &now);
	if (now.leader != s->said.leader || now.leader_id != s->said.leader_id) {
		if (now.leader)
			log_info("hint.leads", "leads the catalog in term %" PRIu64, now.term);
		else if (now.leader_id)
			log_info("hint.follows", "follows hint server %" PRIu32 " in term %" PRIu64,
			         now.leader_id, now.term);
		else
			log_info("hint.alone", "knows no leader, term %" PRIu64, now.term);
	}
	s->said = now;
}

static void on_timer(uv_timer_t *t)
{
	(void)t; /* it only wakes the loop: the work is done in on_prepare() */
}

static void on_closed(uv_handle_t *h)
{
	(void)h;
}

static void close_handles(void *ctx)
{
	struct hint_server *s = ctx;
	uv_handle_t *handles[] = {
		(uv_handle_t *)&s->tick, (uv_handle_t *)&s->prepare, (uv_handle_t *)&s->sigterm,
		(uv_handle_t *)&s->sigint, (uv_handle_t *)&s->sigusr1,
	};

	for (unsigned i = 0; i < ARRAY_LEN(handles); i++)
		if (uv_handle_get_type(handles[i]) != UV_UNKNOWN_HANDLE && !uv_is_closing(handles[i]))
			uv_close(handles[i], on_closed);
}

/* The last log write ends before its memory goes. */
static void end_when_idle(struct hint_server *s)
{
	if (s->disk_stopping || !s->net_gone || (s->hint && hint_disk_busy(s->hint)))
		return;
	s->disk_stopping = true;
	hint_free(s->hint);
	s->hint = NULL;
	disk_uring_uv_stop(&s->disk_loop, close_handles, s);
}

static void on_prepare(uv_prepare_t *p)
{
	struct hint_server *s = container_of(p, struct hint_server, prepare);
	struct hint_status status;
	nsec_t now = clock_boottime(), due;

	if (s->stopping) {
		end_when_idle(s);
		return;
	}
	due = hint_tick(s->hint, now);
	hint_get_status(s->hint, &status);
	if (status.failed) {
		log_error("hint.failed", "%s", hint_why(s->hint));
		server_stop(s, EXIT_FAILED);
		return;
	}
	say_role(s);
	if (due == NSEC_NEVER)
		uv_timer_stop(&s->tick);
	else
		uv_timer_start(&s->tick, on_timer,
		               due <= now ? 0 : (uint64_t)DIV_UP(due - now, NSEC_MSEC), 0);
}

static void on_net_gone(void *ctx)
{
	struct hint_server *s = ctx;

	s->net = NULL;
	s->net_gone = true;
	uv_timer_start(&s->tick, on_timer, 0, 0);
}

void server_stop(struct hint_server *s, enum exit_status status)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->status = status;
	if (s->net)
		net_stop(s->net, on_net_gone);
	else
		on_net_gone(s);
}

int server_start(struct hint_server *s, char *why, size_t why_size)
{
	struct hint_config config;
	const char *sentence = "";
	int rc = core_config(&s->config, &config, why, why_size);

	s->env = (struct env){env_now, env_wall, env_send, env_random};
	s->place.lock_fd = -1;
	if (rc == 0)
		rc = place_take(&s->place, s->config.directory, false, why, why_size);
	if (rc == 0)
		rc = open_parts(s, why, why_size);
	if (rc)
		return rc;
	uv_timer_init(&s->loop, &s->tick);
	uv_prepare_init(&s->loop, &s->prepare);
	rc = disk_uring_uv_start(&s->disk_loop, &s->loop, s->disk);
	if (rc) {
		snprintf(why, why_size, "cannot wait for the disk in the event loop: %s", err_text(rc));
		close_handles(s);
		return rc;
	}
	/* Last started, first run: what ticks submit goes to the disk in the same round. */
	uv_prepare_start(&s->prepare, on_prepare);
	rc = hint_new(&s->hint, &s->env, s->disk, s->kv, &config, &sentence);
	if (rc)
		snprintf(why, why_size, "%s: %s (%s)", s->place.dir, sentence, err_text(rc));
	else
		rc = start_net(s, why, why_size);
	if (rc)
		server_stop(s, EXIT_FAILED);
	return rc;
}

void server_close(struct hint_server *s)
{
	if (s->disk)
		disk_uring_close(s->disk);
	if (s->kv)
		kv_close(s->kv);
	place_leave(&s->place);
}
