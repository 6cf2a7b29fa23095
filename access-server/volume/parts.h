/* Calls between the parts of the data path. volume_internal.h has the state they share. */
#pragma once

#include "access-server/volume/peers.h"
#include "access-server/volume/volume_internal.h"

/* --- volume.c --- */
void vol_enter(struct volume *v);            /* reads the clock; voids shared leases run out */
void vol_dispatch(struct volume *v, struct vol_req *req); /* session valid or not */
bool vol_send(struct volume *v, struct msg *m);
void vol_sync_check(struct volume *v);
#define VOL_BUG(v, bug) (((v)->config.bugs & (bug)) != 0)

/* --- file.c: admission --- */
enum need { NEED_NOTHING, NEED_SHARED, NEED_EXCLUSIVE };
bool file_lease_good(struct file *f, enum lease_mode mode); /* held, and good now, on the clock */
bool file_admits(struct file *f, const struct vol_req *req, enum need need);
void file_run(struct file *f);               /* something changed: see who can go on */
void file_progress(struct file *f);          /* records were made durable or settled, or active fell */
void file_active(struct file *f, int change);
void file_set_placement(struct file *f);     /* map and sites, from attr */
void file_touch(struct file *f);             /* its exclusive lease was used */
void file_lru_remove(struct file *f);
void file_requeue(struct file *f, struct vol_req *req); /* starts again under the lease to come */
bool file_idle(const struct file *f);

/* --- ops: each tries at once; false: it cannot yet, keep it waiting (something will call
 * file_run()); true: it is taken over or completed. */
enum need op_need(const struct file *f, const struct vol_req *req);
bool op_try(struct file *f, struct vol_req *req);
bool getattr_try(struct file *f, struct vol_req *req);
bool setattr_try(struct file *f, struct vol_req *req);
bool open_try(struct file *f, struct vol_req *req);
bool write_try(struct file *f, struct vol_req *req);
bool fsync_try(struct file *f, struct vol_req *req);
bool read_try(struct file *f, struct vol_req *req);
/* privs.c */
void privs_known(struct file *f);   /* file.attr is the truth: a lease or a change of ours brought it */
void privs_heard(struct file *f);   /* file.attr may be older than that */
void privs_unknown(struct file *f);
void privs_killed(struct file *f);  /* a change of ours may have removed security.capability */
/* True: what `req` takes away has to go first; it is tried again then. Under the exclusive lease. */
bool privs_strip(struct file *f, struct vol_req *req);

bool truncate_try(struct file *f, struct vol_req *req); /* SETATTR size, OPEN with TRUNC */
bool fallocate_try(struct file *f, struct vol_req *req);
bool seek_try(struct file *f, struct vol_req *req);
void setattr_after_truncate(struct file *f, struct vol_req *req, int rc);
void inode_ask(struct file *f, struct vol_req *req, void (*then)(struct file *f, struct vol_req *req));

/* --- lease.c --- */
void lease_ask(struct file *f, enum lease_mode mode);
void lease_granted(struct file *f, enum lease_mode mode, bool fresh);
void lease_drop_shared(struct file *f);      /* void: forget it, tell the kernel */
/* Taken by another (0: by whom is not known): buffer and handles are lost. */
void lease_lost(struct file *f, const char *why, server_id_t by);
void lease_sealed(struct file *f, uint64_t seal); /* a server showed a seal above our epoch */
void lease_inval_kernel(struct file *f);
void lease_inval_forget(struct file *f);
void lease_fencing(struct volume *v);        /* the session is about to run out */
void lease_none(struct file *f);             /* forgets everything that was true under it */
void lease_session_ended(struct volume *v, session_id_t old);
void lease_bound(struct volume *v);          /* too many idle ones: gives some back */
void file_fail(struct file *f);              /* drops the buffer, marks the handles lost */

/* --- recall.c --- */
void recall_arrived(struct volume *v, uint64_t ino, unsigned what, unsigned to, uint64_t id);
void recall_start(struct file *f);           /* if there is one and its time has come */
void recall_step(struct file *f);
void give_back(struct file *f, enum lease_mode to);
void recall_invalidated(struct volume *v, uint64_t cookie);

