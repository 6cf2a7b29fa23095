#include "tests/unit/catalog/world.h"

TestSuite(catalog_moves, .init = world_setup, .fini = world_teardown);

static enum status go(session_id_t s, uint64_t ino, uint16_t from, uint16_t to, uint64_t map)
{
	struct msg op = {
		.type = MSG_TYPE_op_move,
		.op_move = {.session = s, .ino = ino, .from = from, .to = to, .map = map},
	};

	return apply(&op);
}

static void drain(server_id_t server, bool on)
{
	struct msg op = {
		.type = MSG_TYPE_op_drain,
		.op_drain = {.server = server, .drain = on, .slot = 0xffff},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
}

/* The home changes places with another replica; nothing is copied, and saying it again changes nothing. */
Test(catalog_moves, home_becomes_another_replica)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);
	struct catalog_inode i = inode_of(f);
	uint16_t home = i.fields.site0, other = i.fields.site2;

	cr_assert_eq(go(w.a, f, home, other, 0), STATUS_OK);
	i = inode_of(f);
	cr_assert_eq(i.fields.site0, other);
	cr_assert_eq(i.fields.site2, home);
	cr_assert_not(i.fields.state & INODE_STALE);
	cr_assert_eq(go(w.a, f, home, other, 0), STATUS_EXISTS);
	cr_assert_eq(go(w.a, f, i.fields.site1, home, 0), STATUS_INVALID, "two replicas in one site");
}

/* P1: nothing changes under a holder, and no replica goes where it was not made whole. */
Test(catalog_moves, are_refused_while_held_and_without_a_copy)
{
	uint64_t f = make_held(w.a, "f");
	struct catalog_inode i = inode_of(f);

	cr_assert_eq(go(w.a, f, i.fields.site0, i.fields.site1, 0), STATUS_BUSY, "its own holder neither");
	cr_assert_eq(go(w.b, f, i.fields.site0, i.fields.site1, 0), STATUS_BUSY);
	cr_assert_eq(release(w.a, f, 1, false), STATUS_OK);
	cr_assert_eq(go(w.b, f, i.fields.site0, i.fields.site1, 0), STATUS_BUSY, "not before it is recovered");
	cr_assert_eq(go(w.b, f, i.fields.site0, 9, 0), STATUS_INVALID);
	cr_assert_eq(go(w.b, FILE_ROOT, 1, 2, 0), STATUS_INVALID);
	cr_assert_eq(go(w.b, f + 100, 1, 2, 0), STATUS_STALE);
}

static enum status release_to(uint64_t ino, uint16_t from, uint16_t to, uint64_t map, unsigned stale)
{
	uint8_t bytes[STALE_RUN_BYTES];
	struct stale_map lacks;
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {.session = w.a, .ino = ino, .epoch = inode_of(ino).fields.epoch, .clean = 1,
		               .from = from, .move_to = to, .map = map},
	};

	stale_init(&lacks);
	cr_assert_eq(stale_set(&lacks, 3, 5, stale), 0);
	stale_encode(&lacks, bytes);
	stale_fini(&lacks);
	op.op_release.stale = (struct span){bytes, sizeof(bytes)};
	return apply(&op);
}

static unsigned replica_in(uint64_t ino, uint16_t site)
{
	struct catalog_inode i = inode_of(ino);

	return i.fields.site0 == site ? 0 : i.fields.site1 == site ? 1 : 2;
}

/* The replica of a drained server goes to the other one of its site with the release, and lacks what that
 * says. */
Test(catalog_moves, a_release_moves_within_a_site)
{
	uint64_t f = make_held(w.a, "f"), map = inode_of(f).fields.map;
	struct catalog_move m;
	unsigned k = replica_in(f, 3);
	struct stale_map lacks;

	cr_assert_not(catalog_move_wanted(w.cat, f, &m));
	drain(6, true);
	cr_assert(catalog_move_wanted(w.cat, f, &m));
	cr_assert_eq(m.from, 3);
	cr_assert_eq(m.to, 3);
	cr_assert_eq(m.map, map + 1);
	cr_assert_eq(release_to(f, 3, 3, m.map, k), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.map, m.map);
	cr_assert_not(catalog_move_wanted(w.cat, f, &m));
	stale_init(&lacks);
	cr_assert(catalog_stale(w.cat, f, &lacks));
	cr_assert_eq(stale_get(&lacks, 4), 1u << k);
	cr_assert_eq(stale_get(&lacks, 6), 0);
	stale_fini(&lacks);
	world_check();
}

/* P1: where another replica lacks something, or would lie elsewhere as well, the release is only a release. */
Test(catalog_moves, a_release_moves_nothing_that_would_lag)
{
	uint64_t f = make_held(w.a, "f"), map = inode_of(f).fields.map;
	unsigned k = replica_in(f, 3);
	struct catalog_move m;

	drain(6, true);
	drain(5, true);
	cr_assert(catalog_move_wanted(w.cat, f, &m));
	cr_assert_eq(m.map, map + 1, "one step after the other");
	cr_assert_eq(release_to(f, 3, 3, map + 2, k), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.map, map, "two replicas at once");
	cr_assert_eq(inode_of(f).holder, 0);
	f = make_held(w.a, "g");
	drain(5, false);
	drain(4, true);
	map = inode_of(f).fields.map;
	cr_assert(catalog_move_wanted(w.cat, f, &m));
	cr_assert_eq(release_to(f, m.from, m.to, m.map, (replica_in(f, m.from) + 1) % 3), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.map, map, "another one lags");
	world_check();
}

/* A server's return brings back where blocks lie: only the map's number is left to change. */
Test(catalog_moves, maps_change_without_a_copy_if_all_lies_where_it_lay)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG), map = inode_of(f).fields.map;

	drain(6, true);
	cr_assert_eq(go(w.a, f, 0, 0, map + 1), STATUS_INVALID);
	drain(6, false);
	cr_assert_eq(go(w.a, f, 0, 0, map + 3), STATUS_NOT_FOUND);
	cr_assert_eq(go(w.a, f, 0, 0, map + 2), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.map, map + 2);
	cr_assert_eq(go(w.a, f, 0, 0, map + 2), STATUS_EXISTS);
	cr_assert_eq(go(w.a, f, 0, 0, map), STATUS_NOT_FOUND, "forgotten: nothing is placed by it");
	world_check();
}
