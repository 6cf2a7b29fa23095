/* Locks: what this server holds (locks_held.c) and what it asks for (locks.c). */
#pragma once

#include "access-server/volume/parts.h"

struct held_lock {
	struct held_lock *prev, *next;
	uint64_t owner, start, end; /* inclusive */
	uint64_t handle;            /* through which it was taken */
	uint32_t pid;
	uint8_t type, flavour;
};

/* Of a file: in file.locks. */
struct held_locks {
	struct held_lock *list;
	uint8_t *encoded;
};

struct lock_op {
	struct lock_op *prev, *next;
	struct session_call call;
	struct volume *v;
	struct vol_req *req;      /* NULL: nobody waits */
	struct msg_op_lock lock;
	struct vol_timer timer;
	bool query, in_call, interrupted;
	bool queued;              /* behind a question of the same owner that is out */
	bool ready;               /* lock_ready came while the question was out */
};

struct lock_table {
	struct lock_op *ops;
};

static inline struct lock_table *table_of(struct volume *v)
{
	return v->locks;
}

/* Granted: replaces what the same owner held there (fcntl(2)). */
void held_set(struct file *f, const struct msg_op_lock *l, uint64_t handle);
void held_clear(struct file *f, const struct msg_op_lock *l);
/* The owner holds something in [start, end] with that flavour. */
bool held_overlaps(const struct file *f, const struct msg_op_lock *l);
/* Takes one lock of the handle off the list; false: none left. */
bool held_take(struct file *f, uint64_t handle, struct msg_op_lock *out);
bool held_take_any(struct file *f, struct msg_op_lock *out);
