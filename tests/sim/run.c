#include "tests/sim/run.h"

#include <stdio.h>

#include "access-server/volume/volume.h"
#include "common/base/mem.h"
#include "tests/sim/check_catalogs.h"
#include "tests/sim/check_deleted.h"
#include "tests/sim/check_replicas.h"
#include "tests/sim/client.h"
#include "tests/sim/faults.h"
#include "tests/sim/mover.h"
#include "tests/sim/scenario.h"

#define START_MAX (20 * NSEC_SEC)
#define CALM_DOWN_MAX (30 * NSEC_SEC)
#define VERIFY_MAX (30 * NSEC_SEC)
#define CONVERGE_MAX (60 * NSEC_SEC)
/* A voter that dies while it installs a snapshot is sent the next one after 10 s. */
#define CATALOGS_MAX (25 * NSEC_SEC)
#define DELETED_MAX (40 * NSEC_SEC) /* two walks over all files, and what holds them up */

void run_shape(struct shape *s, const struct run_options *o)
{
	struct random r;

	random_seed(&r, o->seed ^ 0x5ba9e);
	*s = (struct shape){
	        .seed = o->seed,
	        .sites = o->sites ? o->sites : random_chance(&r, 800) ? 3 : 4 + (unsigned)random_below(&r, 4),
	        .cores_per_site = 1 + (unsigned)random_below(&r, 2),
	        .clients = 1 + (unsigned)random_below(&r, 2),
	        .names = random_chance(&r, 700),
	        .appends = random_chance(&r, 500),
	        .locks = random_chance(&r, 300),
	        .faults_for = o->until ? o->until : 2 * NSEC_SEC + (nsec_t)random_below(&r, 6) * NSEC_SEC,
	        .session_timeout = 2 * NSEC_SEC,
	        .shared_timeout = 500 * NSEC_MSEC,
	        .recover_after = o->seed % 2 ? NSEC_SEC : 0,
	        .follow = o->seed % 4 == 1 ? NSEC_SEC : 0,
	        .follow_writer = o->seed % 2 ? NSEC_SEC : 0,
	        .think = (nsec_t)(5 + random_below(&r, 60)) * NSEC_MSEC,
	        .disk_bytes = 64u << 20,
	        .requests_max = o->seed % 4 == 2 ? 16 : 0,
	        .exceptions_max = o->seed % 3 == 2 ? 2 : 0,
	        .replica_bugs = o->replica_bugs,
	        .volume_bugs = o->volume_bugs,
	        .hint_bugs = o->hint_bugs,
	        .store_bugs = o->store_bugs,
	        .drift_ppm = random_chance(&r, 500) ? 20000 : 0,
	        .wan_ms_max = 1 + (unsigned)random_below(&r, 50),
	};
	if (random_chance(&r, 100)) {
		s->disk_left = (64 + random_below(&r, 600)) << 10;
		s->full_sites = random_chance(&r, 500) ? UINT32_MAX : (unsigned)random_u64(&r);
	}
	s->hints = s->sites > 3 && random_chance(&r, 500) ? 5 : 3;
	s->hints = MIN(s->hints, s->sites);
	s->moves = (s->sites > 3 || s->cores_per_site > 1) && o->seed % 5 < 3;
}

static bool all_serving(struct cluster *c)
{
	const struct map *m = NULL;
	unsigned cores = 0;

	for (unsigned i = 0; i < c->nodes; i++) {
		const struct node *n = &c->node[i];

		if (n->kind == SERVER_CORE) {
			cores++;
			if (!n->serving || !session_valid(n->session))
				return false;
		}
	}
	for (unsigned i = 0; i < c->nodes; i++) {
		const struct node *n = &c->node[i];

		if (n->kind != SERVER_ACCESS)
			continue;
		m = vol_map(n->volume);
		if (!m || m->servers < cores || !session_valid(n->session))
			return false;
	}
	return true;
}

static struct client *maker;

static bool made(struct cluster *c)
{
	(void)c;
	return maker->finished;
}

bool run_until_made(struct cluster *c)
{
	cluster_start(c);
	if (!cluster_wait(c, START_MAX, all_serving)) {
		world_fail(&c->w, "liveness: the cluster does not come up");
		return false;
	}
	c->calm = c->shape.full_sites == 0;
	maker = client_new(c, cluster_find(c, cluster_access_id(1)), CLIENT_MAKER);
	client_wake(maker, 0);
	if (!cluster_wait(c, START_MAX, made)) {
		world_fail(&c->w, "liveness: files cannot be made");
		return false;
	}
	return true;
}

static bool verified(struct cluster *c)
{
	return clients_idle(c);
}

static void tell_stuck(struct cluster *c, const char *what)
{
	for (unsigned i = 0; i < c->clients && !c->w.failed; i++) {
		const struct client *cl = c->client[i];

		if (!cl->dead && cl->busy)
			world_fail(&c->w, "liveness: %s: client %u on %u waits for op %d on %" PRIu64
			           " since %" PRId64 " ms", what, cl->id, cl->n->id, (int)cl->req.op,
			           cl->req.ino, (c->w.now - cl->begun) / NSEC_MSEC);
		else if (!cl->dead && cl->kind == CLIENT_VERIFY && !cl->finished)
			world_fail(&c->w, "liveness: %s: client %u on %u gets only %d", what, cl->id,
			           cl->n->id, cl->rc);
	}
	world_fail(&c->w, "liveness: %s", what);
}

