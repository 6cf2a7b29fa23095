/* Frames through the sending and the receiving half, without a socket between them. */
#include "common/base/random.h"
#include "common/net/rx.h"
#include "common/net/tx.h"

#include <criterion/criterion.h>

TestSuite(net_frames);

struct stream {
	uint8_t *p;
	size_t len, at;
};

static struct random rnd;

static uint8_t pattern(uint64_t id, uint32_t i)
{
	return (uint8_t)(id * 31 + i * 7 + (i >> 8));
}

static struct msg make(uint64_t id, uint32_t payload, uint32_t body)
{
	static uint8_t sums[1 << 20];
	struct msg m = {.type = MSG_TYPE_write, .src = 11, .dst = 21, .id = id};

	m.write.file = id;
	m.write.len = payload;
	m.write.sums = (struct span){sums, body};
	if (payload > 0) {
		m.payload = (struct slice){iobuf_new(payload), 0, payload};
		for (uint32_t i = 0; i < payload; i++)
			m.payload.buf->data[i] = pattern(id, i);
	}
	return m;
}

static void check(const struct msg *m, uint64_t id, uint32_t payload, uint32_t body)
{
	cr_assert_eq(m->id, id);
	cr_assert_eq(m->write.file, id);
	cr_assert_eq(m->write.sums.len, body);
	cr_assert_eq(m->payload.len, payload);
	for (uint32_t i = 0; i < payload; i++)
		cr_assert_eq(slice_data(m->payload)[i], pattern(id, i), "byte %u of frame %lu", i, id);
	if (payload > 0)
		cr_assert_eq((uintptr_t)slice_data(m->payload) % PAGE_BYTES, 0);
}

/* Takes up to `n` bytes from the sender, in pieces, as writev with a short count would. */
static void pump_out(struct tx *tx, uint8_t *to, size_t n)
{
	while (n > 0) {
		unsigned k = tx_seal(tx, 3);
		size_t done = 0;

		cr_assert_gt(k, 0);
		for (unsigned i = 0; i < k && n > 0; i++) {
			const struct tx_piece *piece = tx_piece(tx, i);
			size_t take = MIN(piece->len, n);

			memcpy(to, piece->p, take);
			to += take;
			done += take;
			n -= take;
		}
		tx_consume(tx, done);
	}
}

static const uint32_t sizes[] = {0,     1,     512,   1024,   1025,    4096,
                                 40000, 65536, 70000, 300000, 1 << 20, 0};

