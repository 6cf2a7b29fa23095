#include "tests/unit/catalog/world.h"

TestSuite(catalog_queries, .init = world_setup, .fini = world_teardown);

Test(catalog_queries, lookup_knows_names_and_dots)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR), f = make(w.a, d, "f", S_IFREG);
	struct msg q = {.type = MSG_TYPE_q_lookup, .q_lookup = {.dir = d, .name = text("f")}};

	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.type, MSG_TYPE_r_inode);
	cr_assert_eq(w.reply.m.r_inode.ino, f);
	cr_assert_eq(w.reply.m.r_inode.slot, 0xffff);
	q.q_lookup.name = text(".");
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, d);
	q.q_lookup.name = text("..");
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, FILE_ROOT);
	q.q_lookup.name = text("none");
	cr_assert_eq(query(&q), STATUS_NOT_FOUND);
	q.q_lookup.name = text("");
	cr_assert_eq(query(&q), STATUS_INVALID);
	q.q_lookup.dir = f;
	q.q_lookup.name = text("x");
	cr_assert_eq(query(&q), STATUS_NOT_DIR);
	q.q_lookup.dir = 999;
	cr_assert_eq(query(&q), STATUS_STALE);
}

Test(catalog_queries, repair_walks_what_nobody_holds)
{
	uint64_t f = make_held(w.a, "f"), g = make_held(w.a, "g"), h = make_held(w.b, "h");
	struct msg q = {.type = MSG_TYPE_q_repair};

	cr_assert_eq(query(&q), STATUS_NOT_FOUND);
	cr_assert_eq(release(w.b, h, 1, true), STATUS_OK);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, f);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, g);
	q.q_repair.ino = g;
	cr_assert_eq(query(&q), STATUS_NOT_FOUND);
}

Test(catalog_queries, statfs_sums_the_mapped_servers)
{
	struct msg q = {.type = MSG_TYPE_q_statfs};

	make(w.a, FILE_ROOT, "f", S_IFREG);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_statfs.total, (uint64_t)200 << 30);
	cr_assert_eq(w.reply.m.r_statfs.files, 2);
}

Test(catalog_queries, odd_lists_of_files_are_refused)
{
	uint8_t bytes[Q_FILES_BYTES] = {0};
	struct msg q = {.type = MSG_TYPE_q_files, .q_files = {.inos = {bytes, 7}}};
	struct msg op = {.type = MSG_TYPE_op_orphan_gone, .op_orphan_gone = {.inos = {bytes, 7}}};

	cr_assert_eq(query(&q), STATUS_INVALID);
	cr_assert_eq(apply(&op), STATUS_INVALID);
	q.q_files.inos.len = Q_FILES_BYTES;
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 0);
}

/* --- paths --- */

Test(catalog_queries, paths_lead_to_inodes_and_back)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR), e = make(w.a, d, "e", S_IFDIR);
	uint64_t f = make(w.a, e, "f", S_IFREG), got;
	char path[64];

	cr_assert_eq(catalog_path(w.cat, text("/d/e/f"), &got), 0);
	cr_assert_eq(got, f);
	cr_assert_eq(catalog_path(w.cat, text("//d/./e/"), &got), 0);
	cr_assert_eq(got, e);
	cr_assert_eq(catalog_path(w.cat, text("/"), &got), 0);
	cr_assert_eq(got, FILE_ROOT);
	cr_assert_eq(catalog_path(w.cat, text("d"), &got), -EINVAL);
	cr_assert_eq(catalog_path(w.cat, text("/d/.."), &got), -EINVAL);
	cr_assert_eq(catalog_path(w.cat, text("/d/x"), &got), -ENOENT);
	cr_assert_eq(catalog_path(w.cat, text("/d/e/f/g"), &got), -ENOTDIR);
	cr_assert_eq(catalog_path_of(w.cat, f, path, sizeof(path)), 0);
	cr_assert_str_eq(path, "/d/e/f");
	cr_assert_eq(catalog_path_of(w.cat, FILE_ROOT, path, sizeof(path)), 0);
	cr_assert_str_eq(path, "/");
	cr_assert_eq(catalog_path_of(w.cat, f, path, 7), 0);
	cr_assert_eq(catalog_path_of(w.cat, f, path, 6), -ENAMETOOLONG);
	cr_assert_eq(remove_name(w.a, e, "f", false), STATUS_OK);
	cr_assert_eq(catalog_path_of(w.cat, f, path, sizeof(path)), -ENOENT);
}

/* --- what a change touches --- */

static struct catalog_touch touched[CATALOG_TOUCH_MAX];

static unsigned touches(struct msg *op)
{
	return catalog_touches(w.cat, op, touched);
}

Test(catalog_queries, a_rename_touches_both_directories_and_both_inodes)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR), f = make(w.a, FILE_ROOT, "f", S_IFREG);
	uint64_t g = make(w.a, d, "g", S_IFREG);
	struct msg op = {
		.type = MSG_TYPE_op_rename,
		.op_rename = {.dir = FILE_ROOT, .name = text("f"), .new_dir = d, .new_name = text("g")},
	};

	cr_assert_eq(touches(&op), 4);
	cr_assert_eq(touched[0].ino, FILE_ROOT);
	cr_assert_eq(touched[1].ino, f);
	cr_assert_eq(touched[2].ino, d);
	cr_assert_eq(touched[3].ino, g);
	for (unsigned i = 0; i < 4; i++)
		cr_assert(touched[i].what == RECALL_META && touched[i].holder == 0);
	op.op_rename.new_dir = FILE_ROOT;
	cr_assert_eq(touches(&op), 2, "absent names touch only the directory");
}

Test(catalog_queries, a_lease_touches_the_holder)
{
	uint64_t f = make_held(w.a, "f");
	struct msg op = {
		.type = MSG_TYPE_op_lease,
		.op_lease = {.session = w.b, .ino = f, .mode = LEASE_SHARED},
	};
	struct msg times = {
		.type = MSG_TYPE_op_setattr,
		.op_setattr = {.session = w.b, .ino = f, .valid = SETATTR_MTIME},
	};
	struct msg caps = {
		.type = MSG_TYPE_op_setxattr,
		.op_setxattr = {.session = w.b, .name = text("security.capability"), .value = text("x")},
	};

	cr_assert_eq(touches(&op), 1);
	cr_assert_eq(touched[0].holder, w.a);
	cr_assert_eq(touched[0].what, RECALL_DATA);
	cr_assert_eq(touches(&times), 1);
	cr_assert_eq(touched[0].holder, w.a);
	cr_assert_eq(touched[0].what, RECALL_DATA | RECALL_META);
	times.op_setattr.valid = SETATTR_MODE;
	cr_assert_eq(touches(&times), 1);
	cr_assert_eq(touched[0].holder, 0);
	times.op_setattr.mode = 04755;
	cr_assert_eq(touches(&times), 1);
	cr_assert_eq(touched[0].holder, w.a, "who writes it has to know of setuid");
	caps.op_setxattr.ino = f;
	cr_assert_eq(touches(&caps), 1);
	cr_assert_eq(touched[0].holder, w.a);
	caps.op_setxattr.name = text("user.capability");
	cr_assert_eq(touches(&caps), 1);
	cr_assert_eq(touched[0].holder, 0);
	cr_assert_eq(release(w.a, f, 1, true), STATUS_OK);
	cr_assert_eq(touches(&op), 0, "shared beside shared");
	op.op_lease.mode = LEASE_EXCLUSIVE;
	cr_assert_eq(touches(&op), 1);
	cr_assert_eq(touched[0].holder, 0);
}
