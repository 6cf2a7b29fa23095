#include "tests/unit/catalog/world.h"

TestSuite(catalog_sessions, .init = world_setup, .fini = world_teardown);

Test(catalog_sessions, are_given_once_per_boot)
{
	struct catalog_session s;

	cr_assert_eq(open_session(101, SERVER_ACCESS, 1), w.a, "the request came twice");
	cr_assert_eq(w.reply.m.r_session.session_ms, 5000);
	cr_assert_eq(w.reply.m.r_session.margin_ms, 500);
	cr_assert_eq(catalog_session_of(w.cat, 101), w.a);
	cr_assert(catalog_session(w.cat, w.a, &s));
	cr_assert_eq(s.server, 101);
	cr_assert_eq(s.kind, SERVER_ACCESS);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(end_session(w.a), STATUS_NO_SESSION);
	cr_assert_eq(catalog_session_of(w.cat, 101), 0);
	cr_assert_neq(open_session(101, SERVER_ACCESS, 1), w.a, "never reused");
}

static unsigned ended;

static void on_ended(void *ctx, session_id_t s, server_id_t server)
{
	cr_assert_eq(s, *(session_id_t *)ctx);
	cr_assert_eq(server, 101);
	ended++;
}

Test(catalog_sessions, a_new_boot_ends_the_old_session)
{
	static const struct catalog_watch watch = {.session_ended = on_ended};
	uint64_t f = make_held(w.a, "f");
	session_id_t old = w.a, fresh;

	ended = 0;
	catalog_set_watch(w.cat, &watch, &old);
	fresh = open_session(101, SERVER_ACCESS, 50);
	cr_assert_neq(fresh, old);
	cr_assert_eq(ended, 1);
	cr_assert(inode_of(f).unclean);
	cr_assert_eq(create(old, FILE_ROOT, "x", S_IFREG), STATUS_NO_SESSION);

	/* The old process' request was still under way: it must not end the new one. */
	struct msg op = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = 101, .kind = SERVER_ACCESS, .boot = 1},
	};

	cr_assert_eq(apply(&op), STATUS_NO_SESSION);
	cr_assert_eq(catalog_session_of(w.cat, 101), fresh);
	cr_assert_eq(ended, 1);
}

/* A request of a process that died before it was ever registered: it must not pass for a newer one
 * and lock the living one out. The living one learns what to come with. */
Test(catalog_sessions, a_late_first_request_of_a_dead_process_is_no_newer_one)
{
	struct msg late = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = 101, .kind = SERVER_ACCESS, .boot = 99},
	};
	struct msg newer = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = 101, .kind = SERVER_ACCESS, .boot = 98},
	};

	cr_assert_eq(apply(&late), STATUS_NO_SESSION);
	cr_assert_eq(catalog_session_of(w.cat, 101), w.a);
	cr_assert_eq(w.reply.m.r_session.start, 1);
	newer.op_session.start = w.reply.m.r_session.start + 1;
	cr_assert_eq(apply(&newer), STATUS_OK);
	cr_assert_neq(catalog_session_of(w.cat, 101), w.a);
	newer.op_session.boot = 97;
	newer.op_session.start = UINT64_MAX;
	cr_assert_eq(apply(&newer), STATUS_INVALID, "no counter is used up");
}

Test(catalog_sessions, senseless_registrations_are_refused)
{
	struct msg op = {
		.type = MSG_TYPE_op_session,
		.op_session = {.server = 0, .kind = SERVER_ACCESS, .boot = 1},
	};
	static const char long_addr[ADDR_TEXT_MAX + 1] =
		"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_session.server = SERVER_LEADER;
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_session.server = 103;
	op.op_session.kind = 9;
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_session.kind = SERVER_CORE;
	cr_assert_eq(apply(&op), STATUS_INVALID, "a core server without address");
	op.op_session.addr = text("10.9.9.9:1");
	cr_assert_eq(apply(&op), STATUS_INVALID, "in no site");
	op.op_session.site = text("osaka");
	cr_assert_eq(apply(&op), STATUS_INVALID, "unknown site");
	op.op_session.site = text("nara");
	op.op_session.addr = text(long_addr);
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op.op_session.addr = text("10.9.9.9:1");
	cr_assert_eq(apply(&op), STATUS_OK, "the site's name decides");
	cr_assert_eq(map_find_server(catalog_map(w.cat), 103)->site, 3);
	op.op_session.kind = SERVER_ACCESS;
	op.op_session.boot = 2;
	cr_assert_eq(apply(&op), STATUS_INVALID, "one id, two kinds");
}

