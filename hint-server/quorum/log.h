/* The voter's log on disk: entries, term and vote. Pure: all I/O through struct disk.
 *
 * Group commit: what is appended while one group is being written and synced goes with the next.
 * A failed write or sync is final (trap A13): the log never becomes durable again and failed() is
 * called once. All entries above the base are also kept in memory; the file's size bounds them.
 * One owner loop; formats stand at the top of log.c. */
#pragma once

#include "common/base/types.h"
#include "common/disk/disk.h"

#define RLOG_FILE "votes.log"
#define RLOG_BYTES (64u << 20) /* of the file, unless configured */

struct rlog;

struct rlog_entry {
	uint64_t term;
	uint32_t len;
	uint8_t type;        /* enum raft_entry_type */
	/* The log's own. */
	uint64_t batch_pos;  /* where its batch starts and ends in the log; UINT64_MAX: not sent yet */
	uint64_t batch_end;
	uint64_t batch_seq;
	uint8_t data[];
};

struct rlog_config {
	uint64_t cluster;
	server_id_t server;
	uint64_t id;         /* fresh: random; tells its batches from older ones in the same file */
	uint64_t bytes;      /* of the file, at creation */
	bool fresh;          /* create it with `first` as entry 1 of term 1 */
	struct span first;
	uint8_t first_type;
	bool bug_sync_retried;
};

struct rlog_ops {
	/* The log is read (or created, durably). On failure rlog_why() is a sentence. */
	void (*loaded)(void *ctx, int rc);
	void (*durable)(void *ctx); /* rlog_durable() or rlog_vote_durable() moved */
	void (*failed)(void *ctx, int rc);
};

/* 0 and later loaded(); or -EIO, -ENOSPC at once. */
MUST_CHECK int rlog_open(struct rlog **out, struct disk *disk, const struct rlog_config *c,
                         const struct rlog_ops *ops, void *ctx);
void rlog_close(struct rlog *l);
const char *rlog_why(const struct rlog *l);
bool rlog_busy(const struct rlog *l); /* reading, writing or syncing */

uint64_t rlog_term(const struct rlog *l);
uint64_t rlog_vote(const struct rlog *l);
/* Durable once rlog_vote_durable() reaches the number returned. */
uint64_t rlog_set_vote(struct rlog *l, uint64_t term, uint64_t vote);
uint64_t rlog_vote_durable(const struct rlog *l);
/* A new log is unproven: nobody knows whether this voter had another one before (proof.h). */
bool rlog_proven(const struct rlog *l);
void rlog_prove(struct rlog *l);

uint64_t rlog_base(const struct rlog *l);       /* the newest index trimmed away */
uint64_t rlog_base_term(const struct rlog *l);
uint64_t rlog_last(const struct rlog *l);       /* rlog_base() when empty */
uint64_t rlog_durable(const struct rlog *l);    /* every entry up to it is on the disk */
uint64_t rlog_term_of(const struct rlog *l, uint64_t index); /* 0: neither an entry nor the base */
const struct rlog_entry *rlog_get(const struct rlog *l, uint64_t index); /* NULL: not here */

/* Appends at `index`; entries from there on are dropped first (Raft's conflicting suffix). */
void rlog_append(struct rlog *l, uint64_t index, uint64_t term, uint8_t type, const void *data,
                 uint32_t len);
void rlog_flush(struct rlog *l);                     /* starts writing what is not yet written */
void rlog_trim(struct rlog *l, uint64_t index);      /* forgets entries up to `index` */
/* A snapshot replaces everything: install_begin() before the state machine is replaced, reset()
 * after. A crash between them is settled by rlog_installing() at the next start. */
void rlog_install_begin(struct rlog *l, uint64_t index, uint64_t term);
bool rlog_install_durable(const struct rlog *l);
uint64_t rlog_reset(struct rlog *l, uint64_t index, uint64_t term); /* as rlog_set_vote() */
void rlog_install_cancel(struct rlog *l);
bool rlog_installing(const struct rlog *l, uint64_t *index, uint64_t *term);

/* Used and whole bytes of the file: past half, take a checkpoint and trim. */
void rlog_space(const struct rlog *l, uint64_t *used, uint64_t *total);
