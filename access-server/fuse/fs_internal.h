/* Shared by the files of this folder only. */
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <uthash.h>
#include <utlist.h>

#include "access-server/fuse/fs.h"
#include "access-server/fuse/mailbox_uv.h"
#include "access-server/fuse/mount.h"

#define FS_THREADS_MAX 32
#define FS_INVALIDATORS 4
#define FS_REQUEST_BYTES_MAX (1u << 20)
#define FS_LARGE_BYTES (64u << 10) /* requests above it are for threads */

/* A request of the kernel on its way through the volume. Owned by the FUSE thread until posted,
 * then by the loop. */
struct call {
	struct vol_req req;
	struct call *prev, *next;    /* of those under way on the loop */
	struct call *wait_prev, *wait_next; /* of those that wait for a writeback */
	bool waits;
	bool failed;                 /* by fs_fail_waiting(): not a signal's end */
	struct fs *fs;
	fuse_req_t fuse;             /* NULL: nobody waits (the closing of a handle) */
	struct letter letter;        /* the request on its way to the loop */
	struct letter interrupt;     /* FUSE_INTERRUPT on its way to the loop */
	bool interrupt_posted;       /* under libfuse's lock of the request; the call stays until */
	bool interrupted;            /* delivered: the loop's */
	bool watched;                /* the caller got a signal and lives on so far */
	bool ended;                  /* the caller dies: its waiting is ended */
	pid_t thread;                /* the caller's */
	bool submitted;
	bool replied;
	bool deferred;               /* answered after an invalidation (appends) */
	void (*reply)(struct call *c);
	struct fuse_file_info fi;
	size_t room;                 /* bytes the kernel has for the answer */
	char text[];                 /* names and values of the request */
};

/* A handle as the kernel keeps it: the volume's, and whether it bypasses the page cache. */
static inline uint64_t fh_make(uint64_t handle, bool direct)
{
	return handle << 1 | (direct ? 1 : 0);
}

static inline uint64_t fh_handle(uint64_t fh)
{
	return fh >> 1;
}

static inline bool fh_direct(uint64_t fh)
{
	return fh & 1;
}

/* How often the kernel was told of an inode and has not forgotten it. */
struct known {
	uint64_t ino;
	uint64_t lookups;
	UT_hash_handle hh;
};

struct invalidation {
	struct cds_wfcq_node node;
	struct letter letter;
	struct fs *fs;
	struct call *then;           /* answered when done, instead of telling the volume */
	bool entry, quit;
	uint64_t ino, off, len, cookie;
	uint32_t name_len;
	char name[];
};

/* A thread that drops kernel caches. Its queue has many writers and this one reader. */
struct invalidator {
	pthread_t thread;
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	sem_t count;
	struct fs *fs;
};

/* serving_uv.c */
struct serving {
	uv_poll_t poll;
	bool open;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	bool by_loop;                /* written by the loop, with the lock */
	bool ready;                  /* FUSE_INIT is answered; atomic */
	bool large;                  /* a large write was read by a thread; atomic */
	bool several;                /* there may be more than one: the last look found all it looked for */
	bool no_memory;              /* a write that the loop read took from the reserve */
	nsec_t now, until;           /* threads read till then */
	struct fuse_buf buf;         /* of the loop */
	void (*closed)(struct fs *fs);
};

struct fs {
	struct fs_config config;
	uv_loop_t *loop;
	const struct fs_ops *ops;
	void *ctx;
	struct volume *volume;
	struct fuse_session *session;
	uint64_t kernel_flags;       /* what FUSE_INIT offered */
	char path[4096];
	struct mount_id connection;
	struct mailbox mailbox;
	struct serving serving;
	pthread_t thread[FS_THREADS_MAX];
	unsigned threads;            /* wanted: does not change while one runs */
	unsigned threads_started;    /* the loop's */
	unsigned threads_waiting;    /* for buffer memory; atomic */
	struct invalidator invalidator[FS_INVALIDATORS];
	bool mounted, stopping;
	struct letter gone;          /* the last serving thread ended */
	unsigned threads_ended;      /* atomic */
	bool gone_seen;

