/* The locks of one file: POSIX byte ranges (split and merge) and flock. Pure.
 *
 * An owner is (session, owner number); OFD locks are POSIX locks of just another owner. Locks of
 * one owner and flavour never overlap; flavours never meet. */
#pragma once

#include "hint-server/catalog/catalog.h"

struct lock_table {
	struct catalog_lock *lock; /* by (flavour, session, owner, start) */
	unsigned n;
	unsigned capacity;
};

#define LOCK_BYTES 38

void lock_table_init(struct lock_table *t);
void lock_table_fini(struct lock_table *t);
/* The first lock in the way of `want`; NULL: none. */
const struct catalog_lock *lock_table_conflict(const struct lock_table *t,
                                               const struct catalog_lock *want);
/* Sets, changes or (F_UNLCK) removes; `want` must meet no conflict. True if anything the owner
 * held before became less. */
bool lock_table_set(struct lock_table *t, const struct catalog_lock *want);
/* True if the session had any. */
bool lock_table_drop_session(struct lock_table *t, session_id_t s);
bool lock_table_has_session(const struct lock_table *t, session_id_t s);

/* LOCK_BYTES each. */
void lock_table_encode(const struct lock_table *t, uint8_t *out);
MUST_CHECK int lock_table_decode(struct lock_table *t, const uint8_t *p, size_t len);
