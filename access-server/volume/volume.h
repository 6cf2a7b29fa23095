/* The volume: files of the datastore as one access server sees them. Pure protocol core.
 *
 * Turns file operations into replicated block operations under leases: write buffer and versions,
 * majority flush, nearest-replica reads with hedging, stale map and repair, lease take, recall and
 * handover, recovery after a dead holder, session loss, lost handles (design sections 5 and 7).
 * FUSE (access-server/fuse) and the simulator's clients drive it through vol_submit(). One owner
 * loop; no I/O, no clock but env->now. */
#pragma once

#include "common/base/env.h"
#include "common/session/session.h"
#include "common/topology/map.h"
#include "common/wire/msg.h"

struct volume;

/* Planted bugs, for the simulator's own tests. */
enum volume_bug {
	VOLUME_BUG_SEAL_SITES = 1,       /* A3: recovery counts sites, not servers per block */
	VOLUME_BUG_NO_THIRD = 2,         /* A5: release without the third replica or its stale bit */
	VOLUME_BUG_MERGE_SENT = 4,       /* A6b: merges into a write that was sent already */
	VOLUME_BUG_NO_TRIM = 8,          /* A7: truncate cuts only the size */
	VOLUME_BUG_RETRY_FLUSH = 16,     /* A9a: a failed flush is forgotten */
	VOLUME_BUG_SAME_SITE = 32,       /* A12: two replicas in one site count */
	VOLUME_BUG_NO_CLOSE = 64,        /* A1: recovery does not close */
	VOLUME_BUG_REPAIR_AHEAD = 128,   /* A5: "repairs" a replica that is ahead */
	VOLUME_BUG_SERVES_LAPSED = 256,  /* A10: serves without a valid session */
	VOLUME_BUG_FLUSH_ONE = 512,      /* P1: one durable replica is enough */
	VOLUME_BUG_FLUSH_ALL = 1024,     /* P6: a flush waits for all three replicas */
	VOLUME_BUG_NO_HEDGE = 2048,      /* P6: a read waits for the replica it asked first */
	VOLUME_BUG_SUMS_UNCHECKED = 4096, /* P7: what a replica sends is taken as it is */
	VOLUME_BUG_UNBOUNDED = 8192,     /* P8: the write buffer has no limit */
	VOLUME_BUG_APPEND_EARLY = 16384, /* P3: appends go to the end known when they were asked for */
	VOLUME_BUG_NO_GRANTS = 1 << 16,  /* P8: a write waits for no promise of space */
	VOLUME_BUG_ONE_FULL = 1 << 17,   /* P8: one full replica is enough for ENOSPC */
	VOLUME_BUG_TOLD_UNSYNCED = 1 << 18, /* P4: a size is told to others before it is durable */
	VOLUME_BUG_LOSE_EARLY = 1 << 19,  /* P1: a page is given up that an absent replica may have */
	VOLUME_BUG_NO_REBUILD = 1 << 20, /* P1: ... or the writes that the holder keeps */
	VOLUME_BUG_TOLD_UNRECOVERED = 1 << 21, /* P3: a size is told though recovery failed */
	VOLUME_BUG_OLD_RECALLS = 1 << 23, /* P6: a recall of an earlier grant voids a later one */
	VOLUME_BUG_REPAIR_YIELDS = 1 << 24, /* a file that sites take turns with is never repaired */
	VOLUME_BUG_REPAIR_RESTS = 1 << 25, /* P8: files that nobody holds are repaired at fixed times */
	VOLUME_BUG_LOCK_KEPT = 1 << 22,  /* a lock stays that a lost handle was granted */
	VOLUME_BUG_UNKNOWN_KEPT = 1 << 15, /* P6: nor does a lease go back that its holder does not know of */
	VOLUME_BUG_ALL_WAIT = 1 << 26,   /* P6: a write that waits for space holds up those of other files */
	VOLUME_BUG_LIST_BEHIND = 1 << 27, /* P3: who counts for nothing says which blocks there are */
	VOLUME_BUG_QUEUE_KEPT = 1 << 28, /* A9: an unlock waits for a reclaim that was given up */
	VOLUME_BUG_REPAIRS_ONE = 1 << 29, /* background repair never leaves a file that it cannot repair */
	VOLUME_BUG_EQUAL_AHEAD = 1 << 30, /* a replica with the same version is ahead, if closed later */
};

struct volume_config {
	server_id_t server;
	uint16_t site;                   /* of this access server; 0: none */
	uint8_t block_shift;             /* of new files; default BLOCK_SHIFT_DEFAULT */
	uint64_t buffer_bytes;           /* write buffer; default 256 MiB */
	uint64_t journal_slack_bytes;    /* space asked for in advance from each core server */
	nsec_t stale_after;              /* a replica silent for so long is marked; default 1 s */
	nsec_t repair_every;             /* background repair looks for work; default 2 s */
	nsec_t follow_writer;            /* a file written here for so long gets its home here; 0: never */
	unsigned exceptions_max;         /* of one CLOSE; default 65536, what core servers take */
	unsigned bugs;
};

