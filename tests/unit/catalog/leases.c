#include "tests/unit/catalog/world.h"

TestSuite(catalog_leases, .init = world_setup, .fini = world_teardown);

static struct msg_r_lease *reply(void)
{
	cr_assert_eq(w.reply.m.type, MSG_TYPE_r_lease);
	return &w.reply.m.r_lease;
}

static enum status reclaim(session_id_t s, uint64_t ino, uint64_t epoch, session_id_t old)
{
	struct msg op = {
		.type = MSG_TYPE_op_reclaim,
		.op_reclaim = {.session = s, .ino = ino, .epoch = epoch, .old_session = old},
	};

	return apply(&op);
}

/* The access server's process goes on, its session ended: it comes back with a new one. */
static session_id_t renew_a(void)
{
	session_id_t old = w.a;

	cr_assert_eq(end_session(w.a), STATUS_OK);
	w.a = open_session(101, SERVER_ACCESS, 1);
	cr_assert_neq(w.a, old);
	return old;
}

Test(catalog_leases, each_exclusive_grant_has_a_new_epoch)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);

	cr_assert_eq(lease(w.a, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->granted, LEASE_EXCLUSIVE);
	cr_assert_eq(reply()->recover, 0);
	cr_assert_eq(reply()->epoch, 1);
	cr_assert_eq(reply()->state, INODE_HELD);
	cr_assert_eq(inode_of(f).holder, w.a);
	cr_assert_eq(lease(w.a, f, LEASE_EXCLUSIVE), STATUS_OK, "the holder asks again");
	cr_assert_eq(reply()->epoch, 1);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_BUSY);
	cr_assert_eq(lease(w.b, f, LEASE_SHARED), STATUS_BUSY);
	cr_assert_eq(release(w.a, f, 1, true), STATUS_OK);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->epoch, 2);
	cr_assert_eq(reply()->recover, 0);
	cr_assert_eq(reply()->size, 4096);
	cr_assert_eq(reply()->mtime, NOW + 5);
}

Test(catalog_leases, a_file_can_be_born_with_its_lease)
{
	uint64_t f = make_held(w.a, "f"), ino = 0;

	cr_assert_eq(w.reply.m.r_inode.epoch, 1);
	cr_assert_eq(w.reply.m.r_inode.state, INODE_HELD);
	cr_assert(catalog_lease_next(w.cat, w.a, 0, &ino));
	cr_assert_eq(ino, f);
	cr_assert_not(catalog_lease_next(w.cat, w.a, ino, &ino));
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_BUSY);
}

Test(catalog_leases, a_shared_lease_on_a_clean_file_changes_nothing)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);

	cr_assert_eq(lease(w.a, f, LEASE_SHARED), STATUS_OK);
	cr_assert_eq(reply()->granted, LEASE_SHARED);
	cr_assert_eq(inode_of(f).holder, 0);
	cr_assert_eq(inode_of(f).fields.epoch, 0);
}

Test(catalog_leases, only_files_have_leases)
{
	uint64_t d = make(w.a, FILE_ROOT, "d", S_IFDIR);

	cr_assert_eq(lease(w.a, d, LEASE_EXCLUSIVE), STATUS_INVALID);
	cr_assert_eq(lease(w.a, FILE_ROOT, LEASE_SHARED), STATUS_INVALID);
	cr_assert_eq(lease(w.a, 999, LEASE_SHARED), STATUS_STALE);
	cr_assert_eq(lease(w.a, make(w.a, FILE_ROOT, "f", S_IFREG), LEASE_NONE), STATUS_INVALID);
}

/* P2: an unclean end makes the next grant a recovery with a new epoch, even for reading. */
Test(catalog_leases, after_an_unclean_end_the_next_grant_recovers)
{
	uint64_t f = make_held(w.a, "f"), ino;

	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert(inode_of(f).unclean);
	cr_assert_eq(inode_of(f).fields.state, 0);
	cr_assert(catalog_repair_next(w.cat, 0, &ino));
	cr_assert_eq(ino, f);
	world_check();
	cr_assert_eq(lease(w.b, f, LEASE_SHARED), STATUS_OK);
	cr_assert_eq(reply()->granted, LEASE_EXCLUSIVE);
	cr_assert_eq(reply()->recover, 1);
	cr_assert_eq(reply()->epoch, 2);
	cr_assert_not(catalog_repair_next(w.cat, 0, &ino), "under way");
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->recover, 1, "told again");

	/* Exceptions left: the next grant recovers again. */
	cr_assert_eq(release(w.b, f, 2, false), STATUS_OK);
	cr_assert(inode_of(f).unclean);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->recover, 1);
	cr_assert_eq(reply()->epoch, 3);
	cr_assert_eq(release(w.b, f, 3, true), STATUS_OK);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->recover, 0);
	cr_assert_eq(reply()->epoch, 4);
}

