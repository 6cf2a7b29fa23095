/* The fault model of the simulated disk.
 *
 * A file is an array of 4 KiB pages, each known twice: as reads see it, and as it is on the medium.
 * A write is seen by reads when it is answered. It reaches the medium when a sync that was submitted
 * after that answer succeeds; before, it may.
 *
 * Crash. Requests in flight are never answered. Every write that no successful sync covers - answered
 *   or not - is cut into pieces of tear_bytes, and a coin decides for each piece whether the medium has
 *   it: so writes are lost, torn inside, and kept while older ones are lost (reordered). Pieces are
 *   decided in the order of the writes, so of two writes to one place either may win, as with a cache
 *   that wrote the older one back before the newer was lost. A sync in flight has taken effect or not.
 *   A durable write reaches the medium when it is answered, with what older ones had there.
 * Failing sync. The request gives -EIO and all writes it should have covered are dropped: reads give
 *   the old pages from then on, and a later sync succeeds - as Linux does after a failed writeback,
 *   where the pages are marked clean. Who tries again is told a lie.
 *   A durable write fails like that alone.
 * Failing write. The request gives -EIO; reads give the old pages, the medium may have some of it.
 * Lost write. Answered with success, never happens; reads give the old pages.
 * Misdirected write. Lands some pages off in the same file, when that is inside the file.
 * Bit rot. A bit of a page flips, as read and on the medium.
 * Full. Files grow within the size of the file system; past it resize gives -ENOSPC.
 * Wipe, rollback. Between two stores: an empty disk, or the medium as it was at a snapshot.
 * Latency. A base per kind, plus bytes, plus jitter: so requests overtake one another.
 *
 * Not modelled: reads that change, a disk that hangs for ever (the simulator pauses nodes instead),
 * tearing below 512 bytes. */
#include "tests/sim/sim_disk.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/base/mem.h"
#include "common/base/random.h"

#define FILES_MAX 8

struct sim_write {
	struct disk_file *file;
	uint64_t off;
	uint64_t len;
	uint8_t *data;
	uint64_t answered;          /* ticket; 0: in flight */
	struct sim_write *prev, *next;
};

struct pages {
	uint8_t **v;
	uint64_t n;
};

struct disk_file {
	struct sim_disk *disk;
	char name[32];
	uint64_t bytes;
	struct pages seen, medium, snapshot;
	uint64_t snapshot_bytes;
	bool used;
};

struct sim_io {
	struct sim_disk *disk;
	struct disk_req *req;       /* NULL: abandoned */
	struct sim_write *write;
	uint64_t ticket;            /* of a sync: covers what was answered up to here */
	struct sim_io *prev, *next;
};

struct sim_disk {
	struct disk base;
	struct sim_disk_env env;
	struct sim_disk_faults faults;
	struct random random;
	uint64_t bytes;
	uint64_t tickets;
	uint64_t ops;
	struct disk_file files[FILES_MAX];
	struct sim_write *log;      /* unsynced writes, in order of submission */
	struct sim_io *ios;
	bool fail_next_sync, fail_next_write, fail_all;
	uint64_t crash_at;
	void (*on_crash)(void *ctx);
	void *crash_ctx;
};

static struct sim_disk *self(struct disk *d)
{
	return container_of(d, struct sim_disk, base);
}

static bool chance(struct sim_disk *d, unsigned permille)
{
	return permille && random_chance(&d->random, permille);
}

/* --- pages --- */
static void pages_resize(struct pages *p, uint64_t n)
{
	if (n <= p->n)
		return;
	p->v = mem_resize(p->v, n, sizeof(*p->v));
	memset(p->v + p->n, 0, (n - p->n) * sizeof(*p->v));
	p->n = n;
}

static void pages_free(struct pages *p)
{
	for (uint64_t i = 0; i < p->n; i++)
		mem_free(p->v[i]);
	mem_free(p->v);
	*p = (struct pages){0};
}

static void pages_put(struct pages *p, uint64_t off, const uint8_t *data, uint64_t len)
{
	while (len) {
		uint64_t page = off / PAGE_BYTES, n = MIN(len, PAGE_BYTES - off % PAGE_BYTES);

		CHECK(page < p->n);
		if (!p->v[page])
			p->v[page] = mem_new(PAGE_BYTES);
		memcpy(p->v[page] + off % PAGE_BYTES, data, n);
		off += n;
		data += n;
		len -= n;
	}
}

