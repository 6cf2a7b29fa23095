/* Life of a store, failure, and answers that must wait for the loop. */
#include "core-server/store/state.h"

#include <stdio.h>
#include <xxhash.h>

#include "common/base/trace.h"

#define JOURNAL_DEFAULT ((uint64_t)256 << 20)
#define JOURNAL_BYTES_MIN ((uint64_t)256 << 10)
#define CACHE_DEFAULT ((uint64_t)128 << 20)
#define INDEX_DEFAULT ((uint64_t)64 << 20)
#define LARGE_DEFAULT 65536u
#define SEAL_AFTER (50 * NSEC_MSEC)

static struct store_config defaults(const struct store_config *c)
{
	struct store_config d = *c;

	d.journal_bytes = d.journal_bytes ? ALIGN_DOWN(d.journal_bytes, PAGE_BYTES) : JOURNAL_DEFAULT;
	d.journal_bytes = MAX(d.journal_bytes, JOURNAL_BYTES_MIN);
	d.cache_bytes = d.cache_bytes ? d.cache_bytes : CACHE_DEFAULT;
	d.index_bytes = d.index_bytes ? d.index_bytes : INDEX_DEFAULT;
	d.large_bytes = d.large_bytes ? d.large_bytes : LARGE_DEFAULT;
	d.large_bytes = MIN(d.large_bytes, (uint32_t)(d.journal_bytes / 16));
	return d;
}

/* The journal's header is written by the first open: start counter 0 says that it is still to do. */
int store_format(struct disk *disk, struct kv *kv, uint64_t cluster, server_id_t server,
                 const struct store_config *config)
{
	struct store_config c = defaults(config);
	uint64_t seed[3] = {cluster, server, (uint64_t)c.now(c.ctx)};
	struct superblock sb;
	struct disk_file *f;
	int rc = format_get_super(kv, &sb);

	if (rc != -ENOENT)
		return rc ? rc : -EEXIST;
	rc = disk->ops->open_file(disk, "journal", c.journal_bytes, &f);
	if (rc < 0)
		return rc;
	disk->ops->close_file(f);
	rc = kv_hold(kv, INDEX_SLACK);
	if (rc < 0)
		return rc;
	sb = (struct superblock){
		.cluster = cluster,
		.server = server,
		.salt = XXH3_64bits(seed, sizeof(seed)),
		.journal_bytes = c.journal_bytes,
		.head = JOURNAL_FIRST,
	};
	rc = kv_begin(kv);
	if (rc < 0)
		return rc;
	rc = format_put_super(kv, &sb);
	if (rc < 0) {
		kv_abort(kv);
		return rc;
	}
	return kv_commit(kv);
}

void store_open(struct store **out, struct disk *disk, struct kv *kv, uint64_t cluster,
                server_id_t server, const struct store_config *config,
                void (*done)(void *ctx, int rc), void *done_ctx)
{
	struct store *s = mem_new(sizeof(*s));

	s->disk = disk;
	s->kv = kv;
	s->cluster = cluster;
	s->server = server;
	s->config = defaults(config);
	s->read_seq = 1;
	*out = s;
	replay_start(s, done, done_ctx);
}

static void free_ops(struct op **list)
{
	struct op *op;

	while ((op = *list) != NULL) {
		DL_DELETE(*list, op);
		op_free(op);
	}
}

void store_close(struct store *s)
{
	struct waiter *w;
	struct file *f;
	struct op *op;

	s->disk->ops->abandon(s->disk);
	replay_free(s);
	while ((op = s->failing) != NULL) {
		DL_DELETE(s->failing, op);
		op_free(op);
	}
	free_ops(&s->queue);
	free_ops(&s->no_space);
	free_ops(&s->journal.ready);
	free_ops(&s->batch.ops);
	free_ops(&s->merging);
	DL_FOREACH(s->file_lru, f)
		free_ops(&f->waiting);
	while ((w = s->waiters) != NULL) {
		DL_DELETE(s->waiters, w);
		mem_free(w);
	}
	if (s->batch.buf)
		jbuf_put(s->batch.buf);
	checkpoint_free(s);
	read_free(s);
	index_free(s);
	space_fini(s);
	mem_free(s->journal.last);
	if (s->journal.file)
		s->disk->ops->close_file(s->journal.file);
	if (s->data)
		s->disk->ops->close_file(s->data);
	mem_free(s);
}

const char *store_why(const struct store *s)
{
	return s->why;
}

bool store_failed(const struct store *s)
{
	return s->failed != 0;
}

uint64_t store_start_counter(const struct store *s)
{
	return s->start;
}