Test(catalog_leases, a_recoverer_that_dies_leaves_a_recovery)
{
	uint64_t f = make_held(w.a, "f");

	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(end_session(w.b), STATUS_OK);
	w.a = open_session(101, SERVER_ACCESS, 9);
	cr_assert_eq(lease(w.a, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->recover, 1);
	cr_assert_eq(reply()->epoch, 3);
}

Test(catalog_leases, only_the_holder_releases_and_only_its_epoch)
{
	uint64_t f = make_held(w.a, "f");

	cr_assert_eq(release(w.b, f, 1, true), STATUS_LOST);
	cr_assert_eq(release(w.a, f, 2, true), STATUS_LOST);
	cr_assert_eq(release(w.a, f, 1, true), STATUS_OK);
	cr_assert_eq(release(w.a, f, 1, true), STATUS_LOST);
	cr_assert_eq(release(w.a, 999, 1, true), STATUS_STALE);
}

Test(catalog_leases, release_keeps_the_newer_ctime)
{
	uint64_t f = make_held(w.a, "f");
	struct msg op = {
		.type = MSG_TYPE_op_setattr,
		.op_setattr = {
			.session = w.b, .ino = f, .valid = SETATTR_MODE | SETATTR_CTIME, .mode = 0600,
			.ctime = NOW + 100,
		},
	};

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(release(w.a, f, 1, true), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.ctime, NOW + 100);
	cr_assert_eq(inode_of(f).fields.mtime, NOW + 5);
	cr_assert_eq(inode_of(f).fields.mode, S_IFREG | 0600);
}

static enum status release_stale(uint64_t ino, uint64_t epoch, enum lease_mode to,
                                 struct span stale)
{
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {
			.session = w.a, .ino = ino, .epoch = epoch, .clean = 1, .to = (uint8_t)to, .size = 77,
			.stale = stale,
		},
	};

	return apply(&op);
}

/* A5: the stale map comes back with the next grant, and only a holder clears it. */
Test(catalog_leases, stale_runs_travel_with_the_lease)
{
	uint64_t f = make_held(w.a, "f"), ino;
	struct stale_map s, got;
	uint8_t bytes[64];
	struct span runs = {bytes, 0};

	stale_init(&s);
	stale_init(&got);
	cr_assert_eq(stale_set(&s, 3, 9, 2), 0);
	cr_assert_eq(stale_set(&s, BLOCK_ATTR, BLOCK_ATTR, 1), 0);
	runs.len = (uint32_t)stale_encoded_bytes(&s);
	stale_encode(&s, bytes);
	cr_assert_eq(release_stale(f, 1, LEASE_EXCLUSIVE, runs), STATUS_OK);
	cr_assert_eq(inode_of(f).holder, w.a, "kept");
	cr_assert_eq(inode_of(f).fields.state, INODE_HELD | INODE_STALE);
	world_check();
	cr_assert_eq(release_stale(f, 1, LEASE_NONE, runs), STATUS_OK);
	cr_assert(catalog_repair_next(w.cat, 0, &ino));

	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->recover, 0);
	cr_assert_eq(reply()->size, 77);
	cr_assert_eq(stale_decode(&got, reply()->stale.p, reply()->stale.len), 0);
	cr_assert_eq(stale_get(&got, 5), 4);
	cr_assert_eq(stale_get(&got, BLOCK_ATTR), 2);
	cr_assert(catalog_stale(w.cat, f, &got));
	cr_assert_eq(stale_get(&got, 9), 4);
	cr_assert_eq(release(w.b, f, 2, true), STATUS_OK);
	cr_assert_not(catalog_repair_next(w.cat, 0, &ino));
	cr_assert_eq(inode_of(f).fields.state, INODE_CLEAN);
	stale_fini(&s);
	stale_fini(&got);
}

Test(catalog_leases, malformed_stale_runs_are_refused_and_change_nothing)
{
	uint64_t f = make_held(w.a, "f");
	uint8_t bytes[STALE_RUN_BYTES] = {0};
	struct span run = {bytes, sizeof(bytes)};

	cr_assert_eq(release_stale(f, 1, LEASE_NONE, (struct span){bytes, 5}), STATUS_INVALID);
	cr_assert_eq(release_stale(f, 1, LEASE_NONE, run), STATUS_INVALID, "an empty mask");
	bytes[16] = 3;
	cr_assert_eq(release_stale(f, 1, LEASE_NONE, run), STATUS_INVALID, "two stale replicas");
	cr_assert_eq(inode_of(f).holder, w.a);
	cr_assert_eq(inode_of(f).fields.size, 0);
}

