/* Random operations against a naive model; replay, crashes and snapshots against each other. */
#include "tests/unit/catalog/model.h"

#include "common/base/random.h"
#include "tests/unit/catalog/world.h"

#include <criterion/parameterized.h>
#include <stdlib.h>
#include <unistd.h>

#define STEPS 3000

static struct random rnd;
static struct msg last_op;       /* for resending */
static struct msg last_reply;
static char last_names[2][2];
static bool last_there;

static int below(int bound)
{
	return (int)random_below(&rnd, (uint64_t)bound);
}

static session_id_t session_of(int s)
{
	return s == 0 ? w.a : w.b;
}

static struct span name_of(int name, unsigned which)
{
	last_names[which][0] = (char)('a' + name);
	return (struct span){(const uint8_t *)last_names[which], 1};
}

/* Mostly a directory, so that names are found. */
static int some_dir(void)
{
	for (int tries = 0; tries < 20; tries++) {
		int node = below(m.n);

		if (m.node[node].type == 'd' && m.node[node].nlink > 0)
			return node;
	}
	return below(m.n);
}

static int some_file(void)
{
	for (int tries = 0; tries < 20; tries++) {
		int node = below(m.n);

		if (m.node[node].type == 'f')
			return node;
	}
	return below(m.n);
}

static void expect(struct msg *op, enum status want)
{
	enum status got = apply(op);

	if (got != want) {
		char line[300];

		msg_print(op, line, sizeof(line));
		cr_assert(false, "%s: %s, expected %s", line, status_text(got), status_text(want));
	}
	last_op = *op;
	last_reply = w.reply.m;
	last_there = op->type != MSG_TYPE_op_session && op->type != MSG_TYPE_op_session_end &&
	             op->type != MSG_TYPE_op_orphan_gone;
}

/* --- steps --- */

static void step_create(void)
{
	static const uint32_t modes[] = {
		S_IFREG | 0644, S_IFREG | 0600, S_IFDIR | 0755, S_IFLNK | 0777,
	};
	int dir = some_dir(), name = below(M_NAMES), s = below(M_SESSIONS), kind = below(4);
	enum status want = model_may_create(dir, name);
	struct msg op = {
		.type = MSG_TYPE_op_create,
		.op_create = {
			.session = session_of(s), .slot = (uint16_t)s, .dir = m.node[dir].ino,
			.name = name_of(name, 0), .mode = modes[kind], .home = 1,
			.lease = below(2) ? LEASE_EXCLUSIVE : LEASE_NONE,
		},
	};

	if (m.n == M_NODES)
		return;
	if (kind == 3)
		op.op_create.value = text("/somewhere");
	expect(&op, want);
	if (want == STATUS_EXISTS)
		cr_assert_eq(w.reply.m.r_inode.ino, m.node[m.node[dir].child[name]].ino);
	if (want != STATUS_OK)
		return;
	int node = model_new_node("ffdl"[kind], w.reply.m.r_inode.ino);

	m.node[node].mode = modes[kind];
	model_create(dir, name, node);
	if (kind < 2 && op.op_create.lease == LEASE_EXCLUSIVE) {
		m.node[node].holder = s;
		m.node[node].epoch = 1;
	}
}

static void step_link(void)
{
	int node = some_file(), dir = some_dir(), name = below(M_NAMES), s = below(M_SESSIONS);
	struct msg op = {
		.type = MSG_TYPE_op_link,
		.op_link = {
			.session = session_of(s), .slot = (uint16_t)s, .ino = m.node[node].ino,
			.dir = m.node[dir].ino, .name = name_of(name, 0),
		},
	};

	expect(&op, model_link(node, dir, name));
}

static void expect_lost(int lost)
{
	if (w.reply.m.r_inode.status != STATUS_OK)
		return;
	cr_assert_eq(w.reply.m.r_inode.ino, lost < 0 ? 0 : m.node[lost].ino);
	if (lost >= 0)
		cr_assert_eq(w.reply.m.r_inode.nlink, m.node[lost].nlink);
}

