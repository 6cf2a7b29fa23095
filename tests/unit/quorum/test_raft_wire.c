/* libraft's messages on our wire: what goes in comes out, and no bytes do harm (P9). */
#include <criterion/criterion.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "hint-server/quorum/raft_wire.h"

static struct raft_message out;

static void round_trip(struct raft_message *m)
{
	size_t len;
	uint8_t *bytes = raft_wire_encode(m, &len);

	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 7, &out), 0);
	cr_assert_eq(out.type, m->type);
	cr_assert_eq(out.server_id, 7);
	/* Every shorter frame is refused, and so is a longer one. */
	for (uint32_t cut = 0; cut < len; cut++) {
		struct raft_message bad;

		cr_assert_eq(raft_wire_decode((struct span){bytes, cut}, 7, &bad), ERR_CORRUPT);
	}
	bytes = mem_resize(bytes, len + 1, 1);
	bytes[len] = 0;
	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len + 1}, 7,
	                              &(struct raft_message){0}), ERR_CORRUPT);
	mem_free(bytes);
}

Test(raft_wire, carries_entries)
{
	char a[] = "first", b[] = "second, longer";
	struct raft_entry entries[] = {
		{.term = 3, .type = RAFT_COMMAND, .buf = {a, sizeof(a)}},
		{.term = 4, .type = RAFT_BARRIER, .buf = {b, sizeof(b)}},
	};
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES};

	m.append_entries = (struct raft_append_entries){
		.term = 5, .prev_log_index = 10, .prev_log_term = 3, .leader_commit = 9,
		.entries = entries, .n_entries = 2,
	};
	round_trip(&m);
	cr_assert_eq(out.append_entries.term, 5);
	cr_assert_eq(out.append_entries.prev_log_index, 10);
	cr_assert_eq(out.append_entries.leader_commit, 9);
	cr_assert_eq(out.append_entries.n_entries, 2);
	cr_assert_eq(out.append_entries.entries[1].type, RAFT_BARRIER);
	cr_assert_eq(out.append_entries.entries[1].buf.len, sizeof(b));
	cr_assert_str_eq(out.append_entries.entries[1].buf.base, b);
	cr_assert_eq(out.append_entries.entries[0].batch, out.append_entries.entries[1].batch);
	raft_wire_free(&out, true);
}

Test(raft_wire, carries_votes_and_results)
{
	struct raft_message m = {.type = RAFT_REQUEST_VOTE};

	m.request_vote = (struct raft_request_vote){.term = 9, .candidate_id = 7, .last_log_index = 4,
	                                            .last_log_term = 2, .pre_vote = true};
	round_trip(&m);
	cr_assert(out.request_vote.pre_vote && !out.request_vote.disrupt_leader);
	cr_assert_eq(out.request_vote.last_log_index, 4);
	m = (struct raft_message){.type = RAFT_REQUEST_VOTE_RESULT};
	m.request_vote_result = (struct raft_request_vote_result){.term = 9, .vote_granted = true,
	                                                          .capacity = 12};
	round_trip(&m);
	cr_assert(out.request_vote_result.vote_granted && !out.request_vote_result.pre_vote);
	cr_assert_eq(out.request_vote_result.capacity, 12);
	m = (struct raft_message){.type = RAFT_APPEND_ENTRIES_RESULT};
	m.append_entries_result = (struct raft_append_entries_result){.term = 2, .last_log_index = 3};
	round_trip(&m);
	cr_assert_eq(out.append_entries_result.last_log_index, 3);
	m = (struct raft_message){.type = RAFT_TIMEOUT_NOW};
	m.timeout_now = (struct raft_timeout_now){.term = 2, .last_log_index = 3, .last_log_term = 1};
	round_trip(&m);
	cr_assert_eq(out.timeout_now.last_log_term, 1);
}

Test(raft_wire, refuses_a_vote_for_somebody_else)
{
	struct raft_message m = {.type = RAFT_REQUEST_VOTE};
	size_t len;
	uint8_t *bytes;

	m.request_vote = (struct raft_request_vote){.term = 9, .candidate_id = 8};
	bytes = raft_wire_encode(&m, &len);
	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 7, &out), ERR_CORRUPT);
	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 8, &out), 0);
	mem_free(bytes);
}

/* libraft prints a log's ends into a buffer that such numbers would overflow. */
Test(raft_wire, refuses_numbers_no_cluster_reaches)
{
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
	struct {
		uint64_t term, index;
		int rc;
	} cases[] = {
		{RAFT_WIRE_TERM_MAX, RAFT_WIRE_INDEX_MAX, 0},
		{RAFT_WIRE_TERM_MAX + 1, 10, ERR_CORRUPT},
		{5, RAFT_WIRE_INDEX_MAX + 1, ERR_CORRUPT},
		{UINT64_MAX, UINT64_MAX, ERR_CORRUPT},
	};

	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		size_t len;
		uint8_t *bytes;

		m.append_entries = (struct raft_append_entries){
			.term = cases[i].term, .prev_log_index = cases[i].index, .prev_log_term = 3,
		};
		bytes = raft_wire_encode(&m, &len);
		cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 7, &out), cases[i].rc);
		mem_free(bytes);
	}
}

Test(raft_wire, refuses_entries_whose_terms_fall)
{
	char data[] = "x";
	struct raft_entry entries[] = {
		{.term = 4, .type = RAFT_COMMAND, .buf = {data, 1}},
		{.term = 3, .type = RAFT_COMMAND, .buf = {data, 1}},
	};
	struct raft_message m = {.type = RAFT_APPEND_ENTRIES};
	size_t len;
	uint8_t *bytes;

	m.append_entries = (struct raft_append_entries){.term = 5, .prev_log_index = 1,
	                                                .prev_log_term = 1, .entries = entries,
	                                                .n_entries = 2};
	bytes = raft_wire_encode(&m, &len);
	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 7, &out), ERR_CORRUPT);
	mem_free(bytes);
	entries[1].type = RAFT_CHANGE; /* members do not change by messages */
	entries[1].term = 4;
	bytes = raft_wire_encode(&m, &len);
	cr_assert_eq(raft_wire_decode((struct span){bytes, (uint32_t)len}, 7, &out), ERR_CORRUPT);
	mem_free(bytes);
}

Test(raft_wire, survives_random_bytes)
{
	struct random r;
	unsigned good = 0;

	random_seed(&r, 1);
	for (unsigned n = 0; n < 200000; n++) {
		uint8_t bytes[96];
		uint32_t len = (uint32_t)random_below(&r, sizeof(bytes));

		for (uint32_t i = 0; i < len; i++)
			bytes[i] = random_chance(&r, 700) ? 0 : (uint8_t)random_u64(&r);
		if (len > 1) {
			bytes[0] = 1;
			bytes[1] = (uint8_t)random_below(&r, 8);
		}
		if (raft_wire_decode((struct span){bytes, len}, 7, &out) == 0) {
			good++;
			raft_wire_free(&out, true);
		}
	}
	cr_assert_gt(good, 0, "the generator never made a valid message");
}