static void pages_get(const struct pages *p, uint64_t off, uint8_t *to, uint64_t len)
{
	for (; len; off += PAGE_BYTES, to += PAGE_BYTES, len -= PAGE_BYTES) {
		const uint8_t *page = p->v[off / PAGE_BYTES];

		if (page)
			memcpy(to, page, PAGE_BYTES);
		else
			memset(to, 0, PAGE_BYTES);
	}
}

static void page_copy(struct pages *to, const struct pages *from, uint64_t i)
{
	if (from->v[i]) {
		pages_put(to, i * PAGE_BYTES, from->v[i], PAGE_BYTES);
		return;
	}
	mem_free(to->v[i]);
	to->v[i] = NULL;
}

/* Reads see the medium again, under what is still answered and unsynced. */
static void see_again(struct sim_disk *d, const struct sim_write *w)
{
	struct disk_file *f = w->file;
	struct sim_write *e;

	for (uint64_t i = w->off / PAGE_BYTES; i < DIV_UP(w->off + w->len, PAGE_BYTES); i++)
		page_copy(&f->seen, &f->medium, i);
	DL_FOREACH(d->log, e)
	{
		uint64_t from = MAX(e->off, w->off), to = MIN(e->off + e->len, w->off + w->len);

		if (e != w && e->file == f && e->answered && from < to)
			pages_put(&f->seen, from, e->data + (from - e->off), to - from);
	}
}

static void write_free(struct sim_disk *d, struct sim_write *w)
{
	DL_DELETE(d->log, w);
	mem_free(w->data);
	mem_free(w);
}

/* --- files --- */
static uint64_t used_bytes(const struct sim_disk *d)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < FILES_MAX; i++)
		n += d->files[i].used ? d->files[i].bytes : 0;
	return n;
}

static uint64_t sim_free_bytes(struct disk *base)
{
	struct sim_disk *d = self(base);
	uint64_t used = used_bytes(d);

	return d->bytes > used ? d->bytes - used : 0;
}

static int sim_resize(struct disk_file *f, uint64_t bytes)
{
	if (bytes <= f->bytes)
		return 0;
	if (bytes - f->bytes > sim_free_bytes(&f->disk->base))
		return -ENOSPC;
	f->bytes = bytes;
	pages_resize(&f->seen, DIV_UP(bytes, PAGE_BYTES));
	pages_resize(&f->medium, DIV_UP(bytes, PAGE_BYTES));
	return 0;
}

static struct disk_file *find_file(struct sim_disk *d, const char *name)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (d->files[i].used && strcmp(d->files[i].name, name) == 0)
			return &d->files[i];
	return NULL;
}

static int sim_open_file(struct disk *base, const char *name, uint64_t bytes, struct disk_file **out)
{
	struct sim_disk *d = self(base);
	struct disk_file *f = find_file(d, name);

	for (unsigned i = 0; !f && i < FILES_MAX; i++) {
		if (d->files[i].used)
			continue;
		f = &d->files[i];
		pages_free(&f->snapshot); /* of a file that a wipe took away */
		*f = (struct disk_file){.disk = d, .used = true};
		CHECK(strlen(name) < sizeof(f->name));
		memcpy(f->name, name, strlen(name) + 1);
	}
	if (!f)
		return -ENFILE;
	*out = f;
	return sim_resize(f, bytes);
}

static uint64_t sim_size(struct disk_file *f)
{
	return f->bytes;
}

static void sim_close_file(struct disk_file *f)
{
	CHECK(f->used);
}

/* --- requests --- */
static void io_free(struct sim_io *io)
{
	DL_DELETE(io->disk->ios, io);
	mem_free(io);
}

static int end_read(struct sim_disk *d, struct disk_req *r)
{
	uint64_t off = r->off;

	if (chance(d, d->faults.fail_read_permille))
		return -EIO;
	if (r->off + r->len > r->file->bytes)
		return -ENODATA;
	for (unsigned i = 0; i < r->iovs; i++) {
		pages_get(&r->file->seen, off, r->iov[i].p, r->iov[i].len);
		off += r->iov[i].len;
	}
	return 0;
}

static bool sync_fails(struct sim_disk *d)
{
	bool fail = d->fail_next_sync || chance(d, d->faults.fail_sync_permille);

	d->fail_next_sync = false;
	return fail;
}

