/* Every message of distcloud, described once.
 *
 * The lists below generate the structs, the encoder, the decoder with its bounds checks, the
 * trace printer (msg.c) and the fuzz target. Little-endian. A frame on a connection is
 *
 *   header  48 bytes: magic, wire version, type, source, destination, request id,
 *           body length, payload length, XXH3 of body and payload, XXH32 of the header
 *   body    the fields in the order of the list; a span is u32 length + bytes
 *   payload bulk data, page-aligned in memory at the receiver
 *
 * Frames are routed by their destination server: hint servers pass on what is not for them
 * (SERVER_LEADER goes to the catalog's leader), so a reply finds its way back by itself.
 * A reply carries the request's id. Requests that are lost are sent again by who asked. */
#pragma once

#include "common/base/iobuf.h"
#include "common/base/types.h"

#define WIRE_VERSION 9
#define WIRE_HEADER_BYTES 48
#define WIRE_BODY_BYTES_MAX (4u << 20)
#define WIRE_PAYLOAD_BYTES_MAX (1u << BLOCK_SHIFT_MAX)

/* Verdicts that travel. The numbers are fixed. */
#define STATUS_LIST(X) \
	X(OK, 0, "ok") \
	X(FENCED, 1, "server has no session") \
	X(SEALED, 2, "a higher epoch sealed the file") \
	X(GAP, 3, "replica is behind the named predecessor") \
	X(AHEAD, 4, "replica is ahead of what was sent") \
	X(WRONG_MAP, 5, "file is placed by another map version") \
	X(UNKNOWN, 6, "server was not told it holds this file completely") \
	X(NO_SPACE, 7, "no space") \
	X(BAD_PAGE, 8, "stored page fails its checksum") \
	X(DISK, 9, "disk out of service") \
	X(BUSY, 10, "limit reached, try again") \
	X(NOT_LEADER, 11, "no leader known") \
	X(NO_SESSION, 12, "session unknown or ended") \
	X(INVALID, 13, "malformed or senseless request") \
	X(MOVED, 14, "target's version moved; start again") \
	X(LOST, 15, "taken by another since") \
	X(NOT_FOUND, 16, "no such entry") \
	X(EXISTS, 17, "entry exists") \
	X(NOT_DIR, 18, "not a directory") \
	X(IS_DIR, 19, "is a directory") \
	X(NOT_EMPTY, 20, "directory not empty") \
	X(NAME_TOO_LONG, 21, "name too long") \
	X(TOO_MANY_LINKS, 22, "too many links") \
	X(NO_ATTR, 23, "no such extended attribute") \
	X(AGAIN, 24, "lock is held, would block") \
	X(DEADLOCK, 25, "lock would deadlock") \
	X(STALE, 26, "file is gone") \
	X(LOOP, 27, "would put a directory under itself") \
	X(FILE_TOO_BIG, 28, "file too big") \
	X(RANGE, 29, "buffer too small") \
	X(NOT_PERMITTED, 30, "operation not permitted") \
	X(PENDING, 31, "accepted, not durable yet")

enum status {
#define X(name, code, text) STATUS_##name = (code),
	STATUS_LIST(X)
#undef X
};

/* Fields of an inode as the catalog knows it. pages: how many of its PAGE_BYTES are stored, the rest
 * being holes; as of the last release, like the size. Times are ns since 1970 (wall clock of the
 * access server that made the change: shown to users, never decides anything). moved: the number of the
 * file's move that brought the replica to its site, 0: it was made there. */
#define INODE_FIELDS(X) \
	X(u64, ino) X(u32, mode) X(u32, uid) X(u32, gid) X(u32, nlink) X(u64, rdev) X(u64, size) \
	X(u64, pages) X(u64, atime) X(u64, mtime) X(u64, ctime) X(u64, epoch) X(u64, map) \
	X(u16, site0) X(u16, site1) X(u16, site2) X(u32, moved0) X(u32, moved1) X(u32, moved2) \
	X(u8, block_shift) X(u8, state)
/* state: bits of enum inode_state */

