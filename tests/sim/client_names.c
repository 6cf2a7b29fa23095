/* Operations on names, and the client that does nothing else. */

#include "tests/sim/client.h"

#include <sys/stat.h>

#include "common/base/mem.h"

static const char *const names[CLIENT_NAMES_N] = {"a", "b", "c", "d"};

static uint64_t *unknown_since(struct client *cl)
{
	return &cl->c->unknown_since[cl->n->index];
}

static bool outcome_known(const struct client *cl, struct name_op *op)
{
	if (cl->rc == 0) {
		op->outcome = NAME_OK;
		if (op->type == NAME_CREATE || op->type == NAME_LOOKUP)
			op->ino = cl->req.attr.ino;
		return true;
	}
	op->outcome = cl->rc == -EEXIST ? NAME_EXISTS : NAME_ABSENT;
	return cl->rc == -ENOENT || cl->rc == -EEXIST;
}

static void name_closed(struct client *cl)
{
	cl->rc = 0;
	cl->next(cl);
}

/* Files of names have a page with something in it, so that their deletion frees something. Nobody reads
 * it, and it may well fail. */
static void written_new(struct client *cl)
{
	struct vol_req close = {.op = VOL_CLOSE, .ino = cl->req.ino, .handle = cl->req.handle};

	cl->req = close;
	client_submit(cl, name_closed);
}

static void write_new(struct client *cl)
{
	struct vol_req write = {.op = VOL_WRITE, .ino = cl->req.attr.ino, .handle = cl->req.out_handle,
	                        .len = PAGE_BYTES};

	cl->data = iobuf_new_reserve(PAGE_BYTES);
	memset(cl->data->data, 'n', PAGE_BYTES);
	write.data = (struct slice){cl->data, 0, PAGE_BYTES};
	cl->req = write;
	client_submit(cl, written_new);
}

static void name_done(struct client *cl)
{
	struct history *h = &cl->c->hist;
	struct name_op *op = &h->name_op[cl->op];

	cl->naming = false;
	if (!outcome_known(cl, op)) {
		op->outcome = NAME_OK; /* if it happened at all */
		history_name_event(h, NAME_UNKNOWN, cl->op);
		*unknown_since(cl) = h->name_events;
		client_failed(cl, "operation on a name");
		cl->next(cl);
		return;
	}
	cl->errors = 0;
	history_name_event(h, NAME_RETURN, cl->op);
	if (*unknown_since(cl) && cl->name_begun >= *unknown_since(cl)) {
		history_name_event(h, NAME_RETIRE, op->mount);
		*unknown_since(cl) = 0;
	}
	if (op->type == NAME_CREATE && cl->rc == 0 && cl->req.out_handle)
		write_new(cl);
	else
		cl->next(cl);
}

void client_name(struct client *cl, enum name_op_type type, unsigned name, unsigned to,
                 void (*after)(struct client *cl))
{
	static const enum vol_op ops[] = {VOL_CREATE, VOL_UNLINK, VOL_RENAME, VOL_LOOKUP};
	struct name_op op = {.type = type, .mount = cl->n->index, .name = (uint8_t)name, .to = (uint8_t)to};
	struct vol_req *req = &cl->req;

	CHECK(name < CLIENT_NAMES_N && to < CLIENT_NAMES_N);
	memset(req, 0, sizeof(*req));
	req->op = ops[type];
	req->ino = cl->c->dir;
	req->name = (struct span){(const uint8_t *)names[name], 1};
	req->new_ino = cl->c->dir;
	req->new_name = (struct span){(const uint8_t *)names[to], 1};
	req->mode = S_IFREG | 0644;
	req->flags = type == NAME_CREATE ? VOL_F_EXCL : 0;
	cl->next = after;
	cl->naming = true;
	cl->name_begun = cl->c->hist.name_events;
	cl->op = history_name_begin(&cl->c->hist, &op);
	world_trace(&cl->c->w, "client %u: name op %d %s %s", cl->id, (int)type, names[name],
	            type == NAME_RENAME ? names[to] : "");
	client_submit(cl, name_done);
}

static void stepped(struct client *cl)
{
	client_rest(cl);
}

void client_step_names(struct client *cl)
{
	struct random *r = &cl->c->w.stream[STREAM_CLIENT];
	uint64_t dice = random_below(r, 100);
	unsigned name = (unsigned)random_below(r, CLIENT_NAMES_N);
	unsigned to = (name + 1 + (unsigned)random_below(r, CLIENT_NAMES_N - 1)) % CLIENT_NAMES_N;

	client_name(cl, dice < 30 ? NAME_CREATE : dice < 50 ? NAME_UNLINK : dice < 65 ? NAME_RENAME
	            : NAME_LOOKUP, name, to, stepped);
}
