/* Reads: durable state only, with the version of the very state the pages come from.
 *
 * A read that names a version which is accepted but not durable waits for it a little: the holder
 * reads its own writes. The reply carries the seal; a reader of a lower epoch is refused (A10). */
#include "core-server/replica/internal.h"

static void answer(struct read_state *s, enum status status)
{
	struct replica *r = s->r;
	struct store_read *rd = &s->rd;
	struct durable d = {0};
	struct msg m = {.type = MSG_TYPE_read_reply};
	struct msg_read_reply *reply = &m.read_reply;

	if (status != STATUS_DISK && status != STATUS_INVALID)
		d = block_durable(r, rd->file, rd->block);
	*reply = (struct msg_read_reply){
		.status = (uint16_t)status,
		.file = rd->file,
		.block = rd->block,
		.off = rd->off,
		.len = rd->len,
		.version = d.block.version,
		.closed = d.closed,
		.seal = d.seal,
	};
	if (status == STATUS_BAD_PAGE) {
		reply->off = rd->bad_page * PAGE_BYTES;
		reply->len = PAGE_BYTES;
	} else if (status == STATUS_OK) {
		reply->version = rd->at.version;
		reply->present = (struct span){rd->present, DIV_UP(rd->len / PAGE_BYTES, 8)};
		for (uint32_t i = 0; i < rd->present_pages; i++)
			put_u64le((uint8_t *)&rd->sums[i], rd->sums[i]);
		reply->sums = (struct span){(const uint8_t *)rd->sums, 8 * rd->present_pages};
		if (!rd->sums_only)
			m.payload = rd->data;
		r->stats.reads++;
	} else {
		(void)replica_refuse(r, status);
	}
	replica_reply(r, s->from, &m);
}

static void read_free(struct read_state *s)
{
	s->r->n_reads--;
	iobuf_put(s->rd.data.buf);
	free(s->rd.sums); /* made by the store with malloc */
	mem_free(s);
}

/* The world may have moved while the disk was busy. */
static enum status judge_result(struct read_state *s)
{
	struct replica *r = s->r;
	struct file_state *f;
	enum status status = replica_disk_status(r, s->rd.result);

	if (status == STATUS_BAD_PAGE)
		scrub_note_bad(r, s->rd.file, s->rd.block, s->rd.bad_page);
	if (status != STATUS_OK)
		return status;
	if (replica_fenced(r) && !replica_has_bug(r, REPLICA_BUG_SERVES_FENCED))
		return STATUS_FENCED;
	f = file_get(r, s->rd.file);
	if (f == NULL)
		return STATUS_BUSY;
	if (f->gone)
		return STATUS_STALE;
	if (s->epoch < f->rec.seal)
		return STATUS_SEALED;
	if (!file_complete(r, f) && !(s->repair && s->rd.at.exists))
		return STATUS_UNKNOWN;
	return version_cmp(s->rd.at.version, s->min) < 0 ? STATUS_GAP : STATUS_OK;
}

static void on_read(struct store_read *rd)
{
	struct read_state *s = container_of(rd, struct read_state, rd);
	struct replica *r = s->r;

	DL_DELETE(r->reading, s);
	answer(s, judge_result(s));
	read_free(s);
	file_put_idle(r, NULL);
}

static void start(struct read_state *s)
{
	s->rd.done = on_read;
	DL_APPEND(s->r->reading, s);
	store_read(s->r->store, &s->rd);
}

/* Starts, parks or refuses a read, by what is durable and what is accepted. */
static void consider(struct read_state *s, const struct file_state *f)
{
	struct replica *r = s->r;

	if (version_cmp(block_durable(r, s->rd.file, s->rd.block).block.version, s->min) >= 0) {
		start(s);
		return;
	}
	if (version_cmp(block_tip(r, f, s->rd.block).version, s->min) >= 0) {
		DL_APPEND(r->parked, s);
		return;
	}
	answer(s, STATUS_GAP);
	read_free(s);
}

static struct read_state *read_new(struct replica *r, const struct msg *m)
{
	const struct msg_read *q = &m->read;
	struct read_state *s = mem_new(sizeof(*s));

	r->n_reads++;
	s->r = r;
	s->from = origin_of(m);
	s->epoch = q->epoch;
	s->min = q->min;
	s->repair = (q->flags & READ_REPAIR) != 0;
	s->due = r->env->now(r->env) + READ_WAIT;
	s->rd.file = q->file;
	s->rd.block = q->block;
	s->rd.block_shift = q->block_shift;
	s->rd.off = q->off;
	s->rd.len = q->len;
	s->rd.sums_only = (q->flags & READ_SUMS_ONLY) != 0;
	return s;
}

void replica_read(struct replica *r, const struct msg *m)
{
	const struct msg_read *q = &m->read;
	struct file_state *f = NULL;
	struct read_state *s = read_new(r, m);
	enum status status = STATUS_INVALID;

	if (check_read(m))
		status = replica_admit(r, q->file, q->map, q->epoch,
		                       replica_has_bug(r, REPLICA_BUG_SERVES_FENCED), &f);
	if (status == STATUS_OK && !file_complete(r, f) && !s->repair)
		status = STATUS_UNKNOWN;
	if (status == STATUS_OK && r->n_reads > READS_MAX)
		status = STATUS_BUSY;
	if (status != STATUS_OK) {
		answer(s, status);
		read_free(s);
		return;
	}
	consider(s, f);
	file_put_idle(r, f);
}

/* Something of the block became durable, or failed. */
void replica_reads_retry(struct replica *r, file_id_t file, uint64_t block)
{
	struct read_state *s, *next, *again = NULL;
	const struct file_state *f;

	DL_FOREACH_SAFE(r->parked, s, next) {
		if (s->rd.file != file || s->rd.block != block)
			continue;
		DL_DELETE(r->parked, s);
		DL_APPEND(again, s);
	}
	if (again == NULL)
		return;
	f = file_get(r, file);
	DL_FOREACH_SAFE(again, s, next) {
		DL_DELETE(again, s);
		if (f != NULL) {
			consider(s, f);
			continue;
		}
		answer(s, STATUS_BUSY);
		read_free(s);
	}
}

/* Gives up on versions that did not become durable in time. */
nsec_t replica_reads_tick(struct replica *r, nsec_t now)
{
	struct read_state *s;

	while ((s = r->parked) != NULL && s->due <= now) {
		DL_DELETE(r->parked, s);
		answer(s, STATUS_GAP);
		read_free(s);
	}
	return r->parked != NULL ? r->parked->due : NSEC_NEVER;
}

void replica_reads_free(struct replica *r)
{
	struct read_state *s, *next;

	DL_FOREACH_SAFE(r->parked, s, next)
		read_free(s);
	DL_FOREACH_SAFE(r->reading, s, next)
		read_free(s);
	r->parked = r->reading = NULL;
}
