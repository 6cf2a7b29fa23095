/* Exclusive leases of sessions that ended. An access server keeps leases while nobody asks, so
 * there may be hundreds of thousands, and one log entry that rewrites as many inodes would stop
 * every voter for seconds. So the end of a session is one record, which counts at once wherever
 * an inode is read; the inodes themselves follow a few per entry. */
#include "hint-server/catalog/internal.h"

#include "common/base/mem.h"

int ending_read(struct catalog *c)
{
	session_id_t s = 0;

	c->endings = 0;
	while (db_next(c, 'e', s, &s)) {
		c->ending = mem_resize(c->ending, c->endings + 1, sizeof(*c->ending));
		c->ending[c->endings++] = s;
	}
	return c->rc;
}

bool ending_has(const struct catalog *c, session_id_t s)
{
	for (size_t i = 0; i < c->endings; i++)
		if (c->ending[i] == s)
			return true;
	return false;
}

void ending_apply(const struct catalog *c, struct inode *i)
{
	if (i->holder == 0 || !ending_has(c, i->holder))
		return;
	i->lost_by = i->holder;
	i->holder = 0;
	i->flags |= INO_UNCLEAN;
	i->state = inode_state(i);
}

void ending_add(struct catalog *c, session_id_t s)
{
	struct key k = key1('e', s);
	uint64_t ino = 0;
	size_t at = c->endings;

	if (!db_next2(c, 'h', s, 0, &ino))
		return;
	db_mark(c, &k);
	c->ending = mem_resize(c->ending, c->endings + 1, sizeof(*c->ending));
	for (; at > 0 && c->ending[at - 1] > s; at--)
		c->ending[at] = c->ending[at - 1];
	c->ending[at] = s;
	c->endings++;
	if (!c->watch || !c->watch->holder_changed)
		return;
	for (ino = 0; db_next2(c, 'h', s, ino, &ino);)
		c->watch->holder_changed(c->watch_ctx, ino, 0);
}

/* Tidies one file. It may have been taken by another since, or be gone: the index entry then was
 * all that was left. */
static void tidy(struct catalog *c, session_id_t s, uint64_t ino)
{
	struct key k = key2('h', s, ino);
	struct inode i;

	db_del(c, &k);
	if (inode_load(c, ino, &i) && i.lost_by == s)
		inode_store(c, &i);
}

void ending_sweep(struct catalog *c)
{
	uint64_t ino;

	for (uint32_t n = 0; n < c->meta.sweep && c->endings > 0; n++) {
		session_id_t s = c->ending[0];

		if (db_next2(c, 'h', s, 0, &ino)) {
			tidy(c, s, ino);
			continue;
		}
		/* No inode names it any more. */
		struct key k = key1('e', s);

		db_del(c, &k);
		c->endings--;
		memmove(c->ending, c->ending + 1, c->endings * sizeof(*c->ending));
	}
}
