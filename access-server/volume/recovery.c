/* Recovery: the last holder ended uncleanly, and this grant has a new epoch E (traps A1, A2, A3, A7).
 *
 *   GATHER  SEAL(E) to every core server of the file's three sites, LIST from each that is sealed and
 *           complete. A server counts only then. When no block can lack two of its three, a last
 *           server gets 150 ms; when some do, the others go on without them after 300 ms.
 *   COPY    per block the highest rank among the servers that count; if only one has it (or the ones
 *           that have it do not count together), it is copied whole to another   (recovery_decide.c)
 *   ATTR    the attribute record: size, times, the pending trim
 *   CLOSE   `closed` = E durable on them, except for blocks on which a server is not proven equal, and
 *           for every block below the size that waits, with a record or without
 *
 * Invariants:
 * - seals count per block, never per site;
 * - a winner, once decided in this epoch, is never decided again: if the servers it was decided with
 *   go away before it is closed, the lease is given back unclean and another epoch recovers;
 * - nothing is served before its block is closed on two replicas that count together;
 * - every replica outside the pair is stale (a bit, or its server is in file.behind) until compared;
 * - a block with fewer than two known replicas waits, and while there is one the file is unclean and
 *   does not grow. Above the size there is nothing flushed to wait for: the record has two replicas.
 *   Blocks that wait are named one by one, so a file of very many blocks waits as a whole. */
#include <stdlib.h>

#include "access-server/volume/recovery.h"

#define PATIENCE (150 * NSEC_MSEC)
#define PATIENCE_PARTIAL (300 * NSEC_MSEC)
#define NO_PROGRESS (3 * NSEC_SEC)
#define LIST_MAX 4096
#define ENTRIES_MAX (16u << 20)

struct rec_server *rec_server(struct recovery *r, server_id_t id)
{
	for (unsigned k = 0; k < r->servers; k++)
		if (r->server[k].id == id)
			return &r->server[k];
	return NULL;
}

bool rec_pair(struct file *f, unsigned mask)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		for (unsigned j = i + 1; j < REPLICAS; j++)
			if ((mask >> i & 1) && (mask >> j & 1) &&
			    (map_pair_counts(f->site, i, j) || VOL_BUG(f->v, VOLUME_BUG_SAME_SITE)))
				return true;
	return false;
}

void rec_progress(struct recovery *r)
{
	timer_set(r->f->v, &r->deadline, r->f->v->now + NO_PROGRESS);
}

/* --- GATHER --- */

static bool counts(const struct rec_server *s)
{
	return s->state == REC_READY || s->state == REC_CLOSED;
}

/* The replica sites in which some server does not count (or is not closed). */
static unsigned missing_sites(struct recovery *r, bool closed)
{
	unsigned sites = 0, missing = 0;

	for (unsigned k = 0; k < r->servers; k++)
		if (closed ? r->server[k].state != REC_CLOSED : !counts(&r->server[k])) {
			sites |= r->server[k].sites;
			missing++;
		}
	return missing <= 1 && __builtin_popcount(sites) > 1 ? 1 : sites;
}

/* One answer in each of two sites is taken for a majority of every block. */
bool rec_sites_sealed(struct recovery *r)
{
	unsigned sites = 0;

	if (!VOL_BUG(r->f->v, VOLUME_BUG_SEAL_SITES))
		return false;
	for (unsigned k = 0; k < r->servers; k++)
		if (counts(&r->server[k]))
			sites |= r->server[k].sites;
	return __builtin_popcount(sites) >= 2;
}

static bool attr_has_two(struct recovery *r)
{
	server_id_t server[REPLICAS];
	unsigned mask = 0;

	if (!file_place(r->f, BLOCK_ATTR, server))
		return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct rec_server *s = rec_server(r, server[i]);

		if (s && counts(s))
			mask |= 1u << i;
	}
	return rec_pair(r->f, mask);
}

static bool attr_all_told(struct recovery *r)
{
	server_id_t server[REPLICAS];

	if (!file_place(r->f, BLOCK_ATTR, server))
		return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct rec_server *s = rec_server(r, server[i]);

		if (s && !counts(s) && s->state != REC_BLANK)
			return false;
	}
	return true;
}

void rec_attr_wait(struct recovery *r)
{
	struct file *f = r->f;

	vol_log(f->v, "volume.attr_record",
	        "file=%" PRIu64 ": its newest attribute record is unreadable where it is known: waiting "
	        "for all servers that may have it", f->ino);
	f->attr_wait_all = true;
	recovery_failed(f);
}

