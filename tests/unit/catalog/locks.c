#include "hint-server/catalog/locks.h"

#include "tests/unit/catalog/world.h"

/* --- the table --- */

static struct lock_table t;

static void table_setup(void)
{
	lock_table_init(&t);
}

static void table_teardown(void)
{
	lock_table_fini(&t);
}

TestSuite(lock_table, .init = table_setup, .fini = table_teardown);

static struct catalog_lock of(uint64_t owner, uint8_t type, uint64_t start, uint64_t end)
{
	return (struct catalog_lock){
		.session = 1, .owner = owner, .type = type, .start = start, .end = end,
	};
}

static bool set(uint64_t owner, uint8_t type, uint64_t start, uint64_t end)
{
	struct catalog_lock l = of(owner, type, start, end);

	return lock_table_set(&t, &l);
}

/* The table as text: "owner type start-end", in order. */
static void expect(const char *want)
{
	char got[400] = "";
	size_t len = 0;

	for (unsigned i = 0; i < t.n; i++)
		len += (size_t)snprintf(got + len, sizeof(got) - len, "%s%u%c%d-%d", i ? " " : "",
		                        (unsigned)t.lock[i].owner, t.lock[i].type == F_RDLCK ? 'r' : 'w',
		                        (int)t.lock[i].start, (int)t.lock[i].end);
	cr_assert_str_eq(got, want);
}

Test(lock_table, merges_neighbours_of_one_type)
{
	set(1, F_RDLCK, 0, 9);
	set(1, F_RDLCK, 20, 29);
	set(1, F_RDLCK, 10, 19);
	expect("1r0-29");
	set(1, F_RDLCK, 5, 50);
	expect("1r0-50");
	set(2, F_RDLCK, 51, 60);
	expect("1r0-50 2r51-60");
}

Test(lock_table, splits_around_a_change)
{
	cr_assert_not(set(1, F_WRLCK, 0, 99));
	cr_assert(set(1, F_RDLCK, 40, 59), "less than before");
	expect("1w0-39 1r40-59 1w60-99");
	cr_assert(set(1, F_UNLCK, 30, 69));
	expect("1w0-29 1w70-99");
	cr_assert_not(set(1, F_WRLCK, 30, 69));
	expect("1w0-99");
	cr_assert_not(set(1, F_UNLCK, 200, 300), "nothing there");
	cr_assert_not(set(2, F_UNLCK, 0, 99), "nor another's");
	expect("1w0-99");
	cr_assert(set(1, F_UNLCK, 0, UINT64_MAX));
	expect("");
}

Test(lock_table, upgrades_in_place)
{
	set(1, F_RDLCK, 0, 99);
	cr_assert_not(set(1, F_WRLCK, 0, 99));
	expect("1w0-99");
}

Test(lock_table, ends_of_the_number_space_do_not_wrap)
{
	set(1, F_RDLCK, UINT64_MAX - 1, UINT64_MAX);
	set(1, F_RDLCK, 0, 0);
	cr_assert_eq(t.n, 2);
	set(1, F_UNLCK, UINT64_MAX, UINT64_MAX);
	cr_assert_eq(t.lock[1].end, UINT64_MAX - 1);
}

Test(lock_table, conflicts_are_between_owners_of_one_flavour)
{
	struct catalog_lock want = of(2, F_RDLCK, 5, 5);

	set(1, F_RDLCK, 0, 9);
	cr_assert_null(lock_table_conflict(&t, &want));
	want.type = F_WRLCK;
	cr_assert_not_null(lock_table_conflict(&t, &want));
	want.flavour = LOCK_FLOCK;
	cr_assert_null(lock_table_conflict(&t, &want));
	want.flavour = LOCK_POSIX;
	want.start = want.end = 10;
	cr_assert_null(lock_table_conflict(&t, &want));
	want.start = 9;
	want.owner = 1;
	cr_assert_null(lock_table_conflict(&t, &want), "one's own");
	want.session = 2;
	cr_assert_not_null(lock_table_conflict(&t, &want), "same number in another session");
	want.type = F_UNLCK;
	cr_assert_null(lock_table_conflict(&t, &want));
}

Test(lock_table, survives_its_encoding_and_refuses_garbage)
{
	uint8_t bytes[2 * LOCK_BYTES];

	set(1, F_RDLCK, 0, 9);
	set(2, F_RDLCK, 3, UINT64_MAX);
	lock_table_encode(&t, bytes);
	cr_assert_eq(lock_table_decode(&t, bytes, sizeof(bytes)), 0);
	cr_assert_eq(t.n, 2);
	cr_assert_eq(t.lock[1].end, UINT64_MAX);
	cr_assert_eq(lock_table_decode(&t, bytes, sizeof(bytes) - 1), ERR_CORRUPT);
	bytes[36] = 9;
	cr_assert_eq(lock_table_decode(&t, bytes, sizeof(bytes)), ERR_CORRUPT);
}

