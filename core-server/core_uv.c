/* Wiring: the session's validity is the replica's right to serve, both get their ticks before the
 * loop sleeps, and the end comes in the order that loses nothing. */
#include "core-server/core.h"

#include "common/base/log.h"

#define FULL_BELOW ((uint64_t)1 << 20)
#define ROOM_AGAIN ((uint64_t)16 << 20)

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

/* Said once, and once when it is over: what is given back in small pieces is gone at once. */
static void tell_full(struct core *c, const struct store_space *space)
{
	const char *dir = c->server.dir.path;
	bool full = space->free < (c->full ? ROOM_AGAIN : FULL_BELOW);

	if (full && !c->full)
		log_warn("core.full", "no space for new data in %s: its file system or its capacity is full; "
		         "reads, deletes and what was promised go on; delete files, free space there, raise "
		         "the capacity or add core servers", dir);
	else if (!full && c->full)
		log_info("core.room", "space for new data in %s again: %" PRIu64 " bytes", dir, space->free);
	c->full = full;
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	struct core *c = ctx;
	struct store_space space;

	store_get_space(c->store, &space);
	tell_full(c, &space);
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

void core_session_heard(struct server *s)
{
	struct core *c = (struct core *)s;

	replica_set_session(c->replica, session_valid_until(s->session), c->complete_from);
}

/* --- the network --- */
void core_recv(struct server *s, const struct msg *m)
{
	replica_recv(((struct core *)s)->replica, m);
}

void core_peer_up(struct server *s, server_id_t peer)
{
	replica_peer_up(((struct core *)s)->replica, peer);
}

void core_peer_down(struct server *s, server_id_t peer)
{
	replica_peer_down(((struct core *)s)->replica, peer);
}

/* --- the beginning --- */
static int serve(struct core *c, char *why, size_t why_size)
{
	struct replica_config config = {.server = c->server.config.id, .boot = c->server.boot};
	int rc = server_start_net(&c->server, why, why_size);

	if (rc < 0)
		return rc;
	c->replica = replica_new(&c->server.env, c->store, &config);
	server_start_session(&c->server, store_disk_id(c->store), store_start_counter(c->store),
	                     &session_ops, c);
	replica_set_catalog(c->replica, c->server.session);
	return 0;
}

void core_opened(struct core *c, int rc)
{
	char why[WHY_BYTES];

	if (c->server.stopping)
		return;
	if (rc < 0) {
		log_error("core.open", "cannot open the store in %s: %s", c->server.dir.path,
		          store_why(c->store));
		server_stop(&c->server, EXIT_FAILED);
		return;
	}
	c->store_open = true;
	if (serve(c, why, sizeof(why)) < 0) {
		log_error("core.net", "%s", why);
		server_stop(&c->server, EXIT_FAILED);
		return;
	}
	log_info("core.up", "start %" PRIu64 ", listening on %s, %s", store_start_counter(c->store),
	         c->server.config.listen, c->server.dir.path);
}

/* --- the end --- */
static void on_disk_stopped(void *ctx)
{
	server_end(ctx);
}

static void stop_store(struct core *c)
{
	struct server *s = &c->server;

	if (c->closed)
		return;
	c->closed = true;
	if (c->store != NULL)
		store_close(c->store);
	c->store = NULL;
	replica_free(c->replica);
	c->replica = NULL;
	if (s->session != NULL)
		session_free(s->session);
	s->session = NULL;
	kv_worker_stop(&c->kv_worker);
	if (c->disk != NULL)
		disk_uring_uv_stop(&c->disk_loop, on_disk_stopped, s);
	else
		server_end(s);
}

static void on_checkpoint(void *ctx, int rc)
{
	struct core *c = ctx;

	if (rc < 0)
		log_warn("core.checkpoint", "the last checkpoint failed: %s; the journal has it all",
		         err_text(rc));
	c->ready_to_close = true; /* not from inside the store's own callback */
	server_wake(&c->server);
}

static void on_net_gone(struct server *s)
{
	struct core *c = (struct core *)s;

	if (s->status == EXIT_STOPPED && c->store_open)
		store_checkpoint(c->store, on_checkpoint, c);
	else
		c->ready_to_close = true;
	server_wake(s);
}

void core_stop(struct server *s)
{
	server_stop_net(s, on_net_gone);
}

/* --- ticks --- */
nsec_t core_tick(struct server *s, nsec_t now)
{
	struct core *c = (struct core *)s;
	nsec_t due = NSEC_NEVER;

	if (c->ready_to_close) {
		stop_store(c);
		return NSEC_NEVER;
	}
	if (c->store != NULL)
		due = store_tick(c->store, now);
	if (c->replica == NULL || s->stopping)
		return due;
	due = MIN(due, session_tick(s->session, now));
	core_session_heard(s);
	due = MIN(due, replica_tick(c->replica, now));
	if (replica_disk_failed(c->replica) || store_failed(c->store)) {
		log_error("core.disk", "out of service: %s", store_why(c->store));
		server_stop(s, EXIT_FAILED);
		return now;
	}
	return due;
}
