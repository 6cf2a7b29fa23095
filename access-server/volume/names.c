/* Operations on names that go to the catalog: asking, asking again, giving up. */
#include "access-server/volume/names.h"

#define BUSY_RETRY (50 * NSEC_MSEC)
/* A signal does not end an operation whose answer is on its way: stat(2) and mkdir(2) are not
 * expected to fail with EINTR. One that hangs for longer is ended (trap B8). */
#define INTERRUPT_GRACE (500 * NSEC_MSEC)

void names_init(struct volume *v)
{
	v->names = mem_new(sizeof(struct names));
}

static void op_unpin(struct name_op *op)
{
	node_unpin(op->v, op->dir);
	node_unpin(op->v, op->other);
	op->dir = op->other = NULL;
}

static void op_free(struct name_op *op)
{
	timer_stop(op->v, &op->timer);
	op_unpin(op);
	mem_free(op->records);
	DL_DELETE(names_of(op->v)->ops, op);
	mem_free(op);
}

void names_fini(struct volume *v)
{
	struct names *nm = names_of(v);
	struct names_recall *r, *next_recall;
	struct name_op *op, *next_op;

	DL_FOREACH_SAFE(nm->ops, op, next_op) {
		if (op->in_call)
			session_cancel(v->session, &op->call);
		op_free(op);
	}
	DL_FOREACH_SAFE(nm->recalls, r, next_recall) {
		timer_stop(v, &r->timer);
		DL_DELETE(nm->recalls, r);
		mem_free(r->names);
		mem_free(r);
	}
	names_free_all(v);
	mem_free(nm);
	v->names = NULL;
}

static struct span copy_text(uint8_t *to, struct span from)
{
	if (from.len)
		memcpy(to, from.p, from.len);
	return (struct span){to, from.len};
}

static void on_timer(struct volume *v, struct vol_timer *t);

struct name_op *op_new(struct volume *v, struct vol_req *req,
                       void (*answer)(struct name_op *op, const struct msg *m))
{
	struct name_op *op = mem_new(sizeof(*op) + req->name.len + req->new_name.len);

	op->v = v;
	op->req = req;
	op->answer = answer;
	op->timer.fire = on_timer;
	op->name = copy_text(op->text, req->name);
	op->new_name = copy_text(op->text + req->name.len, req->new_name);
	rs(req)->names[2] = op;
	DL_APPEND(names_of(v)->ops, op);
	return op;
}

static void begin_change(struct node *n)
{
	if (n) {
		n->changing++;
		n->changes++;
	}
}

static void end_change(struct node *n)
{
	if (n) {
		n->changing--;
		n->changes++;
	}
}

bool op_fresh(const struct name_op *op, const struct node *n)
{
	struct volume *v = op->v;
	uint64_t changes = n == op->other ? op->other_changes : op->dir_changes;

	return op->voids == names_of(v)->voids && !vol_recalled_since(v, n->ino, op->seq) &&
	       session_shared_valid(v->session) && n->changing == 0 && n->changes == changes;
}

static void forget_whole(struct name_op *op)
{
	if (op->dir)
		op->dir->whole = false;
	if (op->other)
		op->other->whole = false;
}

/* The requester's session ended: for a question that means to ask again, in the next session. What
 * became of a change is unknown, and it is never tried again (trap B5). */
static void session_ended(struct name_op *op)
{
	struct volume *v = op->v;
	struct vol_req *req = op->req;

	if (op->change)
		forget_whole(op);
	if (op->change || !req) {
		op_end(op, -EIO);
		return;
	}
	rs(req)->names[2] = NULL;
	op_free(op);
	req_push(&v->fenced, req);
}

static void on_reply(struct session_call *call, const struct msg *m)
{
	struct name_op *op = container_of(call, struct name_op, call);

	vol_enter(op->v);
	op->in_call = false;
	if (op->change) {
		end_change(op->dir);
		end_change(op->other);
		/* Our own change is no reason to distrust its answer. */
		op->dir_changes += op->dir ? 2 : 0;
		op->other_changes += op->other ? 2 : 0;
	}
	if (!m) {
		session_ended(op);
		return;
	}
	if (m->r_status.status == STATUS_BUSY) {
		if (!op->req || op->interrupted)
			op_end(op, -EINTR);
		else
			timer_set(op->v, &op->timer, op->v->now + BUSY_RETRY);
		return;
	}
	op->answer(op, m);
}

void op_send(struct name_op *op)
{
	struct volume *v = op->v;

	op->seq = vol_recall_seq(v);
	op->voids = names_of(v)->voids;
	op->dir_changes = op->dir ? op->dir->changes : 0;
	op->other_changes = op->other ? op->other->changes : 0;
	op->change = op->ask.type >= MSG_TYPE_op_session;
	if (op->change) {
		begin_change(op->dir);
		begin_change(op->other);
	}
	op->in_call = true;
	op->call.done = on_reply;
	session_call(v->session, &op->call, &op->ask);
}