/* --- block.c --- */
struct block {
	UT_hash_handle hh;
	struct file *f;
	uint64_t no;
	struct block *prev, *next;      /* of volume.dirty or volume.clean_lru */
	server_id_t server[REPLICAS];
	bool known;                     /* version is */
	struct version version;         /* newest given out (or found) */
	uint32_t pages;                 /* stored at `version`; an upper bound while... */
	struct version pages_at;        /* ...this, of which a replica told, is older */
	struct version freed;           /* newest settled: replicas not stale have it */
	struct version durable[REPLICAS]; /* as acknowledged */
	struct record *records;         /* not settled, oldest first */
	uint64_t sent[REPLICAS];        /* n of the newest record sent, in order */
	nsec_t sent_at[REPLICAS];
	uint32_t paid[REPLICAS];        /* for the write about to be added */
	nsec_t wait[REPLICAS];          /* until unacknowledged ones are sent again */
	uint8_t probing;                /* bit: only the oldest was sent again; the rest after its ack */
	uint8_t want_stale;             /* bit: hopeless (a gap we cannot fill, disk, no space) */
	uint8_t ahead;                  /* bit: said AHEAD */
	uint8_t no_space;
	bool stuck;                     /* a record of it can never be taken */
	uint8_t bad;                    /* bit: has a bad page, copy all of it */
	uint8_t only_bad;               /* bit: stale for nothing else, so its good pages can be read */
	nsec_t gap_at[REPLICAS];
	unsigned retain;                /* copies under way: records stay until they are done */
	bool gathering;                 /* on volume.gathering: has records that were not sent yet */
	struct block *gprev, *gnext;
	struct vol_timer timer;
};
#define BLOCKS_CLEAN_MAX 262144
struct block *block_find(struct file *f, uint64_t no);
struct block *block_get(struct file *f, uint64_t no); /* needs f->map */
struct block *block_known(struct file *f, uint64_t no); /* NULL: being learnt, file_run() follows */
uint8_t block_stale(struct file *f, const struct block *b);
uint8_t stale_mask(struct file *f, uint64_t no, const server_id_t server[REPLICAS]);
void file_set_map(struct file *f, struct map *map); /* of its version; NULL: not here yet */
bool file_place(struct file *f, uint64_t no, server_id_t out[REPLICAS]);
uint64_t file_placement(const struct file *f, server_id_t s); /* placement_id() of its replica there */
/* Replicas of a block by nearness, stale ones left out. Returns how many. */
unsigned replicas_by_nearness(struct file *f, uint64_t no, unsigned order[REPLICAS],
                              server_id_t server[REPLICAS]);
void block_learnt(struct block *b, struct version version, uint32_t pages); /* if not known yet */
void block_clean(struct block *b);       /* no records: into the LRU */
void block_drop(struct block *b);
void blocks_drop(struct file *f);
void blocks_evict(struct volume *v);
void learns_cancel(struct file *f);
static inline uint64_t file_block_bytes(const struct file *f)
{
	return (uint64_t)1 << f->attr.block_shift;
}
bool file_behind(const struct file *f, server_id_t s);
void file_behind_add(struct file *f, server_id_t s);
void file_behind_remove(struct file *f, server_id_t s);

/* --- writer.c --- */
struct record {
	struct record *prev, *next;     /* of the block */
	struct record *uprev, *unext;   /* of file.unflushed */
	struct record *kprev, *knext;   /* of file.kept */
	struct block *b;
	uint64_t n;
	uint64_t gate;                  /* not sent before everything up to it is flushed */
	struct version before, version;
	uint8_t op;
	uint32_t off, len;
	struct slice data;
	uint64_t *sums;
	unsigned sums_n;
	uint64_t charged;               /* against the write buffer */
	uint32_t paid[REPLICAS];        /* of what the replica promised */
	bool flushed;
	uint8_t sent;                   /* bits: to whom; bytes and number are fixed then */
	struct version floor[REPLICAS]; /* what the replica had when it was first sent */
	nsec_t flushed_at;
};
/* Takes over the reference of `data`. The block must be known. Small records leave within 4 ms, or
 * with the next writer_push(). */
void writer_add(struct file *f, struct block *b, enum write_op op, uint32_t off, uint32_t len,
                struct slice data, uint64_t gate);
void writer_recv(struct volume *v, const struct msg *m);
void writer_peer_up(struct volume *v, server_id_t peer);
void writer_drop(struct file *f);        /* every record, unsent or not */
void block_send(struct block *b);
void block_send_to(struct block *b, unsigned i); /* what replica i was not sent yet */
void block_resend(struct block *b, unsigned i);  /* all it did not acknowledge */
void block_settle(struct block *b);
void file_settle(struct file *f);        /* all its dirty blocks */
void writer_ungate(struct file *f);      /* a flush point was passed */
void writer_pressure(struct volume *v);
uint64_t block_cost(uint32_t off, uint32_t len);
void room_retry(struct volume *v);
void room_leave(struct file *f);
bool room_waits(const struct file *f);  /* some write of it for buffer or space */
bool space_waits(const struct file *f); /* for space */

/* --- gather.c --- */
#define GATHER_RECORD (64u << 10)        /* a record of this size is worth a message of its own */
void block_gather(struct block *b, const struct record *r, uint32_t len); /* `len` came to record r */
void block_gathered(struct block *b);    /* nothing of it waits for company any more */
void writer_push(struct volume *v);      /* somebody waits: what was gathered leaves now */

