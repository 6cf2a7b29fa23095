/* One voter, fed by hand: the schedules that break naive Raft. */
#include <criterion/criterion.h>

#include "common/base/mem.h"
#include "hint-server/quorum/raft_wire.h"
#include "hint-server/quorum/voter.h"
#include "tests/unit/quorum/world_disk.h"

static struct world w;
static struct disk *disk;
static struct voter *v;
static int loaded;
static unsigned sent[8]; /* by raft message type */
static uint64_t accepted;  /* by its last answer to entries */
static unsigned rejected;

static nsec_t env_now(struct env *env)
{
	(void)env;
	return w.now;
}

static uint64_t env_random(struct env *env)
{
	(void)env;
	return 42;
}

static struct env env = {.now = env_now, .random = env_random};

static void on_loaded(void *ctx, int rc)
{
	(void)ctx;
	loaded = rc;
}

static void on_progress(void *ctx)
{
	(void)ctx;
}

static void on_send(void *ctx, const struct msg *m)
{
	struct raft_message rm;

	(void)ctx;
	cr_assert_eq(raft_wire_decode(m->raft.bytes, 1, &rm), 0, "it sends what it would refuse");
	sent[rm.type]++;
	if (rm.type == RAFT_APPEND_ENTRIES_RESULT) {
		accepted = rm.append_entries_result.last_log_index;
		rejected += rm.append_entries_result.rejected > 0;
	}
	raft_wire_free(&rm, true);
}

static void on_wants(void *ctx, server_id_t peer, uint64_t index)
{
	(void)ctx;
	(void)peer;
	(void)index;
}

static int on_install(void *ctx, uint64_t index, uint64_t term)
{
	(void)ctx;
	(void)index;
	(void)term;
	return 0;
}

static void on_failed(void *ctx, int rc)
{
	(void)ctx;
	cr_assert_fail("the voter failed: %d %s", rc, voter_why(v));
}

static void settle(void)
{
	world_run(&w, w.now + 20 * NSEC_MSEC);
}

static void setup(void)
{
	static const struct voter_ops ops = {on_loaded, on_progress, on_send, on_wants, on_install,
	                                     on_failed};
	struct sim_disk_env disk_env = world_disk_env(&w);
	struct voter_config c = {.self = 1, .peers = 5, .election_ms = 500, .heartbeat_ms = 50};

	world_init(&w, 1, TRACING_OFF);
	w.now = NSEC_SEC;
	disk = sim_disk_new(1, 16 << 20, &disk_env);
	for (unsigned i = 0; i < 5; i++)
		c.peer[i] = (struct voter_peer){i + 1, true};
	c.log = (struct rlog_config){.cluster = 1, .server = 1, .id = 3, .bytes = 1 << 20,
	                             .fresh = true};
	loaded = 1;
	memset(sent, 0, sizeof(sent));
	cr_assert_eq(voter_open(&v, &env, disk, &c, &ops, NULL), 0);
	settle();
	cr_assert_eq(loaded, 0);
	cr_assert_eq(voter_start(v, 0), 0);
	cr_assert_not(voter_may_vote(v), "a new log proves nothing");
	voter_prove(v);
	settle();
}

static void teardown(void)
{
	voter_free(v);
	world_fini(&w);
	sim_disk_free(disk);
}

static void feed(server_id_t from, const struct raft_message *m)
{
	struct msg msg = {.type = MSG_TYPE_raft, .src = from, .dst = 1, .via = from};
	size_t len;
	uint8_t *bytes = raft_wire_encode(m, &len);

	msg.raft.bytes = (struct span){bytes, (uint32_t)len};
	voter_recv(v, &msg);
	mem_free(bytes);
	settle();
}

static void feed_entry(server_id_t from, uint64_t term, uint64_t prev, uint64_t prev_term,
                       uint64_t commit)
{
	char data[] = "command";
	struct raft_entry e = {.term = term, .type = RAFT_COMMAND, .buf = {data, sizeof(data)}};
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES};

	m.append_entries = (struct raft_append_entries){
		.term = term, .prev_log_index = prev, .prev_log_term = prev_term,
		.leader_commit = commit, .entries = &e, .n_entries = 1,
	};
	feed(from, &m);
}

static void feed_result(server_id_t from, uint64_t term, uint64_t last)
{
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES_RESULT};

	m.append_entries_result = (struct raft_append_entries_result){.term = term,
	                                                              .last_log_index = last};
	feed(from, &m);
}

static void feed_votes(uint64_t term, bool pre)
{
	for (server_id_t from = 2; from <= 3; from++) {
		struct raft_message m = {.type = RAFT_REQUEST_VOTE_RESULT};

		m.request_vote_result = (struct raft_request_vote_result){
			.term = term, .vote_granted = true, .pre_vote = pre,
		};
		feed(from, &m);
	}
}

