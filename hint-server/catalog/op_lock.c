/* Locks of files in the kv, and the change that sets one. */
#include "hint-server/catalog/internal.h"
#include "hint-server/catalog/locks.h"

#include <fcntl.h>

static void load(struct catalog *c, uint64_t ino, struct lock_table *t)
{
	struct key k = key1('l', ino);
	struct kv_span v;

	lock_table_init(t);
	if (db_get(c, &k, &v) && lock_table_decode(t, v.p, v.len) < 0)
		db_corrupt(c);
}

static void store(struct catalog *c, uint64_t ino, const struct lock_table *t)
{
	struct key k = key1('l', ino);
	size_t len = (size_t)t->n * LOCK_BYTES;
	uint8_t *bytes;

	if (t->n == 0) {
		db_del(c, &k);
		return;
	}
	bytes = catalog_scratch(c, len);
	lock_table_encode(t, bytes);
	db_put(c, &k, bytes, len);
}

/* Index 'k': the session has locks on the file. */
static void index_session(struct catalog *c, uint64_t ino, const struct lock_table *t,
                          session_id_t s, bool had)
{
	struct key k = key2('k', s, ino);
	bool has = lock_table_has_session(t, s);

	if (has && !had)
		db_mark(c, &k);
	if (!has && had)
		db_del(c, &k);
}

static void tell_freed(struct catalog *c, uint64_t ino)
{
	if (c->watch && c->watch->locks_freed)
		c->watch->locks_freed(c->watch_ctx, ino);
}

static struct catalog_lock lock_of(session_id_t s, const struct msg_op_lock *op)
{
	bool flock = op->flavour == LOCK_FLOCK;

	return (struct catalog_lock){
		.session = s,
		.owner = op->owner,
		.start = flock ? 0 : op->start,
		.end = flock ? UINT64_MAX : op->end,
		.pid = op->pid,
		.type = op->type,
		.flavour = op->flavour,
	};
}

static bool valid(const struct catalog_lock *l)
{
	return l->start <= l->end && l->flavour <= LOCK_FLOCK &&
	       (l->type == F_RDLCK || l->type == F_WRLCK || l->type == F_UNLCK);
}

/* Sets `want` in memory unless another's lock is in the way; *less: something became free. */
static enum status set(struct lock_table *t, const struct catalog_lock *want, bool *less)
{
	unsigned before = t->n;

	if (!valid(want))
		return STATUS_INVALID;
	if (lock_table_conflict(t, want))
		return STATUS_AGAIN;
	*less = lock_table_set(t, want) || *less;
	/* Unlocking in the middle of a lock makes two. */
	return t->n > before && t->n > CATALOG_LOCKS_PER_FILE_MAX ? STATUS_NO_SPACE : STATUS_OK;
}

static void keep(struct catalog *c, uint64_t ino, const struct lock_table *t, session_id_t s,
                 bool had, bool less)
{
	store(c, ino, t);
	index_session(c, ino, t, s, had);
	if (less)
		tell_freed(c, ino);
}

enum status op_lock(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	struct catalog_lock want = lock_of(m->op_lock.session, &m->op_lock);
	bool had, less = false;
	enum status status;
	struct lock_table t;
	struct inode i;

	(void)reply;
	if (!valid(&want))
		return STATUS_INVALID;
	if (!inode_load(c, m->op_lock.ino, &i))
		return STATUS_STALE;
	load(c, i.ino, &t);
	had = lock_table_has_session(&t, want.session);
	status = set(&t, &want, &less);
	if (status == STATUS_OK)
		keep(c, i.ino, &t, want.session, had, less);
	lock_table_fini(&t);
	if (status == STATUS_OK && want.type != F_UNLCK) {
		inode_mark_taken(c, &i, c->session.server);
		inode_store(c, &i);
	}
	return status;
}

static struct catalog_lock take_lock(struct cursor *cur, session_id_t s)
{
	struct catalog_lock l = {.session = s};

	l.owner = cursor_u64(cur);
	l.start = cursor_u64(cur);
	l.end = cursor_u64(cur);
	l.pid = cursor_u32(cur);
	l.type = cursor_u8(cur);
	l.flavour = cursor_u8(cur);
	return l;
}

enum status locks_restore(struct catalog *c, uint64_t ino, session_id_t s, struct span locks)
{
	struct cursor cur = {locks.p, locks.len, false};
	enum status status = STATUS_OK;
	bool had, less = false;
	struct lock_table t;

	if (locks.len == 0)
		return STATUS_OK;
	load(c, ino, &t);
	had = lock_table_has_session(&t, s);
	while (cur.left > 0 && status == STATUS_OK) {
		struct catalog_lock want = take_lock(&cur, s);

		status = want.type == F_UNLCK ? STATUS_INVALID : set(&t, &want, &less);
	}
	if (status == STATUS_OK)
		keep(c, ino, &t, s, had, less);
	lock_table_fini(&t);
	return status;
}

void locks_drop_session(struct catalog *c, uint64_t ino, session_id_t s)
{
	struct lock_table t;

	load(c, ino, &t);
	if (lock_table_drop_session(&t, s)) {
		store(c, ino, &t);
		index_session(c, ino, &t, s, true);
		tell_freed(c, ino);
	}
	lock_table_fini(&t);
}

void locks_drop_all(struct catalog *c, uint64_t ino)
{
	struct lock_table t;

	load(c, ino, &t);
	while (t.n > 0) {
		session_id_t s = t.lock[0].session;

		lock_table_drop_session(&t, s);
		index_session(c, ino, &t, s, true);
	}
	store(c, ino, &t);
	lock_table_fini(&t);
}

unsigned catalog_locks(struct catalog *c, uint64_t ino, struct catalog_lock *out, unsigned max)
{
	struct lock_table t;
	unsigned n;

	load(c, ino, &t);
	n = MIN(t.n, max);
	for (unsigned i = 0; i < n; i++)
		out[i] = t.lock[i];
	lock_table_fini(&t);
	return n;
}

bool catalog_lock_blocker(struct catalog *c, session_id_t s, const struct msg_op_lock *want,
                          struct catalog_lock *out)
{
	struct catalog_lock wanted = lock_of(s, want);
	const struct catalog_lock *blocker;
	struct lock_table t;

	if (!valid(&wanted))
		return false;
	load(c, want->ino, &t);
	blocker = lock_table_conflict(&t, &wanted);
	if (blocker)
		*out = *blocker;
	lock_table_fini(&t);
	return blocker != NULL;
}
