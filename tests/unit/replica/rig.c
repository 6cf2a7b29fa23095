#include "tests/unit/replica/rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"

struct rig rig;

/* --- virtual time --- */
static struct event {
	nsec_t at;
	uint64_t seq;
	void (*fn)(void *arg);
	void *arg;
	struct event *next;
} *events;
static uint64_t event_seq;

static nsec_t disk_now(void *ctx)
{
	(void)ctx;
	return rig.now;
}

static void disk_after(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg)
{
	struct event *e = mem_new(sizeof(*e)), **at = &events;

	(void)ctx;
	e->at = rig.now + delay;
	e->seq = event_seq++;
	e->fn = fn;
	e->arg = arg;
	while (*at != NULL && ((*at)->at < e->at || ((*at)->at == e->at && (*at)->seq < e->seq)))
		at = &(*at)->next;
	e->next = *at;
	*at = e;
}

static nsec_t env_now(struct env *env)
{
	(void)env;
	return rig.now;
}

static uint64_t env_wall(struct env *env)
{
	(void)env;
	return 0;
}

static uint64_t env_random(struct env *env)
{
	(void)env;
	return 4;
}

/* --- the catalog, as far as a core server sees it --- */
static void catalog_answer(const struct msg *m)
{
	struct msg reply = {.src = m->dst, .dst = 1, .id = m->id};
	uint8_t ino[8];
	bool found = false;

	if (m->type == MSG_TYPE_op_session) {
		reply.type = MSG_TYPE_r_session;
		reply.r_session = (struct msg_r_session){.session = m->op_session.session,
			.slot = m->op_session.slot, .seq = m->op_session.seq, .given = 77,
			.session_ms = 5000, .margin_ms = 500};
	} else if (m->type == MSG_TYPE_heartbeat) {
		reply.type = MSG_TYPE_heartbeat_reply;
		reply.heartbeat_reply = (struct msg_heartbeat_reply){.session = m->heartbeat.session,
			.nonce = m->heartbeat.nonce, .term = 1, .session_ms = 5000, .shared_ms = 800};
	} else {
		cr_assert_eq(m->type, MSG_TYPE_q_files);
		for (uint32_t i = 0; i < m->q_files.inos.len; i += Q_FILES_BYTES) {
			rig.asked++;
			found = found || get_u64le(m->q_files.inos.p + i) == rig.gone;
		}
		put_u64le(ino, rig.gone);
		reply.type = MSG_TYPE_r_bytes;
		reply.r_bytes = (struct msg_r_bytes){.session = m->q_files.session,
			.slot = m->q_files.slot, .seq = m->q_files.seq,
			.bytes = {ino, found ? 8 : 0}};
	}
	cr_assert(session_recv(rig.session, &reply));
}

/* Messages to the catalog wait here: it never answers from inside. */
struct held {
	uint8_t *frame;
	size_t len;
};

static void deliver(void *arg)
{
	struct held *h = arg;
	struct msg m;

	cr_assert_eq(msg_decode(h->frame, h->frame + WIRE_HEADER_BYTES, (struct slice){0}, &m), 0);
	if (rig.session != NULL)
		catalog_answer(&m);
	mem_free(h->frame);
	mem_free(h);
}

static int env_send(struct env *env, const struct msg *m)
{
	char line[1024];

	(void)env;
	if (m->dst == SERVER_LEADER) {
		struct held *h = mem_new(sizeof(*h));

		h->len = msg_head_bytes(m);
		h->frame = mem_new(h->len);
		msg_encode(m, h->frame);
		disk_after(NULL, 0, deliver, h);
		return 0;
	}
	msg_print(m, line, sizeof(line));
	/* Where the journal is depends on how the store gathered writes: not part of the trace. */
	if (m->type == MSG_TYPE_write_reply || m->type == MSG_TYPE_install_reply) {
		cr_assert_eq(m->write_reply.journal, store_journal_position(rig.store));
		*strstr(line, " boot=") = 0;
	}
	rig.log_len += (size_t)snprintf(rig.log + rig.log_len, sizeof(rig.log) - rig.log_len,
	                                "%" PRIu32 "#%" PRIu64 " %s\n", m->dst, m->id, line);
	cr_assert_lt(rig.log_len, sizeof(rig.log));
	if (m->payload.len > 0) {
		iobuf_put(rig.payload);
		rig.payload = iobuf_new(m->payload.len);
		memcpy(rig.payload->data, slice_data(m->payload), m->payload.len);
	}
	if (m->type == MSG_TYPE_read_reply && m->read_reply.sums.len > 0)
		memcpy(rig.sums, m->read_reply.sums.p, MIN(m->read_reply.sums.len, sizeof(rig.sums)));
	if (m->type == MSG_TYPE_list_reply && m->list_reply.entries.len > 0) {
		rig.entries_len = m->list_reply.entries.len;
		memcpy(rig.entries, m->list_reply.entries.p,
		       MIN(rig.entries_len, sizeof(rig.entries)));
	}
	return 0;
}

