/* What the parts of the volume share: its state, the state of a file, and who calls whom.
 *
 * volume.c      entry points, dispatch, completions      file.c     file table, attributes, admission
 * lease.c       ask, grant, reclaim                      recall.c   recall and handover
 * block.c       versions of blocks, learning them        writer.c   records: send, acknowledge, free
 * gather.c      when small records leave                 reader.c   reads, hedging, overlay
 * flush.c       fsync and friends                        pages.c    how much of a file is stored
 * attr_record.c size, times, pending trim                truncate.c truncate, punch, zero range
 * lost.c        pages that no replica can read
 * scan.c        which blocks exist                       seek.c     SEEK_DATA, SEEK_HOLE
 * recovery.c    after a holder that died                 repair.c   stale replicas; copy*.c: one block
 * space.c       grants                                   peers.c    core servers and requests to them
 * maps.c        cluster maps                             timer.c    the timer heap
 * move.c        replicas that go elsewhere; fill.c: made whole there before
 * names*.c      the namespace, attribute leases          locks.c    locks
 *
 * Rules for all of them: nothing calls vol_req.done directly, but vol_complete(), which delivers
 * from the next vol_tick(); whatever is true only under a lease is checked where it is used. */
#pragma once

#include <uthash.h>
#include <utlist.h>

#include "access-server/volume/volume.h"
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/wire/stale.h"

#define ATTR_VALID_MAX (500 * NSEC_MSEC)
#define REFUSED_MAX 4096 /* blocks of a file; with more the file is not served */
#define LOST_MAX 1024 /* pages of a file that are remembered */
#define EXCEPTIONS_MAX 65536 /* that a core server takes with a CLOSE */
#define COOKIE_NAMES ((uint64_t)1 << 63) /* cookies of invalidations that names.c asked for */

struct file;
struct block;
struct record;
struct peer;
struct scan;
struct scan_op;
struct learn;
struct rpc;
struct recovery;
struct repair;

/* --- timers: one heap per volume --- */
struct vol_timer {
	nsec_t due;
	unsigned slot; /* place in the heap + 1; 0: not armed */
	void (*fire)(struct volume *v, struct vol_timer *t);
};
struct timer_heap {
	struct vol_timer **heap;
	unsigned n, capacity;
};
void timer_set(struct volume *v, struct vol_timer *t, nsec_t due); /* arms or moves */
void timer_set_sooner(struct volume *v, struct vol_timer *t, nsec_t due);
void timer_stop(struct volume *v, struct vol_timer *t);
void timers_run(struct volume *v);
nsec_t timers_due(const struct volume *v);
void timers_free(struct volume *v);

/* --- a request inside the volume: lives in vol_req.backend --- */
struct req_state {
	struct vol_req *prev, *next; /* of the list the request is in (DL lists through req_state) */
	struct vol_req **list;       /* that list; NULL: none */
	struct file *f;
	uint64_t n;                  /* flush: everything up to this operation of the file */
	uint32_t step;               /* of multi-step operations */
	uint32_t flags;              /* enum req_flag */
	void *op;                    /* the owner's: a read, a scan, a call */
	void *names[4];              /* names*.c and locks.c: theirs while they have the request */
};
enum req_flag {
	REQ_INTERRUPTED = 1, /* the caller got a signal; end it where it may be ended */
	REQ_ATTR_ASKED = 2,  /* counted in file.attr_asking */
};
static_assert(sizeof(struct req_state) <= sizeof(((struct vol_req *)0)->backend), "fits");
static inline struct req_state *rs(struct vol_req *req)
{
	return (struct req_state *)(void *)req->backend;
}
/* FIFO lists of requests; a request is in at most one. */
void req_push(struct vol_req **list, struct vol_req *req);
void req_push_front(struct vol_req **list, struct vol_req *req);
void req_remove(struct vol_req *req); /* from whatever list it is in */
struct vol_req *req_pop(struct vol_req **list);

/* Ends a request: queued, delivered from the next vol_tick(). A reply that needs a valid session
 * waits there for one. Attribute outputs are filled in by the caller. */
void vol_complete(struct volume *v, struct vol_req *req, int rc);
int vol_status_errno(unsigned status); /* enum status as 0 or a negative errno */

/* --- open files --- */
struct handle {
	UT_hash_handle hh;
	struct handle *prev, *next; /* of the file */
	uint64_t id;
	struct file *f;
	bool lost; /* every call gives -EIO until closed */
	bool read_only;
};
void handle_open(struct volume *v, struct file *f, struct vol_req *req); /* fills out_handle */
bool handles_write(const struct file *f); /* something could be written through one of them */
struct handle *handle_find(struct volume *v, uint64_t id); /* NULL: no such handle */
void handle_close(struct volume *v, struct handle *h);