/* --- the map --- */

Test(catalog_sessions, core_servers_make_map_versions)
{
	uint64_t before = catalog_map(w.cat)->version;
	struct msg op = {
		.type = MSG_TYPE_op_session,
		.op_session = {
			.server = 7, .kind = SERVER_CORE, .boot = 70, .start = 1, .total = (uint64_t)100 << 30,
			.addr = text("127.1.0.7:7000"),
		},
	};

	cr_assert_eq(before, 6);
	cr_assert_eq(catalog_map(w.cat)->servers, 6);
	cr_assert_eq(catalog_map(w.cat)->sites, 3);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.r_session.map, before + 1);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->version, before + 1, "nothing new");
	op.op_session.total = (uint64_t)110 << 30;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->version, before + 1, "a little more space");
	op.op_session.total = (uint64_t)200 << 30;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->version, before + 2);
	cr_assert_eq(map_find_server(catalog_map(w.cat), 7)->weight, 200);
	op.op_session.addr = text("127.2.0.7:7000");
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->version, before + 3);
	cr_assert_eq(map_find_server(catalog_map(w.cat), 7)->site, 2, "by its address");
	cr_assert_str_eq(map_find_server(catalog_map(w.cat), 7)->addr, "127.2.0.7:7000");
}

/* A4: a file is placed by the map it names, as long as it names it. */
Test(catalog_sessions, old_maps_are_kept_while_files_name_them)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG), version = inode_of(f).fields.map;
	struct msg op = {.type = MSG_TYPE_op_drain, .op_drain = {.server = 6, .drain = 1, .slot = 0xffff}};
	struct msg q = {.type = MSG_TYPE_q_map, .q_map = {.map = version}};
	struct map *m;

	cr_assert_eq(catalog_map_get(w.cat, version - 1, &m), -ENOENT, "no file is placed by it");
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(apply(&op), STATUS_EXISTS);
	cr_assert_eq(catalog_map(w.cat)->servers, 5);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(map_decode(w.reply.m.r_bytes.bytes.p, w.reply.m.r_bytes.bytes.len, &m), 0);
	cr_assert_eq(m->servers, 6);
	map_free(m);
	world_check();
	cr_assert_eq(remove_name(w.a, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(gone(f), STATUS_OK);
	cr_assert_eq(query(&q), STATUS_NOT_FOUND);
	q.q_map.map = 0;
	cr_assert_eq(query(&q), STATUS_OK, "the newest");
}

/* P1: three replicas in three sites must stay possible. */
Test(catalog_sessions, not_too_many_core_servers_are_drained)
{
	struct msg op = {.type = MSG_TYPE_op_drain, .op_drain = {.server = 1, .drain = 1, .slot = 0xffff}};

	cr_assert_eq(apply(&op), STATUS_OK);
	op.op_drain.server = 4;
	cr_assert_eq(apply(&op), STATUS_NO_SPACE, "the last one of its site");
	op.op_drain.server = 9;
	cr_assert_eq(apply(&op), STATUS_NOT_FOUND);
	for (server_id_t id = 2; id <= 3; id++) {
		op.op_drain.server = id;
		cr_assert_eq(apply(&op), STATUS_OK);
	}
	cr_assert_eq(catalog_map(w.cat)->servers, 3);
	cr_assert_eq(create(w.a, FILE_ROOT, "f", S_IFREG), STATUS_OK);
	/* Its registration does not bring it back, the operator does. */
	cr_assert_eq(register_core(3, 2, 2, 1), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->servers, 3);
	op.op_drain.drain = 0;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_not_null(map_find_server(catalog_map(w.cat), 3));
}

/* --- disks that forget (A8) --- */

static struct catalog_server server(server_id_t id)
{
	struct catalog_server s;

	cr_assert(catalog_server(w.cat, id, &s));
	return s;
}

Test(catalog_sessions, a_core_server_that_shows_less_is_refused)
{
	cr_assert_eq(register_core(1, 2001, 5, 900), STATUS_OK);
	cr_assert_eq(register_core(1, 2002, 4, 1000), STATUS_DISK, "an earlier start");
	cr_assert(server(1).flags & CATALOG_SERVER_REFUSED);
	cr_assert_eq(server(1).start, 5);
	cr_assert_eq(register_core(1, 2002, 6, 899), STATUS_DISK, "an earlier journal");
	cr_assert_eq(register_core(1, 2002, 5, 900), STATUS_DISK, "a start without its counter");
	cr_assert_eq(register_core(1, 2002, 6, 900), STATUS_OK);
	cr_assert_not(server(1).flags & CATALOG_SERVER_REFUSED);
	cr_assert_eq(register_core(1, 2002, 6, 800), STATUS_OK, "an old request of this very process");
	cr_assert_eq(server(1).journal, 900);
}

static enum status show(server_id_t id, uint64_t boot, uint64_t start, uint64_t journal)
{
	uint8_t bytes[CATALOG_SHOWN_BYTES];
	struct msg op = {
		.type = MSG_TYPE_op_shown,
		.op_shown = {.slot = 0xffff, .shown = {bytes, sizeof(bytes)}},
	};

	put_u32le(bytes, id);
	put_u64le(bytes + 4, boot);
	put_u64le(bytes + 12, start);
	put_u64le(bytes + 20, journal);
	return apply(&op);
}

Test(catalog_sessions, what_heartbeats_showed_is_remembered)
{
	struct msg bad = {.type = MSG_TYPE_op_shown, .op_shown = {.shown = text("odd")}};

	cr_assert_eq(register_core(1, 2001, 5, 900), STATUS_OK);
	cr_assert_eq(show(1, 2001, 5, 1000), STATUS_OK);
	cr_assert_eq(show(1, 2001, 5, 950), STATUS_OK, "late");
	cr_assert_eq(server(1).journal, 1000);
	cr_assert_eq(register_core(1, 2002, 6, 999), STATUS_DISK);
	cr_assert_eq(register_core(1, 2002, 6, 1000), STATUS_OK);
	cr_assert_eq(show(1, 2001, 5, 2000), STATUS_OK);
	cr_assert_eq(server(1).journal, 1000, "a life that is over shows nothing more");
	cr_assert_eq(show(99, 1, 1, 1), STATUS_OK, "nobody");
	cr_assert_eq(apply(&bad), STATUS_INVALID);
}

/* What a server acknowledged after its last answered heartbeat is known from who it acknowledged to. */
Test(catalog_sessions, what_was_acknowledged_to_a_holder_is_remembered)
{
	uint64_t f = make_held(w.a, "f");
	uint8_t bytes[CATALOG_SHOWN_BYTES] = {0};
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {.session = w.a, .ino = f, .epoch = 1, .clean = 1,
		               .shown = {bytes, sizeof(bytes)}},
	};

	cr_assert_eq(register_core(1, 2001, 5, 900), STATUS_OK);
	put_u32le(bytes, 1);
	put_u64le(bytes + 4, 2001);
	put_u64le(bytes + 20, 1000);
	op.op_release.to = LEASE_EXCLUSIVE;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(server(1).journal, 1000);
	cr_assert_eq(register_core(1, 2002, 6, 950), STATUS_DISK);
	cr_assert_eq(register_core(1, 2003, 6, 1000), STATUS_OK);
	/* Told too late: the disk serves already, and has forgotten. */
	cr_assert_eq(register_core(1, 2004, 7, 1050), STATUS_OK);
	put_u64le(bytes + 4, 2003);
	put_u64le(bytes + 20, 1050);
	op.op_release.seq = 0;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_neq(server(1).session, 0, "it has all of that");
	put_u64le(bytes + 20, 1051);
	op.op_release.seq = 0;
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(server(1).session, 0);
	cr_assert_eq(register_core(1, 2004, 7, 2000), STATUS_DISK);
	cr_assert_eq(register_core(1, 2005, 8, 2000), STATUS_DISK);
	cr_assert_eq(register_disk(1, 8, 2006, 1, 0), STATUS_OK, "a new disk");
}