static enum status lease_above(session_id_t s, uint64_t ino, uint64_t above)
{
	struct msg op = {
		.type = MSG_TYPE_op_lease,
		.op_lease = {.session = s, .ino = ino, .mode = LEASE_EXCLUSIVE, .above = above},
	};

	return apply(&op);
}

/* A8d: after a restore the storage knows higher epochs than the catalog. */
Test(catalog_leases, epochs_rise_above_a_seal_that_was_met)
{
	uint64_t f = make_held(w.a, "f");

	cr_assert_eq(lease_above(w.a, f, 1), STATUS_OK);
	cr_assert_eq(reply()->epoch, 1);
	cr_assert_eq(lease_above(w.a, f, 40), STATUS_OK);
	cr_assert_eq(reply()->epoch, 41);
	cr_assert_eq(reply()->recover, 1);
	cr_assert_eq(lease_above(w.a, f, UINT64_MAX), STATUS_INVALID, "P9: numbers must not run out");
	cr_assert_eq(release(w.a, f, 41, true), STATUS_OK);
	cr_assert_eq(lease_above(w.b, f, 41), STATUS_OK);
	cr_assert_eq(reply()->epoch, 42);
	cr_assert_eq(reply()->recover, 0);
}

/* --- lost handles (A9) --- */

Test(catalog_leases, an_old_holder_reclaims_what_nobody_wanted)
{
	uint64_t f = make_held(w.a, "f");
	session_id_t old = renew_a();

	cr_assert_eq(reclaim(w.a, f, 1, old), STATUS_OK);
	cr_assert_eq(reply()->granted, LEASE_EXCLUSIVE);
	cr_assert_eq(reply()->epoch, 1, "same epoch, same buffer");
	cr_assert_eq(reply()->recover, 0);
	cr_assert_eq(inode_of(f).holder, w.a);
	cr_assert_eq(reclaim(w.a, f, 1, old), STATUS_OK, "twice");
	cr_assert_eq(release(w.a, f, 1, true), STATUS_OK);
	cr_assert_eq(inode_of(f).fields.state, INODE_CLEAN);
}

Test(catalog_leases, a_lease_of_another_since_loses_the_handle)
{
	uint64_t f = make_held(w.a, "f");
	session_id_t old;

	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(lease(w.b, f, LEASE_SHARED), STATUS_OK);
	cr_assert_eq(release(w.b, f, 2, true), STATUS_OK);
	old = w.a;
	w.a = open_session(101, SERVER_ACCESS, 1);
	cr_assert_eq(reclaim(w.a, f, 1, old), STATUS_LOST);
	cr_assert_eq(reclaim(w.a, f, 0, old), STATUS_LOST);
	cr_assert_eq(reclaim(w.a, f, 2, old), STATUS_LOST);
}

Test(catalog_leases, a_lock_of_another_since_loses_the_handle)
{
	uint64_t f = make_held(w.a, "f"), g = make(w.a, FILE_ROOT, "g", S_IFREG);
	session_id_t old = renew_a();

	cr_assert_eq(lock(w.b, f, 1, F_WRLCK, 0, 0), STATUS_OK);
	cr_assert_eq(lock(w.b, f, 1, F_UNLCK, 0, 0), STATUS_OK);
	cr_assert_eq(reclaim(w.a, f, 1, old), STATUS_LOST);
	cr_assert_eq(reclaim(w.a, g, 0, old), STATUS_OK, "another file is not concerned");
	cr_assert_eq(reply()->granted, LEASE_NONE);
}

Test(catalog_leases, a_grant_of_ones_own_does_not_hide_another_in_between)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);
	session_id_t old = renew_a();

	cr_assert_eq(lock(w.b, f, 1, F_WRLCK, 0, 0), STATUS_OK);
	cr_assert_eq(lock(w.b, f, 1, F_UNLCK, 0, 0), STATUS_OK);
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 0, 0), STATUS_OK);
	cr_assert_eq(reclaim(w.a, f, 0, old), STATUS_LOST);
}

Test(catalog_leases, what_others_took_before_the_end_does_no_harm)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);
	session_id_t old;

	cr_assert_eq(lock(w.b, f, 1, F_RDLCK, 0, 0), STATUS_OK);
	old = renew_a();
	cr_assert_eq(reclaim(w.a, f, 0, old), STATUS_OK);
}

