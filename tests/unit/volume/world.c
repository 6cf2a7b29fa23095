#include "tests/unit/volume/world.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define ACCESS 13
#define HINT 18
#define T_MS 5000
#define DONE 0xd07e /* in a field that these requests do not use */

struct world w;

static struct vol_req *made[256];
static struct iobuf *held[256];
static unsigned mades;

PRINTF(1, 2) static void say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(w.trace + w.len, sizeof(w.trace) - w.len, fmt, ap);
	va_end(ap);
	w.len += (size_t)n;
	cr_assert_lt(w.len, sizeof(w.trace) - 1, "the trace is full");
	w.trace[w.len++] = '\n';
	w.trace[w.len] = '\0';
}

void expect(const char *wanted)
{
	cr_assert_str_eq(w.trace, wanted);
	forget_trace();
}

void forget_trace(void)
{
	w.len = 0;
	w.trace[0] = '\0';
}

/* --- env --- */

static nsec_t env_now(struct env *env UNUSED)
{
	return w.now;
}

static uint64_t env_wall(struct env *env UNUSED)
{
	return w.wall;
}

static uint64_t env_random(struct env *env UNUSED)
{
	return w.random += 0x9e3779b97f4a7c15;
}

/* Arrives with the next tick; spans must live until then. */
static void from(server_id_t s, struct msg *m)
{
	cr_assert_lt(w.arriving, (unsigned)ARRAY_LEN(w.inbox));
	m->src = s;
	m->dst = ACCESS;
	w.inbox[w.arriving++] = *m;
}

static void arrive(void)
{
	unsigned n = w.arriving;
	static struct msg now[ARRAY_LEN(w.inbox)];

	memcpy(now, w.inbox, n * sizeof(now[0]));
	w.arriving = 0;
	for (unsigned i = 0; i < n; i++)
		if (!session_recv(w.session, &now[i]))
			vol_recv(w.volume, &now[i]);
}

/* --- the leader --- */

static void put_inode(struct msg_r_inode *r)
{
	r->ino = INO;
	r->mode = 0100000 | (w.mode ? w.mode : 0644);
	r->nlink = 1;
	r->size = w.size;
	r->epoch = w.epoch;
	r->map = 3;
	r->site0 = w.site[0];
	r->site1 = w.site[1];
	r->site2 = w.site[2];
	r->block_shift = 16;
	r->state = w.state;
}

static void give_map(struct msg *reply)
{
	static uint8_t bytes[16384];
	struct map *map = map_new(3);
	size_t len;

	map->version = 3;
	map->sites = 3;
	map->servers = 3;
	for (unsigned i = 0; i < 3; i++) {
		map->site[i].id = (uint16_t)(i + 1);
		map->server[i].id = 10 * (i + 1) + 1;
		map->server[i].site = (uint16_t)(i + 1);
		map->server[i].weight = 1;
	}
	/* Where the file has two replicas in one site, so have the servers. */
	if (w.site[1] == 1)
		map->server[1].site = 1;
	len = map_encoded_bytes(map);
	cr_assert_leq(len, sizeof(bytes));
	map_encode(map, bytes);
	map_free(map);
	reply->r_bytes.bytes = (struct span){bytes, (uint32_t)len};
}

static struct span granted_stale(void)
{
	static uint8_t bytes[64];
	struct stale_map s;
	struct span encoded;

	stale_init(&s);
	cr_assert_eq(stale_set(&s, w.stale.first, w.stale.last, (unsigned)__builtin_ctz(w.stale.mask)), 0);
	encoded = (struct span){bytes, (uint32_t)stale_encoded_bytes(&s)};
	cr_assert_leq(encoded.len, sizeof(bytes));
	stale_encode(&s, bytes);
	stale_fini(&s);
	return encoded;
}

