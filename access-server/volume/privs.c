/* What a change of a file's data takes away: setuid, setgid, file capabilities.
 *
 * The holder must know of them as they are, not as they were when it last heard: the catalog gives
 * a file new ones only while no other session holds it (op_setattr, op_setxattr), so a lease brings
 * the truth, and later answers can only be too pessimistic - which costs a question, no right. */
#include "access-server/volume/names.h"

#include <sys/stat.h>

/* setgid without the group's right to execute is none, but an old mark for mandatory locks. */
static bool has_suid(uint32_t mode)
{
	return mode & S_ISUID || (mode & S_ISGID && mode & S_IXGRP);
}

void privs_known(struct file *f)
{
	f->suid = has_suid(f->attr.mode);
	f->caps = f->attr.state & INODE_CAPS;
}

void privs_heard(struct file *f)
{
	f->suid |= has_suid(f->attr.mode);
	f->caps |= (f->attr.state & INODE_CAPS) != 0;
}

void privs_unknown(struct file *f)
{
	f->suid = f->caps = true;
}

void privs_killed(struct file *f)
{
	struct node *n = node_find(f->v, f->ino);

	if (!n)
		return;
	n->pins++;
	node_drop_kind(f->v, n, ITEM_XATTR);
	node_drop_kind(f->v, n, ITEM_XATTR_LIST);
	node_unpin(f->v, n);
}

static void on_stripped(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq)
{
	privs_killed(f);
	if (m && m->type == MSG_TYPE_r_inode && m->r_inode.status == STATUS_OK)
		file_take_change(f->v, &m->r_inode, seq);
	else
		f->suid = f->caps = false; /* not ours to change, or gone: the change goes on */
	if (req)
		file_requeue(f, req);
}

bool privs_strip(struct file *f, struct vol_req *req)
{
	struct msg m = {.type = MSG_TYPE_op_setattr};
	uint32_t kill = (f->suid && req->flags & VOL_F_KILL_SUID ? SETATTR_KILL_SUID : 0u) |
	                (f->caps ? SETATTR_KILL_CAPS : 0u);

	if (!kill)
		return false;
	m.op_setattr.ino = f->ino;
	m.op_setattr.valid = kill | SETATTR_CTIME;
	m.op_setattr.ctime = f->v->env->wall(f->v->env);
	req_call(f, req, &m, on_stripped);
	return true;
}