void op_end(struct name_op *op, int rc)
{
	struct vol_req *req = op->req;

	if (req) {
		rs(req)->names[2] = NULL;
		vol_complete(op->v, req, rc);
	}
	op_free(op);
}

/* Nobody waits any more; an answer still updates the cache. */
static void give_up(struct name_op *op)
{
	struct vol_req *req = op->req;

	op->req = NULL;
	rs(req)->names[2] = NULL;
	rs(req)->flags |= REQ_INTERRUPTED;
	vol_complete(op->v, req, -EINTR);
	if (op->in_call)
		return;
	if (op->sync.done)
		return; /* the flush before a rename ends it */
	op_free(op);
}

static void on_timer(struct volume *v, struct vol_timer *t)
{
	struct name_op *op = container_of(t, struct name_op, timer);

	(void)v;
	if (op->interrupted)
		give_up(op);
	else if (!op->in_call)
		op_send(op);
}

bool names_interrupt(struct volume *v, struct vol_req *req)
{
	struct name_op *op = rs(req)->names[2];

	if (!op || op->v != v || op->req != req)
		return false;
	op->interrupted = true;
	timer_set(v, &op->timer, v->now + (op->in_call ? INTERRUPT_GRACE : 0));
	return true;
}

void names_touch(struct volume *v, uint64_t ino)
{
	struct file *f = file_find(v, ino);

	if (!f)
		return;
	f->meta = false;
	f->recall_seq = ++v->recall_seq;
}

void names_fill_attr(struct vol_req *req, struct file *f)
{
	file_fill_attr(f, &req->attr);
	req->attr_valid = file_attr_valid(f);
}

#define CONTENDED (5 * NSEC_SEC)

void names_note_contended(struct volume *v, uint64_t ino)
{
	struct names *nm = names_of(v);

	nm->contended[ino % NAMES_CONTENDED].ino = ino;
	nm->contended[ino % NAMES_CONTENDED].at = v->now;
}

static bool contended(struct volume *v, uint64_t ino)
{
	const struct names *nm = names_of(v);

	return nm->contended[ino % NAMES_CONTENDED].ino == ino &&
	       v->now - nm->contended[ino % NAMES_CONTENDED].at < CONTENDED;
}

/* Dropping an entry from the kernel waits for the directory's lock, which a change of our own may
 * hold: a directory that others change gets no validity for a while, so that it need not happen. */
nsec_t names_entry_valid(struct volume *v, const struct node *dir)
{
	nsec_t left;

	if (!node_usable(v, dir) || contended(v, dir->ino))
		return 0;
	left = session_shared_until(v->session) - v->env->now(v->env);
	return MAX((nsec_t)0, MIN(left, ATTR_VALID_MAX));
}

void names_tell_entry(struct volume *v, struct vol_req *req, struct item *i)
{
	req->entry_valid = names_note_told(v, i);
}

nsec_t names_note_told(struct volume *v, struct item *i)
{
	nsec_t valid = names_entry_valid(v, i->node);

	i->kernel_until = MAX(i->kernel_until, v->now + valid);
	return valid;
}

bool node_usable(struct volume *v, const struct node *n)
{
	return n->leased && n->changing == 0 && session_shared_valid(v->session);
}

/* A reply must not fail for want of memory: it frees the caller's. */
void names_give_bytes(struct vol_req *req, struct span bytes)
{
	if (!bytes.len)
		return;
	req->out = (struct slice){iobuf_new_reserve(bytes.len), 0, bytes.len};
	memcpy(req->out.buf->data, bytes.p, bytes.len);
}

void names_submit(struct volume *v, struct vol_req *req)
{
	if (req->name.len > NAME_BYTES_MAX || req->new_name.len > NAME_BYTES_MAX) {
		vol_complete(v, req, -ENAMETOOLONG);
		return;
	}
	switch (req->op) {
	case VOL_LOOKUP:
		names_lookup(v, req);
		return;
	case VOL_READLINK:
		names_readlink(v, req);
		return;
	case VOL_CREATE:
		names_create(v, req);
		return;
	case VOL_LINK:
		names_link(v, req);
		return;
	case VOL_UNLINK:
	case VOL_RMDIR:
		names_unlink(v, req);
		return;
	case VOL_RENAME:
		names_rename(v, req);
		return;
	case VOL_READDIR:
		names_readdir(v, req);
		return;
	case VOL_STATFS:
		names_statfs(v, req);
		return;
	case VOL_GETXATTR:
		names_getxattr(v, req);
		return;
	case VOL_LISTXATTR:
		names_listxattr(v, req);
		return;
	case VOL_SETXATTR:
	case VOL_REMOVEXATTR:
		names_setxattr(v, req);
		return;
	case VOL_GETATTR:
	case VOL_SETATTR:
	case VOL_OPEN:
	case VOL_CLOSE:
	case VOL_READ:
	case VOL_WRITE:
	case VOL_FSYNC:
	case VOL_FLUSH:
	case VOL_GETLK:
	case VOL_SETLK:
	case VOL_FALLOCATE:
	case VOL_SEEK:
	case VOL_SYNC:
		break;
	}
	vol_complete(v, req, -ENOSYS);
}
