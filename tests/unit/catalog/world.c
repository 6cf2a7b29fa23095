#include "tests/unit/catalog/world.h"

struct world w;
uint32_t world_sweep;

struct span text(const char *s)
{
	return (struct span){(const uint8_t *)s, (uint32_t)strlen(s)};
}

static struct map_site site(uint16_t id, const char *name)
{
	struct map_site s = {.id = id, .prefixes = 1};
	char prefix[32];

	snprintf(s.name, sizeof(s.name), "%s", name);
	snprintf(prefix, sizeof(prefix), "127.%u.0.0/16", id);
	cr_assert_eq(prefix_parse(prefix, &s.prefix[0]), 0);
	return s;
}

void world_open_kv(struct kv *kv)
{
	struct map_site sites[] = {site(1, "hiroshima"), site(2, "kanazawa"), site(3, "nara")};
	struct catalog_seed seed = {
		.cluster = 7, .sites = 3, .site = sites, .session_ms = 5000, .margin_ms = 500,
		.sweep = world_sweep,
	};

	w = (struct world){.kv = kv};
	catalog_reply_init(&w.reply);
	cr_assert_eq(catalog_format(kv, &seed), 0);
	cr_assert_eq(catalog_format(kv, &seed), -EEXIST);
	cr_assert_eq(catalog_open(&w.cat, kv), 0);
}

void world_setup(void)
{
	world_open_kv(kv_new_mem());
	for (server_id_t id = 1; id <= 6; id++)
		cr_assert_eq(register_core(id, 1000 + id, 1, 0), STATUS_OK);
	w.a = open_session(101, SERVER_ACCESS, 1);
	w.b = open_session(102, SERVER_ACCESS, 2);
}

void world_check(void)
{
	char why[200] = "";

	if (catalog_check(w.cat, why, sizeof(why)) < 0)
		cr_assert(false, "%s", why);
}

void world_teardown(void)
{
	world_check();
	catalog_close(w.cat);
	kv_close(w.kv);
	catalog_reply_fini(&w.reply);
	for (uint64_t i = 0; i < w.index; i++)
		mem_free(w.log[i].bytes);
	mem_free(w.log);
}

static bool has_slot(const struct msg *op)
{
	return op->type != MSG_TYPE_op_session && op->type != MSG_TYPE_op_session_end &&
	       op->type != MSG_TYPE_op_orphan_gone && op->type != MSG_TYPE_op_drain &&
	       op->type != MSG_TYPE_op_shown;
}

static void keep(const struct msg *op)
{
	if (w.index >= w.log_capacity) {
		w.log_capacity = MAX((size_t)64, w.log_capacity * 2);
		w.log = mem_resize(w.log, w.log_capacity, sizeof(*w.log));
	}
	w.log[w.index].len = msg_body_bytes(op);
	w.log[w.index].bytes = mem_new(w.log[w.index].len);
	msg_encode_body(op, w.log[w.index].bytes);
}

enum status apply(struct msg *op)
{
	struct msg decoded;

	if (has_slot(op) && op->q_statfs.seq == 0)
		op->q_statfs.seq = ++w.seq;
	keep(op);
	w.index++;
	/* Not cr_assert: each costs more than an operation. */
	if (msg_decode_body(w.log[w.index - 1].bytes, w.log[w.index - 1].len, &decoded) < 0 ||
	    catalog_apply(w.cat, w.index, &decoded, &w.reply) < 0 ||
	    catalog_applied(w.cat) != w.index)
		cr_assert(false, "entry %" PRIu64 " was not applied", w.index);
	return w.reply.m.r_status.status;
}

enum status query(struct msg *q)
{
	q->q_statfs.slot = 0xffff;
	cr_assert_eq(catalog_query(w.cat, q, &w.reply), 0);
	return w.reply.m.r_status.status;
}

session_id_t open_session(server_id_t server, enum server_kind kind, uint64_t boot)
{
	struct msg op = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = server, .kind = (uint8_t)kind, .boot = boot, .start = boot,
		               .slot = 0xffff},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.type, MSG_TYPE_r_session);
	return w.reply.m.r_session.given;
}

/* Core servers 1 and 4 are in site 1, 2 and 5 in site 2, 3 and 6 in site 3. */
enum status register_core(server_id_t server, uint64_t boot, uint64_t start, uint64_t journal)
{
	return register_disk(server, 7, boot, start, journal);
}

static enum status register_as(server_id_t server, struct msg_op_session s)
{
	char addr[32];
	struct msg op = {.type = MSG_TYPE_op_session, .op_session = s};