bool run_heal(struct cluster *c)
{
	c->quiet = true;
	for (unsigned i = 0; i < c->clients; i++) {
		if (!c->client[i]->dead && c->client[i]->locked)
			client_wake(c->client[i], 0);
	}
	if (!cluster_wait(c, CALM_DOWN_MAX, clients_idle)) {
		tell_stuck(c, "after all is well again");
		return false;
	}
	for (unsigned s = 1; s <= c->shape.sites; s++)
		client_wake(client_new(c, cluster_find(c, cluster_access_id(s)), CLIENT_VERIFY), 0);
	if (!cluster_wait(c, VERIFY_MAX, verified)) {
		tell_stuck(c, "reading everything");
		return false;
	}
	return true;
}

bool run_converge(struct cluster *c)
{
	char text[300];

	if (!cluster_wait(c, CONVERGE_MAX, replicas_settled)) {
		replicas_differ(c, text, sizeof(text));
		world_fail(&c->w, "liveness: replicas stay different: %s", text);
		return false;
	}
	replicas_check(c);
	if (!c->w.failed && !cluster_wait(c, CATALOGS_MAX, catalogs_settled)) {
		catalogs_tell(c, text, sizeof(text));
		world_fail(&c->w, "liveness: voters stay apart: %s", text);
		return false;
	}
	catalogs_check(c);
	if (!c->w.failed && !cluster_wait(c, DELETED_MAX, deleted_gone)) {
		deleted_tell(c, text, sizeof(text));
		world_fail(&c->w, "P8: what was deleted stays: %s", text);
	}
	return !c->w.failed;
}

/* What was full, slow or away must not have left anything behind that stops a write. */
static void run_go_on(struct cluster *c)
{
	for (unsigned s = 1; s <= c->shape.sites; s++)
		client_wake(client_new(c, cluster_find(c, cluster_access_id(s)), CLIENT_GO_ON), 0);
	if (!cluster_wait(c, VERIFY_MAX, clients_idle))
		tell_stuck(c, "writing after all is well again");
}

static void start_clients(struct cluster *c)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind == SERVER_ACCESS)
			clients_start(c, &c->node[i]);
	}
}

static void random_run(struct cluster *c)
{
	struct faults f;
	unsigned classes = faults_draw(c, FAULT_ALL);

	if (!run_until_made(c))
		return;
	c->calm = classes == 0 && c->shape.drift_ppm == 0 && c->shape.full_sites == 0;
	start_clients(c);
	faults_start(&f, c, classes);
	mover_start(c);
	world_run(&c->w, c->w.now + c->shape.faults_for);
	if (c->w.failed)
		return;
	faults_heal(&f);
	if (run_heal(c) && run_converge(c))
		run_go_on(c);
}

/* With mad peers no promise holds; servers must go on, or end in an orderly way and start again. */
static void hostile_run(struct cluster *c)
{
	struct faults f;
	unsigned classes = faults_draw(c, FAULT_ALL);

	if (!run_until_made(c))
		return;
	c->w.forgiving = true;
	c->net.observe = NULL;
	c->net.hostile.permille = 1 + (unsigned)random_below(&c->w.stream[STREAM_FAULT], 200);
	start_clients(c);
	faults_start(&f, c, classes);
	world_run(&c->w, c->w.now + c->shape.faults_for);
	c->net.hostile.permille = 0;
	faults_heal(&f);
	world_run(&c->w, c->w.now + 2 * NSEC_SEC);
}

/* Also after a failure of another kind: a broken promise about data says more than a replica that
 * lags. */
static void judge(struct cluster *c)
{
	bool failed = c->w.failed;
	char failure[sizeof(c->w.failure)];

	if (failed && strncmp(c->w.failure, "P7", 2) == 0)
		return; /* what such a read returned is no value */
	memcpy(failure, c->w.failure, sizeof(failure));
	c->w.failed = false;
	history_check(&c->hist, &c->w);
	if (c->w.failed || !failed)
		return;
	c->w.failed = true;
	memcpy(c->w.failure, failure, sizeof(failure));
}

void run(const struct run_options *o, struct run_result *out)
{
	struct cluster *c = mem_new(sizeof(*c));
	struct shape shape;

	run_shape(&shape, o);
	if (o->scenario)
		scenario_shape(o->scenario, &shape);
	cluster_init(c, &shape, o->tracing);
	if (o->scenario)
		scenario_run(c, o->scenario);
	else if (o->hostile)
		hostile_run(c);
	else
		random_run(c);
	if (!o->hostile)
		judge(c);
	*out = (struct run_result){
	        .failed = c->w.failed, .hash = c->w.hash, .events = c->w.fired, .ops = c->last_value,
	        .acks = c->wire.acks, .virtual_time = c->w.now, .longest_sync = c->longest_sync,
	};
	memcpy(out->failure, c->w.failure, sizeof(out->failure));
	if (c->w.failed)
		world_print_ring(&c->w);
	cluster_fini(c);
	mem_free(c);
}