/* Fewer servers than two of each block: some blocks would wait for the others. */
static bool partial(struct recovery *r)
{
	return __builtin_popcount(missing_sites(r, false)) > 1 && !rec_sites_sealed(r);
}

/* A CLOSE must name every block that waits, also those that nobody has. In a file with more blocks than
 * it has room for none is served without the servers that are missing. */
static bool too_large(struct recovery *r, uint64_t size)
{
	struct file *f = r->f;
	uint64_t blocks = DIV_UP(MAX(size, f->size), file_block_bytes(f));

	for (unsigned k = 0; k < r->servers; k++) {
		const struct rec_server *s = &r->server[k];

		for (unsigned i = s->n; i > 0 && counts(s); i--)
			if (s->entry[i - 1].no != BLOCK_ATTR) {
				blocks = MAX(blocks, s->entry[i - 1].no + 1);
				break;
			}
	}
	return blocks > f->v->config.exceptions_max / 2;
}

static void consider(struct recovery *r)
{
	struct volume *v = r->f->v;
	bool all = true;

	if (r->phase != REC_GATHER)
		return;
	for (unsigned k = 0; k < r->servers; k++)
		all = all && (counts(&r->server[k]) || r->server[k].state == REC_BLANK);
	if ((!attr_has_two(r) && !rec_sites_sealed(r)) || (r->f->attr_wait_all && !attr_all_told(r)))
		return;
	if (all) {
		timer_stop(v, &r->patience);
		rec_decide(r);
	} else if (__builtin_popcount(missing_sites(r, false)) <= 1) {
		timer_set_sooner(v, &r->patience, v->now + PATIENCE);
	} else if (!r->patience.slot && !r->f->recover_whole && !too_large(r, 0)) {
		timer_set(v, &r->patience, v->now + PATIENCE_PARTIAL);
	}
}

static void list_next(struct rec_server *s, uint64_t from);

static bool on_list(struct rpc *rpc, const struct msg *m)
{
	struct rec_server *s = rpc->ctx;
	struct file *f = s->r->f;
	const struct msg_list_reply *l = &m->list_reply;

	if (m->type != MSG_TYPE_list_reply || l->file != f->ino)
		return false;
	if (l->seal > f->epoch) {
		lease_sealed(f, l->seal);
		return true;
	}
	if (l->status != STATUS_OK && l->status != STATUS_UNKNOWN)
		return false;
	s->rpc = NULL;
	rpc_cancel(rpc);
	if (l->status == STATUS_UNKNOWN || s->n > ENTRIES_MAX) {
		s->state = REC_BLANK;
		consider(s->r);
		return true;
	}
	for (uint32_t at = 0; at + LIST_ENTRY_BYTES <= l->entries.len; at += LIST_ENTRY_BYTES) {
		const uint8_t *e = l->entries.p + at;

		if (s->n == s->capacity) {
			s->capacity = s->capacity ? 2 * s->capacity : 64;
			s->entry = mem_resize(s->entry, s->capacity, sizeof(*s->entry));
		}
		s->entry[s->n++] = (struct rec_entry){
			get_u64le(e), {get_u64le(e + 24), {get_u64le(e + 8), get_u64le(e + 16)}}, e[32] & 1,
			get_u32le(e + 33)};
	}
	if (l->more) {
		list_next(s, l->next);
		return true;
	}
	s->closed = l->closed;
	s->state = REC_READY;
	consider(s->r);
	return true;
}

static void list_next(struct rec_server *s, uint64_t from)
{
	struct file *f = s->r->f;
	struct msg m = {.type = MSG_TYPE_list, .dst = s->id};

	s->state = REC_LISTING;
	m.list.file = f->ino;
	m.list.map = file_placement(f, m.dst);
	m.list.epoch = f->epoch;
	m.list.first = from;
	m.list.last = BLOCK_ATTR;
	m.list.max = LIST_MAX;
	s->rpc = rpc_start(f->v, &m, on_list, s, 0);
}

