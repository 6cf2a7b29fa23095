/* Sessions and leases on the leader: who is alive, who may cache what, who must give up first. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/unit/quorum/rig.h"

static struct rig g;

static void start(unsigned clients)
{
	rig_init(&g, 3, clients, 2);
	for (unsigned i = 0; i < 3; i++)
		rig_start(&g, i);
	cr_assert(rig_until(&g, 10 * NSEC_SEC, rig_has_leader), "no leader");
	for (unsigned i = 0; i < clients; i++)
		rig_open(&g, i);
	rig_run(&g, 2 * NSEC_SEC); /* readers of an earlier leader are out of the way */
}

static void stop(void)
{
	rig_fini(&g);
}

static const struct msg *lookup(unsigned client, const char *name)
{
	struct msg m = {.type = MSG_TYPE_q_lookup};

	m.q_lookup.dir = FILE_ROOT;
	m.q_lookup.name = span_of(name);
	return rig_call(&g, client, &m, 5 * NSEC_SEC);
}

static void send_create(unsigned client, const char *name)
{
	struct msg m = {.type = MSG_TYPE_op_create};

	m.op_create.dir = FILE_ROOT;
	m.op_create.name = span_of(name);
	m.op_create.mode = S_IFDIR | 0755;
	rig_send(&g, client, &m);
}

TestSuite(leases, .fini = stop);

Test(leases, a_lookup_brings_a_lease_that_a_change_recalls)
{
	start(2);
	cr_assert_eq(rig_create(&g, 0, "a"), STATUS_OK);
	cr_assert_eq(lookup(1, "a")->r_inode.status, STATUS_OK);
	cr_assert_eq(g.client[1].reply.r_inode.meta, 1);
	cr_assert_eq(g.client[1].recalls, 0);
	cr_assert_eq(rig_create(&g, 0, "b"), STATUS_OK);
	cr_assert_eq(g.client[1].recalls, 1);
	cr_assert_eq(g.client[1].recall.ino, FILE_ROOT);
	cr_assert_eq(g.client[1].recall.what, RECALL_META);
	/* The changer's own cache is not recalled. */
	cr_assert_eq(g.client[0].recalls, 0);
}

Test(leases, an_absent_name_is_leased_too)
{
	start(2);
	cr_assert_eq(lookup(1, "x")->r_inode.status, STATUS_NOT_FOUND);
	cr_assert_eq(g.client[1].reply.r_inode.meta, 1);
	cr_assert_eq(rig_create(&g, 0, "x"), STATUS_OK);
	cr_assert_eq(g.client[1].recalls, 1);
}

Test(leases, a_change_waits_until_the_reader_gave_up)
{
	nsec_t began;

	start(2);
	g.client[1].acks = false;
	cr_assert_eq(lookup(1, "x")->r_inode.meta, 1);
	began = g.w.now;
	send_create(0, "x");
	rig_run(&g, 300 * NSEC_MSEC);
	cr_assert_not(rig_replied(&g, 0), "the reader still trusts its cache");
	cr_assert_gt(g.client[1].recalls, 1, "recalls are repeated");
	rig_run(&g, 3 * NSEC_SEC);
	cr_assert(rig_replied(&g, 0));
	cr_assert_geq(g.w.now - began, 800 * NSEC_MSEC);
	/* It was not answered for as long as its cache was trusted; then it is told that all is void. */
	cr_assert_eq(lookup(1, "x")->r_inode.status, STATUS_OK);
}

Test(leases, a_dead_reader_costs_no_more_than_r)
{
	nsec_t began;

	start(2);
	cr_assert_eq(lookup(1, "x")->r_inode.meta, 1);
	rig_run(&g, NSEC_SEC);
	g.client[1].beating = g.client[1].acks = false;
	began = g.w.now;
	cr_assert_eq(rig_create(&g, 0, "x"), STATUS_OK);
	cr_assert_leq(g.w.now - began, 1000 * NSEC_MSEC);
}

static unsigned recalls_missed(unsigned bugs)
{
	rig_init(&g, 3, 2, 2);
	g.config.bugs = bugs;
	for (unsigned i = 0; i < 3; i++)
		rig_start(&g, i);
	for (unsigned i = 0; i < 2; i++)
		rig_open(&g, i);
	rig_run(&g, 2 * NSEC_SEC);
	(void)lookup(1, "x");
	cr_assert_eq(rig_create(&g, 0, "x"), STATUS_OK);
	return g.client[1].recalls == 0;
}

