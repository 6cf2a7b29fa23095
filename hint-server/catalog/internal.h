/* What the catalog's files share. Not for other modules.
 *
 * Every record is a key of one letter and big-endian numbers, so that keys sort as their numbers
 * do, and a little-endian value:
 *
 *   m                   meta: identity, counters, applied index
 *   M version           an encoded map (map.h)          n version   how many files it places
 *   v server            a server as remembered          s session   an open session
 *   r session slot      a slot: sequence, cached reply  I number    an earlier incarnation's end
 *   i ino               an inode                        d dir name  entry: cookie, ino, type
 *   c dir cookie        the same entry in readdir order: ino, type, name
 *   x ino name          extended attribute              y ino       a symlink's target
 *   t ino               stale map (stale.h)             l ino       locks
 *   h session ino       holds it exclusively            k session ino  has locks on it
 *   o ino               orphan                          u ino       wants repair: unclean or stale
 *   e session           ended, still named by index h and by inodes it held (ending.c)
 *
 * Errors of the kv stick in catalog.rc, and reads then find nothing: handlers stay straight-line
 * code, and catalog_apply() fails as a whole. Handlers check first and change afterwards, so a
 * refused request changes nothing. */
#pragma once

#include "common/base/bytes.h"
#include "hint-server/catalog/catalog.h"

#define FORMAT_VERSION 6
#define SERVER_PAST_BOOTS 8
#define SERVER_PAST_DISKS 8
#define SWEEP_DEFAULT 1024
#define COOKIE_FIRST 3 /* 0: start, 1: after ".", 2: after ".." */
#define ID_COUNTER_BITS 48

#define KEY_BYTES_MAX (9 + NAME_BYTES_MAX + 1) /* room for the key next after the longest */

struct key {
	uint8_t bytes[KEY_BYTES_MAX];
	size_t len;
};

/* --- records: lists of (kind, name), as in msg.h --- */

#define META_RECORD(X) \
	X(u32, format) X(u64, cluster) X(u64, incarnation) X(u64, next_file) X(u64, next_session) \
	X(u64, map) X(u64, map_files) X(u64, applied) X(u64, inodes) X(u64, files) X(u64, orphans) \
	X(u64, repairs) X(u64, sessions) X(u32, session_ms) X(u32, margin_ms) X(u32, sweep)

/* cookie: of the entry added last (directories). taken_by: server that was last granted a lease or
 * lock, at taken_index; other_index: when last another server was (A9, "lost handles"). lost_by:
 * session that held the exclusive lease when it ended, until somebody is granted it. */
#define INODE_RECORD(X) \
	INODE_FIELDS(X) X(u64, holder) X(u64, parent) X(u8, flags) X(u64, cookie) X(u32, taken_by) \
	X(u64, taken_index) X(u64, other_index) X(u64, lost_by) X(u32, xattr_names) \
	X(u32, xattr_values)

#define SESSION_RECORD(X) X(u64, id) X(u32, server) X(u8, kind) X(u64, boot) X(u64, index)

/* began: the journal when the present boot registered; UINT64_MAX: on a new disk. */
#define SERVER_RECORD(X) \
	X(u32, id) X(u8, kind) X(u8, flags) X(u16, site) X(u64, boot) X(u64, start) X(u64, journal) \
	X(u64, total) X(u64, complete_from) X(u64, session) X(u64, ended) X(u64, ended_index) \
	X(u64, disk) X(u64, opened) X(u64, began)

#define X(kind, name) FIELD_##kind(name)
struct meta {
	META_RECORD(X)
};
struct inode {
	INODE_RECORD(X)
};
struct session_record {
	SESSION_RECORD(X)
};
struct server_record {
	SERVER_RECORD(X)
	uint64_t past[SERVER_PAST_BOOTS]; /* earlier boots, newest first; 0: none */
	uint64_t past_disk[SERVER_PAST_DISKS]; /* the same of disks that were replaced */
	char addr[ADDR_TEXT_MAX];
};
#undef X

enum inode_flag { /* of struct inode */
	INO_UNCLEAN = 1,   /* the next grant is a recovery */
	INO_RECOVER = 2,   /* the holder's grant was one, and is not done */
	INO_STALE = 4,     /* has a stale map */
	INO_LISTED = 8,    /* in the repair index; inode_store()'s own */
	INO_REFILL_0 = 16, /* replica 0 has a new disk, which the stale map does not say yet */
	INO_REFILL = 7 * INO_REFILL_0, /* ... or 1, or 2 */
	INO_CAPS = 128,    /* has security.capability */
};

