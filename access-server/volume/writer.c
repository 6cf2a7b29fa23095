/* Records: numbered writes on their way to three replicas.
 *
 * Invariants (traps A5, A6, A12, B7):
 * - bytes and number of a record are fixed before its first send to anybody; only records that
 *   nobody was sent are merged; a record is never withdrawn while the lease is held;
 * - a replica gets the records of a block in order; each names its predecessor;
 * - `durable[i]` is what replica i itself acknowledged; a replica with a stale bit counts for
 *   nothing, whatever it acknowledges;
 * - a record is *flushed* when two replicas that count together (map_pair_counts) have it, *settled*
 *   when every replica without a stale bit has it; records are freed, in order, when settled;
 * - a stale bit is set only for a block whose oldest record is flushed by the other two, and
 *   stale_set() refuses a second one: then the data stays, and callers wait for room. */
#include "access-server/volume/parts.h"

#define RECORD_OVERHEAD 256
#define RESEND_MAX (2 * NSEC_SEC)
#define SETTLE_PATIENCE (300 * NSEC_MSEC)

uint64_t block_cost(uint32_t off, uint32_t len)
{
	return ALIGN_UP((uint64_t)off + len, PAGE_BYTES) - ALIGN_DOWN(off, PAGE_BYTES);
}

/* --- making records --- */

static void record_sums(struct record *r)
{
	uint32_t first = DIV_UP(r->off, PAGE_BYTES), end = (r->off + r->len) / PAGE_BYTES;
	const uint8_t *data = slice_data(r->data);

	mem_free(r->sums);
	r->sums = NULL;
	r->sums_n = 0;
	if (r->op != WRITE_DATA || end <= first)
		return;
	r->sums_n = end - first;
	r->sums = mem_new_array(r->sums_n, sizeof(*r->sums));
	for (uint32_t p = first; p < end; p++) {
		uint64_t sum = page_sum(r->b->f->ino, r->b->no, p, data + (p * PAGE_BYTES - r->off));

		put_u64le((uint8_t *)&r->sums[p - first], sum);
	}
}

static void pay(struct record *r)
{
	for (unsigned i = 0; i < REPLICAS; i++) {
		r->paid[i] += r->b->paid[i];
		r->b->paid[i] = 0;
	}
}

/* Joins a write to the block's newest record, if nobody was sent that one yet. */
static bool merge(struct block *b, uint32_t off, uint32_t len, struct slice data)
{
	struct volume *v = b->f->v;
	struct record *r = b->records ? b->records->prev : NULL;
	bool open = r && (!r->sent || (VOL_BUG(v, VOLUME_BUG_MERGE_SENT) && !r->flushed));
	struct iobuf *both;
	uint32_t total;

	if (!open || r->op != WRITE_DATA || r->gate || off < r->off || off > r->off + r->len)
		return false;
	total = MAX(r->len, off + len - r->off);
	both = total > GATHER_RECORD ? NULL : iobuf_new(total);
	if (!both)
		return false;
	memcpy(both->data, slice_data(r->data), r->len);
	memcpy(both->data + (off - r->off), slice_data(data), len);
	iobuf_put(r->data.buf);
	iobuf_put(data.buf);
	v->buffered += total - r->len;
	r->charged += total - r->len;
	r->data = (struct slice){both, 0, total};
	r->len = total;
	record_sums(r);
	return true;
}

static void block_make_dirty(struct block *b)
{
	struct volume *v = b->f->v;

	DL_DELETE(v->clean_lru, b);
	v->clean_blocks--;
	DL_APPEND(v->dirty, b);
	for (unsigned i = 0; i < REPLICAS; i++)
		b->wait[i] = peer_resend_after(v, b->server[i]);
}

void writer_add(struct file *f, struct block *b, enum write_op op, uint32_t off, uint32_t len,
                struct slice data, uint64_t gate)
{
	struct volume *v = f->v;
	struct record *r;