/* --- an inode known here --- */
enum file_phase {
	PHASE_IDLE,    /* no change of lease under way; file.lease says what may be done */
	PHASE_ASK,     /* op_lease is out; what file.lease allows goes on */
	PHASE_RECOVER, /* granted with recover = 1: nothing is served until recovery is done */
	PHASE_INVAL,   /* recalled: the kernel drops its pages; reads and writes go on */
	PHASE_DRAIN,   /* recalled: what runs is finished, new requests wait */
	PHASE_SETTLE,  /* recalled: waits for all replicas, or their stale bits */
	PHASE_RELEASE, /* op_release is out */
	PHASE_RECLAIM, /* the session ended: op_reclaim is out */
};

#define HOLDER_ASKS_MAX 8

struct lease_call {
	struct session_call call;
	struct volume *v;
	struct file *f; /* NULL when the file gave it up */
	uint64_t seq;
};

struct file {
	UT_hash_handle hh;
	UT_hash_handle hh_inval;  /* by inval_cookie, while the kernel drops pages */
	struct volume *v;
	uint64_t ino;

	/* For names.c. `attr`: the inode as last told by the catalog (valid if have_attr); size and
	 * times of a file held here are below, read them with file_fill_attr(). meta: the metadata
	 * lease is held. */
	struct msg_r_inode attr;
	bool have_attr;
	bool meta;
	bool gone;              /* an orphan that this server said it has not open */
	bool forgotten;         /* the kernel does not know it */
	bool suid, caps;        /* there may be some that a write has to take away: privs.c */
	void *names;            /* names*.c's own */
	void *locks;            /* locks.c's own */

	/* The lease on the data. */
	enum file_phase phase;
	enum lease_mode lease;
	enum lease_mode asked;
	uint64_t epoch;
	uint64_t above;         /* the highest seal met; 0: none above our epoch */
	uint64_t n;             /* operations given a number in this epoch */
	uint64_t flush_asked;   /* the last of them that somebody wanted durable; 0: none */
	uint64_t recall_seq;    /* vol_recall_seq() when it was last recalled */
	uint64_t recalled_id;   /* the highest of a recall of its data: older grants are void */
	nsec_t recalled_at;
	bool recalled;          /* and not yet acted upon, or being acted upon */
	enum lease_mode recall_to, release_to;
	uint64_t recall_id;
	bool served;            /* an operation was completed since the grant */
	bool unclean;           /* the next grant must recover */
	bool unserved;          /* recovery of this epoch failed: only to be given back */
	bool repair_only;       /* held for background repair: yields at once */
	bool give_back;         /* release without having been recalled */
	unsigned attr_asking;   /* GETATTRs of the kernel that are not answered (attr_asked.c) */
	nsec_t attr_taken_at;   /* the answers to the others have been taken by then */
	nsec_t attr_until;      /* no attributes that the kernel was told are valid any more */
	bool kernel_may_cache;  /* data or attributes went to the kernel since the last invalidation */
	nsec_t granted_at;
	uint64_t reclaim_session; /* the ended session, while PHASE_RECLAIM */
	struct lease_call *lease_call;
	struct vol_timer lease_timer;
	unsigned inval_rounds;
	bool inval_dirty;       /* requests were served during the invalidation */
	bool inval_pause;       /* between two of them */
	uint64_t inval_cookie;

	/* Requests: waiting for the lease, a version or a trim; running reads and scans. */
	struct vol_req *waiting;
	struct vol_req *flushing;   /* ordered by req_state.n */
	unsigned active;            /* operations that run under the lease */
	struct read_op *reads;
	struct scan *scans;
	struct scan_op *scan_ops;
	bool in_run;                /* file_run() is on the stack */
	bool run_again;

	/* Size and times of a file held here (shared: as granted). */
	uint64_t size, atime, mtime, ctime;
	uint64_t pages;             /* stored, no holes (pages.c) */
	bool size_dirty, times_dirty; /* against the newest attribute record */
	uint64_t trim_from;         /* pending trim, bytes; UINT64_MAX: none */
	struct version trim_at;
	uint64_t trim_n;            /* the trim is done when all up to this are durable */
	struct vol_timer attr_timer;
	bool attr_asked;            /* write the record as soon as its block's version is known */

