/* Space grants, collection of files that are gone, scrub and bad pages, a failing disk. */
#include "tests/unit/replica/rig.h"

TestSuite(replica_service, .init = rig_start, .fini = rig_stop);

static void drop_log(void)
{
	rig_run();
	rig.log_len = 0;
	rig.log[0] = '\0';
}

static uint64_t granted(void)
{
	struct store_space space;

	store_get_space(rig.store, &space);
	return space.granted;
}

static struct replica_stats stats(void)
{
	struct replica_stats s;

	replica_get_stats(rig.replica, &s);
	return s;
}

/* B7: what was granted is there when the write comes, and is used up by it. */
Test(replica_service, grants_are_used_up_by_writes)
{
	struct msg m = {.type = MSG_TYPE_space, .space = {.want = 10 * PAGE_BYTES}};

	rig_send(&m);
	cr_assert_eq(granted(), 10 * PAGE_BYTES);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 4, 'a');
	rig_run();
	cr_assert_eq(granted(), 6 * PAGE_BYTES);
	/* A repeat uses nothing. */
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 4, 'a');
	rig_run();
	cr_assert_eq(granted(), 6 * PAGE_BYTES);
}

Test(replica_service, a_repeated_request_gets_the_same_grant)
{
	struct msg m = {.type = MSG_TYPE_space, .space = {.want = PAGE_BYTES}};

	rig_send(&m);
	rig.next_id--;
	rig_send(&m);
	cr_assert_eq(granted(), PAGE_BYTES);
	rig_send(&m);
	cr_assert_eq(granted(), 2 * PAGE_BYTES);
}

/* Writes accepted under a grant may come after a reconnection, so it is kept for a while; but the
 * peer asks anew then, so it must not be kept for ever. */
Test(replica_service, grants_of_a_broken_connection_come_back_later)
{
	struct msg m = {.type = MSG_TYPE_space, .space = {.want = 8 * PAGE_BYTES}};

	rig_send(&m);
	replica_peer_down(rig.replica, PEER);
	rig_advance(NSEC_SEC);
	rig_send(&m);
	cr_assert_eq(granted(), 16 * PAGE_BYTES);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 2, 'a');
	rig_run();
	cr_assert_eq(granted(), 14 * PAGE_BYTES);
	rig_advance(6 * NSEC_SEC);
	cr_assert_eq(granted(), 8 * PAGE_BYTES);
	rig_write(0, ver(1, 1), ver(1, 2), 0, 2, 'a');
	rig_run();
	cr_assert_eq(granted(), 6 * PAGE_BYTES);
}

/* A15: deleted only when the catalog says so. */
Test(replica_service, forgets_a_file_when_the_catalog_says_that_it_is_gone)
{
	struct msg forget = {.type = MSG_TYPE_forget, .forget = {FILE_7}};

	rig_with_catalog();
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	drop_log();
	rig_send(&forget); /* the hint alone deletes nothing */
	rig_advance(NSEC_SEC);
	cr_assert_eq(stats().files_deleted, 0);
	cr_assert_gt(rig.asked, 0);
	rig.gone = FILE_7;
	rig_send(&forget);
	rig_advance(NSEC_SEC);
	cr_assert_eq(stats().files_deleted, 1);
	rig_write(0, ver(1, 1), ver(1, 2), 0, 1, 'b');
	cr_assert_not_null(strstr(rig.log, "status=26 file=7"), "%s", rig.log);
	struct store_file rec;

	cr_assert(!store_get_file(rig.store, FILE_7, &rec));
}

Test(replica_service, walks_all_files_for_what_no_hint_reached)
{
	rig_with_catalog();
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	drop_log();
	rig.gone = FILE_7;
	rig_advance(130 * NSEC_SEC);
	cr_assert_eq(stats().files_deleted, 1);
}

Test(replica_service, an_answer_about_another_file_deletes_nothing)
{
	struct msg forget = {.type = MSG_TYPE_forget, .forget = {FILE_7}};

	rig_with_catalog();
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	drop_log();
	rig.gone = 8;
	rig_send(&forget);
	rig_advance(NSEC_SEC);
	cr_assert_eq(stats().files_deleted, 0);
}

static void on_checkpoint(void *ctx, int rc)
{
	int *out = ctx;

	*out = rc;
}

