/* What the parts of the store share. Private to core-server/store.
 *
 * A change passes: submit.c (admission, order) -> prepare.c (old pages read and merged, large data
 * written to new space) -> journal.c (one record and one sync for all that wait) -> apply.c (durable:
 * becomes the state that reads see) -> checkpoint.c (moves it to the data file and the kv). */
#pragma once

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#include <uthash.h>
#include <utlist.h>
#pragma GCC diagnostic pop

#include "common/base/mem.h"
#include "core-server/store/store.h"

#define LEAF_SHIFT 6
#define LEAF_PAGES (1u << LEAF_SHIFT)
#define SEAL_UNKNOWN UINT64_MAX  /* the record is lost: nothing may be accepted */
#define LOC_NONE UINT32_MAX      /* page numbers of the data file: 16 TiB a store at most */
#define LOC_LOST (LOC_NONE - 1)  /* the page has a sum, and no bytes that fit it are known */
#define JOURNAL_FIRST (2 * (uint64_t)PAGE_BYTES) /* behind the two header blocks */
#define INDEX_SLACK ((uint64_t)16 << 20) /* old versions of pages of the tree, and the reserve's */
#define GROW_BYTES ((uint64_t)256 << 20)
#define BATCH_BYTES_MAX (2u << 20)  /* of gathered requests; a single one may be larger */
#define BATCH_OPS_MAX 1024

/* Memory of journal records: overlay pages point into it until a checkpoint wrote them home. */
struct jbuf {
	struct store *store;
	uint8_t *mem;
	struct iobuf *io;
	uint64_t bytes;
	uint32_t refs;
};

/* Pages of a leaf that live in memory (and in the journal). */
struct overlay {
	uint64_t mask;
	uint8_t *page[LEAF_PAGES];
	struct jbuf *buf[LEAF_PAGES];
};

/* Page table of 64 pages of a block: the unit kept in the kv. */
struct leaf {
	uint64_t present;          /* absent pages are holes */
	uint32_t loc[LEAF_PAGES];  /* LOC_NONE: only in the overlay yet; LOC_LOST */
	uint64_t sum[LEAF_PAGES];
	struct overlay *overlay;
};

static inline bool loc_real(uint32_t loc)
{
	return loc < LOC_LOST;
}

struct block_key {
	file_id_t file;
	uint64_t block;
};

struct blk {
	struct block_key key;
	struct file *file;
	uint8_t shift;             /* 0: unknown, no record and no write yet */
	bool exists, damaged;
	bool in_kv;                /* the kv has a record that counts */
	bool preparing;            /* one request at a time reads and merges */
	bool dirty, cut;           /* on store.dirty_blks / store.cut_blks */
	unsigned refs;             /* requests that hold it */
	unsigned leaves_n;
	struct version version;
	uint64_t closed;
	uint32_t pages;            /* present ones */
	uint64_t dirty_leaves, cut_leaves;
	uint64_t fail_below;       /* requests submitted before this number fail with the chain */
	struct leaf **leaves;      /* NULL: not loaded */
	struct op *inflight;       /* in a journal batch, not durable; in order */
	unsigned zeroing;          /* of them, those after which a page has no place */
	struct blk *fprev, *fnext; /* of the file */
	struct blk *dprev, *dnext; /* dirty or cut list */
	struct blk *cprev, *cnext;
	struct blk *prev, *next;   /* least recently used first */
	UT_hash_handle hh;
};

struct file {
	file_id_t id;
	struct store_file rec;     /* owns rec.exception */
	bool exists;
	bool in_kv;
	bool kv_dead;              /* what the kv has of it is deleted, not removed yet */
	bool dirty, cut, cut_removed;
	bool deleting;             /* a DELETE is on its way */
	unsigned refs;
	unsigned preparing;        /* requests between start and journal */
	struct op *waiting;        /* in order */
	struct blk *blks;          /* in memory */
	uint64_t *fresh;           /* blocks without a record in the kv, ascending */
	size_t fresh_n, fresh_max;
	struct file *dprev, *dnext, *cprev, *cnext, *prev, *next;
	UT_hash_handle hh;
};

/* --- a change as journal records carry it --- */
enum run_kind { RUN_ZERO = 0, RUN_JOURNAL = 1, RUN_EXTENT = 2, RUN_LOST = 3 };

struct run {
	uint16_t first, pages;     /* a 16 MiB block has 4096 pages */
	enum run_kind kind;
	uint32_t loc;              /* EXTENT: first page in the data file */
};

