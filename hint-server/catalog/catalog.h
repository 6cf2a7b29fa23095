/* The catalog: what the whole cluster agrees on (design section 6) as a deterministic state
 * machine in a struct kv. Pure: no clock, no randomness, no I/O but the kv.
 *
 * Every voter applies the same log entries in the same order and holds the same bytes. Changes
 * (op_*) come in by catalog_apply() only; questions (q_*) and the getters below change nothing.
 * The caller decides *when* (leader, read index, recalls, liveness); the catalog decides *what*.
 * One owner loop. Changes of the same batch are seen by queries at once.
 *
 * Return values: 0 or a negative errno of the kv (-ENOSPC, -EIO, ERR_CORRUPT): the voter must then
 * stop. What a request deserves (NOT_FOUND, BUSY, ...) is the `status` in its reply. */
#pragma once

#include "common/kv/kv.h"
#include "common/topology/map.h"
#include "common/wire/msg.h"
#include "common/wire/stale.h"

/* Of op_setxattr. */
enum { XATTR_FLAG_CREATE = 1, XATTR_FLAG_REPLACE = 2, XATTR_FLAG_REMOVE = 4 };

#define CATALOG_SLOTS 256
#define CATALOG_LINKS_MAX 65000
#define CATALOG_LOCKS_PER_FILE_MAX 1024
#define CATALOG_XATTR_NAMES_BYTES_MAX 65536   /* of one inode, as listxattr shows them */
#define CATALOG_XATTR_VALUES_BYTES_MAX (1u << 20)
#define CATALOG_RECLAIM_LOCK_BYTES 30         /* op_reclaim.locks: see struct catalog_lock */
#define CATALOG_SHOWN_BYTES OP_SHOWN_BYTES    /* op_shown.shown, op_release.shown */

struct catalog;

enum catalog_bug {
	CATALOG_BUG_NO_SLOTS = 1,     /* B5: a repeated change is applied again */
	CATALOG_BUG_EPOCH_KEPT = 2,   /* P2: a recovery gets the old epoch */
	CATALOG_BUG_ORPHAN_UNMARKED = 4, /* an inode without names is in no index of such */
	CATALOG_BUG_UNKNOWN_GONE = 8, /* A15: a file never heard of is a deleted one */
	CATALOG_BUG_MOVE_UNMARKED = 16, /* A4: a replica that moved counts for what it lacks */
};

/* A reply and the memory its spans point into. Reusable; valid until used again. */
struct catalog_reply {
	struct msg m;           /* type 0: nothing to answer */
	uint8_t *bytes;
	size_t capacity;
};

void catalog_reply_init(struct catalog_reply *r);
void catalog_reply_fini(struct catalog_reply *r);

/* --- life --- */

struct catalog_seed {
	uint64_t cluster;
	unsigned sites;                 /* the configured sites: all voters must have the same */
	const struct map_site *site;
	uint32_t session_ms, margin_ms; /* told to servers in r_session */
	uint32_t sweep;                 /* leases of ended sessions tidied per entry; 0: default */
};

/* Writes the state of a new cluster, the root directory (mode 0755, root) included, and commits.
 * -EEXIST: the kv holds a catalog already. */
MUST_CHECK int catalog_format(struct kv *kv, const struct catalog_seed *seed);
/* ERR_CORRUPT, ERR_VERSION; -ENOENT: not formatted. The kv stays the caller's. */
MUST_CHECK int catalog_open(struct catalog **out, struct kv *kv);
void catalog_close(struct catalog *c);
/* After kv_import_*(): forget what was cached and read it again. */
MUST_CHECK int catalog_reload(struct catalog *c);
void catalog_set_bugs(struct catalog *c, unsigned bugs);

/* What the leader wants to know of an apply beyond the reply. Called from inside catalog_apply(),
 * on every voter, half-way through the entry: take a note and look when apply has returned. All
 * optional. */
struct catalog_watch {
	/* Locks of the inode went away: those who wait for one may ask again (lock_ready). */
	void (*locks_freed)(void *ctx, uint64_t ino);
	/* The exclusive lease of the inode changed hands, or was given back (holder 0). */
	void (*holder_changed)(void *ctx, uint64_t ino, session_id_t holder);
	void (*session_ended)(void *ctx, session_id_t ended, server_id_t server);
	void (*map_changed)(void *ctx, uint64_t version);
	void (*orphaned)(void *ctx, uint64_t ino);
	/* The inode is gone for good. */
	void (*removed)(void *ctx, uint64_t ino);
};
void catalog_set_watch(struct catalog *c, const struct catalog_watch *watch, void *ctx);

/* --- the log --- */

/* Index of the last entry applied (0: none): replay goes on behind it. In a batch: with it. */
uint64_t catalog_applied(const struct catalog *c);

/* Opens a batch: one kv transaction for several entries, applied index included. */
MUST_CHECK int catalog_begin(struct catalog *c);
MUST_CHECK int catalog_commit(struct catalog *c);
/* As kv_commit_start(): the next batch may begin before done() is called. */
MUST_CHECK int catalog_commit_start(struct catalog *c, void (*done)(void *ctx, int rc), void *ctx);
void catalog_abort(struct catalog *c);