	/* Blocks and their records. */
	uint16_t site[REPLICAS];
	uint32_t moved[REPLICAS];   /* which move brought the replica there; 0: none */
	struct map *map;            /* owned by maps.c; NULL: not fetched yet */
	struct block *blocks;       /* hash by number */
	bool all_known;             /* blocks not in the table have never been written */
	struct record *unflushed;   /* by n: not yet durable on two replicas that count together */
	struct record *kept;        /* by n: not yet settled on the third */
	unsigned records;
	uint64_t gate;              /* records wait until all up to this is flushed (trim order) */
	nsec_t settle_since;
	struct stale_map stale;
	bool stale_told;            /* the catalog's stale map of the file is not empty */
	server_id_t *behind;        /* servers of which no block counts (not sealed, or blank) */
	unsigned behinds;
	bool wants_repair;          /* seen while it was only read: the repairer takes it */
	struct learn *learns;
	struct recovery *recovery;
	bool recovery_waits;        /* some blocks had fewer than two sealed servers */
	uint64_t *refused;          /* blocks whose newest version is unreadable where it is known */
	unsigned refuseds;
	struct lost_page {
		uint64_t no;
		uint32_t page;
	} *lost;                    /* lost.c */
	unsigned losts;
	bool attr_wait_all;         /* no attribute record can be read: recovery needs all who may have it */
	bool recover_whole;         /* too many blocks would wait: none is served without the others */
	struct repair *repair;
	struct {
		bool wanted;
		uint16_t from, to;  /* as in op_move */
		uint64_t map;
	} to_move;                  /* move.c: once nothing lags */
	struct fill *fill;          /* fill.c */
	struct vol_timer repair_timer;
	int error;                  /* sticky: data was dropped while nobody had the file open */
	uint64_t losses;            /* how often what was acknowledged could have been dropped */

	struct handle *handles;
	struct file *lru_prev, *lru_next; /* files held exclusively, oldest use first */
	bool in_lru;
	bool reap;                        /* to be looked at by file_put_if_unused() */
	struct file *reap_next;
	bool cache_suspect;               /* the kernel was told to drop pages and has not answered */
	struct holder_ask {
		uint64_t id, n, size, atime, mtime, ctime;
		bool taken;
	} asks[HOLDER_ASKS_MAX];          /* the leader wants size and times, as soon as durable */
	unsigned asks_n;
};

struct file *file_find(struct volume *v, uint64_t ino);
struct file *file_get(struct volume *v, uint64_t ino); /* finds or makes */
void file_put_if_unused(struct file *f); /* frees it when nothing needs it: f may be gone after */
/* Takes over what an r_inode of the catalog says: attributes, and the leases it grants (meta,
 * lease = SHARED) unless the inode was recalled after `seq`, which is vol_recall_seq() at the time
 * the question was sent (replies and recalls overtake each other). Returns the file. */
struct file *file_take_inode(struct volume *v, const struct msg_r_inode *r, uint64_t seq);
/* The same for the reply to a change this server asked for: answers to older questions that are still
 * on their way will be ignored. */
struct file *file_take_change(struct volume *v, const struct msg_r_inode *r, uint64_t seq);
/* r_inode of a CREATE that asked for the exclusive lease: no block of the file exists yet. */
struct file *file_created_with_lease(struct volume *v, const struct msg_r_inode *r, uint64_t seq);
/* The inode as of now: the catalog's attributes with the size and times of a file held here. */
void file_fill_attr(struct file *f, struct msg_r_inode *out);
nsec_t file_attr_valid(struct file *f); /* how long the kernel may believe them, from now; >= 0 */
bool file_attr_cached(struct file *f);  /* file_fill_attr() is the truth without asking anybody */
uint64_t vol_recall_seq(struct volume *v);
bool vol_recalled_since(struct volume *v, uint64_t ino, uint64_t seq);

/* --- names*.c: LOOKUP READLINK CREATE LINK UNLINK RMDIR RENAME READDIR STATFS *XATTR.
 * names_submit() is called when the session is valid, with rs(req)->f unset. --- */
void names_init(struct volume *v);
void names_fini(struct volume *v);
void names_submit(struct volume *v, struct vol_req *req);
bool names_interrupt(struct volume *v, struct vol_req *req); /* true: it was there, and is ended */
/* A recall of the metadata lease: drop attributes (file.meta) and entries, have the kernel drop
 * them (ops->invalidate_entry, ops->invalidate), then send recall_ack (vol_send_recall_ack). */
