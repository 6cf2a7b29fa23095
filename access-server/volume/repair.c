/* Replicas that lag, made whole by the lease holder (design section 5, traps A5, A8).
 *
 * Two kinds of lag:
 * - stale bits (file.stale): block by block, a copy from a clean replica, then the bit is cleared and
 *   the records kept meanwhile are sent; the replica is one of three again;
 * - servers that count for nothing (file.behind): blank, or not sealed by the recovery of this epoch.
 *   They are *proven*: seal, list, compare with what clean replicas say exists; each block that
 *   differs gets a stale bit; then CLOSE (complete, those blocks excepted) and the server counts.
 *   If more differ than a CLOSE can except, some are copied first, and it is proven again.
 *
 * Only the holder of the exclusive lease does this, in its epoch, and stops when it is recalled. */
#include "access-server/volume/copy.h"
#include "access-server/volume/listing.h"

#define COPIES_FILE 4
#define COPIES_VOLUME 8
#define RETRY (300 * NSEC_MSEC)
#define LOOK_AGAIN NSEC_SEC
#define SETTLE_SILENT (300 * NSEC_MSEC)
#define TURN_EPOCHS 16 /* each so many grants repair has half a second before a recall is obeyed */
#define TURN (500 * NSEC_MSEC)
/* Background repair without a copy that succeeds goes on to the next file: after so many failures, or so
 * long. What fails may fail for ever: a disk is full, the file is gone. */
#define FAILURES_MAX 16
#define SUCCESS_AFTER (20 * NSEC_SEC)

struct repair {
	struct file *f;
	struct repair *prev, *next; /* of volume.copy_queue, while it waits there */
	bool queued;
	struct copy *copies;
	unsigned n;
	unsigned shift;          /* which clean replica to copy from: the next after each failure */
	unsigned failures;       /* since the last success, at: */
	nsec_t success_at;
	/* proving one server: */
	server_id_t server;      /* 0: none */
	uint64_t n_before;       /* file.n when it was listed: younger blocks are stale there */
	struct listing listing;
	struct scan *scan;
	struct rpc *rpc;
	uint64_t *except;
	unsigned excepts;
	server_id_t filled;      /* counts for nothing yet, and gets `fill` more copies first; 0: none */
	unsigned fill;
};

static void repair_run(struct file *f);
static bool may_run(struct file *f);

static void on_repair_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	repair_run(container_of(t, struct file, repair_timer));
}

void repair_init(struct file *f)
{
	f->repair_timer.fire = on_repair_timer;
}

void repair_kick(struct file *f, nsec_t after)
{
	if (f->lease == LEASE_EXCLUSIVE)
		timer_set_sooner(f->v, &f->repair_timer, f->v->now + after);
}

static void prove_end(struct repair *r)
{
	rpc_cancel(r->rpc);
	r->rpc = NULL;
	if (r->scan)
		scan_free(r->scan);
	r->scan = NULL;
	listing_end(&r->listing);
	mem_free(r->except);
	r->except = NULL;
	r->excepts = 0;
	r->server = 0;
}

/* --- files whose copies wait for others to end: first come, first served --- */

static void queue_join(struct repair *r)
{
	if (r->queued)
		return;
	r->queued = true;
	DL_APPEND(r->f->v->copy_queue, r);
}

static void queue_leave(struct repair *r)
{
	if (r->queued)
		DL_DELETE(r->f->v->copy_queue, r);
	r->queued = false;
}

void repair_copy_ended(struct volume *v)
{
	struct repair *r;
	bool runs = false;

	while (!runs && (r = v->copy_queue)) {
		queue_leave(r);
		runs = may_run(r->f);
		repair_kick(r->f, 0);
	}
}

void repair_stop(struct file *f)
{
	struct repair *r = f->repair;

	timer_stop(f->v, &f->repair_timer);
	fill_pause(f);
	if (!r)
		return;
	f->repair = NULL;
	queue_leave(r);
	prove_end(r);
	while (r->copies) {
		struct copy *c = r->copies;

		DL_DELETE(r->copies, c);
		copy_free(c);
	}
	mem_free(r);
}

