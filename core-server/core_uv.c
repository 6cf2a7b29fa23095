/* Wiring: what the network brings goes to the session or the replica, both get their ticks before
 * the loop sleeps, and the session's validity is the replica's right to serve. */
#include "core-server/core.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

/* --- the world, for the protocol cores --- */
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
	return net_send(container_of(env, struct core, env)->net, m);
}

static uint64_t env_random(struct env *env)
{
	return random_u64(&container_of(env, struct core, env)->random);
}

/* --- the session --- */
static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	struct core *c = ctx;

	c->complete_from = r->files_complete_from;
	if (given == before)
		log_info("session.revived", "session %" PRIu64 " is valid again", given);
	else
		log_info("session.up", "session %" PRIu64 " opened: serving", given);
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	struct core *c = ctx;
	struct store_space space;

	store_get_space(c->store, &space);
	hb->start = replica_shown_start(c->replica);
	hb->journal = store_journal_position(c->store);
	hb->total = space.total;
	hb->free = space.free;
	hb->stale_blocks = replica_get_bad(c->replica, NULL, 0);
	hb->map = c->map_seen;
}

/* Placement is by the map version in each message; the number is only repeated. */
static void on_map_changed(void *ctx, uint64_t map)
{
	struct core *c = ctx;

	c->map_seen = map;
}

static const struct session_ops session_ops = {
	.up = on_up,
	.stats = on_stats,
	.map_changed = on_map_changed,
};

static void note_validity(struct core *c)
{
	replica_set_session(c->replica, session_valid_until(c->session), c->complete_from);
}

/* --- the network --- */
static void answer_admin(struct core *c, const struct msg *m)
{
	enum status status = STATUS_OK;
	char *json = core_admin(c, m->admin.verb, m->admin.json, &status);
	struct msg reply = {
		.type = MSG_TYPE_admin_reply,
		.src = c->config.id,
		.dst = m->src,
		.via = m->via,
		.id = m->id,
		.admin_reply = {
			.status = (uint16_t)status,
			.json = {(const uint8_t *)json, (uint32_t)strlen(json)},
		},
	};

	if (net_send(c->net, &reply) != 0)
		log_debug("admin.lost", "an answer for %" PRIu32 " could not leave", m->src);
	free(json);
}

static void on_recv(void *ctx, const struct msg *m)
{
	struct core *c = ctx;

	if (c->stopping || m->dst != c->config.id)
		return;
	if (m->type == MSG_TYPE_r_session && m->r_session.status != STATUS_OK)
		log_warn("session.refused", "the catalog gives this server no session: %s%s",
		         status_text((enum status)m->r_session.status),
		         m->r_session.status == STATUS_DISK ?
		                 "; its disk shows an older state than it had: format it anew" : "");
	if (m->type == MSG_TYPE_admin)
		answer_admin(c, m);
	else if (session_recv(c->session, m))
		note_validity(c);
	else
		replica_recv(c->replica, m);
}

static bool is_hint(const struct core *c, server_id_t peer)
{
	for (unsigned i = 0; i < c->config.hints; i++)
		if (c->config.hint[i].id == peer)
			return true;
	return false;
}

static void on_peer_up(void *ctx, server_id_t peer)
{
	struct core *c = ctx;

	if (c->stopping)
		return;
	if (is_hint(c, peer))
		session_hint_up(c->session, peer);
	else
		replica_peer_up(c->replica, peer);
}

static void on_peer_down(void *ctx, server_id_t peer)
{
	struct core *c = ctx;

	if (c->stopping)
		return;
	session_hint_down(c->session, peer);
	replica_peer_down(c->replica, peer);
}

static int start_net(struct core *c)
{
	static const struct net_ops ops = {
		.recv = on_recv, .peer_up = on_peer_up, .peer_down = on_peer_down};
	char host[ADDR_TEXT_MAX];
	uint16_t port;
	struct net_config config = {
		.server = c->config.id,
		.kind = SERVER_CORE,
		.cluster = c->config.cluster,
		.boot = c->boot,
		.bind_addr = host,
	};
	int rc = config_split_address(c->config.listen, host, sizeof(host), &port);

	if (rc == 0)
		rc = net_new(&c->net, &c->loop, &config, &ops, c);
	if (rc < 0) {
		log_error("net.start", "cannot use the address %s: %s", c->config.listen, err_text(rc));
		return rc;
	}
	rc = net_listen(c->net, c->config.listen);
	if (rc < 0)
		log_error("net.listen", "cannot listen on %s: %s", c->config.listen, err_text(rc));
	return rc;
}

