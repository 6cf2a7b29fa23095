/* Recovery, the decision: for each block the highest rank (closed, epoch, n) among the servers that
 * count, and a second replica for it where there is none (trap A1). */
#include "access-server/volume/recovery.h"

#define COPYING_MAX 8

static struct rec_block *block_of(struct recovery *r, uint64_t no)
{
	struct rec_block *rb;

	HASH_FIND(hh, r->blocks, &no, sizeof(no), rb);
	if (rb)
		return rb;
	rb = mem_new(sizeof(*rb));
	rb->no = no;
	CHECK(file_place(r->f, no, rb->server));
	HASH_ADD(hh, r->blocks, no, sizeof(no), rb);
	return rb;
}

static const struct rec_entry *find(const struct rec_server *s, uint64_t no)
{
	unsigned low = 0, high = s->n;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (s->entry[mid].no < no)
			low = mid + 1;
		else
			high = mid;
	}
	return low < s->n && s->entry[low].no == no ? &s->entry[low] : NULL;
}

/* A server that counts and has no record: never written there, closed with the rest of the file. */
static struct rec_entry entry_at(const struct rec_server *s, uint64_t no)
{
	const struct rec_entry *e = find(s, no);

	return e ? *e : (struct rec_entry){no, {s->closed, VERSION_NONE}, true, 0};
}

static void judge(struct recovery *r, struct rec_block *rb)
{
	struct rec_entry entry[REPLICAS] = {0};
	bool first = true;

	rb->known = rb->good = 0;
	for (unsigned i = 0; i < REPLICAS; i++) {
		struct rec_server *s = rec_server(r, rb->server[i]);

		if (!s || s->state != REC_READY || (rb->unreadable >> i & 1))
			continue;
		rb->known |= 1u << i;
		entry[i] = entry_at(s, rb->no);
		if (first || rank_cmp(entry[i].rank, rb->winner) > 0) {
			rb->winner = entry[i].rank;
			rb->source = i;
			rb->holes = entry[i].holes;
			rb->pages = entry[i].pages;
		}
		first = false;
	}
	rb->waits = !rec_pair(r->f, rb->known);
	if (rb->waits && rec_sites_sealed(r))
		rb->waits = false;
	/* One version has one content: its number and bytes were fixed before it was sent. */
	for (unsigned i = 0; i < REPLICAS; i++)
		if ((rb->known >> i & 1) && version_eq(entry[i].rank.version, rb->winner.version))
			rb->good |= 1u << i;
}

#define ALL_REPLICAS ((1u << REPLICAS) - 1)

/* A page of the winner is bad at its only holder. When the other two count as well, they say that it
 * was never flushed, nor closed by a recovery that served it: it may go, as any unsynced write. With
 * one of them silent nobody can tell, and the block stays as it is until all three are here. The
 * attribute record cannot wait like that for one that will never tell (a new disk). */
static bool passed_over(struct recovery *r, struct rec_block *rb, unsigned from)
{
	bool tells = rb->known == ALL_REPLICAS || (rb->no == BLOCK_ATTR && r->f->attr_wait_all);

	if (!tells || rb->good != 1u << from)
		return false;
	r->attr_doubt = r->attr_doubt || rb->known != ALL_REPLICAS;
	rb->unreadable |= 1u << from;
	judge(r, rb);
	return true;
}

/* With one of the others missing nobody can tell: this block is not closed and gives errors, like a bad
 * disk's, until a recovery with all three; the rest of the file goes on. */
static bool refused(struct recovery *r, struct rec_block *rb)
{
	if (rb->no == BLOCK_ATTR || rb->known == ALL_REPLICAS || r->f->refuseds == REFUSED_MAX)
		return false;
	rb->waits = true;
	recovery_refuse(r->f, rb->no);
	return true;
}

/* A CLOSE has room for so many exceptions; half of it is for blocks that wait. */
static void count_exceptions(struct recovery *r, struct rec_block *rb)
{
	for (unsigned i = 0; i < REPLICAS && !rb->waits; i++) {
		struct rec_server *s = rec_server(r, rb->server[i]);

		if (!(rb->known >> i & 1) || (rb->good >> i & 1))
			continue;
		if (++s->excepts > r->f->v->config.exceptions_max / 2)
			rb->must |= 1u << i;
	}
}