/* Applies the committed entry `index` (in a transaction of its own outside a batch). op NULL: an
 * entry without a change for the catalog (barrier, configuration); op of a type that is no op_*:
 * INVALID. Entries at or below catalog_applied() are skipped: reply type 0.
 *
 * Exactly once: op.session's slot remembers seq and reply; the same seq again gives the same reply
 * and changes nothing, an older one INVALID; op_refused
 * gives a request its refusal as the reply. op_session, op_session_end, op_orphan_gone, op_drain
 * and op_shown use no slot (session 0, slot 0xffff); they are idempotent by themselves.
 *
 * Statuses of note, beyond the obvious:
 *   op_lease      BUSY: another session holds it exclusively (recall first). A request for SHARED
 *                 on an unclean file is granted EXCLUSIVE with recover = 1; on a clean one nobody
 *                 holds it changes nothing, granted = SHARED (the caller need not log it). The
 *                 holder asking again gets the same epoch, or, when `above` names a seal it met
 *                 over its epoch, a recovery above that.
 *   op_release    LOST: not the holder in that epoch. to = EXCLUSIVE: stores attributes and stale
 *                 runs, keeps the lease. A move that it brings is made if it can be, without a word.
 *   op_reclaim    OK with granted = EXCLUSIVE (the epoch is the old one), or NONE when the old
 *                 session held no exclusive lease but nobody took anything since: handles and
 *                 locks live on. LOST otherwise.
 *   op_setattr    BUSY: atime or mtime of a file that another session holds exclusively.
 *   op_lock       AGAIN: see catalog_lock_blocker(). NO_SPACE: too many locks on the file.
 *   op_move       BUSY: held or unclean. EXISTS: it is so. NOT_FOUND: there is no such map. MOVED: the file is
 *                 placed by a later one. INVALID: some replica would lie elsewhere.
 *   op_create     EXISTS carries the existing inode's fields in r_inode.
 *   op_session    NO_SESSION: that boot of the server was succeeded by another. DISK: a core server
 *                 shows less than is remembered of it (A8): only a new disk may come back.
 *   op_drain      EXISTS: it is so. NO_SPACE: without the server there would be too few of them or of sites
 *                 for three replicas; or the map is full. NOT_FOUND: no core server is called that. */
MUST_CHECK int catalog_apply(struct catalog *c, uint64_t index, const struct msg *op,
                             struct catalog_reply *reply);

/* True if applying `op` now would only repeat a cached reply; *reply is then filled. Lets the
 * leader answer a resent request without logging it again. */
bool catalog_repeated(struct catalog *c, const struct msg *op, struct catalog_reply *reply);

/* Answers a q_* from the state as it is. meta, lease (r_inode, r_bytes), total and free (r_statfs:
 * total is the sum last registered / REPLICAS, free 0) are for the caller to refine. q_lookup knows
 * "." and "..", q_readdir lists them first. */
MUST_CHECK int catalog_query(struct catalog *c, const struct msg *q, struct catalog_reply *reply);

/* --- where replicas are to go --- */

/* As op_release takes it, or op_move if from = 0. map 0: it must go, and there is no way now. */
struct catalog_move {
	uint64_t ino;
	uint16_t from, to;
	uint64_t map;
};

/* True: a replica lies on a core server that left the map; *out is the next step. */
bool catalog_move_wanted(struct catalog *c, uint64_t ino, struct catalog_move *out);
/* As good a step to none of these sites instead. False: there is none. */
bool catalog_move_elsewhere(struct catalog *c, struct catalog_move *move, const uint16_t *but, unsigned n);
/* Looks at up to `max` inodes above *ino for one that wants to be moved. False: none of them; *ino is 0
 * then if these were the last. */
bool catalog_move_next(struct catalog *c, uint64_t *ino, unsigned max, struct catalog_move *out);

/* As op_drain would answer. */
enum status catalog_can_drain(struct catalog *c, server_id_t server, bool drain);
/* The same of all core servers of the site together; NOT_FOUND: it has none. */
enum status catalog_can_drain_site(struct catalog *c, uint16_t site, bool drain);

/* --- what a change touches: for recalls before it is proposed --- */

struct catalog_touch {
	uint64_t ino;
	uint8_t what;          /* enum recall_what: shared leases on these must be gone first */
	session_id_t holder;   /* who must give back its exclusive lease first; 0: nobody */
};

#define CATALOG_TOUCH_MAX 4

/* Inodes whose cached attributes, entries (META) or data `op` would change, as far as known from
 * the state now. Returns how many; 0 for ops that need no recall. op.session's own are included. */
unsigned catalog_touches(struct catalog *c, const struct msg *op,
                         struct catalog_touch out[CATALOG_TOUCH_MAX]);

/* --- getters: true when found. *_next: the first above `after`, ascending; start with 0 --- */

struct catalog_session {
	session_id_t id;
	server_id_t server;
	uint8_t kind;          /* enum server_kind */
	uint64_t boot;
	uint64_t index;        /* log entry that opened it */
};

