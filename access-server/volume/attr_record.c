/* The attribute record: size, times and one pending trim are one more replicated block of the file
 * (BLOCK_ATTR, one page), with versions, flush and recovery like any other (trap A7).
 *
 *   0 u32 magic   4 u64 size   12 u64 atime   20 u64 mtime   28 u64 ctime
 *   36 u64 trim_from (bytes; ~0: none)   44 version trim_at   60 zeros to the end of the page
 *
 * It is written beside the data at a flush that must carry it, and within a second of a change
 * otherwise. */
#include "access-server/volume/parts.h"

#define MAGIC 0x72746164u /* "datr" */
#define LAZY NSEC_SEC
#define LAZY_STEP (NSEC_SEC / 4) /* the records of many files leave together */

static_assert(ATTR_RECORD_BYTES == 4 + 5 * 8 + 16, "layout");

void attr_record_encode(const struct attr_record *a, uint8_t page[PAGE_BYTES])
{
	memset(page, 0, PAGE_BYTES);
	put_u32le(page, MAGIC);
	put_u64le(page + 4, a->size);
	put_u64le(page + 12, a->atime);
	put_u64le(page + 20, a->mtime);
	put_u64le(page + 28, a->ctime);
	put_u64le(page + 36, a->trim_from);
	put_u64le(page + 44, a->trim_at.epoch);
	put_u64le(page + 52, a->trim_at.n);
}

int attr_record_decode(const uint8_t *p, size_t len, struct attr_record *out)
{
	struct cursor c = {p, len, false};
	uint32_t magic = cursor_u32(&c);

	out->size = cursor_u64(&c);
	out->atime = cursor_u64(&c);
	out->mtime = cursor_u64(&c);
	out->ctime = cursor_u64(&c);
	out->trim_from = cursor_u64(&c);
	out->trim_at = cursor_ver(&c);
	if (c.bad || magic != MAGIC || out->size > FILE_BYTES_MAX)
		return ERR_CORRUPT;
	return 0;
}

bool attr_write(struct file *f)
{
	struct attr_record a = {f->size, f->atime, f->mtime, f->ctime, f->trim_from, f->trim_at};
	struct block *b;
	struct iobuf *page;

	if (!f->map || f->lease != LEASE_EXCLUSIVE)
		return false;
	b = block_known(f, BLOCK_ATTR);
	if (!b)
		return false;
	page = iobuf_new_reserve(PAGE_BYTES);
	attr_record_encode(&a, page->data);
	f->size_dirty = f->times_dirty = false;
	timer_stop(f->v, &f->attr_timer);
	writer_add(f, b, WRITE_DATA, 0, PAGE_BYTES, (struct slice){page, 0, PAGE_BYTES}, 0);
	return true;
}

void attr_dirty(struct file *f, bool size)
{
	if (size)
		f->size_dirty = true;
	f->times_dirty = true;
	timer_set_sooner(f->v, &f->attr_timer, (f->v->now + LAZY) / LAZY_STEP * LAZY_STEP);
}

#define CLOCKS_APART (10 * NSEC_SEC)

/* mtime grows with every change, even within one tick of the wall clock or of another site's that is
 * ahead: kernels of other sites notice by it that their pages are old. One that was set far into the
 * future, or before 1970 (negative), gives way to the time it is. */
void attr_now(struct file *f, bool modified)
{
	uint64_t wall = f->v->env->wall(f->v->env);

	if (!modified)
		return;
	f->mtime = f->mtime + 1 - wall < (uint64_t)CLOCKS_APART ? f->mtime + 1 : wall;
	f->ctime = MAX(wall, f->ctime + 1);
	attr_dirty(f, false);
}