static bool on_seal(struct rpc *rpc, const struct msg *m)
{
	struct rec_server *s = rpc->ctx;
	struct file *f = s->r->f;
	const struct msg_seal_reply *r = &m->seal_reply;

	if (m->type != MSG_TYPE_seal_reply || r->file != f->ino || r->epoch != f->epoch)
		return false;
	if (r->seal > f->epoch) {
		vol_log(f->v, "volume.seal",
			"file=%" PRIu64 " epoch=%" PRIu64 " server=%u is sealed at %" PRIu64,
			f->ino, f->epoch, m->src, r->seal);
		lease_sealed(f, r->seal);
		return true;
	}
	if (r->status != STATUS_OK)
		return false;
	s->rpc = NULL;
	rpc_cancel(rpc);
	if (r->complete) {
		list_next(s, 0);
		return true;
	}
	s->state = REC_BLANK;
	consider(s->r);
	return true;
}

static void seal_send(struct rec_server *s)
{
	struct file *f = s->r->f;
	struct msg m = {.type = MSG_TYPE_seal, .dst = s->id};

	m.seal.file = f->ino;
	m.seal.map = file_placement(f, m.dst);
	m.seal.epoch = f->epoch;
	s->rpc = rpc_start(f->v, &m, on_seal, s, 0);
}

/* --- ATTR, and the end --- */

/* What recovery must cut off: a pending trim, and everything beyond the size. */
static void zero_block(struct file *f, const struct rec_block *rb, const struct attr_record *a)
{
	uint64_t bytes = file_block_bytes(f), start = rb->no * bytes, from = start + bytes;
	struct block *b = block_find(f, rb->no);

	if (a->trim_from < from && version_cmp(rb->winner.version, a->trim_at) < 0)
		from = MAX(a->trim_from, start);
	if (f->size < from)
		from = MAX(f->size, start);
	if (from % PAGE_BYTES && lost_has(f, rb->no, (uint32_t)(from - start) / PAGE_BYTES))
		from = ALIGN_UP(from, PAGE_BYTES); /* neither can it be written in part, nor be read */
	if (from < start + bytes && b)
		writer_add(f, b, WRITE_ZERO, (uint32_t)(from - start),
			   (uint32_t)(start + bytes - from), (struct slice){0}, 0);
}

static void take_over(struct recovery *r, const struct attr_record *a)
{
	struct file *f = r->f;
	struct rec_block *rb, *next;

	for (unsigned k = 0; k < r->servers; k++)
		if (r->server[k].state != REC_CLOSED)
			file_behind_add(f, r->server[k].id);
	HASH_ITER(hh, r->blocks, rb, next)
		for (unsigned i = 0; !rb->waits && i < REPLICAS; i++)
			if (!(rb->good >> i & 1) && !file_behind(f, rb->server[i]) &&
			    stale_set(&f->stale, rb->no, rb->no, i) < 0)
				file_behind_add(f, rb->server[i]);
	f->recovery = NULL;
	f->recover_whole = f->attr_wait_all = false;
	f->unclean = f->recovery_waits =
		f->refuseds > 0 ||
		(__builtin_popcount(missing_sites(r, true)) > 1 && !rec_sites_sealed(r));
	f->size = a->size;
	f->pages = 0;
	f->atime = a->atime;
	f->mtime = a->mtime;
	f->ctime = a->ctime;
	lease_granted(f, LEASE_EXCLUSIVE, false);
	HASH_ITER(hh, r->blocks, rb, next) {
		if (rb->no != BLOCK_ATTR)
			f->pages += rb->pages;
		if (!rb->waits)
			block_learnt(block_get(f, rb->no), rb->winner.version, rb->pages);
	}
	f->all_known = !f->recovery_waits;
	HASH_ITER(hh, r->blocks, rb, next)
	if (!rb->waits && rb->no != BLOCK_ATTR && !rb->holes &&
	    !version_eq(rb->winner.version, VERSION_NONE))
		zero_block(f, rb, a);
	/* While blocks wait the trim stays pending, for the recovery that decides them. */
	if (a->trim_from != UINT64_MAX) {
		f->trim_from = a->trim_from;
		f->trim_at = a->trim_at;
		f->trim_n = f->n;
	}
	if (r->attr_lost)
		attr_dirty(f, true);
	f->v->stats.recoveries++;
	if (f->behinds || !stale_empty(&f->stale))
		repair_kick(f, f->repair_only ? 0 : NSEC_SEC);
}

static void finish(struct recovery *r)
{
	struct file *f = r->f;

	take_over(r, &r->attr);
	recovery_free(r);
	truncate_progress(f);
	if (f->repair_only)
		repair_kick(f, 0);
	file_run(f);
}

static void attr_ask(struct recovery *r);
static void rec_close(struct recovery *r);