void repair_succeeded(struct file *f)
{
	if (!f->repair)
		return;
	f->repair->failures = 0;
	f->repair->success_at = f->v->now;
}

/* --- stale blocks --- */

/* The target has what the source had; from here on it is a replica like the others, which the
 * records kept since then still have to reach. */
static void copied(struct copy *c)
{
	struct file *f = c->f;
	struct block *b = block_find(f, c->no);
	uint8_t bit = (uint8_t)(1u << c->to);

	/* As long as it counts for nothing no records are kept for it: what was written meanwhile it is to be
	 * copied again. */
	if (b && file_behind(f, c->server[c->to]) && version_cmp(c->at, b->version) < 0)
		return;
	stale_clear(&f->stale, c->no, c->no, c->to);
	f->v->stats.repairs++;
	repair_succeeded(f);
	if (f->repair->filled == c->server[c->to] && f->repair->fill > 0)
		f->repair->fill--;
	if (!b)
		return;
	b->durable[c->to] = c->at;
	b->sent[c->to] = c->at.epoch == f->epoch ? c->at.n : 0;
	b->sent_at[c->to] = f->v->now;
	b->want_stale &= (uint8_t)~bit;
	b->ahead &= (uint8_t)~bit;
	b->no_space &= (uint8_t)~bit;
	b->only_bad &= (uint8_t)~bit;
}

/* Another source the next time, also when several copies from this one fail together. */
static void avoid_source(struct repair *r, const struct copy *c)
{
	unsigned order[REPLICAS], n;
	server_id_t server[REPLICAS];

	n = replicas_by_nearness(c->f, c->no, order, server);
	if (n == 0 || order[r->shift % n] == c->from)
		r->shift++;
}

static void on_copied(struct copy *c, enum copy_result result)
{
	struct file *f = c->f;
	struct repair *r = f->repair;
	uint64_t no = c->no;
	unsigned to = c->to;
	bool again = c->whole && result != COPY_DONE;
	struct block *b;

	copy_note_lost(c);
	if (result == COPY_DONE) {
		copied(c);
	} else if (result == COPY_AHEAD) {
		f->unclean = true; /* the next grant recovers and decides by rank */
	}
	if (result != COPY_DONE) {
		avoid_source(r, c);
		r->failures++;
	}
	DL_DELETE(r->copies, c);
	r->n--;
	copy_free(c);
	b = block_find(f, no);
	if (b && again)
		b->bad |= (uint8_t)(1u << to);
	if (b && b->records) {
		block_send(b);
		block_settle(b);
	}
	repair_kick(f, result == COPY_DONE ? 0 : RETRY);
}

static bool copying(const struct repair *r, uint64_t no)
{
	struct copy *c;

	DL_FOREACH(r->copies, c)
		if (c->no == no)
			return true;
	return false;
}

static bool copy_one(struct repair *r, uint64_t no, unsigned to)
{
	struct file *f = r->f;
	unsigned order[REPLICAS], n;
	server_id_t server[REPLICAS];
	struct copy *c;
	struct block *b = block_find(f, no);

	if (copying(r, no) || (n = replicas_by_nearness(f, no, order, server)) == 0)
		return false;
	if (peer_get(f->v, server[to])->down || recovery_block_waits(f, no) ||
	    (file_behind(f, server[to]) && server[to] != r->filled))
		return false;
	c = mem_new(sizeof(*c));
	c->f = f;
	c->no = no;
	c->from = order[r->shift % n];
	c->to = to;
	c->whole = b && (b->bad >> to & 1);
	if (c->whole)
		b->bad &= (uint8_t)~(1u << to);
	c->spare = (uint8_t)(((1u << REPLICAS) - 1) & ~(1u << c->from | 1u << to));
	c->may_lose = true;
	c->done = on_copied;
	DL_APPEND(r->copies, c);
	r->n++;
	copy_start(c);
	return true;
}