static void step_unlink(void)
{
	int dir = some_dir(), name = below(M_NAMES), s = below(M_SESSIONS), lost = -1;
	bool rmdir = below(3) == 0;
	struct msg op = {
		.type = MSG_TYPE_op_unlink,
		.op_unlink = {
			.session = session_of(s), .slot = (uint16_t)s, .dir = m.node[dir].ino,
			.name = name_of(name, 0), .rmdir = rmdir,
		},
	};

	expect(&op, model_unlink(dir, name, rmdir, &lost));
	expect_lost(lost);
}

static void step_rename(void)
{
	static const unsigned flags[] = {0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};
	int dir = some_dir(), name = below(M_NAMES), new_dir = below(3) ? some_dir() : dir;
	int new_name = below(M_NAMES), s = below(M_SESSIONS), kind = below(4), lost;
	struct msg op = {
		.type = MSG_TYPE_op_rename,
		.op_rename = {
			.session = session_of(s), .slot = (uint16_t)s, .dir = m.node[dir].ino,
			.name = name_of(name, 0), .new_dir = m.node[new_dir].ino,
			.new_name = name_of(new_name, 1), .flags = flags[kind],
		},
	};

	expect(&op, model_rename(dir, name, new_dir, new_name, flags[kind], &lost));
	expect_lost(lost);
}

static void step_lease(void)
{
	int node = some_file(), s = below(M_SESSIONS), granted;
	bool exclusive = below(2), recover;
	struct msg op = {
		.type = MSG_TYPE_op_lease,
		.op_lease = {
			.session = session_of(s), .slot = (uint16_t)s, .ino = m.node[node].ino,
			.mode = exclusive ? LEASE_EXCLUSIVE : LEASE_SHARED,
		},
	};
	enum status want = model_lease(node, s, exclusive, &recover, &granted);

	expect(&op, want);
	if (want != STATUS_OK)
		return;
	cr_assert_eq(w.reply.m.r_lease.granted, granted);
	cr_assert_eq(w.reply.m.r_lease.recover, recover);
	cr_assert_eq(w.reply.m.r_lease.epoch, m.node[node].epoch);
}

static void step_release(void)
{
	int node = some_file(), s = below(M_SESSIONS);
	uint64_t epoch = m.node[node].epoch - (below(10) == 0);
	bool clean = below(4);
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {
			.session = session_of(s), .slot = (uint16_t)s, .ino = m.node[node].ino, .epoch = epoch,
			.clean = clean,
		},
	};

	expect(&op, model_release(node, s, epoch, clean));
}

static void step_lock(void)
{
	static const uint8_t types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
	static const char letters[] = {'r', 'w', 0};
	int node = some_file(), s = below(M_SESSIONS), owner = below(M_OWNERS), type = below(3);
	int first = below(M_BYTES), last = first + below(M_BYTES - first);
	struct msg op = {
		.type = MSG_TYPE_op_lock,
		.op_lock = {
			.session = session_of(s), .slot = (uint16_t)s, .ino = m.node[node].ino,
			.owner = (uint64_t)owner, .type = types[type], .start = (uint64_t)first,
			.end = (uint64_t)last,
		},
	};

	expect(&op, model_lock(node, s, owner, letters[type], first, last));
}

static void step_gone(void)
{
	int node = below(m.n);
	uint8_t bytes[8];
	struct msg op = {.type = MSG_TYPE_op_orphan_gone, .op_orphan_gone = {.inos = {bytes, 8}}};

	put_u64le(bytes, m.node[node].ino);
	expect(&op, STATUS_OK);
	model_gone(node);
}

static void step_session(void)
{
	int s = below(M_SESSIONS);
	struct msg op = {.type = MSG_TYPE_op_session_end, .op_session_end = {.ended = session_of(s)}};
	struct msg again = {
		.type = MSG_TYPE_op_session,
		.op_session = {
			.server = 101 + (server_id_t)s, .kind = SERVER_ACCESS, .boot = random_u64(&rnd),
			.start = 10 + catalog_applied(w.cat),
		},
	};

	if (below(5))
		return;
	if (below(2))
		expect(&op, STATUS_OK);
	expect(&again, STATUS_OK);
	model_end_session(s);
	if (s == 0)
		w.a = w.reply.m.r_session.given;
	else
		w.b = w.reply.m.r_session.given;
}