/* The newest record is lost; `r->attr` is of version `at`. What was written since tells at least how far
 * the file went: nothing of that may be cut off. */
static void attr_found(struct recovery *r, struct version at)
{
	struct file *f = r->f;
	struct rec_block *rb, *next;

	HASH_ITER(hh, r->blocks, rb, next)
		if (rb->no != BLOCK_ATTR && !rb->waits && rb->pages > 0 &&
		    version_cmp(rb->winner.version, at) > 0)
			r->attr.size = MAX(r->attr.size, (rb->no + 1) * file_block_bytes(f));
	vol_log(f->v, "volume.attr_record",
	        "file=%" PRIu64 ": no replica can read its newest attribute record; going on with %s, size %"
	        PRIu64 ": what changed size and times last is lost", f->ino,
	        version_eq(at, VERSION_NONE) ? "the catalog's" : "an older one", r->attr.size);
}

static void attr_of_catalog(struct recovery *r)
{
	struct file *f = r->f;

	r->attr = (struct attr_record){f->size, f->atime, f->mtime, f->ctime, UINT64_MAX, VERSION_NONE};
}

static bool on_attr(struct rpc *rpc, const struct msg *m)
{
	struct recovery *r = rpc->ctx;
	struct file *f = r->f;
	const struct msg_read_reply *reply = &m->read_reply;
	if (m->type != MSG_TYPE_read_reply || reply->file != f->ino || reply->block != BLOCK_ATTR ||
	    reply->status == STATUS_FENCED || reply->status == STATUS_BUSY)
		return false;
	if (reply->seal > f->epoch) {
		lease_sealed(f, reply->seal);
		return true;
	}
	r->attr_rpc = NULL;
	rpc_cancel(rpc);
	if (reply->status != STATUS_OK || m->payload.len != PAGE_BYTES ||
	    !read_reply_good(f, reply, m->payload) ||
	    attr_record_decode(slice_data(m->payload), PAGE_BYTES, &r->attr) < 0) {
		vol_log(f->v, "volume.attr_record",
			"file=%" PRIu64 " server=%u: attribute record unreadable", f->ino, m->src);
		attr_ask(r);
		return true;
	}
	if (r->attr_lost || r->attr_doubt)
		attr_found(r, reply->version);
	rec_close(r);
	return true;
}

static void attr_ask(struct recovery *r)
{
	struct file *f = r->f;
	uint64_t no = BLOCK_ATTR;
	struct rec_block *rb;
	struct msg m = {.type = MSG_TYPE_read};
	unsigned i = 0;

	HASH_FIND(hh, r->blocks, &no, sizeof(no), rb);
	/* Never written: the catalog's word, from the last release, is the truth. */
	if (version_eq(rb->winner.version, VERSION_NONE)) {
		attr_of_catalog(r);
		rec_close(r);
		return;
	}
	/* The others have older ones, if any: only when no newest one can be read. */
	r->attr_lost = (rb->good & ~r->attr_tried) == 0;
	if (r->attr_lost && !f->attr_wait_all && rb->known != (1u << REPLICAS) - 1) {
		rec_attr_wait(r);
		return;
	}
	while (i < REPLICAS && (!((r->attr_lost ? rb->known | rb->unreadable : rb->good) >> i & 1) ||
	                        (r->attr_tried >> i & 1)))
		i++;
	if (i == REPLICAS) {
		attr_of_catalog(r);
		attr_found(r, VERSION_NONE);
		rec_close(r);
		return;
	}
	r->attr_tried |= 1u << i;
	m.dst = rb->server[i];
	m.read.file = f->ino;
	m.read.map = file_placement(f, m.dst);
	m.read.epoch = f->epoch;
	m.read.block = BLOCK_ATTR;
	m.read.block_shift = f->attr.block_shift;
	m.read.len = PAGE_BYTES;
	m.read.min = r->attr_lost ? VERSION_NONE : rb->winner.version;
	r->attr_rpc = rpc_start(f->v, &m, on_attr, r, 0);
}

/* --- CLOSE --- */

/* Is every decided block closed on two that count together? Servers that did not answer yet must all
 * be in one site, so that this holds for blocks without any record, too. */
