#include "tests/unit/names/world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define ACCESS 13
#define HINT 18
#define T_MS 5000
#define MARGIN_MS 500

struct world w;

static struct vol_req *made[256];
static unsigned mades;
static uint64_t handle;

struct span text(const char *s)
{
	return (struct span){(const uint8_t *)s, (uint32_t)strlen(s)};
}

void say(const char *fmt, ...)
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
	w.len = 0;
	w.trace[0] = '\0';
}

/* --- the world --- */

static nsec_t env_now(struct env *env)
{
	(void)env;
	return w.now;
}

static uint64_t env_wall(struct env *env)
{
	(void)env;
	return 1000;
}

static uint64_t env_random(struct env *env)
{
	(void)env;
	return w.random += 0x9e3779b97f4a7c15;
}

static void print_sent(const struct msg *m)
{
	switch ((int)m->type) {
	case MSG_TYPE_q_lookup:
		say("ask lookup %" PRIu64 "/%.*s", m->q_lookup.dir, (int)m->q_lookup.name.len,
		    m->q_lookup.name.p);
		break;
	case MSG_TYPE_op_create:
		say("ask create %" PRIu64 "/%.*s lease %u", m->op_create.dir,
		    (int)m->op_create.name.len, m->op_create.name.p, m->op_create.lease);
		break;
	case MSG_TYPE_op_unlink:
		say("ask %s %" PRIu64 "/%.*s", m->op_unlink.rmdir ? "rmdir" : "unlink",
		    m->op_unlink.dir, (int)m->op_unlink.name.len, m->op_unlink.name.p);
		break;
	case MSG_TYPE_op_rename:
		say("ask rename %" PRIu64 "/%.*s %" PRIu64 "/%.*s", m->op_rename.dir,
		    (int)m->op_rename.name.len, m->op_rename.name.p, m->op_rename.new_dir,
		    (int)m->op_rename.new_name.len, m->op_rename.new_name.p);
		break;
	case MSG_TYPE_q_readdir:
		say("ask readdir %" PRIu64 " cookie %" PRIu64, m->q_readdir.dir, m->q_readdir.cookie);
		break;
	case MSG_TYPE_q_inodes:
		say("ask inodes %u", m->q_inodes.inos.len / 8);
		break;
	case MSG_TYPE_op_lock:
		say("ask lock %" PRIu64 " owner %" PRIu64 " type %u [%" PRIu64 ",%" PRIu64 "]",
		    m->op_lock.ino, m->op_lock.owner, m->op_lock.type, m->op_lock.start,
		    m->op_lock.end == UINT64_MAX ? 0 : m->op_lock.end);
		break;
	case MSG_TYPE_recall_ack:
		say("ack %" PRIu64 " id %" PRIu64, m->recall_ack.ino, m->recall_ack.id);
		break;
	default:
		say("ask %s", msg_type_name(m->type));
	}
}

static void receive(struct msg *m)
{
	m->src = HINT;
	m->dst = ACCESS;
	if (!session_recv(w.session, m))
		vol_recv(w.volume, m);
}

static void answer_heartbeat(uint64_t session, uint64_t nonce)
{
	struct msg m = {.type = MSG_TYPE_heartbeat_reply};

	m.heartbeat_reply.session = session;
	m.heartbeat_reply.nonce = nonce;
	m.heartbeat_reply.term = 1;
	m.heartbeat_reply.session_ms = T_MS;
	m.heartbeat_reply.shared_ms = w.shared_ms;
	if (w.no_session)
		m.heartbeat_reply.status = STATUS_NO_SESSION;
	receive(&m);
}

static void answer_session(const struct asked *a)
{
	struct msg m = {.type = MSG_TYPE_r_session, .id = a->m.id};

	m.r_session.given = w.given;
	m.r_session.session_ms = T_MS;
	m.r_session.margin_ms = MARGIN_MS;
	receive(&m);
}

static int env_send(struct env *env, const struct msg *m)
{
	struct asked *a;
	size_t n;

	(void)env;
	for (unsigned i = 0; i < w.n; i++) {
		if (w.asked[i].m.id == m->id && w.asked[i].m.type == m->type && m->id &&
		    !w.asked[i].answered)
			return 0; /* sent again */
	}
	cr_assert_lt(w.n, ASKED_MAX);
	a = &w.asked[w.n++];
	n = msg_body_bytes(m);
	cr_assert_leq(n, sizeof(a->body));
	msg_encode_body(m, a->body);
	cr_assert_eq(msg_decode_body(a->body, n, &a->m), 0);
	a->m.id = m->id;
	a->answered = false;
	if (m->type != MSG_TYPE_heartbeat && m->type != MSG_TYPE_op_session &&
	    m->type != MSG_TYPE_q_map && m->type != MSG_TYPE_q_repair)
		print_sent(m);
	return 0;
}