/* First fields of every request to the catalog, and of every reply from it. slot/seq give
 * exactly-once (RFC 8881, 2.10.6): seq grows by one per new request in its slot. Queries that
 * change nothing carry slot 0xffff. */
#define OP_FIELDS(X) X(u64, session) X(u16, slot) X(u32, seq)
#define REPLY_FIELDS(X) X(u16, status) X(u64, session) X(u16, slot) X(u32, seq)

/* M(NAME, number, FIELDS): struct msg_<lower name>; FIELDS(X) lists X(kind, name), kinds u8 u16
 * u32 u64 ver span. Comments give meaning; [payload] marks bulk data. */
#define MSG_LIST(M) \
	/* --- connection --- */ \
	M(hello, 1, MSG_HELLO) \
	M(hello_ok, 2, MSG_HELLO_OK) \
	M(ping, 3, MSG_NONE) \
	M(pong, 4, MSG_NONE) \
	M(hello_no, 5, MSG_HELLO_NO) /* instead of hello_ok; the connection ends */ \
	/* --- data path: access server to core server --- */ \
	M(write, 10, MSG_WRITE) \
	M(write_reply, 11, MSG_WRITE_REPLY) \
	M(read, 12, MSG_READ) \
	M(read_reply, 13, MSG_READ_REPLY) \
	M(seal, 14, MSG_SEAL) \
	M(seal_reply, 15, MSG_SEAL_REPLY) \
	M(list, 16, MSG_LIST_BLOCKS) \
	M(list_reply, 17, MSG_LIST_REPLY) \
	M(install, 18, MSG_INSTALL) \
	M(install_reply, 19, MSG_WRITE_REPLY) \
	M(close, 20, MSG_CLOSE) \
	M(close_reply, 21, MSG_CLOSE_REPLY) \
	M(space, 22, MSG_SPACE) \
	M(space_reply, 23, MSG_SPACE_REPLY) \
	M(forget, 24, MSG_FORGET) \
	M(bad_page, 25, MSG_BAD_PAGE) /* core server to access server, unasked */ \
	/* --- admin: a verb and JSON both ways --- */ \
	M(admin, 30, MSG_ADMIN) \
	M(admin_reply, 31, MSG_ADMIN_REPLY) \
	/* --- sessions --- */ \
	M(heartbeat, 40, MSG_HEARTBEAT) \
	M(heartbeat_reply, 41, MSG_HEARTBEAT_REPLY) \
	/* --- between hint servers --- */ \
	M(raft, 50, MSG_RAFT) \
	M(term_check, 51, MSG_TERM_CHECK) \
	M(term_check_reply, 52, MSG_TERM_CHECK) \
	M(snapshot_chunk, 53, MSG_SNAPSHOT_CHUNK) \
	M(snapshot_ack, 54, MSG_SNAPSHOT_ACK) \
	/* --- leader to access server, unasked; answered by the message named --- */ \
	M(recall, 60, MSG_RECALL) /* recall_ack; an exclusive lease by op_release */ \
	M(recall_ack, 61, MSG_RECALL) \
	M(holder_attr, 62, MSG_HOLDER_ATTR) \
	M(holder_attr_reply, 63, MSG_HOLDER_ATTR_REPLY) \
	M(orphan_check, 64, MSG_INOS) /* which of these are open there? */ \
	M(orphan_answer, 65, MSG_INOS) /* those that are NOT open, and will not be */ \
	M(lock_ready, 66, MSG_LOCK_READY) /* a waiting lock may be asked for again */ \
	/* --- catalog: queries (leader, read index) --- */ \
	M(q_lookup, 80, MSG_DIR_NAME) /* -> r_inode */ \
	M(q_inode, 81, MSG_INO) /* -> r_inode */ \
	M(q_readdir, 82, MSG_READDIR) /* -> r_dirents; "." and ".." come first, next 0 at the end */ \
	M(q_readlink, 83, MSG_INO) /* -> r_bytes */ \
	M(q_getxattr, 84, MSG_INO_NAME) /* -> r_bytes */ \
	M(q_listxattr, 85, MSG_INO) /* -> r_bytes: names, each ended by NUL */ \
	M(q_getlk, 86, MSG_LOCK) /* -> r_lock */ \
	M(q_map, 87, MSG_MAP_GET) /* -> r_bytes: map.h encoding */ \
	M(q_files, 88, MSG_INOS) /* collector: Q_FILES_BYTES each -> r_bytes, those that may go */ \
	M(q_repair, 89, MSG_INO) /* a file above ino that wants repair: -> r_inode, NOT_FOUND */ \
	M(q_statfs, 90, MSG_OP) /* -> r_statfs */ \
	M(q_stale, 91, MSG_INO) /* -> r_bytes: stale runs (stale.h) */ \
	M(q_inodes, 92, MSG_INOS) /* -> r_bytes: per inode that may be cached u16 length, r_inode body */ \
	M(q_move, 93, MSG_OP) /* what the asker should move next: -> r_move, NOT_FOUND */ \
	/* --- catalog: changes (logged) --- */ \
	M(op_session, 100, MSG_OP_SESSION) /* -> r_session */ \
	M(op_session_end, 101, MSG_OP_SESSION_END) /* leader only */ \
	M(op_create, 102, MSG_OP_CREATE) /* any type -> r_inode, with an exclusive lease if asked */ \
	M(op_link, 103, MSG_OP_LINK) /* -> r_inode */ \
	M(op_unlink, 104, MSG_OP_UNLINK) /* -> r_inode of what lost a link */ \
	M(op_rename, 105, MSG_OP_RENAME) /* -> r_inode of what was replaced, or ino 0 */ \
	M(op_setattr, 106, MSG_OP_SETATTR) /* -> r_inode */ \
	M(op_setxattr, 107, MSG_OP_SETXATTR) /* -> r_status; flags 1 create 2 replace 4 remove */ \
	M(op_lease, 108, MSG_OP_LEASE) /* -> r_lease; only exclusive ones and recoveries are logged */ \
	M(op_release, 109, MSG_OP_RELEASE) /* -> r_status */ \
	M(op_reclaim, 110, MSG_OP_RECLAIM) /* -> r_lease or LOST */ \
	M(op_lock, 111, MSG_LOCK) /* -> r_status; type F_UNLCK unlocks */ \
	M(op_orphan_gone, 112, MSG_INOS) /* leader only: nobody has them open */ \
	M(op_drain, 113, MSG_OP_DRAIN) /* leader only: a core server leaves the map, or comes back */ \
	M(op_shown, 114, MSG_OP_SHOWN) /* leader only: what core servers' heartbeats showed */ \
	M(op_refused, 115, MSG_OP_REFUSED) /* leader only: in place of a change; no copy of it happens */ \
	M(op_move, 116, MSG_OP_MOVE) /* -> r_status; another map or home, nothing is copied */ \
	/* --- catalog: replies --- */ \
	M(r_status, 130, MSG_R_STATUS) \
	M(r_inode, 131, MSG_R_INODE) \
	M(r_dirents, 132, MSG_R_BYTES) \
	M(r_bytes, 133, MSG_R_BYTES) \
	M(r_session, 134, MSG_R_SESSION) \
	M(r_lease, 135, MSG_R_LEASE) \
	M(r_lock, 136, MSG_R_LOCK) \
	M(r_statfs, 137, MSG_R_STATFS) \
	M(r_move, 138, MSG_R_MOVE)

