/* GETATTR, SETATTR, OPEN: what they need, and what they do when they may run. */
#include "access-server/volume/parts.h"

#define SETATTR_CATALOG (SETATTR_MODE | SETATTR_UID | SETATTR_GID)
#define SETATTR_TIMES                                                                              \
	((unsigned)SETATTR_ATIME | (unsigned)SETATTR_MTIME | (unsigned)VOL_ATTR_ATIME_NOW |        \
	 (unsigned)VOL_ATTR_MTIME_NOW)
#define HANDLES_MAX (1u << 20)

/* Steps of a SETATTR, then those of a GETATTR: a SETATTR ends with one, and must not start over when
 * that has to ask again, or it would cut what was written since. Nobody knows the size of a file
 * whose writer died before it is recovered, and a lease is how one recovers. */
enum { STEP_SIZE, STEP_TIMES, STEP_CATALOG, STEP_ASKED_FREE, STEP_ASKED_HELD, STEP_RECOVER };

enum need op_need(const struct file *f, const struct vol_req *req)
{
	unsigned step = rs((struct vol_req *)(uintptr_t)req)->step;

	switch ((int)req->op) {
	case VOL_GETATTR:
		return step == STEP_RECOVER ? NEED_SHARED : NEED_NOTHING;
	case VOL_SETATTR:
		if (!file_regular(f))
			return NEED_NOTHING;
		if (step == STEP_RECOVER)
			return NEED_SHARED;
		if (step <= STEP_SIZE && (req->valid & VOL_ATTR_SIZE))
			return NEED_EXCLUSIVE;
		return step <= STEP_TIMES && (req->valid & SETATTR_TIMES) ? NEED_EXCLUSIVE : NEED_NOTHING;
	case VOL_OPEN:
		return (req->flags & VOL_F_TRUNC) && file_regular(f) ? NEED_EXCLUSIVE : NEED_NOTHING;
	case VOL_WRITE:
	case VOL_FALLOCATE:
		return NEED_EXCLUSIVE;
	case VOL_READ:
	case VOL_SEEK:
		return NEED_SHARED;
	default:
		return NEED_NOTHING;
	}
}

bool op_try(struct file *f, struct vol_req *req)
{
	if (f->lease == LEASE_EXCLUSIVE)
		file_touch(f);
	switch ((int)req->op) {
	case VOL_GETATTR: return getattr_try(f, req);
	case VOL_SETATTR: return setattr_try(f, req);
	case VOL_OPEN: return open_try(f, req);
	case VOL_READ: return read_try(f, req);
	case VOL_WRITE: return write_try(f, req);
	case VOL_FSYNC: return fsync_try(f, req);
	case VOL_FALLOCATE: return fallocate_try(f, req);
	case VOL_SEEK: return seek_try(f, req);
	default:
		vol_complete(f->v, req, -EINVAL);
		return true;
	}
}

/* --- GETATTR --- */

/* Answers an inode question, then `thens` the request (kept in req_state.names[0]). */
static void on_inode(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq)
{
	void (*then)(struct file *f, struct vol_req *req);
	int rc;

	if (m && m->type == MSG_TYPE_r_inode && m->r_inode.status == STATUS_OK && m->r_inode.ino == f->ino)
		file_take_inode(f->v, &m->r_inode, seq);
	if (!req)
		return;
	/* No answer: what is known here may be older than the question. */
	if (!m || m->r_status.status == STATUS_BUSY) {
		file_requeue(f, req);
		return;
	}
	memcpy(&then, rs(req)->names, sizeof(then));
	if (m->r_status.status == STATUS_OK) {
		then(f, req);
		return;
	}
	rc = vol_status_errno(m->r_status.status);
	vol_complete(f->v, req, rc == -ENOENT ? -ESTALE : rc);
}

void inode_ask(struct file *f, struct vol_req *req, void (*then)(struct file *f, struct vol_req *req))
{
	struct msg m = {.type = MSG_TYPE_q_inode};

	memcpy(rs(req)->names, &then, sizeof(then));
	m.q_inode.ino = f->ino;
	req_call(f, req, &m, on_inode);
}

/* The leader's answer is the truth of a moment within the call, cached or not. A lease that came or
 * went meanwhile makes it start again. */
static void getattr_answered(struct file *f, struct vol_req *req)
{
	bool held_then = rs(req)->step == STEP_ASKED_HELD;
	bool unclean = file_regular(f) && !(f->attr.state & (INODE_CLEAN | INODE_HELD));

	if (f->have_attr && unclean && f->lease == LEASE_NONE) {
		rs(req)->step = STEP_RECOVER;
		file_requeue(f, req);
		return;
	}
	if (!f->have_attr || held_then != (f->lease == LEASE_EXCLUSIVE) ||
	    (f->phase != PHASE_IDLE && f->phase != PHASE_ASK && !(f->phase == PHASE_INVAL && f->inval_pause)))
		file_requeue(f, req);
	else
		file_complete_attr(f, req, 0);
}

