#include "tests/unit/store/rig.h"

#include "common/base/mem.h"
#include "core-server/store/state.h"

/* --- events --- */
static bool before(const struct rig_event *a, const struct rig_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct rig *g, struct rig_event e)
{
	size_t i = g->n++;

	if (g->n > g->max) {
		g->max = g->max ? g->max * 2 : 64;
		g->events = mem_resize(g->events, g->max, sizeof(*g->events));
	}
	while (i && before(&e, &g->events[(i - 1) / 2])) {
		g->events[i] = g->events[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	g->events[i] = e;
}

static struct rig_event pop(struct rig *g)
{
	struct rig_event first = g->events[0], last = g->events[--g->n];
	size_t i = 0;

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= g->n)
			break;
		if (child + 1 < g->n && before(&g->events[child + 1], &g->events[child]))
			child++;
		if (!before(&g->events[child], &last))
			break;
		g->events[i] = g->events[child];
		i = child;
	}
	g->events[i] = last;
	return first;
}

static void after(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg)
{
	struct rig *g = ctx;

	push(g, (struct rig_event){g->now + delay, ++g->seq, fn, arg});
}

static nsec_t rig_now(void *ctx)
{
	return ((struct rig *)ctx)->now;
}

bool rig_step(struct rig *g)
{
	struct rig_event e;

	if (!g->n || g->stopped)
		return false;
	e = pop(g);
	g->now = MAX(g->now, e.at);
	e.fn(e.arg);
	return true;
}

void rig_run(struct rig *g)
{
	while (rig_step(g))
		;
}

void rig_wait(struct rig *g, const bool *flag)
{
	while (!*flag && rig_step(g))
		;
}

void rig_sleep(struct rig *g, nsec_t ns)
{
	nsec_t until = g->now + ns;

	while (!g->stopped && g->store) {
		nsec_t due = store_tick(g->store, g->now);

		due = MIN(due, until);
		while (g->n && g->events[0].at <= MAX(due, g->now))
			if (!rig_step(g))
				return;
		if (g->now >= until)
			break;
		g->now = MAX(g->now, due);
	}
}

/* --- life --- */
void rig_init(struct rig *g, uint64_t seed, uint64_t disk_bytes, const struct store_config *c)
{
	struct sim_disk_env env = {.now = rig_now, .after = after, .ctx = g};

	*g = (struct rig){.config = *c};
	g->config.now = rig_now;
	g->config.ctx = g;
	g->disk = sim_disk_new(seed, disk_bytes, &env);
	sim_kv_init(&g->index, seed, &env);
	g->kv = g->index.kv;
	CHECK(store_format(g->disk, g->kv, RIG_CLUSTER, RIG_SERVER, &g->config) == 0);
}

void rig_fini(struct rig *g)
{
	rig_close(g);
	sim_disk_free(g->disk);
	sim_kv_fini(&g->index);
	mem_free(g->events);
	*g = (struct rig){0};
}

static void on_open(void *ctx, int rc)
{
	struct rig *g = ctx;

	g->opened = true;
	g->open_rc = rc;
}

void rig_open_begin(struct rig *g)
{
	g->opened = false;
	store_open(&g->store, g->disk, g->kv, RIG_CLUSTER, RIG_SERVER, &g->config, on_open, g);
	CHECK(!g->opened);
}

int rig_open(struct rig *g)
{
	rig_open_begin(g);
	rig_wait(g, &g->opened);
	return g->opened ? g->open_rc : -EINTR;
}

void rig_close(struct rig *g)
{
	if (g->store)
		store_close(g->store);
	g->store = NULL;
}

int rig_crash(struct rig *g)
{
	sim_disk_crash(g->disk);
	rig_close(g);
	sim_kv_crash(&g->index);
	g->stopped = false;
	return rig_open(g);
}

/* --- requests --- */
struct iobuf *rig_data(const void *bytes, uint32_t len)
{
	struct iobuf *b = iobuf_new(len);

	CHECK(b);
	memcpy(b->data, bytes, len);
	return b;
}

static void on_written(struct store_req *req)
{
	container_of(req, struct rig_write, req)->answered = true;
}