struct change {
	enum store_op op;
	file_id_t file;
	uint64_t block;
	uint8_t shift;
	bool repairs;              /* INSTALL of every page: ends `damaged` */
	struct version version;
	uint64_t closed, seal, map;
	unsigned runs_n;
	unsigned data_pages;       /* with a sum: all but those of RUN_ZERO */
	struct run *runs;
	uint64_t *sums;            /* of data pages, in order */
	struct store_file record;  /* FILE */
};

/* Completion that waits for the owner loop to come round. */
struct later {
	void (*fn)(struct later *l);
	struct later *prev, *next;
};

/* Reads of the data file that began and did not end: their pages must not change. */
struct read_guard {
	uint64_t seq;
	struct read_guard *prev, *next;
};

/* A page that a request covers in part. */
struct old_page {
	struct op *op;
	struct disk_req io;
	struct read_guard guard;
	uint32_t page;
	uint64_t sum;
	uint8_t *mem;
};

/* A request on its way to the journal. */
struct op {
	struct change c;
	struct store *store;
	struct store_req *req;
	struct file *file;
	struct blk *blk;           /* NULL: FILE, DELETE */
	uint64_t seq;              /* order of submission */
	struct iobuf *data;
	const uint8_t **src;       /* data pages, in order */
	uint64_t patience;         /* checkpoints to wait for before ENOSPC */
	uint64_t cost;             /* bytes counted against cache_bytes until they are in a jbuf */
	uint64_t reserved;         /* pages promised by space.c */
	uint64_t grant;            /* of req->grant_bytes, what is not spent yet */
	bool large;
	bool admitted, preparing, in_batch;
	int result;
	unsigned reads_left;       /* old pages being read */
	unsigned writes_left;      /* large data being written */
	struct iobuf *scratch;     /* merged first and last page */
	struct iobuf *bounce;      /* copy of unaligned or scattered large data */
	struct old_page old[2];
	unsigned old_n;
	struct data_write *writes;
	struct later later;
	struct op *prev, *next;    /* admission queue, file's waiting list or journal queue */
	struct op *bprev, *bnext;  /* block's inflight list */
};

struct data_write {
	struct op *op;
	struct disk_req io;
};

struct grain {                 /* freed pages that wait for a checkpoint or for readers */
	uint32_t loc;
	uint32_t pages;
};
struct grains {
	struct grain *v;
	size_t n, max;
};

struct space {
	uint64_t *used;            /* bit per page: not to be given out */
	uint64_t *committed;       /* bit per page: the kv refers to it */
	uint8_t *chunk_dirty;      /* per SPACE_CHUNK_PAGES: `committed` changed since written */
	uint64_t pages;            /* size of the data file */
	uint64_t pages_max;
	uint64_t free;             /* pages with used == 0 */
	uint64_t reserved;         /* promised to requests under way and to overlay pages without space */
	uint64_t granted;          /* bytes, promised to peers */
	bool refused;              /* the last who asked did not get all */
	uint64_t cursor;           /* next fit */
	uint64_t superseded;       /* committed pages that the next checkpoint gives back */
	struct grains next;        /* never committed, freed since the last cut */
	struct grains cut;         /* freed when the running checkpoint ends */
	struct grains limbo;       /* freed once readers up to limbo_seq are gone */
	uint64_t limbo_seq;
};

struct batch {
	bool busy;
	bool data;                 /* the data file must be synced too */
	struct op *ops;
	unsigned ops_n;
	struct jbuf *buf;
	uint64_t off, bytes;       /* in the journal */
	uint64_t head_bytes;
	unsigned left;             /* outstanding writes, then syncs */
	struct disk_req write, sync, data_sync;
};

struct footprint {             /* of the last record, repeated by the next */
	enum store_op op;
	file_id_t file;
	uint64_t block;
	uint64_t seal;
};

struct journal {
	struct disk_file *file;
	uint64_t bytes;
	uint64_t salt;
	uint64_t seq;              /* of the last durable record; 0: none yet */
	uint64_t head;             /* where the next one goes */
	uint64_t tail;             /* first byte still needed */
	uint64_t used;             /* bytes between */
	uint64_t cut_seq, cut_head, cut_used; /* of the running checkpoint */
	struct footprint *last;
	unsigned last_n;
	bool sealed;               /* an empty record vouches for the last one */
	nsec_t written;            /* when */
	struct op *ready;          /* prepared, waiting for a batch */
};

struct checkpoint;
struct replay;
struct scrub;

struct waiter {
	struct store *store;
	bool answered;             /* done() is on its way */
	void (*done)(void *ctx, int rc);
	void *ctx;
	uint64_t seq;
	struct later later;
	int rc;
	struct waiter *prev, *next;
};