/* B5: the same request again, as the network or an impatient client makes it. */
static void step_resend(void)
{
	if (!last_there)
		return;
	apply(&last_op);
	cr_assert_eq(w.reply.m.type, last_reply.type);
	cr_assert_eq(w.reply.m.r_status.status, last_reply.r_status.status);
	if (w.reply.m.type == MSG_TYPE_r_inode)
		cr_assert(memcmp(&w.reply.m.r_inode, &last_reply.r_inode, sizeof(last_reply.r_inode)) == 0);
}

static void step(void)
{
	static void (*const steps[])(void) = {
		step_create, step_create, step_create, step_link, step_unlink, step_unlink, step_rename,
		step_rename, step_lease, step_lease, step_release, step_lock, step_lock, step_gone,
		step_session, step_resend,
	};

	steps[below(ARRAY_LEN(steps))]();
}

/* --- comparing --- */

static void compare_locks(const struct m_node *n)
{
	static struct catalog_lock locks[CATALOG_LOCKS_PER_FILE_MAX];
	uint8_t got[M_SESSIONS][M_OWNERS][M_BYTES] = {0};
	unsigned count = catalog_locks(w.cat, n->ino, locks, CATALOG_LOCKS_PER_FILE_MAX);

	for (unsigned i = 0; i < count; i++) {
		int s = locks[i].session == w.a ? 0 : 1;

		cr_assert_eq(locks[i].session, session_of(s));
		memset(&got[s][locks[i].owner][locks[i].start], locks[i].type == F_WRLCK ? 'w' : 'r',
		       locks[i].end - locks[i].start + 1);
	}
	cr_assert(memcmp(got, n->lock, sizeof(got)) == 0, "locks of %" PRIu64, n->ino);
}

static void compare_node(const struct m_node *n)
{
	struct catalog_inode i;
	uint64_t entries = 0;

	cr_assert_eq(catalog_inode(w.cat, n->ino, &i), n->type != 0);
	if (!n->type)
		return;
	cr_assert_eq(i.fields.nlink, n->nlink, "nlink of %" PRIu64, n->ino);
	cr_assert_eq(i.fields.epoch, n->epoch);
	cr_assert_eq(i.holder, n->holder < 0 ? 0 : session_of(n->holder));
	cr_assert_eq(i.unclean, n->unclean);
	compare_locks(n);
	for (int k = 0; k < M_NAMES && n->type == 'd'; k++) {
		uint64_t want = n->child[k] < 0 ? 0 : m.node[n->child[k]].ino;
		char name[2] = {(char)('a' + k), 0};

		cr_assert_eq(find(n->ino, name), want);
		entries += want != 0;
	}
	cr_assert(n->type != 'd' || i.fields.size == entries);
}

static void compare(void)
{
	for (int i = 0; i < m.n; i++)
		compare_node(&m.node[i]);
	world_check();
}

/* --- the world loses its memory --- */

/* Entries (from, to] again, in batches of other sizes; their replies were compared already. */
static void replay(struct catalog *cat, uint64_t from, uint64_t to)
{
	struct catalog_reply reply;
	struct msg op;

	catalog_reply_init(&reply);
	while (from < to) {
		uint64_t size = random_below(&rnd, 40) + 1, end = MIN(to, from + size);

		cr_assert_eq(catalog_begin(cat), 0);
		for (; from < end; from++) {
			cr_assert_eq(msg_decode_body(w.log[from].bytes, w.log[from].len, &op), 0);
			cr_assert_eq(catalog_apply(cat, from + 1, &op, &reply), 0);
		}
		cr_assert_eq(catalog_commit(cat), 0);
	}
	catalog_reply_fini(&reply);
}