bool getattr_try(struct file *f, struct vol_req *req)
{
	/* A lease taken for this call came with the inode as it was then: asked for once more, others who
	 * want the same could take it away each time before the answer. */
	bool taken = rs(req)->step == STEP_RECOVER && f->have_attr && file_lease_good(f, LEASE_SHARED);

	if (taken || file_attr_cached(f)) {
		file_complete_attr(f, req, 0);
		return true;
	}
	rs(req)->step = f->lease == LEASE_EXCLUSIVE ? STEP_ASKED_HELD : STEP_ASKED_FREE;
	inode_ask(f, req, getattr_answered);
	return true;
}

/* --- SETATTR: size first, then times under the lease, then what the catalog keeps --- */

static void on_setattr(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq)
{
	int rc = m ? vol_status_errno(m->r_status.status) : -EIO;

	privs_killed(f);
	if (m && m->type == MSG_TYPE_r_inode && rc == 0)
		file_take_change(f->v, &m->r_inode, seq);
	if (req && m && m->r_status.status == STATUS_BUSY)
		file_requeue(f, req); /* somebody took the file just now */
	else if (req)
		file_complete_attr(f, req, rc);
}

static void setattr_catalog(struct file *f, struct vol_req *req, unsigned valid)
{
	struct msg m = {.type = MSG_TYPE_op_setattr};
	uint64_t wall = f->v->env->wall(f->v->env);

	m.op_setattr.ino = f->ino;
	m.op_setattr.valid = valid | SETATTR_CTIME;
	m.op_setattr.mode = req->mode;
	m.op_setattr.uid = req->uid;
	m.op_setattr.gid = req->gid;
	m.op_setattr.atime = req->valid & VOL_ATTR_ATIME_NOW ? wall : req->atime;
	m.op_setattr.mtime = req->valid & VOL_ATTR_MTIME_NOW ? wall : req->mtime;
	m.op_setattr.ctime = wall;
	req_call(f, req, &m, on_setattr);
}

static void setattr_times(struct file *f, struct vol_req *req)
{
	uint64_t wall = f->v->env->wall(f->v->env);

	if (req->valid & (SETATTR_ATIME | VOL_ATTR_ATIME_NOW))
		f->atime = req->valid & VOL_ATTR_ATIME_NOW ? wall : req->atime;
	if (req->valid & (SETATTR_MTIME | VOL_ATTR_MTIME_NOW))
		f->mtime = req->valid & VOL_ATTR_MTIME_NOW ? wall : req->mtime;
	f->ctime = MAX(wall, f->ctime + 1);
	attr_dirty(f, false);
}

bool setattr_try(struct file *f, struct vol_req *req)
{
	struct req_state *s = rs(req);
	unsigned catalog = req->valid & SETATTR_CATALOG;

	if (s->step > STEP_CATALOG)
		return getattr_try(f, req); /* all is done but the answer */
	if (s->step == STEP_SIZE && (req->valid & VOL_ATTR_SIZE)) {
		if (!file_regular(f)) {
			vol_complete(f->v, req, -EISDIR);
			return true;
		}
		return truncate_try(f, req);
	}
	if (s->step <= STEP_TIMES && (req->valid & SETATTR_TIMES)) {
		if (file_regular(f))
			setattr_times(f, req);
		else
			catalog |= (req->valid & (SETATTR_ATIME | VOL_ATTR_ATIME_NOW) ? SETATTR_ATIME : 0u) |
			           (req->valid & (SETATTR_MTIME | VOL_ATTR_MTIME_NOW) ? SETATTR_MTIME : 0u);
	}
	s->step = STEP_CATALOG;
	if (catalog & (SETATTR_UID | SETATTR_GID) && req->flags & VOL_F_KILL_SUID)
		catalog |= SETATTR_KILL_SUID | SETATTR_KILL_CAPS;
	if (catalog)
		setattr_catalog(f, req, catalog);
	else
		getattr_try(f, req);
	return true;
}

/* The cut is made (or failed): the rest of a SETATTR, or of an OPEN. */
void setattr_after_truncate(struct file *f, struct vol_req *req, int rc)
{
	if (rc < 0) {
		vol_complete(f->v, req, rc);
		return;
	}
	if (req->op == VOL_OPEN) {
		handle_open(f->v, f, req);
		vol_complete(f->v, req, 0);
		return;
	}
	rs(req)->step = STEP_TIMES;
	setattr_try(f, req);
}

/* --- OPEN --- */

bool open_try(struct file *f, struct vol_req *req)
{
	bool keep;

	if (f->gone || ((f->attr.state & INODE_ORPHAN) && !f->handles)) {
		vol_complete(f->v, req, -ESTALE);
		return true;
	}
	if ((req->flags & VOL_F_TRUNC) && file_regular(f))
		return truncate_try(f, req);
	keep = !f->cache_suspect && f->phase == PHASE_IDLE && f->lease != LEASE_NONE &&
	       file_lease_good(f, LEASE_SHARED);
	if (HASH_COUNT(f->v->handles) >= HANDLES_MAX) {
		vol_complete(f->v, req, -ENFILE);
		return true;
	}
	/* An open that does not keep the pages drops them. */
	if (!f->inval_cookie)
		f->cache_suspect = false;
	req->keep_cache = keep;
	handle_open(f->v, f, req);
	vol_complete(f->v, req, 0);
	return true;
}