#define VOL_ATTRIBUTES_ONLY UINT64_MAX

struct volume_ops {
	/* Drop the kernel's pages of [off, off+len) (len 0: to the end) and attributes; then call
	 * vol_invalidated(v, cookie) on the owner loop. Runs elsewhere (trap A11).
	 * off VOL_ATTRIBUTES_ONLY: the pages stay. */
	void (*invalidate)(void *ctx, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie);
	/* Drop a cached directory entry, or all of the directory's when name is empty. */
	void (*invalidate_entry)(void *ctx, uint64_t dir, struct span name, uint64_t cookie);
	/* Round-trip estimate to a server in ns, 0 if unknown: orders replicas by nearness. */
	nsec_t (*rtt)(void *ctx, server_id_t server);
	void (*log)(void *ctx, const char *key, const char *text);
};

enum vol_op {
	VOL_LOOKUP, VOL_GETATTR, VOL_SETATTR, VOL_READLINK, VOL_CREATE, VOL_LINK, VOL_UNLINK,
	VOL_RMDIR, VOL_RENAME, VOL_OPEN, VOL_CLOSE, VOL_READ, VOL_WRITE, VOL_FSYNC, VOL_FLUSH,
	VOL_READDIR, VOL_STATFS, VOL_GETXATTR, VOL_LISTXATTR, VOL_SETXATTR, VOL_REMOVEXATTR,
	VOL_GETLK, VOL_SETLK, VOL_FALLOCATE, VOL_SEEK, VOL_SYNC,
};

enum vol_flags {
	VOL_F_APPEND = 1,       /* WRITE: at the end, whatever `off` says */
	VOL_F_DSYNC = 2,        /* WRITE: durable before done; FSYNC: data only */
	VOL_F_SYNC = 4,
	VOL_F_WRITEBACK = 8,    /* WRITE: the kernel's dirty mmap pages; served during a recall */
	VOL_F_EXCL = 16,        /* CREATE */
	VOL_F_WAIT = 32,        /* SETLK */
	VOL_F_FLOCK = 64,       /* SETLK, GETLK */
	VOL_F_KEEP_SIZE = 128,  /* FALLOCATE */
	VOL_F_PUNCH = 256,
	VOL_F_ZERO_RANGE = 512,
	VOL_F_SEEK_DATA = 1024, /* SEEK; else SEEK_HOLE */
	VOL_F_TRUNC = 2048,     /* OPEN */
	VOL_F_KILL_SUID = 4096, /* WRITE, SETATTR size: clear setuid/setgid */
	VOL_F_READ_ONLY = 8192, /* OPEN, CREATE: nothing can be written through the handle */
	VOL_F_PLUS = 16384,     /* READDIR: with attributes */
};

enum vol_attr_valid { /* SETATTR; the first six are enum setattr_valid */
	VOL_ATTR_SIZE = 64, VOL_ATTR_ATIME_NOW = 128, VOL_ATTR_MTIME_NOW = 256,
};

/* One operation. Inputs stay valid and untouched until done(); then outputs are set. `rc`: 0 or a
 * negative errno. Every op can give -EIO on a lost handle, -EINTR when interrupted. */
struct vol_req {
	enum vol_op op;
	unsigned flags;
	uint64_t ino;            /* the file, or the directory of `name` */
	uint64_t handle;         /* of the open file; 0: none (e.g. truncate by path) */
	struct span name;        /* LOOKUP CREATE LINK UNLINK RMDIR RENAME *XATTR */
	uint64_t new_ino;        /* LINK: the file to link; RENAME: the new directory */
	struct span new_name;    /* RENAME */
	uint32_t rename_flags;   /* RENAME_NOREPLACE, RENAME_EXCHANGE */
	struct span value;       /* SETXATTR value; CREATE: symlink target */
	uint32_t xattr_flags;    /* XATTR_CREATE, XATTR_REPLACE */
	uint32_t mode, uid, gid; /* CREATE, SETATTR */
	uint64_t rdev;
	unsigned valid;          /* SETATTR: bits of both enums */
	uint64_t size, atime, mtime;
	uint64_t off, len;       /* READ WRITE FALLOCATE SEEK(off) READDIR(off = cookie, len = bytes) */
	struct slice data;       /* WRITE: the volume takes its own reference */
	struct {                 /* SETLK GETLK; also filled by GETLK */
		uint64_t owner, start, end;
		uint32_t pid;
		uint8_t type;    /* F_RDLCK F_WRLCK F_UNLCK */
	} lock;