Test(catalog_sessions, a_new_disk_knows_that_it_knows_nothing)
{
	uint64_t f;

	cr_assert_eq(server(1).complete_from, (uint64_t)1 << 48);
	f = make(w.a, FILE_ROOT, "f", S_IFREG);
	cr_assert_eq(register_core(1, 2001, 2, 10), STATUS_OK);
	cr_assert_eq(w.reply.m.r_session.files_complete_from, (uint64_t)1 << 48, "the disk was there");
	cr_assert_not(server(1).flags & CATALOG_SERVER_BLANK);
	cr_assert_eq(register_core(1, 2002, 1, 0), STATUS_NO_SESSION, "a late word, for all that is known");
	cr_assert_eq(end_session(server(1).session), STATUS_OK);
	cr_assert_eq(register_core(1, 2002, 1, 0), STATUS_OK);
	cr_assert_eq(w.reply.m.r_session.files_complete_from, f);
	cr_assert(server(1).flags & CATALOG_SERVER_BLANK);
	cr_assert_eq(register_core(1, 2002, 1, 0), STATUS_OK);
	cr_assert_eq(w.reply.m.r_session.files_complete_from, f);
}

/* Until a new disk was registered and knows it, each process with it shows the same start. */
Test(catalog_sessions, of_two_processes_with_a_new_disk_the_later_one_lives)
{
	session_id_t lives;

	cr_assert_eq(register_new(1, 40, 2002, 2), STATUS_OK);
	lives = server(1).session;
	cr_assert_eq(register_new(1, 40, 2001, 1), STATUS_NO_SESSION, "a late word of the first one");
	cr_assert_eq(server(1).session, lives);
	cr_assert_eq(end_session(lives), STATUS_OK);
	cr_assert_eq(register_new(1, 40, 2001, 1), STATUS_OK, "or a disk that was set back");
	cr_assert_eq(register_new(1, 40, 2002, 2), STATUS_OK, "it was not: here is the other again");
	cr_assert_eq(register_new(1, 40, 2001, 1), STATUS_NO_SESSION);
}