/* The sync that is part of a durable write. */
static int end_durable(struct sim_disk *d, struct sim_write *w)
{
	const struct sim_write at = *w; /* w itself goes on the way */
	struct sim_write *e, *t;
	bool fail = sync_fails(d);

	DL_FOREACH_SAFE(d->log, e, t)
	{
		if (e->file != at.file || !e->answered || e->answered > at.answered ||
		    e->off >= at.off + at.len || at.off >= e->off + e->len)
			continue;
		if (!fail)
			pages_put(&e->file->medium, e->off, e->data, e->len);
		else if (e == w)
			see_again(d, e);
		if (!fail || e == w)
			write_free(d, e);
	}
	return fail ? -EIO : 0;
}

static int end_write(struct sim_disk *d, struct sim_io *io)
{
	struct sim_write *w = io->write;

	if (w->off + w->len > w->file->bytes) {
		write_free(d, w);
		return -ENOSPC;
	}
	if (d->fail_next_write) {
		d->fail_next_write = false;
		return -EIO; /* stays in the log unanswered: a crash decides what the medium has of it */
	}
	if (chance(d, d->faults.lost_write_permille)) {
		write_free(d, w);
		return 0;
	}
	if (chance(d, d->faults.misdirected_write_permille)) {
		uint64_t off = w->off + PAGE_BYTES * (1 + random_below(&d->random, 8));

		if (off + w->len <= w->file->bytes)
			w->off = off;
	}
	w->answered = ++d->tickets;
	pages_put(&w->file->seen, w->off, w->data, w->len);
	return io->req->durable ? end_durable(d, w) : 0;
}

static void sync_covers(struct sim_disk *d, struct sim_io *io, bool good)
{
	struct sim_write *w, *t;

	DL_FOREACH_SAFE(d->log, w, t)
	{
		if (w->file != io->req->file || !w->answered || w->answered > io->ticket)
			continue;
		if (good)
			pages_put(&w->file->medium, w->off, w->data, w->len);
		else
			see_again(d, w);
		write_free(d, w);
	}
}

static int end_sync(struct sim_disk *d, struct sim_io *io)
{
	bool fail = sync_fails(d);

	sync_covers(d, io, !fail);
	return fail ? -EIO : 0;
}

/* The power goes instead of this answer. */
static bool crash_now(struct sim_disk *d, struct sim_io *io)
{
	void (*on_crash)(void *ctx) = d->on_crash;

	if (io->req->op != DISK_WRITE && io->req->op != DISK_SYNC)
		return false;
	d->ops++;
	if (!d->crash_at || --d->crash_at)
		return false;
	if (io->req->op == DISK_SYNC && random_below(&d->random, 2))
		sync_covers(d, io, true);
	d->on_crash = NULL;
	on_crash(d->crash_ctx);
	return true;
}

static void answer(void *arg)
{
	struct sim_io *io = arg;
	struct sim_disk *d = io->disk;
	struct disk_req *r = io->req;

	if (!r || crash_now(d, io)) {
		io_free(io);
		return;
	}
	switch (r->op) {
	case DISK_READ:
		r->result = end_read(d, r);
		break;
	case DISK_WRITE:
		r->result = end_write(d, io);
		break;
	case DISK_SYNC:
		r->result = end_sync(d, io);
		break;
	case DISK_DISCARD:
	case DISK_NOP:
		r->result = 0;
		break;
	}
	if (d->fail_all && r->op != DISK_NOP)
		r->result = -EIO;
	io_free(io);
	r->done(r);
}

static struct sim_write *log_write(struct sim_disk *d, const struct disk_req *r)
{
	struct sim_write *w = mem_new(sizeof(*w));
	uint8_t *to;

	w->file = r->file;
	w->off = r->off;
	w->len = r->len;
	to = w->data = mem_new(r->len);
	for (unsigned i = 0; i < r->iovs; i++) {
		memcpy(to, r->iov[i].p, r->iov[i].len);
		to += r->iov[i].len;
	}
	DL_APPEND(d->log, w);
	return w;
}

static nsec_t or_default(nsec_t v, nsec_t d)
{
	return v ? v : d;
}

static nsec_t sync_latency(struct sim_disk *d)
{
	const struct sim_disk_faults *f = &d->faults;

	return chance(d, f->slow_sync_permille) ? f->slow_sync_ns : or_default(f->sync_ns, 60000);
}