/* Starts what may be started. True: something is under way. */
static bool copy_some(struct repair *r)
{
	struct file *f = r->f;
	struct stale_run run;
	uint64_t from = 0;
	unsigned looked = 0;

	while (r->n < COPIES_FILE && f->v->copies < COPIES_VOLUME && looked++ < 4096 &&
	       stale_next(&f->stale, from, &run)) {
		unsigned to = (unsigned)__builtin_ctz(run.mask);

		copy_one(r, run.first, to);
		if (run.first == BLOCK_ATTR)
			break;
		from = run.first + 1;
	}
	if (r->n == 0 && f->v->copies >= COPIES_VOLUME)
		queue_join(r);
	return r->n > 0;
}

/* --- servers that count for nothing --- */

static bool on_proven(struct rpc *rpc, const struct msg *m)
{
	struct repair *r = rpc->ctx;
	struct file *f = r->f;
	struct block *b, *next;
	server_id_t s = r->server;

	if (m->type != MSG_TYPE_close_reply || m->close_reply.file != f->ino ||
	    m->close_reply.epoch != f->epoch)
		return false;
	if (m->close_reply.seal > f->epoch) {
		lease_sealed(f, m->close_reply.seal);
		return true;
	}
	if (m->close_reply.status == STATUS_BUSY || m->close_reply.status == STATUS_FENCED)
		return false;
	r->rpc = NULL;
	rpc_cancel(rpc);
	if (m->close_reply.status != STATUS_OK)
		goto out_again;
	/* What was written since it was listed went to the others only. */
	HASH_ITER(hh, f->blocks, b, next)
		for (unsigned i = 0; i < REPLICAS; i++)
			if (b->server[i] == s && b->version.epoch == f->epoch &&
			    b->version.n > r->n_before && !(stale_get(&f->stale, b->no) >> i & 1) &&
			    stale_set(&f->stale, b->no, b->no, i) < 0)
				goto out_again;
	file_behind_remove(f, s);
	prove_end(r);
	repair_kick(f, 0);
	return true;

out_again:
	prove_end(r);
	repair_kick(f, LOOK_AGAIN);
	return true;
}

/* False: another replica of the block is stale too; that one comes first. */
static bool except(struct repair *r, uint64_t no)
{
	struct file *f = r->f;
	server_id_t server[REPLICAS];

	if (!file_place(f, no, server))
		return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		if (server[i] != r->server)
			continue;
		if (!(stale_get(&f->stale, no) >> i & 1) && stale_set(&f->stale, no, no, i) < 0)
			return false;
		r->except = mem_resize(r->except, r->excepts + 1, sizeof(*r->except));
		r->except[r->excepts++] = no;
	}
	return true;
}

static void prove_close(struct repair *r)
{
	struct file *f = r->f;
	struct msg m = {.type = MSG_TYPE_close, .dst = r->server};
	uint8_t *bytes = mem_new_array(r->excepts + 1, 8);

	for (unsigned i = 0; i < r->excepts; i++)
		put_u64le(bytes + 8 * i, r->except[i]);
	m.close.file = f->ino;
	m.close.map = file_placement(f, m.dst);
	m.close.epoch = f->epoch;
	m.close.complete = 1;
	m.close.exceptions = (struct span){bytes, r->excepts * 8};
	r->rpc = rpc_start(f->v, &m, on_proven, r, 0);
	mem_free(bytes);
}

/* Both lists are ascending: merged, so that the exceptions are. */
static void prove_compare(struct repair *r)
{
	struct scan *s = r->scan;
	const struct listing *l = &r->listing;
	unsigned i = 0, j = 0, max = r->f->v->config.exceptions_max;
	bool ok = true;

	while (ok && r->excepts <= max && (i < s->n || j < l->n)) {
		uint64_t no = i < s->n ? s->entry[i].no : UINT64_MAX;

		if (j < l->n && (i == s->n || l->list[j].no < no)) {
			/* Known to it alone. */
			ok = version_eq(l->list[j].version, VERSION_NONE) || except(r, l->list[j].no);
			j++;
			continue;
		}
		if (!version_eq(listing_version(l, no), s->entry[i].version))
			ok = except(r, no);
		j += j < l->n && l->list[j].no == no;
		i++;
	}
	if (ok && r->excepts <= max) {
		prove_close(r);
		return;
	}
	if (ok) {
		r->filled = r->server;
		r->fill = r->excepts - max / 2;
	}
	prove_end(r);
	repair_kick(r->f, ok ? 0 : LOOK_AGAIN);
}