struct store {
	struct disk *disk;
	struct kv *kv;
	struct store_config config;
	struct disk_file *data;
	uint64_t cluster;
	server_id_t server;
	uint64_t start;
	int failed;                /* final */
	char why[256];
	bool serving;
	uint64_t damaged;
	uint64_t submit_seq;       /* number of the last request */
	unsigned ops_n;            /* requests not answered yet */

	struct blk *blks;
	struct blk *blk_lru;
	struct file *files;
	struct file *file_lru;
	struct blk *dirty_blks, *cut_blks;
	struct file *dirty_files, *cut_files;
	file_id_t *fresh_files;
	size_t fresh_n, fresh_max;
	uint64_t index_bytes;      /* in memory */
	uint64_t dirty_bytes;      /* of it, dirty or cut leaves */
	nsec_t dirty_since;

	uint64_t overlay_bytes;    /* jbufs */
	uint64_t admitted_bytes;   /* costs of requests not yet in one */
	struct op *queue;          /* not admitted yet */
	struct op *failing;        /* answer is on its way */
	struct op *merging;        /* old pages are being read */
	struct op *no_space;       /* wait for a checkpoint to give space back */
	bool pumping;

	struct journal journal;
	struct batch batch;
	struct space space;
	struct checkpoint *checkpoint;
	struct waiter *waiters;
	uint64_t checkpoints;      /* completed */

	uint64_t read_seq;
	struct read_guard *reads;  /* oldest first */
	struct reading *readings;
	struct later *later;
	struct disk_req nop;
	bool nop_busy;
	bool kick;                 /* a journal batch should start when the loop comes round */

	struct replay *replay;
	struct scrub *scrub;
};

/* store.c */
void store_fail(struct store *s, int rc, const char *fmt, ...) PRINTF(3, 4);
void store_later(struct store *s, struct later *l);
void store_kick(struct store *s);
void store_io(struct store *s, struct disk_req *r, enum disk_op op, struct disk_file *f, uint64_t off,
              void *p, size_t len, void (*done)(struct disk_req *));
/* A write with its sync. */
void store_io_durable(struct store *s, struct disk_req *r, struct disk_file *f, uint64_t off, void *p,
                      size_t len, void (*done)(struct disk_req *));
struct jbuf *jbuf_new(struct store *s, uint64_t bytes); /* refs = 1 */
void jbuf_put(struct jbuf *b);

/* index.c: everything returned lives in the cache */
struct file *index_file(struct store *s, file_id_t id);
struct blk *index_blk(struct store *s, file_id_t file, uint64_t block);
struct leaf *index_leaf(struct store *s, struct blk *b, unsigned i, bool make);
struct leaf *index_leaf_new(struct store *s, struct blk *b, unsigned i);
void index_set_shift(struct store *s, struct blk *b, uint8_t shift);
void index_dirty(struct store *s, struct blk *b, unsigned leaf);
void index_dirty_head(struct store *s, struct blk *b);
void index_dirty_file(struct store *s, struct file *f);
void index_trim(struct store *s);
void index_free(struct store *s);
uint64_t index_leaf_cost(void);
void index_drop_leaf(struct store *s, struct blk *b, unsigned i);
void index_forget_blocks(struct store *s, struct file *f);
void index_fresh_add(uint64_t **v, size_t *n, size_t *max, uint64_t x);
void index_fresh_del(uint64_t *v, size_t *n, uint64_t x);
void index_damage(struct store *s, struct blk *b);
static inline unsigned blk_pages(const struct blk *b)
{
	return b->key.block == BLOCK_ATTR ? 1 : 1u << (b->shift - PAGE_SHIFT);
}

/* space.c */
void space_init(struct store *s, uint64_t pages);
void space_fini(struct store *s);
void space_mark(struct store *s, uint32_t loc, uint32_t pages); /* used, idempotent */
void space_commit(struct store *s, uint32_t loc, bool on);      /* `committed` bit */
bool space_committed(const struct store *s, uint32_t loc);
void space_spend(struct store *s, struct op *op);
bool space_reserve(struct store *s, uint64_t pages, bool privileged, uint64_t grant_bytes);
/* Up to `want` pages in a row out of a reservation; 0 only without one. */
uint32_t space_alloc(struct store *s, uint32_t want, uint32_t *loc);
void space_supersede(struct store *s, uint32_t loc);
void space_release(struct store *s);   /* limbo, as far as readers allow */
void space_cut(struct store *s);
void space_give_back(struct store *s, uint32_t loc, uint32_t pages); /* with the running checkpoint */
void space_cut_done(struct store *s);
bool space_coming(const struct store *s);
int space_load(struct store *s);
int space_save(struct store *s);
void space_rebuild(struct store *s);
void space_hold_index(struct store *s); /* as far as the file system allows */

