#include "common/wire/msg.h"

#include "common/base/mem.h"
#include "common/base/random.h"

#include <criterion/criterion.h>

/* Fills every field of a message with random values, by the one description in msg.h. */
static uint8_t noise[4096];

#define FILL_u8(name) m->name = (uint8_t)random_u64(r);
#define FILL_u16(name) m->name = (uint16_t)random_u64(r);
#define FILL_u32(name) m->name = (uint32_t)random_u64(r);
#define FILL_u64(name) m->name = random_u64(r);
#define FILL_ver(name) m->name = (struct version){random_u64(r), random_u64(r)};
#define FILL_span(name) m->name = (struct span){noise, (uint32_t)random_below(r, 64)};
#define X(kind, name) FILL_##kind(name)
#define M(name, number, fields) \
	static void fill_##name(struct msg_##name *m, struct random *r) \
	{ \
		(void)m; \
		(void)r; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

#define SAME_u8(name) cr_expect_eq(a->name, b->name);
#define SAME_u16(name) cr_expect_eq(a->name, b->name);
#define SAME_u32(name) cr_expect_eq(a->name, b->name);
#define SAME_u64(name) cr_expect_eq(a->name, b->name);
#define SAME_ver(name) cr_expect(version_eq(a->name, b->name));
#define SAME_span(name) \
	cr_expect_eq(a->name.len, b->name.len); \
	if (a->name.len > 0) \
		cr_expect_arr_eq(a->name.p, b->name.p, a->name.len);
#define X(kind, name) SAME_##kind(name)
#define M(name, number, fields) \
	static void same_##name(const struct msg_##name *a, const struct msg_##name *b) \
	{ \
		(void)a; \
		(void)b; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

static const enum msg_type types[] = {
#define M(name, number, fields) MSG_TYPE_##name,
	MSG_LIST(M)
#undef M
};

static void fill(struct msg *m, enum msg_type type, struct random *r)
{
	*m = (struct msg){.type = type, .src = 1, .dst = 2, .id = random_u64(r)};
	switch (type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		fill_##name(&m->name, r); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
}

static void same(const struct msg *a, const struct msg *b)
{
	cr_assert_eq(a->type, b->type);
	cr_assert_eq(a->src, b->src);
	cr_assert_eq(a->dst, b->dst);
	cr_assert_eq(a->id, b->id);
	switch (a->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		same_##name(&a->name, &b->name); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
}

Test(msg, of_every_type_survives_the_wire)
{
	struct random r;
	uint8_t frame[2048];

	random_seed(&r, 1);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)random_u64(&r);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < ARRAY_LEN(types); i++) {
			struct frame_info info;
			struct msg m, back;

			fill(&m, types[i], &r);
			cr_assert_leq(msg_head_bytes(&m), sizeof(frame));
			msg_encode(&m, frame);
			cr_assert_eq(msg_decode_header(frame, &info), 0);
			cr_assert_eq(info.body_bytes + WIRE_HEADER_BYTES, msg_head_bytes(&m));
			cr_assert_eq(msg_decode(frame, frame + WIRE_HEADER_BYTES, m.payload, &back), 0);
			same(&m, &back);
			msg_encode_body(&m, frame);
			cr_assert_eq(msg_decode_body(frame, msg_body_bytes(&m), &back), 0);
			back.src = m.src, back.dst = m.dst, back.id = m.id;
			same(&m, &back);
		}
	}
}

/* Any single damaged bit of header, body or payload is noticed (P7, P9). */
Test(msg, with_a_flipped_bit_is_refused)
{
	struct iobuf *b = iobuf_new(PAGE_BYTES);
	struct msg m = {.type = MSG_TYPE_write, .src = 3, .dst = 4, .id = 5}, back;
	uint8_t frame[512];
	size_t head;

	memset(b->data, 7, PAGE_BYTES);
	m.payload = (struct slice){b, 0, 100};
	m.write.file = 77;
	m.write.sums = (struct span){b->data, 8};
	msg_encode(&m, frame);
	head = msg_head_bytes(&m);
	for (size_t bit = 0; bit < (head + 100) * 8; bit++) {
		uint8_t *at = bit / 8 < head ? frame + bit / 8 : b->data + bit / 8 - head;
		struct frame_info info;
		bool refused;

		*at = (uint8_t)(*at ^ 1u << bit % 8);
		refused = msg_decode_header(frame, &info) < 0 ||
		          msg_decode(frame, frame + WIRE_HEADER_BYTES, m.payload, &back) < 0;
		cr_assert(refused, "bit %zu", bit);
		*at = (uint8_t)(*at ^ 1u << bit % 8);
	}
	iobuf_put(b);
}

Test(msg, cut_short_anywhere_is_refused)
{
	struct msg m = {.type = MSG_TYPE_op_create}, back;
	uint8_t body[512];

	m.op_create.name = (struct span){(const uint8_t *)"name", 4};
	msg_encode_body(&m, body);
	for (size_t len = 0; len < msg_body_bytes(&m); len++)
		cr_assert_eq(msg_decode_body(body, len, &back), ERR_CORRUPT);
	cr_assert_eq(msg_decode_body(body, msg_body_bytes(&m) + 1, &back), ERR_CORRUPT);
}

Test(msg, prints_as_one_line)
{
	struct msg m = {.type = MSG_TYPE_seal};
	char line[128];

	m.seal.file = 7;
	m.seal.epoch = 2;
	msg_print(&m, line, sizeof(line));
	cr_assert_str_eq(line, "seal file=7 map=0 epoch=2");
	cr_assert_eq(msg_print(&m, line, 5), 25);
	cr_assert_str_eq(line, "seal");
}

/* A page that comes back from another place never verifies (T10 DIF's reference tag). */
Test(page_sum, is_bound_to_file_block_and_page)
{
	uint8_t page[PAGE_BYTES] = {0};
	uint64_t sum = page_sum(1, 2, 3, page);

	cr_assert_neq(sum, 0);
	cr_assert_eq(sum, page_sum(1, 2, 3, page));
	cr_assert_neq(sum, page_sum(2, 2, 3, page));
	cr_assert_neq(sum, page_sum(1, 3, 3, page));
	cr_assert_neq(sum, page_sum(1, 2, 4, page));
	page[4095] = 1;
	cr_assert_neq(sum, page_sum(1, 2, 3, page));
}

/* Trap A1: an old write that recovery passed over loses to every replica the recovery closed. */
Test(rank, puts_closed_before_version)
{
	struct rank passed_over = {0, {1, 1}}, closed = {2, {0, 0}}, later = {0, {2, 1}};

	cr_assert_lt(rank_cmp(passed_over, closed), 0);
	cr_assert_lt(rank_cmp(closed, later), 0, "a write of the closing epoch came after it");
	cr_assert_lt(rank_cmp((struct rank){2, {1, 1}}, later), 0);
	cr_assert_eq(rank_cmp(later, (struct rank){2, {2, 1}}), 0);
}
