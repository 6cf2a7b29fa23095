/* Shared by the files of the replica protocol only.
 *
 * Words: a change is *accepted* when it was handed to the store, *durable* when the store said so.
 * What peers are told are durable facts; what later requests are judged by is the accepted state. */
#pragma once

#include "common/topology/map.h"
#include <uthash.h>
#include <utlist.h>

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "common/session/session.h"
#include "core-server/replica/replica.h"

#define FILES_CACHED_MAX 4096     /* idle file states kept; more only while busy */
#define CHANGES_MAX 65536         /* accepted, not durable */
#define READS_MAX 4096            /* in the store or waiting for a version */
#define READ_WAIT (50 * NSEC_MSEC) /* for an accepted version to become durable */
#define SEAL_WAITS_MAX 64         /* per file */
#define EXCEPTIONS_MAX 65536      /* per file */
#define LIST_ENTRIES_MAX 16384
#define PEERS_MAX 4096
#define GRANT_RETURN_AFTER (5 * NSEC_SEC) /* T: a peer gone for so long has lost its session */
#define BAD_MAX REPLICA_BAD_MAX
#define FORGETS_MAX 1024
#define COLLECT_BATCH 1000
#define COLLECT_EVERY NSEC_SEC
#define COLLECT_PAUSE (10 * NSEC_SEC) /* between two walks over all files */
#define SCRUB_EVERY (20 * NSEC_MSEC)  /* one block */
#define DOUBT_BATCH 256
#define TELL_EVERY (10 * NSEC_SEC)    /* of pages that stay bad */
#define TELL_AT_ONCE_MAX 16
#define TOLD_MAX 6                    /* then every 2^6 - 1 rounds */
#define ASKERS_MAX 8                  /* peers remembered for it */

/* Record of no file: its `closed` is complete_from, durable in the journal like everything else. */
#define FILE_BOOK ((file_id_t)UINT64_MAX)

/* Where a reply goes. */
struct origin {
	server_id_t peer, via;
	uint64_t id;
};

enum change_kind {
	CHANGE_WRITE,    /* MSG_WRITE; answered */
	CHANGE_INSTALL,  /* MSG_INSTALL; answered */
	CHANGE_KEEP,     /* keeps a block's `closed` from falling with a new file record */
	CHANGE_RECORD,   /* the file record; `close` says whether a MSG_CLOSE waits for it */
	CHANGE_DELETE,
};

/* An accepted change. In the list of its block (WRITE, INSTALL, KEEP) or of its file. */
struct change {
	struct store_req req;
	struct replica *r;
	struct file_state *file;
	struct block_state *block; /* NULL: of the file */
	enum change_kind kind;
	uint64_t epoch;            /* of the request */
	struct origin from;
	bool close;
	struct change *prev, *next;
};

struct block_state {              /* of a block with accepted changes */
	uint64_t block;
	struct change *changes;   /* in the order accepted; never empty */
	unsigned closes;          /* changes among them that set the block's `closed` */
	bool broken;              /* one failed: the others will, and the chain ends before it */
	UT_hash_handle hh;
};

struct seal_wait {
	struct origin from;
	uint64_t epoch;
	struct seal_wait *prev, *next;
};

struct file_state {
	file_id_t file;
	struct store_file rec;    /* accepted; rec.seal may be ahead of what is on its way to disk */
	bool exists;              /* a record is durable or accepted */
	bool gone;                /* the catalog said so: nothing is accepted any more */
	bool leaving;             /* being deleted since its replica lives in another site now */
	bool moved_here;          /* asked for as a replica that moved here: nothing is known of it */
	uint64_t seal_durable;
	unsigned busy;            /* changes and seal waits: never evicted while > 0 */
	struct block_state *blocks;
	struct change *changes;   /* RECORD and DELETE */
	struct seal_wait *seal_waits;
	unsigned n_seal_waits;
	UT_hash_handle hh;
};

struct read_state {
	struct store_read rd;
	struct replica *r;
	struct origin from;
	uint64_t epoch;
	struct version min;
	bool repair;
	nsec_t due;               /* while parked */
	struct read_state *prev, *next;
};

struct peer {
	server_id_t id;
	uint64_t granted;         /* not used yet */
	uint64_t old;             /* the same, of connections that broke */
	uint64_t last_id;         /* of its last space request, to answer a repeat alike */
	uint64_t last_grant;
	nsec_t return_at;         /* of `old` */
	UT_hash_handle hh;
};

struct replica {
	struct env *env;
	struct store *store;
	struct session *catalog;  /* NULL: nothing is ever collected */
	struct replica_config config;
	struct replica_stats stats;
	bool disk_failed;
	bool closing;
	nsec_t valid_until;
	uint64_t complete_from;
	bool complete_from_known;
	bool joined;                /* ... and was on the disk when this process started */

	struct file_state *files; /* least recently used first */
	unsigned n_files, n_changes;

	unsigned n_reads;
	struct read_state *reading, *parked;

	struct peer *peers;

	struct {                  /* doubt.c */
		bool on;
		file_id_t after;
		unsigned in_flight;
	} doubt;
	struct {                  /* collect.c */
		struct session_call call;
		bool asking;
		unsigned n_forgets, n_asked;
		file_id_t forgets[FORGETS_MAX];
		struct collect_asked {
			file_id_t file;
			uint64_t map, seal; /* of its record then */
		} asked[COLLECT_BATCH];
		file_id_t after;
		nsec_t due;
	} collect;
	struct {                  /* scrub.c */
		bool on, again, reading;
		nsec_t due;
		unsigned n_bad;
		struct replica_bad bad[BAD_MAX];
		unsigned next_bad;            /* to tell of */
		server_id_t asker[ASKERS_MAX];
		unsigned n_askers, next_asker;
		nsec_t tell_due;
	} scrub;
};