static bool closed_enough(struct recovery *r)
{
	struct rec_block *rb, *next;

	if (__builtin_popcount(missing_sites(r, true)) > 1)
		return false;
	HASH_ITER(hh, r->blocks, rb, next) {
		unsigned mask = 0;

		for (unsigned i = 0; i < REPLICAS; i++) {
			struct rec_server *s = rec_server(r, rb->server[i]);

			if ((rb->good >> i & 1) && s && s->state == REC_CLOSED)
				mask |= 1u << i;
		}
		if (!rb->waits && !rec_pair(r->f, mask))
			return false;
	}
	return true;
}

static void closed_look(struct recovery *r, bool patient)
{
	bool all = true;

	for (unsigned k = 0; k < r->servers; k++)
		all = all && r->server[k].state != REC_READY;
	if (!all && (patient || !closed_enough(r)))
		return;
	timer_stop(r->f->v, &r->patience);
	for (unsigned k = 0; k < r->servers; k++) {
		rpc_cancel(r->server[k].rpc);
		r->server[k].rpc = NULL;
	}
	finish(r);
}

static bool on_closed(struct rpc *rpc, const struct msg *m)
{
	struct rec_server *s = rpc->ctx;
	struct recovery *r = s->r;
	const struct msg_close_reply *reply = &m->close_reply;

	if (m->type != MSG_TYPE_close_reply || reply->file != r->f->ino || reply->epoch != r->f->epoch)
		return false;
	if (reply->seal > r->f->epoch) {
		lease_sealed(r->f, reply->seal);
		return true;
	}
	if (reply->status != STATUS_OK)
		return false;
	s->rpc = NULL;
	rpc_cancel(rpc);
	s->state = REC_CLOSED;
	rec_progress(r);
	timer_set_sooner(r->f->v, &r->patience, r->f->v->now + PATIENCE);
	closed_look(r, true);
	return true;
}

static int by_number(const void *a, const void *b)
{
	uint64_t x = get_u64le(a), y = get_u64le(b);

	return x < y ? -1 : x > y;
}

/* Blocks of the server that wait and of which nobody showed a record: closing them would rule out
 * what the servers hold that are not here. Appended to *bytes after `n`; returns how many. */
static uint32_t waiting_blocks(struct recovery *r, server_id_t id, uint8_t **bytes, uint32_t n)
{
	struct file *f = r->f;
	uint32_t added = 0;

	if (!partial(r))
		return 0;
	for (uint64_t no = 0; no < DIV_UP(r->attr.size, file_block_bytes(f)); no++) {
		server_id_t server[REPLICAS];
		struct rec_block *rb;
		unsigned known = 0, mine = 0;

		HASH_FIND(hh, r->blocks, &no, sizeof(no), rb);
		if (rb || !file_place(f, no, server))
			continue;
		for (unsigned i = 0; i < REPLICAS; i++) {
			struct rec_server *s = rec_server(r, server[i]);

			known |= s && counts(s) ? 1u << i : 0;
			mine |= server[i] == id;
		}
		if (!mine || rec_pair(f, known))
			continue;
		*bytes = mem_resize(*bytes, n + added + 1, 8);
		put_u64le(*bytes + 8 * (n + added++), no);
	}
	return added;
}

static void close_send(struct recovery *r, struct rec_server *s)
{
	struct file *f = r->f;
	struct msg m = {.type = MSG_TYPE_close, .dst = s->id};
	uint8_t *bytes = mem_new_array(HASH_COUNT(r->blocks) + 1, 8);
	struct rec_block *rb, *next;
	uint32_t n = 0;

	HASH_ITER(hh, r->blocks, rb, next)
		for (unsigned i = 0; i < REPLICAS; i++)
			if (rb->server[i] == s->id && (rb->waits || !(rb->good >> i & 1)))
				put_u64le(bytes + 8 * n++, rb->no);
	n += waiting_blocks(r, s->id, &bytes, n);
	qsort(bytes, n, 8, by_number);
	m.close.file = f->ino;
	m.close.map = file_placement(f, m.dst);
	m.close.epoch = f->epoch;
	m.close.exceptions = (struct span){bytes, n * 8};
	s->rpc = rpc_start(f->v, &m, on_closed, s, 0);
	mem_free(bytes);
}

static void rec_close(struct recovery *r)
{
	if (partial(r) && too_large(r, r->attr.size)) {
		r->f->recover_whole = true;
		recovery_failed(r->f);
		return;
	}
	r->phase = REC_CLOSE;
	for (unsigned k = 0; k < r->servers; k++) {
		struct rec_server *s = &r->server[k];

		if (s->state != REC_READY)
			continue;
		if (VOL_BUG(r->f->v, VOLUME_BUG_NO_CLOSE))
			s->state = REC_CLOSED;
		else
			close_send(r, s);
	}
	closed_look(r, true);
}

