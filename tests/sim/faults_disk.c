/* Faults of disks: slow, full, rotting, failing, replaced. Only those of one site may lie (P1: the
 * loss of one); full or slow may be any, and a voter whose disk fails only ends. */
#include "tests/sim/faults_internal.h"

#include "tests/sim/sim_disk.h"

void faults_heal_disk(struct node *n)
{
	struct sim_disk_faults none = {.tear_bytes = 512};

	if (!n->disk)
		return;
	sim_disk_set_faults(n->disk, &none);
	if (n->kind == SERVER_HINT)
		hint_fill(n, UINT64_MAX);
	core_unfill(n);
}

static void fast_again(struct faults *f, unsigned a, unsigned b)
{
	struct sim_disk_faults none = {.tear_bytes = 512};

	(void)b;
	sim_disk_set_faults(f->c->node[a].disk, &none);
}

static void has_space(struct faults *f, unsigned a, unsigned b)
{
	(void)b;
	core_unfill(&f->c->node[a]);
}

static void catalog_grows(struct faults *f, unsigned a, unsigned b)
{
	(void)b;
	hint_fill(&f->c->node[a], UINT64_MAX);
}

/* The file systems of one voter, of all but one, or of all. */
static void fill_voters(struct faults *f)
{
	uint64_t how = draw(f, 3), left = draw(f, 2) ? draw(f, 3 * HINT_RESERVE) : 0;
	unsigned one = 1 + (unsigned)draw(f, f->c->shape.hints);
	nsec_t length = draw_length(f) + draw_length(f);

	for (unsigned i = 1; i <= f->c->shape.hints; i++) {
		struct node *n = cluster_find(f->c, cluster_hint_id(i));

		if (how == 2 || (i == one) == (how == 0)) {
			hint_fill(n, left);
			faults_later(f, length, catalog_grows, n->index, 0);
		}
	}
}

/* The disks of one core server, of the others than one site, or of all. */
void faults_fill(struct faults *f)
{
	uint64_t how = draw(f, 3), left = draw(f, 3) ? draw(f, 600u << 10) : 0;
	unsigned one = (unsigned)draw(f, f->c->nodes);
	uint16_t spared = (uint16_t)(1 + draw(f, f->c->shape.sites));
	nsec_t length = draw_length(f) + draw_length(f);

	if (draw(f, 3) == 0) {
		fill_voters(f);
		return;
	}
	for (unsigned i = 0; i < f->c->nodes; i++) {
		struct node *n = &f->c->node[i];

		bool chosen = how == 0 ? i == one : how == 2 || n->site != spared;

		if (n->kind != SERVER_CORE || n->blank || !chosen)
			continue;
		core_fill(n, left);
		faults_later(f, length, has_space, i, 0);
	}
}

void faults_slow(struct faults *f)
{
	unsigned a = (unsigned)draw(f, f->c->nodes), b = (unsigned)draw(f, f->c->nodes);
	nsec_t length = draw_length(f);

	if (f->c->node[a].disk && draw(f, 2)) {
		struct sim_disk_faults d = {.tear_bytes = 512, .jitter_percent = 50};

		d.slow_sync_permille = (unsigned)draw(f, 1001);
		d.slow_sync_ns = world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, 2 * NSEC_SEC);
		world_trace(&f->c->w, "disk of %u is slow", f->c->node[a].id);
		sim_disk_set_faults(f->c->node[a].disk, &d);
		faults_later(f, length, fast_again, a, 0);
		return;
	}
	f->c->net.pair[a][b].slow = world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, NSEC_SEC);
	faults_later(f, length, faults_mend, a, b);
}

/* A core server in the site whose disks may lie. */
static struct node *draw_core(struct faults *f)
{
	return cluster_find(f->c, cluster_core_id(f->site, (unsigned)draw(f, f->c->shape.cores_per_site)));
}

void faults_rot(struct faults *f)
{
	struct node *n = draw_core(f);
	unsigned pages = sim_disk_rot(n->disk, "data", 1 + (unsigned)draw(f, 4));

	n->rotted = true;
	world_trace(&f->c->w, "%u pages rot on %u", pages, n->id);
}

static void fail_next(struct faults *f, struct node *n)
{
	bool write = draw(f, 4) == 0;

	if (!n->alive)
		return;
	world_trace(&f->c->w, "next %s of %u fails", write ? "write" : "fsync", n->id);
	if (write)
		sim_disk_fail_next_write(n->disk);
	else
		sim_disk_fail_next_sync(n->disk);
}

void faults_fail_core(struct faults *f)
{
	fail_next(f, draw_core(f));
}

void faults_fail_vote(struct faults *f)
{
	fail_next(f, cluster_find(f->c, cluster_hint_id(1 + (unsigned)draw(f, f->c->shape.hints))));
}

/* What it acknowledged since its last answered heartbeat nobody could know of: for half a second
 * before its power goes it takes no writes, and its heartbeats are answered. */
static void roll_back(struct faults *f, unsigned a, unsigned b)
{
	struct node *n = &f->c->node[a];
	nsec_t now = node_clock(n), told;

	(void)b;
	for (unsigned i = 0; i < f->c->nodes; i++) {
		if (f->c->node[i].kind == SERVER_ACCESS)
			simnet_cut(&f->c->net, i, a, false);
	}
	if (!n->alive || !n->serving)
		return;
	told = session_valid_until(n->session) - f->c->shape.session_timeout * 9 / 10;
	if (told < now - 300 * NSEC_MSEC || n->paused_until > f->c->w.now)
		return;
	node_crash(n, true);
	world_trace(&f->c->w, "disk of %u goes back to its old image", n->id);
	node_restore(n);
	faults_later(f, draw_length(f), faults_restart, a, 0);
}

static void quiesce(struct faults *f, unsigned a, unsigned b)
{
	(void)b;
	for (unsigned i = 0; i < f->c->nodes; i++) {
		if (f->c->node[i].kind == SERVER_ACCESS)
			simnet_cut(&f->c->net, i, a, true);
	}
	faults_later(f, 600 * NSEC_MSEC, roll_back, a, 0);
}

void faults_replace(struct faults *f, bool wipe)
{
	struct node *n = draw_core(f);

	if (f->replaced || !n->serving)
		return;
	f->replaced = true;
	if (!wipe) {
		node_remember(n);
		faults_later(f, world_between(&f->c->w, STREAM_FAULT, 200 * NSEC_MSEC, 3 * NSEC_SEC), quiesce,
		      n->index, 0);
		return;
	}
	node_crash(n, true);
	world_trace(&f->c->w, "disk of %u is replaced by an empty one", n->id);
	node_wipe(n);
	faults_later(f, draw_length(f), faults_restart, n->index, 0);
}

