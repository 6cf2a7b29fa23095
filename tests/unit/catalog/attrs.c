#include "tests/unit/catalog/world.h"

static uint64_t f;

static void setup(void)
{
	world_setup();
	f = make(w.a, FILE_ROOT, "f", S_IFREG | 0644);
}

TestSuite(catalog_attrs, .init = setup, .fini = world_teardown);

static struct msg setattr(uint32_t valid)
{
	return (struct msg){
		.type = MSG_TYPE_op_setattr,
		.op_setattr = {
			.session = w.a, .ino = f, .valid = valid, .mode = S_IFDIR | 04711, .uid = 1, .gid = 2,
			.atime = 3, .mtime = 4, .ctime = 5,
		},
	};
}

Test(catalog_attrs, only_what_is_named_changes)
{
	struct msg op = setattr(SETATTR_MODE);

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.mode, S_IFREG | 04711, "the type stays");
	cr_assert_eq(w.reply.m.r_inode.uid, 10);
	cr_assert_eq(w.reply.m.r_inode.mtime, NOW);
	op = setattr(SETATTR_UID | SETATTR_GID | SETATTR_ATIME | SETATTR_MTIME | SETATTR_CTIME);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.uid, 1);
	cr_assert_eq(w.reply.m.r_inode.gid, 2);
	cr_assert_eq(w.reply.m.r_inode.atime, 3);
	cr_assert_eq(w.reply.m.r_inode.mtime, 4);
	cr_assert_eq(w.reply.m.r_inode.ctime, 5);
}

Test(catalog_attrs, times_of_a_held_file_are_its_holders)
{
	struct msg op = setattr(SETATTR_MTIME);

	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(apply(&op), STATUS_BUSY);
	op = setattr(SETATTR_MODE);
	op.op_setattr.mode = 0711;
	cr_assert_eq(apply(&op), STATUS_OK);
	op = setattr(SETATTR_MTIME);
	op.op_setattr.session = w.b;
	cr_assert_eq(apply(&op), STATUS_OK);
}

Test(catalog_attrs, unknown_bits_and_files_are_refused)
{
	struct msg op = setattr(256);

	cr_assert_eq(apply(&op), STATUS_INVALID);
	op = setattr(SETATTR_MODE);
	op.op_setattr.ino = 999;
	cr_assert_eq(apply(&op), STATUS_STALE);
}

/* --- extended attributes --- */

static enum status set(const char *name, struct span value, uint32_t flags)
{
	struct msg op = {
		.type = MSG_TYPE_op_setxattr,
		.op_setxattr = {
			.session = w.a, .ino = f, .name = text(name), .value = value, .flags = flags, .now = 9,
		},
	};

	return apply(&op);
}

static enum status get(const char *name)
{
	struct msg q = {.type = MSG_TYPE_q_getxattr, .q_getxattr = {.ino = f, .name = text(name)}};

	return query(&q);
}

Test(catalog_attrs, xattrs_are_set_read_listed_and_removed)
{
	struct msg q = {.type = MSG_TYPE_q_listxattr, .q_listxattr = {.ino = f}};

	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 0);
	cr_assert_eq(set("user.b", text("value"), 0), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.ctime, 9);
	cr_assert_eq(set("user.a", text(""), 1), STATUS_OK);
	cr_assert_eq(get("user.b"), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 5);
	cr_assert_arr_eq(w.reply.m.r_bytes.bytes.p, "value", 5);
	cr_assert_eq(get("user.a"), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 0);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 14);
	cr_assert_arr_eq(w.reply.m.r_bytes.bytes.p, "user.a\0user.b\0", 14);
	cr_assert_eq(set("user.b", text("other value"), 2), STATUS_OK);
	cr_assert_eq(set("user.a", text(""), 4), STATUS_OK);
	cr_assert_eq(get("user.a"), STATUS_NO_ATTR);
	world_check();
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(gone(f), STATUS_OK);
	cr_assert_eq(get("user.b"), STATUS_STALE);
}

Test(catalog_attrs, xattr_flags_are_obeyed)
{
	cr_assert_eq(set("user.a", text("1"), 2), STATUS_NO_ATTR);
	cr_assert_eq(set("user.a", text("1"), 4), STATUS_NO_ATTR);
	cr_assert_eq(set("user.a", text("1"), 1), STATUS_OK);
	cr_assert_eq(set("user.a", text("2"), 1), STATUS_EXISTS);
	cr_assert_eq(set("user.a", text("2"), 3), STATUS_EXISTS, "to create and to replace");
	cr_assert_eq(set("user.b", text("2"), 3), STATUS_NO_ATTR);
	cr_assert_eq(set("user.a", text("2"), 5), STATUS_INVALID);
	cr_assert_eq(set("user.a", text("2"), 8), STATUS_INVALID);
	cr_assert_eq(set("", text("2"), 0), STATUS_INVALID);
	cr_assert_eq(get(""), STATUS_INVALID);
}

