/* Answers to q_*: nothing here changes anything. */
#include "hint-server/catalog/internal.h"

#include <fcntl.h>
#include <sys/stat.h>

#define DIRENT_BYTES 22         /* u64 ino, u64 next cookie, u32 type, u16 name length */
#define DIRENTS_BYTES_DEFAULT 65536u
#define DIRENTS_BYTES_MAX (1u << 20)
#define LISTXATTR_BYTES_MAX CATALOG_XATTR_NAMES_BYTES_MAX

typedef enum status query(struct catalog *c, const struct msg *q, struct catalog_reply *reply);

static bool is_dots(struct span name, unsigned n)
{
	return name.len == n && memcmp(name.p, "..", n) == 0;
}

static enum status q_lookup(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	const struct msg_q_lookup *op = &q->q_lookup;
	struct inode dir, i;
	struct entry e = {0};

	if (op->name.len > NAME_BYTES_MAX)
		return STATUS_NAME_TOO_LONG;
	if (op->name.len == 0)
		return STATUS_INVALID;
	if (!inode_load(c, op->dir, &dir))
		return STATUS_STALE;
	if (!inode_is(&dir, S_IFDIR))
		return STATUS_NOT_DIR;
	if (is_dots(op->name, 1))
		e.ino = dir.ino;
	else if (is_dots(op->name, 2))
		e.ino = dir.parent;
	else if (!entry_find(c, op->dir, op->name, &e))
		return STATUS_NOT_FOUND;
	if (!inode_load(c, e.ino, &i))
		return STATUS_STALE; /* the parent of a removed directory */
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}

static enum status q_inode(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct inode i;

	if (!inode_load(c, q->q_inode.ino, &i))
		return STATUS_STALE;
	reply_inode(&reply->m.r_inode, &i);
	return STATUS_OK;
}

/* --- readdir --- */

struct dirents {
	uint8_t *p;
	size_t len, size;
};

static bool add_dirent(struct dirents *d, const struct entry *e, struct span name)
{
	uint8_t *p = d->p + d->len;

	if (d->size - d->len < DIRENT_BYTES + name.len)
		return false;
	put_u64le(p, e->ino);
	put_u64le(p + 8, e->cookie);
	put_u32le(p + 16, (uint32_t)e->type << 12);
	put_u16le(p + 20, (uint16_t)name.len);
	memcpy(p + DIRENT_BYTES, name.p, name.len);
	d->len += DIRENT_BYTES + name.len;
	return true;
}

/* "." has cookie 1, ".." cookie 2, entries go on from COOKIE_FIRST. False: out of room. */
static bool add_dots(struct dirents *d, const struct inode *dir, uint64_t *cookie)
{
	for (; *cookie < COOKIE_FIRST - 1; ++*cookie) {
		struct entry e = {*cookie + 1, *cookie == 0 ? dir->ino : dir->parent, S_IFDIR >> 12};

		if (!add_dirent(d, &e, (struct span){(const uint8_t *)"..", (uint32_t)*cookie + 1}))
			return false;
	}
	return true;
}

static enum status q_readdir(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	const struct msg_q_readdir *op = &q->q_readdir;
	struct dirents d = {.size = MIN(op->bytes_max ? op->bytes_max : DIRENTS_BYTES_DEFAULT,
	                                DIRENTS_BYTES_MAX)};
	uint64_t cookie = op->cookie;
	struct span name;
	struct inode dir;
	struct entry e;
	bool room;

	if (!inode_load(c, op->dir, &dir))
		return STATUS_STALE;
	if (!inode_is(&dir, S_IFDIR))
		return STATUS_NOT_DIR;
	if (dir.nlink == 0)
		return STATUS_OK; /* removed: not even dots, as local filesystems do */
	d.size = MAX(d.size, (size_t)DIRENT_BYTES + NAME_BYTES_MAX);
	d.p = reply_bytes(reply, d.size);
	room = add_dots(&d, &dir, &cookie);
	while (room && entry_next(c, op->dir, cookie, &e, &name)) {
		room = add_dirent(&d, &e, name);
		if (room)
			cookie = e.cookie;
	}
	reply->m.r_dirents.next = room ? 0 : cookie;
	reply->m.r_dirents.bytes = (struct span){d.p, (uint32_t)d.len};
	return STATUS_OK;
}