Test(catalog_leases, only_the_servers_own_last_session_is_reclaimed)
{
	uint64_t f = make_held(w.a, "f");
	session_id_t old = renew_a(), older = old;

	cr_assert_eq(reclaim(w.b, f, 1, old), STATUS_LOST, "another server's");
	cr_assert_eq(reclaim(w.a, f, 1, 0), STATUS_LOST);
	old = renew_a();
	cr_assert_eq(reclaim(w.a, f, 1, older), STATUS_LOST, "not the last one");
	cr_assert_eq(reclaim(w.a, f, 1, old), STATUS_LOST, "did not hold it");
	cr_assert(inode_of(f).unclean);
}

static size_t put_lock(uint8_t *p, uint64_t owner, uint64_t start, uint64_t end, uint8_t type)
{
	put_u64le(p, owner);
	put_u64le(p + 8, start);
	put_u64le(p + 16, end);
	put_u32le(p + 24, 77);
	p[28] = type;
	p[29] = LOCK_POSIX;
	return CATALOG_RECLAIM_LOCK_BYTES;
}

Test(catalog_leases, locks_come_back_all_or_none)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG);
	uint8_t bytes[2 * CATALOG_RECLAIM_LOCK_BYTES];
	struct msg op = {.type = MSG_TYPE_op_reclaim, .op_reclaim = {.ino = f}};
	struct catalog_lock got[4];

	cr_assert_eq(lock(w.b, f, 9, F_RDLCK, 500, 600), STATUS_OK);
	cr_assert_eq(lock(w.a, f, 1, F_WRLCK, 0, 9), STATUS_OK);
	cr_assert_eq(lock(w.a, f, 2, F_RDLCK, 20, 29), STATUS_OK);
	op.op_reclaim.old_session = renew_a();
	op.op_reclaim.session = w.a;
	cr_assert_eq(catalog_locks(w.cat, f, got, 4), 1, "locks die with the session");

	put_lock(bytes, 1, 0, 9, F_WRLCK);
	put_lock(bytes + CATALOG_RECLAIM_LOCK_BYTES, 2, 550, 550, F_WRLCK);
	op.op_reclaim.locks = (struct span){bytes, sizeof(bytes)};
	cr_assert_eq(apply(&op), STATUS_LOST, "in another's way");
	cr_assert_eq(catalog_locks(w.cat, f, got, 4), 1);
	put_lock(bytes + CATALOG_RECLAIM_LOCK_BYTES, 2, 20, 29, F_RDLCK);
	op.op_reclaim.seq = 0;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(catalog_locks(w.cat, f, got, 4), 3);
	op.op_reclaim.locks.len--;
	op.op_reclaim.seq = 0;
	cr_assert_eq(apply(&op), STATUS_INVALID);
}

static unsigned listed(void)
{
	uint64_t ino = 0;
	unsigned n = 0;

	while (catalog_repair_next(w.cat, ino, &ino))
		n++;
	return n;
}

/* The inodes of an ended session follow one per entry here; what they say counts from the first. */
Test(catalog_leases, the_end_of_a_session_counts_before_it_is_tidied)
{
	uint64_t f[6];
	session_id_t old;
	char name[2] = "a";

	world_teardown();
	world_sweep = 1;
	world_setup();
	old = w.a;
	for (unsigned i = 0; i < 6; i++, name[0]++)
		f[i] = make_held(w.a, name);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	for (unsigned i = 0; i < 6; i++)
		cr_assert(inode_of(f[i]).unclean && inode_of(f[i]).holder == 0);
	cr_assert_eq(listed(), 1);
	world_check();
	cr_assert_eq(catalog_reload(w.cat), 0);
	cr_assert(inode_of(f[5]).unclean, "also read afresh");
	cr_assert_eq(lease(w.b, f[5], LEASE_SHARED), STATUS_OK);
	cr_assert_eq(reply()->recover, 1);
	cr_assert_eq(reply()->epoch, 2);
	w.a = open_session(101, SERVER_ACCESS, 1);
	cr_assert_eq(reclaim(w.a, f[4], 1, old), STATUS_OK);
	cr_assert_eq(reply()->granted, LEASE_EXCLUSIVE);
	cr_assert_eq(remove_name(w.b, FILE_ROOT, "d", false), STATUS_OK);
	world_check();
	cr_assert_eq(listed(), 4, "all that nobody took");
	cr_assert_eq(gone(f[3]), STATUS_OK);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(lease(w.b, FILE_ROOT, LEASE_SHARED), STATUS_INVALID, "entries go by");
	cr_assert_eq(listed(), 3);
	cr_assert_eq(inode_of(f[5]).holder, w.b);
	cr_assert_eq(inode_of(f[4]).holder, w.a);
}

Test(catalog_leases, planted_bug_keeps_the_epoch)
{
	uint64_t f = make_held(w.a, "f");

	catalog_set_bugs(w.cat, CATALOG_BUG_EPOCH_KEPT);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(lease(w.b, f, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(reply()->epoch, 1);
}
