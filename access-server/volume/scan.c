/* Which blocks of [first, last] exist, and with which version. Asks every server of the file's three
 * sites and is content as soon as each block of the range is spoken for by a clean replica: one site
 * all of whose servers answered and that has no stale bit there, or two sites that answered (no block
 * is stale in both). Nothing is inferred from a server that did not answer. */
#include <stdlib.h>

#include "access-server/volume/parts.h"

#define LIST_MAX 4096

struct scan_server {
	struct scan *s;
	server_id_t id;
	unsigned sites;  /* bits: replica sites it is in */
	uint64_t from;
	bool answered;
	unsigned lagged; /* bits: of `sites`, those with a stale bit in the range when it answered */
	struct rpc *rpc;
	struct vol_timer timer;
};

unsigned file_servers(struct file *f, server_id_t *out, unsigned max, int site_index)
{
	unsigned n = 0;

	for (unsigned k = 0; k < f->map->servers && n < max; k++)
		for (unsigned i = 0; i < REPLICAS; i++)
			if ((site_index < 0 || (int)i == site_index) && f->map->server[k].site == f->site[i]) {
				out[n++] = f->map->server[k].id;
				break;
			}
	return n;
}

static void entry_add(struct scan *s, struct scan_entry e)
{
	if (s->n == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 64;
		s->entry = mem_resize(s->entry, s->capacity, sizeof(*s->entry));
	}
	s->entry[s->n++] = e;
}

static int by_no(const void *a, const void *b)
{
	const struct scan_entry *x = a, *y = b;

	return x->no < y->no ? -1 : x->no > y->no;
}

/* One entry for each block, the newest; what this holder knows itself is the truth. */
static void merge_entries(struct scan *s)
{
	struct file *f = s->f;
	struct block *b, *next;
	unsigned n = 0;

	HASH_ITER(hh, f->blocks, b, next)
		if (b->no >= s->first && b->no <= s->last && b->known && !version_eq(b->version, VERSION_NONE))
			entry_add(s, (struct scan_entry){b->no, false, b->pages, b->version});
	if (s->n == 0)
		return;
	qsort(s->entry, s->n, sizeof(*s->entry), by_no);
	for (unsigned i = 0; i < s->n; i++) {
		if (n == 0 || s->entry[n - 1].no != s->entry[i].no) {
			s->entry[n++] = s->entry[i];
			continue;
		}
		if (version_cmp(s->entry[i].version, s->entry[n - 1].version) >= 0) {
			bool holes = s->entry[i].holes && s->entry[n - 1].holes;

			s->entry[n - 1] = s->entry[i];
			s->entry[n - 1].holes = holes;
		}
	}
	s->n = n;
}

static bool site_clean(struct scan *s, unsigned i)
{
	struct stale_run run;
	uint64_t from = s->first;

	while (stale_next(&s->f->stale, from, &run) && run.first <= s->last) {
		if (run.mask >> i & 1)
			return false;
		if (run.last >= s->last)
			break;
		from = run.last + 1;
	}
	return true;
}

static bool enough(struct scan *s)
{
	unsigned full = 0;

	for (unsigned i = 0; i < REPLICAS; i++) {
		bool all = true, any = false, lagged = false;

		for (unsigned k = 0; k < s->servers; k++)
			if (s->server[k].sites >> i & 1) {
				any = true;
				all = all && s->server[k].answered;
				lagged = lagged || (s->server[k].lagged >> i & 1);
			}
		if (!any || !all)
			continue;
		full++;
		/* A bit that was cleared since the answer does not make the answer complete. */
		if (!lagged && site_clean(s, i))
			return true;
	}
	return full >= 2;
}

static void quiet(struct scan *s)
{
	for (unsigned k = 0; k < s->servers; k++) {
		timer_stop(s->f->v, &s->server[k].timer);
		rpc_cancel(s->server[k].rpc);
		s->server[k].rpc = NULL;
	}
}

static void take_entries(struct scan_server *ss, const struct msg_list_reply *r)
{
	struct scan *s = ss->s;
	struct file *f = s->f;

	for (uint32_t at = 0; at + LIST_ENTRY_BYTES <= r->entries.len; at += LIST_ENTRY_BYTES) {
		const uint8_t *e = r->entries.p + at;
		uint64_t no = get_u64le(e);
		server_id_t server[REPLICAS];
		uint8_t mask;

		if (no < s->first || no > s->last || !file_place(f, no, server))
			continue;
		mask = stale_mask(f, no, server);
		for (unsigned i = 0; i < REPLICAS; i++)
			if (server[i] == ss->id && !(mask >> i & 1))
				entry_add(s, (struct scan_entry){
						     no, e[32] & 1, get_u32le(e + 33),
						     {get_u64le(e + 8), get_u64le(e + 16)}});
	}
}

static void server_ask(struct scan_server *ss);