	snprintf(addr, sizeof(addr), "127.%u.0.%u:7000", (server - 1) % 3 + 1, server);
	op.op_session.server = server;
	op.op_session.kind = SERVER_CORE;
	op.op_session.slot = 0xffff;
	op.op_session.total = (uint64_t)100 << 30;
	op.op_session.addr = text(addr);
	return apply(&op);
}

enum status register_disk(server_id_t server, uint64_t disk, uint64_t boot, uint64_t start,
                          uint64_t journal)
{
	return register_as(server, (struct msg_op_session){.boot = boot, .disk = disk, .opened = start,
	                                                   .start = start, .journal = journal});
}

enum status register_new(server_id_t server, uint64_t disk, uint64_t boot, uint64_t opened)
{
	return register_as(server, (struct msg_op_session){.boot = boot, .disk = disk, .opened = opened,
	                                                   .start = 1});
}

enum status end_session(session_id_t s)
{
	struct msg op = {.type = MSG_TYPE_op_session_end, .op_session_end = {.ended = s}};

	return apply(&op);
}

enum status create(session_id_t s, uint64_t dir, const char *name, uint32_t mode)
{
	struct msg op = {
		.type = MSG_TYPE_op_create,
		.op_create = {
			.session = s, .dir = dir, .name = text(name), .mode = mode, .uid = 10, .gid = 20,
			.now = NOW, .home = 2,
		},
	};

	if ((mode & S_IFMT) == S_IFLNK)
		op.op_create.value = text("target");
	return apply(&op);
}

uint64_t make(session_id_t s, uint64_t dir, const char *name, uint32_t mode)
{
	cr_assert_eq(create(s, dir, name, mode), STATUS_OK);
	return w.reply.m.r_inode.ino;
}

uint64_t make_held(session_id_t s, const char *name)
{
	struct msg op = {
		.type = MSG_TYPE_op_create,
		.op_create = {
			.session = s, .dir = FILE_ROOT, .name = text(name), .mode = S_IFREG | 0644,
			.now = NOW, .home = 2, .lease = LEASE_EXCLUSIVE,
		},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.lease, LEASE_EXCLUSIVE);
	return w.reply.m.r_inode.ino;
}

enum status hard_link(session_id_t s, uint64_t ino, uint64_t dir, const char *name)
{
	struct msg op = {
		.type = MSG_TYPE_op_link,
		.op_link = {.session = s, .ino = ino, .dir = dir, .name = text(name), .now = NOW + 1},
	};

	return apply(&op);
}

enum status remove_name(session_id_t s, uint64_t dir, const char *name, bool dir_wanted)
{
	struct msg op = {
		.type = MSG_TYPE_op_unlink,
		.op_unlink = {
			.session = s, .dir = dir, .name = text(name), .rmdir = dir_wanted, .now = NOW + 2,
		},
	};

	return apply(&op);
}

enum status move(session_id_t s, uint64_t dir, const char *name, uint64_t new_dir,
                 const char *new_name, uint32_t flags)
{
	struct msg op = {
		.type = MSG_TYPE_op_rename,
		.op_rename = {
			.session = s, .dir = dir, .name = text(name), .new_dir = new_dir,
			.new_name = text(new_name), .flags = flags, .now = NOW + 3,
		},
	};

	return apply(&op);
}

enum status lease(session_id_t s, uint64_t ino, enum lease_mode mode)
{
	struct msg op = {
		.type = MSG_TYPE_op_lease,
		.op_lease = {.session = s, .ino = ino, .mode = (uint8_t)mode},
	};

	return apply(&op);
}

enum status release(session_id_t s, uint64_t ino, uint64_t epoch, bool clean)
{
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {
			.session = s, .ino = ino, .epoch = epoch, .clean = clean, .size = 4096,
			.atime = NOW + 4, .mtime = NOW + 5, .ctime = NOW + 6,
		},
	};

	return apply(&op);
}

enum status lock(session_id_t s, uint64_t ino, uint64_t owner, uint8_t type, uint64_t start,
                 uint64_t end)
{
	struct msg op = {
		.type = MSG_TYPE_op_lock,
		.op_lock = {
			.session = s, .ino = ino, .owner = owner, .type = type, .start = start, .end = end,
			.pid = 77,
		},
	};

	return apply(&op);
}

enum status gone(uint64_t ino)
{
	uint8_t bytes[8];
	struct msg op = {.type = MSG_TYPE_op_orphan_gone, .op_orphan_gone = {.inos = {bytes, 8}}};

	put_u64le(bytes, ino);
	return apply(&op);
}

struct catalog_inode inode_of(uint64_t ino)
{
	struct catalog_inode i;

	cr_assert(catalog_inode(w.cat, ino, &i));
	return i;
}

uint64_t find(uint64_t dir, const char *name)
{
	uint64_t ino = 0;

	return catalog_lookup(w.cat, dir, text(name), &ino) ? ino : 0;
}
