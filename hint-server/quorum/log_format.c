#include "hint-server/quorum/log_format.h"

#include "common/base/bytes.h"

#include <xxhash.h>

uint64_t rlog_sum(const void *p, size_t len)
{
	return XXH3_64bits(p, len);
}

void rlog_slot_encode(const struct rlog_slot *s, uint8_t page[RLOG_PAGE])
{
	const uint64_t f[] = {s->cluster, s->server, s->generation, s->term, s->vote, s->tail_pos,
	                      s->tail_seq, s->base_index, s->base_term, s->install_index,
	                      s->install_term, s->id, s->capacity, s->unproven};

	memset(page, 0, RLOG_PAGE);
	put_u32le(page, RLOG_SLOT_MAGIC);
	put_u32le(page + 4, RLOG_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		put_u64le(page + 8 + 8 * i, f[i]);
	put_u64le(page + RLOG_PAGE - 8, rlog_sum(page, RLOG_PAGE - 8));
}

static bool all_zero(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (p[i])
			return false;
	return true;
}

int rlog_slot_decode(const uint8_t page[RLOG_PAGE], struct rlog_slot *s)
{
	uint64_t *const f[] = {&s->cluster, &s->server, &s->generation, &s->term, &s->vote,
	                       &s->tail_pos, &s->tail_seq, &s->base_index, &s->base_term,
	                       &s->install_index, &s->install_term, &s->id, &s->capacity,
	                       &s->unproven};

	if (all_zero(page, RLOG_PAGE))
		return -ENODATA;
	if (get_u32le(page) != RLOG_SLOT_MAGIC ||
	    get_u64le(page + RLOG_PAGE - 8) != rlog_sum(page, RLOG_PAGE - 8))
		return ERR_CORRUPT;
	if (get_u32le(page + 4) != RLOG_VERSION)
		return ERR_VERSION;
	for (size_t i = 0; i < ARRAY_LEN(f); i++)
		*f[i] = get_u64le(page + 8 + 8 * i);
	if (s->capacity < RLOG_PAGE || s->capacity % RLOG_PAGE || s->tail_pos % RLOG_PAGE)
		return ERR_CORRUPT;
	return 0;
}

void rlog_batch_encode(const struct rlog_batch *b, uint8_t head[RLOG_BATCH_HEAD])
{
	put_u32le(head, RLOG_BATCH_MAGIC);
	put_u32le(head + 4, b->bytes);
	put_u64le(head + 8, b->id);
	put_u64le(head + 16, b->seq);
	put_u64le(head + 24, b->first);
	put_u32le(head + 32, b->count);
	put_u32le(head + 36, 0);
	put_u64le(head + 40, b->sum);
	put_u64le(head + 48, rlog_sum(head, 48));
}

int rlog_batch_decode(const uint8_t head[RLOG_BATCH_HEAD], struct rlog_batch *b)
{
	if (get_u32le(head) != RLOG_BATCH_MAGIC || get_u64le(head + 48) != rlog_sum(head, 48))
		return ERR_CORRUPT;
	b->bytes = get_u32le(head + 4);
	b->id = get_u64le(head + 8);
	b->seq = get_u64le(head + 16);
	b->first = get_u64le(head + 24);
	b->count = get_u32le(head + 32);
	b->sum = get_u64le(head + 40);
	return 0;
}