void rec_copied(struct recovery *r)
{
	r->phase = REC_ATTR;
	attr_ask(r);
}

/* --- life --- */

static void on_patience(struct volume *v UNUSED, struct vol_timer *t)
{
	struct recovery *r = container_of(t, struct recovery, patience);

	if (r->phase == REC_GATHER)
		rec_decide(r);
	else if (r->phase == REC_CLOSE)
		closed_look(r, false);
}

static void on_deadline(struct volume *v UNUSED, struct vol_timer *t)
{
	struct recovery *r = container_of(t, struct recovery, deadline);

	/* Seals may take as long as they need: nothing is decided yet. */
	if (r->phase == REC_GATHER)
		rec_progress(r);
	else
		recovery_failed(r->f);
}

void recovery_start(struct file *f)
{
	struct volume *v = f->v;
	struct recovery *r;
	server_id_t *id;

	if (!f->map) { /* file_run() comes here again when it is there */
		return;
	}
	CHECK(!f->recovery && !f->records);
	f->refuseds = 0;
	r = f->recovery = mem_new(sizeof(*r));
	r->f = f;
	r->patience.fire = on_patience;
	r->deadline.fire = on_deadline;
	id = mem_new_array(f->map->servers, sizeof(*id));
	r->servers = file_servers(f, id, f->map->servers, -1);
	r->server = mem_new_array(r->servers, sizeof(*r->server));
	for (unsigned k = 0; k < r->servers; k++) {
		struct rec_server *s = &r->server[k];

		s->r = r;
		s->id = id[k];
		for (unsigned i = 0; i < REPLICAS; i++)
			if (map_find_server(f->map, s->id)->site == f->site[i])
				s->sites |= 1u << i;
		seal_send(s);
	}
	mem_free(id);
	timer_set(v, &r->deadline, v->now + NO_PROGRESS);
}

void recovery_free(struct recovery *r)
{
	struct rec_block *rb, *next;

	timer_stop(r->f->v, &r->patience);
	timer_stop(r->f->v, &r->deadline);
	rpc_cancel(r->attr_rpc);
	while (r->copies) {
		struct copy *c = r->copies;

		DL_DELETE(r->copies, c);
		copy_free(c);
	}
	for (unsigned k = 0; k < r->servers; k++) {
		rpc_cancel(r->server[k].rpc);
		mem_free(r->server[k].entry);
	}
	HASH_ITER(hh, r->blocks, rb, next) {
		HASH_DEL(r->blocks, rb);
		mem_free(rb);
	}
	mem_free(r->server);
	mem_free(r);
}

void recovery_abort(struct file *f)
{
	struct recovery *r = f->recovery;

	f->recovery = NULL;
	if (r)
		recovery_free(r);
}

static bool is_refused(const struct file *f, uint64_t no)
{
	for (unsigned i = 0; i < f->refuseds; i++)
		if (f->refused[i] == no)
			return true;
	return false;
}

/* Fewer than two of the block's servers took part: it waits for another recovery with them. */
bool recovery_block_waits(struct file *f, uint64_t no)
{
	server_id_t server[REPLICAS];
	unsigned mask = 0;

	if (!f->recovery_waits || !file_place(f, no, server))
		return false;
	for (unsigned i = 0; i < REPLICAS; i++)
		if (!file_behind(f, server[i]))
			mask |= 1u << i;
	return !rec_pair(f, mask) || is_refused(f, no);
}

bool recovery_refuses(const struct file *f, uint64_t off, uint64_t end)
{
	uint64_t bytes = file_block_bytes(f);

	for (unsigned i = 0; i < f->refuseds && f->recovery_waits; i++)
		if (f->refused[i] * bytes < end && (f->refused[i] + 1) * bytes > off)
			return true;
	return false;
}

void recovery_refuse(struct file *f, uint64_t no)
{
	f->refused = mem_resize(f->refused, f->refuseds + 1, sizeof(*f->refused));
	f->refused[f->refuseds++] = no;
	vol_log(f->v, "volume.refused",
	        "file=%" PRIu64 " block=%" PRIu64 ": its newest version is unreadable, and a replica that "
	        "could tell whether it counts is missing: I/O there fails until it is back", f->ino, no);
}