static void leader_lease(const struct msg *m, struct msg *reply)
{
	struct msg_r_inode inode = {0};
	struct msg_r_lease *r = &reply->r_lease;

	if (m->type == MSG_TYPE_op_reclaim)
		w.reclaimed = m->op_reclaim.epoch;
	say("%s mode=%u", msg_type_name(m->type), m->type == MSG_TYPE_op_lease ? m->op_lease.mode : 0u);
	reply->type = MSG_TYPE_r_lease;
	put_inode(&inode);
#define X(kind, name) r->name = inode.name;
	INODE_FIELDS(X)
#undef X
	r->granted = m->type == MSG_TYPE_op_reclaim || w.held ? LEASE_EXCLUSIVE : m->op_lease.mode;
	r->recover = w.recover && m->type == MSG_TYPE_op_lease;
	if (w.stale.mask && m->type == MSG_TYPE_op_lease)
		r->stale = granted_stale();
	if (w.lost && m->type == MSG_TYPE_op_reclaim)
		r->status = STATUS_LOST;
}

static void leader_setattr(const struct msg *m, struct msg *reply)
{
	say("setattr valid=%u", m->op_setattr.valid);
	w.mode &= m->op_setattr.valid & SETATTR_KILL_SUID ? 0777 : 07777;
	w.state &= m->op_setattr.valid & SETATTR_KILL_CAPS ? (uint8_t)~INODE_CAPS : 0xff;
	reply->type = MSG_TYPE_r_inode;
	put_inode(&reply->r_inode);
}

static void leader(const struct msg *m)
{
	struct msg reply = {.type = MSG_TYPE_r_status, .id = m->id};

	switch ((int)m->type) {
	case MSG_TYPE_op_session:
		reply.type = MSG_TYPE_r_session;
		reply.r_session.given = w.given;
		reply.r_session.session_ms = T_MS;
		reply.r_session.margin_ms = 500;
		reply.r_session.map = 3;
		from(HINT, &reply);
		return;
	case MSG_TYPE_heartbeat:
		if (w.mute)
			return;
		reply.type = MSG_TYPE_heartbeat_reply;
		reply.heartbeat_reply.session = m->heartbeat.session;
		reply.heartbeat_reply.nonce = m->heartbeat.nonce;
		reply.heartbeat_reply.term = 1;
		reply.heartbeat_reply.session_ms = T_MS;
		reply.heartbeat_reply.shared_ms = 800;
		reply.heartbeat_reply.status = m->heartbeat.session == w.given ? STATUS_OK : STATUS_NO_SESSION;
		from(HINT, &reply);
		return;
	case MSG_TYPE_q_map:
		reply.type = MSG_TYPE_r_bytes;
		give_map(&reply);
		break;
	case MSG_TYPE_q_inode:
		if (w.no_inode) {
			w.inode_asked = *m;
			return;
		}
		reply.type = MSG_TYPE_r_inode;
		put_inode(&reply.r_inode);
		if (w.busy && w.busy--)
			reply = (struct msg){
				.type = MSG_TYPE_r_status, .id = m->id, .r_status.status = STATUS_BUSY};
		break;
	case MSG_TYPE_op_setattr:
		leader_setattr(m, &reply);
		break;
	case MSG_TYPE_op_lease:
	case MSG_TYPE_op_reclaim:
		leader_lease(m, &reply);
		break;
	case MSG_TYPE_op_release:
		say("release to=%u clean=%u size=%" PRIu64 " stale=%u", m->op_release.to, m->op_release.clean,
		    m->op_release.size, m->op_release.stale.len / 17);
		if (w.no_release)
			return;
		break;
	case MSG_TYPE_orphan_answer:
		say("orphan_answer session=%" PRIu64 " inos=%u", m->orphan_answer.session,
		    m->orphan_answer.inos.len / 8);
		return;
	case MSG_TYPE_recall_ack:
		say("recall_ack id=%" PRIu64, m->recall_ack.id);
		return;
	case MSG_TYPE_q_repair:
		reply.type = MSG_TYPE_r_inode;
		reply.r_inode.status = STATUS_NOT_FOUND;
		break;
	default:
		break;
	}
	/* The fields all requests to the catalog begin with come back. */
	reply.r_status.session = m->op_lease.session;
	reply.r_status.slot = m->op_lease.slot;
	reply.r_status.seq = m->op_lease.seq;
	from(HINT, &reply);
}

