/* Directory records of the volume as those of the kernel. The catalog lists "." and ".." itself. */
#include "access-server/fuse/fs_internal.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

struct out {
	fuse_req_t fuse;
	char *p;
	size_t used, room;
};

struct entry {
	uint64_t ino, next;
	uint32_t mode;
	char name[NAME_BYTES_MAX + 1];
};

static bool next_entry(struct cursor *in, struct entry *e)
{
	const uint8_t *bytes;
	uint16_t len;

	if (!in->left)
		return false;
	e->ino = cursor_u64(in);
	e->next = cursor_u64(in);
	e->mode = cursor_u32(in);
	len = cursor_u16(in);
	bytes = cursor_take(in, len);
	if (in->bad || len > NAME_BYTES_MAX)
		return false;
	memcpy(e->name, bytes, len);
	e->name[len] = '\0';
	return true;
}

static bool put(struct out *o, const struct entry *e)
{
	struct stat st = {.st_ino = e->ino, .st_mode = e->mode};
	size_t n = fuse_add_direntry(o->fuse, o->p + o->used, o->room - o->used, e->name, &st,
	                             (off_t)e->next);

	if (n > o->room - o->used)
		return false;
	o->used += n;
	return true;
}

static bool begin(struct call *c, struct out *o)
{
	if (c->req.rc) {
		fuse_reply_err(c->fuse, fs_errno(c->req.rc));
		return false;
	}
	*o = (struct out){.fuse = c->fuse, .room = c->room, .p = mem_new(c->room)};
	return true;
}

void reply_dirents(struct call *c)
{
	struct cursor in = {slice_data(c->req.out), c->req.out.len, false};
	struct entry e;
	struct out o;

	if (!begin(c, &o))
		return;
	while (next_entry(&in, &e) && put(&o, &e))
		;
	fuse_reply_buf(c->fuse, o.p, o.used);
	mem_free(o.p);
}

/* --- with attributes: each that has some counts as a lookup --- */

static void put_plus(struct out *o, const struct entry *e, const struct vol_dirent_plus *plus)
{
	struct fuse_entry_param p = {.attr = {.st_ino = e->ino, .st_mode = e->mode}};
	size_t n;

	if (plus->attr.ino)
		p = (struct fuse_entry_param){.ino = plus->attr.ino,
		                              .attr = stat_of(&plus->attr),
		                              .attr_timeout = seconds(plus->attr_valid),
		                              .entry_timeout = seconds(plus->entry_valid)};
	n = fuse_add_direntry_plus(o->fuse, o->p + o->used, o->room - o->used, e->name, &p,
	                           (off_t)e->next);
	CHECK(n <= o->room - o->used); /* the volume knows how much room an entry needs */
	o->used += n;
}

static void each_told(struct call *c, void (*do_it)(struct fs *fs, uint64_t ino))
{
	struct cursor in = {slice_data(c->req.out), c->req.out.len, false};
	struct vol_dirent_plus plus;
	struct entry e;

	while (next_entry(&in, &e)) {
		memcpy(&plus, cursor_take(&in, sizeof(plus)), sizeof(plus));
		if (plus.attr.ino)
			do_it(c->fs, plus.attr.ino);
	}
}

static void forget_one(struct fs *fs, uint64_t ino)
{
	known_forget(fs, ino, 1);
}

void reply_dirents_plus(struct call *c)
{
	struct cursor in = {slice_data(c->req.out), c->req.out.len, false};
	struct vol_dirent_plus plus;
	struct entry e;
	struct out o;

	if (!begin(c, &o))
		return;
	while (next_entry(&in, &e)) {
		memcpy(&plus, cursor_take(&in, sizeof(plus)), sizeof(plus));
		put_plus(&o, &e, &plus);
	}
	each_told(c, known_add);
	if (fuse_reply_buf(c->fuse, o.p, o.used) == -ENOENT)
		each_told(c, forget_one);
	mem_free(o.p);
}
