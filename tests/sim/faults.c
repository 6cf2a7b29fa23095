#include "tests/sim/faults.h"

#include "common/base/mem.h"
#include "tests/sim/sim_disk.h"

struct fault_event {
	struct event e;    /* first */
	struct faults *f;
	void (*run)(struct faults *f, unsigned a, unsigned b);
	unsigned a, b;
};

static uint64_t draw(struct faults *f, uint64_t below)
{
	return random_below(&f->c->w.stream[STREAM_FAULT], below);
}

static void fire(struct event *e)
{
	struct fault_event *fe = (struct fault_event *)e;

	if (!fe->f->stopped)
		fe->run(fe->f, fe->a, fe->b);
	mem_free(fe);
}

static void drop(struct event *e)
{
	mem_free(e);
}

static void later(struct faults *f, nsec_t delay, void (*run)(struct faults *f, unsigned a, unsigned b),
                  unsigned a, unsigned b)
{
	struct fault_event *fe = mem_new(sizeof(*fe));

	*fe = (struct fault_event){{.fire = fire, .drop = drop}, f, run, a, b};
	world_at(&f->c->w, f->c->w.now + delay, &fe->e);
}

/* Mostly short; some outlast a session. */
static nsec_t draw_length(struct faults *f)
{
	if (draw(f, 10) < 7)
		return world_between(&f->c->w, STREAM_FAULT, 10 * NSEC_MSEC, 500 * NSEC_MSEC);
	return world_between(&f->c->w, STREAM_FAULT, 500 * NSEC_MSEC, 2 * f->c->shape.session_timeout);
}

/* --- nodes --- */

static void restart(struct faults *f, unsigned a, unsigned b)
{
	struct node *n = &f->c->node[a];

	(void)b;
	if (!n->alive)
		node_start(n);
}

static void crash(struct faults *f)
{
	unsigned a = (unsigned)draw(f, f->c->nodes);

	if (!f->c->node[a].alive)
		return;
	node_crash(&f->c->node[a], draw(f, 2) == 0);
	later(f, draw_length(f), restart, a, 0);
}

static void power_cut(struct faults *f, uint16_t site, nsec_t length)
{
	for (unsigned i = 0; i < f->c->nodes; i++) {
		if ((site && f->c->node[i].site != site) || !f->c->node[i].alive)
			continue;
		node_crash(&f->c->node[i], true);
		later(f, length + world_between(&f->c->w, STREAM_FAULT, 0, 300 * NSEC_MSEC), restart, i, 0);
	}
}

static void site_back(struct faults *f, unsigned site, unsigned b)
{
	(void)b;
	simnet_cut_site(&f->c->net, (uint16_t)site, false);
}

static void break_site(struct faults *f)
{
	uint16_t site = (uint16_t)(1 + draw(f, f->c->shape.sites));

	if (draw(f, 2)) {
		power_cut(f, site, draw_length(f));
		return;
	}
	world_trace(&f->c->w, "site %u is cut off", site);
	simnet_cut_site(&f->c->net, site, true);
	later(f, draw_length(f), site_back, site, 0);
}

static void pause_node(struct faults *f)
{
	struct node *n = &f->c->node[draw(f, f->c->nodes)];
	nsec_t until = f->c->w.now + draw_length(f);

	if (n->alive)
		node_pause(n, until);
}

/* --- links --- */

static void mend(struct faults *f, unsigned a, unsigned b)
{
	simnet_cut(&f->c->net, a, b, false);
	f->c->net.pair[a][b].slow = 0;
}

static void cut(struct faults *f)
{
	unsigned a = (unsigned)draw(f, f->c->nodes), b = (unsigned)draw(f, f->c->nodes);
	nsec_t length = draw_length(f);

	if (draw(f, 4) == 0) { /* one node from all */
		world_trace(&f->c->w, "%u is cut off", f->c->node[a].id);
		for (unsigned i = 0; i < f->c->nodes; i++) {
			simnet_cut(&f->c->net, a, i, true);
			simnet_cut(&f->c->net, i, a, true);
			later(f, length, mend, a, i);
			later(f, length, mend, i, a);
		}
		return;
	}
	world_trace(&f->c->w, "link %u -> %u is cut", f->c->node[a].id, f->c->node[b].id);
	simnet_cut(&f->c->net, a, b, true);
	later(f, length, mend, a, b);
	if (draw(f, 2)) {
		simnet_cut(&f->c->net, b, a, true);
		later(f, length, mend, b, a);
	}
}

static void packets(struct faults *f)
{
	struct simnet_faults *p = &f->c->net.faults;

	p->loss_permille = draw(f, 2) ? (unsigned)draw(f, 60) : 0;
	p->dup_permille = draw(f, 2) ? (unsigned)draw(f, 60) : 0;
	p->late_permille = draw(f, 2) ? (unsigned)draw(f, 60) : 0;
	p->late_max = world_between(&f->c->w, STREAM_FAULT, 10 * NSEC_MSEC, 3 * NSEC_SEC);
	p->clog_permille = draw(f, 3) == 0 ? (unsigned)draw(f, 20) : 0;
	p->corrupt_permille = draw(f, 3) == 0 ? (unsigned)draw(f, 10) : 0;
	p->jitter_percent = (unsigned)draw(f, 100);
	p->fifo = draw(f, 2) == 0;
	world_trace(&f->c->w, "packets: loss %u dup %u late %u clog %u corrupt %u per mille%s",
	            p->loss_permille, p->dup_permille, p->late_permille, p->clog_permille,
	            p->corrupt_permille, p->fifo ? ", in order" : "");
}