uint64_t store_disk_id(const struct store *s)
{
	return s->journal.salt;
}

uint64_t store_damaged(const struct store *s)
{
	return s->damaged;
}

/* Final: from here on everything is answered with the first error. */
void store_fail(struct store *s, int rc, const char *fmt, ...)
{
	va_list ap;

	if (s->failed)
		return;
	s->failed = rc == -ENOSPC ? -EIO : rc;
	va_start(ap, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
	TRACE("store.failed rc", -rc, 0, 0, 0);
	if (s->serving)
		store_kick(s);
}

/* --- what waits for the loop --- */
static void fail_ready(struct store *s)
{
	struct op *op, *t;

	DL_FOREACH_SAFE(s->journal.ready, op, t)
	{
		if (op->writes_left)
			continue; /* the disk still reads its memory */
		DL_DELETE(s->journal.ready, op);
		op_landed(op);
		op_fail(op, s->failed);
	}
}

static void fail_waiting(struct store *s)
{
	struct file *f, *t;
	struct op *op;

	fail_ready(s);
	submit_retry_space(s);
	while ((op = s->queue) != NULL) {
		DL_DELETE(s->queue, op);
		op_fail(op, s->failed);
	}
	DL_FOREACH_SAFE(s->file_lru, f, t)
		submit_pump_file(s, f);
	checkpoint_step(s);
}

static void on_nop(struct disk_req *io)
{
	struct store *s = io->owner;
	struct later *l;
	bool kick = s->kick;

	s->nop_busy = false;
	s->kick = false;
	for (struct later *last = s->later ? s->later->prev : NULL; last && (l = s->later) != NULL;) {
		DL_DELETE(s->later, l);
		l->fn(l);
		if (l == last)
			break;
	}
	if (s->later)
		store_kick(s);
	if (!kick)
		return;
	if (s->failed) {
		fail_waiting(s);
		return;
	}
	checkpoint_step(s);
	submit_pump(s);
	journal_start(s);
}

void store_kick(struct store *s)
{
	s->kick = true;
	if (s->nop_busy)
		return;
	s->nop_busy = true;
	store_io(s, &s->nop, DISK_NOP, NULL, 0, NULL, 0, on_nop);
}

void store_later(struct store *s, struct later *l)
{
	DL_APPEND(s->later, l);
	store_kick(s);
}

static struct disk_req io_of(struct store *s, enum disk_op op, struct disk_file *f, uint64_t off, void *p,
                             size_t len, void (*done)(struct disk_req *))
{
	return (struct disk_req){
		.op = op,
		.file = f,
		.off = off,
		.len = len,
		.iov = {{p, len}},
		.iovs = p ? 1 : 0,
		.done = done,
		.owner = s,
	};
}

void store_io(struct store *s, struct disk_req *r, enum disk_op op, struct disk_file *f, uint64_t off,
              void *p, size_t len, void (*done)(struct disk_req *))
{
	*r = io_of(s, op, f, off, p, len, done);
	disk_submit(s->disk, r);
}

void store_io_durable(struct store *s, struct disk_req *r, struct disk_file *f, uint64_t off, void *p,
                      size_t len, void (*done)(struct disk_req *))
{
	*r = io_of(s, DISK_WRITE, f, off, p, len, done);
	r->durable = !(s->config.bugs & STORE_BUG_RECORD_UNSYNCED);
	disk_submit(s->disk, r);
}

nsec_t store_tick(struct store *s, nsec_t now)
{
	struct journal *j = &s->journal;
	nsec_t next = NSEC_NEVER;

	if (s->failed || !s->serving)
		return NSEC_NEVER;
	if (checkpoint_due(s, now))
		checkpoint_want(s);
	if (!j->sealed && j->seq && !s->batch.busy) {
		if (now - j->written >= SEAL_AFTER)
			journal_seal(s);
		else
			next = j->written + SEAL_AFTER;
	}
	if (s->dirty_since)
		next = MIN(next, MAX(s->dirty_since + checkpoint_interval(s), now + NSEC_MSEC));
	index_trim(s);
	return next;
}

struct jbuf *jbuf_new(struct store *s, uint64_t bytes)
{
	struct jbuf *b = mem_new(sizeof(*b));

	b->store = s;
	b->io = iobuf_new_reserve((uint32_t)bytes);
	b->mem = b->io->data;
	b->bytes = bytes;
	b->refs = 1;
	s->overlay_bytes += bytes;
	return b;
}

void jbuf_put(struct jbuf *b)
{
	if (--b->refs)
		return;
	b->store->overlay_bytes -= b->bytes;
	iobuf_put(b->io);
	mem_free(b);
}
