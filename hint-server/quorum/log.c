#include "hint-server/quorum/log.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/log_private.h"

#include <stdio.h>

static void fail(struct rlog *l, int rc, const char *what)
{
	if (l->phase == RLOG_FAILED)
		return;
	l->phase = RLOG_FAILED;
	snprintf(l->why, sizeof(l->why), "the voter's log: %s failed (%s); the voter is out of service",
	         what, err_text(rc));
	TRACE("log.failed rc", rc, 0, 0, 0);
	l->ops->failed(l->ctx, rc);
}

uint64_t rlog_base(const struct rlog *l)
{
	return l->slot.base_index;
}

uint64_t rlog_base_term(const struct rlog *l)
{
	return l->slot.base_term;
}

uint64_t rlog_last(const struct rlog *l)
{
	return l->slot.base_index + l->entries;
}

uint64_t rlog_durable(const struct rlog *l)
{
	return l->durable;
}

const struct rlog_entry *rlog_get(const struct rlog *l, uint64_t index)
{
	if (index <= l->slot.base_index || index > rlog_last(l))
		return NULL;
	return l->entry[index - l->slot.base_index - 1];
}

uint64_t rlog_term_of(const struct rlog *l, uint64_t index)
{
	const struct rlog_entry *e = rlog_get(l, index);

	if (e)
		return e->term;
	return index == l->slot.base_index ? l->slot.base_term : 0;
}

/* --- entries in memory --- */

void rlog_truncate(struct rlog *l, uint64_t index)
{
	while (rlog_last(l) >= index && l->entries > 0)
		mem_free(l->entry[--l->entries]);
	l->unsent = MIN(l->unsent, index);
	l->durable = MIN(l->durable, index - 1);
}

void rlog_entry_push(struct rlog *l, uint64_t index, uint64_t term, uint8_t type, const void *data,
                     uint32_t len)
{
	struct rlog_entry *e = mem_new(sizeof(*e) + len);

	CHECK(index > l->slot.base_index && index <= rlog_last(l) + 1);
	rlog_truncate(l, index);
	if (l->entries == l->room) {
		l->room = MAX(l->room * 2, 1024);
		l->entry = mem_resize(l->entry, l->room, sizeof(*l->entry));
	}
	e->term = term;
	e->type = type;
	e->len = len;
	e->batch_pos = e->batch_end = UINT64_MAX;
	if (len)
		memcpy(e->data, data, len);
	l->entry[l->entries++] = e;
}

void rlog_append(struct rlog *l, uint64_t index, uint64_t term, uint8_t type, const void *data,
                 uint32_t len)
{
	CHECK(len <= RLOG_ENTRY_BYTES_MAX);
	rlog_entry_push(l, index, term, type, data, len);
}

static void drop_prefix(struct rlog *l, uint64_t index)
{
	uint64_t n = MIN(index - l->slot.base_index, l->entries);

	for (uint64_t i = 0; i < n; i++)
		mem_free(l->entry[i]);
	memmove(l->entry, l->entry + n, (l->entries - n) * sizeof(*l->entry));
	l->entries -= n;
}

/* --- the slot: term, vote, tail --- */

uint64_t rlog_term(const struct rlog *l)
{
	return l->slot.term;
}

uint64_t rlog_vote(const struct rlog *l)
{
	return l->slot.vote;
}

uint64_t rlog_set_vote(struct rlog *l, uint64_t term, uint64_t vote)
{
	CHECK(term >= l->slot.term);
	l->slot.term = term;
	l->slot.vote = vote;
	return ++l->slot.generation;
}

bool rlog_proven(const struct rlog *l)
{
	return !l->slot.unproven;
}

void rlog_prove(struct rlog *l)
{
	l->slot.unproven = 0;
	l->slot.generation++;
}

uint64_t rlog_vote_durable(const struct rlog *l)
{
	return MAX(l->slot_on[0], l->slot_on[1]);
}

void rlog_trim(struct rlog *l, uint64_t index)
{
	const struct rlog_entry *next = rlog_get(l, index + 1);

	if (index <= l->slot.base_index)
		return;
	CHECK(index <= l->durable && index < l->unsent);
	l->slot.base_term = rlog_term_of(l, index);
	drop_prefix(l, index);
	l->slot.base_index = index;
	if (next && next->batch_pos != UINT64_MAX) {
		l->slot.tail_pos = next->batch_pos;
		l->slot.tail_seq = next->batch_seq;
	} else {
		l->slot.tail_pos = l->head;
		l->slot.tail_seq = l->next_seq;
	}
	l->slot.generation++;
}

void rlog_install_begin(struct rlog *l, uint64_t index, uint64_t term)
{
	l->slot.install_index = index;
	l->slot.install_term = term;
	l->install_generation = ++l->slot.generation;
}

bool rlog_install_durable(const struct rlog *l)
{
	return l->slot.install_index && rlog_vote_durable(l) >= l->install_generation;
}

