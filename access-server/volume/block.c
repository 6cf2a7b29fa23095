/* Blocks of a file held here: where they are, which version they have, and learning it.
 *
 * Invariants:
 * - a block without records is settled: every replica without a stale bit has `version`; only such
 *   a block may be forgotten (LRU), since a LIST of any clean replica brings its version back;
 * - while something is being learnt or scanned in a file none of its blocks is forgotten, so a late
 *   answer never replaces newer knowledge. */
#include "access-server/volume/parts.h"

#define LEARN_AHEAD 64
#define LEARNS_MAX 16

struct learn {
	struct learn *prev, *next;
	struct file *f;
	uint64_t no;           /* the block somebody waits for */
	unsigned tried;        /* replicas that could not say, as bits */
	unsigned asking;       /* replica; REPLICAS: none */
	struct rpc *rpc;
	struct vol_timer timer; /* when to try the next replica */
};

bool file_place(struct file *f, uint64_t no, server_id_t out[REPLICAS])
{
	return f->map && map_place(f->map, f->site, f->ino, no, out) == 0;
}

uint64_t file_placement(const struct file *f, server_id_t s)
{
	const struct map_server *server = f->map ? map_find_server(f->map, s) : NULL;
	uint64_t id;

	if (fill_placement(f, s, &id))
		return id;
	for (unsigned i = 0; server && i < REPLICAS; i++)
		if (f->site[i] == server->site)
			return placement_id(f->attr.map, f->moved[i]);
	return placement_id(f->attr.map, 0);
}

struct block *block_find(struct file *f, uint64_t no)
{
	struct block *b;

	HASH_FIND(hh, f->blocks, &no, sizeof(no), b);
	return b;
}

/* Called between events only: nobody holds a block then. */
void blocks_evict(struct volume *v)
{
	struct block *b = v->clean_lru;

	while (v->clean_blocks > BLOCKS_CLEAN_MAX && b) {
		struct block *next = b->next;

		if (!b->f->learns && !b->f->scans && !b->retain && !b->f->repair) {
			b->f->all_known = false;
			block_drop(b);
		}
		b = next;
	}
}

static void on_block_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	block_timer(container_of(t, struct block, timer));
}

struct block *block_get(struct file *f, uint64_t no)
{
	struct block *b = block_find(f, no);
	struct volume *v = f->v;

	if (b)
		return b;
	b = mem_new(sizeof(*b));
	b->f = f;
	b->no = no;
	b->timer.fire = on_block_timer;
	CHECK(file_place(f, no, b->server));
	HASH_ADD(hh, f->blocks, no, sizeof(no), b);
	DL_APPEND(v->clean_lru, b);
	v->clean_blocks++;
	return b;
}

void block_clean(struct block *b)
{
	struct volume *v = b->f->v;

	CHECK(!b->records);
	block_gathered(b);
	timer_stop(v, &b->timer);
	DL_DELETE(v->dirty, b);
	DL_APPEND(v->clean_lru, b);
	v->clean_blocks++;
}

void block_drop(struct block *b)
{
	struct volume *v = b->f->v;

	CHECK(!b->records);
	timer_stop(v, &b->timer);
	DL_DELETE(v->clean_lru, b);
	v->clean_blocks--;
	HASH_DEL(b->f->blocks, b);
	mem_free(b);
}

void blocks_drop(struct file *f)
{
	struct block *b, *next;

	HASH_ITER(hh, f->blocks, b, next)
		block_drop(b);
	f->all_known = false;
}

/* --- which replicas lag --- */

bool file_behind(const struct file *f, server_id_t s)
{
	for (unsigned i = 0; i < f->behinds; i++)
		if (f->behind[i] == s)
			return true;
	return false;
}

void file_behind_add(struct file *f, server_id_t s)
{
	if (file_behind(f, s))
		return;
	f->behind = mem_resize(f->behind, f->behinds + 1, sizeof(*f->behind));
	f->behind[f->behinds++] = s;
}

void file_behind_remove(struct file *f, server_id_t s)
{
	for (unsigned i = 0; i < f->behinds; i++)
		if (f->behind[i] == s) {
			f->behind[i] = f->behind[--f->behinds];
			return;
		}
}

uint8_t stale_mask(struct file *f, uint64_t no, const server_id_t server[REPLICAS])
{
	uint8_t mask = stale_get(&f->stale, no);

	for (unsigned i = 0; f->behinds && i < REPLICAS; i++)
		if (file_behind(f, server[i]))
			mask |= (uint8_t)(1u << i);
	return mask;
}

uint8_t block_stale(struct file *f, const struct block *b)
{
	return stale_mask(f, b->no, b->server);
}

/* A server known to be down comes last; otherwise our own site first, then by round trip. */
static nsec_t distance(struct file *f, unsigned i, server_id_t s)
{
	struct volume *v = f->v;
	nsec_t rtt = peer_rtt(v, s);

	if (peer_unwell(v, s))
		return NSEC_NEVER;
	if (rtt == 0)
		rtt = f->site[i] == v->config.site ? 1 : NSEC_SEC;
	return rtt;
}