void inode_answered(void)
{
	struct msg m = w.inode_asked;

	cr_assert_eq(m.type, MSG_TYPE_q_inode, "nobody asked");
	w.inode_asked.type = 0;
	w.no_inode = false;
	leader(&m);
	w.no_inode = true;
	settle();
}

/* --- core servers --- */

static const char *block_name(uint64_t no)
{
	static char text[24];

	if (no == BLOCK_ATTR)
		return "attr";
	snprintf(text, sizeof(text), "%" PRIu64, no);
	return text;
}

static void sent_write(const struct msg *m)
{
	const struct msg_write *x = &m->write;

	say("%u write %s %s [%u,+%u) %" PRIu64 ".%" PRIu64 " -> %" PRIu64 ".%" PRIu64, m->dst,
	    block_name(x->block), x->op == WRITE_ZERO ? "zero" : "data", x->off, x->len,
	    x->prev.epoch, x->prev.n, x->version.epoch, x->version.n);
	cr_assert_lt(w.wrotes, (unsigned)WROTE_MAX);
	w.wrote[w.wrotes] = (struct wrote){m->dst, *m};
	w.wrote[w.wrotes++].m.payload = (struct slice){0};
}

static void sent_question(const struct msg *m)
{
	struct msg *a = &w.asked[w.askeds];

	cr_assert_lt(w.askeds, (unsigned)WROTE_MAX);
	*a = *m;
	a->payload = (struct slice){0};
	w.askeds++;
	switch ((int)m->type) {
	case MSG_TYPE_read:
		say("%u read %s [%u,+%u)%s", m->dst, block_name(m->read.block), m->read.off, m->read.len,
		    m->read.flags & READ_SUMS_ONLY ? " sums" : "");
		break;
	case MSG_TYPE_list:
		say("%u list from %s", m->dst, block_name(m->list.first));
		break;
	case MSG_TYPE_install:
		say("%u install %s %" PRIu64 ".%" PRIu64 " -> %" PRIu64 ".%" PRIu64
		    " closed %" PRIu64,
		    m->dst, block_name(m->install.block), m->install.old.epoch, m->install.old.n,
		    m->install.version.epoch, m->install.version.n, m->install.closed);
		break;
	case MSG_TYPE_close:
		say("%u close %" PRIu64 " exceptions %u", m->dst, m->close.epoch, m->close.exceptions.len / 8);
		break;
	default:
		say("%u %s", m->dst, msg_type_name(m->type));
	}
}

/* Nothing was ever written here. */
static void answer_empty(const struct msg *m)
{
	struct msg r = {0};
	static const uint8_t none[BLOCK_PAGES_MAX / 8];

	if (m->type == MSG_TYPE_list) {
		r.type = MSG_TYPE_list_reply;
		r.list_reply.file = INO;
	} else if (m->type == MSG_TYPE_read) {
		r.type = MSG_TYPE_read_reply;
		r.read_reply.file = INO;
		r.read_reply.block = m->read.block;
		r.read_reply.off = m->read.off;
		r.read_reply.len = m->read.len;
		r.read_reply.present = (struct span){none, DIV_UP(m->read.len / PAGE_BYTES, 8)};
	} else {
		return;
	}
	answer(m, &r);
}

static int env_send(struct env *env UNUSED, const struct msg *m)
{
	struct msg reply = {.type = MSG_TYPE_space_reply, .id = m->id};

	if (m->dst == SERVER_LEADER || m->dst == HINT) {
		leader(m);
		return 0;
	}
	cr_assert_lt(m->dst, (unsigned)ARRAY_LEN(w.down));
	if (w.down[m->dst])
		return -ENOTCONN;
	if (m->type == MSG_TYPE_space) {
		reply.space_reply.granted = w.full ? 0 : m->space.want;
		from(m->dst, &reply);
	} else if (m->type == MSG_TYPE_write) {
		sent_write(m);
	} else {
		sent_question(m);
		if (!w.quiet) {
			w.askeds--;
			answer_empty(m);
		}
	}
	return 0;
}