Test(leases, the_test_of_recalls_can_fail)
{
	cr_assert_eq(recalls_missed(HINT_BUG_NO_RECALL), 1);
}

Test(leases, a_new_leader_waits_for_readers_of_the_old_one)
{
	unsigned leader;
	nsec_t answered;

	start(2);
	leader = (unsigned)rig_leader(&g);
	g.client[0].at = g.client[1].at = (leader + 1) % 3;
	cr_assert_eq(lookup(1, "x")->r_inode.meta, 1);
	rig_run(&g, 250 * NSEC_MSEC);
	answered = g.client[1].valid_sent;
	rig_kill(&g, leader);
	g.client[1].acks = false;
	cr_assert_eq(rig_create(&g, 0, "x"), STATUS_OK);
	cr_assert_geq(g.w.now, answered + 800 * NSEC_MSEC, "the reader could still show the old");
}

/* --- sessions --- */

Test(leases, a_session_lives_by_answered_heartbeats)
{
	start(2);
	cr_assert_gt(g.client[0].answered, 5);
	cr_assert_eq(g.client[0].shared_ms, 800);
	g.client[0].beating = false;
	rig_run(&g, 20 * NSEC_SEC);
	/* It lapsed and nobody asked for anything: a heartbeat revives it. */
	g.client[0].beating = true;
	g.client[0].answered = 0;
	rig_run(&g, NSEC_SEC);
	cr_assert_gt(g.client[0].answered, 0);
	cr_assert_eq(g.client[0].beat_status, STATUS_OK);
}

Test(leases, an_unknown_session_hears_so)
{
	start(1);
	g.client[0].session += 1000;
	rig_run(&g, NSEC_SEC);
	cr_assert_eq(g.client[0].beat_status, STATUS_NO_SESSION);
	cr_assert_eq(rig_create(&g, 0, "x"), STATUS_NO_SESSION);
}

Test(leases, a_second_process_of_a_server_ends_the_first)
{
	session_id_t first;

	start(1);
	first = g.client[0].session;
	rig_open(&g, 0);
	cr_assert_neq(g.client[0].session, first);
	g.client[0].session = first;
	rig_run(&g, NSEC_SEC);
	cr_assert_eq(g.client[0].beat_status, STATUS_NO_SESSION);
}

/* Heartbeats at a leader cut off from the others: answered after its majority was gone? (A10b) */
static unsigned old_leader_answers(unsigned bugs)
{
	unsigned leader, before;
	nsec_t cut_at;

	rig_init(&g, 3, 1, 2);
	g.config.bugs = bugs;
	for (unsigned i = 0; i < 3; i++)
		rig_start(&g, i);
	rig_open(&g, 0);
	rig_run(&g, NSEC_SEC);
	leader = (unsigned)rig_leader(&g);
	g.client[0].at = leader;
	rig_run(&g, 500 * NSEC_MSEC);
	for (unsigned i = 0; i < 3; i++)
		if (i != leader)
			g.cut[leader][i] = g.cut[i][leader] = g.cut[3][i] = g.cut[i][3] = true;
	cut_at = g.w.now;
	rig_run(&g, 20 * NSEC_MSEC);
	before = g.client[0].answered;
	rig_run(&g, 5 * NSEC_SEC);
	cr_assert_leq(g.client[0].valid_sent, g.w.now);
	return g.client[0].answered > before || g.client[0].valid_sent > cut_at;
}

Test(leases, an_old_leader_keeps_nobody_alive)
{
	cr_assert_eq(old_leader_answers(0), 0);
}

Test(leases, the_test_of_old_leaders_can_fail)
{
	cr_assert_eq(old_leader_answers(HINT_BUG_OLD_LEADER_ACKS), 1);
}

Test(leases, a_leader_that_slept_blames_nobody)
{
	unsigned leader;
	session_id_t id;
	struct hint_status st;

	start(1);
	id = g.client[0].session;
	/* All hint servers stand still (the host was suspended) for longer than T. */
	for (unsigned i = 0; i < 3; i++)
		g.node[i].paused = true;
	g.client[0].beating = false;
	rig_run(&g, 8 * NSEC_SEC);
	for (unsigned i = 0; i < 3; i++)
		g.node[i].paused = false;
	g.client[0].beating = true;
	g.client[0].answered = 0;
	rig_run(&g, 4 * NSEC_SEC);
	cr_assert_eq(g.client[0].session, id);
	cr_assert_gt(g.client[0].answered, 0);
	leader = (unsigned)rig_leader(&g);
	hint_get_status(g.node[leader].hint, &st);
	cr_assert(st.leader);
}

