#include "tests/unit/catalog/world.h"

static uint64_t d, e, f, g;

static void setup(void)
{
	world_setup();
	d = make(w.a, FILE_ROOT, "d", S_IFDIR | 0755);
	e = make(w.a, d, "e", S_IFDIR | 0755);
	f = make(w.a, FILE_ROOT, "f", S_IFREG | 0644);
	g = make(w.a, d, "g", S_IFREG | 0644);
}

TestSuite(catalog_rename, .init = setup, .fini = world_teardown);

Test(catalog_rename, moves_a_file)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "h", 0), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, 0, "nothing was replaced");
	cr_assert_eq(w.reply.m.r_inode.moved, f);
	cr_assert_eq(w.reply.m.r_inode.swapped, 0);
	cr_assert_eq(find(FILE_ROOT, "f"), 0);
	cr_assert_eq(find(d, "h"), f);
	cr_assert_eq(inode_of(f).fields.ctime, NOW + 3);
	cr_assert_eq(inode_of(d).fields.mtime, NOW + 3);
	cr_assert_eq(inode_of(FILE_ROOT).fields.mtime, NOW + 3);
	cr_assert_eq(inode_of(f).fields.nlink, 1);
}

Test(catalog_rename, moves_a_directory_with_its_parent_link)
{
	uint64_t x = make(w.a, FILE_ROOT, "x", S_IFDIR);

	cr_assert_eq(move(w.a, d, "e", x, "e2", 0), STATUS_OK);
	cr_assert_eq(inode_of(d).fields.nlink, 2);
	cr_assert_eq(inode_of(x).fields.nlink, 3);
	cr_assert_eq(inode_of(e).parent, x);
}

Test(catalog_rename, replaces_a_file_which_becomes_an_orphan)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "g", 0), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, g);
	cr_assert_eq(w.reply.m.r_inode.nlink, 0);
	cr_assert(w.reply.m.r_inode.state & INODE_ORPHAN);
	cr_assert_eq(find(d, "g"), f);
}

Test(catalog_rename, replaces_only_an_empty_directory)
{
	uint64_t x = make(w.a, FILE_ROOT, "x", S_IFDIR);

	make(w.a, x, "inside", S_IFREG);
	cr_assert_eq(move(w.a, d, "e", FILE_ROOT, "x", 0), STATUS_NOT_EMPTY);
	cr_assert_eq(move(w.a, FILE_ROOT, "x", d, "e", 0), STATUS_OK);
	cr_assert_eq(find(d, "e"), x);
	cr_assert_eq(inode_of(x).parent, d);
	cr_assert_eq(inode_of(e).fields.nlink, 0);
	cr_assert_eq(inode_of(d).fields.nlink, 3);
}

Test(catalog_rename, keeps_files_and_directories_apart)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "e", 0), STATUS_IS_DIR);
	cr_assert_eq(move(w.a, d, "e", FILE_ROOT, "f", 0), STATUS_NOT_DIR);
}

Test(catalog_rename, refuses_to_put_a_directory_under_itself)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "d", d, "x", 0), STATUS_LOOP);
	cr_assert_eq(move(w.a, FILE_ROOT, "d", e, "x", 0), STATUS_LOOP);
	cr_assert_eq(move(w.a, d, "e", FILE_ROOT, "d", 0), STATUS_NOT_EMPTY, "onto its own parent");
	cr_assert_eq(move(w.a, FILE_ROOT, "f", e, "x", 0), STATUS_OK, "files may");
}

Test(catalog_rename, two_names_of_one_file_both_stay)
{
	cr_assert_eq(hard_link(w.a, f, d, "f2"), STATUS_OK);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "f2", 0), STATUS_OK);
	cr_assert_eq(find(FILE_ROOT, "f"), f);
	cr_assert_eq(find(d, "f2"), f);
	cr_assert_eq(move(w.a, FILE_ROOT, "d", FILE_ROOT, "d", 0), STATUS_OK, "onto itself");
	cr_assert_eq(move(w.a, FILE_ROOT, "d", FILE_ROOT, "d", RENAME_EXCHANGE), STATUS_OK);
}

Test(catalog_rename, noreplace_refuses_what_exists)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "g", RENAME_NOREPLACE), STATUS_EXISTS);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", FILE_ROOT, "f", RENAME_NOREPLACE), STATUS_EXISTS);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "new", RENAME_NOREPLACE), STATUS_OK);
}

Test(catalog_rename, exchange_swaps_any_two)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "e", RENAME_EXCHANGE), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.moved, f);
	cr_assert_eq(w.reply.m.r_inode.swapped, e);
	cr_assert_eq(w.reply.m.r_inode.ino, 0);
	cr_assert_eq(find(FILE_ROOT, "f"), e);
	cr_assert_eq(find(d, "e"), f);
	cr_assert_eq(inode_of(e).parent, FILE_ROOT);
	cr_assert_eq(inode_of(FILE_ROOT).fields.nlink, 4);
	cr_assert_eq(inode_of(d).fields.nlink, 2);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", FILE_ROOT, "no", RENAME_EXCHANGE), STATUS_NOT_FOUND);
}

Test(catalog_rename, exchange_does_not_loop_either_way)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "d", d, "e", RENAME_EXCHANGE), STATUS_LOOP);
	cr_assert_eq(move(w.a, d, "e", FILE_ROOT, "d", RENAME_EXCHANGE), STATUS_LOOP);
	cr_assert_eq(move(w.a, FILE_ROOT, "d", d, "g", RENAME_EXCHANGE), STATUS_LOOP);
}

Test(catalog_rename, errors_of_names_and_flags)
{
	cr_assert_eq(move(w.a, FILE_ROOT, "no", d, "x", 0), STATUS_NOT_FOUND);
	cr_assert_eq(move(w.a, f, "no", d, "x", 0), STATUS_NOT_DIR);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", g, "x", 0), STATUS_NOT_DIR);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", 999, "x", 0), STATUS_STALE);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "x", RENAME_WHITEOUT), STATUS_INVALID);
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "x", RENAME_NOREPLACE | RENAME_EXCHANGE),
	             STATUS_INVALID);
	cr_assert_eq(find(FILE_ROOT, "f"), f);
}

Test(catalog_rename, a_replaced_name_keeps_its_place_in_readdir)
{
	struct msg q = {.type = MSG_TYPE_q_readdir, .q_readdir = {.dir = d, .cookie = 2}};
	uint64_t before;

	cr_assert_eq(query(&q), STATUS_OK);
	before = get_u64le(w.reply.m.r_dirents.bytes.p + 22 + 1 + 8); /* behind "e" */
	cr_assert_eq(move(w.a, FILE_ROOT, "f", d, "g", 0), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(get_u64le(w.reply.m.r_dirents.bytes.p + 22 + 1), f);
	cr_assert_eq(get_u64le(w.reply.m.r_dirents.bytes.p + 22 + 1 + 8), before);
}
