#include "tests/sim/hostile.h"

#include "common/wire/msg.h"

/* --- numbers --- */

static void remember(struct hostile *h, uint64_t v)
{
	h->seen[h->seen_n++ % HOSTILE_SEEN] = v;
}

static uint64_t number(struct hostile *h, struct random *r, uint64_t old)
{
	switch (random_below(r, 10)) {
	case 0:
		return 0;
	case 1:
		return UINT64_MAX;
	case 2:
		return old + 1;
	case 3:
		return old - 1;
	case 4:
		return random_u64(r);
	case 5:
		return random_below(r, 100);
	case 6:
		return (uint64_t)1 << random_below(r, 64);
	case 7:
		return ((uint64_t)1 << random_below(r, 64)) - 1;
	default:
		return h->seen_n ? h->seen[random_below(r, MIN(h->seen_n, (unsigned)HOSTILE_SEEN))] : old;
	}
}

/* --- spans --- */

static struct span scramble(struct hostile *h, struct random *r, struct span s)
{
	size_t len = s.len;
	uint8_t *copy = h->scratch + h->scratch_used;

	switch (random_below(r, 4)) {
	case 0:
		return (struct span){0};
	case 1:
		return (struct span){s.p, s.len ? (uint32_t)random_below(r, s.len) : 0};
	case 2: /* longer, by random bytes */
		len += random_below(r, 64);
		break;
	default:
		break;
	}
	len = MIN(len, HOSTILE_SCRATCH_BYTES - h->scratch_used);
	h->scratch_used += len;
	for (size_t i = 0; i < len; i++)
		copy[i] = i < s.len && !random_chance(r, 100) ? s.p[i] : (uint8_t)random_u64(r);
	return (struct span){copy, (uint32_t)len};
}

/* --- fields, of every message --- */

#define LOOK_u8(name)
#define LOOK_u16(name)
#define LOOK_u32(name) remember(h, m->name);
#define LOOK_u64(name) remember(h, m->name);
#define LOOK_ver(name) remember(h, m->name.n);
#define LOOK_span(name)
#define X(kind, name) LOOK_##kind(name)
#define M(name, number, fields) \
	static void look_##name(struct hostile *h, const struct msg_##name *m) \
	{ \
		(void)h; \
		(void)m; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

#define TWIST_u8(name) m->name = (uint8_t)number(h, r, m->name)
#define TWIST_u16(name) m->name = (uint16_t)number(h, r, m->name)
#define TWIST_u32(name) m->name = (uint32_t)number(h, r, m->name)
#define TWIST_u64(name) m->name = number(h, r, m->name)
#define TWIST_ver(name) m->name = (struct version){number(h, r, m->name.epoch), number(h, r, m->name.n)}
#define TWIST_span(name) m->name = scramble(h, r, m->name)
#define X(kind, name) \
	if (random_chance(r, per_mille)) \
		TWIST_##kind(name);
#define M(name, number_, fields) \
	static void twist_##name(struct hostile *h, struct random *r, unsigned per_mille, \
	                         struct msg_##name *m) \
	{ \
		(void)h; \
		(void)r; \
		(void)per_mille; \
		(void)m; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

void hostile_look(struct hostile *h, const struct msg *m)
{
	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		look_##name(h, &m->name); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
}

static void twist_fields(struct hostile *h, struct random *r, struct msg *m)
{
	static const unsigned how_much[] = {0, 100, 300, 1000};
	unsigned per_mille = how_much[random_below(r, ARRAY_LEN(how_much))];

	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		twist_##name(h, r, per_mille, &m->name); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
}

void hostile_twist(struct hostile *h, struct random *r, struct msg *m)
{
	static const enum msg_type types[] = {
#define M(name, number, fields) MSG_TYPE_##name,
		MSG_LIST(M)
#undef M
	};

	h->sent++;
	h->scratch_used = 0;
	if (random_chance(r, 50)) { /* another message altogether, with this one's id */
		struct msg other = {.type = types[random_below(r, ARRAY_LEN(types))], .src = m->src,
		                    .dst = m->dst, .via = m->via, .id = m->id};

		*m = other;
		twist_fields(h, r, m);
	}
	twist_fields(h, r, m);
	if (random_chance(r, 100))
		m->id = number(h, r, m->id);
	if (m->payload.len > 0 && random_chance(r, 300))
		m->payload.len = (uint32_t)random_below(r, m->payload.len);
}