	CHECK(b->known);
	pages_written(b, op, off, len);
	if (f->losts)
		lost_written(f, b->no, off, len);
	if (op == WRITE_DATA && merge(b, off, len, data)) {
		pay(b->records->prev);
		block_gather(b, b->records->prev, len);
		return;
	}
	r = mem_new(sizeof(*r));
	r->b = b;
	r->n = ++f->n;
	r->gate = gate;
	r->before = b->version;
	r->version = b->version = (struct version){f->epoch, r->n};
	fill_note_write(f, b->no);
	r->op = (uint8_t)op;
	r->off = off;
	r->len = len;
	r->data = data;
	r->charged = data.len + RECORD_OVERHEAD;
	record_sums(r);
	pay(r);
	v->buffered += r->charged;
	if (!b->records)
		block_make_dirty(b);
	DL_APPEND(b->records, r);
	DL_APPEND2(f->unflushed, r, uprev, unext);
	DL_APPEND2(f->kept, r, kprev, knext);
	f->records++;
	block_gather(b, r, len);
	if (v->buffered > v->config.buffer_bytes / 2)
		timer_set_sooner(v, &v->pressure, v->now + 20 * NSEC_MSEC);
}

/* --- sending --- */

static int record_send(struct block *b, unsigned i, struct record *r)
{
	struct file *f = b->f;
	struct volume *v = f->v;
	struct msg m = {.type = MSG_TYPE_write, .dst = b->server[i], .id = ++v->next_id, .payload = r->data};
	int rc;

	m.write.file = f->ino;
	m.write.map = file_placement(f, m.dst);
	m.write.epoch = f->epoch;
	m.write.block = b->no;
	m.write.block_shift = f->attr.block_shift;
	m.write.op = r->op;
	m.write.off = r->off;
	m.write.len = r->len;
	m.write.prev = r->before;
	m.write.version = r->version;
	m.write.all = f->kept && stale_empty(&f->stale) && !f->behinds ? f->kept->n - 1 : 0;
	m.write.paid = r->paid[i];
	m.write.sums = (struct span){(const uint8_t *)r->sums, r->sums_n * 8};
	rc = v->env->send(v->env, &m);
	if (rc < 0)
		return rc;
	if (!(r->sent >> i & 1))
		r->floor[i] = version_cmp(b->durable[i], b->freed) > 0 ? b->durable[i] : b->freed;
	r->sent |= (uint8_t)(1u << i);
	return 0;
}

/* The oldest record that replica i was not sent. Looked for from the newest end: behind a replica
 * that lags there may be thousands before it. */
static struct record *first_unsent(const struct block *b, unsigned i)
{
	struct record *r = b->records ? b->records->prev : NULL, *first = NULL;

	while (r && r->n > b->sent[i]) {
		first = r;
		r = r == b->records ? NULL : r->prev;
	}
	return first;
}

void block_send_to(struct block *b, unsigned i)
{
	struct volume *v = b->f->v;
	struct record *r;

	for (r = first_unsent(b, i); r; r = r->next) {
		if (r->gate && !file_flushed(b->f, r->gate))
			break;
		if (record_send(b, i, r) < 0)
			break;
		b->sent[i] = r->n;
		b->sent_at[i] = v->now;
	}
}

static bool acked(const struct block *b, unsigned i, const struct record *r)
{
	return version_cmp(b->durable[i], r->version) >= 0;
}

/* When to look at the block again: the next resend, or the moment a silent replica is marked. */
static void arm(struct block *b)
{
	struct file *f = b->f;
	struct volume *v = f->v;
	uint8_t stale = block_stale(f, b);
	struct record *head = b->records;
	nsec_t due = NSEC_NEVER;

	for (unsigned i = 0; head && i < REPLICAS; i++) {
		struct peer *p;

		if ((stale >> i & 1) || acked(b, i, b->records->prev))
			continue;
		due = MIN(due, b->sent_at[i] + b->wait[i]);
		p = peer_get(v, b->server[i]);
		if (head->flushed && !acked(b, i, head))
			due = MIN(due, MAX(p->heard, head->flushed_at) + v->config.stale_after);
	}
	if (due == NSEC_NEVER)
		timer_stop(v, &b->timer);
	else
		timer_set(v, &b->timer, MAX(due, v->now + NSEC_MSEC));
}