bool catalog_session(struct catalog *c, session_id_t id, struct catalog_session *out);
session_id_t catalog_session_of(struct catalog *c, server_id_t server); /* 0: none */
bool catalog_session_next(struct catalog *c, session_id_t after, struct catalog_session *out);

enum catalog_server_flag {
	CATALOG_SERVER_REFUSED = 1,  /* shows less than is remembered: has no session */
	CATALOG_SERVER_BLANK = 2,    /* its disk was replaced: files up to complete_from are unknown */
	CATALOG_SERVER_MAPPED = 4,   /* in the current map */
	CATALOG_SERVER_DRAINED = 8,  /* left it by the operator's word */
};

struct catalog_server {
	server_id_t id;
	uint8_t kind;
	uint8_t flags;
	uint16_t site;                  /* 0: none known */
	char addr[ADDR_TEXT_MAX];
	uint64_t boot, start, journal;  /* as registered last, or shown since (op_shown) */
	uint64_t disk;
	uint64_t total;
	uint64_t complete_from;         /* core: highest file id given when its disk was new */
	session_id_t session;           /* 0: none */
	session_id_t ended;             /* the last one that ended, at log entry ended_index */
	uint64_t ended_index;
};

bool catalog_server(struct catalog *c, server_id_t id, struct catalog_server *out);
bool catalog_server_next(struct catalog *c, server_id_t after, struct catalog_server *out);

struct catalog_inode {
	struct msg_r_inode fields;   /* reply fields zero, INODE_FIELDS set */
	uint64_t parent;             /* directory: its parent; others: where a link was made last */
	session_id_t holder;         /* of the exclusive lease; 0: nobody */
	bool unclean;                /* the next grant is a recovery */
	session_id_t lost_by;        /* that held it when it ended, and may reclaim it; 0: nobody */
	bool recovering;             /* the holder's grant was one */
	server_id_t taken_by;        /* that was granted a lease or lock last; 0: nobody yet */
	bool refill;                 /* a replica has a new disk; will be marked when given back */
};

bool catalog_inode(struct catalog *c, uint64_t ino, struct catalog_inode *out);
bool catalog_lookup(struct catalog *c, uint64_t dir, struct span name, uint64_t *ino);
/* The file's stale map; `out` initialised by the caller, empty when there is none. */
bool catalog_stale(struct catalog *c, uint64_t ino, struct stale_map *out);

/* Files the session holds exclusively; files it has locks on. session 0 has none. */
bool catalog_lease_next(struct catalog *c, session_id_t s, uint64_t after, uint64_t *ino);
bool catalog_locked_next(struct catalog *c, session_id_t s, uint64_t after, uint64_t *ino);

/* On the wire (op_reclaim): owner, start, end u64, pid u32, type, flavour u8, little-endian. */
struct catalog_lock {
	session_id_t session;
	uint64_t owner;
	uint64_t start, end;   /* inclusive */
	uint32_t pid;
	uint8_t type;          /* F_RDLCK, F_WRLCK */
	uint8_t flavour;       /* enum lock_flavour */
};

/* Fills up to `max` (CATALOG_LOCKS_PER_FILE_MAX holds all); returns how many. */
unsigned catalog_locks(struct catalog *c, uint64_t ino, struct catalog_lock *out, unsigned max);
/* The first lock that op_lock or q_getlk `want` of session `s` would meet; false: none. */
bool catalog_lock_blocker(struct catalog *c, session_id_t s, const struct msg_op_lock *want,
                          struct catalog_lock *out);

bool catalog_orphan_next(struct catalog *c, uint64_t after, uint64_t *ino);
/* Files unclean or with stale replicas, held or not. What an ended session held appears here within
 * the next entries: a session may have held very many files, and one entry must not take long. */
bool catalog_repair_next(struct catalog *c, uint64_t after, uint64_t *ino);
/* Files of a core server's new disk are left to be marked stale there: a few with every entry. */
bool catalog_refilling(const struct catalog *c);

/* The newest map (version 0, sites only, before the first core server). Valid until the next
 * apply that changes the map (watch) or reload. */
const struct map *catalog_map(const struct catalog *c);
/* Any version still in use; map_free() it. -ENOENT. */
MUST_CHECK int catalog_map_get(struct catalog *c, uint64_t version, struct map **out);

struct catalog_stats {
	uint64_t cluster;
	uint64_t incarnation;
	uint64_t last_file;      /* highest file id given */
	uint64_t inodes, files;  /* files: regular ones */
	uint64_t orphans, repairs, sessions;
	uint64_t map;
};
void catalog_get_stats(const struct catalog *c, struct catalog_stats *out);

/* --- upkeep --- */

/* After a restore from a backup: file and session ids of a new incarnation (A8d). Not through the
 * log: for the one voter that a restored cluster starts from, before it starts. */
MUST_CHECK int catalog_raise_incarnation(struct catalog *c);

/* Checks every invariant of the stored state, in full. 0, or ERR_CORRUPT and a sentence in `why`. */
MUST_CHECK int catalog_check(struct catalog *c, char *why, size_t size);
