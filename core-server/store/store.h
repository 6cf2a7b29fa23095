/* The block store: versioned, checksummed, sparse blocks that survive a power cut at any
 * instruction (design section 8).
 *
 * Pure apart from struct disk and struct kv, which come from the caller: the simulator runs this
 * code on disks that tear, lose and rot. One owner loop. Formats stand at the top of the .c files.
 *
 * - journal.c: records with checksums, group commit; a record says up to where the journal was
 *   durable when it was written, so that a torn tail and damage in the middle can be told apart;
 * - small writes live in the journal and in memory until a checkpoint redoes them in place; large
 *   ones go to newly allocated space at once and their record commits them;
 * - index.c, format.c: block records (places, page checksums, version, closed) and file records in
 *   the kv, moved there by checkpoint.c;
 * - space.c: allocator, grants, reserve.
 *
 * Writes of one block are applied in the order submitted; a write's done() is called when it and
 * everything submitted before it for that block and file is durable. Reads see durable data only.
 * A failed sync or journal write is final: the store answers ERR -EIO from then on (P1, A13). */
#pragma once

#include "common/base/iobuf.h"
#include "common/base/types.h"
#include "common/disk/disk.h"
#include "common/kv/kv.h"
#include "common/wire/stale.h"

struct store;

/* Planted bugs, for the tests of the tests: each breaks one rule of trap A13, or P7, and must be found. */
enum store_bug {
	STORE_BUG_SYNC_RETRIED = 1,  /* a failed sync is tried again, and success then counts */
	STORE_BUG_IN_PLACE = 2,      /* large writes overwrite committed pages in place */
	STORE_BUG_NO_DATA_SYNC = 4,  /* a commit does not wait for its large writes to be synced */
	STORE_BUG_EARLY_CUT = 8,     /* the journal is cut before the index is durable */
	STORE_BUG_SUMS_UNCHECKED = 16, /* P7: data that does not fit the sums it came with is taken */
	STORE_BUG_MERGE_BLIND = 32,  /* P7: a part of a page is written into whatever the disk gives */
	STORE_BUG_RECORD_UNSYNCED = 128, /* P1: a record counts as durable when it is written */
	STORE_BUG_READ_BLIND = 64,   /* P7: what the disk gives is sent with the sum it should have */
};

/* Zeros mean defaults. */
struct store_config {
	uint64_t journal_bytes;     /* default 256 MiB */
	uint64_t data_bytes_max;    /* 0: what the file system gives */
	uint64_t cache_bytes;       /* pages waiting for a checkpoint; default 128 MiB */
	uint64_t index_bytes;       /* block records kept in memory; default 64 MiB */
	uint32_t large_bytes;       /* writes from this size on go to new space; default 64 KiB */
	unsigned bugs;              /* bits of enum store_bug */
	nsec_t (*now)(void *ctx);
	void *ctx;
};

/* Formats an empty store. `cluster` is kept and compared at open. */
MUST_CHECK int store_format(struct disk *disk, struct kv *kv, uint64_t cluster, server_id_t server,
                            const struct store_config *config);
/* Opens, replays the journal and raises the start counter. Asynchronous: done(ctx, rc) once it
 * serves. ERR_VERSION, ERR_CORRUPT, -EEXIST (foreign cluster or server), -EIO; `why` (static or in
 * the store) says what and where. */
void store_open(struct store **out, struct disk *disk, struct kv *kv, uint64_t cluster,
                server_id_t server, const struct store_config *config,
                void (*done)(void *ctx, int rc), void *done_ctx);
const char *store_why(const struct store *s); /* sentence for the last fatal error */
/* At once, without checkpoint: as a crash, but frees memory. No done() is called any more. Closes the
 * store's files; disk and kv stay the caller's. */
void store_close(struct store *s);
void store_checkpoint(struct store *s, void (*done)(void *ctx, int rc), void *ctx);
/* Does what is due (checkpoints, background work); returns when it wants to be called next. */
nsec_t store_tick(struct store *s, nsec_t now);

/* --- what the store knows of a file: one durable record per file --- */
struct store_file {
	uint64_t seal;      /* UINT64_MAX: unknown, lost to damage, until a FILE record replaces it */
	uint64_t closed;
	uint64_t map;       /* map version the file is placed by; 0: unknown yet */
	bool complete;      /* the holder said: everything of the file that belongs here is here */
	bool damaged;       /* its record was lost to damage: `complete` is false and closed 0 until a FILE
	                       record with complete replaces it; its blocks are what they were */
	unsigned exceptions;       /* blocks for which `closed` does not count, ascending */
	uint64_t *exception;
};

struct store_block {
	struct version version;    /* of the durable state; VERSION_NONE if there is no record */
	uint64_t closed;           /* the block's own */
	bool exists;               /* a record is there */
	bool holes;                /* all of it is a hole */
	uint32_t pages;            /* that are no holes */
	bool damaged;              /* lost here: VERSION_NONE, counts for nothing, reads ERR_CORRUPT,
	                              until an INSTALL of the whole block or a DELETE */
};

