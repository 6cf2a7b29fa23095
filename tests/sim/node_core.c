#include "core-server/replica/replica.h"
#include "core-server/store/store.h"
#include "common/session/session.h"
#include "tests/sim/cluster.h"
#include "tests/sim/sim_disk.h"

static nsec_t store_now(void *ctx)
{
	return node_clock(ctx);
}

static void configure(struct node *n, struct store_config *out)
{
	*out = (struct store_config){
	        .journal_bytes = 2u << 20,
	        .cache_bytes = 1u << 20,
	        .large_bytes = 64u << 10,
	        .bugs = n->c->shape.store_bugs,
	        .now = store_now,
	        .ctx = n,
	};
}

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	struct node *n = ctx;

	(void)given;
	(void)before;
	n->complete_from = r->files_complete_from;
}

static void on_shared_void(void *ctx)
{
	(void)ctx;
}

static void on_stats(void *ctx, struct msg_heartbeat *hb)
{
	struct node *n = ctx;
	struct store_space space;

	store_get_space(n->store, &space);
	hb->start = replica_shown_start(n->replica);
	hb->journal = store_journal_position(n->store);
	hb->total = space.total;
	hb->free = space.free;
}

static void on_recalls(void *ctx, struct span recalls)
{
	(void)ctx;
	(void)recalls;
}

static void on_map(void *ctx, uint64_t map)
{
	(void)ctx;
	(void)map;
}

static const struct session_ops ops = {
        .up = on_up,
        .shared_void = on_shared_void,
        .stats = on_stats,
        .recalls = on_recalls,
        .map_changed = on_map,
};

static void on_open(void *ctx, int rc)
{
	struct node *n = ctx;
	struct replica_config config = {
	        .server = n->id,
	        .exceptions_max = n->c->shape.exceptions_max,
	        .bugs = n->c->shape.replica_bugs,
	};
	struct session_config session;

	if (rc == -EIO) {
		node_restart_soon(n);
		return;
	}
	if (rc < 0) {
		world_fail(&n->c->w, "P1: core server %u does not open its store: %d %s", n->id, rc,
		           store_why(n->store));
		return;
	}
	n->serving = true;
	node_session_config(n, &session);
	session.disk = store_disk_id(n->store);
	session.opened = store_start_counter(n->store);
	config.boot = session.boot;
	n->session = session_new(&n->env, &session, &ops, n);
	n->replica = replica_new(&n->env, n->store, &config);
	replica_set_catalog(n->replica, n->session);
}

void core_start(struct node *n)
{
	struct store_config config;
	int rc;

	configure(n, &config);
	if (n->blank) {
		rc = store_format(n->disk, n->kv.kv, CLUSTER_ID, n->id, &config);
		CHECK(rc == 0);
		n->blank = false;
		if (n->life == 1 && n->c->shape.full_sites >> n->site & 1)
			core_fill(n, n->c->shape.disk_left);
		check_wire_forget(&n->c->wire, n->id);
	}
	store_open(&n->store, n->disk, n->kv.kv, CLUSTER_ID, n->id, &config, on_open, n);
}

void core_stop(struct node *n)
{
	if (n->store)
		store_close(n->store);
	if (n->replica) {
		replica_set_catalog(n->replica, NULL);
		replica_free(n->replica);
	}
	if (n->session)
		session_free(n->session);
	n->store = NULL;
	n->replica = NULL;
	n->session = NULL;
}

void core_recv(struct node *n, const struct msg *m)
{
	if (n->serving && !session_recv(n->session, m))
		replica_recv(n->replica, m);
}

void core_peer(struct node *n, server_id_t peer, bool up)
{
	if (!n->serving || up)
		return;
	session_hint_down(n->session, peer);
	replica_peer_down(n->replica, peer);
}

nsec_t core_tick(struct node *n, nsec_t now)
{
	nsec_t due = store_tick(n->store, now), t;

	if (!n->serving)
		return due;
	t = session_tick(n->session, now);
	due = MIN(due, t);
	replica_set_session(n->replica, session_valid_until(n->session), n->complete_from);
	t = replica_tick(n->replica, now);
	return MIN(due, t);
}

bool core_disk_failed(const struct node *n)
{
	return n->serving && replica_disk_failed(n->replica);
}

void core_fill(struct node *n, uint64_t left)
{
	world_trace(&n->c->w, "disk of %u is full but for %" PRIu64 " bytes", n->id, left);
	sim_disk_set_bytes(n->disk, sim_disk_used(n->disk) + left);
	n->full_until = NSEC_NEVER;
}

void core_unfill(struct node *n)
{
	if (n->full_until != NSEC_NEVER)
		return;
	world_trace(&n->c->w, "disk of %u has space again", n->id);
	sim_disk_set_bytes(n->disk, n->c->shape.disk_bytes);
	n->full_until = n->c->w.now;
}