static bool copy_missing(struct recovery *r, const struct rec_block *rb)
{
	if (rb->waits)
		return false;
	return (rb->must & ~rb->good) || (!rec_pair(r->f, rb->good) && rec_pair(r->f, rb->known));
}

static unsigned target(struct recovery *r, const struct rec_block *rb)
{
	unsigned to = 0;

	if (rb->must & ~rb->good)
		return (unsigned)__builtin_ctz(rb->must & ~rb->good);
	while (to < REPLICAS && (!(rb->known >> to & 1) || (rb->good >> to & 1) ||
	                         !rec_pair(r->f, rb->good | 1u << to)))
		to++;
	CHECK(to < REPLICAS);
	return to;
}

/* Another holder of the winner, if there is one. */
static void on_bad(struct recovery *r, struct rec_block *rb, const struct copy *c)
{
	unsigned others = rb->good & ~(1u << c->from);

	vol_log(r->f->v, "volume.bad_page",
		"file=%" PRIu64 " block=%" PRIu64 " server=%u: bad page in recovery",
		r->f->ino, c->no, c->server[c->from]);
	if (others)
		rb->source = (unsigned)__builtin_ctz(others);
	else if (passed_over(r, rb, c->from) || refused(r, rb))
		rec_progress(r);
}

static void on_copied(struct copy *c, enum copy_result result)
{
	struct recovery *r = c->ctx;
	struct rec_block *rb = block_of(r, c->no);

	if (result == COPY_DONE) {
		copy_note_lost(c);
		rb->good |= 1u << c->to;
		rec_progress(r);
	} else if (result == COPY_BAD) {
		on_bad(r, rb, c);
		if (rb->no == BLOCK_ATTR && rb->good == 1u << c->from) {
			rec_attr_wait(r);
			return;
		}
	}
	DL_DELETE(r->copies, c);
	r->copying--;
	copy_free(c);
	if (result != COPY_DONE || copy_missing(r, rb))
		r->copy_next = r->blocks;
	rec_copy_some(r);
}

static bool copying(const struct recovery *r, uint64_t no)
{
	struct copy *c;

	DL_FOREACH(r->copies, c)
		if (c->no == no)
			return true;
	return false;
}

static void copy_block(struct recovery *r, struct rec_block *rb)
{
	struct copy *c = mem_new(sizeof(*c));

	c->f = r->f;
	c->no = rb->no;
	c->from = rb->source;
	c->to = target(r, rb);
	/* What two have may have been flushed, so that what others have is old. What one has alone may be an
	 * unsynced write over what was: the old page is not given up for it as long as nobody can tell. */
	c->spare = (uint8_t)(ALL_REPLICAS & ~(1u << c->from | 1u << c->to));
	c->may_lose = (rb->good & (rb->good - 1)) != 0;
	c->closed = VOL_BUG(r->f->v, VOLUME_BUG_NO_CLOSE) ? 0 : r->f->epoch;
	c->done = on_copied;
	c->ctx = r;
	DL_APPEND(r->copies, c);
	r->copying++;
	copy_start(c);
}

void rec_copy_some(struct recovery *r)
{
	struct rec_block *rb = r->copy_next;

	while (rb && r->copying < COPYING_MAX) {
		if (copy_missing(r, rb) && !copying(r, rb->no))
			copy_block(r, rb);
		rb = rb->hh.next;
	}
	r->copy_next = rb;
	if (r->copying == 0)
		rec_copied(r);
}

void rec_decide(struct recovery *r)
{
	struct rec_block *rb, *next;

	r->phase = REC_COPY;
	rec_progress(r);
	/* Whoever comes from now on has no part in it, and is proven later (repair.c). */
	for (unsigned k = 0; k < r->servers; k++) {
		rpc_cancel(r->server[k].rpc);
		r->server[k].rpc = NULL;
	}
	block_of(r, BLOCK_ATTR);
	for (unsigned k = 0; k < r->servers; k++)
		for (unsigned i = 0; r->server[k].state == REC_READY && i < r->server[k].n; i++)
			block_of(r, r->server[k].entry[i].no);
	HASH_ITER(hh, r->blocks, rb, next) {
		judge(r, rb);
		count_exceptions(r, rb);
	}
	r->copy_next = r->blocks;
	rec_copy_some(r);
}