static void on_prove_scan(struct scan *s)
{
	prove_compare(s->ctx);
}

static void on_prove_listed(struct listing *l)
{
	struct repair *r = l->ctx;

	r->scan = scan_start(r->f, 0, BLOCK_ATTR, on_prove_scan, r);
	if (r->scan->finished)
		prove_compare(r);
}

static bool on_prove_seal(struct rpc *rpc, const struct msg *m)
{
	struct repair *r = rpc->ctx;
	struct file *f = r->f;

	if (m->type != MSG_TYPE_seal_reply || m->seal_reply.file != f->ino || m->seal_reply.epoch != f->epoch)
		return false;
	if (m->seal_reply.seal > f->epoch) {
		lease_sealed(f, m->seal_reply.seal);
		return true;
	}
	if (m->seal_reply.status != STATUS_OK)
		return false;
	r->rpc = NULL;
	rpc_cancel(rpc);
	/* Blocks that wait for it must be decided by rank: another recovery, with it. */
	if (f->recovery_waits) {
		prove_end(r);
		f->unclean = true;
		give_back(f, LEASE_NONE);
		return true;
	}
	r->n_before = f->n;
	listing_start(&r->listing, f, r->server, on_prove_listed, r);
	return true;
}

static void prove_some(struct repair *r)
{
	struct file *f = r->f;
	struct msg m = {.type = MSG_TYPE_seal};

	for (unsigned k = 0; k < f->behinds && !r->server; k++)
		if (!peer_get(f->v, f->behind[k])->down &&
		    (f->behind[k] != r->filled || r->fill == 0))
			r->server = f->behind[k];
	if (!r->server)
		return;
	m.dst = r->server;
	m.seal.file = f->ino;
	m.seal.map = file_placement(f, m.dst);
	m.seal.epoch = f->epoch;
	r->rpc = rpc_start(f->v, &m, on_prove_seal, r, 0);
}

/* --- one look --- */

/* A stale bit on every block up to the end of time comes from a server that counted for nothing when
 * the file was given back: its whole site is proven again. */
static void spread_runs(struct file *f)
{
	struct stale_run run;
	server_id_t *id;
	unsigned i, n;

	if (!stale_next(&f->stale, 0, &run) || run.first != 0 || run.last != BLOCK_ATTR)
		return;
	i = (unsigned)__builtin_ctz(run.mask);
	id = mem_new_array(f->map->servers, sizeof(*id));
	n = file_servers(f, id, f->map->servers, (int)i);
	stale_clear(&f->stale, 0, BLOCK_ATTR, i);
	while (n-- > 0)
		file_behind_add(f, id[n]);
	mem_free(id);
}

/* Some record can reach no second replica that counts, or one of the two left is silent: without
 * repair it may never be flushed. */
static bool flush_needs_repair(struct file *f)
{
	int enough = f->v->now >= f->settle_since + SETTLE_SILENT ? 1 : 2;
	struct record *r;

	for (r = f->unflushed; r; r = r->unext)
		if (__builtin_popcount(block_stale(f, r->b)) >= enough)
			return true;
	return false;
}

/* Sites that take turns with a file leave it to no holder for long enough. */
static bool in_turn(const struct file *f)
{
	return f->epoch % TURN_EPOCHS == 0 && !f->repair_only && f->v->now < f->granted_at + TURN &&
	       !VOL_BUG(f->v, VOLUME_BUG_REPAIR_YIELDS);
}

nsec_t repair_turn(const struct file *f)
{
	const struct repair *r = f->repair;
	bool due = f->repair_timer.slot && f->repair_timer.due <= f->v->now;

	if (f->lease != LEASE_EXCLUSIVE || !in_turn(f))
		return 0;
	return due || (r && (r->n || r->server || r->queued)) ? f->granted_at + TURN : 0;
}