static nsec_t latency(struct sim_disk *d, const struct disk_req *r)
{
	const struct sim_disk_faults *f = &d->faults;
	nsec_t ns = 0;

	switch (r->op) {
	case DISK_READ:
		ns = or_default(f->read_ns, 80000);
		break;
	case DISK_WRITE:
		ns = or_default(f->write_ns, 20000) + (r->durable ? sync_latency(d) : 0);
		break;
	case DISK_SYNC:
		ns = sync_latency(d);
		break;
	case DISK_DISCARD:
	case DISK_NOP:
		return 0;
	}
	ns += (nsec_t)r->len * or_default(f->byte_ps, 1000) / 1000;
	if (f->jitter_percent)
		ns += (nsec_t)random_below(&d->random, (uint64_t)ns * f->jitter_percent / 100 + 1);
	return ns;
}

static void sim_submit(struct disk *base, struct disk_req *r)
{
	struct sim_disk *d = self(base);
	struct sim_io *io = mem_new(sizeof(*io));
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->iovs; i++)
		sum += r->iov[i].len;
	if (r->op == DISK_READ || r->op == DISK_WRITE) {
		CHECK(sum == r->len);
		CHECK(r->off % PAGE_BYTES == 0);
		CHECK(r->len % PAGE_BYTES == 0);
	}
	io->disk = d;
	io->req = r;
	io->ticket = d->tickets;
	if (r->op == DISK_WRITE)
		io->write = log_write(d, r);
	DL_APPEND(d->ios, io);
	d->env.after(d->env.ctx, latency(d, r), answer, io);
}

static void sim_abandon(struct disk *base)
{
	struct sim_io *io;

	DL_FOREACH(self(base)->ios, io)
		io->req = NULL;
}

/* --- faults --- */
void sim_disk_crash(struct disk *base)
{
	struct sim_disk *d = self(base);
	uint64_t piece = d->faults.tear_bytes ? d->faults.tear_bytes : PAGE_BYTES;
	struct sim_write *w;

	sim_abandon(base);
	while ((w = d->log) != NULL) {
		uint64_t fits = w->off + w->len <= w->file->bytes ? w->len : 0;

		for (uint64_t at = 0; at < fits; at += piece)
			if (random_below(&d->random, 2))
				pages_put(&w->file->medium, w->off + at, w->data + at, piece);
		write_free(d, w);
	}
	for (unsigned i = 0; i < FILES_MAX; i++)
		for (uint64_t p = 0; p < d->files[i].seen.n; p++)
			page_copy(&d->files[i].seen, &d->files[i].medium, p);
	d->crash_at = 0;
	d->fail_next_sync = d->fail_next_write = false;
}

void sim_disk_crash_at(struct disk *base, uint64_t n, void (*on_crash)(void *ctx), void *ctx)
{
	struct sim_disk *d = self(base);

	d->crash_at = n;
	d->on_crash = on_crash;
	d->crash_ctx = ctx;
}

uint64_t sim_disk_ops(const struct disk *base)
{
	return container_of(base, const struct sim_disk, base)->ops;
}

static void flip(struct disk_file *f, uint64_t page, uint64_t byte, uint8_t mask)
{
	f->medium.v[page][byte] ^= mask;
	if (f->seen.v[page])
		f->seen.v[page][byte] ^= mask;
}

bool sim_disk_rot_at(struct disk *base, const char *name, uint64_t off)
{
	struct sim_disk *d = self(base);
	struct disk_file *f = find_file(d, name);
	uint64_t page = off / PAGE_BYTES;

	if (!f || page >= f->medium.n || !f->medium.v[page])
		return false;
	flip(f, page, off % PAGE_BYTES, (uint8_t)(1u << random_below(&d->random, 8)));
	return true;
}

unsigned sim_disk_rot_if(struct disk *base, const char *name,
                         bool (*wants)(void *ctx, const uint8_t *page), void *ctx)
{
	struct sim_disk *d = self(base);
	struct disk_file *f = find_file(d, name);
	unsigned pages = 0;

	for (uint64_t p = 0; f && p < f->medium.n; p++) {
		if (!f->medium.v[p] || !wants(ctx, f->medium.v[p]))
			continue;
		flip(f, p, random_below(&d->random, PAGE_BYTES), (uint8_t)(1u << random_below(&d->random, 8)));
		pages++;
	}
	return pages;
}