/* Power cut: the open batch is gone, the log is not. */
static void crash(void)
{
	uint64_t applied;

	kv_mem_crash(w.kv);
	catalog_close(w.cat);
	cr_assert_eq(catalog_open(&w.cat, w.kv), 0);
	applied = catalog_applied(w.cat);
	cr_assert_leq(applied, w.index);
	replay(w.cat, applied, w.index);
}

static void compare_exports(struct kv *one, struct kv *other)
{
	void *a, *b;
	size_t a_len, b_len;

	cr_assert_eq(kv_export_mem(one, &a, &a_len), 0);
	cr_assert_eq(kv_export_mem(other, &b, &b_len), 0);
	cr_assert_eq(a_len, b_len);
	cr_assert(memcmp(a, b, a_len) == 0, "replicas differ");
	free(a);
	free(b);
}

/* One more voter, from the beginning or from a snapshot. */
static struct catalog *other_voter(struct kv *kv, const void *image, size_t len)
{
	struct catalog *cat;
	struct world saved = w;

	world_open_kv(kv);
	cat = w.cat;
	catalog_reply_fini(&w.reply);
	w = saved;
	if (image) {
		cr_assert_eq(kv_import_mem(kv, image, len), 0);
		cr_assert_eq(catalog_reload(cat), 0);
	}
	return cat;
}

static void check_voter(struct kv *kv, const void *image, size_t len)
{
	struct catalog *cat = other_voter(kv, image, len);
	char why[200];

	replay(cat, catalog_applied(cat), w.index);
	cr_assert_eq(catalog_check(cat, why, sizeof(why)), 0, "%s", why);
	compare_exports(w.kv, kv);
	catalog_close(cat);
	kv_close(kv);
}

/* --- tests --- */

static uint64_t seeds[] = {1, 2, 3, 4, 5, 6};

ParameterizedTestParameters(catalog_model, agrees_over_crashes_and_voters)
{
	return cr_make_param_array(uint64_t, seeds, ARRAY_LEN(seeds));
}

ParameterizedTest(uint64_t *seed, catalog_model, agrees_over_crashes_and_voters)
{
	void *image = NULL;
	size_t image_len = 0;

	random_seed(&rnd, *seed);
	world_sweep = *seed % 2; /* one file per entry in every other run: more stays untidy */
	world_setup();
	model_init();
	last_there = false;
	for (unsigned i = 0; i < STEPS; i++) {
		if (i % 50 == 0)
			cr_assert_eq(catalog_begin(w.cat), 0);
		step();
		if (i % 50 != 49)
			continue;
		if (below(4) == 0)
			crash();
		else
			cr_assert_eq(catalog_commit(w.cat), 0);
		if (i % 250 == 249)
			compare();
		if (i == STEPS / 2 - 1)
			cr_assert_eq(kv_export_mem(w.kv, &image, &image_len), 0);
	}
	compare();
	check_voter(kv_new_mem(), NULL, 0);
	check_voter(kv_new_mem(), image, image_len);
	free(image);
	world_teardown();
}

static char lmdb_dir[64];

static struct kv *open_lmdb(void)
{
	struct kv *kv;

	snprintf(lmdb_dir, sizeof(lmdb_dir), "%s/dc-catalog-XXXXXX",
	         getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	cr_assert(mkdtemp(lmdb_dir));
	cr_assert_eq(kv_open_lmdb(&kv, lmdb_dir, 256 << 20), 0);
	return kv;
}

static void remove_lmdb(void)
{
	char path[80];

	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", lmdb_dir, i ? "lock.mdb" : "data.mdb");
		unlink(path);
	}
	cr_assert_eq(rmdir(lmdb_dir), 0);
}