unsigned replicas_by_nearness(struct file *f, uint64_t no, unsigned order[REPLICAS],
                              server_id_t server[REPLICAS])
{
	unsigned n = 0;
	uint8_t mask;

	if (!file_place(f, no, server))
		return 0;
	mask = stale_mask(f, no, server);
	for (unsigned i = 0; i < REPLICAS; i++) {
		unsigned at = n;

		if (mask >> i & 1)
			continue;
		while (at > 0 && distance(f, order[at - 1], server[order[at - 1]]) >
				     distance(f, i, server[i])) {
			order[at] = order[at - 1];
			at--;
		}
		order[at] = i;
		n++;
	}
	return n;
}

/* --- learning versions of a file granted clean --- */

static void learn_next(struct learn *l);

static void learn_end(struct learn *l)
{
	struct file *f = l->f;

	timer_stop(f->v, &l->timer);
	rpc_cancel(l->rpc);
	DL_DELETE(f->learns, l);
	mem_free(l);
}

void block_learnt(struct block *b, struct version version, uint32_t pages)
{
	if (b->known)
		return;
	b->known = true;
	b->version = b->freed = b->pages_at = version;
	b->pages = pages;
}

/* Takes what replica server `s` said of [first, last]: also of blocks nobody waits for yet, as far
 * as `s` holds a clean replica of them. */
static void take_list(struct file *f, server_id_t s, uint64_t first, uint64_t last,
                      const struct msg_list_reply *r)
{
	uint32_t at = 0;

	for (uint64_t no = first;; no++) {
		const uint8_t *e = r->entries.p + at;
		struct version version = VERSION_NONE;
		server_id_t server[REPLICAS];
		uint32_t pages = 0;

		if (r->more && no >= r->next)
			break;
		if (at + LIST_ENTRY_BYTES <= r->entries.len && get_u64le(e) == no) {
			version = (struct version){get_u64le(e + 8), get_u64le(e + 16)};
			pages = get_u32le(e + 33);
			at += LIST_ENTRY_BYTES;
		}
		if (file_place(f, no, server)) {
			uint8_t mask = stale_mask(f, no, server);

			for (unsigned i = 0; i < REPLICAS; i++)
				if (server[i] == s && !(mask >> i & 1))
					block_learnt(block_get(f, no), version, pages);
		}
		if (no == last)
			break;
	}
}

static bool on_learn_list(struct rpc *rpc, const struct msg *m)
{
	struct learn *l = rpc->ctx;
	struct file *f = l->f;
	struct msg_list_reply r = m->list_reply;
	uint64_t first = rpc->m.list.first, last = rpc->m.list.last;

	if (m->type != MSG_TYPE_list_reply || r.file != f->ino || r.status == STATUS_BUSY)
		return false;
	peer_answered(f->v, m, r.status);
	if (r.seal > f->epoch) {
		lease_sealed(f, r.seal);
		return true;
	}
	if (r.status == STATUS_OK) {
		take_list(f, m->src, first, last, &r);
		learn_end(l);
		file_run(f);
		recall_step(f);
		return true;
	}
	if (r.status == STATUS_UNKNOWN)
		repair_note_blank(f, m->src);
	l->tried |= 1u << l->asking;
	learn_next(l);
	return true;
}

static void on_learn_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	struct learn *l = container_of(t, struct learn, timer);

	if (l->asking < REPLICAS)
		l->tried |= 1u << l->asking;
	learn_next(l);
}

static void learn_next(struct learn *l)
{
	struct file *f = l->f;
	struct msg m = {.type = MSG_TYPE_list};
	unsigned order[REPLICAS], n, i = 0;
	server_id_t server[REPLICAS];

	rpc_cancel(l->rpc);
	l->rpc = NULL;
	timer_set(f->v, &l->timer, f->v->now + 100 * NSEC_MSEC);
	l->asking = REPLICAS;
	n = replicas_by_nearness(f, l->no, order, server);
	if (n == 0)
		return;
	while (i < n && (l->tried >> order[i] & 1))
		i++;
	if (i == n) {
		l->tried = 0; /* once more round, after a while; what is down may be back */
		return;
	}
	l->asking = order[i];
	m.dst = server[l->asking];
	m.list.file = f->ino;
	m.list.map = file_placement(f, m.dst);
	m.list.epoch = f->epoch;
	m.list.first = l->no;
	m.list.last = l->no == BLOCK_ATTR ? BLOCK_ATTR : MIN(l->no + LEARN_AHEAD - 1, BLOCK_ATTR - 1);
	m.list.max = LEARN_AHEAD;
	l->rpc = rpc_start(f->v, &m, on_learn_list, l, 0);
	timer_set(f->v, &l->timer, f->v->now + MAX(4 * peer_rtt(f->v, m.dst), 100 * NSEC_MSEC));
}

struct block *block_known(struct file *f, uint64_t no)
{
	struct block *b = block_find(f, no);
	struct learn *l;
	unsigned n = 0;

	if (b && b->known)
		return b;
	if (f->all_known) {
		b = block_get(f, no);
		block_learnt(b, VERSION_NONE, 0);
		return b;
	}
	DL_FOREACH(f->learns, l) {
		/* One already under way will bring it, unless it is another server's block. */
		if (l->no == no)
			return NULL;
		n++;
	}
	if (n >= LEARNS_MAX)
		return NULL;
	l = mem_new(sizeof(*l));
	l->f = f;
	l->no = no;
	l->timer.fire = on_learn_timer;
	DL_APPEND(f->learns, l);
	learn_next(l);
	return NULL;
}

void learns_cancel(struct file *f)
{
	while (f->learns)
		learn_end(f->learns);
}