void block_send(struct block *b)
{
	uint8_t stale = block_stale(b->f, b);

	for (unsigned i = 0; i < REPLICAS; i++)
		if (!(stale >> i & 1))
			block_send_to(b, i);
	arm(b);
}

void block_resend(struct block *b, unsigned i)
{
	b->sent[i] = b->durable[i].epoch == b->f->epoch ? b->durable[i].n : 0;
	b->probing &= (uint8_t)~(1u << i);
	block_send_to(b, i);
}

/* Only the oldest unacknowledged one: if the server is merely slow, more would make it slower. */
static void probe(struct block *b, unsigned i)
{
	struct record *r;

	b->sent_at[i] = b->f->v->now;
	b->wait[i] = MIN(2 * b->wait[i], RESEND_MAX);
	DL_FOREACH(b->records, r)
		if (!acked(b, i, r))
			break;
	if (!r || (r->gate && !file_flushed(b->f, r->gate)))
		return;
	if (r->n > b->sent[i]) {
		block_send_to(b, i);
		return;
	}
	if (record_send(b, i, r) == 0)
		b->probing |= (uint8_t)(1u << i);
}

void block_timer(struct block *b)
{
	struct file *f = b->f;
	struct volume *v = f->v;
	uint8_t stale = block_stale(f, b);

	for (unsigned i = 0; b->records && i < REPLICAS; i++)
		if (!(stale >> i & 1) && !acked(b, i, b->records->prev) && v->now >= b->sent_at[i] + b->wait[i])
			probe(b, i);
	block_settle(b);
}

void writer_peer_up(struct volume *v, server_id_t peer)
{
	struct block *b, *next;

	DL_FOREACH_SAFE(v->dirty, b, next)
		for (unsigned i = 0; i < REPLICAS; i++) {
			if (b->server[i] != peer || (block_stale(b->f, b) >> i & 1))
				continue;
			b->wait[i] = peer_resend_after(v, peer);
			if (peer_get(v, peer)->reconnected)
				block_resend(b, i);
			else
				block_send_to(b, i);
			arm(b);
		}
}

void writer_ungate(struct file *f)
{
	struct block *b, *next;

	if (!f->gate || !file_flushed(f, f->gate))
		return;
	f->gate = 0;
	HASH_ITER(hh, f->blocks, b, next)
		if (b->records)
			block_send(b);
}

/* --- flushed, settled, freed --- */

static bool all_have(struct block *b, const struct record *r, uint8_t stale)
{
	for (unsigned i = 0; i < REPLICAS; i++)
		if (!(stale >> i & 1) && !acked(b, i, r))
			return false;
	return true;
}

static bool pair_has(struct block *b, const struct record *r, uint8_t stale)
{
	struct file *f = b->f;

	if (VOL_BUG(f->v, VOLUME_BUG_FLUSH_ALL) && !all_have(b, r, stale))
		return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		if ((stale >> i & 1) || !acked(b, i, r))
			continue;
		if (VOL_BUG(f->v, VOLUME_BUG_FLUSH_ONE))
			return true;
		for (unsigned j = i + 1; j < REPLICAS; j++)
			if (!(stale >> j & 1) && acked(b, j, r) &&
			    (map_pair_counts(f->site, i, j) || VOL_BUG(f->v, VOLUME_BUG_SAME_SITE)))
				return true;
	}
	return false;
}