/* What every test would answer in the same way; forgets what needs no answer. */
static void answer_routine(void)
{
	for (unsigned i = 0; i < w.n; i++) {
		struct asked *a = &w.asked[i];

		if (a->answered)
			continue;
		if (a->m.type == MSG_TYPE_op_session) {
			a->answered = true;
			answer_session(a);
		} else if (a->m.type == MSG_TYPE_heartbeat && !w.mute) {
			a->answered = true;
			answer_heartbeat(a->m.heartbeat.session, a->m.heartbeat.nonce);
		} else if (a->m.type == MSG_TYPE_recall_ack || a->m.type == MSG_TYPE_heartbeat) {
			a->answered = true;
		}
	}
	while (w.n && w.asked[w.n - 1].answered)
		w.n--;
}

static void on_invalidate(void *ctx, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie)
{
	(void)ctx;
	(void)len;
	say("kernel drops %s of %" PRIu64, off == VOL_ATTRIBUTES_ONLY ? "attributes" : "pages", ino);
	w.cookie[w.cookies++] = cookie;
}

static void on_invalidate_entry(void *ctx, uint64_t dir, struct span name, uint64_t cookie)
{
	(void)ctx;
	say("kernel drops %" PRIu64 "/%.*s", dir, (int)name.len, name.p);
	if (!w.kernel_waits)
		w.cookie[w.cookies++] = cookie;
}

void pass(nsec_t time)
{
	nsec_t end = w.now + time;

	while (w.now < end) {
		w.now += NSEC_MSEC;
		answer_routine();
		while (w.cookies)
			vol_invalidated(w.volume, w.cookie[--w.cookies]);
		session_tick(w.session, w.now);
		vol_tick(w.volume, w.now);
	}
}

static void on_up(void *ctx, session_id_t given, session_id_t before, const struct msg_r_session *r)
{
	(void)ctx;
	vol_session_ops.up(w.volume, given, before, r);
}

static void on_void(void *ctx)
{
	(void)ctx;
	vol_session_ops.shared_void(w.volume);
}

static void on_recalls(void *ctx, struct span recalls)
{
	(void)ctx;
	vol_session_ops.recalls(w.volume, recalls);
}

void world_up(void)
{
	static const struct session_ops session_ops = {
		.up = on_up, .shared_void = on_void, .recalls = on_recalls};
	static const struct volume_ops volume_ops = {
		.invalidate = on_invalidate, .invalidate_entry = on_invalidate_entry};
	struct session_config session = {.server = ACCESS, .kind = SERVER_ACCESS, .boot = 1,
	                                 .hints = 1, .hint = {HINT}};
	struct volume_config volume = {.server = ACCESS, .site = 1, .repair_every = 1000 * NSEC_SEC};

	w = (struct world){.env = {env_now, env_wall, env_send, env_random}, .now = NSEC_SEC,
	                   .given = 7, .shared_ms = 800};
	mades = 0;
	w.session = session_new(&w.env, &session, &session_ops, NULL);
	w.volume = vol_new(&w.env, w.session, &volume, &volume_ops, NULL);
	pass(20 * NSEC_MSEC);
	cr_assert(session_valid(w.session));
	expect("");
}

void world_down(void)
{
	vol_free(w.volume);
	session_free(w.session);
	for (unsigned i = 0; i < mades; i++) {
		iobuf_put(made[i]->out.buf);
		mem_free(made[i]);
	}
}

/* --- the leader's answers --- */

struct asked *find_asked(enum msg_type type)
{
	for (unsigned i = 0; i < w.n; i++) {
		if (w.asked[i].m.type == type && !w.asked[i].answered)
			return &w.asked[i];
	}
	return NULL;
}

static struct msg begin_answer(enum msg_type type, enum msg_type reply)
{
	struct asked *a = find_asked(type);
	struct msg m = {.type = reply};

	cr_assert(a, "nobody asked %s", msg_type_name(type));
	a->answered = true;
	m.id = a->m.id;
	return m;
}

void answer_inode(enum msg_type type, enum status status, uint64_t ino, uint32_t mode, bool meta)
{
	struct msg m = begin_answer(type, MSG_TYPE_r_inode);

	m.r_inode.status = (uint16_t)status;
	m.r_inode.ino = ino;
	m.r_inode.mode = mode;
	m.r_inode.nlink = 1;
	m.r_inode.meta = meta;
	m.r_inode.block_shift = 22;
	m.r_inode.moved = w.moved;
	m.r_inode.swapped = w.swapped;
	if (type >= MSG_TYPE_op_session && w.dir_size) {
		m.r_inode.dir_meta = 1;
		m.r_inode.dir_size = w.dir_size;
	}
	receive(&m);
}

void answer_status(enum msg_type type, enum status status)
{
	struct msg m = begin_answer(type, MSG_TYPE_r_status);

	m.r_status.status = (uint16_t)status;
	receive(&m);
}

void answer_bytes(enum msg_type type, enum status status, const void *bytes, uint32_t len,
                  bool meta, uint64_t next)
{
	struct msg m = begin_answer(
		type, type == MSG_TYPE_q_readdir ? MSG_TYPE_r_dirents : MSG_TYPE_r_bytes);

	m.r_bytes.status = (uint16_t)status;
	m.r_bytes.meta = meta;
	m.r_bytes.next = next;
	m.r_bytes.bytes = (struct span){bytes, len};
	receive(&m);
}