/* --- bytes --- */

static void answer_bytes(struct catalog_reply *reply, struct kv_span v)
{
	uint8_t *p = reply_bytes(reply, v.len);

	if (v.len > 0)
		memcpy(p, v.p, v.len);
	reply->m.r_bytes.bytes = (struct span){p, (uint32_t)v.len};
}

static enum status q_readlink(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct key k = key1('y', q->q_readlink.ino);
	struct kv_span v;
	struct inode i;

	if (!inode_load(c, q->q_readlink.ino, &i))
		return STATUS_STALE;
	if (!inode_is(&i, S_IFLNK) || !db_get(c, &k, &v))
		return STATUS_INVALID;
	answer_bytes(reply, v);
	return STATUS_OK;
}

static enum status q_getxattr(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	const struct msg_q_getxattr *op = &q->q_getxattr;
	struct kv_span v;
	struct inode i;

	if (op->name.len == 0 || op->name.len > NAME_BYTES_MAX)
		return op->name.len == 0 ? STATUS_INVALID : STATUS_NAME_TOO_LONG;
	if (!inode_load(c, op->ino, &i))
		return STATUS_STALE;
	struct key k = key_name('x', op->ino, op->name);

	if (i.xattr_names == 0 || !db_get(c, &k, &v))
		return STATUS_NO_ATTR;
	answer_bytes(reply, v);
	return STATUS_OK;
}

static enum status q_listxattr(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct key k = key1('x', q->q_listxattr.ino);
	struct kv_span v;
	struct inode i;
	uint8_t *p;
	size_t len = 0;

	if (!inode_load(c, q->q_listxattr.ino, &i))
		return STATUS_STALE;
	if (i.xattr_names == 0)
		return STATUS_OK;
	p = reply_bytes(reply, LISTXATTR_BYTES_MAX);
	while (db_seek(c, &k, 9, &v) && len + k.len - 8 <= LISTXATTR_BYTES_MAX) {
		memcpy(p + len, k.bytes + 9, k.len - 9);
		len += k.len - 9;
		p[len++] = 0;
		k.bytes[k.len++] = 0; /* the key next after this one */
	}
	reply->m.r_bytes.bytes = (struct span){p, (uint32_t)len};
	return STATUS_OK;
}

static enum status q_stale(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct key k = key1('t', q->q_stale.ino);
	struct kv_span v;
	struct inode i;

	if (!inode_load(c, q->q_stale.ino, &i))
		return STATUS_STALE;
	if (i.flags & INO_STALE && db_get(c, &k, &v))
		answer_bytes(reply, v);
	return STATUS_OK;
}

/* The asker's record; false: it is no core server. */
static bool core_asks(struct catalog *c, session_id_t session, struct server_record *out)
{
	struct session_record s;

	return session_load(c, session, &s) && s.kind == SERVER_CORE && server_load(c, s.server, out);
}

/* Which of the asked-for files are gone for good, or from the asker: only those may be deleted (A15). */
static enum status q_files(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	const struct span inos = q->q_files.inos;
	uint8_t *p = reply_bytes(reply, inos.len / 2);
	struct server_record asker;
	bool core = core_asks(c, q->q_files.session, &asker);
	uint32_t len = 0;

	if (inos.len % Q_FILES_BYTES != 0)
		return STATUS_INVALID;
	for (uint32_t at = 0; at < inos.len; at += Q_FILES_BYTES) {
		uint64_t ino = get_u64le(inos.p + at), seal = get_u64le(inos.p + at + 8);

		if (meta_file_gone(c, ino))
			put_u64le(p + len, ino);
		else if (core && placing_left(c, ino, seal, &asker))
			put_u64le(p + len, ino | Q_FILES_LEFT);
		else
			continue;
		len += 8;
	}
	reply->m.r_bytes.bytes = (struct span){p, len};
	return STATUS_OK;
}

