/* Calls to the catalog on behalf of requests (struct req_call), and enum status as errno. */
#include "access-server/volume/parts.h"

static void on_reply(struct session_call *c, const struct msg *m)
{
	struct req_call *rc = container_of(c, struct req_call, call);
	struct file *f = rc->f;
	struct vol_req *req = rc->req;
	uint64_t seq = rc->seq;

	vol_enter(rc->v);
	DL_DELETE(rc->v->calls, rc);
	if (req)
		rs(req)->op = NULL;
	f->active--;
	rc->then(f, req, m, seq);
	mem_free(rc);
	file_run(f);
	file_put_if_unused(f);
}

void req_call(struct file *f, struct vol_req *req, const struct msg *m,
              void (*then)(struct file *f, struct vol_req *req, const struct msg *m, uint64_t seq))
{
	struct req_call *rc = mem_new(sizeof(*rc));

	rc->v = f->v;
	rc->f = f;
	rc->req = req;
	rc->seq = vol_recall_seq(f->v);
	rc->then = then;
	rc->call.done = on_reply;
	rs(req)->op = rc;
	f->active++;
	DL_APPEND(f->v->calls, rc);
	session_call(f->v->session, &rc->call, m);
}

/* The change may happen all the same: its reply is still taken in. */
bool req_call_interrupt(struct volume *v, struct vol_req *req)
{
	struct req_call *rc;

	DL_FOREACH(v->calls, rc)
		if (rc->req == req) {
			rc->req = NULL;
			rs(req)->op = NULL;
			rs(req)->flags |= REQ_INTERRUPTED;
			vol_complete(v, req, -EINTR);
			return true;
		}
	return false;
}

void req_calls_free(struct volume *v)
{
	struct req_call *rc, *next;

	DL_FOREACH_SAFE(v->calls, rc, next) {
		session_cancel(v->session, &rc->call);
		DL_DELETE(v->calls, rc);
		mem_free(rc);
	}
}

int vol_status_errno(unsigned status)
{
	switch ((enum status)status) {
	case STATUS_OK: return 0;
	case STATUS_NO_SPACE: return -ENOSPC;
	case STATUS_BUSY: return -EAGAIN;
	case STATUS_INVALID: return -EINVAL;
	case STATUS_NOT_FOUND: return -ENOENT;
	case STATUS_EXISTS: return -EEXIST;
	case STATUS_NOT_DIR: return -ENOTDIR;
	case STATUS_IS_DIR: return -EISDIR;
	case STATUS_NOT_EMPTY: return -ENOTEMPTY;
	case STATUS_NAME_TOO_LONG: return -ENAMETOOLONG;
	case STATUS_TOO_MANY_LINKS: return -EMLINK;
	case STATUS_NO_ATTR: return -ENODATA;
	case STATUS_AGAIN: return -EAGAIN;
	case STATUS_DEADLOCK: return -EDEADLK;
	case STATUS_STALE: return -ESTALE;
	case STATUS_LOOP: return -EINVAL;
	case STATUS_FILE_TOO_BIG: return -EFBIG;
	case STATUS_RANGE: return -ERANGE;
	case STATUS_NOT_PERMITTED: return -EPERM;
	case STATUS_FENCED:
	case STATUS_SEALED:
	case STATUS_GAP:
	case STATUS_AHEAD:
	case STATUS_WRONG_MAP:
	case STATUS_UNKNOWN:
	case STATUS_BAD_PAGE:
	case STATUS_DISK:
	case STATUS_NOT_LEADER:
	case STATUS_NO_SESSION:
	case STATUS_MOVED:
	case STATUS_LOST:
	case STATUS_PENDING:
		break;
	}
	return -EIO;
}
