#include "tests/unit/catalog/world.h"

#include <stdlib.h>

TestSuite(catalog_names, .init = world_setup, .fini = world_teardown);

Test(catalog_names, a_new_file_is_placed_and_counted)
{
	struct msg_r_inode *r = &w.reply.m.r_inode;
	uint64_t ino = make(w.a, FILE_ROOT, "f", S_IFREG | 0644);
	struct catalog_stats stats;

	cr_assert_eq(ino >> 48, 1, "ids carry the incarnation");
	cr_assert_eq(r->mode, S_IFREG | 0644);
	cr_assert_eq(r->site0, 2, "home first");
	cr_assert_neq(r->site0, r->site1);
	cr_assert_neq(r->site1, r->site2);
	cr_assert_neq(r->site0, r->site2);
	cr_assert_eq(r->map, catalog_map(w.cat)->version);
	cr_assert_eq(r->block_shift, BLOCK_SHIFT_DEFAULT);
	cr_assert_eq(r->nlink, 1);
	cr_assert_eq(r->state, INODE_CLEAN);
	cr_assert_eq(r->epoch, 0);
	cr_assert_eq(r->lease, LEASE_NONE);
	cr_assert_eq(inode_of(FILE_ROOT).fields.mtime, NOW);
	catalog_get_stats(w.cat, &stats);
	cr_assert_eq(stats.last_file, ino);
	cr_assert_eq(stats.inodes, 2);
	cr_assert_eq(stats.files, 1);
}

Test(catalog_names, an_existing_name_is_answered_with_its_inode)
{
	uint64_t ino = make(w.a, FILE_ROOT, "f", S_IFREG | 0644);

	cr_assert_eq(create(w.b, FILE_ROOT, "f", S_IFREG | 0600), STATUS_EXISTS);
	cr_assert_eq(w.reply.m.r_inode.ino, ino);
	cr_assert_eq(w.reply.m.r_inode.lease, LEASE_NONE);
}

Test(catalog_names, directories_count_their_subdirectories)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR | 0755);

	cr_assert_eq(inode_of(d).fields.nlink, 2);
	cr_assert_eq(inode_of(d).parent, FILE_ROOT);
	cr_assert_eq(inode_of(FILE_ROOT).fields.nlink, 3);
	make(w.a, d, "e", S_IFDIR | 0755);
	cr_assert_eq(inode_of(d).fields.nlink, 3);
	cr_assert_eq(remove_name(w.a, d, "e", true), STATUS_OK);
	cr_assert_eq(inode_of(d).fields.nlink, 2);
}

Test(catalog_names, every_type_can_be_made_and_nothing_else)
{
	make(w.a, FILE_ROOT, "link", S_IFLNK | 0777);
	make(w.a, FILE_ROOT, "fifo", S_IFIFO | 0600);
	make(w.a, FILE_ROOT, "sock", S_IFSOCK | 0600);
	make(w.a, FILE_ROOT, "chr", S_IFCHR | 0600);
	make(w.a, FILE_ROOT, "blk", S_IFBLK | 0600);
	cr_assert_eq(create(w.a, FILE_ROOT, "none", 0644), STATUS_INVALID);
	cr_assert_eq(create(w.a, FILE_ROOT, "odd", S_IFMT | 0644), STATUS_INVALID);
	cr_assert_eq(find(FILE_ROOT, "none"), 0);

	struct msg q = {.type = MSG_TYPE_q_readlink, .q_readlink = {.ino = find(FILE_ROOT, "link")}};

	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 6);
	cr_assert_arr_eq(w.reply.m.r_bytes.bytes.p, "target", 6);
	q.q_readlink.ino = find(FILE_ROOT, "fifo");
	cr_assert_eq(query(&q), STATUS_INVALID);
}

Test(catalog_names, setgid_directories_hand_down_their_group)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR | 02775), e, f;
	struct msg op = {
		.type = MSG_TYPE_op_setattr,
		.op_setattr = {.session = w.a, .ino = d, .valid = SETATTR_GID, .gid = 99},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
	e = make(w.a, d, "e", S_IFDIR | 0755);
	f = make(w.a, d, "f", S_IFREG | 0644);
	cr_assert_eq(inode_of(e).fields.gid, 99);
	cr_assert_eq(inode_of(e).fields.mode, S_IFDIR | 02755);
	cr_assert_eq(inode_of(f).fields.gid, 99);
	cr_assert_eq(inode_of(f).fields.mode, S_IFREG | 0644);
}

