/* A replica that is to move is made whole where it goes, beside the three that count, before it moves (design
 * section 4: the lease holder copies, then the catalog commits).
 *
 * The holder of the exclusive lease does that, while nothing of the file lags. Each core server that the
 * replica will lie on is sealed, what it has is listed and compared, and what differs is copied, over and
 * over until little differs; then it is told that it is complete but for these blocks (as repair.c proves
 * servers), and from its last listing on everything written is noted. What was noted it lacks; the release
 * that gives the lease back says so, and is the move (hint-server/catalog/op_move.c). So at no time fewer
 * than three replicas count for a block that was not written in these moments, and two always do.
 *
 * A server that has other blocks of the file already may have closed a recovery for all of them (`closed`
 * is of the whole file), also for those that come only now, and outranks who has them. So what is copied is
 * closed in this epoch, and left to later is only what was written in it: that outranks whatever the server
 * has (rank_cmp()).
 *
 * A recall before it is ready ends it. Who begins again finds what was copied. */
#include "access-server/volume/copy.h"
#include "access-server/volume/listing.h"

#define COPIES_FILE 4
#define COPIES_VOLUME 8
#define PASSES_MAX 8
#define LITTLE 16      /* blocks that may be left to the repair behind the move */
#define FAILURES_MAX 16

struct target {
	server_id_t id;
	bool listed;              /* what is written is noted */
	struct stale_map lacks;   /* bit 0 */
};

struct fill {
	struct file *f;
	const struct map *map;    /* by which the replica will lie there */
	unsigned k;               /* it is replica k */
	uint16_t site[REPLICAS];  /* of the file then */
	struct target *target;
	unsigned targets, at;     /* at: being filled */
	unsigned pass, failures;
	struct listing listing;
	struct scan *scan;
	struct rpc *rpc;
	uint64_t *todo;           /* blocks that differ at the target, ascending */
	unsigned n, next;
	struct copy *copies;
	unsigned running;
};

static void target_begin(struct fill *fill);

static struct target *target(struct fill *fill)
{
	return &fill->target[fill->at];
}

bool fill_placement(const struct file *f, server_id_t s, uint64_t *id)
{
	uint32_t last = MAX(f->moved[0], MAX(f->moved[1], f->moved[2]));
	const struct fill *fill = f->fill;

	/* Servers that go on in their site go on by what they know. */
	if (!fill || f->to_move.from == f->to_move.to)
		return false;
	for (unsigned i = 0; i < fill->targets; i++) {
		if (fill->target[i].id == s) {
			*id = placement_id(fill->map->version, last + 1);
			return true;
		}
	}
	return false;
}

static void drop_pass(struct fill *fill)
{
	listing_end(&fill->listing);
	if (fill->scan)
		scan_free(fill->scan);
	fill->scan = NULL;
	rpc_cancel(fill->rpc);
	fill->rpc = NULL;
	mem_free(fill->todo);
	fill->todo = NULL;
	fill->n = fill->next = 0;
	while (fill->copies) {
		struct copy *c = fill->copies;

		DL_DELETE(fill->copies, c);
		copy_free(c);
	}
	fill->running = 0;
}

void fill_stop(struct file *f)
{
	struct fill *fill = f->fill;

	if (!fill)
		return;
	f->fill = NULL;
	drop_pass(fill);
	for (unsigned i = 0; i < fill->targets; i++)
		stale_fini(&fill->target[i].lacks);
	mem_free(fill->target);
	mem_free(fill);
}

bool fill_ready(const struct file *f)
{
	return f->fill && f->fill->at == f->fill->targets;
}

void fill_pause(struct file *f)
{
	if (!fill_ready(f))
		fill_stop(f);
}

/* --- the end of a target: it is complete but for what it lacks --- */

static void failed(struct fill *fill)
{
	fill->failures++;
	drop_pass(fill);
	repair_kick(fill->f, 0);
}

static bool on_closed(struct rpc *rpc, const struct msg *m)
{
	struct fill *fill = rpc->ctx;
	struct file *f = fill->f;
	unsigned status = m->close_reply.status;

	if (m->type != MSG_TYPE_close_reply || m->close_reply.file != f->ino ||
	    m->close_reply.epoch != f->epoch)
		return false;
	if (m->close_reply.seal > f->epoch) {
		lease_sealed(f, m->close_reply.seal);
		return true;
	}
	if (status == STATUS_BUSY || status == STATUS_FENCED)
		return false;
	if (status != STATUS_OK) {
		failed(fill);
		return true;
	}
	drop_pass(fill);
	fill->at++;
	fill->pass = 0;
	repair_kick(f, 0);
	return true;
}

