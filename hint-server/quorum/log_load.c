/* Reading the voter's log at start: finds the newest slot, replays the batches behind it and tells
 * a torn tail (dropped) from damage (refused). */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/log_private.h"

#include <stdio.h>

#define LOAD_CHUNK (1u << 20)

static void finish(struct rlog *l, int rc)
{
	mem_free(l->image);
	l->image = NULL;
	iobuf_put(l->load_buf);
	l->load_buf = NULL;
	l->phase = rc ? RLOG_FAILED : RLOG_IDLE;
	TRACE("log.loaded rc base last term", rc, l->slot.base_index, rlog_last(l), l->slot.term);
	l->ops->loaded(l->ctx, rc);
}

static int refuse(struct rlog *l, int rc, const char *why)
{
	snprintf(l->why, sizeof(l->why), "the voter's log: %s", why);
	return rc;
}

static int choose_slot(struct rlog *l)
{
	struct rlog_slot s[2];
	int rc[2], best;

	for (int i = 0; i < 2; i++) {
		rc[i] = rlog_slot_decode(l->image + (size_t)i * RLOG_PAGE, &s[i]);
		if (rc[i] == ERR_VERSION)
			return refuse(l, ERR_VERSION, "written by a newer version");
	}
	if (rc[0] == -ENODATA && rc[1] == -ENODATA)
		return refuse(l, ERR_CORRUPT, "it is gone, and with it this voter's term and vote; a "
		              "voter without them must join again under a new id");
	if (rc[0] && rc[1])
		return refuse(l, ERR_CORRUPT, "both copies of term and vote are damaged");
	best = rc[0] || (!rc[1] && s[1].generation > s[0].generation) ? 1 : 0;
	for (int i = 0; i < 2; i++)
		l->slot_on[i] = rc[i] ? 0 : s[i].generation;
	l->slot = s[best];
	if (l->slot.cluster != l->config.cluster || l->slot.server != l->config.server)
		return refuse(l, -EEXIST, "it belongs to another voter or cluster");
	if (l->slot.capacity + RLOG_RING > l->disk->ops->size(l->file))
		return refuse(l, ERR_CORRUPT, "the file was cut short");
	return 0;
}

/* Copies `len` bytes at ring position `pos`, around the end. */
static void ring_copy(const struct rlog *l, uint64_t pos, void *out, size_t len)
{
	uint64_t at = pos % l->slot.capacity;
	size_t part = (size_t)MIN(len, l->slot.capacity - at);

	memcpy(out, l->image + RLOG_RING + at, part);
	memcpy((uint8_t *)out + part, l->image + RLOG_RING, len - part);
}

static bool batch_head(const struct rlog *l, uint64_t pos, struct rlog_batch *b)
{
	uint8_t head[RLOG_BATCH_HEAD];

	ring_copy(l, pos, head, sizeof(head));
	return !rlog_batch_decode(head, b) && b->id == l->slot.id &&
	       b->bytes + (uint64_t)RLOG_BATCH_HEAD <= l->slot.capacity;
}

static int replay_entries(struct rlog *l, const struct rlog_batch *b, const uint8_t *p, uint64_t end)
{
	struct cursor c = {.p = p, .left = b->bytes};
	uint64_t index = b->first;

	if (b->first == 0 || b->first > rlog_last(l) + 1)
		return ERR_CORRUPT;
	for (uint32_t i = 0; i < b->count; i++, index++) {
		uint64_t term = cursor_u64(&c);
		uint32_t len = cursor_u32(&c);
		uint32_t type = cursor_u32(&c);
		const uint8_t *data = cursor_take(&c, len);
		struct rlog_entry *e;

		if (!data || type > UINT8_MAX)
			return ERR_CORRUPT;
		if (index <= l->slot.base_index)
			continue;
		rlog_entry_push(l, index, term, (uint8_t)type, data, len);
		e = l->entry[l->entries - 1];
		e->batch_pos = l->head;
		e->batch_end = end;
		e->batch_seq = b->seq;
	}
	return cursor_done(&c) ? 0 : ERR_CORRUPT;
}

