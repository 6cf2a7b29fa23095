#include "tests/sim/client.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "tests/sim/check_space.h"

/* Works also when the others are quiet, until it has done what it is there for. */
static bool has_task(const struct client *cl)
{
	return (cl->kind == CLIENT_VERIFY || cl->kind == CLIENT_GO_ON) && !cl->finished;
}

static void step(struct client *cl)
{
	if (cl->c->quiet && !has_task(cl) && !cl->locked)
		return;
	switch (cl->kind) {
	case CLIENT_MAKER:
		client_make(cl);
		break;
	case CLIENT_DATA:
		client_step_data(cl);
		break;
	case CLIENT_NAMES:
		client_step_names(cl);
		break;
	case CLIENT_APPEND:
		client_step_append(cl);
		break;
	case CLIENT_LOCK:
		client_step_lock(cl);
		break;
	case CLIENT_VERIFY:
		client_step_verify(cl);
		break;
	case CLIENT_GO_ON:
		client_step_go_on(cl);
		break;
	case CLIENT_SCRIPT:
		break;
	}
}

struct wake {
	struct node_event ev;
	struct client *cl;
};

static void run_wake(struct node *n, struct node_event *ev)
{
	struct client *cl = ((struct wake *)ev)->cl;

	(void)n;
	if (!cl->dead && !cl->busy)
		step(cl);
}

void client_wake(struct client *cl, nsec_t delay)
{
	struct wake *w = mem_new(sizeof(*w));

	w->cl = cl;
	w->ev.run = run_wake;
	node_event_at(cl->n, cl->c->w.now + delay, &w->ev);
}

struct client *client_new(struct cluster *c, struct node *n, enum client_kind kind)
{
	struct client *cl = mem_new(sizeof(*cl));

	CHECK(c->clients < CLIENTS_MAX);
	cl->c = c;
	cl->n = n;
	cl->kind = kind;
	cl->id = c->clients;
	cl->mount = n->index << 16 | n->life;
	c->client[c->clients++] = cl;
	return cl;
}

static void start_kind(struct cluster *c, struct node *n, enum client_kind kind, unsigned count)
{
	for (unsigned i = 0; i < count && c->clients + 16 < CLIENTS_MAX; i++)
		client_wake(client_new(c, n, kind), world_between(&c->w, STREAM_CLIENT, 0, c->shape.think));
}

void clients_start(struct cluster *c, struct node *n)
{
	if (c->dir == 0)
		return; /* nothing to work on yet */
	start_kind(c, n, CLIENT_DATA, c->shape.clients);
	start_kind(c, n, CLIENT_NAMES, c->shape.names);
	start_kind(c, n, CLIENT_APPEND, c->shape.appends);
	start_kind(c, n, CLIENT_LOCK, c->shape.locks);
}

void clients_die(struct cluster *c, struct node *n)
{
	for (unsigned i = 0; i < c->clients; i++) {
		struct client *cl = c->client[i];

		if (cl->n != n || cl->dead)
			continue;
		cl->dead = true;
		if (cl->naming)
			history_name_event(&c->hist, NAME_UNKNOWN, cl->op);
	}
	history_crash(&c->hist, n->index << 16 | n->life);
}

bool clients_idle(struct cluster *c)
{
	for (unsigned i = 0; i < c->clients; i++) {
		const struct client *cl = c->client[i];

		if (!cl->dead && (cl->busy || cl->locked || has_task(cl)))
			return false;
	}
	return true;
}

void clients_free(struct cluster *c)
{
	for (unsigned i = 0; i < c->clients; i++) {
		iobuf_put(c->client[i]->data);
		mem_free(c->client[i]);
	}
	c->clients = 0;
}

/* --- one operation --- */

static nsec_t fenced_since(const struct client *cl)
{
	bool over = check_fence_over(cl->c, cl->n);

	return over ? MAX(cl->c->fence.node[cl->n->index].good_until, 1) : 0;
}

/* P5: I/O that begins without a session waits for one. */
static void check_held(struct client *cl)
{
	enum vol_op op = cl->req.op;
	bool io = op == VOL_READ || op == VOL_WRITE || op == VOL_FSYNC || op == VOL_FALLOCATE;

	if (io && cl->rc == 0 && cl->fenced && fenced_since(cl) == cl->fenced)
		world_fail(&cl->c->w, "P5: access server %u has no session and does op %d of client %u",
		           cl->n->id, (int)op, cl->id);
}

static void on_done(struct vol_req *req)
{
	struct client *cl = container_of(req, struct client, req);
	struct world *w = &cl->c->w;
	struct iobuf *given = cl->data, *got = req->out.buf;

	if (cl->dead)
		return;
	CHECK(cl->busy);
	cl->busy = false;
	cl->rc = req->rc;
	cl->ops++;
	world_mix(w, (uint64_t)cl->id << 32 ^ (uint64_t)(int64_t)req->rc);
	world_trace(w, "client %u on %u: op %d done, rc %d, %" PRId64 " us", cl->id, cl->n->id,
	            (int)req->op, req->rc, (w->now - cl->begun) / 1000);
	if (req->rc > 0)
		world_fail(w, "client %u: op %d gives %d: neither 0 nor a negative errno", cl->id,
		           (int)req->op, req->rc);
	check_space(cl);
	cl->data = NULL; /* of what may follow at once */
	check_held(cl);
	cl->after(cl);
	iobuf_put(given);
	iobuf_put(got);
}

void client_submit(struct client *cl, void (*after)(struct client *cl))
{
	CHECK(!cl->busy && !cl->dead);
	cl->busy = true;
	cl->begun = cl->c->w.now;
	cl->fenced = fenced_since(cl);
	cl->begun_stamp = history_stamp(&cl->c->hist);
	cl->after = after;
	cl->req.done = on_done;
	cl->req.rc = 0;
	world_trace(&cl->c->w, "client %u on %u: op %d ino %" PRIu64 " off %" PRIu64 " len %" PRIu64,
	            cl->id, cl->n->id, (int)cl->req.op, cl->req.ino, cl->req.off, cl->req.len);
	vol_submit(cl->n->volume, &cl->req);
}

void client_failed(struct client *cl, const char *what)
{
	cl->errors++;
	if (cl->c->calm)
		world_fail(&cl->c->w, "client %u on %u: %s fails with %d and nothing was broken", cl->id,
		           cl->n->id, what, cl->rc);
	if (cl->errors > 200)
		world_fail(&cl->c->w, "client %u on %u: %s fails again and again, last with %d", cl->id,
		           cl->n->id, what, cl->rc);
}