struct rig_write *rig_write(struct rig *g, file_id_t file, uint64_t block, uint32_t off,
                            const void *bytes, uint32_t len, uint64_t n)
{
	struct rig_write *w = mem_new(sizeof(*w));

	w->req = (struct store_req){
		.op = STORE_WRITE,
		.file = file,
		.block = block,
		.block_shift = 16,
		.off = off,
		.len = len,
		.zero = !bytes,
		.version = {1, n},
		.seal = 1,
		.map = 1,
		.done = on_written,
	};
	if (bytes)
		w->req.data = (struct slice){rig_data(bytes, len), 0, len};
	store_submit(g->store, &w->req);
	if (bytes)
		iobuf_put(w->req.data.buf);
	CHECK(!w->answered);
	return w;
}


int rig_do(struct rig *g, struct store_req *req)
{
	struct rig_write w = {.req = *req};

	w.req.done = on_written;
	store_submit(g->store, &w.req);
	CHECK(!w.answered);
	rig_wait(g, &w.answered);
	CHECK(w.answered);
	*req = w.req;
	return w.req.result;
}

int rig_write_sync(struct rig *g, file_id_t file, uint64_t block, uint32_t off, const void *bytes,
                   uint32_t len, uint64_t n)
{
	struct rig_write *w = rig_write(g, file, block, off, bytes, len, n);
	int rc;

	rig_wait(g, &w->answered);
	CHECK(w->answered);
	rc = w->req.result;
	mem_free(w);
	return rc;
}

struct flag {
	bool done;
	int rc;
};

static void on_flag(void *ctx, int rc)
{
	struct flag *f = ctx;

	f->done = true;
	f->rc = rc;
}

int rig_checkpoint(struct rig *g)
{
	struct flag f = {0};

	store_checkpoint(g->store, on_flag, &f);
	rig_wait(g, &f.done);
	CHECK(f.done);
	return f.rc;
}

struct read_op {
	struct store_read r;
	bool done;
};

static void on_read(struct store_read *r)
{
	container_of(r, struct read_op, r)->done = true;
}

static int read_range(struct rig *g, struct read_op *op, void *to, struct store_block *at)
{
	uint32_t k = 0, len = op->r.len;

	op->r.done = on_read;
	op->done = false;

	store_read(g->store, &op->r);
	CHECK(!op->done);
	rig_wait(g, &op->done);
	CHECK(op->done);
	memset(to, 0, len);
	for (uint32_t p = 0; p < len / PAGE_BYTES && !op->r.result; p++)
		if (op->r.present[p / 8] >> (p % 8) & 1)
			memcpy((uint8_t *)to + p * PAGE_BYTES,
			       slice_data(op->r.data) + PAGE_BYTES * (size_t)k++, PAGE_BYTES);
	iobuf_put(op->r.data.buf);
	mem_free(op->r.sums);
	if (at)
		*at = op->r.at;
	return op->r.result;
}

int rig_read(struct rig *g, file_id_t file, uint64_t block, uint32_t off, void *to, uint32_t len,
             struct store_block *at)
{
	struct read_op op = {
		.r = {.file = file, .block = block, .block_shift = 16, .off = off, .len = len}};

	return read_range(g, &op, to, at);
}

int rig_read_block(struct rig *g, file_id_t file, uint64_t block, uint8_t shift, uint32_t len,
                   void *to, struct store_block *at)
{
	struct read_op op = {.r = {.file = file, .block = block, .block_shift = shift, .len = len}};

	return read_range(g, &op, to, at);
}

static struct store_read *ended;

static void on_raw(struct store_read *r)
{
	ended = r;
}

void rig_read_begin(struct rig *g, struct store_read *r)
{
	ended = NULL;
	r->done = on_raw;
	store_read(g->store, r);
	CHECK(!ended);
}

int rig_read_end(struct rig *g, struct store_read *r)
{
	while (ended != r && rig_step(g))
		;
	CHECK(ended == r);
	return r->result;
}

int rig_read_raw(struct rig *g, struct store_read *r)
{
	rig_read_begin(g, r);
	return rig_read_end(g, r);
}

uint64_t rig_index_bytes(const struct rig *g)
{
	return g->store->index_bytes;
}

struct opening {
	int *rc;
	bool *opened;
};

static void on_open_as(void *ctx, int rc)
{
	struct opening *o = ctx;

	*o->rc = rc;
	*o->opened = true;
}

void rig_open_as(struct rig *g, uint64_t cluster, server_id_t server, struct store **out, int *rc,
                 bool *opened)
{
	struct opening o = {rc, opened};

	store_open(out, g->disk, g->kv, cluster, server, &g->config, on_open_as, &o);
	rig_wait(g, opened);
}