static bool on_list(struct rpc *rpc, const struct msg *m)
{
	struct scan_server *ss = rpc->ctx;
	struct scan *s = ss->s;
	struct file *f = s->f;
	const struct msg_list_reply *r = &m->list_reply;

	if (m->type != MSG_TYPE_list_reply || r->file != f->ino)
		return false;
	if (r->seal > f->epoch) {
		lease_sealed(f, r->seal);
		return true;
	}
	/* That one counts for nothing may have turned out since it was asked: it is asked again. */
	if (r->status != STATUS_OK || (file_behind(f, ss->id) && !VOL_BUG(f->v, VOLUME_BUG_LIST_BEHIND)))
		return false;
	ss->rpc = NULL;
	rpc_cancel(rpc);
	take_entries(ss, r);
	for (unsigned i = 0; i < REPLICAS; i++)
		if ((ss->sites >> i & 1) && !site_clean(s, i))
			ss->lagged |= 1u << i;
	if (r->more && r->next > ss->from && r->next <= s->last) {
		ss->from = r->next;
		server_ask(ss);
		return true;
	}
	ss->answered = true;
	if (!enough(s))
		return true;
	quiet(s);
	merge_entries(s);
	s->finished = true;
	s->done(s);
	return true;
}

static void server_ask(struct scan_server *ss)
{
	struct file *f = ss->s->f;
	struct msg m = {.type = MSG_TYPE_list, .dst = ss->id};

	m.list.file = f->ino;
	m.list.map = file_placement(f, m.dst);
	m.list.epoch = f->epoch;
	m.list.first = ss->from;
	m.list.last = ss->s->last;
	m.list.max = LIST_MAX;
	ss->rpc = rpc_start(f->v, &m, on_list, ss, 0);
}

/* The result may be there at once (finished); done() is then not called. */
struct scan *scan_start(struct file *f, uint64_t first, uint64_t last, void (*done)(struct scan *s), void *ctx)
{
	struct scan *s = mem_new(sizeof(*s));
	unsigned n = f->map->servers;
	server_id_t *id;

	s->f = f;
	s->first = first;
	s->last = last;
	s->done = done;
	s->ctx = ctx;
	DL_APPEND(f->scans, s);
	if (f->all_known) {
		merge_entries(s);
		s->finished = true;
		return s;
	}
	id = mem_new_array(n, sizeof(*id));
	s->servers = file_servers(f, id, n, -1);
	s->server = mem_new_array(s->servers, sizeof(*s->server));
	for (unsigned k = 0; k < s->servers; k++) {
		const struct map_server *server = map_find_server(f->map, id[k]);

		s->server[k].s = s;
		s->server[k].id = id[k];
		s->server[k].from = first;
		for (unsigned i = 0; i < REPLICAS; i++)
			if (server->site == f->site[i])
				s->server[k].sites |= 1u << i;
		server_ask(&s->server[k]);
	}
	mem_free(id);
	return s;
}

void scan_free(struct scan *s)
{
	quiet(s);
	DL_DELETE(s->f->scans, s);
	mem_free(s->server);
	mem_free(s->entry);
	mem_free(s);
}

struct block *scan_block(struct file *f, const struct scan_entry *e)
{
	struct block *b = block_get(f, e->no);

	block_learnt(b, e->version, e->pages);
	return b;
}

/* --- operations that begin with a scan --- */

void scan_op_end(struct scan_op *op)
{
	timer_stop(op->f->v, &op->timer);
	rpc_cancel(op->rpc);
	if (op->scan)
		scan_free(op->scan);
	DL_DELETE(op->f->scan_ops, op);
	if (op->req)
		rs(op->req)->op = NULL;
	mem_free(op);
}

static void op_run(struct scan_op *op)
{
	struct file *f = op->f;
	struct vol_req *req = op->req;
	enum need need = op_need(f, req);

	if (f->epoch == op->epoch && file_lease_good(f, need == NEED_SHARED ? LEASE_SHARED : LEASE_EXCLUSIVE)) {
		op->run(op);
	} else {
		scan_op_end(op);
		file_requeue(f, req);
	}
	file_run(f);
	recall_step(f);
	file_put_if_unused(f);
}

static void on_scanned(struct scan *s)
{
	op_run(s->ctx);
}

void scan_op_start(struct file *f, struct vol_req *req, uint64_t first, uint64_t last,
		   void (*run)(struct scan_op *op))
{
	struct scan_op *op = mem_new(sizeof(*op));

	op->f = f;
	op->req = req;
	op->epoch = f->epoch;
	op->run = run;
	rs(req)->op = op;
	DL_APPEND(f->scan_ops, op);
	op->scan = scan_start(f, first, last, on_scanned, op);
	if (op->scan->finished)
		op->run(op);
}

void scans_abort(struct file *f)
{
	while (f->scan_ops) {
		struct vol_req *req = f->scan_ops->req;

		scan_op_end(f->scan_ops);
		file_requeue(f, req);
	}
}

bool scan_op_interrupt(struct file *f, struct vol_req *req)
{
	struct scan_op *op;

	DL_FOREACH(f->scan_ops, op)
		if (op->req == req) {
			scan_op_end(op);
			rs(req)->flags |= REQ_INTERRUPTED;
			vol_complete(f->v, req, -EINTR);
			recall_step(f);
			return true;
		}
	return false;
}