Test(catalog_names, bad_names_are_refused)
{
	static const char *bad[] = {"", ".", "..", "a/b", "/"};
	struct msg op = {
		.type = MSG_TYPE_op_create,
		.op_create = {
			.session = w.a, .dir = FILE_ROOT, .mode = S_IFREG, .name = {(const uint8_t *)"a\0b", 3},
		},
	};
	char longest[NAME_BYTES_MAX + 2];

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		cr_assert_eq(create(w.a, FILE_ROOT, bad[i], S_IFREG | 0644), STATUS_INVALID);
		cr_assert_eq(remove_name(w.a, FILE_ROOT, bad[i], false), STATUS_INVALID);
		cr_assert_eq(move(w.a, FILE_ROOT, "x", FILE_ROOT, bad[i], 0), STATUS_INVALID);
	}
	cr_assert_eq(apply(&op), STATUS_INVALID);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[NAME_BYTES_MAX + 1] = 0;
	cr_assert_eq(create(w.a, FILE_ROOT, longest, S_IFREG), STATUS_NAME_TOO_LONG);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, longest, false), STATUS_NAME_TOO_LONG);
	cr_assert_eq(move(w.a, FILE_ROOT, "x", FILE_ROOT, longest, 0), STATUS_NAME_TOO_LONG);
	longest[NAME_BYTES_MAX] = 0;
	make(w.a, FILE_ROOT, longest, S_IFREG);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, longest, false), STATUS_OK);
}

Test(catalog_names, a_parent_must_be_a_directory_that_is_there)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG), d = make(w.a, FILE_ROOT, "d", S_IFDIR);

	cr_assert_eq(create(w.a, f, "x", S_IFREG), STATUS_NOT_DIR);
	cr_assert_eq(create(w.a, 12345, "x", S_IFREG), STATUS_STALE);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "d", true), STATUS_OK);
	cr_assert_eq(create(w.a, d, "x", S_IFREG), STATUS_NOT_FOUND, "removed, still open");
	cr_assert_eq(hard_link(w.a, f, d, "x"), STATUS_NOT_FOUND);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "x", 0), STATUS_NOT_FOUND);
}

Test(catalog_names, odd_values_of_create_are_refused)
{
	struct msg op = {
		.type = MSG_TYPE_op_create,
		.op_create = {.session = w.a, .dir = FILE_ROOT, .name = text("x"), .mode = S_IFREG},
	};
	static char target[SYMLINK_BYTES_MAX + 2];

	op.op_create.block_shift = BLOCK_SHIFT_MIN - 1;
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_create.block_shift = BLOCK_SHIFT_MAX + 1;
	op.op_create.seq = 0;
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_create.block_shift = BLOCK_SHIFT_MIN;
	op.op_create.seq = 0;
	cr_assert_eq(apply(&op), STATUS_OK);
	op.op_create.mode = S_IFLNK;
	op.op_create.name = text("y");
	op.op_create.seq = 0;
	cr_assert_eq(apply(&op), STATUS_INVALID, "no target");
	memset(target, 't', sizeof(target) - 1);
	op.op_create.value = text(target);
	op.op_create.seq = 0;
	cr_assert_eq(apply(&op), STATUS_INVALID, "target too long");
}

Test(catalog_names, links_are_counted)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG), d = make(w.a, FILE_ROOT, "d", S_IFDIR);

	cr_assert_eq(hard_link(w.a, f, d, "g"), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.nlink, 2);
	cr_assert_eq(w.reply.m.r_inode.ctime, NOW + 1);
	cr_assert_eq(hard_link(w.a, f, d, "g"), STATUS_EXISTS);
	cr_assert_eq(hard_link(w.a, d, FILE_ROOT, "e"), STATUS_NOT_PERMITTED);
	cr_assert_eq(hard_link(w.a, 999, FILE_ROOT, "e"), STATUS_STALE);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.nlink, 1);
	cr_assert_eq(w.reply.m.r_inode.state, INODE_CLEAN);
}

Test(catalog_names, unlink_tells_files_from_directories)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR);

	make(w.a, FILE_ROOT, "f", S_IFREG);
	make(w.a, d, "x", S_IFREG);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "f", true), STATUS_NOT_DIR);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "d", false), STATUS_IS_DIR);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "d", true), STATUS_NOT_EMPTY);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "none", false), STATUS_NOT_FOUND);
	cr_assert_eq(remove_name(w.a, d, "x", false), STATUS_OK);
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "d", true), STATUS_OK);
}