#define MSG_NONE(X)
#define MSG_HELLO(X) X(u32, server) X(u8, kind) X(u64, cluster) X(u32, wire_version) X(u64, boot)
#define MSG_HELLO_OK(X) X(u32, server) X(u8, kind) X(u64, cluster) X(u32, wire_version) X(u64, boot)
/* reason: enum hello_no_reason; cluster and wire_version: of who refuses. text: for people. */
#define MSG_HELLO_NO(X) X(u8, reason) X(u64, cluster) X(u32, wire_version) X(span, text)

/* `map` in requests for a file: placement_id() of the replica asked (map.h).
 *
 * A write of one block. op: enum write_op. DATA: [payload] of `len` bytes for [off, off+len);
 * sums: XXH3 (page_sum()) of each page that lies wholly inside, 8 bytes each, in order.
 * ZERO: no payload; pages wholly inside become holes. `prev` is the version the block must have.
 * `all` is the newest version of the file durable on all replicas, for pruning. `paid`: bytes of the
 * sender's grant that this write uses up; a write that nothing was promised for must not eat what was
 * promised meanwhile for others. */
#define MSG_WRITE(X) \
	X(u64, file) X(u64, map) X(u64, epoch) X(u64, block) X(u8, block_shift) X(u8, op) \
	X(u32, off) X(u32, len) X(ver, prev) X(ver, version) X(u64, all) X(u32, paid) X(span, sums)