/* The k-th page that was ever written. */
static uint64_t written_page(const struct disk_file *f, uint64_t k)
{
	uint64_t p = 0;

	while (!f->medium.v[p] || k--)
		p++;
	return p;
}

unsigned sim_disk_rot(struct disk *base, const char *name, unsigned pages)
{
	struct sim_disk *d = self(base);
	struct disk_file *f = find_file(d, name);
	uint64_t written = 0;

	for (uint64_t p = 0; f && p < f->medium.n; p++)
		written += f->medium.v[p] != NULL;
	if (!written)
		return 0;
	for (unsigned n = 0; n < pages; n++)
		flip(f, written_page(f, random_below(&d->random, written)),
		     random_below(&d->random, PAGE_BYTES), (uint8_t)(1u << random_below(&d->random, 8)));
	return pages;
}

void sim_disk_fail_next_sync(struct disk *d)
{
	self(d)->fail_next_sync = true;
}

void sim_disk_fail_next_write(struct disk *d)
{
	self(d)->fail_next_write = true;
}

void sim_disk_fail_all(struct disk *d, bool on)
{
	self(d)->fail_all = on;
}

uint64_t sim_disk_used(const struct disk *base)
{
	return used_bytes(container_of(base, const struct sim_disk, base));
}

void sim_disk_set_bytes(struct disk *d, uint64_t bytes)
{
	self(d)->bytes = bytes;
}

void sim_disk_set_faults(struct disk *d, const struct sim_disk_faults *f)
{
	self(d)->faults = *f;
	self(d)->fail_next_sync = self(d)->fail_next_write = false;
}

static void drop_log(struct sim_disk *d)
{
	while (d->log)
		write_free(d, d->log);
}

void sim_disk_wipe(struct disk *base)
{
	struct sim_disk *d = self(base);

	sim_abandon(base);
	drop_log(d);
	for (unsigned i = 0; i < FILES_MAX; i++) {
		pages_free(&d->files[i].seen);
		pages_free(&d->files[i].medium);
		d->files[i].used = false;
		d->files[i].bytes = 0;
	}
}

void sim_disk_snapshot(struct disk *base)
{
	struct sim_disk *d = self(base);

	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct disk_file *f = &d->files[i];

		pages_free(&f->snapshot);
		pages_resize(&f->snapshot, f->medium.n);
		for (uint64_t p = 0; p < f->medium.n; p++)
			page_copy(&f->snapshot, &f->medium, p);
		f->snapshot_bytes = f->bytes;
	}
}

void sim_disk_rollback(struct disk *base)
{
	struct sim_disk *d = self(base);

	sim_abandon(base);
	drop_log(d);
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct disk_file *f = &d->files[i];

		pages_free(&f->seen);
		pages_free(&f->medium);
		f->bytes = f->snapshot_bytes;
		f->used = f->bytes != 0;
		pages_resize(&f->seen, f->snapshot.n);
		pages_resize(&f->medium, f->snapshot.n);
		for (uint64_t p = 0; p < f->snapshot.n; p++) {
			page_copy(&f->seen, &f->snapshot, p);
			page_copy(&f->medium, &f->snapshot, p);
		}
	}
}

static const struct disk_ops ops = {
	.open_file = sim_open_file,
	.resize = sim_resize,
	.size = sim_size,
	.close_file = sim_close_file,
	.submit = sim_submit,
	.free_bytes = sim_free_bytes,
	.abandon = sim_abandon,
};

struct disk *sim_disk_new(uint64_t seed, uint64_t bytes, const struct sim_disk_env *env)
{
	struct sim_disk *d = mem_new(sizeof(*d));

	d->base.ops = &ops;
	d->env = *env;
	d->bytes = bytes;
	random_seed(&d->random, seed);
	return &d->base;
}

void sim_disk_free(struct disk *base)
{
	struct sim_disk *d = self(base);

	while (d->ios)
		io_free(d->ios);
	drop_log(d);
	for (unsigned i = 0; i < FILES_MAX; i++) {
		pages_free(&d->files[i].seen);
		pages_free(&d->files[i].medium);
		pages_free(&d->files[i].snapshot);
	}
	mem_free(d);
}