bool rlog_installing(const struct rlog *l, uint64_t *index, uint64_t *term)
{
	*index = l->slot.install_index;
	*term = l->slot.install_term;
	return l->slot.install_index != 0;
}

void rlog_install_cancel(struct rlog *l)
{
	l->slot.install_index = l->slot.install_term = 0;
	l->slot.generation++;
}

uint64_t rlog_reset(struct rlog *l, uint64_t index, uint64_t term)
{
	rlog_truncate(l, l->slot.base_index + 1);
	l->slot.base_index = index;
	l->slot.base_term = term;
	l->slot.tail_pos = l->head;
	l->slot.tail_seq = l->next_seq;
	l->slot.install_index = l->slot.install_term = 0;
	l->slot.generation++;
	l->slot_first = true;
	l->durable = index;
	l->unsent = index + 1;
	return l->slot.generation;
}

void rlog_space(const struct rlog *l, uint64_t *used, uint64_t *total)
{
	*used = l->head - l->slot.tail_pos;
	*total = l->slot.capacity;
}

/* --- writing one group --- */

static void group_done(struct rlog *l);

static void sync_done(struct disk_req *req)
{
	struct rlog *l = container_of(req, struct rlog, req[3]);

	if (req->result && l->config.bug_sync_retried) {
		disk_submit(l->disk, req);
		return;
	}
	if (req->result)
		fail(l, req->result, "a sync");
	else
		group_done(l);
}

static void part_done(struct rlog *l, const struct disk_req *req)
{
	if (req->result && !l->req_error)
		l->req_error = req->result;
	if (--l->reqs > 0)
		return;
	if (l->req_error && !(req->durable && l->config.bug_sync_retried)) {
		fail(l, l->req_error, "a write");
		return;
	}
	if (req->durable && !l->req_error) {
		group_done(l);
		return;
	}
	l->phase = RLOG_SYNCING;
	l->req[3] = (struct disk_req){.op = DISK_SYNC, .file = l->file, .done = sync_done};
	disk_submit(l->disk, &l->req[3]);
}

/* One callback for each request slot, so that the owner is found by container_of. */
static void part0_done(struct disk_req *req)
{
	part_done(container_of(req, struct rlog, req[0]), req);
}

static void part1_done(struct disk_req *req)
{
	part_done(container_of(req, struct rlog, req[1]), req);
}

static void part2_done(struct disk_req *req)
{
	part_done(container_of(req, struct rlog, req[2]), req);
}

static void write_at(struct rlog *l, unsigned i, uint64_t off, void *p, size_t len)
{
	static void (*const done[])(struct disk_req *) = {part0_done, part1_done, part2_done};

	l->req[i] = (struct disk_req){.op = DISK_WRITE, .file = l->file, .off = off, .len = len,
	                              .iov = {{p, len}}, .iovs = 1, .done = done[i]};
	l->reqs++;
}

/* How many of the unsent entries go into the next batch, and its size in bytes on disk. */
static uint32_t batch_extent(const struct rlog *l, uint64_t *bytes_out)
{
	uint64_t bytes = RLOG_BATCH_HEAD, max = MIN(RLOG_BATCH_BYTES_MAX, l->slot.capacity / 4);
	uint32_t n = 0;

	for (uint64_t i = l->unsent; i <= rlog_last(l); i++, n++) {
		uint64_t more = RLOG_ENTRY_HEAD + rlog_get(l, i)->len;

		if (n && bytes + more > max)
			break;
		bytes += more;
	}
	*bytes_out = ALIGN_UP(bytes, RLOG_PAGE);
	return n;
}

static void batch_fill(struct rlog *l, uint32_t n, uint8_t *out, uint64_t size)
{
	uint8_t *p = out + RLOG_BATCH_HEAD;
	struct rlog_batch b = {.count = n, .id = l->slot.id, .seq = l->next_seq, .first = l->unsent};

	for (uint32_t i = 0; i < n; i++) {
		struct rlog_entry *e = l->entry[l->unsent + i - l->slot.base_index - 1];

		put_u64le(p, e->term);
		put_u32le(p + 8, e->len);
		put_u32le(p + 12, e->type);
		memcpy(p + RLOG_ENTRY_HEAD, e->data, e->len);
		p += RLOG_ENTRY_HEAD + e->len;
		e->batch_pos = l->head;
		e->batch_end = l->head + size;
		e->batch_seq = l->next_seq;
	}
	memset(p, 0, (size_t)(out + size - p));
	b.bytes = (uint32_t)(p - out) - RLOG_BATCH_HEAD;
	b.sum = rlog_sum(out + RLOG_BATCH_HEAD, b.bytes);
	rlog_batch_encode(&b, out);
}