/* Sent when durable (or refused). `durable`: the block's version on this server's disk; with OK
 * everything up to it is durable. `seal`: the file's seal there. `space`: bytes of new grant.
 * `journal`: the durable journal position, and `boot` the process, as in op_session. `pages`: of the
 * block at `durable` that are stored, no holes. */
#define MSG_WRITE_REPLY(X) \
	X(u16, status) X(u64, file) X(u64, block) X(ver, asked) X(ver, durable) X(u64, closed) \
	X(u64, seal) X(u64, space) X(u32, pages) X(u64, boot) X(u64, journal)
/* Whole pages covering [off, off+len) (multiples of PAGE_BYTES). flags: enum read_flags.
 * min: refuse with GAP below this version. epoch: the reader's lease epoch. */
#define MSG_READ(X) \
	X(u64, file) X(u64, map) X(u64, epoch) X(u64, block) X(u8, block_shift) X(u8, flags) \
	X(u32, off) X(u32, len) X(ver, min)
/* present: one bit per page asked for, bit 0 of byte 0 first; sums: 8 bytes and [payload] PAGE_BYTES
 * for each present page, in order. Absent pages are zeros. */
#define MSG_READ_REPLY(X) \
	X(u16, status) X(u64, file) X(u64, block) X(u32, off) X(u32, len) X(ver, version) \
	X(u64, closed) X(u64, seal) X(span, present) X(span, sums)
#define MSG_SEAL(X) X(u64, file) X(u64, map) X(u64, epoch)
/* closed: the file record's; blocks: how many the server has of the file (without ATTR). */
#define MSG_SEAL_REPLY(X) \
	X(u16, status) X(u64, file) X(u64, epoch) X(u64, seal) X(u64, closed) X(u64, blocks) \
	X(u8, complete)
/* Blocks in [first, last] that the server has a record of, in order, at most `max`; ATTR last. */
#define MSG_LIST_BLOCKS(X) X(u64, file) X(u64, map) X(u64, epoch) X(u64, first) X(u64, last) X(u32, max)
/* entries: struct list_entry, LIST_ENTRY_BYTES each. next: first block not covered; meaningless
 * when more == 0. With UNKNOWN the entries are what is there, and nothing follows from absence. */
#define MSG_LIST_REPLY(X) \
	X(u16, status) X(u64, file) X(u64, seal) X(u64, closed) X(u64, next) X(u8, more) X(span, entries)
/* Repair or recovery copy, by the holder of `epoch`. Only if the block still has (old, old_closed):
 * pages with a bit in `set` come from [payload] with `sums`, pages with a bit in `zero` become
 * holes, others stay; the block becomes `version`, `closed`. `lost`: of `set`, pages that no replica can
 * read any more; their payload is filler, and reads give BAD_PAGE until they are written anew. */
#define MSG_INSTALL(X) \
	X(u64, file) X(u64, map) X(u64, epoch) X(u64, block) X(u8, block_shift) X(ver, old) \
	X(u64, old_closed) X(ver, version) X(u64, closed) X(span, set) X(span, zero) X(span, lost) X(span, sums)
/* closed := epoch for every block of the file on this server but exceptions (8 bytes each,
 * ascending), blocks without a record included. complete = 1: the server now holds the file
 * completely. */