/* However the stream is cut into reads, the same frames come out. */
static void through(size_t read_max)
{
	struct tx tx;
	struct rx rx;
	unsigned next = 0, n = 60;
	uint8_t *bytes;
	size_t total, at = 0;

	tx_init(&tx);
	rx_init(&rx);
	rx_set_limits(&rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
	for (unsigned i = 0; i < n; i++) {
		struct msg m = make(i, sizes[i % ARRAY_LEN(sizes)], i % 7 == 3 ? 200000 : i);

		tx_add(&tx, &m);
		iobuf_put(m.payload.buf);
	}
	total = tx.bytes;
	bytes = malloc(total);
	pump_out(&tx, bytes, total);
	cr_assert_eq(tx.bytes, 0);

	while (at < total) {
		uint8_t *p;
		size_t len, cut = 1 + random_below(&rnd, read_max);
		struct msg m;
		int rc;

		rx_space(&rx, &p, &len);
		len = MIN(MIN(len, total - at), cut);
		memcpy(p, bytes + at, len);
		at += len;
		rx_filled(&rx, len);
		while ((rc = rx_next(&rx, &m)) == 1) {
			check(&m, next, sizes[next % ARRAY_LEN(sizes)], next % 7 == 3 ? 200000 : next);
			next++;
		}
		cr_assert_eq(rc, 0);
	}
	cr_assert_eq(next, n);
	free(bytes);
	rx_fini(&rx);
	tx_fini(&tx);
	cr_assert_eq(iobuf_used(), 0);
}

Test(net_frames, survive_any_cutting_of_the_stream)
{
	random_seed(&rnd, 1);
	through(1 << 22);
	through(65536);
	through(10000);
	through(300);
}

/* What a write under way looks at must not move when more is queued. */
Test(net_frames, sealed_pieces_stay_as_they_are)
{
	struct tx tx;
	struct tx_piece before, after;
	struct msg m = make(1, 100, 8);
	uint8_t bytes[4096];

	tx_init(&tx);
	tx_add(&tx, &m);
	cr_assert_eq(tx_seal(&tx, 4), 1);
	before = *tx_piece(&tx, 0);
	memcpy(bytes, before.p, before.len);
	for (unsigned i = 0; i < 500; i++)
		tx_add(&tx, &m);
	after = *tx_piece(&tx, 0);
	cr_assert_eq(before.p, after.p);
	cr_assert_eq(before.len, after.len);
	cr_assert_eq(memcmp(bytes, after.p, after.len), 0);
	iobuf_put(m.payload.buf);
	tx_fini(&tx);
}

static int feed(struct rx *rx, const uint8_t *bytes, size_t len, struct msg *m)
{
	int rc = 0;

	while (len > 0 && rc == 0) {
		uint8_t *p;
		size_t room, n;

		rx_space(rx, &p, &room);
		n = MIN(room, len);
		memcpy(p, bytes, n);
		bytes += n;
		len -= n;
		rx_filled(rx, n);
		rc = rx_next(rx, m);
	}
	return rc;
}

static uint8_t *frame(const struct msg *m, size_t *len)
{
	size_t head = msg_head_bytes(m);
	uint8_t *p = malloc(head + m->payload.len);

	msg_encode(m, p);
	if (m->payload.len > 0)
		memcpy(p + head, slice_data(m->payload), m->payload.len);
	*len = head + m->payload.len;
	return p;
}

/* P9: nobody makes this server allocate much before saying who it is. */
Test(net_frames, a_stranger_may_only_send_a_greeting)
{
	struct msg m = make(1, 0, 5000), out;
	size_t len;
	uint8_t *bytes = frame(&m, &len);
	struct rx rx;

	rx_init(&rx);
	cr_assert_eq(feed(&rx, bytes, len, &out), ERR_CORRUPT);
	rx_fini(&rx);
	free(bytes);

	m = make(1, 1, 0);
	bytes = frame(&m, &len);
	rx_init(&rx);
	cr_assert_eq(feed(&rx, bytes, len, &out), ERR_CORRUPT);
	rx_fini(&rx);
	free(bytes);
	iobuf_put(m.payload.buf);
}

/* Every flipped bit is found. */
Test(net_frames, damage_is_found_wherever_it_is)
{
	struct msg m = make(1, 64, 16), out;
	size_t len;
	uint8_t *bytes = frame(&m, &len);

	for (size_t bit = 0; bit < len * 8; bit++) {
		struct rx rx;
		int rc;

		rx_init(&rx);
		rx_set_limits(&rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rc = feed(&rx, bytes, len, &out);
		cr_assert(rc == ERR_CORRUPT || rc == ERR_VERSION, "bit %zu: %d", bit, rc);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		rx_fini(&rx);
	}
	free(bytes);
	iobuf_put(m.payload.buf);
}

/* P8: past the budget the frame waits; what was asked for comes in all the same. */
Test(net_frames, wait_for_memory)
{
	struct msg m = make(1, 100000, 0), out;
	size_t len;
	uint8_t *bytes = frame(&m, &len);
	struct rx rx;

	iobuf_put(m.payload.buf);
	iobuf_budget_set(50000);
	rx_init(&rx);
	rx_set_limits(&rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
	cr_assert_eq(feed(&rx, bytes, 60000, &out), -ENOMEM);
	cr_assert_eq(rx_next(&rx, &out), -ENOMEM);
	iobuf_budget_set(500000);
	cr_assert_eq(rx_next(&rx, &out), 0);
	cr_assert_eq(feed(&rx, bytes + 60000, len - 60000, &out), 1);
	check(&out, 1, 100000, 0);
	rx_fini(&rx);
	free(bytes);

	iobuf_budget_set(500000);
	m = make(1, 100000, 0);
	m.type = MSG_TYPE_read_reply;
	memset(&m.read_reply, 0, sizeof(m.read_reply));
	bytes = frame(&m, &len);
	iobuf_put(m.payload.buf);
	iobuf_budget_set(0);
	rx_init(&rx);
	rx_set_limits(&rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
	cr_assert_eq(feed(&rx, bytes, len, &out), 1);
	rx_fini(&rx);
	free(bytes);
}