	void (*done)(struct vol_req *req);
	int rc;
	struct msg_r_inode attr; /* LOOKUP GETATTR SETATTR CREATE LINK: the inode as of now */
	nsec_t attr_valid;       /* how long the kernel may believe it, <= 0.5 s */
	nsec_t entry_valid;      /* LOOKUP (also when rc is -ENOENT), CREATE, LINK */
	uint64_t out_handle;     /* OPEN, CREATE */
	uint64_t out_len;        /* READ WRITE; SEEK: the offset */
	uint64_t out_off;        /* WRITE: where the data went (VOL_F_APPEND) */
	bool keep_cache;         /* OPEN: a data lease is held and was since the kernel's pages of */
	                         /* the file were read: they are still good */
	struct slice out;        /* READ data, READLINK, xattrs, dirents: one reference is the caller's */
	struct msg_r_statfs statfs;
	void *backend[12];       /* the volume's */
};

/* READDIR output records, each: u64 ino, u64 next cookie, u32 type (mode bits), u16 name length,
 * name. r_dirents on the wire has the same form. */
#define DIRENT_HEAD_BYTES 22
/* READDIR with VOL_F_PLUS: behind each record. `len` counts what the kernel needs for an entry. */
struct vol_dirent_plus {
	struct msg_r_inode attr; /* ino 0: unknown; else the kernel is told, as by a LOOKUP */
	nsec_t attr_valid, entry_valid;
};
#define DIRENT_KERNEL_BYTES(name_len) (152 + ALIGN_UP((name_len), 8))

struct volume *vol_new(struct env *env, struct session *session, const struct volume_config *c,
                       const struct volume_ops *ops, void *ctx);
void vol_free(struct volume *v);

void vol_submit(struct volume *v, struct vol_req *req); /* done() is never called from inside */
/* The caller's process dies, or a lock need not be waited for: a request that waits (fence, lock,
 * lease) ends with -EINTR. */
void vol_interrupt(struct volume *v, struct vol_req *req);
/* The kernel forgot the inode. */
void vol_forget(struct volume *v, uint64_t ino);
void vol_invalidated(struct volume *v, uint64_t cookie);

/* Messages for the volume: replies of core servers, recalls, ... (session replies go to the session). */
void vol_recv(struct volume *v, const struct msg *m);
void vol_peer_up(struct volume *v, server_id_t peer);    /* connected, or drained after -EAGAIN */
void vol_peer_down(struct volume *v, server_id_t peer);
nsec_t vol_tick(struct volume *v, nsec_t now);

/* session_ops of the access server: the session module calls these with the volume as ctx. */
extern const struct session_ops vol_session_ops;

/* Has the file's replica in site `from` go to site `to`, or to the servers that `map` has in its own site
 * (to = from), placed by `map` (0: by the one it is placed by); from = to = 0: only the map changes. It is
 * taken for that if it is not held here. What becomes of it the catalog tells. False: not now. */
bool vol_move(struct volume *v, uint64_t ino, uint16_t from, uint16_t to, uint64_t map);

/* The newest map the volume works with; NULL: none yet. */
const struct map *vol_map(const struct volume *v);
/* Files may be placed by older ones: the adapter connects to the core servers of all maps that there are
 * here. The count rises with each that comes. after = NULL: the first one; NULL: no more. */
unsigned vol_maps(const struct volume *v);
const struct map *vol_map_next(const struct volume *v, const struct map *after);
bool vol_knows_server(const struct volume *v, server_id_t core);

struct vol_stats {
	uint64_t files, buffered_bytes, stale_blocks, repairs, recoveries, hedged, lost_handles;
	uint64_t lost_pages; /* found unreadable on every replica */
	uint64_t writes, reads, flushes;
	uint64_t moves; /* asked for here, and made */
};
/* Releases every exclusive lease, as if all were recalled; for a server that is about to end. */
void vol_give_back(struct volume *v);
bool vol_gave_back(const struct volume *v); /* none is left */
void vol_get_stats(const struct volume *v, struct vol_stats *out);

struct vol_file_stats {
	uint64_t epoch, size, mtime;
	uint64_t unflushed_bytes;   /* of them, and of times and trims: not yet on two replicas */
};
/* The last time the file was lost here: its lease, or locks, taken by another, and what was not flushed
 * with it. */
struct vol_loss {
	uint64_t ino, epoch;
	nsec_t at;                  /* it was noticed; as vol_tick()'s now */
	server_id_t by;             /* who was granted something of it last; 0: not told */
	const char *why;
	unsigned handles;           /* that are lost and not closed yet */
};
bool vol_get_loss(struct volume *v, uint64_t ino, struct vol_loss *out);

/* The file as its writer has it now, for the administrator. False: not held for writing here, or
 * not yet known, or there is no session. */
bool vol_get_file(struct volume *v, uint64_t ino, struct vol_file_stats *out);