#define MSG_CLOSE(X) X(u64, file) X(u64, map) X(u64, epoch) X(u8, complete) X(span, exceptions)
#define MSG_CLOSE_REPLY(X) X(u16, status) X(u64, file) X(u64, epoch) X(u64, seal)
#define MSG_SPACE(X) X(u64, want)
#define MSG_SPACE_REPLY(X) X(u16, status) X(u64, granted) X(u64, free) X(u64, total)
/* A hint that the file may be gone: the server asks the catalog before it deletes anything. */
#define MSG_FORGET(X) X(u64, file)
/* A page here fails its checksum and no holder repaired it yet: told now and then, to one access
 * server after the other of those that ask for data here. */
#define MSG_BAD_PAGE(X) X(u64, file) X(u64, block) X(u32, page)

#define MSG_ADMIN(X) X(span, verb) X(span, json)
#define MSG_ADMIN_REPLY(X) X(u16, status) X(span, json)

/* start: the start counter (core); journal: durable journal position (core). want: bits, see
 * enum heartbeat_flags. */
#define MSG_HEARTBEAT(X) \
	X(u64, session) X(u64, nonce) X(u8, kind) X(u64, start) X(u64, journal) X(u64, total) \
	X(u64, free) X(u64, stale_blocks) X(u64, dirty_bytes) X(u64, map)
/* OK, NO_SESSION, NOT_LEADER. Sent after a majority confirmed the term in a round begun after the
 * heartbeat arrived. shared_ms: how long shared leases are good after the heartbeat was sent;
 * 0 when the term is new and every shared lease of an older term is void. */
#define MSG_HEARTBEAT_REPLY(X) \
	X(u16, status) X(u64, session) X(u64, nonce) X(u64, term) X(u32, session_ms) X(u32, shared_ms) \
	X(u64, map) X(span, recalls)

#define MSG_RAFT(X) X(span, bytes)
/* room, in answers: whether the catalog there can grow (enum room, hint-server/quorum/room.c).
 * commit, in answers: how far the log is committed; the leader says where its log ends. */
#define MSG_TERM_CHECK(X) X(u64, term) X(u64, nonce) X(u64, commit) X(u8, room)
#define MSG_SNAPSHOT_CHUNK(X) \
	X(u64, term) X(u64, index) X(u64, snapshot_term) X(u64, total) X(u64, off) X(span, bytes)
#define MSG_SNAPSHOT_ACK(X) X(u64, term) X(u64, index) X(u64, off)

/* what: enum recall_what. to: enum lease_mode. id tells recalls of one file apart. */
#define MSG_RECALL(X) X(u64, ino) X(u8, what) X(u8, to) X(u64, id)
#define MSG_HOLDER_ATTR(X) X(u64, ino) X(u64, id)
#define MSG_HOLDER_ATTR_REPLY(X) \
	X(u16, status) X(u64, ino) X(u64, id) X(u64, size) X(u64, pages) X(u64, atime) X(u64, mtime) \
	X(u64, ctime)
#define MSG_LOCK_READY(X) X(u64, ino) X(u64, owner)

#define MSG_OP(X) OP_FIELDS(X)
#define MSG_DIR_NAME(X) OP_FIELDS(X) X(u64, dir) X(span, name)
#define MSG_INO(X) OP_FIELDS(X) X(u64, ino)
#define MSG_INO_NAME(X) OP_FIELDS(X) X(u64, ino) X(span, name)
#define MSG_READDIR(X) OP_FIELDS(X) X(u64, dir) X(u64, cookie) X(u32, bytes_max)
#define MSG_MAP_GET(X) OP_FIELDS(X) X(u64, map)
#define MSG_INOS(X) OP_FIELDS(X) X(span, inos)
/* A new session for `server`; ends the server's older ones (same identity: the old process is
 * gone). addr: where peers reach it, "address:port". slot is 0xffff; seq numbers the openings of
 * one boot: a repeated (server, boot, seq) gets the session it got before, a lower seq nothing.
 * disk (core): drawn when it was formatted. opened (core): how many processes opened it, this one
 * included; start is the same once the disk was registered, 1 before. */
