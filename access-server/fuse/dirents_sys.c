/* Directory records of the volume as those of the kernel. The catalog lists "." and ".." itself. */
#include "access-server/fuse/fs_internal.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

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

void reply_dirents(struct call *c)
{
	struct out o = {.fuse = c->fuse, .room = c->room};
	struct cursor in = {slice_data(c->req.out), c->req.out.len, false};

	if (c->req.rc) {
		fuse_reply_err(c->fuse, fs_errno(c->req.rc));
		return;
	}
	o.p = mem_new(o.room);
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
	fuse_reply_buf(c->fuse, o.p, o.used);
	mem_free(o.p);
}
