/* P9: any bytes from any peer are a verdict, never a crash. Messages that decode, with fields that
 * are sometimes right, in any order and combination, over real blocks. */
#include "tests/unit/replica/rig.h"

#include "common/base/random.h"

#define MESSAGES 20000
#define SPAN_MAX 8192

static struct random rnd;
static struct iobuf *bulk;
static uint8_t bytes[SPAN_MAX];

static uint64_t some_u64(void)
{
	static const uint64_t edges[] = {0, 1, 2, 3, MAP, FILE_7, 4096, 1ull << 32, 1ull << 46,
		UINT64_MAX - 1, UINT64_MAX};

	return random_chance(&rnd, 900) ? edges[random_below(&rnd, 7)]
	                                : edges[random_below(&rnd, ARRAY_LEN(edges))];
}

static file_id_t some_file(void)
{
	return random_chance(&rnd, 950) ? 10 + random_below(&rnd, 300) : some_u64();
}

static uint32_t some_u32(void)
{
	static const uint32_t edges[] = {0, 1, 100, 4096, 8192, BLOCK_BYTES, BLOCK_BYTES - 1, UINT32_MAX,
		UINT32_MAX - 4095};

	return edges[random_below(&rnd, random_chance(&rnd, 800) ? 6 : ARRAY_LEN(edges))];
}

static uint8_t some_u8(void)
{
	static const uint8_t edges[] = {0, 1, 2, 12, 24, 25, 64, 255};

	return random_chance(&rnd, 800) ? SHIFT : edges[random_below(&rnd, ARRAY_LEN(edges))];
}

static struct span some_span(void)
{
	return (struct span){bytes, (uint32_t)random_below(&rnd, 9) * 8};
}

#define SOME_u8 some_u8()
#define SOME_u16 (uint16_t)some_u64()
#define SOME_u32 some_u32()
#define SOME_u64 some_u64()
#define SOME_ver (struct version){some_u64() % 6, some_u64() % 6}
#define SOME_span some_span()
#define X(kind, name) m->name = SOME_##kind;
#define FILLER(name, fields) \
	static void fill_##name(struct msg_##name *m) \
	{ \
		fields(X) \
	}
FILLER(write, MSG_WRITE)
FILLER(read, MSG_READ)
FILLER(seal, MSG_SEAL)
FILLER(list, MSG_LIST_BLOCKS)
FILLER(install, MSG_INSTALL)
FILLER(close, MSG_CLOSE)
FILLER(space, MSG_SPACE)
FILLER(forget, MSG_FORGET)
#undef X

static void fill(struct msg *m)
{
	switch (random_below(&rnd, 8)) {
	case 0:
	case 1:
		m->type = MSG_TYPE_write;
		fill_write(&m->write);
		m->write.map = MAP;
		m->write.file = some_file();
		m->write.op = random_below(&rnd, 20) ? (uint8_t)random_below(&rnd, 2) : 2;
		m->write.epoch = m->write.version.epoch;
		if (random_chance(&rnd, 500))
			m->write.prev = VERSION_NONE;
		if (random_chance(&rnd, 900))
			m->write.sums.len = m->write.op ? 0 : 8 * (m->write.len / PAGE_BYTES % 17);
		m->payload = (struct slice){bulk, 0, m->write.op ? 0 : MIN(m->write.len, bulk->size)};
		break;
	case 2:
		m->type = MSG_TYPE_read;
		fill_read(&m->read);
		break;
	case 3:
		m->type = MSG_TYPE_seal;
		fill_seal(&m->seal);
		m->seal.epoch %= 6;
		m->seal.map = MAP;
		m->seal.file = some_file();
		break;
	case 4:
		m->type = MSG_TYPE_list;
		fill_list(&m->list);
		break;
	case 5:
		m->type = MSG_TYPE_install;
		fill_install(&m->install);
		m->install.map = MAP;
		m->install.file = some_file();
		m->install.epoch %= 6;
		m->install.closed %= 3;
		if (random_chance(&rnd, 500)) {
			m->install.old = VERSION_NONE;
			m->install.old_closed = 0;
		}
		m->install.zero.len = 0;
		m->install.sums.len = 0;
		for (uint32_t i = 0; i < m->install.set.len; i++)
			m->install.sums.len += 8 * (uint32_t)__builtin_popcount(bytes[i]);
		m->payload = (struct slice){bulk, 0, MIN(m->install.sums.len * 512, bulk->size)};
		break;
	case 6:
		m->type = MSG_TYPE_close;
		fill_close(&m->close);
		m->close.epoch %= 6;
		m->close.map = MAP;
		m->close.file = some_file();
		m->close.complete %= 2;
		break;
	default:
		m->type = MSG_TYPE_space;
		fill_space(&m->space);
		if (random_chance(&rnd, 500)) {
			m->type = MSG_TYPE_forget;
			fill_forget(&m->forget);
		}
		break;
	}
}

Test(replica_hostile, messages_never_break_it, .init = rig_start)
{
	struct replica_stats stats;

	random_seed(&rnd, 7);
	bulk = iobuf_new(BLOCK_BYTES);
	memset(bulk->data, 'h', bulk->size);
	for (unsigned i = 0; i < MESSAGES; i++) {
		struct msg m = {0};

		for (unsigned k = 0; k < 64; k++)
			bytes[k] = random_chance(&rnd, 100) ? (uint8_t)random_u64(&rnd) : 0;
		fill(&m);
		rig_send(&m);
		if (random_chance(&rnd, 100))
			rig_run();
		rig.log_len = 0;
	}
	rig_run();
	replica_get_stats(rig.replica, &stats);
	cr_assert(!replica_disk_failed(rig.replica));
	cr_assert_gt(stats.malformed, MESSAGES / 10);
	cr_assert_gt(stats.writes + stats.installs, 100, "%" PRIu64 " %" PRIu64, stats.writes, stats.installs);
	cr_assert_gt(stats.seals, 10);
	rig.log_len = 0;
	rig_reopen(true);
	iobuf_put(bulk);
	rig_stop();
}