	struct known *known;         /* the loop's */
	struct call *calls;          /* the loop's */
	struct writeback *writebacks; /* the loop's */
	unsigned watched;            /* calls with call.watched: the loop's */
	nsec_t watch_at;
	struct fs_stats stats;       /* the loop's */

	struct letter quiesced;
	pthread_t quiescer;
	bool quiesce_free;
	void (*quiesce_done)(void *ctx, bool free);
	void *quiesce_ctx;
	void (*stop_done)(void *ctx);
	void *stop_ctx;
};

/* ops_*.c, on the serving threads. */
void fs_fill_ops(struct fuse_lowlevel_ops *ops);
void fs_fill_data_ops(struct fuse_lowlevel_ops *ops);
/* The raw request that this thread is at: libfuse hides some of its flags. */
const struct fuse_in_header *fs_raw_request(void);

/* session_sys.c: one request that was read into `buf`. On the thread that read it, or the loop. */
void fs_process(struct fs *fs, const struct fuse_buf *buf);

/* stop_sys.c: the threads have ended. */
void fs_close(struct fs *fs);

/* serving_uv.c. On the loop: */
void serving_init(struct fs *fs);
MUST_CHECK int serving_start(struct fs *fs);       /* mounted */
nsec_t serving_tick(struct fs *fs, nsec_t now);
void serving_stop(struct fs *fs);                  /* threads read, or see that the session has ended */
void serving_close(struct fs *fs, void (*closed)(struct fs *fs));
void serving_free(struct fs *fs);
/* On any thread: */
bool serving_on_loop(void);                        /* the loop is processing a request here */
void serving_park(struct fs *fs);                  /* until threads are to read */
void serving_saw(struct fs *fs, size_t bytes);     /* a thread read a request of that size */

struct call *call_new(fuse_req_t fuse, enum vol_op op, uint64_t ino, size_t text_bytes);
void call_post(struct call *c, void (*reply)(struct call *c));
/* To the loop: at once if this is it. */
void fs_post(struct fs *fs, struct letter *letter, void (*deliver)(struct letter *letter));

/* reply_sys.c, on the loop. */
void reply_none(struct call *c);       /* an error number only */
void reply_sync(struct call *c);       /* and what writebacks failed with before */
void reply_entry(struct call *c);
void reply_create(struct call *c);
void reply_attr(struct call *c);
void reply_open(struct call *c);
void reply_read(struct call *c);
void reply_write(struct call *c);
void reply_readlink(struct call *c);
void reply_xattr(struct call *c);
void reply_statfs(struct call *c);
void reply_lock(struct call *c);
void reply_seek(struct call *c);
void reply_dirents(struct call *c);
void reply_dirents_plus(struct call *c);
struct stat stat_of(const struct msg_r_inode *a);
double seconds(nsec_t ns);

/* call_sys.c, on the loop. */
void call_close_handle(struct fs *fs, uint64_t ino, uint64_t handle);
void call_submit(struct call *c);   /* to the volume */
void call_answered(struct call *c); /* before the answer: interrupts end */
void calls_abandon(struct fs *fs);
void call_finish(struct call *c); /* after the answer to a deferred call */
void known_add(struct fs *fs, uint64_t ino);
void known_forget(struct fs *fs, uint64_t ino, uint64_t lookups);
void known_free(struct fs *fs);
int fs_errno(int rc); /* for the kernel: positive, in its range */

/* writeback_sys.c, on the loop. */
void writeback_begin(struct call *c);       /* answers the kernel; the call goes on without it */
bool writeback_holds(struct call *c);       /* true: it is submitted when the writebacks are done */
void writeback_leave(struct call *c);       /* it does not wait any more */
int writeback_error(struct fs *fs, uint64_t ino); /* of earlier ones, told once */
void writebacks_free(struct fs *fs);

/* invalidate_sys.c */
/* Drops the pages from `off` on, then answers `then` (may be NULL). */
void invalidate_then(struct fs *fs, uint64_t ino, uint64_t off, struct call *then);
MUST_CHECK int invalidators_start(struct fs *fs);
void invalidators_stop(struct fs *fs);
