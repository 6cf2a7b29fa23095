/* Sizes and ranges of requests. What a peer sends is untrusted: anything that does not add up is
 * INVALID, and nothing behind these checks looks at sizes again. */
#include "core-server/replica/internal.h"

bool check_file(file_id_t file)
{
	return file != 0 && file != FILE_BOOK;
}

bool check_block(uint64_t block, uint8_t shift)
{
	if (shift < BLOCK_SHIFT_MIN || shift > BLOCK_SHIFT_MAX)
		return false;
	return block == BLOCK_ATTR || block < FILE_BYTES_MAX >> shift;
}

uint32_t block_bytes(uint64_t block, uint8_t shift)
{
	return block == BLOCK_ATTR ? PAGE_BYTES : 1u << shift;
}

static bool range_fits(uint64_t block, uint8_t shift, uint32_t off, uint32_t len)
{
	return len > 0 && (uint64_t)off + len <= block_bytes(block, shift);
}

/* Pages that lie wholly in [off, off + len). */
static uint32_t whole_pages(uint32_t off, uint32_t len)
{
	uint32_t first = DIV_UP(off, PAGE_BYTES), end = (off + len) / PAGE_BYTES;

	return end > first ? end - first : 0;
}

bool check_write(const struct msg *m)
{
	const struct msg_write *w = &m->write;

	if (!check_file(w->file) || w->epoch == 0 || !check_block(w->block, w->block_shift))
		return false;
	if (!range_fits(w->block, w->block_shift, w->off, w->len))
		return false;
	if (w->version.epoch != w->epoch || w->version.n == 0 ||
	    version_cmp(w->prev, w->version) >= 0)
		return false;
	if (w->op == WRITE_ZERO)
		return m->payload.len == 0 && w->sums.len == 0;
	return w->op == WRITE_DATA && m->payload.len == w->len &&
	       w->sums.len == 8 * whole_pages(w->off, w->len);
}

bool check_read(const struct msg *m)
{
	const struct msg_read *q = &m->read;

	if (!check_file(q->file) || !check_block(q->block, q->block_shift))
		return false;
	if (q->off % PAGE_BYTES != 0 || q->len % PAGE_BYTES != 0)
		return false;
	return range_fits(q->block, q->block_shift, q->off, q->len) &&
	       (q->flags & ~(unsigned)(READ_SUMS_ONLY | READ_REPAIR)) == 0;
}

bool check_install(const struct msg *m)
{
	const struct msg_install *i = &m->install;
	uint32_t pages, bytes, count = 0;

	if (!check_file(i->file) || i->epoch == 0 || !check_block(i->block, i->block_shift))
		return false;
	if (i->version.epoch > i->epoch || i->closed > i->epoch)
		return false;
	pages = block_bytes(i->block, i->block_shift) / PAGE_BYTES;
	bytes = DIV_UP(pages, 8);
	if (i->set.len > bytes || i->zero.len > bytes || i->lost.len > i->set.len)
		return false;
	for (uint32_t at = 0; at < bytes; at++) {
		uint8_t set = at < i->set.len ? i->set.p[at] : 0;
		uint8_t zero = at < i->zero.len ? i->zero.p[at] : 0;
		uint8_t lost = at < i->lost.len ? i->lost.p[at] : 0;
		unsigned outside = at == bytes - 1 && pages % 8 != 0 ? 0xffu << pages % 8 & 0xffu : 0;

		if ((set & zero) != 0 || (lost & ~set) != 0 || ((set | zero) & outside) != 0)
			return false;
		count += (uint32_t)__builtin_popcount(set);
	}
	return i->sums.len == 8 * count && m->payload.len == PAGE_BYTES * count;
}

bool check_exceptions(struct span s)
{
	uint64_t before = 0;

	if (s.len % 8 != 0)
		return false;
	for (uint32_t at = 0; at < s.len; at += 8) {
		uint64_t block = get_u64le(s.p + at);

		if (at > 0 && block <= before)
			return false;
		before = block;
	}
	return true;
}