void answer(const struct msg *request, struct msg *reply)
{
	reply->id = request->id;
	from(request->dst, reply);
}

struct msg *asked(enum msg_type type, server_id_t s)
{
	for (unsigned i = 0; i < w.askeds; i++)
		if (w.asked[i].type == type && w.asked[i].dst == s) {
			static struct msg found;

			found = w.asked[i];
			memmove(&w.asked[i], &w.asked[i + 1], (w.askeds - i - 1) * sizeof(w.asked[0]));
			w.askeds--;
			return &found;
		}
	return NULL;
}

static bool take_write(server_id_t s, struct msg *m)
{
	for (unsigned i = 0; i < w.wrotes; i++)
		if (w.wrote[i].to == s) {
			*m = w.wrote[i].m;
			memmove(&w.wrote[i], &w.wrote[i + 1], (w.wrotes - i - 1) * sizeof(w.wrote[0]));
			w.wrotes--;
			return true;
		}
	return false;
}

static void write_reply(const struct msg *m, enum status status, struct version durable)
{
	struct msg r = {.type = MSG_TYPE_write_reply};

	r.write_reply.status = (uint16_t)status;
	r.write_reply.file = INO;
	r.write_reply.block = m->write.block;
	r.write_reply.asked = m->write.version;
	r.write_reply.durable = durable;
	r.write_reply.seal = m->write.epoch;
	answer(m, &r);
}

void ack(server_id_t s)
{
	struct msg m;

	while (take_write(s, &m))
		write_reply(&m, STATUS_OK, m.write.version);
}

void refuse(server_id_t s, enum status status, struct version durable)
{
	struct msg m;

	cr_assert(take_write(s, &m));
	write_reply(&m, status, durable);
}

void recall(enum lease_mode to, uint64_t id)
{
	struct msg m = {.type = MSG_TYPE_recall};

	m.recall.ino = INO;
	m.recall.what = RECALL_DATA | (w.held ? RECALL_HELD : 0);
	m.recall.to = (uint8_t)to;
	m.recall.id = id;
	from(HINT, &m);
}

void orphan_check(void)
{
	static uint8_t ino[8];
	struct msg m = {.type = MSG_TYPE_orphan_check};

	put_u64le(ino, INO);
	m.orphan_check.session = w.given;
	m.orphan_check.inos = (struct span){ino, sizeof(ino)};
	from(HINT, &m);
}

void session_ends(void)
{
	w.given++;
	pass(2 * NSEC_SEC);
}

/* --- requests --- */

static void on_done(struct vol_req *req)
{
	static const char *const names[] = {
		[VOL_WRITE] = "write", [VOL_READ] = "read", [VOL_FSYNC] = "fsync", [VOL_OPEN] = "open",
		[VOL_CLOSE] = "close", [VOL_SETATTR] = "setattr", [VOL_FALLOCATE] = "fallocate",
		[VOL_GETATTR] = "getattr", [VOL_SEEK] = "seek", [VOL_SYNC] = "sync",
	};

	req->rdev = DONE;
	say("done %s rc %d", names[req->op], req->rc);
}

static struct vol_req *request(enum vol_op kind, uint64_t handle)
{
	struct vol_req *req = mem_new(sizeof(*req));

	cr_assert_lt(mades, ARRAY_LEN(made));
	made[mades++] = req;
	req->op = kind;
	req->ino = INO;
	req->handle = handle;
	req->done = on_done;
	return req;
}

void again(struct vol_req *req)
{
	req->rdev = 0;
	vol_submit(w.volume, req);
	settle();
}

int rc_of(const struct vol_req *req)
{
	return req->rdev == DONE ? req->rc : PENDING_RC;
}

