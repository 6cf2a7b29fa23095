#include "tests/sim/stage.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "hint-server/quorum/hint.h"
#include "tests/sim/content.h"
#include "tests/sim/faults.h"
#include "tests/sim/run.h"
#include "tests/sim/sim_disk.h"

static struct stage_rule rules[STAGE_RULES_MAX];
static unsigned n_rules;

static enum simnet_verdict judge(void *ctx, struct node *from, struct node *to, const struct msg *m,
                                 nsec_t *delay)
{
	enum simnet_verdict verdict = SIMNET_PASS;

	(void)ctx;
	for (unsigned i = 0; i < n_rules; i++) {
		struct stage_rule *r = &rules[i];

		if (r->times == 0 || (r->type && r->type != m->type) || (r->from && r->from != from->id) ||
		    (r->to && r->to != to->id))
			continue;
		r->times--;
		r->hits++;
		if (r->drop)
			return SIMNET_DROP;
		if (r->spoil)
			verdict = SIMNET_SPOIL;
		*delay += r->delay;
	}
	return verdict;
}

bool stage_start(struct cluster *c)
{
	n_rules = 0;
	if (!run_until_made(c))
		return false;
	c->calm = false;
	simnet_add_hook(&c->net, &(struct simnet_hook){judge, NULL});
	return true;
}

struct node *stage_start_led(struct cluster *c)
{
	struct node *leader = stage_start(c) ? stage_leader(c) : NULL;

	if (!c->w.failed)
		stage_expect(c, leader != NULL, "a leader");
	return leader;
}

void stage_end(struct cluster *c)
{
	struct faults f = {.c = c};

	if (c->w.failed)
		return;
	n_rules = 0;
	faults_heal(&f);
	if (run_heal(c))
		run_converge(c);
}

void stage_expect(struct cluster *c, bool ok, const char *what)
{
	if (!ok)
		world_fail(&c->w, "scenario: %s", what);
}

/* --- clients --- */

static void nothing(struct client *cl)
{
	(void)cl;
}

struct client *stage_client(struct cluster *c, unsigned site)
{
	return client_new(c, cluster_find(c, cluster_access_id(site)), CLIENT_SCRIPT);
}

int stage_finish(struct client *cl, nsec_t limit)
{
	struct cluster *c = cl->c;
	nsec_t until = c->w.now + limit;

	while (cl->busy && !cl->dead && c->w.now < until && !c->w.failed)
		world_run(&c->w, MIN(until, c->w.now + 100 * 1000));
	return cl->busy || cl->dead ? -ETIMEDOUT : cl->rc;
}

/* Calls come from outside of events: the node's tick follows. */
static void began(const struct client *cl)
{
	node_after(cl->n);
}

/* A client that still waits can do nothing else: the story went another way. */
static bool ready(const struct client *cl)
{
	if (!cl->busy && !cl->dead)
		return true;
	world_fail(&cl->c->w, "scenario: client %u on %u still waits for op %d", cl->id, cl->n->id,
	           (int)cl->req.op);
	return false;
}