struct entry {
	uint64_t cookie;
	uint64_t ino;
	uint8_t type; /* mode >> 12 */
};

struct catalog {
	struct kv *kv;
	int rc;                /* first error of the kv since the batch began */
	bool batch;
	bool meta_dirty;
	struct meta meta;
	struct map *map;       /* version meta.map */
	struct map *old_map[3]; /* registry.c: versions looked at lately, decoded; NULL: none */
	unsigned used_old_map; /* the last one asked for: it stays when another comes */
	unsigned bugs;
	uint64_t index;        /* of the entry being applied */
	struct session_record session; /* of the op being applied */
	session_id_t *ending;  /* ended sessions with leases left to tidy, ascending */
	size_t endings;
	bool refilling;        /* files of new disks are left to mark */
	const struct catalog_watch *watch;
	void *watch_ctx;
	uint8_t *scratch;
	size_t scratch_bytes;
};

/* --- db.c: keys and raw access --- */

struct key key1(char letter, uint64_t a);
struct key key2(char letter, uint64_t a, uint64_t b);
struct key key_name(char letter, uint64_t a, struct span name); /* name: at most NAME_BYTES_MAX */

bool db_get(struct catalog *c, const struct key *k, struct kv_span *value);
void db_put(struct catalog *c, const struct key *k, const void *p, size_t len);
void db_mark(struct catalog *c, const struct key *k); /* an index entry without a value */
void db_del(struct catalog *c, const struct key *k);  /* absent: nothing happens */
/* First key >= *from that starts with its first `prefix` bytes; *from becomes that key. */
bool db_seek(struct catalog *c, struct key *from, size_t prefix, struct kv_span *value);
/* First number > `after` behind letter (and `a`, when two is set) in an index. */
bool db_next(struct catalog *c, char letter, uint64_t after, uint64_t *out);
bool db_next2(struct catalog *c, char letter, uint64_t a, uint64_t after, uint64_t *out);
/* Memory of at least `bytes`, the catalog's own, until the next call. */
uint8_t *catalog_scratch(struct catalog *c, size_t bytes);
/* Stored data that cannot be what we wrote: sticks as ERR_CORRUPT. */
void db_corrupt(struct catalog *c);

/* --- meta.c --- */

void meta_changed(struct catalog *c);
file_id_t meta_last_file(const struct meta *m);
file_id_t meta_new_file(struct catalog *c);
session_id_t meta_new_session(struct catalog *c);
/* True if `ino` was given once by this catalog's history and is not there any more (A15). */
bool meta_file_gone(struct catalog *c, uint64_t ino);
int meta_flush(struct catalog *c);

/* --- inode.c --- */

bool inode_load(struct catalog *c, uint64_t ino, struct inode *out);
void inode_store(struct catalog *c, struct inode *i); /* keeps state and the repair index right */
uint8_t inode_state(const struct inode *i); /* enum inode_state */
void inode_remove(struct catalog *c, struct inode *i); /* with all that hangs on it */
void inode_set_holder(struct catalog *c, struct inode *i, session_id_t holder);
void inode_mark_taken(struct catalog *c, struct inode *i, server_id_t by);
/* One link less; at zero it becomes an orphan. A directory loses all. */
void inode_drop_link(struct catalog *c, struct inode *i, uint64_t now);
void inode_set_stale(struct catalog *c, struct inode *i, const struct stale_map *s);
static inline bool inode_is(const struct inode *i, uint32_t type)
{
	return (i->mode & 0170000u) == type;
}

void reply_inode(struct msg_r_inode *r, const struct inode *i);
void reply_lease(struct msg_r_lease *r, const struct inode *i);
/* r->stale := the file's stale runs. */
void reply_stale(struct catalog *c, struct catalog_reply *reply, uint64_t ino);

/* --- entry.c: names in directories --- */

enum status name_check(struct span name); /* OK, INVALID, NAME_TOO_LONG */
bool entry_find(struct catalog *c, uint64_t dir, struct span name, struct entry *out);
/* The caller stores `dir`, whose size and cookie change. */
void entry_add(struct catalog *c, struct inode *dir, struct span name, const struct inode *i);
void entry_remove(struct catalog *c, struct inode *dir, struct span name, const struct entry *e);
/* The name now leads to `i`; its place in readdir stays. */
void entry_replace(struct catalog *c, uint64_t dir, struct span name, const struct entry *e,
                   const struct inode *i);
