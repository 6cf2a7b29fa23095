#include "tests/sim/faults_internal.h"

#include "common/base/mem.h"

struct fault_event {
	struct event e;    /* first */
	struct faults *f;
	fault_fn *run;
	unsigned a, b;
};

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

void faults_later(struct faults *f, nsec_t delay, fault_fn *run, unsigned a, unsigned b)
{
	struct fault_event *fe = mem_new(sizeof(*fe));

	*fe = (struct fault_event){{.fire = fire, .drop = drop}, f, run, a, b};
	world_at(&f->c->w, f->c->w.now + delay, &fe->e);
}

/* --- nodes --- */

void faults_restart(struct faults *f, unsigned a, unsigned b)
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
	faults_later(f, draw_length(f), faults_restart, a, 0);
}

static void power_cut(struct faults *f, uint16_t site, nsec_t length)
{
	for (unsigned i = 0; i < f->c->nodes; i++) {
		if ((site && f->c->node[i].site != site) || !f->c->node[i].alive)
			continue;
		node_crash(&f->c->node[i], true);
		faults_later(f, length + world_between(&f->c->w, STREAM_FAULT, 0, 300 * NSEC_MSEC),
		             faults_restart, i, 0);
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
	faults_later(f, draw_length(f), site_back, site, 0);
}

static void pause_node(struct faults *f)
{
	struct node *n = &f->c->node[draw(f, f->c->nodes)];
	nsec_t until = f->c->w.now + draw_length(f);

	if (n->alive)
		node_pause(n, until);
}

/* --- links --- */

void faults_mend(struct faults *f, unsigned a, unsigned b)
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
			faults_later(f, length, faults_mend, a, i);
			faults_later(f, length, faults_mend, i, a);
		}
		return;
	}
	world_trace(&f->c->w, "link %u -> %u is cut", f->c->node[a].id, f->c->node[b].id);
	simnet_cut(&f->c->net, a, b, true);
	faults_later(f, length, faults_mend, a, b);
	if (draw(f, 2)) {
		simnet_cut(&f->c->net, b, a, true);
		faults_later(f, length, faults_mend, b, a);
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
		faults_slow(f);
		break;
	case FAULT_BLACKOUT:
		if (draw(f, 4) == 0)
			power_cut(f, 0, draw_length(f) / 4);
		break;
	case FAULT_ROT:
		faults_rot(f);
		break;
	case FAULT_SYNC:
		faults_fail_core(f);
		break;
	case FAULT_WIPE:
		faults_replace(f, true);
		break;
	case FAULT_ROLLBACK:
		faults_replace(f, false);
		break;
	case FAULT_VOTE:
		faults_fail_vote(f);
		break;
	case FAULT_FULL:
		faults_fill(f);
		break;
	case FAULT_ALL:
		break;
	}
}

static void next(struct faults *f, unsigned a, unsigned b)
{
	unsigned class = 1u << draw(f, FAULT_CLASSES);

	(void)a;
	(void)b;
	if (f->classes & class)
		act(f, (enum fault_class)class);
	if (f->classes)
		faults_later(f, world_between(&f->c->w, STREAM_FAULT, NSEC_MSEC, 200 * NSEC_MSEC), next, 0, 0);
}

unsigned faults_draw(struct cluster *c, unsigned allowed)
{
	unsigned classes = 0;

	for (unsigned bit = 1; bit < FAULT_ALL; bit <<= 1) {
		if ((allowed & bit) && world_chance(&c->w, STREAM_FAULT, 350))
			classes |= bit;
	}
	return classes;
}

void faults_start(struct faults *f, struct cluster *c, unsigned classes)
{
	*f = (struct faults){.c = c, .classes = classes};
	f->site = (uint16_t)(1 + draw(f, c->shape.sites));
	world_trace(&c->w, "faults %x, disks of site %u", classes, f->site);
	if (classes & FAULT_FULL)
		faults_fill(f); /* while the stores are small */
	faults_later(f, 0, next, 0, 0);
}

void faults_heal(struct faults *f)
{
	struct cluster *c = f->c;

	f->stopped = true;
	world_trace(&c->w, "all is well again");
	for (unsigned i = 0; i < c->nodes; i++) {
		struct node *n = &c->node[i];

		faults_heal_disk(n);
		node_resume(n);
		node_set_clock_rate(n, 0);
		if (!n->alive)
			node_start(n);
	}
	simnet_heal(&c->net);
}