/* A15: what is open somewhere outlives its last name. */
Test(catalog_names, a_file_without_names_stays_an_orphan_until_nobody_has_it)
{
	uint64_t f = make_held(w.a, "f"), orphan = 0;
	struct msg q = {.type = MSG_TYPE_q_files};
	struct catalog_stats stats;
	uint8_t ids[2 * Q_FILES_BYTES] = {0};

	cr_assert_eq(lock(w.a, f, 5, F_WRLCK, 0, 10), STATUS_OK);
	cr_assert_eq(gone(f), STATUS_OK);
	cr_assert(inode_of(f).fields.nlink == 1, "still has a name: nothing happens");
	cr_assert_eq(remove_name(w.b, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.state, INODE_HELD | INODE_ORPHAN);
	cr_assert(catalog_orphan_next(w.cat, 0, &orphan));
	cr_assert_eq(orphan, f);
	cr_assert_not(catalog_orphan_next(w.cat, f, &orphan));
	cr_assert_eq(hard_link(w.a, f, FILE_ROOT, "again"), STATUS_NOT_FOUND);

	put_u64le(ids, f);
	put_u64le(ids + Q_FILES_BYTES, f + 1);
	q.q_files.inos = (struct span){ids, sizeof(ids)};
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 0, "neither the orphan nor an id not given yet");
	world_check();
	cr_assert_eq(gone(f), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 8);
	cr_assert_eq(get_u64le(w.reply.m.r_bytes.bytes.p), f);
	catalog_get_stats(w.cat, &stats);
	cr_assert_eq(stats.orphans, 0);
	cr_assert_eq(stats.files, 0);
	cr_assert_eq(lock(w.a, f, 5, F_UNLCK, 0, 10), STATUS_STALE);
	cr_assert_neq(make(w.a, FILE_ROOT, "f", S_IFREG), f, "ids are never used again");
}

Test(catalog_names, a_removed_directory_lists_nothing)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR);
	struct msg q = {.type = MSG_TYPE_q_readdir, .q_readdir = {.dir = d}};

	cr_assert_eq(remove_name(w.a, FILE_ROOT, "d", true), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_dirents.bytes.len, 0);
	cr_assert_eq(w.reply.m.r_dirents.next, 0);
	cr_assert_eq(gone(d), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_STALE);
}

/* --- readdir --- */

#define SEEN_MAX 200

static unsigned seen[SEEN_MAX];

/* Reads one reply of `bytes` bytes, counts names "nNNN", returns the cookie to go on from. */
static uint64_t read_some(uint64_t dir, uint64_t cookie, uint32_t bytes)
{
	struct msg q = {
		.type = MSG_TYPE_q_readdir,
		.q_readdir = {.dir = dir, .cookie = cookie, .bytes_max = bytes},
	};

	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.type, MSG_TYPE_r_dirents);
	struct cursor c = {w.reply.m.r_dirents.bytes.p, w.reply.m.r_dirents.bytes.len, false};

	while (c.left > 0) {
		uint64_t ino = cursor_u64(&c);
		uint32_t type;
		uint16_t len;
		char name[NAME_BYTES_MAX + 1] = "";
		const uint8_t *p;

		cookie = cursor_u64(&c);
		type = cursor_u32(&c);
		len = cursor_u16(&c);
		p = cursor_take(&c, len);
		cr_assert(p);
		memcpy(name, p, len);
		if (name[0] == 'n') {
			seen[strtoul(name + 1, NULL, 10) % SEEN_MAX]++;
			cr_assert_eq(find(dir, name), ino);
			cr_assert_eq(type, S_IFREG);
		} else {
			seen[0]++;
			cr_assert_eq(type, S_IFDIR);
		}
	}
	cr_assert(cursor_done(&c));
	cr_assert(w.reply.m.r_dirents.next == 0 || w.reply.m.r_dirents.next == cookie);
	return w.reply.m.r_dirents.next;
}

Test(catalog_names, readdir_survives_changes_between_its_pieces)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR), cookie = 0;
	char name[16];
	unsigned pieces = 0;

	memset(seen, 0, sizeof(seen));
	for (unsigned i = 1; i < 100; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		make(w.a, d, name, S_IFREG);
	}
	do {
		cookie = read_some(d, cookie, 300);
		/* Every third goes away, others move behind, new ones come: the rest is seen once. */
		snprintf(name, sizeof(name), "n%u", 3 * ++pieces);
		remove_name(w.a, d, name, false);
		snprintf(name, sizeof(name), "n%u", 99 + pieces);
		create(w.a, d, name, S_IFREG);
		cr_assert_lt(pieces, 40);
	} while (cookie != 0);
	cr_assert_gt(pieces, 5);
	cr_assert_eq(seen[0], 2, "both dots");
	for (unsigned i = 1; i < 100; i++)
		cr_assert(seen[i] == 1 || (i % 3 == 0 && seen[i] == 0), "n%u seen %u times", i, seen[i]);
}

Test(catalog_names, readdir_gives_at_least_one_entry_however_small_the_buffer)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR), cookie = 0;
	unsigned pieces = 0;

	memset(seen, 0, sizeof(seen));
	make(w.a, d, "n1", S_IFREG);
	do {
		cookie = read_some(d, cookie, 1);
		cr_assert_lt(++pieces, 4);
	} while (cookie != 0);
	cr_assert_eq(seen[1], 1);
	cr_assert_eq(read_some(d, UINT64_MAX, 100), 0);
}