/* --- disks --- */

static void disk_well(struct faults *f, unsigned a, unsigned b)
{
	struct sim_disk_faults none = {.tear_bytes = 512};

	(void)b;
	if (f->c->node[a].disk)
		sim_disk_set_faults(f->c->node[a].disk, &none);
}

static void slow(struct faults *f)
{
	unsigned a = (unsigned)draw(f, f->c->nodes), b = (unsigned)draw(f, f->c->nodes);
	nsec_t length = draw_length(f);

	if (f->c->node[a].disk && draw(f, 2)) {
		struct sim_disk_faults d = {.tear_bytes = 512, .jitter_percent = 50};

		d.slow_sync_permille = (unsigned)draw(f, 1001);
		d.slow_sync_ns = world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, 2 * NSEC_SEC);
		world_trace(&f->c->w, "disk of %u is slow", f->c->node[a].id);
		sim_disk_set_faults(f->c->node[a].disk, &d);
		later(f, length, disk_well, a, 0);
		return;
	}
	f->c->net.pair[a][b].slow = world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, NSEC_SEC);
	later(f, length, mend, a, b);
}

/* A core server in the site whose disks may lie. */
static struct node *draw_core(struct faults *f)
{
	return cluster_find(f->c, cluster_core_id(f->site, (unsigned)draw(f, f->c->shape.cores_per_site)));
}

static void rot(struct faults *f)
{
	struct node *n = draw_core(f);
	unsigned pages = sim_disk_rot(n->disk, "data", 1 + (unsigned)draw(f, 4));

	n->rotted = true;
	world_trace(&f->c->w, "%u pages rot on %u", pages, n->id);
}

static void fail_sync(struct faults *f)
{
	struct node *n = draw_core(f);

	if (!n->alive)
		return;
	world_trace(&f->c->w, "next fsync of %u fails", n->id);
	sim_disk_fail_next_sync(n->disk);
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
	later(f, draw_length(f), restart, a, 0);
}

static void quiesce(struct faults *f, unsigned a, unsigned b)
{
	(void)b;
	for (unsigned i = 0; i < f->c->nodes; i++) {
		if (f->c->node[i].kind == SERVER_ACCESS)
			simnet_cut(&f->c->net, i, a, true);
	}
	later(f, 600 * NSEC_MSEC, roll_back, a, 0);
}

static void replace(struct faults *f, bool wipe)
{
	struct node *n = draw_core(f);

	if (f->replaced || !n->serving)
		return;
	f->replaced = true;
	if (!wipe) {
		node_remember(n);
		later(f, world_between(&f->c->w, STREAM_FAULT, 200 * NSEC_MSEC, 3 * NSEC_SEC), quiesce,
		      n->index, 0);
		return;
	}
	node_crash(n, true);
	world_trace(&f->c->w, "disk of %u is replaced by an empty one", n->id);
	node_wipe(n);
	later(f, draw_length(f), restart, n->index, 0);
}

/* --- the schedule --- */

static void act(struct faults *f, enum fault_class class)
{
	switch (class) {
	case FAULT_CRASH:
		crash(f);
		break;
	case FAULT_SITE:
		break_site(f);
		break;
	case FAULT_CUT:
		cut(f);
		break;
	case FAULT_PAUSE:
		pause_node(f);
		break;
	case FAULT_PACKETS:
		packets(f);
		break;
	case FAULT_SLOW:
		slow(f);
		break;
	case FAULT_BLACKOUT:
		if (draw(f, 4) == 0)
			power_cut(f, 0, draw_length(f) / 4);
		break;
	case FAULT_ROT:
		rot(f);
		break;
	case FAULT_SYNC:
		fail_sync(f);
		break;
	case FAULT_WIPE:
		replace(f, true);
		break;
	case FAULT_ROLLBACK:
		replace(f, false);
		break;
	case FAULT_ALL:
		break;
	}
}

static void next(struct faults *f, unsigned a, unsigned b)
{
	unsigned class = 1u << draw(f, 11);

	(void)a;
	(void)b;
	if (f->classes & class)
		act(f, (enum fault_class)class);
	if (f->classes)
		later(f, world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, 200 * NSEC_MSEC), next, 0, 0);
}

unsigned faults_draw(struct cluster *c, unsigned allowed)
{
	unsigned classes = 0;

	for (unsigned bit = 1; bit < FAULT_ALL; bit <<= 1) {
		if ((allowed & bit) && world_chance(&c->w, STREAM_FAULT, 350))
			classes |= bit;
	}
	/* Only the leader remembers how far heartbeats said a journal was: it stays in these runs. */
	if (classes & FAULT_ROLLBACK)
		classes &= FAULT_ROLLBACK | FAULT_ROT | FAULT_SYNC | FAULT_WIPE;
	return classes;
}

void faults_start(struct faults *f, struct cluster *c, unsigned classes)
{
	*f = (struct faults){.c = c, .classes = classes};
	f->site = (uint16_t)(1 + draw(f, c->shape.sites));
	world_trace(&c->w, "faults %x, disks of site %u", classes, f->site);
	later(f, 0, next, 0, 0);
}

void faults_heal(struct faults *f)
{
	struct cluster *c = f->c;

	f->stopped = true;
	world_trace(&c->w, "all is well again");
	for (unsigned i = 0; i < c->nodes; i++) {
		struct node *n = &c->node[i];

		disk_well(f, i, 0);
		n->paused_until = 0;
		node_set_clock_rate(n, 0);
		if (!n->alive)
			node_start(n);
	}
	simnet_heal(&c->net);
}