/* May replica i be left behind now? The others have the oldest record already. */
static bool give_up_on(struct block *b, unsigned i)
{
	struct file *f = b->f;
	struct volume *v = f->v;
	nsec_t since = MAX(peer_get(v, b->server[i])->heard, b->records->flushed_at);

	if (b->want_stale >> i & 1)
		return true;
	if (f->phase == PHASE_SETTLE && v->now >= f->settle_since + SETTLE_PATIENCE)
		return true;
	if (v->buffered > v->config.buffer_bytes / 2 && v->now >= b->records->flushed_at + 200 * NSEC_MSEC)
		return true;
	return v->now >= since + v->config.stale_after;
}

static uint8_t mark_laggards(struct block *b, uint8_t stale)
{
	struct file *f = b->f;

	for (unsigned i = 0; i < REPLICAS; i++) {
		if ((stale >> i & 1) || acked(b, i, b->records) || !give_up_on(b, i))
			continue;
		if (stale || stale_set(&f->stale, b->no, b->no, i) < 0)
			continue;
		stale |= (uint8_t)(1u << i);
		repair_kick(f, NSEC_SEC);
	}
	return stale;
}

static void record_free(struct record *r)
{
	struct file *f = r->b->f;

	DL_DELETE(r->b->records, r);
	if (!r->flushed)
		DL_DELETE2(f->unflushed, r, uprev, unext);
	DL_DELETE2(f->kept, r, kprev, knext);
	f->records--;
	f->v->buffered -= r->charged;
	iobuf_put(r->data.buf);
	mem_free(r->sums);
	mem_free(r);
}

/* The oldest record that is not flushed; those before it wait for the third replica only. */
static struct record *first_unflushed(const struct block *b)
{
	struct record *r = b->records ? b->records->prev : NULL, *first = NULL;

	while (r && !r->flushed) {
		first = r;
		r = r == b->records ? NULL : r->prev;
	}
	return first;
}

static bool settle(struct block *b)
{
	struct file *f = b->f;
	uint8_t stale = block_stale(f, b);
	struct record *r;
	bool progress = false;

	for (r = first_unflushed(b); r && pair_has(b, r, stale); r = r->next) {
		r->flushed = true;
		r->flushed_at = f->v->now;
		DL_DELETE2(f->unflushed, r, uprev, unext);
		progress = true;
	}
	if (b->records && b->records->flushed)
		stale = mark_laggards(b, stale);
	while ((r = b->records) && r->flushed && !b->retain && all_have(b, r, stale)) {
		b->freed = r->version;
		record_free(r);
		progress = true;
	}
	if (b->records)
		arm(b);
	else
		block_clean(b);
	return progress;
}

/* The block, and even the lease, may be gone afterwards. */
void block_settle(struct block *b)
{
	struct file *f = b->f;

	if (!b->records || !settle(b))
		return;
	file_progress(f);
	room_retry(f->v);
}

void file_settle(struct file *f)
{
	struct block *b, *next;
	bool progress = false;

	HASH_ITER(hh, f->blocks, b, next)
		if (b->records && settle(b))
			progress = true;
	if (progress) {
		file_progress(f);
		room_retry(f->v);
	}
}

/* The buffer is half full: nobody waits for a laggard whose data two others have. */
void writer_pressure(struct volume *v)
{
	struct file *f, *next;

	for (f = v->held_lru; f; f = next) {
		next = f->lru_next;
		if (f->records)
			file_settle(f);
	}
	if (v->buffered > v->config.buffer_bytes / 2)
		timer_set(v, &v->pressure, v->now + 50 * NSEC_MSEC);
}

void writer_drop(struct file *f)
{
	struct block *b, *next;

	HASH_ITER(hh, f->blocks, b, next) {
		if (!b->records)
			continue;
		while (b->records)
			record_free(b->records);
		block_clean(b);
	}
	f->gate = 0;
	CHECK(!f->records && !f->kept && !f->unflushed);
	room_retry(f->v);
}
