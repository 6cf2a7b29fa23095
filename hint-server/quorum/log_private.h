/* What log.c (appending, writing) and log_load.c (reading at start) share. */
#pragma once

#include "common/base/iobuf.h"
#include "hint-server/quorum/log_format.h"

enum rlog_phase { RLOG_LOADING, RLOG_IDLE, RLOG_WRITING, RLOG_SYNCING, RLOG_FAILED };

struct rlog {
	struct disk *disk;
	struct disk_file *file;
	struct rlog_config config;
	const struct rlog_ops *ops;
	void *ctx;
	enum rlog_phase phase;
	char why[256];

	struct rlog_slot slot;       /* as it should be */
	uint64_t slot_on[2];         /* generation durable in each page */
	uint64_t tail_durable;       /* the tail of the newest durable slot: nothing behind it is needed */
	bool slot_first;             /* the slot must be durable before any further batch is written */
	uint64_t install_generation;

	struct rlog_entry **entry;   /* index base_index + 1 + i */
	uint64_t entries, room;
	uint64_t unsent;             /* the first index in no batch yet */
	uint64_t durable;            /* index */
	uint64_t head, next_seq;     /* where and as what the next batch goes */
	uint64_t pos_durable;        /* batches ending here or before are on the disk */

	struct iobuf *group;         /* in flight: the batch ... */
	uint64_t group_end;
	struct iobuf *slot_page;     /* ... and a slot */
	int slot_which;              /* page being written; -1 none */
	uint64_t slot_generation;
	uint64_t slot_tail;
	struct disk_req req[4];
	unsigned reqs;
	int req_error;

	struct iobuf *load_buf;      /* reading at start */
	uint8_t *image;
	uint64_t image_at;
	bool creating;
};

void rlog_load_start(struct rlog *l);
void rlog_entry_push(struct rlog *l, uint64_t index, uint64_t term, uint8_t type, const void *data,
                     uint32_t len);
void rlog_truncate(struct rlog *l, uint64_t index);