/* Brings all pages to the data file, so that rot has something to hit. */
static void checkpoint(void)
{
	int result = 1;

	store_checkpoint(rig.store, on_checkpoint, &result);
	for (int i = 0; i < 100 && result == 1; i++)
		rig_run();
	cr_assert_eq(result, 0);
}

/* P7: a bad page is reported, remembered, and repaired by a holder's install. */
Test(replica_service, scrub_finds_rot_and_an_install_repairs_it)
{
	struct replica_bad bad[4];

	rig_write(0, VERSION_NONE, ver(1, 1), 0, 16, 'a');
	drop_log();
	checkpoint();
	rig_reopen(false);
	cr_assert_eq(sim_disk_rot(rig.disk, "data", 1), 1);
	replica_scrub(rig.replica);
	rig_advance(NSEC_SEC);
	cr_assert(!replica_scrubbing(rig.replica));
	cr_assert_eq(stats().scrubbed, 1);
	cr_assert_eq(replica_get_bad(rig.replica, bad, 4), 1);
	cr_assert_eq(bad[0].file, FILE_7);
	rig_expect(""); /* nobody is there to be told */
	replica_peer_up(rig.replica, 40);
	rig_advance(2 * NSEC_SEC);
	cr_assert_not_null(strstr(rig.log, "40#0 bad_page file=7 block=0 page="), "%s", rig.log);
	replica_peer_down(rig.replica, 40);
	drop_log();
	rig_read(1, 0, 0, 16, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#2 read_reply status=8"), "%s", rig.log);
	drop_log();
	/* Who asks for data here is told until it is repaired. */
	rig_advance(15 * NSEC_SEC);
	cr_assert_not_null(strstr(rig.log, "31#0 bad_page file=7 block=0 page="), "%s", rig.log);
	rig_install(1, 0, ver(1, 1), 0, ver(1, 1), 0, 0xffff, 'a');
	drop_log();
	cr_assert_eq(replica_get_bad(rig.replica, bad, 4), 0);
	cr_assert_eq(stats().repaired, 1);
	rig_advance(60 * NSEC_SEC);
	rig_expect("");
	rig_read(1, 0, 0, 16, ver(1, 1));
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#4 read_reply status=0"), "%s", rig.log);
}

/* A13: a failed sync is final; nothing is acknowledged after it. */
Test(replica_service, leaves_service_when_a_sync_fails)
{
	sim_disk_fail_next_sync(rig.disk);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#1 write_reply status=9"), "%s", rig.log);
	cr_assert(replica_disk_failed(rig.replica));
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_read(1, 0, 0, 1, VERSION_NONE);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "31#2 write_reply status=9"), "%s", rig.log);
	cr_assert_not_null(strstr(rig.log, "31#3 read_reply status=9"), "%s", rig.log);
}

/* P8: nothing to give is what a full disk says, and a peer tells its writers ENOSPC upon it. A store may
 * have failed in the background, before any request of this server met it. */
Test(replica_service, a_failed_store_says_nothing_about_space)
{
	struct msg m = {.type = MSG_TYPE_space, .space = {.want = 8 * PAGE_BYTES}};
	int rc = 0;

	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	rig_run();
	sim_disk_fail_next_sync(rig.disk);
	store_checkpoint(rig.store, on_checkpoint, &rc);
	rig_run();
	cr_assert_lt(rc, 0);
	rig.log_len = 0;
	rig_send(&m);
	rig_run();
	cr_assert_not_null(strstr(rig.log, "space_reply status=9 granted=0"), "%s", rig.log);
}

/* A full disk refuses one write; what follows on it in the chain does not slip in. */
Test(replica_service, a_write_without_space_takes_its_followers_with_it)
{
	sim_disk_set_bytes(rig.disk, 0);
	rig_write(0, VERSION_NONE, ver(1, 1), 0, 1, 'a');
	for (uint32_t i = 1; i < 600; i++)
		rig_write(i, VERSION_NONE, ver(1, 1 + i), 0, 16, 'a');
	rig_advance(10 * NSEC_SEC);
	cr_assert_not_null(strstr(rig.log, "write_reply status=7"), "no write was refused");
	cr_assert(!replica_disk_failed(rig.replica));
}
