/* Directory records of the volume as those of the kernel.
 *
 * "." and ".." are ours: they come first, and their cookies lie above all of the catalog's. */
#include "access-server/fuse/fs_internal.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

#define COOKIE_DOT (INT64_MAX - 2)    /* "." was given */
#define COOKIE_DOTDOT (INT64_MAX - 1) /* both were given, nothing else */
#define DOTS 2

/* The volume's cookie to go on from, and how many of the two dots were given already. */
uint64_t dirents_first(off_t off, unsigned *skip)
{
	*skip = off == 0 ? 0 : off == COOKIE_DOT ? 1 : DOTS;
	return off == COOKIE_DOT || off == COOKIE_DOTDOT ? 0 : (uint64_t)off;
}

struct out {
	fuse_req_t fuse;
	char *p;
	size_t used, room;
};

static bool put(struct out *o, const char *name, uint64_t ino, uint32_t mode, off_t next)
{
	struct stat st = {.st_ino = ino, .st_mode = mode};
	size_t n = fuse_add_direntry(o->fuse, o->p + o->used, o->room - o->used, name, &st, next);

	if (n > o->room - o->used)
		return false;
	o->used += n;
	return true;
}

static bool put_dots(struct out *o, const struct call *c)
{
	if (c->skip < 1 && !put(o, ".", c->req.ino, S_IFDIR, COOKIE_DOT))
		return false;
	return c->skip >= DOTS || put(o, "..", FILE_ROOT, S_IFDIR, COOKIE_DOTDOT);
}

void reply_dirents(struct call *c)
{
	struct out o = {.fuse = c->fuse, .room = c->room};
	struct cursor in = {slice_data(c->req.out), c->req.out.len, false};

	if (c->req.rc) {
		fuse_reply_err(c->fuse, fs_errno(c->req.rc));
		return;
	}
	o.p = mem_new(o.room);
	if (put_dots(&o, c)) {
		while (in.left) {
			uint64_t ino = cursor_u64(&in), next = cursor_u64(&in);
			uint32_t mode = cursor_u32(&in);
			uint16_t len = cursor_u16(&in);
			const uint8_t *bytes = cursor_take(&in, len);
			char name[NAME_BYTES_MAX + 1];

			if (in.bad || len > NAME_BYTES_MAX)
				break;
			memcpy(name, bytes, len);
			name[len] = '\0';
			if (!put(&o, name, ino, mode, (off_t)next))
				break;
		}
	}
	fuse_reply_buf(c->fuse, o.p, o.used);
	mem_free(o.p);
}
