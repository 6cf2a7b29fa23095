/* Layout of the voter's log file.
 *
 * Pages 0 and 1 hold the same *slot*: term, vote and where the log begins. A change is written to
 * the page with the older copy and, once that is durable, to the other one with a later group: a
 * torn write leaves one good copy, and rot in one page does not bring back an older vote.
 * From page 2 on a ring of *batches*; position `pos` lies at page 2 + pos % capacity, each batch
 * starts on a page of its own (a committed page is never written again before it is trimmed) and
 * may wrap. Batch numbers are consecutive, and one group is in flight at a time. So a valid batch
 * with a number above a bad one means that the bad one was once durable: damage, not a torn tail.
 *
 *   slot   0 magic u32, 4 version u32, 8 cluster u64, 16 server u64, 24 generation u64, 32 term u64,
 *          40 vote u64, 48 tail position u64, 56 tail batch number u64, 64 base index u64,
 *          72 base term u64, 80 installing index u64, 88 installing term u64, 96 log id u64,
 *          104 capacity u64, 112 unproven u64, 4088 XXH3 of all before
 *   batch  0 magic u32, 4 payload bytes u32, 8 log id u64, 16 number u64, 24 first index u64,
 *          32 entries u32, 36 zero u32, 40 XXH3 of the payload, 48 XXH3 of bytes 0-47
 *   entry  term u64, length u32, type u8, 3 zero bytes, data
 */
#pragma once

#include "hint-server/quorum/log.h"

#define RLOG_PAGE 4096u
#define RLOG_SLOT_MAGIC 0x53764344u  /* "DCvS" */
#define RLOG_BATCH_MAGIC 0x42764344u /* "DCvB" */
#define RLOG_VERSION 1
#define RLOG_RING ((uint64_t)2 * RLOG_PAGE)
#define RLOG_BATCH_HEAD 56u
#define RLOG_ENTRY_HEAD 16u
#define RLOG_BATCH_BYTES_MAX (1u << 20) /* of one group, unless a single entry is larger */
#define RLOG_ENTRY_BYTES_MAX (8u << 20)

struct rlog_slot {
	uint64_t cluster, server, generation, term, vote, tail_pos, tail_seq, base_index, base_term;
	uint64_t install_index, install_term, id, capacity, unproven;
};

struct rlog_batch {
	uint32_t bytes, count;
	uint64_t id, seq, first, sum;
};

void rlog_slot_encode(const struct rlog_slot *s, uint8_t page[RLOG_PAGE]);
/* 0, -ENODATA: never written, ERR_CORRUPT, ERR_VERSION. */
MUST_CHECK int rlog_slot_decode(const uint8_t page[RLOG_PAGE], struct rlog_slot *s);
void rlog_batch_encode(const struct rlog_batch *b, uint8_t head[RLOG_BATCH_HEAD]);
MUST_CHECK int rlog_batch_decode(const uint8_t head[RLOG_BATCH_HEAD], struct rlog_batch *b);
uint64_t rlog_sum(const void *p, size_t len);