/* --- pages.c: how much of the file is stored --- */
void pages_written(struct block *b, enum write_op op, uint32_t off, uint32_t len);
void pages_told(struct block *b, struct version at, uint32_t pages); /* by a replica */

/* --- lost.c: pages that no replica can read --- */
void lost_add(struct file *f, uint64_t no, uint32_t page);
bool lost_has(const struct file *f, uint64_t no, uint32_t page);
bool lost_in_part(const struct file *f, uint64_t off, uint64_t end); /* such a page would be written in part */
void lost_written(struct file *f, uint64_t no, uint32_t off, uint32_t len);
void lost_forget(struct file *f);

/* --- flush.c --- */
bool file_flushed(const struct file *f, uint64_t n); /* two replicas that count have all up to n */
void flush_wait(struct file *f, struct vol_req *req, uint64_t n);
void flush_check(struct file *f);
void sync_submit(struct volume *v, struct vol_req *req);

/* --- attr_record.c --- */
struct attr_record {
	uint64_t size, atime, mtime, ctime, trim_from;
	struct version trim_at;
};
#define ATTR_RECORD_BYTES 60
void attr_record_encode(const struct attr_record *a, uint8_t page[PAGE_BYTES]);
MUST_CHECK int attr_record_decode(const uint8_t *p, size_t len, struct attr_record *out);
bool attr_write(struct file *f);         /* false: the block's version is not known yet */
void attr_dirty(struct file *f, bool size);
void attr_now(struct file *f, bool modified); /* times of a change of data */

/* --- reader.c --- */
void reads_abort(struct file *f);        /* requests go back to the waiting ones */
bool reader_interrupt(struct file *f, struct vol_req *req);
/* Checks a read reply against the page sums. */
bool read_reply_good(struct file *f, const struct msg_read_reply *r, struct slice payload);
unsigned bits_count(struct span bits, unsigned n);
static inline bool bit_get(struct span bits, unsigned i)
{
	return i / 8 < bits.len && (bits.p[i / 8] >> i % 8 & 1);
}
static inline void bit_set(uint8_t *bits, unsigned i)
{
	bits[i / 8] |= (uint8_t)(1u << i % 8);
}

/* --- scan.c: which blocks in [first, last] exist --- */
struct scan_entry {
	uint64_t no;
	bool holes;
	uint32_t pages;
	struct version version;
};
struct scan {
	struct scan *prev, *next;
	struct file *f;
	uint64_t first, last;
	struct scan_entry *entry;  /* ascending once done */
	unsigned n, capacity;
	unsigned servers;
	struct scan_server *server;
	struct vol_timer timer;
	bool finished;
	void (*done)(struct scan *s);
	void *ctx;
};
struct scan *scan_start(struct file *f, uint64_t first, uint64_t last, void (*done)(struct scan *s), void *ctx);
void scan_free(struct scan *s);
unsigned file_servers(struct file *f, server_id_t *out, unsigned max, int site_index);

/* Operations that begin with a scan. Under the lease they began with, run() is called with the result;
 * true: it ended the operation (scan_op_end()). */
struct scan_op {
	struct scan_op *prev, *next;
	struct file *f;
	struct vol_req *req;
	uint64_t epoch;
	struct scan *scan;
	void (*run)(struct scan_op *op);
	/* seek.c: */
	unsigned at, tried;
	uint64_t pos;
	struct rpc *rpc;
	struct vol_timer timer;
};
void scan_op_start(struct file *f, struct vol_req *req, uint64_t first, uint64_t last,
		   void (*run)(struct scan_op *op));
void scan_op_end(struct scan_op *op);
void scans_abort(struct file *f);
bool scan_op_interrupt(struct file *f, struct vol_req *req);
struct block *scan_block(struct file *f, const struct scan_entry *e); /* with the version found */

/* --- truncate.c --- */
void truncate_progress(struct file *f);

#define PAGE_UNKNOWN UINT32_MAX
/* --- recovery.c, repair.c, copy.c --- */
void recovery_start(struct file *f);
void recovery_abort(struct file *f);
void recovery_failed(struct file *f);        /* gives the lease back unclean: the next grant recovers */
bool recovery_block_waits(struct file *f, uint64_t no);
/* Some block of [off, end) has its newest version on one server, with a bad page, and whoever could tell
 * whether that counts is missing: -EIO until then. */
