/* Directory entries, each stored twice: by name for lookups, by cookie for readdir. A directory
 * gives a cookie once and never again, so readdir survives any insertion or deletion. */
#include "hint-server/catalog/internal.h"

#define ENTRY_BYTES 17      /* by name: u64 cookie, u64 ino, u8 type */
#define ENTRY_HEAD_BYTES 9  /* by cookie: u64 ino, u8 type, name */

enum status name_check(struct span name)
{
	if (name.len == 0)
		return STATUS_INVALID;
	if (name.len > NAME_BYTES_MAX)
		return STATUS_NAME_TOO_LONG;
	if (memchr(name.p, '/', name.len) || memchr(name.p, 0, name.len))
		return STATUS_INVALID;
	if (name.p[0] == '.' && (name.len == 1 || (name.len == 2 && name.p[1] == '.')))
		return STATUS_INVALID;
	return STATUS_OK;
}

bool entry_find(struct catalog *c, uint64_t dir, struct span name, struct entry *out)
{
	struct key k = key_name('d', dir, name);
	struct kv_span v;

	if (!db_get(c, &k, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	out->cookie = cursor_u64(&cur);
	out->ino = cursor_u64(&cur);
	out->type = cursor_u8(&cur);
	if (!cursor_done(&cur))
		db_corrupt(c);
	return c->rc == 0;
}

static void entry_put(struct catalog *c, uint64_t dir, struct span name, const struct entry *e)
{
	uint8_t bytes[ENTRY_HEAD_BYTES + NAME_BYTES_MAX];
	struct key k = key_name('d', dir, name);

	put_u64le(bytes, e->cookie);
	put_u64le(bytes + 8, e->ino);
	bytes[16] = e->type;
	db_put(c, &k, bytes, ENTRY_BYTES);

	k = key2('c', dir, e->cookie);
	put_u64le(bytes, e->ino);
	bytes[8] = e->type;
	memcpy(bytes + ENTRY_HEAD_BYTES, name.p, name.len);
	db_put(c, &k, bytes, ENTRY_HEAD_BYTES + name.len);
}

void entry_add(struct catalog *c, struct inode *dir, struct span name, const struct inode *i)
{
	struct entry e = {++dir->cookie, i->ino, (uint8_t)(i->mode >> 12)};

	entry_put(c, dir->ino, name, &e);
	dir->size++;
}

void entry_remove(struct catalog *c, struct inode *dir, struct span name, const struct entry *e)
{
	struct key k = key_name('d', dir->ino, name);

	db_del(c, &k);
	k = key2('c', dir->ino, e->cookie);
	db_del(c, &k);
	dir->size--;
}

void entry_replace(struct catalog *c, uint64_t dir, struct span name, const struct entry *e,
                   const struct inode *i)
{
	struct entry now = {e->cookie, i->ino, (uint8_t)(i->mode >> 12)};

	entry_put(c, dir, name, &now);
}

bool entry_next(struct catalog *c, uint64_t dir, uint64_t cookie, struct entry *out,
                struct span *name)
{
	struct key k = key2('c', dir, cookie + 1);
	struct kv_span v;

	if (cookie == UINT64_MAX || !db_seek(c, &k, 9, &v))
		return false;
	struct cursor cur = {v.p, v.len, false};

	out->cookie = get_u64be(k.bytes + 9);
	out->ino = cursor_u64(&cur);
	out->type = cursor_u8(&cur);
	if (cur.bad || cur.left == 0 || cur.left > NAME_BYTES_MAX) {
		db_corrupt(c);
		return false;
	}
	*name = (struct span){cur.p, (uint32_t)cur.left};
	return true;
}

bool entry_is_below(struct catalog *c, uint64_t below, uint64_t dir)
{
	struct inode i;

	/* No more steps than there are inodes, whatever the stored data says. */
	for (uint64_t n = 0; n <= c->meta.inodes; n++) {
		if (below == dir)
			return true;
		if (below == FILE_ROOT || !inode_load(c, below, &i))
			return false;
		below = i.parent;
	}
	db_corrupt(c);
	return true;
}