/* The same log into LMDB and into memory: the same records. */
Test(catalog_model, both_stores_hold_the_same)
{
	struct kv_span key, value, other;
	uint8_t from[KV_KEY_BYTES_MAX + 1] = {0};
	struct kv_span at = {from, 1};
	struct kv *lmdb = open_lmdb();
	struct catalog *cat;
	uint64_t records = 0;

	random_seed(&rnd, 99);
	world_setup();
	model_init();
	for (unsigned i = 0; i < 1000; i++)
		step();
	cat = other_voter(lmdb, NULL, 0);
	replay(cat, 0, w.index);
	catalog_close(cat);
	while (kv_seek(w.kv, at, &key, &value) == 0) {
		cr_assert_eq(kv_get(lmdb, key, &other), 0);
		cr_assert_eq(other.len, value.len);
		cr_assert(memcmp(other.p, value.p, value.len) == 0);
		records++;
		memcpy(from, key.p, key.len);
		from[key.len] = 0;
		at.len = key.len + 1;
	}
	cr_assert_gt(records, 300);
	kv_close(lmdb);
	remove_lmdb();
	world_teardown();
}

/* P8. Also a directory of that many entries, in a batch of that many changes. */
Test(catalog_model, links_are_limited)
{
	uint64_t f;
	unsigned made = 1;

	world_open_kv(open_lmdb());
	for (server_id_t id = 1; id <= 3; id++)
		cr_assert_eq(register_core(id, 1000 + id, 1, 0), STATUS_OK);
	w.a = open_session(101, SERVER_ACCESS, 1);
	f = make(w.a, FILE_ROOT, "f", S_IFREG);
	cr_assert_eq(catalog_begin(w.cat), 0);
	for (char name[16]; made < CATALOG_LINKS_MAX; made++) {
		snprintf(name, sizeof(name), "l%u", made);
		if (hard_link(w.a, f, FILE_ROOT, name) != STATUS_OK)
			break;
	}
	cr_assert_eq(made, CATALOG_LINKS_MAX);
	cr_assert_eq(hard_link(w.a, f, FILE_ROOT, "one-more"), STATUS_TOO_MANY_LINKS);
	cr_assert_eq(catalog_commit(w.cat), 0);
	world_teardown();
	remove_lmdb();
}

/* A session of access server 101 or 102, opened if a senseless operation ended it. */
static session_id_t living_session(void)
{
	server_id_t server = 101 + (server_id_t)below(M_SESSIONS);
	session_id_t s = catalog_session_of(w.cat, server);
	struct msg op = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = server, .kind = SERVER_ACCESS, .boot = random_u64(&rnd)},
	};

	if (s != 0)
		return s;
	cr_assert_eq(catalog_apply(w.cat, catalog_applied(w.cat) + 1, &op, &w.reply), 0);
	if (w.reply.m.r_session.status == STATUS_NO_SESSION) {
		op.op_session.start = w.reply.m.r_session.start + 1;
		cr_assert_eq(catalog_apply(w.cat, catalog_applied(w.cat) + 1, &op, &w.reply), 0);
	}
	return w.reply.m.r_session.given;
}

/* P9: any bytes of a peer that decode are answered, and leave a state that holds together. */
Test(catalog_model, survives_senseless_operations)
{
	static uint8_t bytes[512];
	struct msg op;

	random_seed(&rnd, 7);
	world_setup();
	model_init();
	for (unsigned i = 0; i < 300; i++)
		step();
	for (unsigned i = 0; i < 40000; i++) {
		size_t at = random_below(&rnd, w.index), len = MIN(w.log[at].len, sizeof(bytes));

		memcpy(bytes, w.log[at].bytes, len);
		for (int flips = below(4) + 1; flips > 0; flips--)
			bytes[random_below(&rnd, len)] = (uint8_t)random_u64(&rnd);
		if (msg_decode_body(bytes, len, &op) < 0)
			continue;
		if (below(2)) {
			op.q_statfs.session = living_session();
			op.q_statfs.slot = 5;
			op.q_statfs.seq = ++w.seq;
		}
		cr_assert_eq(catalog_apply(w.cat, catalog_applied(w.cat) + 1, &op, &w.reply), 0);
		cr_assert_eq(catalog_query(w.cat, &op, &w.reply), 0);
		if (i % 4000 == 0)
			world_check();
	}
	world_teardown();
}