#define MSG_OP_SESSION(X) \
	OP_FIELDS(X) X(u32, server) X(u8, kind) X(u64, boot) X(u64, disk) X(u64, opened) X(u64, start) \
	X(u64, journal) X(u64, total) X(span, addr) X(span, site)
#define MSG_OP_SESSION_END(X) OP_FIELDS(X) X(u64, ended)
/* lease: enum lease_mode wanted on the new file. value: a symlink's target. */
#define MSG_OP_CREATE(X) \
	OP_FIELDS(X) X(u64, dir) X(span, name) X(u32, mode) X(u32, uid) X(u32, gid) X(u64, rdev) \
	X(u64, now) X(u8, block_shift) X(u8, lease) X(u16, home) X(span, value)
#define MSG_OP_LINK(X) OP_FIELDS(X) X(u64, ino) X(u64, dir) X(span, name) X(u64, now)
#define MSG_OP_UNLINK(X) OP_FIELDS(X) X(u64, dir) X(span, name) X(u8, rmdir) X(u64, now)
#define MSG_OP_RENAME(X) \
	OP_FIELDS(X) X(u64, dir) X(span, name) X(u64, new_dir) X(span, new_name) X(u32, flags) X(u64, now)
/* valid: bits of enum setattr_valid. Size and times of a file held exclusively travel with the
 * lease instead (op_release). With nothing but KILL bits ctime stays if nothing was to be taken. */
#define MSG_OP_SETATTR(X) \
	OP_FIELDS(X) X(u64, ino) X(u32, valid) X(u32, mode) X(u32, uid) X(u32, gid) X(u64, atime) \
	X(u64, mtime) X(u64, ctime)
#define MSG_OP_SETXATTR(X) \
	OP_FIELDS(X) X(u64, ino) X(span, name) X(span, value) X(u32, flags) X(u64, now)
/* repair = 1: asked for by the background repairer, yields at once. above: the highest seal the
 * asker met on a core server (0: none); a new epoch will be above it (trap A8d). */
#define MSG_OP_LEASE(X) OP_FIELDS(X) X(u64, ino) X(u8, mode) X(u8, repair) X(u64, above)
/* Gives an exclusive lease back (to: what is kept, shared or none), with the attributes as of now
 * and the stale runs (stale.h). clean = 0: exceptions are left, the next grant recovers. shown: how
 * far core servers acknowledged to the holder, as in op_shown. */
/* map != 0: the replica in site `from` is in site `move_to` (or the same) from now on, placed by that map, and
 * was made whole there but for the blocks that `stale` names. If that cannot be it goes nowhere. */
#define MSG_OP_RELEASE(X) \
	OP_FIELDS(X) X(u64, ino) X(u64, epoch) X(u8, to) X(u8, clean) X(u64, size) X(u64, pages) \
	X(u64, atime) X(u64, mtime) X(u64, ctime) X(span, stale) X(span, shown) \
	X(u16, from) X(u16, move_to) X(u64, map)
/* locks: those the old session held here, CATALOG_RECLAIM_LOCK_BYTES each (catalog.h): u64 owner,
 * u64 start, u64 end, u32 pid, u8 type, u8 flavour. epoch 0: no exclusive lease was held. */
#define MSG_OP_RECLAIM(X) OP_FIELDS(X) X(u64, ino) X(u64, epoch) X(u64, old_session) X(span, locks)
/* [start, end], end inclusive; type: F_RDLCK, F_WRLCK, F_UNLCK; flavour: enum lock_flavour. */
#define MSG_LOCK(X) \
	OP_FIELDS(X) X(u64, ino) X(u64, owner) X(u64, start) X(u64, end) X(u32, pid) X(u8, type) \
	X(u8, flavour) X(u8, wait)
/* drain = 1: the server leaves the map, and its replicas are to go elsewhere; 0: it comes back. */
#define MSG_OP_DRAIN(X) OP_FIELDS(X) X(u32, server) X(u8, drain)
/* shown: per core server u32 server, u64 boot, u64 start, u64 journal (as in heartbeats). */
#define MSG_OP_SHOWN(X) OP_FIELDS(X) X(span, shown)
#define MSG_OP_REFUSED(X) OP_FIELDS(X) X(u16, refusal) /* enum status, but OK */
/* What needs no copying: the file is placed by `map` from now on (0: by the one it is placed by), by which
 * every replica lies where it lies; from = to = 0. Or replica `from`, the home, and that in `to` change
 * places. OK, or EXISTS: it is so. */