static void start_session(struct core *c)
{
	unsigned order[CONFIG_HINTS_MAX];
	struct session_config config = {
		.server = c->config.id,
		.kind = SERVER_CORE,
		.boot = c->boot,
		.hints = c->config.hints,
	};

	_Static_assert(CONFIG_HINTS_MAX <= SESSION_HINTS_MAX, "all hint servers fit");
	_Static_assert(sizeof(config.addr) >= ADDR_TEXT_MAX, "the address fits");
	memcpy(config.addr, c->config.listen, ADDR_TEXT_MAX);
	if (c->config.own_site != 0)
		strncpy(config.site, config_site_name(&c->config, c->config.own_site),
		        sizeof(config.site) - 1);
	config_hints_by_distance(&c->config, c->config.own_site, order);
	for (unsigned i = 0; i < c->config.hints; i++) {
		const struct config_hint *h = &c->config.hint[order[i]];

		config.hint[i] = h->id;
		net_connect(c->net, h->id, h->addr);
	}
	c->session = session_new(&c->env, &config, &session_ops, c);
}

/* --- the end --- */
static void on_timer(uv_timer_t *t)
{
	(void)t; /* it only wakes the loop: the work is done in on_prepare() */
}

static void on_closed(uv_handle_t *h)
{
	(void)h;
}

static void close_handles(struct core *c)
{
	uv_handle_t *handles[] = {
		(uv_handle_t *)&c->tick, (uv_handle_t *)&c->prepare, (uv_handle_t *)&c->sigterm,
		(uv_handle_t *)&c->sigint, (uv_handle_t *)&c->sigusr1,
	};

	for (unsigned i = 0; i < ARRAY_LEN(handles); i++)
		if (!uv_is_closing(handles[i]))
			uv_close(handles[i], on_closed);
}

static void on_disk_stopped(void *ctx)
{
	close_handles(ctx);
}

static void stop_store(struct core *c)
{
	if (c->closed)
		return;
	c->closed = true;
	if (c->store != NULL)
		store_close(c->store);
	c->store = NULL;
	replica_free(c->replica);
	c->replica = NULL;
	if (c->session != NULL)
		session_free(c->session);
	c->session = NULL;
	if (c->disk != NULL)
		disk_uring_uv_stop(&c->disk_loop, on_disk_stopped, c);
	else
		close_handles(c);
}

static void on_checkpoint(void *ctx, int rc)
{
	struct core *c = ctx;

	if (rc < 0)
		log_warn("core.checkpoint", "the last checkpoint failed: %s; the journal has it all",
		         err_text(rc));
	c->ready_to_close = true; /* not from inside the store's own callback */
	uv_timer_start(&c->tick, on_timer, 0, 0);
}

static void on_net_gone(void *ctx)
{
	struct core *c = ctx;

	c->net = NULL;
	if (c->status == EXIT_STOPPED && c->store_open)
		store_checkpoint(c->store, on_checkpoint, c);
	else
		c->ready_to_close = true;
	uv_timer_start(&c->tick, on_timer, 0, 0);
}

void core_stop(struct core *c, enum exit_status status)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->status = status;
	if (c->net != NULL)
		net_stop(c->net, on_net_gone);
	else
		on_net_gone(c);
}

/* --- ticks --- */
/* After each batch of events, before the loop sleeps. */
static void on_prepare(uv_prepare_t *p)
{
	struct core *c = container_of(p, struct core, prepare);
	nsec_t now = clock_boottime(), due = NSEC_NEVER;

	if (c->ready_to_close) {
		stop_store(c);
		return;
	}
	if (c->store != NULL)
		due = store_tick(c->store, now);
	if (c->replica != NULL && !c->stopping) {
		due = MIN(due, session_tick(c->session, now));
		note_validity(c);
		due = MIN(due, replica_tick(c->replica, now));
		if (replica_disk_failed(c->replica) || store_why(c->store)[0] != '\0') {
			log_error("core.disk", "out of service: %s", store_why(c->store));
			core_stop(c, EXIT_FAILED);
			return;
		}
	}
	if (due == NSEC_NEVER)
		uv_timer_stop(&c->tick);
	else
		uv_timer_start(&c->tick, on_timer,
		               due <= now ? 0 : (uint64_t)DIV_UP(due - now, NSEC_MSEC), 0);
}

void core_tick_start(struct core *c)
{
	uv_timer_init(&c->loop, &c->tick);
	uv_prepare_init(&c->loop, &c->prepare);
	/* Started after the disk's own, so that it runs before it (libuv: last started, first run) and
	 * what ticks submit goes to the kernel in this round. */
	uv_prepare_start(&c->prepare, on_prepare);
}

int core_serve(struct core *c)
{
	struct replica_config config = {.server = c->config.id};
	int rc;

	c->env = (struct env){env_now, env_wall, env_send, env_random};
	rc = start_net(c);
	if (rc < 0)
		return rc;
	c->replica = replica_new(&c->env, c->store, &config);
	start_session(c);
	replica_set_catalog(c->replica, c->session);
	return 0;
}