/* --- life --- */
static struct store_config store_config(void)
{
	return (struct store_config){.journal_bytes = 4u << 20, .cache_bytes = 2u << 20, .now = disk_now};
}

static void on_open(void *ctx, int rc)
{
	int *out = ctx;

	*out = rc;
}

static void open_all(void)
{
	struct store_config sc = store_config();
	struct replica_config rc = {.server = 1, .bugs = rig.bugs};
	int result = 1;

	store_open(&rig.store, rig.disk, rig.kv, 9, 1, &sc, on_open, &result);
	while (result == 1) {
		store_tick(rig.store, rig.now);
		rig_run();
	}
	cr_assert_eq(result, 0, "%s", store_why(rig.store));
	rig.replica = replica_new(&rig.env, rig.store, &rc);
	replica_set_session(rig.replica, NSEC_NEVER, 0);
	rig_run();
}

void rig_start_with(unsigned bugs)
{
	struct sim_disk_env env = {.now = disk_now, .after = disk_after};
	struct store_config sc = store_config();

	rig = (struct rig){.env = {env_now, env_wall, env_send, env_random}, .now = NSEC_SEC};
	rig.bugs = bugs;
	rig.disk = sim_disk_new(1, 256u << 20, &env);
	rig.kv = kv_new_mem();
	cr_assert_eq(store_format(rig.disk, rig.kv, 9, 1, &sc), 0);
	open_all();
}

void rig_start(void)
{
	rig_start_with(0);
}

static void close_all(void)
{
	store_close(rig.store);
	replica_free(rig.replica);
	if (rig.session != NULL)
		session_free(rig.session);
	rig.store = NULL;
	rig.replica = NULL;
	rig.session = NULL;
}

static void drop_events(void)
{
	while (events != NULL) {
		struct event *e = events;

		events = e->next;
		if (e->fn == deliver)
			deliver(e->arg);
		mem_free(e);
	}
}

void rig_stop(void)
{
	close_all();
	sim_disk_free(rig.disk);
	drop_events();
	kv_close(rig.kv);
	iobuf_put(rig.payload);
	rig.payload = NULL;
	cr_assert_eq(iobuf_used(), 0);
}

void rig_reopen(bool crash)
{
	close_all();
	if (crash) {
		sim_disk_crash(rig.disk);
		kv_mem_crash(rig.kv);
	}
	open_all();
}

static nsec_t tick(void)
{
	nsec_t due = store_tick(rig.store, rig.now);

	if (rig.session != NULL)
		due = MIN(due, session_tick(rig.session, rig.now));
	if (rig.replica != NULL)
		due = MIN(due, replica_tick(rig.replica, rig.now));
	return due;
}

static void step_to(nsec_t end)
{
	for (;;) {
		nsec_t due = tick();
		struct event *e = events;

		if (e != NULL && e->at <= MIN(due, end)) {
			events = e->next;
			rig.now = MAX(rig.now, e->at);
			e->fn(e->arg);
			mem_free(e);
			continue;
		}
		if (due > end)
			break;
		rig.now = MAX(rig.now, due);
	}
}

/* All of the disk's work ends within 5 ms of virtual time. */
void rig_run(void)
{
	rig_advance(5 * NSEC_MSEC);
}

void rig_advance(nsec_t by)
{
	nsec_t end = rig.now + by;

	step_to(end);
	rig.now = end;
}

void rig_with_catalog(void)
{
	static const struct session_ops ops;
	struct session_config c = {.server = 1, .kind = SERVER_CORE, .boot = 5, .hints = 1, .hint = {18}};

	rig.session = session_new(&rig.env, &c, &ops, NULL);
	replica_set_catalog(rig.replica, rig.session);
	rig_run();
}

/* --- requests --- */
void rig_send(struct msg *m)
{
	m->src = PEER;
	m->dst = 1;
	m->id = ++rig.next_id;
	replica_recv(rig.replica, m);
}

void rig_expect(const char *lines)
{
	cr_assert_str_eq(rig.log, lines, "got:\n%swanted:\n%s", rig.log, lines);
	rig.log[0] = '\0';
	rig.log_len = 0;
}

struct version ver(uint64_t epoch, uint64_t n)
{
	return (struct version){epoch, n};
}