/* Durable state; false if there is no record. Exceptions point into the store, until its next call. */
bool store_get_file(struct store *s, file_id_t file, struct store_file *out);
bool store_get_block(struct store *s, file_id_t file, uint64_t block, struct store_block *out);
/* First block record of the file at or after `from` (ATTR comes last); false at the end. */
bool store_next_block(struct store *s, file_id_t file, uint64_t from, uint64_t *block,
                      struct store_block *out);
/* First file with a record above `after`; 0 at the end. */
file_id_t store_next_file(struct store *s, file_id_t after);

/* --- changes: each is one atomic, durable journal transaction --- */
enum store_op {
	STORE_WRITE,   /* data or zeros into one block, new version; also raises the file's seal */
	STORE_INSTALL, /* as MSG_INSTALL: pages set, pages zeroed, version and closed replaced. With no
	                  page set or zeroed block_shift may be 0 (as it is, or not known yet): a
	                  record of version and closed alone, which a later write may add pages to */
	STORE_FILE,    /* replaces the file record */
	STORE_DELETE,  /* forgets the file and all its blocks */
};

struct store_req {
	enum store_op op;
	file_id_t file;
	uint64_t block;
	uint8_t block_shift;
	bool zero;              /* WRITE: zero the range, no data */
	uint32_t off, len;      /* WRITE */
	struct slice data;      /* WRITE, INSTALL: the store takes its own references */
	const uint8_t *sums;    /* WRITE: of pages wholly inside; INSTALL: of pages set. Copied. */
	struct span set, zeroed; /* INSTALL: page bits. Copied. */
	struct span lost;       /* INSTALL: of `set`, pages whose data is filler and whose sum alone is kept:
	                           reads of them give ERR_CORRUPT until they are replaced. Copied. */
	struct version version; /* WRITE, INSTALL: the block's new version */
	uint64_t closed;        /* INSTALL: the block's new closed */
	uint64_t seal;          /* WRITE, INSTALL: the file's seal becomes at least this */
	uint64_t map;           /* WRITE, INSTALL: recorded when the file is new here */
	const struct store_file *record; /* FILE. Copied. */
	uint64_t grant_bytes;   /* this much of what store_grant() gave is spent with this write, needed
	                           or not, successful or not */
	void (*done)(struct store_req *req); /* durable, or `result` says why not: -ENOSPC, -EIO, */
	int result;             /* ERR_CORRUPT (sum mismatch of given data, or a bad page beneath a
	                           partial write: the page's number is in bad_page; bad_given tells which) */
	                        /* -EAGAIN: too many requests in the store; -EINVAL: senseless */
	uint32_t bad_page;      /* -ECANCELED: an earlier write of the block, submitted but not answered
	                           when this one was submitted, failed, so the chain is broken here */
	bool bad_given;
	void *backend[8];
};
/* done() is never called from inside. The req is the caller's and stays valid until then. */
void store_submit(struct store *s, struct store_req *req);

/* --- reads --- */
struct store_read {
	file_id_t file;
	uint64_t block;
	uint8_t block_shift;
	uint32_t off, len;      /* multiples of PAGE_BYTES */
	bool sums_only;
	/* filled in: */
	struct store_block at;  /* the version these pages belong to: one atomic state */
	struct slice data;      /* present pages in order; the caller drops data.buf's reference */
	uint8_t present[BLOCK_PAGES_MAX / 8];
	uint64_t *sums;         /* of present pages, malloc'ed; the caller frees */
	uint32_t present_pages;
	void (*done)(struct store_read *r);
	int result;             /* 0, -EIO, ERR_CORRUPT with bad_page: the page fails its checksum */
	uint32_t bad_page;
	void *backend[8];
};
void store_read(struct store *s, struct store_read *r);

/* --- space --- */
/* For good, whatever failed: nothing can be promised any more. */
bool store_failed(const struct store *s);
struct store_space {
	uint64_t total, free;   /* free: after the reserve and what is promised */
	uint64_t granted;       /* promised to peers, not used yet */
	uint64_t reserve;
};
void store_get_space(struct store *s, struct store_space *out);
/* Promises up to `want` bytes: returns what it gives, 0 when full. */
uint64_t store_grant(struct store *s, uint64_t want);
void store_grant_return(struct store *s, uint64_t bytes);

uint64_t store_start_counter(const struct store *s);
/* Drawn when the disk was formatted: another disk is known by it. */
uint64_t store_disk_id(const struct store *s);
uint64_t store_journal_position(const struct store *s); /* durable, grows for ever */
/* Blocks that replay found damaged (a bad record with valid ones behind it). They are listed with
 * VERSION_NONE, not complete, and the file's record loses `complete`. Count since open. */
uint64_t store_damaged(const struct store *s);

/* Scrub: verifies the next page-checksummed block at or after the cursor in the background of
 * reads; done(ctx, rc, file, block, bad_page). rc -ENOENT: end reached, cursor wraps. */
void store_scrub_next(struct store *s, void (*done)(void *ctx, int rc, file_id_t file,
                      uint64_t block, uint32_t bad_page), void *ctx);