static void close_target(struct fill *fill)
{
	struct file *f = fill->f;
	struct msg m = {.type = MSG_TYPE_close, .dst = target(fill)->id};
	uint8_t *bytes = mem_new_array(fill->n + 1, 8);

	for (unsigned i = 0; i < fill->n; i++) {
		put_u64le(bytes + 8 * i, fill->todo[i]);
		if (stale_set(&target(fill)->lacks, fill->todo[i], fill->todo[i], 0) < 0)
			CHECK(false); /* of one replica any set of blocks can be stale */
	}
	m.close.file = f->ino;
	m.close.map = file_placement(f, m.dst);
	m.close.epoch = f->epoch;
	m.close.complete = 1;
	m.close.exceptions = (struct span){bytes, fill->n * 8};
	fill->rpc = rpc_start(f->v, &m, on_closed, fill, 0);
	mem_free(bytes);
}

void fill_note_write(struct file *f, uint64_t no)
{
	struct fill *fill = f->fill;
	server_id_t server[REPLICAS];

	if (!fill || map_place(fill->map, fill->site, f->ino, no, server) < 0)
		return;
	for (unsigned i = 0; i < fill->targets; i++)
		if (fill->target[i].id == server[fill->k] && fill->target[i].listed &&
		    stale_set(&fill->target[i].lacks, no, no, 0) < 0)
			CHECK(false);
}

/* --- copying --- */

static void copy_more(struct fill *fill);

static void on_copied(struct copy *c, enum copy_result result)
{
	struct file *f = c->f;
	struct fill *fill = f->fill;

	copy_note_lost(c);
	if (result == COPY_DONE)
		repair_succeeded(f);
	else
		fill->failures++;
	DL_DELETE(fill->copies, c);
	fill->running--;
	copy_free(c);
	copy_more(fill);
}

static bool copy_one(struct fill *fill, uint64_t no)
{
	struct file *f = fill->f;
	unsigned order[REPLICAS], n, i = 0;
	server_id_t server[REPLICAS];
	struct copy *c;

	n = replicas_by_nearness(f, no, order, server);
	while (i < n && order[i] == fill->k)
		i++;
	if (i == n)
		return false;
	c = mem_new(sizeof(*c));
	c->f = f;
	c->no = no;
	c->from = order[i];
	c->to = fill->k;
	c->into = target(fill)->id;
	c->closed = f->epoch;
	c->spare = (uint8_t)(((1u << REPLICAS) - 1) & ~(1u << c->from | 1u << c->to));
	c->done = on_copied;
	DL_APPEND(fill->copies, c);
	fill->running++;
	copy_start(c);
	return true;
}

static void copy_more(struct fill *fill)
{
	struct volume *v = fill->f->v;
	bool go_on = fill->failures < FAILURES_MAX;

	while (fill->next < fill->n && fill->running < COPIES_FILE && v->copies < COPIES_VOLUME && go_on)
		fill->failures += !copy_one(fill, fill->todo[fill->next++]);
	if (fill->running > 0 || (fill->next < fill->n && go_on))
		return; /* others take all places: fill_run() looks again */
	drop_pass(fill);
	fill->pass++;
	repair_kick(fill->f, 0);
}

/* --- comparing --- */

/* It lies on the target then, and not now. */
static bool comes(const struct fill *fill, uint64_t no, server_id_t to)
{
	server_id_t then[REPLICAS], now[REPLICAS];

	if (map_place(fill->map, fill->site, fill->f->ino, no, then) < 0 || then[fill->k] != to)
		return false;
	return !file_place(fill->f, no, now) || now[fill->k] != to;
}

static void compare(struct fill *fill)
{
	const struct scan *s = fill->scan;
	const struct listing *l = &fill->listing;
	unsigned i = 0, j = 0, old = 0, max = fill->f->v->config.exceptions_max;

	while (i < s->n || j < l->n) {
		uint64_t no = i == s->n || (j < l->n && l->list[j].no < s->entry[i].no) ? l->list[j].no
		                                                                        : s->entry[i].no;
		bool ours = i < s->n && s->entry[i].no == no, theirs = j < l->n && l->list[j].no == no;
		struct version here = ours ? s->entry[i].version : VERSION_NONE;
		struct version there = theirs ? l->list[j].version : VERSION_NONE;

		i += ours;
		j += theirs;
		if (version_eq(here, there) || !comes(fill, no, target(fill)->id))
			continue;
		fill->todo = mem_resize(fill->todo, fill->n + 1, sizeof(*fill->todo));
		fill->todo[fill->n++] = no;
		old += here.epoch < fill->f->epoch;
	}
	scan_free(fill->scan);
	fill->scan = NULL;
	listing_end(&fill->listing);
	if (old == 0 && fill->n <= (fill->pass < PASSES_MAX ? MIN(max, (unsigned)LITTLE) : max))
		close_target(fill);
	else
		copy_more(fill);
}