static void send_write(uint64_t block, struct version prev, struct version version, uint32_t off,
                       uint32_t len, uint8_t op, uint8_t fill)
{
	uint32_t first = DIV_UP(off, PAGE_BYTES), end = (off + len) / PAGE_BYTES;
	uint8_t sums[8 * BLOCK_BYTES / PAGE_BYTES];
	struct msg m = {.type = MSG_TYPE_write};

	m.write = (struct msg_write){.file = FILE_7, .map = MAP, .epoch = version.epoch, .block = block,
		.block_shift = SHIFT, .op = op, .off = off, .len = len, .prev = prev,
		.version = version};
	if (op == WRITE_DATA) {
		m.write.paid = ALIGN_UP(off + len, PAGE_BYTES) - ALIGN_DOWN(off, PAGE_BYTES);
		m.payload = (struct slice){iobuf_new(len), 0, len};
		memset(m.payload.buf->data, fill, len);
		for (uint32_t p = first; p < end; p++)
			put_u64le(sums + 8 * (p - first),
			          page_sum(FILE_7, block, p,
			                   m.payload.buf->data + (p * PAGE_BYTES - off)));
		m.write.sums = (struct span){sums, end > first ? 8 * (end - first) : 0};
	}
	rig_send(&m);
	iobuf_put(m.payload.buf);
}

void rig_write(uint64_t block, struct version prev, struct version version, uint32_t page,
               uint32_t pages, uint8_t fill)
{
	send_write(block, prev, version, page * PAGE_BYTES, pages * PAGE_BYTES, WRITE_DATA, fill);
}

void rig_write_part(uint64_t block, struct version prev, struct version version, uint32_t off,
                    uint32_t len, uint8_t fill)
{
	send_write(block, prev, version, off, len, WRITE_DATA, fill);
}

void rig_zero(uint64_t block, struct version prev, struct version version, uint32_t off,
              uint32_t len)
{
	send_write(block, prev, version, off, len, WRITE_ZERO, 0);
}

void rig_seal(uint64_t epoch)
{
	struct msg m = {.type = MSG_TYPE_seal};

	m.seal = (struct msg_seal){FILE_7, MAP, epoch};
	rig_send(&m);
}

void rig_read(uint64_t epoch, uint64_t block, uint32_t page, uint32_t pages, struct version min)
{
	struct msg m = {.type = MSG_TYPE_read};

	m.read = (struct msg_read){.file = FILE_7, .map = MAP, .epoch = epoch, .block = block,
		.block_shift = SHIFT, .off = page * PAGE_BYTES, .len = pages * PAGE_BYTES, .min = min};
	rig_send(&m);
}

void rig_list(uint64_t epoch, uint64_t first, uint64_t last, uint32_t max)
{
	struct msg m = {.type = MSG_TYPE_list};

	m.list = (struct msg_list){FILE_7, MAP, epoch, first, last, max};
	rig_send(&m);
}

void rig_install(uint64_t epoch, uint64_t block, struct version old, uint64_t old_closed,
                 struct version version, uint64_t closed, uint32_t set, uint8_t fill)
{
	uint32_t pages = BLOCK_BYTES / PAGE_BYTES, zero = ((1u << pages) - 1) & ~set;
	uint32_t count = (uint32_t)__builtin_popcount(set);
	uint8_t set_bits[4], zero_bits[4], sums[8 * BLOCK_BYTES / PAGE_BYTES];
	struct msg m = {.type = MSG_TYPE_install};

	put_u32le(set_bits, set);
	put_u32le(zero_bits, zero);
	m.install = (struct msg_install){.file = FILE_7, .map = MAP, .epoch = epoch, .block = block,
		.block_shift = SHIFT, .old = old, .old_closed = old_closed, .version = version,
		.closed = closed, .set = {set_bits, pages / 8}, .zero = {zero_bits, pages / 8},
		.sums = {sums, 8 * count}};
	if (count > 0) {
		m.payload = (struct slice){iobuf_new(count * PAGE_BYTES), 0, count * PAGE_BYTES};
		memset(m.payload.buf->data, fill, count * PAGE_BYTES);
		for (uint32_t p = 0, k = 0; p < pages; p++)
			if (set >> p & 1)
				put_u64le(sums + 8 * k++,
				          page_sum(FILE_7, block, p, m.payload.buf->data));
	}
	rig_send(&m);
	iobuf_put(m.payload.buf);
}

void rig_close(uint64_t epoch, bool complete, unsigned n, const uint64_t *exceptions)
{
	uint8_t bytes[8 * 16];
	struct msg m = {.type = MSG_TYPE_close};

	for (unsigned i = 0; i < n; i++)
		put_u64le(bytes + 8 * i, exceptions[i]);
	m.close = (struct msg_close){FILE_7, MAP, epoch, complete, {bytes, 8 * n}};
	rig_send(&m);
}