/* --- exclusive leases --- */

static uint64_t make_file(unsigned client, const char *name)
{
	struct msg m = {.type = MSG_TYPE_op_create};
	const struct msg *r;

	m.op_create.dir = FILE_ROOT;
	m.op_create.name = span_of(name);
	m.op_create.mode = S_IFREG | 0644;
	m.op_create.block_shift = BLOCK_SHIFT_DEFAULT;
	m.op_create.home = 1;
	r = rig_call(&g, client, &m, 5 * NSEC_SEC);
	cr_assert_not_null(r);
	cr_assert_eq(r->r_inode.status, STATUS_OK, "%s", status_text(r->r_inode.status));
	return r->r_inode.ino;
}

static void send_lease(unsigned client, uint64_t ino, enum lease_mode mode)
{
	struct msg m = {.type = MSG_TYPE_op_lease};

	m.op_lease.ino = ino;
	m.op_lease.mode = (uint8_t)mode;
	rig_send(&g, client, &m);
}

static const struct msg_r_lease *take_lease(unsigned client, uint64_t ino, enum lease_mode mode,
                                            nsec_t time)
{
	send_lease(client, ino, mode);
	for (nsec_t end = g.w.now + time; g.w.now < end && !rig_replied(&g, client);)
		rig_run(&g, NSEC_MSEC);
	cr_assert(rig_replied(&g, client), "no lease");
	cr_assert_eq(g.client[client].reply.type, MSG_TYPE_r_lease);
	return &g.client[client].reply.r_lease;
}

static void start_with_file(uint64_t *ino)
{
	rig_init(&g, 3, 6, 2);
	for (unsigned i = 0; i < 3; i++)
		rig_start(&g, i);
	cr_assert(rig_until(&g, 10 * NSEC_SEC, rig_has_leader), "no leader");
	for (unsigned i = 3; i < 6; i++)
		g.client[i].kind = SERVER_CORE; /* a file needs three of them */
	for (unsigned i = 0; i < 6; i++)
		rig_open(&g, i);
	rig_run(&g, 2 * NSEC_SEC);
	*ino = make_file(0, "file");
}

Test(leases, a_writer_is_recalled_and_gives_back)
{
	struct msg m = {.type = MSG_TYPE_op_release};
	uint64_t ino, epoch;

	start_with_file(&ino);
	cr_assert_eq(take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC)->granted, LEASE_EXCLUSIVE);
	epoch = g.client[0].reply.r_lease.epoch;
	cr_assert_eq(g.client[0].reply.r_lease.recover, 0);
	send_lease(1, ino, LEASE_EXCLUSIVE);
	rig_run(&g, 500 * NSEC_MSEC);
	cr_assert_not(rig_replied(&g, 1));
	cr_assert_gt(g.client[0].recalls, 0);
	cr_assert_eq(g.client[0].recall.what, RECALL_DATA | RECALL_HELD);
	m.op_release.ino = ino;
	m.op_release.epoch = epoch;
	m.op_release.clean = 1;
	m.op_release.size = 12345;
	cr_assert_eq(rig_call(&g, 0, &m, NSEC_SEC)->r_status.status, STATUS_OK);
	rig_run(&g, 200 * NSEC_MSEC);
	cr_assert(rig_replied(&g, 1));
	cr_assert_eq(g.client[1].reply.r_lease.granted, LEASE_EXCLUSIVE);
	cr_assert_eq(g.client[1].reply.r_lease.epoch, epoch + 1);
	cr_assert_eq(g.client[1].reply.r_lease.size, 12345);
	cr_assert_eq(g.client[1].reply.r_lease.recover, 0);
}

/* A shared lease is given without the log. A copy of the question that comes late, when it is not to be had
 * any more, must not get an exclusive one, of which its session would not know. */
Test(leases, a_late_copy_of_a_question_for_a_shared_lease_gets_none)
{
	struct msg m = {.type = MSG_TYPE_op_release};
	uint64_t ino;

	start_with_file(&ino);
	cr_assert_eq(take_lease(0, ino, LEASE_SHARED, NSEC_SEC)->granted, LEASE_SHARED);
	cr_assert_eq(take_lease(1, ino, LEASE_EXCLUSIVE, 5 * NSEC_SEC)->granted, LEASE_EXCLUSIVE);
	m.op_release.ino = ino;
	m.op_release.epoch = g.client[1].reply.r_lease.epoch;
	cr_assert_eq(rig_call(&g, 1, &m, NSEC_SEC)->r_status.status, STATUS_OK, "unclean: to be recovered");
	g.client[0].seq--;
	send_lease(0, ino, LEASE_SHARED);
	rig_run(&g, NSEC_SEC);
	cr_assert(rig_replied(&g, 0));
	cr_assert_eq(g.client[0].reply.type, MSG_TYPE_r_status);
	cr_assert_eq(g.client[0].reply.r_status.status, STATUS_BUSY);
	cr_assert_eq(take_lease(1, ino, LEASE_EXCLUSIVE, NSEC_SEC)->recover, 1, "nobody holds it");
}