/* submit.c, prepare.c */
void submit_pump(struct store *s);
void submit_pump_file(struct store *s, struct file *f);
void submit_wait_space(struct op *op);
void submit_retry_space(struct store *s);
void op_fail(struct op *op, int rc);
void op_free(struct op *op);
void op_ready(struct op *op);
void op_landed(struct op *op);    /* durable or failed: in flight no more */
void prepare_copy(struct op *op); /* takes copies of what the request only lends */
void prepare_start(struct op *op);
void prepare_free(struct op *op);

/* journal.c */
void journal_push(struct op *op);
void journal_data_written(struct op *op);
void journal_start(struct store *s);
void journal_fini(struct store *s);
void journal_seal(struct store *s);

/* record.c */
#define RECORD_HEAD_BYTES 64
struct record {
	uint64_t seq, off, salt;
	uint64_t head_bytes;   /* header and entries, whole pages */
	uint64_t data_pages;
	uint32_t ops_n, last_n;
	uint64_t body_bytes;
};
size_t record_change_bytes(const struct change *c);
uint8_t *record_put_change(uint8_t *p, const struct change *c);
size_t record_footprint_bytes(unsigned n);
uint8_t *record_put_footprint(uint8_t *p, const struct footprint *f);
void record_seal(uint8_t *page, const struct record *r);
bool record_get_head(const uint8_t *page, uint64_t off, uint64_t salt, struct record *r);
bool record_body_good(const uint8_t *page, const struct record *r);
struct cursor;
bool record_take_footprint(struct cursor *c, struct footprint *f);
bool record_take_change(struct cursor *c, struct change *out); /* allocates runs, sums, exceptions */
void change_fini(struct change *c);

/* apply.c */
/* Makes `c` the durable state. `pages`: the change's RUN_JOURNAL pages in order, inside `buf`. */
void apply_change(struct store *s, const struct change *c, struct jbuf *buf, uint8_t *pages);
void apply_damage(struct store *s, const struct footprint *f);

/* checkpoint.c */
void checkpoint_want(struct store *s);
bool checkpoint_useful(const struct store *s);
void checkpoint_step(struct store *s);
void checkpoint_free(struct store *s);
nsec_t checkpoint_interval(const struct store *s);
bool checkpoint_due(const struct store *s, nsec_t now);

/* read.c */
void guard_begin(struct store *s, struct read_guard *g);
void guard_end(struct store *s, struct read_guard *g);
void read_free(struct store *s);
bool guard_clear(const struct store *s, uint64_t seq); /* no read older than `seq` */

/* open.c */
void replay_start(struct store *s, void (*done)(void *ctx, int rc), void *ctx);
void replay_free(struct store *s);

/* format.c: records of the kv */
struct superblock {
	uint64_t cluster;
	server_id_t server;
	uint64_t salt, start;
	uint64_t journal_bytes;
	uint64_t seq, head;    /* checkpointed: replay begins here */
	uint64_t data_bytes;   /* size of the data file then, at least */
};
MUST_CHECK int format_get_super(struct kv *kv, struct superblock *out);
MUST_CHECK int format_put_super(struct kv *kv, const struct superblock *sb);
MUST_CHECK int format_get_file(struct kv *kv, file_id_t id, struct store_file *out);
MUST_CHECK int format_put_file(struct kv *kv, file_id_t id, const struct store_file *f);
MUST_CHECK int format_get_blk(struct kv *kv, struct blk *b);
MUST_CHECK int format_put_blk(struct kv *kv, const struct blk *b);
MUST_CHECK int format_get_leaf(struct kv *kv, const struct block_key *k, unsigned i, struct leaf *l);
MUST_CHECK int format_put_leaf(struct kv *kv, const struct block_key *k, unsigned i,
                               const struct leaf *l);
MUST_CHECK int format_get_chunk(struct kv *kv, uint64_t chunk, uint64_t *bits);
MUST_CHECK int format_put_chunk(struct kv *kv, uint64_t chunk, const uint64_t *bits);
#define SPACE_CHUNK_PAGES 8192u
/* First key of a kind at or after: false at the end. */
bool format_next_file(struct kv *kv, file_id_t from, file_id_t *out);
bool format_next_blk(struct kv *kv, file_id_t file, uint64_t from, uint64_t *out);
/* First leaf record of the file; false at the end. */
bool format_next_leaf(struct kv *kv, file_id_t file, struct block_key *k, unsigned *i);
MUST_CHECK int format_del_file(struct kv *kv, file_id_t id);
MUST_CHECK int format_del_blk(struct kv *kv, const struct block_key *k);
MUST_CHECK int format_del_leaf(struct kv *kv, const struct block_key *k, unsigned i);