/* One batch at the head. 0: replayed; -ENODATA: none there. */
static int replay_batch(struct rlog *l)
{
	struct rlog_batch b;
	uint64_t end;
	uint8_t *p;
	int rc;

	if (!batch_head(l, l->head, &b) || b.seq != l->next_seq)
		return -ENODATA;
	end = l->head + ALIGN_UP((uint64_t)RLOG_BATCH_HEAD + b.bytes, RLOG_PAGE);
	if (end - l->slot.tail_pos > l->slot.capacity)
		return -ENODATA;
	p = mem_new(b.bytes + 1);
	ring_copy(l, l->head + RLOG_BATCH_HEAD, p, b.bytes);
	rc = rlog_sum(p, b.bytes) == b.sum ? replay_entries(l, &b, p, end) : -ENODATA;
	mem_free(p);
	if (rc)
		return rc;
	l->head = end;
	l->next_seq++;
	return 0;
}

/* A batch with a higher number than the missing one proves that the missing one was durable. */
static bool later_batch_exists(const struct rlog *l)
{
	struct rlog_batch b;

	for (uint64_t pos = l->head + RLOG_PAGE; pos < l->head + l->slot.capacity; pos += RLOG_PAGE)
		if (batch_head(l, pos, &b) && b.seq > l->next_seq)
			return true;
	return false;
}

static int replay(struct rlog *l)
{
	int rc = choose_slot(l);

	if (rc)
		return rc;
	l->head = l->tail_durable = l->slot.tail_pos;
	l->next_seq = l->slot.tail_seq;
	do {
		rc = replay_batch(l);
	} while (rc == 0);
	if (rc != -ENODATA || later_batch_exists(l))
		return refuse(l, ERR_CORRUPT, "entries in its middle are damaged; this voter must not vote "
		              "with them: let it join again under a new id");
	l->pos_durable = l->head;
	l->durable = rlog_last(l);
	l->unsent = rlog_last(l) + 1;
	/* Entries of a term whose slot write was lost: nothing was sent in that term either. */
	if (rlog_term_of(l, rlog_last(l)) > l->slot.term) {
		l->slot.term = rlog_term_of(l, rlog_last(l));
		l->slot.vote = 0;
		l->slot.generation++;
	}
	/* Makes both copies equal with the first group. */
	l->slot.generation = MAX(l->slot.generation, rlog_vote_durable(l) + 1);
	return 0;
}

static void read_next(struct rlog *l);

static void read_done(struct disk_req *req)
{
	struct rlog *l = container_of(req, struct rlog, req[0]);

	if (req->result) {
		finish(l, refuse(l, -EIO, "it cannot be read"));
		return;
	}
	memcpy(l->image + l->image_at, l->load_buf->data, req->len);
	l->image_at += req->len;
	read_next(l);
}

static void read_next(struct rlog *l)
{
	uint64_t size = ALIGN_DOWN(l->disk->ops->size(l->file), RLOG_PAGE);
	uint64_t len = MIN(LOAD_CHUNK, size - l->image_at);

	if (len == 0) {
		finish(l, replay(l));
		return;
	}
	l->req[0] = (struct disk_req){.op = DISK_READ, .file = l->file, .off = l->image_at, .len = len,
	                              .iov = {{l->load_buf->data, len}}, .iovs = 1, .done = read_done};
	disk_submit(l->disk, &l->req[0]);
}

void rlog_load_start(struct rlog *l)
{
	uint64_t size = ALIGN_DOWN(l->disk->ops->size(l->file), RLOG_PAGE);

	l->phase = RLOG_LOADING;
	l->image = mem_new(size);
	l->load_buf = iobuf_new_reserve(LOAD_CHUNK);
	read_next(l);
}