static void run_for_leader(void)
{
	uint64_t term = voter_term(v);

	w.now += 3 * NSEC_SEC;
	voter_tick(v, w.now);
	settle();
	cr_assert_eq(voter_term(v), term, "pre-vote raises no term");
	feed_votes(term + 1, true);
	cr_assert_eq(voter_term(v), term + 1);
	feed_votes(term + 1, false);
	cr_assert(voter_leads(v));
}

TestSuite(voter, .init = setup, .fini = teardown);

/* Raft paper, figure 8: an entry of an older term on a majority is not committed, because another
 * server may still be elected and overwrite it. libraft 0.15 counted it. */
Test(voter, figure_8_entries_of_older_terms_are_not_counted)
{
	feed_entry(2, 2, 1, 1, 1);
	cr_assert_eq(voter_last(v), 2);
	cr_assert_eq(voter_commit(v), 1);
	run_for_leader();
	cr_assert_eq(voter_last(v), 3, "it appends an entry of its own term");
	feed_result(2, 3, 2);
	feed_result(3, 3, 2);
	feed_result(4, 3, 2);
	cr_assert_eq(voter_commit(v), 1, "entry 2 is on four of five, and still not committed");
	feed_result(2, 3, 3);
	feed_result(3, 3, 3);
	cr_assert_eq(voter_commit(v), 3, "with an entry of its own term all before it are");
}

/* A message may not leave before the vote it speaks for is durable. */
Test(voter, votes_only_after_the_disk)
{
	struct raft_message m = {.type = RAFT_REQUEST_VOTE};
	struct msg msg = {.type = MSG_TYPE_raft, .src = 2, .dst = 1, .via = 2};
	size_t len;
	uint8_t *bytes;

	m.request_vote = (struct raft_request_vote){.term = 9, .candidate_id = 2,
	                                            .last_log_index = 1, .last_log_term = 1};
	bytes = raft_wire_encode(&m, &len);
	msg.raft.bytes = (struct span){bytes, (uint32_t)len};
	voter_recv(v, &msg);
	cr_assert_eq(sent[RAFT_REQUEST_VOTE_RESULT], 0, "nothing is durable yet");
	settle();
	cr_assert_eq(sent[RAFT_REQUEST_VOTE_RESULT], 1);
	mem_free(bytes);
}

Test(voter, takes_no_entries_of_its_own_term_from_another)
{
	run_for_leader();
	feed_entry(2, voter_term(v), 1, 1, 1);
	cr_assert(voter_leads(v));
	cr_assert_eq(voter_last(v), 1);
}

/* What is trimmed is committed: a leader that starts from the beginning must not append it again. */
Test(voter, skips_what_it_has_trimmed)
{
	char data[] = "command";
	struct raft_entry e[5];
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES};

	for (uint64_t i = 1; i <= 9; i++)
		feed_entry(2, 2, i, i == 1 ? 1 : 2, i + 1);
	cr_assert_eq(voter_applicable(v), 10);
	voter_checkpoint(v, 8, 2);
	settle();
	cr_assert_eq(rlog_base(voter_log(v)), 6);
	rejected = 0;
	for (unsigned i = 0; i < 5; i++)
		e[i] = (struct raft_entry){.term = 2, .type = RAFT_COMMAND, .buf = {data, sizeof(data)}};
	m.append_entries = (struct raft_append_entries){.term = 2, .prev_log_index = 3,
	                                                .prev_log_term = 2, .leader_commit = 10,
	                                                .entries = e, .n_entries = 5};
	feed(2, &m);
	cr_assert_eq(accepted, 8);
	/* Also one that ends before, and one that says nothing but where it is. */
	m.append_entries.prev_log_index = 1;
	m.append_entries.prev_log_term = 1;
	m.append_entries.n_entries = 2;
	feed(2, &m);
	cr_assert_eq(accepted, 7);
	m.append_entries.prev_log_index = 5;
	m.append_entries.prev_log_term = 2;
	m.append_entries.n_entries = 0;
	feed(2, &m);
	cr_assert_eq(accepted, 7);
	cr_assert_eq(rejected, 0);
	cr_assert_eq(voter_last(v), 10);
	feed_entry(2, 2, 10, 2, 11);
	cr_assert_eq(voter_applicable(v), 11);
}

Test(voter, ignores_strangers)
{
	feed_entry(77, 5, 1, 1, 1);
	cr_assert_eq(voter_term(v), 1);
	cr_assert_eq(voter_last(v), 1);
}