static enum status q_map(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct key k = key1('M', q->q_map.map ? q->q_map.map : c->meta.map);
	struct kv_span v;

	if (!db_get(c, &k, &v))
		return STATUS_NOT_FOUND;
	answer_bytes(reply, v);
	return STATUS_OK;
}

/* --- others --- */

static enum status q_repair(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	uint64_t ino = q->q_repair.ino;
	struct inode i;

	while (catalog_repair_next(c, ino, &ino)) {
		if (inode_load(c, ino, &i) && i.holder == 0) {
			reply_inode(&reply->m.r_inode, &i);
			return STATUS_OK;
		}
	}
	return STATUS_NOT_FOUND;
}

static enum status q_getlk(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	const struct msg_q_getlk *g = &q->q_getlk;
	struct msg_op_lock want = {
		.ino = g->ino, .owner = g->owner, .start = g->start, .end = g->end, .pid = g->pid,
		.type = g->type, .flavour = g->flavour,
	};
	struct msg_r_lock *r = &reply->m.r_lock;
	struct catalog_lock blocker;
	struct inode i;

	if (!inode_load(c, g->ino, &i))
		return STATUS_STALE;
	if (g->start > g->end || (g->type != F_RDLCK && g->type != F_WRLCK))
		return STATUS_INVALID;
	r->type = F_UNLCK;
	if (catalog_lock_blocker(c, g->session, &want, &blocker)) {
		r->type = blocker.type;
		r->start = blocker.start;
		r->end = blocker.end;
		r->pid = blocker.pid;
	}
	return STATUS_OK;
}

static enum status q_statfs(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	struct catalog_server s = {0};
	uint64_t total = 0;

	(void)q;
	while (catalog_server_next(c, s.id, &s))
		if (s.flags & CATALOG_SERVER_MAPPED)
			total += s.total;
	reply->m.r_statfs.total = total / REPLICAS;
	reply->m.r_statfs.files = c->meta.inodes;
	return STATUS_OK;
}

static const struct {
	query *answer;
	enum msg_type reply;
} queries[MSG_TYPE_MAX] = {
	[MSG_TYPE_q_lookup] = {q_lookup, MSG_TYPE_r_inode},
	[MSG_TYPE_q_inode] = {q_inode, MSG_TYPE_r_inode},
	[MSG_TYPE_q_readdir] = {q_readdir, MSG_TYPE_r_dirents},
	[MSG_TYPE_q_readlink] = {q_readlink, MSG_TYPE_r_bytes},
	[MSG_TYPE_q_getxattr] = {q_getxattr, MSG_TYPE_r_bytes},
	[MSG_TYPE_q_listxattr] = {q_listxattr, MSG_TYPE_r_bytes},
	[MSG_TYPE_q_getlk] = {q_getlk, MSG_TYPE_r_lock},
	[MSG_TYPE_q_map] = {q_map, MSG_TYPE_r_bytes},
	[MSG_TYPE_q_files] = {q_files, MSG_TYPE_r_bytes},
	[MSG_TYPE_q_repair] = {q_repair, MSG_TYPE_r_inode},
	[MSG_TYPE_q_statfs] = {q_statfs, MSG_TYPE_r_statfs},
	[MSG_TYPE_q_stale] = {q_stale, MSG_TYPE_r_bytes},
};

int catalog_query(struct catalog *c, const struct msg *q, struct catalog_reply *reply)
{
	unsigned type = (unsigned)q->type;
	enum status status;

	if (type >= MSG_TYPE_MAX || !queries[type].answer) {
		reply_start(reply, MSG_TYPE_r_status, q, STATUS_INVALID);
		return c->rc;
	}
	reply_start(reply, queries[type].reply, q, STATUS_OK);
	status = queries[type].answer(c, q, reply);
	reply->m.r_status.status = (uint16_t)status;
	return c->rc;
}