#define MSG_OP_MOVE(X) OP_FIELDS(X) X(u64, ino) X(u16, from) X(u16, to) X(u64, map)

#define MSG_R_STATUS(X) REPLY_FIELDS(X)
/* meta = 1: the leader granted a shared metadata lease on the inode (and, for a lookup, on the
 * directory): it may be cached until recalled. lease: enum lease_mode granted on the data.
 * dir_meta = 1, in answers to changes of a name: the same lease on the directory, whose attributes
 * just after this change follow. moved: the inode that a rename moved, swapped: the other one of an
 * exchange (0: none). */
#define MSG_R_INODE(X) \
	REPLY_FIELDS(X) X(u8, meta) X(u8, lease) INODE_FIELDS(X) X(u64, moved) X(u64, swapped) \
	X(u8, dir_meta) X(u32, dir_nlink) X(u64, dir_size) X(u64, dir_mtime) X(u64, dir_ctime)
#define MSG_R_BYTES(X) REPLY_FIELDS(X) X(u8, meta) X(u64, next) X(span, bytes)
/* start, with NO_SESSION: what the catalog remembers of an earlier process of this server; a server
 * without a disk of its own asks again with a higher one. */
#define MSG_R_SESSION(X) \
	REPLY_FIELDS(X) X(u64, given) X(u32, session_ms) X(u32, margin_ms) X(u64, map) \
	X(u64, files_complete_from) X(u64, start)
/* recover = 1: this is a recovery, with the new epoch; the holder must seal and compare before it
 * serves. Otherwise stale says what lags (stale.h), and size and times are the truth. */
/* grant: of a shared one; the ids of recalls count with it, so that a lower one means an older grant.
 * taken_by: with LOST, the server that was granted something of the file last. */
#define MSG_R_LEASE(X) \
	REPLY_FIELDS(X) X(u8, granted) X(u8, recover) X(u64, grant) X(u32, taken_by) INODE_FIELDS(X) \
	X(span, stale)
#define MSG_R_LOCK(X) REPLY_FIELDS(X) X(u64, start) X(u64, end) X(u32, pid) X(u8, type)
#define MSG_R_STATFS(X) REPLY_FIELDS(X) X(u64, total) X(u64, free) X(u64, files)
/* As in op_release, or in op_move where from = 0. */
#define MSG_R_MOVE(X) REPLY_FIELDS(X) X(u64, ino) X(u16, from) X(u16, to) X(u64, map)

enum hello_no_reason {
	HELLO_NO_OTHER = 0,   /* the text tells */
	HELLO_NO_CLUSTER = 1,
	HELLO_NO_VERSION = 2, /* of the wire format: who is refused may not be able to read this */
	HELLO_NO_IN_USE = 3,  /* another process has this server id */
};
enum write_op { WRITE_DATA = 0, WRITE_ZERO = 1 };
enum read_flags { READ_SUMS_ONLY = 1, READ_REPAIR = 2 };
enum lease_mode { LEASE_NONE = 0, LEASE_SHARED = 1, LEASE_EXCLUSIVE = 2 };
enum recall_what {
	RECALL_META = 1,
	RECALL_DATA = 2,
	RECALL_HELD = 4, /* with DATA: the exclusive lease */
};
enum lock_flavour { LOCK_POSIX = 0, LOCK_FLOCK = 1 };
enum setattr_valid {
	SETATTR_MODE = 1, SETATTR_UID = 2, SETATTR_GID = 4,
	SETATTR_ATIME = 8, SETATTR_MTIME = 16, SETATTR_CTIME = 32,
	SETATTR_KILL_SUID = 64,  /* setuid goes, and setgid of what the group may execute */
	SETATTR_KILL_CAPS = 128, /* security.capability goes */
};
enum inode_state {
	INODE_CLEAN = 1,     /* size and times here are the truth: released, or never written */
	INODE_HELD = 2,      /* exclusively, by some session */
	INODE_STALE = 4,     /* the stale map is not empty, or will not be when it is given back */
	INODE_ORPHAN = 8,    /* no links; kept while open somewhere */
	INODE_CAPS = 16,     /* has security.capability */
};