void names_recall_meta(struct volume *v, uint64_t ino, uint64_t id);
void names_shared_void(struct volume *v); /* every metadata lease is void: drop all caches */
void names_invalidated(struct volume *v, uint64_t cookie); /* cookie has COOKIE_NAMES */
void names_file_free(struct file *f);     /* the file goes: free file.names */
void vol_send_recall_ack(struct volume *v, uint64_t ino, unsigned what, unsigned to, uint64_t id);

/* --- locks.c: GETLK SETLK, and what closing drops --- */
void locks_init(struct volume *v);
void locks_fini(struct volume *v);
void locks_submit(struct volume *v, struct vol_req *req);
bool locks_interrupt(struct volume *v, struct vol_req *req);
/* FLUSH: close(2) drops the POSIX locks of req->lock.owner. Takes the request over (completes it)
 * and returns true if there are some; false: nothing to do. */
bool locks_flush(struct volume *v, struct vol_req *req, struct file *f);
/* CLOSE: drops every lock taken through the handle, in the background. */
void locks_release(struct volume *v, struct file *f, uint64_t handle);
void locks_ready(struct volume *v, const struct msg_lock_ready *m);
bool locks_held(const struct file *f);
/* For op_reclaim: the locks held, in the form the catalog wants. Valid until the next call. */
struct span locks_encode(struct file *f);
void locks_lost(struct file *f);       /* the session ended and the file was taken: all are gone */
void locks_reclaimed(struct file *f);  /* op_reclaim was answered: what waited for that is sent */
void locks_file_free(struct file *f);

#define LOSSES_MAX 64 /* remembered */
#define BAD_TOLD_MAX 64 /* past it, the core servers tell again */

/* --- the volume --- */
struct volume {
	struct env *env;
	struct session *session;
	struct volume_config config;
	const struct volume_ops *ops;
	void *ctx;
	nsec_t now;                 /* of the entry point that runs */
	struct timer_heap timers;
	struct vol_stats stats;
	void *names, *locks;        /* their own state */

	struct file *files;
	struct file *invals;
	bool fence_told;            /* the kernel was told to drop all pages: the session may run out */
	struct handle *handles;
	uint64_t next_handle;
	struct file *held_lru;
	unsigned held;
	uint64_t next_cookie;
	uint64_t recall_seq, recall_unknown;
	uint64_t shared_void_seq; /* recall_seq when shared leases were void last */
	uint64_t unknown_id;      /* as recalled_id, of files that are not in memory */
	uint64_t taken_seq;       /* vol_recall_seq() when a lease was last asked for that was unknown here */
	nsec_t shared_until;        /* last seen: once passed, shared leases are gone for good */

	struct vol_req *done;       /* completed, to be delivered */
	struct vol_req *fenced;     /* came, or were to be answered, without a valid session */
	struct vol_req *syncing;    /* SYNC */
	struct req_call *calls;
	bool sync_check;
	struct file *reap;
	struct vol_req *room;       /* writes that wait for buffer, FIFO */
	struct vol_req *unpromised; /* writes that wait for space on two replicas of each block */
	bool in_room, room_blocked;
	struct vol_timer pressure;  /* looks for laggards when the buffer is half full */
	uint64_t buffered;
	struct block *gathering;    /* blocks with records that wait for more to leave with them */
	uint64_t gathered;          /* bytes of those */
	struct vol_timer push;      /* when they leave at the latest */
	struct block *dirty;        /* blocks with records */
	struct block *clean_lru;    /* blocks without: oldest use first */
	unsigned clean_blocks;

	struct peer *peers;
	struct rpc *rpcs;
	uint64_t next_id;
	struct vol_map_entry *maps;
	unsigned maps_taken;
	struct map *newest;
	uint64_t newest_wanted;
	struct vol_timer repair_poll;
	struct session_call repair_call;
	bool repair_asking;
	uint64_t repair_cursor;
	struct file *repairing;
	struct bad_told {           /* pages that core servers told of */
		uint64_t ino, block;
		server_id_t server;
		uint32_t page;
	} bad_told[BAD_TOLD_MAX];
	unsigned bad_tolds;
	struct vol_loss loss[LOSSES_MAX]; /* losses.c */
	unsigned next_loss;
	struct session_call move_call;
	bool move_asking;
	uint64_t moving;
	struct vol_timer follow;
	unsigned copies;            /* block copies under way */
	struct repair *copy_queue;  /* files with blocks to copy, when there are as many as may be */
};

/* Reads the clock: the session is good now (or the planted bug says so). */
bool vol_session_valid(struct volume *v);
void vol_log(struct volume *v, const char *key, const char *fmt, ...) PRINTF(3, 4);