/* Its writes may need the change before it can give the lease back. */
Test(leases, the_holder_changes_its_file_ahead_of_who_waits_for_it)
{
	struct msg m = {.type = MSG_TYPE_op_setattr};
	uint64_t ino;

	start_with_file(&ino);
	cr_assert_eq(take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC)->granted, LEASE_EXCLUSIVE);
	send_lease(1, ino, LEASE_EXCLUSIVE);
	rig_run(&g, 500 * NSEC_MSEC);
	m.op_setattr.ino = ino;
	m.op_setattr.valid = SETATTR_MODE;
	m.op_setattr.mode = 0600;
	cr_assert_not_null(rig_call(&g, 0, &m, NSEC_SEC));
	cr_assert_eq(g.client[0].reply.r_inode.status, STATUS_OK);
	cr_assert_not(rig_replied(&g, 1));
	/* Others wait for their turn. */
	m.op_setattr.mode = 0640;
	cr_assert_null(rig_call(&g, 2, &m, NSEC_SEC));
}

Test(leases, readers_share_and_a_writer_recalls_them)
{
	uint64_t ino;

	start_with_file(&ino);
	cr_assert_eq(take_lease(0, ino, LEASE_SHARED, NSEC_SEC)->granted, LEASE_SHARED);
	cr_assert_eq(take_lease(1, ino, LEASE_SHARED, NSEC_SEC)->granted, LEASE_SHARED);
	cr_assert_eq(g.client[0].recalls + g.client[1].recalls, 0);
	cr_assert_eq(take_lease(2, ino, LEASE_EXCLUSIVE, NSEC_SEC)->granted, LEASE_EXCLUSIVE);
	cr_assert_gt(g.client[0].recalls, 0);
	cr_assert_gt(g.client[1].recalls, 0);
}

/* The holder dies: its file is taken over after T, as a recovery in a new epoch (P2). */
static const struct msg_r_lease *take_over(uint64_t *epoch, nsec_t *took)
{
	uint64_t ino;
	nsec_t died;

	start_with_file(&ino);
	*epoch = take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC)->epoch;
	g.client[0].beating = g.client[0].acks = false;
	died = g.client[0].last_beat_sent;
	(void)take_lease(1, ino, LEASE_SHARED, 12 * NSEC_SEC);
	*took = g.w.now - died;
	return &g.client[1].reply.r_lease;
}

Test(leases, a_dead_writer_is_taken_over_by_recovery)
{
	uint64_t epoch;
	nsec_t took;
	const struct msg_r_lease *r = take_over(&epoch, &took);

	cr_assert_eq(r->granted, LEASE_EXCLUSIVE, "even a reader recovers first");
	cr_assert_eq(r->recover, 1);
	cr_assert_gt(r->epoch, epoch);
	cr_assert_geq(took, 5 * NSEC_SEC);
	cr_assert_leq(took, 6 * NSEC_SEC);
	/* The dead one learns it when it comes back. */
	g.client[0].beating = true;
	rig_run(&g, NSEC_SEC);
	cr_assert_eq(g.client[0].beat_status, STATUS_NO_SESSION);
}

Test(leases, a_writer_that_does_not_give_up_loses_its_session)
{
	uint64_t ino;

	start_with_file(&ino);
	(void)take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC);
	/* It goes on with heartbeats, and never releases. */
	cr_assert_eq(take_lease(1, ino, LEASE_EXCLUSIVE, 15 * NSEC_SEC)->recover, 1);
	rig_run(&g, NSEC_SEC);
	cr_assert_eq(g.client[0].beat_status, STATUS_NO_SESSION);
}