Test(catalog_sessions, a_disk_that_was_replaced_never_comes_back)
{
	uint64_t f;

	cr_assert_eq(register_disk(1, 40, 2001, 2, 900), STATUS_OK);
	f = make(w.a, FILE_ROOT, "f", S_IFREG);
	cr_assert_eq(register_disk(1, 41, 2003, 2, 30), STATUS_OK, "its first start never got here");
	cr_assert_eq(w.reply.m.r_session.files_complete_from, f);
	cr_assert_eq(register_disk(1, 40, 2002, 3, 950), STATUS_DISK, "a late word of the old one");
	cr_assert_not(server(1).flags & CATALOG_SERVER_REFUSED, "the new one serves");
	cr_assert_eq(register_disk(1, 41, 2003, 2, 30), STATUS_OK, "and is not disturbed");
	cr_assert_eq(end_session(server(1).session), STATUS_OK);
	cr_assert_eq(register_disk(1, 40, 2004, 9, 990), STATUS_DISK, "nor when it is put back");
	cr_assert(server(1).flags & CATALOG_SERVER_REFUSED);
	cr_assert_eq(register_disk(1, 41, 2005, 3, 30), STATUS_OK);
	cr_assert_eq(server(1).complete_from, f, "still the same disk");
}

static bool to_repair(uint64_t ino)
{
	uint64_t next = 0;

	while (catalog_repair_next(w.cat, next, &next))
		if (next == ino)
			return true;
	return false;
}