static void group_add_batch(struct rlog *l)
{
	uint64_t size, at, part;
	uint32_t n = batch_extent(l, &size);

	if (n == 0 || l->slot_first)
		return;
	/* The ring is full until a checkpoint has trimmed it and that is durable. */
	if (l->head + size - l->tail_durable > l->slot.capacity)
		return;
	l->group = iobuf_new_reserve((uint32_t)size);
	batch_fill(l, n, l->group->data, size);
	at = l->head % l->slot.capacity;
	part = MIN(size, l->slot.capacity - at);
	write_at(l, 0, RLOG_RING + at, l->group->data, part);
	if (part < size)
		write_at(l, 1, RLOG_RING, l->group->data + part, size - part);
	l->unsent += n;
	l->next_seq++;
	l->head += size;
	l->group_end = l->head;
}

/* The lagging copy is renewed only beside a batch: it costs no sync of its own. */
static void group_add_slot(struct rlog *l)
{
	int older = l->slot_on[0] <= l->slot_on[1] ? 0 : 1;

	l->slot_which = -1;
	if (l->slot_on[older] == l->slot.generation)
		return;
	if (rlog_vote_durable(l) == l->slot.generation && !l->group)
		return;
	l->slot_page = iobuf_new_reserve(RLOG_PAGE);
	rlog_slot_encode(&l->slot, l->slot_page->data);
	l->slot_which = older;
	l->slot_generation = l->slot.generation;
	l->slot_tail = l->slot.tail_pos;
	write_at(l, 2, (uint64_t)older * RLOG_PAGE, l->slot_page->data, RLOG_PAGE);
}

void rlog_flush(struct rlog *l)
{
	unsigned n;

	if (l->phase != RLOG_IDLE)
		return;
	l->reqs = 0;
	l->req_error = 0;
	l->group_end = l->head;
	group_add_batch(l);
	group_add_slot(l);
	if (l->reqs == 0)
		return;
	l->phase = RLOG_WRITING;
	/* Completions never come from inside disk_submit(), so the count stands. A single write brings its
	 * own sync, several have one for all of them. */
	n = l->reqs;
	if (l->group)
		l->req[0].durable = n == 1;
	else
		l->req[2].durable = true;
	if (l->group) {
		disk_submit(l->disk, &l->req[0]);
		if (n - (l->slot_which >= 0) == 2)
			disk_submit(l->disk, &l->req[1]);
	}
	if (l->slot_which >= 0)
		disk_submit(l->disk, &l->req[2]);
}

static void group_done(struct rlog *l)
{
	if (l->slot_which >= 0) {
		l->slot_on[l->slot_which] = l->slot_generation;
		l->tail_durable = l->slot_tail;
		if (l->slot_generation == l->slot.generation)
			l->slot_first = false;
	}
	l->pos_durable = l->group_end;
	while (l->durable < rlog_last(l) && rlog_get(l, l->durable + 1)->batch_end <= l->pos_durable)
		l->durable++;
	iobuf_put(l->group);
	iobuf_put(l->slot_page);
	l->group = l->slot_page = NULL;
	l->phase = RLOG_IDLE;
	if (l->creating) {
		l->creating = false;
		l->ops->loaded(l->ctx, 0);
	} else {
		l->ops->durable(l->ctx);
	}
	if (l->phase == RLOG_IDLE)
		rlog_flush(l);
}

/* --- life --- */

static void create(struct rlog *l)
{
	l->slot = (struct rlog_slot){
		.cluster = l->config.cluster, .server = l->config.server, .generation = 1, .term = 1,
		.unproven = 1, .id = l->config.id,
		.capacity = ALIGN_DOWN(l->config.bytes, RLOG_PAGE) - RLOG_RING,
	};
	l->unsent = 1;
	rlog_append(l, 1, 1, l->config.first_type, l->config.first.p, l->config.first.len);
	l->creating = true;
	l->phase = RLOG_IDLE;
	rlog_flush(l);
}

int rlog_open(struct rlog **out, struct disk *disk, const struct rlog_config *c,
              const struct rlog_ops *ops, void *ctx)
{
	struct rlog *l = mem_new(sizeof(*l));
	int rc;

	CHECK(c->bytes >= RLOG_RING + 64 * RLOG_PAGE);
	l->disk = disk;
	l->config = *c;
	l->ops = ops;
	l->ctx = ctx;
	l->slot_which = -1;
	rc = disk->ops->open_file(disk, RLOG_FILE, ALIGN_DOWN(c->bytes, RLOG_PAGE), &l->file);
	if (rc) {
		mem_free(l);
		return rc;
	}
	*out = l;
	if (c->fresh)
		create(l);
	else
		rlog_load_start(l);
	return 0;
}

const char *rlog_why(const struct rlog *l)
{
	return l->why;
}

bool rlog_busy(const struct rlog *l)
{
	return l->phase == RLOG_LOADING || l->phase == RLOG_WRITING || l->phase == RLOG_SYNCING ||
	       l->reqs > 0;
}

void rlog_close(struct rlog *l)
{
	if (!l)
		return;
	l->disk->ops->close_file(l->file);
	for (uint64_t i = 0; i < l->entries; i++)
		mem_free(l->entry[i]);
	mem_free(l->entry);
	mem_free(l->image);
	iobuf_put(l->group);
	iobuf_put(l->slot_page);
	iobuf_put(l->load_buf);
	mem_free(l);
}