/* The first entry behind `cookie`; name points into the kv. */
bool entry_next(struct catalog *c, uint64_t dir, uint64_t cookie, struct entry *out,
                struct span *name);
/* True if directory `below` is `dir` or lies under it. */
bool entry_is_below(struct catalog *c, uint64_t below, uint64_t dir);

/* --- registry.c: servers, sessions and the map --- */

bool server_load(struct catalog *c, server_id_t id, struct server_record *out);
void server_store(struct catalog *c, const struct server_record *s);
bool session_load(struct catalog *c, session_id_t id, struct session_record *out);
void session_store(struct catalog *c, const struct session_record *s);
void map_count(struct catalog *c, uint64_t version, int files); /* +1 or -1 file placed by it */
/* Takes over `next`; the one before stays while files name it or an older one. */
void map_publish(struct catalog *c, struct map *next);
/* Until the second call after this; NULL: there is none of that version. */
const struct map *map_cached(struct catalog *c, uint64_t version);
void map_cache_drop(struct catalog *c); /* versions may mean something else now */
int map_read(struct catalog *c);

/* Puts the server into the map: a new version unless it is there just so, or is drained. NO_SPACE. */
enum status map_enter(struct catalog *c, const struct server_record *s); /* op_drain.c */

/* --- placing.c --- */

bool sites_distinct(const uint16_t sites[REPLICAS]);
/* The replica goes where the release says, if it can; the caller stores the inode (op_move.c). */
void move_released(struct catalog *c, struct inode *i, const struct msg_op_release *op);
bool placing_left(struct catalog *c, uint64_t ino, uint64_t seal, const struct server_record *s);

/* --- ending.c: the leases of ended sessions --- */

int ending_read(struct catalog *c);
/* The session has ended: from now on its exclusive leases are lost, tidied or not. */
void ending_add(struct catalog *c, session_id_t s);
/* inode_load()'s own: makes an inode whose holder has ended what it will be once tidied. */
void ending_apply(const struct catalog *c, struct inode *i);
/* A bounded piece of work, the same on every voter; once per entry. */
void ending_sweep(struct catalog *c);

/* --- refill.c: core servers with new disks --- */

int refill_read(struct catalog *c);
void refill_add(struct catalog *c, server_id_t server);
void refill_sweep(struct catalog *c);
/* Brings what is flagged into the stale map, as far as that has room: nobody holds the file. */
void refill_apply(struct catalog *c, struct inode *i);
void refill_keep(struct catalog *c, struct inode *i); /* its holder, who does not know, has it again */
bool ending_has(const struct catalog *c, session_id_t s);

/* --- reply.c --- */

uint8_t *reply_bytes(struct catalog_reply *r, size_t len); /* memory for spans */
void reply_start(struct catalog_reply *r, enum msg_type type, const struct msg *op,
                 enum status status);

/* --- op_*.c: each answers with the status and fills *reply --- */

typedef enum status catalog_op(struct catalog *c, const struct msg *op,
                               struct catalog_reply *reply);

catalog_op op_session, op_session_end, op_create, op_link, op_unlink, op_rename, op_setattr,
	op_setxattr, op_lease, op_release, op_reclaim, op_lock, op_orphan_gone, op_drain, op_shown, op_move;

/* Ends a session that exists: leases become unclean, locks drop, slots go. */
void session_end(struct catalog *c, const struct session_record *s);

/* --- op_attr.c: what is taken away when a file is written --- */

#define XATTR_CAPS "security.capability"

bool name_is_caps(struct span name); /* XATTR_CAPS */
/* The change adds setuid or setgid to a file. */
bool setattr_gives_rights(const struct msg_op_setattr *op, const struct inode *i);

/* --- op_lock.c: the locks of an inode --- */

/* Takes over how far core servers were, op_shown's form. INVALID: what is before is taken over. */
enum status shown_take(struct catalog *c, struct span shown);
/* Sets all locks of op_reclaim or none. AGAIN: another's is in the way; INVALID, NO_SPACE. */
enum status locks_restore(struct catalog *c, uint64_t ino, session_id_t s, struct span locks);
void locks_drop_session(struct catalog *c, uint64_t ino, session_id_t s);
void locks_drop_all(struct catalog *c, uint64_t ino);