void repair_soon(struct file *f)
{
	repair_kick(f, f->repair_only || in_turn(f) ? 0 : NSEC_SEC);
}

/* A recall stops repair, unless it is its turn, or the recall could never be obeyed without, or a write. */
static bool may_run(struct file *f)
{
	if (f->lease != LEASE_EXCLUSIVE || !f->map)
		return false;
	if (f->phase == PHASE_SETTLE)
		return flush_needs_repair(f);
	return f->phase == PHASE_IDLE && (!f->recalled || in_turn(f) || space_waits(f));
}

static bool hopeless(const struct repair *r)
{
	const struct volume *v = r->f->v;

	return r->f->repair_only && !VOL_BUG(v, VOLUME_BUG_REPAIRS_ONE) &&
	       (r->failures >= FAILURES_MAX || v->now > r->success_at + SUCCESS_AFTER);
}

static void repair_run(struct file *f)
{
	struct repair *r = f->repair;

	if (!may_run(f))
		return;
	if (!r) {
		r = f->repair = mem_new(sizeof(*r));
		r->f = f;
		r->success_at = f->v->now;
	}
	if (hopeless(r)) {
		give_back(f, LEASE_NONE);
		return;
	}
	repair_take_told(f);
	spread_runs(f);
	if (f->behinds && !r->server)
		prove_some(r);
	if (f->repair != r || !may_run(f))
		return;
	if (copy_some(r) || r->server || r->queued) {
		repair_kick(f, LOOK_AGAIN);
		return;
	}
	r->fill = 0; /* none of these can be copied now */
	if (f->recalled && f->phase == PHASE_IDLE) { /* its turn is over */
		repair_stop(f);
		recall_start(f);
		return;
	}
	if (!stale_empty(&f->stale) || f->behinds) {
		repair_kick(f, LOOK_AGAIN);
		if (!f->repair_only)
			return;
	} else if (move_go(f)) {
		return;
	} else {
		repair_stop(f);
		if (!f->repair_only)
			stale_tell_clean(f);
	}
	/* Held for this alone: done, or nothing can be done now. */
	if (f->repair_only)
		give_back(f, LEASE_NONE);
}

void repair_peer_up(struct volume *v, server_id_t peer UNUSED)
{
	struct file *f;

	DL_FOREACH2(v->held_lru, f, lru_next) {
		lost_forget(f); /* it may have them */
		if (!stale_empty(&f->stale) || f->behinds)
			repair_kick(f, 100 * NSEC_MSEC);
	}
}

/* The server does not hold the file completely: a new disk. Whoever holds the file exclusively makes
 * it whole; if it is only read, the background repairer takes it for that. */
void repair_note_blank(struct file *f, server_id_t server)
{
	file_behind_add(f, server);
	f->wants_repair = true;
	if (f->phase == PHASE_IDLE)
		repair_kick(f, NSEC_SEC);
}

/* A page of the replica fails its checksum: it is stale until it is copied whole. Under a shared
 * lease nothing can be done; the server keeps its own note of it. */
void repair_note_bad(struct file *f, uint64_t no, server_id_t server, uint32_t page)
{
	struct block *b;
	bool stale;

	if (lost_has(f, no, page))
		return;
	vol_log(f->v, "volume.bad_page", "file=%" PRIu64 " block=%" PRIu64 " server=%u", f->ino, no, server);
	if (f->lease != LEASE_EXCLUSIVE || f->phase != PHASE_IDLE)
		return;
	b = block_get(f, no);
	for (unsigned i = 0; i < REPLICAS; i++) {
		stale = block_stale(f, b) >> i & 1;
		if (b->server[i] != server || stale_set(&f->stale, no, no, i) < 0)
			continue;
		b->bad |= (uint8_t)(1u << i);
		b->only_bad |= (uint8_t)(stale ? 0 : 1u << i);
		repair_kick(f, 0);
	}
}