/* --- in the catalog --- */

static uint64_t f;
static unsigned freed;

static void on_freed(void *ctx, uint64_t ino)
{
	(void)ctx;
	cr_assert_eq(ino, f);
	freed++;
}

static const struct catalog_watch watch = {.locks_freed = on_freed};

static void setup(void)
{
	world_setup();
	f = make(w.a, FILE_ROOT, "f", S_IFREG);
	freed = 0;
	catalog_set_watch(w.cat, &watch, NULL);
}

TestSuite(catalog_locks, .init = setup, .fini = world_teardown);

Test(catalog_locks, hold_across_sessions)
{
	struct msg_op_lock want = {.ino = f, .owner = 3, .type = F_RDLCK, .start = 5, .end = 7};
	struct catalog_lock blocker;
	uint64_t ino;

	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 0, 9), STATUS_OK);
	cr_assert_eq(lock(w.b, f, 1, F_RDLCK, 5, 7), STATUS_AGAIN);
	cr_assert(catalog_lock_blocker(w.cat, w.b, &want, &blocker));
	cr_assert_eq(blocker.session, w.a);
	cr_assert_eq(blocker.owner, 1);
	cr_assert_not(catalog_locked_next(w.cat, w.b, 0, &ino));
	cr_assert(catalog_locked_next(w.cat, w.a, 0, &ino));
	cr_assert_eq(freed, 0);
	cr_assert_eq(lock(w.a, f, 1, F_UNLCK, 0, 9), STATUS_OK);
	cr_assert_eq(freed, 1);
	cr_assert_eq(lock(w.b, f, 1, F_RDLCK, 5, 7), STATUS_OK);
	cr_assert_not(catalog_locked_next(w.cat, w.a, 0, &ino));
}

Test(catalog_locks, die_with_the_session)
{
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 0, 9), STATUS_OK);
	cr_assert_eq(lock(w.b, f, 1, F_WRLCK, 20, 29), STATUS_OK);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(freed, 1);
	cr_assert_eq(lock(w.b, f, 1, F_WRLCK, 0, 9), STATUS_OK);
}

Test(catalog_locks, flock_covers_the_whole_file_and_is_apart)
{
	struct msg op = {
		.type = MSG_TYPE_op_lock,
		.op_lock = {
			.session = w.a, .ino = f, .owner = 1, .type = F_WRLCK, .flavour = LOCK_FLOCK, .end = 3,
		},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(lock(w.b, f, 2, F_WRLCK, 0, UINT64_MAX), STATUS_OK, "another flavour");
	op.op_lock.session = w.b;
	op.op_lock.start = op.op_lock.end = 100;
	op.op_lock.seq = 0;
	cr_assert_eq(apply(&op), STATUS_AGAIN);
}

Test(catalog_locks, getlk_names_the_blocker)
{
	struct msg q = {
		.type = MSG_TYPE_q_getlk,
		.q_getlk = {.session = w.b, .ino = f, .owner = 1, .type = F_RDLCK, .start = 0, .end = 100},
	};

	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_lock.type, F_UNLCK);
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 10, 19), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_lock.type, F_WRLCK);
	cr_assert_eq(w.reply.m.r_lock.start, 10);
	cr_assert_eq(w.reply.m.r_lock.end, 19);
	cr_assert_eq(w.reply.m.r_lock.pid, 77);
	q.q_getlk.session = w.a;
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_lock.type, F_UNLCK, "one's own is not in the way");
	q.q_getlk.type = F_UNLCK;
	cr_assert_eq(query(&q), STATUS_INVALID);
}

Test(catalog_locks, senseless_ones_are_refused)
{
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 9, 8), STATUS_INVALID);
	cr_assert_eq(lock(w.a, f, 1, 7, 0, 8), STATUS_INVALID);
	cr_assert_eq(lock(w.a, 999, 1, F_WRLCK, 0, 8), STATUS_STALE);
	cr_assert_eq(freed, 0);
}

/* P8: bounded. Unlocking in the middle of a lock makes two of it, and is bounded too. */
Test(catalog_locks, their_number_is_bounded)
{
	for (uint64_t i = 0; i < CATALOG_LOCKS_PER_FILE_MAX; i++)
		cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 10 * i, 10 * i + 5), STATUS_OK);
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 8, 8), STATUS_NO_SPACE);
	cr_assert_eq(lock(w.a, f, 1, F_UNLCK, 2, 3), STATUS_NO_SPACE);
	cr_assert_eq(lock(w.a, f, 1, F_UNLCK, 0, 5), STATUS_OK);
	cr_assert_eq(lock(w.a, f, 1, F_UNLCK, 12, 13), STATUS_OK);
}