Test(leases, stat_from_afar_asks_the_holder)
{
	struct msg q = {.type = MSG_TYPE_q_inode};
	const struct msg *r;
	uint64_t ino;

	start_with_file(&ino);
	(void)take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC);
	g.client[0].attr_size = 777;
	q.q_inode.ino = ino;
	r = rig_call(&g, 1, &q, NSEC_SEC);
	cr_assert_not_null(r);
	cr_assert_eq(r->r_inode.size, 777);
	cr_assert_eq(r->r_inode.meta, 0, "it may change at any moment");
	cr_assert_eq(g.client[0].recalls, 0, "ls -l costs the writer nothing");
}

Test(leases, a_clean_file_comes_with_its_data_lease)
{
	struct msg q = {.type = MSG_TYPE_q_inode};
	const struct msg *r;
	uint64_t ino;

	start_with_file(&ino);
	q.q_inode.ino = ino;
	r = rig_call(&g, 1, &q, NSEC_SEC);
	cr_assert_eq(r->r_inode.meta, 1);
	cr_assert_eq(r->r_inode.lease, LEASE_SHARED);
}

/* --- locks, orphans --- */

static uint16_t lock(unsigned client, uint64_t ino, uint8_t type, uint8_t wait)
{
	struct msg m = {.type = MSG_TYPE_op_lock};
	const struct msg *r;

	m.op_lock.ino = ino;
	m.op_lock.owner = client + 1;
	m.op_lock.end = UINT64_MAX;
	m.op_lock.type = type;
	m.op_lock.wait = wait;
	r = rig_call(&g, client, &m, 10 * NSEC_SEC);
	return r ? r->r_status.status : STATUS_PENDING;
}

Test(leases, who_waits_for_a_lock_is_told)
{
	uint64_t ino;

	start_with_file(&ino);
	cr_assert_eq(lock(0, ino, F_WRLCK, 0), STATUS_OK);
	cr_assert_eq(lock(1, ino, F_WRLCK, 1), STATUS_AGAIN);
	cr_assert_eq(g.client[1].lock_ready, 0);
	cr_assert_eq(lock(0, ino, F_UNLCK, 0), STATUS_OK);
	rig_run(&g, 100 * NSEC_MSEC);
	cr_assert_gt(g.client[1].lock_ready, 0);
	cr_assert_eq(lock(1, ino, F_WRLCK, 1), STATUS_OK);
}

/* EDEADLK, when all of the circle was asked for again since it was found. */
Test(leases, who_waits_for_itself_is_told)
{
	uint64_t a, b;

	start_with_file(&a);
	b = make_file(1, "b");
	cr_assert_eq(lock(0, a, F_WRLCK, 0), STATUS_OK);
	cr_assert_eq(lock(1, b, F_WRLCK, 0), STATUS_OK);
	cr_assert_eq(lock(0, b, F_WRLCK, 1), STATUS_AGAIN);
	rig_run(&g, 100 * NSEC_MSEC);
	cr_assert_eq(lock(1, a, F_WRLCK, 1), STATUS_AGAIN, "found, but client 0 may have given up");
	rig_run(&g, 100 * NSEC_MSEC);
	cr_assert_eq(lock(1, a, F_WRLCK, 1), STATUS_AGAIN, "it has not asked again");
	cr_assert_eq(lock(0, b, F_WRLCK, 1), STATUS_AGAIN);
	rig_run(&g, 100 * NSEC_MSEC);
	cr_assert_eq(lock(1, a, F_WRLCK, 1), STATUS_DEADLOCK);
	cr_assert_eq(lock(1, b, F_UNLCK, 0), STATUS_OK);
	cr_assert_eq(lock(0, b, F_WRLCK, 1), STATUS_OK);
	cr_assert_eq(lock(1, a, F_WRLCK, 1), STATUS_AGAIN);
	cr_assert_eq(lock(1, a, F_WRLCK, 1), STATUS_AGAIN, "client 0 waits for nothing");
}

Test(leases, locks_of_the_dead_are_freed)
{
	uint64_t ino;

	start_with_file(&ino);
	cr_assert_eq(lock(0, ino, F_WRLCK, 0), STATUS_OK);
	g.client[0].beating = false;
	cr_assert_eq(lock(1, ino, F_WRLCK, 0), STATUS_AGAIN);
	rig_run(&g, 6 * NSEC_SEC);
	cr_assert_eq(lock(1, ino, F_WRLCK, 0), STATUS_OK);
}

static bool exists(uint64_t ino)
{
	struct msg q = {.type = MSG_TYPE_q_inode};
	const struct msg *r;

	q.q_inode.ino = ino;
	r = rig_call(&g, 1, &q, 5 * NSEC_SEC);
	return r && r->r_inode.status == STATUS_OK;
}

