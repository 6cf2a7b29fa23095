/* GETATTRs that the kernel waits for.
 *
 * Linux drops the answer to a GETATTR if an invalidation of the inode came since it was asked (attr_version
 * in fs/fuse/inode.c), and who asked goes on with the size of before: read(2) finds end of file below what
 * was written and acknowledged elsewhere (P3). With two sites in turn at one file that meets every other
 * GETATTR. So before the kernel is told to drop anything of an inode, its questions are answered, unless that
 * takes so long that others would wait for it too much. */
#include "access-server/volume/parts.h"

#define AWAITED_FOR (300 * NSEC_MSEC)
#define TAKEN_AFTER NSEC_MSEC /* who asked takes the answer itself, once it is woken */

void attr_asked(struct file *f, struct vol_req *req)
{
	if (req->op != VOL_GETATTR || rs(req)->flags & REQ_ATTR_ASKED)
		return; /* one that waited for the session comes twice */
	rs(req)->flags |= REQ_ATTR_ASKED;
	f->attr_asking++;
}

void attr_answered(struct volume *v, uint64_t ino)
{
	struct file *f = file_find(v, ino);

	if (!f || f->attr_asking == 0)
		return;
	f->attr_taken_at = v->now + TAKEN_AFTER;
	if (--f->attr_asking > 0)
		return;
	if (f->recalled && (f->phase == PHASE_IDLE || f->phase == PHASE_ASK))
		timer_set_sooner(v, &f->lease_timer, f->attr_taken_at);
}

bool attr_awaited(const struct file *f, nsec_t since)
{
	const nsec_t now = f->v->now;

	return (f->attr_asking > 0 || now < f->attr_taken_at) && now < since + AWAITED_FOR;
}

bool attr_valid_in_kernel(const struct file *f, nsec_t slack)
{
	return f->v->now < f->attr_until + slack;
}
