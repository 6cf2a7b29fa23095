#include "tests/unit/catalog/world.h"

TestSuite(catalog_moves, .init = world_setup, .fini = world_teardown);

static enum status go(session_id_t s, uint64_t ino, uint16_t from, uint16_t to)
{
	struct msg op = {
		.type = MSG_TYPE_op_move,
		.op_move = {.session = s, .ino = ino, .from = from, .to = to},
	};

	return apply(&op);
}

/* The home changes places with another replica; nothing is copied, and saying it again changes nothing. */
Test(catalog_moves, home_becomes_another_replica)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);
	struct catalog_inode i = inode_of(f);
	uint16_t home = i.fields.site0, other = i.fields.site2;

	cr_assert_eq(go(w.a, f, home, other), STATUS_OK);
	i = inode_of(f);
	cr_assert_eq(i.fields.site0, other);
	cr_assert_eq(i.fields.site2, home);
	cr_assert_not(i.fields.state & INODE_STALE);
	cr_assert_eq(go(w.a, f, home, other), STATUS_EXISTS);
	cr_assert_eq(go(w.a, f, i.fields.site1, home), STATUS_INVALID, "two replicas in one site");
}

/* P1: no replica moves away from under a holder, and none where there is no core server. */
Test(catalog_moves, are_refused_while_held_and_where_nothing_is)
{
	uint64_t f = make_held(w.a, "f");
	struct catalog_inode i = inode_of(f);

	cr_assert_eq(go(w.a, f, i.fields.site0, i.fields.site1), STATUS_BUSY, "its own holder neither");
	cr_assert_eq(go(w.b, f, i.fields.site0, i.fields.site1), STATUS_BUSY);
	cr_assert_eq(release(w.a, f, 1, false), STATUS_OK);
	cr_assert_eq(go(w.b, f, i.fields.site0, i.fields.site1), STATUS_BUSY, "not before it is recovered");
	cr_assert_eq(go(w.b, f, i.fields.site0, 9), STATUS_INVALID);
	cr_assert_eq(go(w.b, f, 8, 9), STATUS_NOT_FOUND);
	cr_assert_eq(go(w.b, FILE_ROOT, 1, 2), STATUS_INVALID);
	cr_assert_eq(go(w.b, f + 100, 1, 2), STATUS_STALE);
}