#define OP_SHOWN_BYTES 28 /* of one server in op_shown and op_release */
#define Q_INODES_MAX 1024 /* asked for at once */
#define Q_FILES_BYTES 16 /* of the question, for each file: u64 id, u64 its seal at the asker */
/* With a file id in an answer to q_files: it exists, whole, and has no replica on the asker; without,
 * it exists no more. */
#define Q_FILES_LEFT ((uint64_t)1 << 63)
#define LIST_ENTRY_BYTES 37 /* u64 block, u64 epoch, u64 n, u64 closed, u8 flags, u32 pages stored */
enum list_flags { LIST_HOLES = 1 };


enum msg_type {
#define M(name, number, fields) MSG_TYPE_##name = (number),
	MSG_LIST(M)
#undef M
	MSG_TYPE_MAX = 160
};

#define FIELD_u8(name) uint8_t name;
#define FIELD_u16(name) uint16_t name;
#define FIELD_u32(name) uint32_t name;
#define FIELD_u64(name) uint64_t name;
#define FIELD_ver(name) struct version name;
#define FIELD_span(name) struct span name;
#define X(kind, name) FIELD_##kind(name)
#define M(name, number, fields) struct msg_##name { fields(X) };
MSG_LIST(M)
#undef M
#undef X

/* A decoded message. Spans point into memory of who made it (the frame, when received) and live as
 * long as that: a callee that keeps one copies it. The payload is a slice without a reference of
 * its own: a callee that keeps it takes one with iobuf_get(). */
struct msg {
	enum msg_type type;
	server_id_t src;
	server_id_t dst;
	server_id_t via; /* not on the wire. Sending: the neighbour to hand it to; 0: dst itself.
	                    Received: the neighbour it came from, so a reply's via is the request's */
	uint64_t id; /* request id; a reply repeats it */
	struct slice payload;
	union {
#define M(name, number, fields) struct msg_##name name;
		MSG_LIST(M)
#undef M
	};
};

/* Frame length of `m` without its payload: header and body. */
size_t msg_head_bytes(const struct msg *m);
/* Writes header and body (msg_head_bytes()) to `out`; the payload follows it on the wire. */
void msg_encode(const struct msg *m, uint8_t *out);

struct frame_info {
	uint16_t type; /* as the peer says: any number */
	uint16_t version; /* set also with ERR_VERSION */
	uint32_t body_bytes;
	uint32_t payload_bytes;
};
/* Checks a header. 0, ERR_CORRUPT (magic, checksum, sizes), ERR_VERSION. */
MUST_CHECK int msg_decode_header(const uint8_t head[WIRE_HEADER_BYTES], struct frame_info *out);
/* Decodes a whole frame; spans of *m point into `body`. ERR_CORRUPT with nothing to undo. */
MUST_CHECK int msg_decode(const uint8_t head[WIRE_HEADER_BYTES], const uint8_t *body,
                          struct slice payload, struct msg *m);

/* The body alone, for the catalog's log and cached replies: type u16, then the fields. */
size_t msg_body_bytes(const struct msg *m);
void msg_encode_body(const struct msg *m, uint8_t *out);
MUST_CHECK int msg_decode_body(const uint8_t *p, size_t len, struct msg *m);

const char *msg_type_name(enum msg_type type);
const char *status_text(enum status s);
/* One readable line, for traces: "write file=7 block=3 ...". Returns snprintf's length. */
int msg_print(const struct msg *m, char *out, size_t size);

/* Checksum of one 4 KiB page, bound to its place (T10 DIF's idea): a page returned for another
 * file, block or page number never verifies. Never 0, which stands for a hole. */
uint64_t page_sum(file_id_t file, uint64_t block, uint32_t page, const void *data);