bool recovery_refuses(const struct file *f, uint64_t off, uint64_t end);
void recovery_refuse(struct file *f, uint64_t no);
void recovery_write(struct file *f); /* zeroes what recovery must, once the lease is served */
void repair_kick(struct file *f, nsec_t after);
void repair_soon(struct file *f); /* it was just granted */
/* Until when repair goes on although the file is recalled; 0: it does not. */
nsec_t repair_turn(const struct file *f);
void repair_stop(struct file *f);
void repair_copy_ended(struct volume *v); /* another may begin */
void repair_poll_start(struct volume *v);
void repair_note_blank(struct file *f, server_id_t server);
void repair_note_bad(struct file *f, uint64_t no, server_id_t server, uint32_t page); /* PAGE_UNKNOWN */
/* A core server told of a page of its own that nobody repaired yet. */
void repair_told(struct volume *v, const struct msg *m);
bool repair_was_told(const struct file *f);
void repair_take_told(struct file *f);  /* marks them: under the exclusive lease */
void repair_forget_told(struct volume *v, uint64_t ino);
void repair_peer_up(struct volume *v, server_id_t peer);

/* --- more of file.c, handle.c, calls.c --- */
void file_destroy(struct file *f);       /* with everything it has; no request may be left */
void reap(struct volume *v);
bool file_give_up_orphan(struct file *f); /* false: it is open here */
void file_deleted(struct file *f); /* a linearizable answer said so; its lease and blocks may be gone after */
void file_waiting_fail(struct file *f);   /* those with lost handles get -EIO */
void close_submit(struct file *f, struct vol_req *req);
void flush_submit(struct file *f, struct vol_req *req);
void holder_attr_arrived(struct volume *v, const struct msg *m);
void holder_attr_progress(struct file *f);
void file_complete_attr(struct file *f, struct vol_req *req, int rc); /* with attributes */
static inline bool file_regular(const struct file *f)
{
	return (f->attr.mode & 0170000) == 0100000;
}

/* A call to the catalog on behalf of a request. then() gets the reply (NULL: the session ended) and
 * the request, which is NULL when it was interrupted. */
struct req_call {
	struct session_call call;
	struct req_call *prev, *next;
	struct volume *v;
	struct file *f;
	struct vol_req *req;
	uint64_t seq;
	void (*then)(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq);
};
void req_call(struct file *f, struct vol_req *req, const struct msg *m,
              void (*then)(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq));
bool req_call_interrupt(struct volume *v, struct vol_req *req);
void req_calls_free(struct volume *v);

void lease_init(struct file *f);
void lease_fini(struct file *f);
void repair_init(struct file *f);
void block_timer(struct block *b);

/* --- more of lease.c and recall.c --- */
void lease_call(struct file *f, const struct msg *m, void (*done)(struct session_call *c, const struct msg *m));
struct file *lease_call_end(struct session_call *c, uint64_t *seq);
void lease_reclaim(struct file *f);
void stale_tell_clean(struct file *f); /* stale_told.c: nothing is stale, the catalog may say so */
void recall_timer(struct file *f);
void recall_ask_timer(struct file *f); /* the same while a lease is asked for */
/* attr_asked.c: the kernel asks for attributes of the file; the answer is with the kernel. */
void loss_note(struct file *f, const char *why, server_id_t by); /* losses.c */
void attr_asked(struct file *f, struct vol_req *req);
void attr_answered(struct volume *v, uint64_t ino);
/* It still waits for such an answer, and the invalidation that has been due since then should, too. */
bool attr_awaited(const struct file *f, nsec_t since);
bool attr_valid_in_kernel(const struct file *f, nsec_t slack); /* it may believe what it was told */
void repair_poll_next(struct volume *v);
/* Takes the file under a lease for repair alone; NULL: it is in use here. */
struct file *repair_take(struct volume *v, uint64_t ino);
void follow_start(struct volume *v); /* move.c */
void move_poll(struct volume *v); /* asks for a file to move, and moves it */
void move_stop(struct volume *v);
/* The file is held, and nothing of it lags: goes on with the move that is wanted. False: there is none. */
bool move_go(struct file *f);
/* fill.c: the replica that is to move is made whole where it goes. */
enum fill_state { FILL_RUNS, FILL_READY, FILL_FAILED };
enum fill_state fill_run(struct file *f); /* goes on; repair_kick() when it is to be called again */
bool fill_ready(const struct file *f);
void fill_pause(struct file *f);          /* ends it, unless it is ready: writes are still noted then */
void fill_stop(struct file *f);
void fill_note_write(struct file *f, uint64_t no);
/* The release is the move, and f->stale what the new replica lacks. False: nothing is to be moved. */
bool fill_release(struct file *f, struct msg_op_release *m);
/* placement_id() of the replica that is to come, if `s` is one of its servers. */
bool fill_placement(const struct file *f, server_id_t s, uint64_t *id);
void repair_succeeded(struct file *f); /* something was copied: it is not without hope */