void answer_lock(enum status status, uint8_t type)
{
	struct msg m = begin_answer(MSG_TYPE_q_getlk, MSG_TYPE_r_lock);

	m.r_lock.status = (uint16_t)status;
	m.r_lock.type = type;
	m.r_lock.pid = 99;
	receive(&m);
}

void recall_meta(uint64_t ino, uint64_t id)
{
	struct msg m = {.type = MSG_TYPE_recall};

	m.recall.ino = ino;
	m.recall.what = RECALL_META;
	m.recall.id = id;
	receive(&m);
}

void lock_ready(uint64_t ino, uint64_t owner)
{
	struct msg m = {.type = MSG_TYPE_lock_ready};

	m.lock_ready.ino = ino;
	m.lock_ready.owner = owner;
	receive(&m);
}

/* --- requests --- */

static void on_done(struct vol_req *r)
{
	static const char *const names[] = {
		[VOL_LOOKUP] = "lookup", [VOL_CREATE] = "create", [VOL_UNLINK] = "unlink",
		[VOL_RMDIR] = "rmdir", [VOL_RENAME] = "rename", [VOL_READDIR] = "readdir",
		[VOL_LINK] = "link", [VOL_GETXATTR] = "getxattr", [VOL_SETXATTR] = "setxattr",
		[VOL_LISTXATTR] = "listxattr", [VOL_READLINK] = "readlink", [VOL_SETLK] = "setlk",
		[VOL_GETLK] = "getlk", [VOL_FLUSH] = "flush", [VOL_CLOSE] = "close",
		[VOL_STATFS] = "statfs", [VOL_OPEN] = "open", [VOL_GETATTR] = "getattr",
	};

	if (r->out_handle)
		handle = r->out_handle;
	if (r->rc)
		say("done %s: %s", names[r->op], strerror(-r->rc));
	else if (r->op == VOL_LOOKUP || r->op == VOL_CREATE || r->op == VOL_LINK)
		say("done %s: %" PRIu64 "%s", names[r->op], r->attr.ino,
		    r->entry_valid > 0 ? " known" : "");
	else if (r->op == VOL_READDIR || r->op == VOL_GETXATTR || r->op == VOL_READLINK)
		say("done %s: %u bytes", names[r->op], r->out.len);
	else if (r->op == VOL_GETATTR)
		say("done getattr: size %" PRIu64, r->attr.size);
	else
		say("done %s", names[r->op]);
}

static struct vol_req *req_new(enum vol_op op, uint64_t ino)
{
	struct vol_req *r = mem_new(sizeof(*r));

	cr_assert_lt(mades, ARRAY_LEN(made));
	made[mades++] = r;
	r->op = op;
	r->ino = ino;
	r->done = on_done;
	return r;
}

static struct vol_req *go(struct vol_req *r)
{
	vol_submit(w.volume, r);
	settle();
	return r;
}

struct vol_req *named(enum vol_op op, uint64_t dir, const char *name)
{
	struct vol_req *r = req_new(op, dir);

	r->name = text(name);
	return go(r);
}

struct vol_req *lookup(uint64_t dir, const char *name)
{
	return named(VOL_LOOKUP, dir, name);
}

struct vol_req *create(uint64_t dir, const char *name, uint32_t mode, unsigned flags)
{
	struct vol_req *r = req_new(VOL_CREATE, dir);

	r->name = text(name);
	r->mode = mode;
	r->flags = flags;
	return go(r);
}

struct vol_req *renamed(uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
                        uint32_t flags)
{
	struct vol_req *r = req_new(VOL_RENAME, dir);

	r->name = text(name);
	r->new_ino = new_dir;
	r->new_name = text(new_name);
	r->rename_flags = flags;
	return go(r);
}

struct vol_req *linked(uint64_t ino, uint64_t dir, const char *name)
{
	struct vol_req *r = req_new(VOL_LINK, dir);

	r->name = text(name);
	r->new_ino = ino;
	return go(r);
}

struct vol_req *readdir(uint64_t dir, uint64_t cookie, uint64_t len)
{
	struct vol_req *r = req_new(VOL_READDIR, dir);

	r->off = cookie;
	r->len = len;
	return go(r);
}

struct vol_req *readdir_plus(uint64_t dir, uint64_t cookie, uint64_t len)
{
	struct vol_req *r = req_new(VOL_READDIR, dir);

	r->flags = VOL_F_PLUS;
	r->off = cookie;
	r->len = len;
	return go(r);
}

struct vol_req *locked(enum vol_op op, uint64_t h, uint64_t owner, uint8_t type, uint64_t start,
                       uint64_t end, unsigned flags)
{
	struct vol_req *r = req_new(op, LOCKED_INO);

	r->handle = h;
	r->flags = flags;
	r->lock.owner = owner;
	r->lock.type = type;
	r->lock.start = start;
	r->lock.end = end;
	return go(r);
}

struct vol_req *plain(enum vol_op op, uint64_t ino, uint64_t h, uint64_t owner)
{
	struct vol_req *r = req_new(op, ino);

	r->handle = h;
	r->lock.owner = owner;
	return go(r);
}

uint64_t last_handle(void)
{
	return handle;
}