Test(leases, an_orphan_stays_until_nobody_has_it_open)
{
	struct msg m = {.type = MSG_TYPE_op_unlink};
	uint64_t ino;

	start_with_file(&ino);
	for (unsigned i = 0; i < 2; i++)
		g.client[i].not_open = true;
	m.op_unlink.dir = FILE_ROOT;
	m.op_unlink.name = span_of("file");
	cr_assert_eq(rig_call(&g, 0, &m, NSEC_SEC)->r_status.status, STATUS_OK);
	rig_run(&g, 6 * NSEC_SEC);
	cr_assert(exists(ino), "client 2 has not answered");
	g.client[2].not_open = true;
	rig_run(&g, 6 * NSEC_SEC);
	cr_assert_not(exists(ino));
}

Test(leases, an_orphan_outlives_no_dead_session)
{
	struct msg m = {.type = MSG_TYPE_op_unlink};
	uint64_t ino;

	start_with_file(&ino);
	for (unsigned i = 0; i < 2; i++)
		g.client[i].not_open = true;
	g.client[2].beating = false;
	m.op_unlink.dir = FILE_ROOT;
	m.op_unlink.name = span_of("file");
	cr_assert_eq(rig_call(&g, 0, &m, NSEC_SEC)->r_status.status, STATUS_OK);
	rig_run(&g, 15 * NSEC_SEC);
	cr_assert_not(exists(ino));
}

Test(leases, status_is_healthy_and_names_the_holder)
{
	struct msg m = {.type = MSG_TYPE_admin};
	const struct msg *r;
	uint64_t ino;

	start_with_file(&ino);
	(void)take_lease(0, ino, LEASE_EXCLUSIVE, NSEC_SEC);
	m.admin.verb = span_of("status");
	r = rig_call(&g, 1, &m, NSEC_SEC);
	cr_assert_not_null(r);
	cr_assert_eq(r->admin_reply.status, STATUS_OK);
	cr_assert(memmem(r->admin_reply.json.p, r->admin_reply.json.len, "\"healthy\"", 9),
	          "%.*s", (int)r->admin_reply.json.len, (const char *)r->admin_reply.json.p);
	m.admin.verb = span_of("file-show");
	m.admin.json = span_of("{\"path\": \"/file\"}");
	r = rig_call(&g, 1, &m, NSEC_SEC);
	cr_assert(memmem(r->admin_reply.json.p, r->admin_reply.json.len, "\"holder\":100", 12),
	          "%.*s", (int)r->admin_reply.json.len, (const char *)r->admin_reply.json.p);
	m.admin.json = span_of("{\"path\": \"/none\"}");
	cr_assert_eq(rig_call(&g, 1, &m, NSEC_SEC)->admin_reply.status, STATUS_NOT_FOUND);
}

/* A8b: a core server whose disk went back shows less than its heartbeats did. */
Test(leases, a_disk_that_went_back_gets_no_session)
{
	uint64_t ino;
	struct rig_client *core = &g.client[3];

	start_with_file(&ino);
	core->journal = 50;
	rig_run(&g, NSEC_SEC);
	core->beating = false;
	core->start = 2;
	core->journal = 20;
	cr_assert_eq(rig_register(&g, 3), STATUS_DISK);
	cr_assert_eq(rig_register(&g, 3), STATUS_DISK);
	core->journal = 51;
	cr_assert_eq(rig_register(&g, 3), STATUS_OK);
	/* A new disk knows that it knows nothing. */
	core->start = 1;
	core->journal = 0;
	cr_assert_eq(rig_register(&g, 3), STATUS_OK);
}

/* ... and nobody who could have forgotten what they showed is the only one to know. */
Test(leases, a_disk_that_went_back_is_known_to_later_leaders)
{
	uint64_t ino;
	struct rig_client *core = &g.client[3];
	unsigned answered;

	start_with_file(&ino);
	rig_run(&g, NSEC_SEC);
	core->journal = 50;
	answered = core->answered;
	while (core->answered < answered + 2)
		rig_run(&g, 50 * NSEC_MSEC);
	core->beating = false;
	for (unsigned i = 0; i < g.hints; i++)
		rig_kill(&g, i);
	for (unsigned i = 0; i < g.hints; i++)
		rig_start(&g, i);
	core->start = 2;
	core->journal = 49;
	cr_assert_eq(rig_register(&g, 3), STATUS_DISK);
	core->journal = 50;
	cr_assert_eq(rig_register(&g, 3), STATUS_OK);
}