static void on_scanned(struct scan *s)
{
	compare(s->ctx);
}

static void on_listed(struct listing *l)
{
	struct fill *fill = l->ctx;

	fill->scan = scan_start(fill->f, 0, BLOCK_ATTR, on_scanned, fill);
	if (fill->scan->finished)
		compare(fill);
}

static bool on_sealed(struct rpc *rpc, const struct msg *m)
{
	struct fill *fill = rpc->ctx;
	struct file *f = fill->f;
	struct target *t = target(fill);

	if (m->type != MSG_TYPE_seal_reply || m->seal_reply.file != f->ino || m->seal_reply.epoch != f->epoch)
		return false;
	if (m->seal_reply.seal > f->epoch) {
		lease_sealed(f, m->seal_reply.seal);
		return true;
	}
	if (m->seal_reply.status != STATUS_OK)
		return false;
	fill->rpc = NULL;
	rpc_cancel(rpc);
	stale_fini(&t->lacks);
	stale_init(&t->lacks);
	t->listed = true;
	listing_start(&fill->listing, f, t->id, on_listed, fill);
	return true;
}

static void target_begin(struct fill *fill)
{
	struct file *f = fill->f;
	struct msg m = {.type = MSG_TYPE_seal, .dst = target(fill)->id};

	m.seal.file = f->ino;
	m.seal.map = file_placement(f, m.dst);
	m.seal.epoch = f->epoch;
	fill->rpc = rpc_start(f->v, &m, on_sealed, fill, 0);
}

/* --- */

static struct fill *begin(struct file *f, struct map *map)
{
	struct fill *fill = mem_new(sizeof(*fill));

	fill->f = f;
	fill->map = map;
	memcpy(fill->site, f->site, sizeof(fill->site));
	while (fill->k < REPLICAS && f->site[fill->k] != f->to_move.from)
		fill->k++;
	if (fill->k < REPLICAS)
		fill->site[fill->k] = f->to_move.to;
	/* A server has one replica of a block. */
	if (fill->k == REPLICAS || fill->site[0] == fill->site[1] || fill->site[0] == fill->site[2] ||
	    fill->site[1] == fill->site[2]) {
		mem_free(fill);
		return NULL;
	}
	fill->target = mem_new_array(map->servers, sizeof(*fill->target));
	for (unsigned i = 0; i < map->servers; i++) {
		if (map->server[i].site != f->to_move.to)
			continue;
		fill->target[fill->targets].id = map->server[i].id;
		stale_init(&fill->target[fill->targets++].lacks);
	}
	return fill;
}

enum fill_state fill_run(struct file *f)
{
	struct fill *fill = f->fill;
	struct map *map;

	if (!fill) {
		map = maps_get(f->v, f->to_move.map ? f->to_move.map : f->attr.map);
		if (!map)
			return FILL_RUNS; /* it is on its way */
		fill = f->fill = begin(f, map);
		if (!fill || fill->targets == 0)
			return FILL_FAILED;
	}
	if (fill->failures >= FAILURES_MAX)
		return FILL_FAILED;
	if (fill->at == fill->targets)
		return FILL_READY;
	if (fill->n > fill->next && !fill->rpc)
		copy_more(fill);
	else if (!fill->rpc && !fill->listing.f && !fill->scan && fill->running == 0)
		target_begin(fill);
	return FILL_RUNS;
}

bool fill_release(struct file *f, struct msg_op_release *m)
{
	struct fill *fill = f->fill;
	struct stale_run run;

	if (!fill_ready(f) || f->unclean || f->behinds)
		return false;
	for (uint64_t at = 0; stale_next(&f->stale, at, &run); at = run.last + 1) {
		if (run.mask & ~(1u << fill->k))
			return false;
		if (run.last == BLOCK_ATTR)
			break;
	}
	/* In another site what the replica lacked where it was does not matter. */
	if (f->to_move.from != f->to_move.to)
		stale_clear(&f->stale, 0, BLOCK_ATTR, fill->k);
	for (unsigned i = 0; i < fill->targets; i++) {
		for (uint64_t at = 0; stale_next(&fill->target[i].lacks, at, &run); at = run.last + 1) {
			if (stale_set(&f->stale, run.first, run.last, fill->k) < 0)
				CHECK(false); /* no other replica is stale anywhere */
			if (run.last == BLOCK_ATTR)
				break;
		}
	}
	m->from = f->to_move.from;
	m->move_to = f->to_move.to;
	m->map = fill->map->version;
	return true;
}
