/* Pages that no replica can read: each that counts has them bad, or is away (P7).
 *
 * Whoever reads one gets EIO, and the rest of the block goes on. A write of the whole page ends it: core
 * servers take that whatever was there. A part of it cannot be written, since nobody knows the rest.
 * What is here is only a memory of what was found, of a file held exclusively or to be recovered: it says
 * what need not be tried again, and is named in the log and to the administrator. */
#include "access-server/volume/parts.h"

static struct lost_page *find(const struct file *f, uint64_t no, uint32_t page)
{
	for (unsigned i = 0; i < f->losts; i++)
		if (f->lost[i].no == no && f->lost[i].page == page)
			return &f->lost[i];
	return NULL;
}

bool lost_has(const struct file *f, uint64_t no, uint32_t page)
{
	return find(f, no, page) != NULL;
}

void lost_add(struct file *f, uint64_t no, uint32_t page)
{
	if (f->losts == LOST_MAX || find(f, no, page))
		return;
	f->lost = mem_resize(f->lost, f->losts + 1, sizeof(*f->lost));
	f->lost[f->losts++] = (struct lost_page){no, page};
	f->v->stats.lost_pages++;
	vol_log(f->v, "volume.lost_page",
	        "file=%" PRIu64 " block=%" PRIu64 " page=%u offset=%" PRIu64
	        ": bad on every replica that is here: reads of it fail until it is written anew",
	        f->ino, no, page, no * file_block_bytes(f) + (uint64_t)page * PAGE_BYTES);
}

static void drop(struct file *f, unsigned i)
{
	f->lost[i] = f->lost[--f->losts];
}

/* [off, off + len) of the block is about to be written. */
void lost_written(struct file *f, uint64_t no, uint32_t off, uint32_t len)
{
	for (unsigned i = 0; i < f->losts;) {
		uint32_t at = f->lost[i].page * PAGE_BYTES;

		if (f->lost[i].no == no && off <= at && at + PAGE_BYTES <= off + len)
			drop(f, i);
		else
			i++;
	}
}

bool lost_in_part(const struct file *f, uint64_t off, uint64_t end)
{
	for (unsigned i = 0; i < f->losts; i++) {
		uint64_t at = f->lost[i].no * file_block_bytes(f) + (uint64_t)f->lost[i].page * PAGE_BYTES;

		if (f->lost[i].no == BLOCK_ATTR || at >= end || at + PAGE_BYTES <= off)
			continue;
		if (off > at || end < at + PAGE_BYTES)
			return true;
	}
	return false;
}

/* Others may write there, and replicas come back. */
void lost_forget(struct file *f)
{
	mem_free(f->lost);
	f->lost = NULL;
	f->losts = 0;
}