/* Which replicas of the file are stale as a whole. */
static uint8_t all_stale(uint64_t ino)
{
	struct stale_map s;
	struct stale_run run = {0};

	stale_init(&s);
	cr_assert(catalog_stale(w.cat, ino, &s));
	if (!stale_next(&s, 0, &run) || run.first != 0 || run.last != BLOCK_ATTR)
		run.mask = 0;
	stale_fini(&s);
	return run.mask;
}

/* Files that nobody opens are refilled as well: they are stale on a new disk, as a whole, at once or
 * when they are given back. */
Test(catalog_sessions, a_new_disk_wants_its_files)
{
	uint64_t idle = make(w.a, FILE_ROOT, "idle", S_IFREG), held, later;
	struct msg_r_inode fields = inode_of(idle).fields;
	const uint16_t site[REPLICAS] = {fields.site0, fields.site1, fields.site2};
	uint8_t want = 0;

	held = make(w.a, FILE_ROOT, "held", S_IFREG);
	cr_assert_eq(lease(w.a, held, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_not(to_repair(idle));
	cr_assert_eq(register_disk(1, 8, 2001, 1, 0), STATUS_OK);
	for (unsigned k = 0; k < REPLICAS; k++)
		want |= (uint8_t)((site[k] == server(1).site) << k);
	cr_assert_neq(want, 0);
	later = make(w.a, FILE_ROOT, "later", S_IFREG);
	cr_assert_not(catalog_refilling(w.cat));
	cr_assert(to_repair(idle));
	cr_assert_eq(all_stale(idle), want);
	cr_assert(to_repair(held));
	cr_assert_eq(all_stale(held), 0, "its holder says what is stale");
	cr_assert(inode_of(held).refill);
	cr_assert_eq(release(w.a, held, inode_of(held).fields.epoch, true), STATUS_OK);
	cr_assert_neq(all_stale(held), 0);
	cr_assert_not(to_repair(later), "it is newer than the disk");
	/* A holder has refilled it. */
	cr_assert_eq(lease(w.a, idle, LEASE_EXCLUSIVE), STATUS_OK);
	cr_assert_eq(release(w.a, idle, inode_of(idle).fields.epoch, true), STATUS_OK);
	cr_assert_not(to_repair(idle));
	cr_assert_eq(register_disk(1, 8, 2002, 2, 10), STATUS_OK);
	cr_assert_not(to_repair(idle), "the same disk");
}

/* The disk is replaced while nobody holds the file; then its old holder has it again, with what it knew. */
Test(catalog_sessions, a_reclaim_does_not_forget_a_new_disk)
{
	uint64_t held = make(w.a, FILE_ROOT, "held", S_IFREG);
	struct msg op = {.type = MSG_TYPE_op_reclaim, .op_reclaim = {.ino = held, .old_session = w.a}};
	uint8_t want;

	cr_assert_eq(lease(w.a, held, LEASE_EXCLUSIVE), STATUS_OK);
	op.op_reclaim.epoch = inode_of(held).fields.epoch;
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(register_disk(1, 8, 2001, 1, 0), STATUS_OK);
	want = all_stale(held);
	cr_assert_neq(want, 0);
	op.op_reclaim.session = w.a = open_session(101, SERVER_ACCESS, 1);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(release(w.a, held, op.op_reclaim.epoch, true), STATUS_OK);
	cr_assert_eq(all_stale(held), want);
	cr_assert(to_repair(held));
}

Test(catalog_sessions, a_restore_starts_a_new_incarnation)
{
	uint64_t f = make(w.a, FILE_ROOT, "f", S_IFREG), lost = f + 1;
	uint8_t ids[3 * Q_FILES_BYTES] = {0};
	struct msg q = {.type = MSG_TYPE_q_files, .q_files = {.inos = {ids, sizeof(ids)}}};

	cr_assert_eq(remove_name(w.a, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(gone(f), STATUS_OK);
	cr_assert_eq(catalog_raise_incarnation(w.cat), 0);
	cr_assert_eq(make(w.a, FILE_ROOT, "g", S_IFREG) >> 48, 2);
	put_u64le(ids, f);
	put_u64le(ids + Q_FILES_BYTES, lost);
	put_u64le(ids + 2 * Q_FILES_BYTES, FILE_ROOT);
	cr_assert_eq(query(&q), STATUS_OK);
	cr_assert_eq(w.reply.m.r_bytes.bytes.len, 8, "what the backup never knew is not deleted");
	cr_assert_eq(get_u64le(w.reply.m.r_bytes.bytes.p), f);
}

/* --- exactly once (B5) --- */

static struct msg create_in_slot(uint16_t slot, uint32_t seq, const char *name)
{
	return (struct msg){
		.type = MSG_TYPE_op_create,
		.op_create = {
			.session = w.a, .slot = slot, .seq = seq, .dir = FILE_ROOT, .name = text(name),
			.mode = S_IFREG | 0644, .lease = LEASE_EXCLUSIVE,
		},
	};
}

Test(catalog_sessions, a_repeated_request_gets_the_same_answer)
{
	struct msg op = create_in_slot(3, 10, "f"), first;
	struct catalog_reply again;

	catalog_reply_init(&again);
	cr_assert_not(catalog_repeated(w.cat, &op, &again));
	cr_assert_eq(apply(&op), STATUS_OK);
	first = w.reply.m;
	cr_assert_eq(remove_name(w.b, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert(catalog_repeated(w.cat, &op, &again));
	cr_assert_eq(again.m.r_inode.ino, first.r_inode.ino);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(w.reply.m.r_inode.ino, first.r_inode.ino);
	cr_assert_eq(w.reply.m.r_inode.lease, LEASE_EXCLUSIVE);
	cr_assert_eq(w.reply.m.r_inode.seq, 10);
	cr_assert_eq(w.reply.m.r_inode.slot, 3);
	cr_assert_eq(find(FILE_ROOT, "f"), 0, "not done again");
	catalog_reply_fini(&again);
}

Test(catalog_sessions, refusals_are_remembered_too)
{
	struct msg op = create_in_slot(3, 10, "f");

	make(w.b, FILE_ROOT, "f", S_IFREG);
	cr_assert_eq(apply(&op), STATUS_EXISTS);
	cr_assert_eq(remove_name(w.b, FILE_ROOT, "f", false), STATUS_OK);
	cr_assert_eq(apply(&op), STATUS_EXISTS);
	cr_assert_eq(find(FILE_ROOT, "f"), 0);
}

Test(catalog_sessions, slots_are_apart_and_sequences_only_grow)
{
	struct msg op = create_in_slot(3, 10, "f");

	cr_assert_eq(apply(&op), STATUS_OK);
	op = create_in_slot(3, 9, "g");
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op = create_in_slot(4, 9, "g");
	cr_assert_eq(apply(&op), STATUS_OK);
	op = create_in_slot(CATALOG_SLOTS, 1, "h");
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op = create_in_slot(0xffff, 1, "h");
	cr_assert_eq(apply(&op), STATUS_INVALID);
	op = create_in_slot(CATALOG_SLOTS - 1, 1, "h");
	cr_assert_eq(apply(&op), STATUS_OK);
}

/* The one who asked was told that it did not happen. */
Test(catalog_sessions, a_late_copy_of_a_refused_request_does_nothing)
{
	struct msg op = create_in_slot(3, 10, "f");
	struct msg refused = {
		.type = MSG_TYPE_op_refused,
		.op_refused = {.session = w.a, .slot = 3, .seq = 10, .refusal = STATUS_NO_SPACE},
	};

	cr_assert_eq(apply(&refused), STATUS_NO_SPACE);
	cr_assert_eq(apply(&op), STATUS_NO_SPACE);
	cr_assert_eq(apply(&refused), STATUS_NO_SPACE);
	op = create_in_slot(3, 11, "f");
	cr_assert_eq(apply(&op), STATUS_OK);
	refused.op_refused.seq = 12;
	refused.op_refused.refusal = STATUS_OK;
	cr_assert_eq(apply(&refused), STATUS_INVALID);
}

Test(catalog_sessions, slots_end_with_their_session)
{
	struct msg op = create_in_slot(3, 10, "f");

	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(end_session(w.a), STATUS_OK);
	cr_assert_eq(apply(&op), STATUS_NO_SESSION);
	cr_assert_eq(w.reply.m.type, MSG_TYPE_r_inode);
}

Test(catalog_sessions, a_repeated_grant_brings_its_stale_map)
{
	uint64_t f = make_held(w.a, "f");
	struct stale_map s;
	uint8_t bytes[STALE_RUN_BYTES];
	struct msg op = {
		.type = MSG_TYPE_op_release,
		.op_release = {.session = w.a, .ino = f, .epoch = 1, .clean = 1, .stale = {bytes, 17}},
	};
	struct msg ask = {
		.type = MSG_TYPE_op_lease,
		.op_lease = {.session = w.b, .slot = 1, .seq = 1, .ino = f, .mode = LEASE_EXCLUSIVE},
	};

	stale_init(&s);
	cr_assert_eq(stale_set(&s, 1, 2, 0), 0);
	stale_encode(&s, bytes);
	stale_fini(&s);
	cr_assert_eq(apply(&op), STATUS_OK);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert_eq(apply(&ask), STATUS_OK);
		cr_assert_eq(w.reply.m.r_lease.epoch, 2);
		cr_assert_eq(w.reply.m.r_lease.stale.len, STALE_RUN_BYTES);
		cr_assert_arr_eq(w.reply.m.r_lease.stale.p, bytes, STALE_RUN_BYTES);
	}
}

Test(catalog_sessions, planted_bug_forgets_the_slots)
{
	struct msg op = create_in_slot(3, 10, "f");

	catalog_set_bugs(w.cat, CATALOG_BUG_NO_SLOTS);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(apply(&op), STATUS_EXISTS);
}

/* --- the log --- */

Test(catalog_sessions, entries_are_applied_once_and_in_order)
{
	struct msg op = create_in_slot(3, 10, "f");

	cr_assert_eq(apply(&op), STATUS_OK);
	op = create_in_slot(3, 11, "g");
	cr_assert_eq(catalog_apply(w.cat, w.index, &op, &w.reply), 0);
	cr_assert_eq(w.reply.m.type, 0, "an old index");
	cr_assert_eq(find(FILE_ROOT, "g"), 0);
	cr_assert_eq(catalog_apply(w.cat, w.index + 5, NULL, &w.reply), 0);
	cr_assert_eq(catalog_applied(w.cat), w.index + 5);
	cr_assert_eq(w.reply.m.type, 0);
}

Test(catalog_sessions, what_is_no_change_is_refused)
{
	struct msg op = {.type = MSG_TYPE_q_inode, .q_inode = {.session = w.a, .ino = FILE_ROOT}};

	cr_assert_eq(catalog_apply(w.cat, w.index + 1, &op, &w.reply), 0);
	cr_assert_eq(w.reply.m.r_status.status, STATUS_INVALID);
	op.type = MSG_TYPE_op_create;
	cr_assert_eq(catalog_query(w.cat, &op, &w.reply), 0);
	cr_assert_eq(w.reply.m.r_status.status, STATUS_INVALID);
}

Test(catalog_sessions, a_batch_is_all_or_nothing)
{
	struct msg op = create_in_slot(3, 10, "f");
	uint64_t before = catalog_applied(w.cat), map = catalog_map(w.cat)->version;

	cr_assert_eq(catalog_begin(w.cat), 0);
	cr_assert_eq(apply(&op), STATUS_OK);
	cr_assert_eq(register_core(8, 8, 1, 0), STATUS_OK);
	cr_assert_eq(catalog_map(w.cat)->version, map + 1);
	cr_assert_neq(find(FILE_ROOT, "f"), 0);
	catalog_abort(w.cat);
	cr_assert_eq(catalog_applied(w.cat), before);
	cr_assert_eq(catalog_map(w.cat)->version, map);
	cr_assert_eq(find(FILE_ROOT, "f"), 0);
}