int stage_open(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_open(cl, file, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

bool stage_begin(struct cluster *c, unsigned site_a, struct client **a, unsigned site_b,
                 struct client **b)
{
	if (!stage_start(c))
		return false;
	*a = stage_client(c, site_a);
	*b = stage_client(c, site_b);
	stage_expect(c, stage_open(*a, 1) == 0 && stage_open(*b, 1) == 0, "open");
	return true;
}

int stage_close(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_close(cl, file, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

void stage_begin_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync)
{
	if (!ready(cl))
		return;
	client_write(cl, file, unit, units, sync, nothing);
	began(cl);
}

void stage_begin_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units)
{
	if (!ready(cl))
		return;
	client_read(cl, file, unit, units, nothing);
	began(cl);
}

void stage_begin_sync(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return;
	client_sync(cl, file, nothing);
	began(cl);
}

int stage_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync)
{
	stage_begin_write(cl, file, unit, units, sync);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units)
{
	stage_begin_read(cl, file, unit, units);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_sync(struct client *cl, uint32_t file)
{
	stage_begin_sync(cl, file);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_lock(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_lock(cl, file, F_WRLCK, false, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

void stage_begin_lock(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return;
	client_lock(cl, file, F_WRLCK, true, nothing);
	began(cl);
}

void stage_begin_stat(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return;
	client_stat(cl, file, nothing);
	began(cl);
}

int stage_truncate(struct client *cl, uint32_t file, uint32_t unit)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_truncate(cl, file, unit, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_punch(struct client *cl, uint32_t file, uint32_t unit, uint32_t units)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_punch(cl, file, unit, units, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_create(struct client *cl, unsigned name)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_name(cl, NAME_CREATE, name, 0, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_unlink(struct client *cl, unsigned name)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	client_name(cl, NAME_UNLINK, name, 0, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

void stage_begin_rename(struct client *cl, unsigned name, unsigned to)
{
	if (!ready(cl))
		return;
	client_name(cl, NAME_RENAME, name, to, nothing);
	began(cl);
}

void stage_begin_lookup(struct client *cl, unsigned name)
{
	if (!ready(cl))
		return;
	client_name(cl, NAME_LOOKUP, name, 0, nothing);
	began(cl);
}

static void named_request(struct client *cl, enum vol_op op, uint32_t file)
{
	memset(&cl->req, 0, sizeof(cl->req));
	cl->req.op = op;
	cl->req.ino = FILE_ROOT;
	cl->name[0][0] = 'f';
	cl->name[0][1] = (char)('0' + file);
	cl->req.name = (struct span){(const uint8_t *)cl->name[0], 2};
}

static int run_request(struct client *cl)
{
	client_submit(cl, nothing);
	began(cl);
	return stage_finish(cl, STAGE_OP_MAX);
}

int stage_unlink_file(struct client *cl, uint32_t file)
{
	if (!ready(cl))
		return -ETIMEDOUT;
	named_request(cl, VOL_UNLINK, file);
	return run_request(cl);
}

int stage_make(struct client *cl)
{
	struct history *h = &cl->c->hist;
	struct hist_file *f = &h->file[h->files];
	int rc;

	CHECK(h->files < FILES_MAX);
	if (!ready(cl))
		return -ETIMEDOUT;
	named_request(cl, VOL_CREATE, h->files);
	cl->req.flags = VOL_F_EXCL;
	cl->req.mode = S_IFREG | 0644;
	rc = run_request(cl);
	if (rc)
		return rc;
	client_made(cl, h->files++, f);
	return 0;
}

uint64_t stage_value(const struct client *cl)
{
	const struct hist_op *op = &cl->c->hist.op[cl->op];

	return op->type == HIST_READ && op->values ? op->values[0] : UINT64_MAX;
}

/* --- the world --- */

void stage_wait(struct cluster *c, nsec_t t)
{
	world_run(&c->w, c->w.now + t);
}

static struct stage_rule *add(struct stage_rule r)
{
	CHECK(n_rules < STAGE_RULES_MAX);
	rules[n_rules] = r;
	rules[n_rules].times = UINT32_MAX;
	return &rules[n_rules++];
}

struct stage_rule *stage_drop(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to)
{
	(void)c;
	return add((struct stage_rule){.type = type, .from = from, .to = to, .drop = true});
}

void stage_pass_by(struct cluster *c, unsigned from, unsigned to)
{
	stage_drop(c, MSG_TYPE_write, cluster_access_id(from), cluster_core_id(to, 0));
	stage_drop(c, MSG_TYPE_install, cluster_access_id(from), cluster_core_id(to, 0));
}

struct stage_rule *stage_spoil(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to)
{
	(void)c;
	return add((struct stage_rule){.type = type, .from = from, .to = to, .spoil = true});
}

struct stage_rule *stage_delay(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to,
                               nsec_t delay)
{
	(void)c;
	return add((struct stage_rule){.type = type, .from = from, .to = to, .delay = delay});
}

void stage_lift(struct cluster *c)
{
	(void)c;
	n_rules = 0;
}

void stage_cut(struct cluster *c, server_id_t a, server_id_t b, bool cut)
{
	unsigned i = cluster_find(c, a)->index, k = cluster_find(c, b)->index;

	simnet_cut(&c->net, i, k, cut);
	simnet_cut(&c->net, k, i, cut);
}

void stage_cut_hints(struct cluster *c, server_id_t a, bool cut)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind == SERVER_HINT)
			stage_cut(c, a, c->node[i].id, cut);
	}
}

void stage_crash(struct cluster *c, server_id_t id, bool power)
{
	node_crash(cluster_find(c, id), power);
}

void stage_restart(struct cluster *c, server_id_t id)
{
	node_start(cluster_find(c, id));
}

struct node *stage_leader(struct cluster *c)
{
	struct node *best = NULL;
	uint64_t term = 0;

	for (unsigned i = 0; i < c->nodes; i++) {
		struct hint_status s;

		if (c->node[i].kind != SERVER_HINT || !c->node[i].alive)
			continue;
		hint_get_status(c->node[i].hint, &s);
		if (s.leader && s.term > term) {
			best = &c->node[i];
			term = s.term;
		}
	}
	return best;
}

bool stage_leads(const struct node *n)
{
	struct hint_status s;

	if (!n->alive)
		return false;
	hint_get_status(n->hint, &s);
	return s.leader;
}

struct unit_of_file {
	uint32_t file, unit;
};

static bool is_unit(void *ctx, const uint8_t *page)
{
	const struct unit_of_file *u = ctx;
	uint64_t value = content_read(page, u->file, (uint64_t)u->unit * (PAGE_BYTES / CHUNK_BYTES));

	return value != 0 && value != CONTENT_GARBAGE;
}

void stage_rot(struct cluster *c, server_id_t id, uint32_t file, uint32_t unit)
{
	struct unit_of_file u = {file, unit};
	struct node *n = cluster_find(c, id);

	n->rotted = true;
	stage_expect(c, sim_disk_rot_if(n->disk, "data", is_unit, &u) > 0, "rot");
}

static bool is_attr(void *ctx, const uint8_t *page)
{
	(void)ctx;
	return memcmp(page, "datr", 4) == 0; /* attr_record.c */
}

void stage_rot_attr(struct cluster *c, server_id_t id)
{
	struct node *n = cluster_find(c, id);

	n->rotted = true;
	stage_expect(c, sim_disk_rot_if(n->disk, "data", is_attr, NULL) > 0, "rot of attribute records");
}

server_id_t stage_replica(struct cluster *c, uint32_t file, uint64_t block, unsigned site)
{
	const struct hist_file *f = &c->hist.file[file];
	const struct map *m = vol_map(cluster_find(c, cluster_access_id(1))->volume);
	server_id_t id[REPLICAS];
	int rc = map_place(m, f->site, f->ino, block, id);

	CHECK(rc == 0);
	for (unsigned i = 0; i < REPLICAS; i++) {
		if (f->site[i] == site)
			return id[i];
	}
	CHECK(!"the file does not live in that site");
	return 0;
}
