/* The catalog's stale map of a file that is held here, when it says more than is true.
 *
 * A grant brings the map of whoever gave the file back; repair makes it shorter, but only a release
 * tells the catalog, and a virtual machine's disk is held for months. Until then status would call a
 * whole file degraded. So once nothing is stale any more the holder says so, with an op_release that
 * keeps the lease. The other way round nothing is said: bits set in this epoch go with the release,
 * and if there is none, the next grant recovers and asks the replicas themselves. */
#include "access-server/volume/parts.h"

#define ASK_AGAIN NSEC_SEC

static void on_told(struct session_call *c, const struct msg *m)
{
	struct file *f = lease_call_end(c, NULL);

	if (!f)
		return;
	if (m && m->r_status.status == STATUS_OK)
		f->stale_told = false;
	else if (m && (m->r_status.status == STATUS_BUSY || m->r_status.status == STATUS_NOT_LEADER))
		repair_kick(f, ASK_AGAIN);
	else if (m) {
		lease_lost(f, "taken by another while it was held", 0);
		return;
	}
	recall_step(f); /* a release waits for this call */
}

void stale_tell_clean(struct file *f)
{
	struct msg m = {.type = MSG_TYPE_op_release};

	CHECK(stale_empty(&f->stale));
	if (!f->stale_told || f->lease_call || f->unclean || f->phase != PHASE_IDLE ||
	    !vol_session_valid(f->v))
		return;
	m.op_release.ino = f->ino;
	m.op_release.epoch = f->epoch;
	m.op_release.to = LEASE_EXCLUSIVE;
	m.op_release.clean = 1;
	/* Size and times as the catalog has them: those of now may not be durable yet. */
	m.op_release.size = f->attr.size;
	m.op_release.atime = f->attr.atime;
	m.op_release.mtime = f->attr.mtime;
	m.op_release.ctime = f->attr.ctime;
	lease_call(f, &m, on_told);
}
