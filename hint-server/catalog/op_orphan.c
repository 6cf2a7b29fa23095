/* The end of files that nobody has open any more. */
#include "hint-server/catalog/internal.h"

enum status op_orphan_gone(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct span inos = m->op_orphan_gone.inos;
	struct inode i;

	(void)reply;
	if (inos.len % 8 != 0)
		return STATUS_INVALID;
	for (uint32_t at = 0; at < inos.len; at += 8)
		if (inode_load(c, get_u64le(inos.p + at), &i) && i.nlink == 0)
			inode_remove(c, &i);
	return STATUS_OK;
}