static inline bool replica_has_bug(const struct replica *r, enum replica_bug bug)
{
	return (r->config.bugs & (unsigned)bug) != 0;
}

static inline struct origin origin_of(const struct msg *m)
{
	return (struct origin){m->src, m->via, m->id};
}

/* --- replica.c --- */
bool replica_fenced(const struct replica *r);
/* Fills in addresses and sends. A reply that cannot leave is lost: who asks, asks again. */
void replica_reply(struct replica *r, struct origin to, struct msg *m);
/* Checks common to all requests for a file. OK, with *out set; otherwise *out may be NULL. */
enum status replica_admit(struct replica *r, file_id_t file, uint64_t map, uint64_t epoch,
                          bool serves_fenced, struct file_state **out);
/* Counts a refusal; returns the status. */
enum status replica_refuse(struct replica *r, enum status s);
/* A result of the store as a verdict. */
enum status replica_disk_status(struct replica *r, int result);

/* --- file_state.c --- */
struct file_state *file_get(struct replica *r, file_id_t file); /* NULL: limit reached */
void file_put_idle(struct replica *r, struct file_state *f); /* evicts past the limit */
void file_free(struct replica *r, struct file_state *f);
bool file_complete(const struct replica *r, const struct file_state *f);
/* A request is for the replica that `map` (placement_id()) places here. A later move than the one known: what
 * is here counts for nothing until a holder made it whole. WRONG_MAP, BUSY. */
enum status file_take_placement(struct replica *r, struct file_state *f, uint64_t map);
bool file_doubted(const struct replica *r, file_id_t file);
void file_check(const struct file_state *f); /* invariants */
/* True while changes of epochs below the seal are on their way. */
bool file_has_older(const struct file_state *f);
/* Makes the accepted record durable: from now on it exists. */
struct change *file_submit_record(struct replica *r, struct file_state *f);
/* The record, and with it what the server knows of the file, must exist before blocks do. */
void file_ensure_record(struct replica *r, struct file_state *f, uint64_t map, uint64_t epoch);

/* An install became durable: `closed` of the record counts for the block again. */
void file_end_exception(struct file_state *f, uint64_t block);
/* True while changes of the block are failing: nothing may follow them. */
bool block_broken(const struct file_state *f, uint64_t block);

struct block_state *block_find(const struct file_state *f, uint64_t block);
/* Version and own `closed` of a block after all accepted changes. */
struct store_block block_tip(const struct replica *r, const struct file_state *f, uint64_t block);
/* `closed` that counts for the block, given what its own and a file record say. */
uint64_t closed_of(const struct replica *r, const struct store_file *rec, uint64_t block,
                   const struct store_block *b);
/* Durable version, closed and seal of a block, as told to peers. */
struct durable {
	struct store_block block;
	uint64_t closed;
	uint64_t seal;
};
/* The durable file record; the exceptions point into the store. A record lost to damage shows as
 * one that knows nothing. */
bool file_durable(const struct replica *r, file_id_t file, struct store_file *out);
struct durable block_durable(const struct replica *r, file_id_t file, uint64_t block);

/* --- change.c --- */
struct change *change_new(struct replica *r, struct file_state *f, enum change_kind kind);
void change_submit(struct change *c, uint64_t block); /* block ignored for file changes */

/* --- one file per request --- */
void replica_write(struct replica *r, const struct msg *m);
void replica_write_done(struct change *c); /* WRITE and INSTALL */
void replica_answer_write(struct replica *r, struct origin to, enum msg_type type, enum status s,
                          file_id_t file, uint64_t block, struct version asked);
void replica_read(struct replica *r, const struct msg *m);
void replica_reads_retry(struct replica *r, file_id_t file, uint64_t block);
nsec_t replica_reads_tick(struct replica *r, nsec_t now);
void replica_reads_free(struct replica *r);
void replica_seal(struct replica *r, const struct msg *m);
void replica_seal_progress(struct replica *r, struct file_state *f, int result);
void replica_list(struct replica *r, const struct msg *m);
void replica_install(struct replica *r, const struct msg *m);
void replica_close(struct replica *r, const struct msg *m);
void replica_close_done(struct change *c);
void replica_space(struct replica *r, const struct msg *m);
uint64_t space_use(struct replica *r, server_id_t peer, uint64_t bytes);
nsec_t space_tick(struct replica *r, nsec_t now);
void space_free(struct replica *r);
void replica_forget(struct replica *r, const struct msg *m);
void collect_deleted(struct change *c);
nsec_t collect_tick(struct replica *r, nsec_t now);
void collect_stop(struct replica *r);
nsec_t scrub_tick(struct replica *r, nsec_t now);
void scrub_note_bad(struct replica *r, file_id_t file, uint64_t block, uint32_t page);
/* Pages of the block are replaced by what the message says. */
void scrub_note_fixed(struct replica *r, const struct msg *m);
/* A peer that asks for data: it, or the next one, is told of bad pages. */
void scrub_note_asker(struct replica *r, server_id_t peer);
void scrub_drop_asker(struct replica *r, server_id_t peer);
void scrub_note_deleted(struct replica *r, file_id_t file);
nsec_t doubt_tick(struct replica *r, nsec_t now);
void doubt_start(struct replica *r, uint64_t complete_from);
void doubt_load(struct replica *r);

/* --- check.c: requests come from untrusted bytes --- */
bool check_file(file_id_t file);
bool check_block(uint64_t block, uint8_t shift);
uint32_t block_bytes(uint64_t block, uint8_t shift);
bool check_write(const struct msg *m);
bool check_read(const struct msg *m);
bool check_install(const struct msg *m);
bool check_exceptions(struct span s);
