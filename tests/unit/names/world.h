/* An access server's volume with a scripted catalog: the test plays the leader. The session and the
 * volume are the real ones; what goes out, what the kernel is told and what completes is written to
 * `trace`, one line each, to be compared with what is expected. */
#pragma once

#include "access-server/volume/volume.h"
#include "common/session/session.h"

#define ASKED_MAX 64

struct asked {
	struct msg m;
	uint8_t body[4096]; /* the spans of m */
	bool answered;
};

struct world {
	struct env env;
	nsec_t now;
	uint64_t random;
	struct session *session;
	struct volume *volume;
	session_id_t given;      /* what op_session is answered with */
	bool mute;               /* heartbeats are not answered */
	bool no_session;         /* they are answered NO_SESSION */
	bool kernel_waits;       /* invalidations of entries do not come back */
	uint32_t shared_ms;
	uint64_t moved, swapped; /* of answers to renames */
	uint64_t dir_size;       /* answers to changes bring the directory's lease and this size; 0: not */
	struct asked asked[ASKED_MAX];
	unsigned n;
	uint64_t cookie[64];     /* invalidations to confirm */
	unsigned cookies;
	char trace[16384];
	size_t len;
};

extern struct world w;

void world_up(void);
void world_down(void);
void say(const char *fmt, ...) PRINTF(1, 2);
/* The trace since the last call must be this. */
void expect(const char *text);

/* Lets time pass in steps of a millisecond; heartbeats are answered, kernel calls confirmed. */
void pass(nsec_t time);
static inline void settle(void)
{
	pass(2 * NSEC_MSEC);
}

/* The last message of that type not answered yet; NULL: none. */
struct asked *find_asked(enum msg_type type);
/* Answers the oldest open question of that type. */
void answer_inode(enum msg_type type, enum status status, uint64_t ino, uint32_t mode, bool meta);
void answer_status(enum msg_type type, enum status status);
void answer_bytes(enum msg_type type, enum status status, const void *bytes, uint32_t len,
                  bool meta, uint64_t next);
void answer_lock(enum status status, uint8_t type);
void recall_meta(uint64_t ino, uint64_t id);
void lock_ready(uint64_t ino, uint64_t owner);

/* Requests: each prints "done NAME rc ..." when it completes. */
struct vol_req *lookup(uint64_t dir, const char *name);
struct vol_req *create(uint64_t dir, const char *name, uint32_t mode, unsigned flags);
struct vol_req *named(enum vol_op op, uint64_t dir, const char *name);
struct vol_req *renamed(uint64_t dir, const char *name, uint64_t new_dir, const char *new_name,
                        uint32_t flags);
struct vol_req *linked(uint64_t ino, uint64_t dir, const char *name);
struct vol_req *readdir(uint64_t dir, uint64_t cookie, uint64_t len);
struct vol_req *readdir_plus(uint64_t dir, uint64_t cookie, uint64_t len);
#define LOCKED_INO 9
struct vol_req *locked(enum vol_op op, uint64_t handle, uint64_t owner, uint8_t type, uint64_t start,
                       uint64_t end, unsigned flags);
struct vol_req *plain(enum vol_op op, uint64_t ino, uint64_t handle, uint64_t owner);
uint64_t last_handle(void);

struct span text(const char *s);