struct vol_req *op(enum vol_op kind, uint64_t handle)
{
	struct vol_req *req = request(kind, handle);

	again(req);
	return req;
}

struct vol_req *writes(uint64_t handle, uint64_t off, uint32_t len, uint8_t byte, unsigned flags)
{
	struct vol_req *req = request(VOL_WRITE, handle);

	req->off = off;
	req->flags = flags;
	req->data = (struct slice){iobuf_new(len), 0, len};
	memset(req->data.buf->data, byte, len);
	held[mades - 1] = req->data.buf;
	again(req);
	return req;
}

struct vol_req *reads(uint64_t handle, uint64_t off, uint32_t len)
{
	struct vol_req *req = request(VOL_READ, handle);

	req->off = off;
	req->len = len;
	again(req);
	return req;
}

uint64_t opened(void)
{
	uint64_t h = op(VOL_OPEN, 0)->out_handle;

	forget_trace();
	return h;
}

/* --- life --- */

static void on_invalidate(void *ctx UNUSED, uint64_t ino UNUSED, uint64_t off UNUSED, uint64_t len UNUSED,
                          uint64_t cookie)
{
	say("invalidate");
	w.invalidated = cookie;
}

static void on_invalidate_entry(void *ctx UNUSED, uint64_t dir UNUSED, struct span name UNUSED,
				uint64_t cookie UNUSED)
{
}

static nsec_t on_rtt(void *ctx UNUSED, server_id_t server)
{
	return (nsec_t)(server / 10) * NSEC_MSEC; /* 11 is nearest */
}

static void on_log(void *ctx UNUSED, const char *key, const char *text UNUSED)
{
	say("log %s", key);
}

/* The session is made first, so its context cannot be the volume. */
static void on_up(void *ctx UNUSED, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	vol_session_ops.up(w.volume, given, before, r);
}

static void on_void(void *ctx UNUSED)
{
	vol_session_ops.shared_void(w.volume);
}

static void tick(void)
{
	arrive();
	session_tick(w.session, w.now);
	if (w.invalidated) {
		uint64_t cookie = w.invalidated;

		w.invalidated = 0;
		vol_invalidated(w.volume, cookie);
	}
	vol_tick(w.volume, w.now);
}

void pass(nsec_t time)
{
	nsec_t end = w.now + time;

	while (w.now < end) {
		w.now += NSEC_MSEC;
		tick();
	}
}

void world_up(void)
{
	world_up_in(2);
}

void world_up_in(uint16_t second_site)
{
	static const struct session_ops session_ops = {.up = on_up, .shared_void = on_void};
	static const struct volume_ops ops = {
		.invalidate = on_invalidate,
		.invalidate_entry = on_invalidate_entry,
		.rtt = on_rtt,
		.log = on_log,
	};
	struct session_config sc = {
	    .server = ACCESS, .kind = SERVER_ACCESS, .boot = 1, .hints = 1, .hint = {HINT}};
	struct volume_config vc = {.server = ACCESS, .site = 1, .block_shift = 16, .buffer_bytes = 1 << 20,
	                           .journal_slack_bytes = 1 << 20};

	memset(&w, 0, sizeof(w));
	mades = 0;
	w.env = (struct env){env_now, env_wall, env_send, env_random};
	w.now = NSEC_SEC;
	w.wall = 1000;
	w.given = 5;
	w.epoch = 1;
	w.site[0] = 1;
	w.site[1] = second_site;
	w.site[2] = 3;
	w.session = session_new(&w.env, &sc, &session_ops, NULL);
	w.volume = vol_new(&w.env, w.session, &vc, &ops, NULL);
	pass(500 * NSEC_MSEC);
	forget_trace();
}

void world_down(void)
{
	vol_free(w.volume);
	session_free(w.session);
	for (unsigned i = 0; i < mades; i++) {
		iobuf_put(made[i]->out.buf);
		iobuf_put(held[i]);
		held[i] = NULL;
		mem_free(made[i]);
	}
	mades = 0;
}
