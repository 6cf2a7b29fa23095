#include "tests/sim/check_fence.h"

#include <uthash.h>

#include "common/base/mem.h"
#include "tests/sim/cluster.h"

struct fence_key {
	uint64_t id;
	server_id_t core, peer;
};

struct fence_request {
	struct fence_key key;
	UT_hash_handle hh;
};

static struct fence_node *node_of(struct cluster *c, const struct node *n)
{
	struct fence_node *f = &c->fence.node[n->index];

	if (f->life != n->life)
		*f = (struct fence_node){.life = n->life};
	return f;
}

bool check_fence_over(struct cluster *c, const struct node *n)
{
	return node_clock(n) >= node_of(c, n)->good_until;
}

/* --- sessions --- */

static void on_heartbeat(struct cluster *c, const struct node *n, const struct msg *m)
{
	struct fence_node *f = node_of(c, n);
	unsigned i = f->next++ % FENCE_BEATS;

	f->nonce[i] = m->heartbeat.nonce;
	f->sent[i] = node_clock(n);
}

/* From here on it may arrive: more than that nobody can count on. */
static void on_answer(struct cluster *c, const struct msg *m)
{
	const struct msg_heartbeat_reply *r = &m->heartbeat_reply;
	nsec_t good = r->session_ms * NSEC_MSEC - c->shape.session_timeout / 10;
	struct node *n = cluster_find(c, m->dst);
	struct fence_node *f = node_of(c, n);

	if (r->status != STATUS_OK)
		return;
	for (unsigned i = 0; i < FENCE_BEATS; i++) {
		if (f->nonce[i] == r->nonce && r->nonce)
			f->good_until = MAX(f->good_until, f->sent[i] + good);
	}
}

/* --- requests to core servers --- */

static struct fence_request *find(struct cluster *c, const struct fence_key *key)
{
	struct fence_request *r;

	HASH_FIND(hh, c->fence.requests, key, sizeof(*key), r);
	return r;
}

void check_fence_arrived(struct cluster *c, const struct node *at, const struct msg *m)
{
	struct fence_key key = {m->id, at->id, m->src};
	struct fence_request *r;

	if (at->kind != SERVER_CORE || m->type < MSG_TYPE_write || m->type > MSG_TYPE_space ||
	    check_fence_over(c, at) || find(c, &key))
		return;
	r = mem_new(sizeof(*r));
	r->key = key;
	HASH_ADD(hh, c->fence.requests, key, sizeof(key), r);
}

static void on_reply(struct cluster *c, const struct node *core, const struct msg *m)
{
	struct fence_key key = {m->id, core->id, m->dst};

	/* All replies begin with the status. */
	if (m->write_reply.status != STATUS_OK || !check_fence_over(c, core) || find(c, &key))
		return;
	world_fail(&c->w, "P5: server %u has no session and answers %s of %u", core->id,
	           msg_type_name(m->type), m->dst);
}

void check_fence_sent(struct cluster *c, const struct node *from, const struct msg *m)
{
	if (from->id != m->src)
		return; /* passed on */
	switch ((unsigned)m->type) {
	case MSG_TYPE_heartbeat:
		on_heartbeat(c, from, m);
		break;
	case MSG_TYPE_heartbeat_reply:
		on_answer(c, m);
		break;
	case MSG_TYPE_write_reply:
	case MSG_TYPE_read_reply:
	case MSG_TYPE_seal_reply:
	case MSG_TYPE_list_reply:
	case MSG_TYPE_install_reply:
	case MSG_TYPE_close_reply:
		if (from->kind == SERVER_CORE)
			on_reply(c, from, m);
		break;
	default:
		break;
	}
}

void check_fence_fini(struct check_fence *f)
{
	struct fence_request *r, *next;

	HASH_ITER(hh, f->requests, r, next) {
		HASH_DEL(f->requests, r);
		mem_free(r);
	}
}
