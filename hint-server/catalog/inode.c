#include "hint-server/catalog/internal.h"

#include "hint-server/catalog/record.h"

#include <sys/stat.h>

RECORD_CODEC(inode, INODE_RECORD)

bool inode_load(struct catalog *c, uint64_t ino, struct inode *out)
{
	struct key k = key1('i', ino);
	struct kv_span v;

	if (!db_get(c, &k, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	take_inode(out, &cur);
	if (!cursor_done(&cur) || out->ino != ino) {
		db_corrupt(c);
		return false;
	}
	ending_apply(c, out);
	return true;
}

uint8_t inode_state(const struct inode *i)
{
	unsigned state = 0;

	if (i->holder != 0)
		state |= INODE_HELD;
	else if (!(i->flags & INO_UNCLEAN))
		state |= INODE_CLEAN;
	if (i->flags & (INO_STALE | INO_REFILL))
		state |= INODE_STALE;
	if (i->nlink == 0)
		state |= INODE_ORPHAN;
	if (i->flags & INO_CAPS)
		state |= INODE_CAPS;
	return (uint8_t)state;
}

static bool wants_repair(const struct inode *i)
{
	return (i->flags & (INO_UNCLEAN | INO_STALE | INO_REFILL)) != 0;
}

/* Index 'u' follows the flags; INO_LISTED says what it holds. */
static void set_repair(struct catalog *c, struct inode *i, bool wanted)
{
	struct key k = key1('u', i->ino);

	if (wanted == ((i->flags & INO_LISTED) != 0))
		return;
	if (wanted)
		db_mark(c, &k);
	else
		db_del(c, &k);
	i->flags ^= INO_LISTED;
	c->meta.repairs += wanted ? 1 : UINT64_MAX;
	meta_changed(c);
}

void inode_store(struct catalog *c, struct inode *i)
{
	uint8_t bytes[RECORD_BYTES_MAX], *end;
	struct key k = key1('i', i->ino);

	set_repair(c, i, wants_repair(i));
	i->state = inode_state(i);
	end = put_inode(i, bytes);
	db_put(c, &k, bytes, (size_t)(end - bytes));
}

void inode_set_holder(struct catalog *c, struct inode *i, session_id_t holder)
{
	struct key k = key2('h', i->holder, i->ino);

	if (i->holder == holder)
		return;
	if (i->holder != 0)
		db_del(c, &k);
	i->holder = holder;
	if (holder != 0) {
		k = key2('h', holder, i->ino);
		db_mark(c, &k);
	}
	if (c->watch && c->watch->holder_changed)
		c->watch->holder_changed(c->watch_ctx, i->ino, holder);
}

void inode_mark_taken(struct catalog *c, struct inode *i, server_id_t by)
{
	if (i->taken_by != by) {
		i->other_index = i->taken_index;
		i->taken_by = by;
	}
	i->taken_index = c->index;
}

void inode_drop_link(struct catalog *c, struct inode *i, uint64_t now)
{
	struct key k = key1('o', i->ino);

	i->nlink = inode_is(i, S_IFDIR) ? 0 : i->nlink - 1;
	i->ctime = now;
	if (i->nlink > 0 || c->bugs & CATALOG_BUG_ORPHAN_UNMARKED)
		return;
	db_mark(c, &k);
	c->meta.orphans++;
	meta_changed(c);
	if (c->watch && c->watch->orphaned)
		c->watch->orphaned(c->watch_ctx, i->ino);
}

void inode_set_stale(struct catalog *c, struct inode *i, const struct stale_map *s)
{
	struct key k = key1('t', i->ino);
	size_t len = stale_encoded_bytes(s);

	if (stale_empty(s)) {
		if (i->flags & INO_STALE)
			db_del(c, &k);
		i->flags = (uint8_t)(i->flags & ~INO_STALE);
		return;
	}
	uint8_t *bytes = catalog_scratch(c, len);

	stale_encode(s, bytes);
	db_put(c, &k, bytes, len);
	i->flags |= INO_STALE;
}

static void remove_xattrs(struct catalog *c, uint64_t ino)
{
	struct key k = key1('x', ino);
	struct kv_span v;

	while (db_seek(c, &k, 9, &v)) {
		db_del(c, &k);
		k = key1('x', ino);
	}
}

void inode_remove(struct catalog *c, struct inode *i)
{
	struct key k = key1('i', i->ino);

	CHECK(i->nlink == 0);
	inode_set_holder(c, i, 0);
	db_del(c, &k);
	k = key1('o', i->ino);
	db_del(c, &k);
	k = key1('t', i->ino);
	db_del(c, &k);
	k = key1('y', i->ino);
	db_del(c, &k);
	set_repair(c, i, false);
	remove_xattrs(c, i->ino);
	locks_drop_all(c, i->ino);
	if (inode_is(i, S_IFREG)) {
		map_count(c, i->map, -1);
		c->meta.files--;
	}
	c->meta.orphans--;
	c->meta.inodes--;
	meta_changed(c);
	if (c->watch && c->watch->removed)
		c->watch->removed(c->watch_ctx, i->ino);
}

void reply_inode(struct msg_r_inode *r, const struct inode *i)
{
#define X(kind, name) r->name = i->name;
	INODE_FIELDS(X)
#undef X
}

void reply_lease(struct msg_r_lease *r, const struct inode *i)
{
#define X(kind, name) r->name = i->name;
	INODE_FIELDS(X)
#undef X
}

void reply_stale(struct catalog *c, struct catalog_reply *reply, uint64_t ino)
{
	struct key k = key1('t', ino);
	struct kv_span v;
	uint8_t *bytes;

	if (!db_get(c, &k, &v))
		return;
	bytes = reply_bytes(reply, v.len);
	memcpy(bytes, v.p, v.len);
	reply->m.r_lease.stale = (struct span){bytes, (uint32_t)v.len};
}
