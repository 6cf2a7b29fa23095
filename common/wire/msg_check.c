#include "common/wire/msg_check.h"

static bool is_file(uint32_t mode)
{
	return (mode & 0170000) == 0100000;
}

static bool shift_ok(unsigned shift)
{
	return shift >= BLOCK_SHIFT_MIN && shift <= BLOCK_SHIFT_MAX;
}

#define FIELDS_OK(r) \
	((r)->size <= FILE_BYTES_MAX && \
	 (!is_file((r)->mode) || \
	  (shift_ok((r)->block_shift) && (r)->map && (r)->site0 && (r)->site1 && (r)->site2)))

bool msg_inode_ok(const struct msg_r_inode *r)
{
	return r->status != STATUS_OK || (r->lease <= LEASE_EXCLUSIVE && FIELDS_OK(r));
}

bool msg_reply_ok(const struct msg *m)
{
	const struct msg_r_lease *l = &m->r_lease;

	if (m->type == MSG_TYPE_r_inode)
		return msg_inode_ok(&m->r_inode);
	if (m->type == MSG_TYPE_r_lease)
		return l->status != STATUS_OK ||
		       (l->granted <= LEASE_EXCLUSIVE && is_file(l->mode) && FIELDS_OK(l));
	return true;
}