/* --- what writes take away --- */

static uint32_t killed(uint32_t mode, uint32_t valid)
{
	struct msg op = setattr(SETATTR_MODE | SETATTR_CTIME);

	op.op_setattr.mode = mode;
	cr_assert_eq(apply(&op), STATUS_OK);
	op = setattr(valid | SETATTR_CTIME);
	op.op_setattr.ctime = 77;
	cr_assert_eq(apply(&op), STATUS_OK);
	world_check();
	return w.reply.m.r_inode.mode & 07777;
}

Test(catalog_attrs, setuid_and_setgid_are_taken_from_what_is_there_now)
{
	cr_assert_eq(killed(06755, SETATTR_KILL_SUID), 0755);
	cr_assert_eq(w.reply.m.r_inode.ctime, 77);
	cr_assert_eq(killed(06745, SETATTR_KILL_SUID), 02745, "setgid without the right to execute");
	cr_assert_eq(killed(01711, SETATTR_KILL_SUID), 01711);
	cr_assert_eq(w.reply.m.r_inode.ctime, 5, "nothing was taken");
	cr_assert_eq(killed(06755, SETATTR_KILL_CAPS), 06755);
	cr_assert_eq(killed(06755, SETATTR_KILL_SUID | SETATTR_UID), 0755);
	cr_assert_eq(w.reply.m.r_inode.uid, 1);
	cr_assert_eq(killed(0755, SETATTR_KILL_SUID | SETATTR_UID), 0755);
	cr_assert_eq(w.reply.m.r_inode.ctime, 77, "the owner changed");
}

Test(catalog_attrs, capabilities_are_known_and_taken)
{
	cr_assert_eq(set("security.capability", text("caps"), 0), STATUS_OK);
	cr_assert(inode_of(f).fields.state & INODE_CAPS);
	world_check();
	cr_assert_eq(killed(0755, SETATTR_KILL_SUID), 0755);
	cr_assert_eq(get("security.capability"), STATUS_OK);
	cr_assert_eq(killed(0755, SETATTR_KILL_CAPS), 0755);
	cr_assert_eq(w.reply.m.r_inode.ctime, 77);
	cr_assert_not(inode_of(f).fields.state & INODE_CAPS);
	cr_assert_eq(get("security.capability"), STATUS_NO_ATTR);
	cr_assert_eq(set("security.capability", text("caps"), 0), STATUS_OK);
	cr_assert_eq(set("security.capability", text(""), 4), STATUS_OK);
	cr_assert_not(inode_of(f).fields.state & INODE_CAPS);
	world_check();
}

static enum status change_mode(session_id_t by, uint32_t mode)
{
	struct msg op = setattr(SETATTR_MODE);

	op.op_setattr.session = by;
	op.op_setattr.mode = mode;
	return apply(&op);
}

/* Else it would write on and take away what it has never heard of. */
Test(catalog_attrs, a_holder_gives_up_before_its_file_gets_rights)
{
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(change_mode(w.a, 04711), STATUS_BUSY);
	cr_assert_eq(change_mode(w.a, 02644), STATUS_OK);
	cr_assert_eq(change_mode(w.a, 02654), STATUS_BUSY, "setgid becomes one");
	cr_assert_eq(set("security.capability", text("caps"), 0), STATUS_BUSY);
	cr_assert_eq(set("security.other", text("x"), 0), STATUS_OK);
	cr_assert_eq(change_mode(w.b, 06755), STATUS_OK);
}

/* P8: bounded. */
Test(catalog_attrs, xattrs_are_bounded)
{
	static uint8_t big[XATTR_BYTES_MAX + 1];
	char name[NAME_BYTES_MAX + 2];
	unsigned n = 0;

	cr_assert_eq(set("user.big", (struct span){big, sizeof(big)}, 0), STATUS_INVALID);
	cr_assert_eq(set("user.big", (struct span){big, XATTR_BYTES_MAX}, 0), STATUS_OK);
	cr_assert_eq(get("user.big"), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, XATTR_BYTES_MAX);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	cr_assert_eq(set(name, text(""), 0), STATUS_NAME_TOO_LONG);
	cr_assert_eq(get(name), STATUS_NAME_TOO_LONG);
	for (enum status s = STATUS_OK; s == STATUS_OK; n++) {
		snprintf(name, sizeof(name), "user.%250u", n);
		s = set(name, text(""), 0);
		cr_assert(s == STATUS_OK || s == STATUS_NO_SPACE);
		cr_assert_lt(n, 300);
	}
	for (enum status s = STATUS_OK; s == STATUS_OK; n++) {
		snprintf(name, sizeof(name), "%u", n);
		s = set(name, (struct span){big, XATTR_BYTES_MAX}, 0);
		cr_assert_lt(n, 600);
	}
	cr_assert_eq(set("user.big", text("small"), 0), STATUS_OK, "making room works");
}
