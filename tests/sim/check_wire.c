#include "tests/sim/check_wire.h"

#include <uthash.h>

#include "common/base/mem.h"
#include "tests/sim/cluster.h"

struct wire_key {
	uint64_t file;
	uint64_t with;    /* server, or epoch */
};

struct wire_seal {
	struct wire_key key;
	uint64_t seal;
	UT_hash_handle hh;
};

struct wire_grant {
	struct wire_key key;
	server_id_t server;
	UT_hash_handle hh;
};

static struct wire_seal *seal_of(struct check_wire *w, uint64_t file, server_id_t server)
{
	struct wire_key key = {file, server};
	struct wire_seal *s;

	HASH_FIND(hh, w->seals, &key, sizeof(key), s);
	if (!s) {
		s = mem_new(sizeof(*s));
		s->key = key;
		HASH_ADD(hh, w->seals, key, sizeof(key), s);
	}
	return s;
}

static void granted(struct cluster *c, uint64_t ino, uint64_t epoch, server_id_t server)
{
	struct wire_key key = {ino, epoch};
	struct wire_grant *g;

	HASH_FIND(hh, c->wire.grants, &key, sizeof(key), g);
	if (!g) {
		g = mem_new(sizeof(*g));
		g->key = key;
		g->server = server;
		HASH_ADD(hh, c->wire.grants, key, sizeof(key), g);
	}
	if (g->server != server)
		world_fail(&c->w, "P2: epoch %" PRIu64 " of file %" PRIu64 " granted to %u and %u",
		           epoch, ino, g->server, server);
}

static void on_lease(struct cluster *c, const struct msg *m)
{
	const struct msg_r_lease *r = &m->r_lease;

	if (r->status != STATUS_OK || r->granted != LEASE_EXCLUSIVE)
		return;
	granted(c, r->ino, r->epoch, m->dst);
	if (r->recover)
		history_takeover(&c->hist, r->ino, r->epoch);
}

static void on_ack(struct cluster *c, const struct msg *m)
{
	const struct msg_write_reply *r = &m->write_reply;
	const struct wire_seal *s;

	if (r->status != STATUS_OK)
		return;
	c->wire.acks++;
	s = seal_of(&c->wire, r->file, m->src);
	if (r->asked.epoch < s->seal)
		world_fail(&c->w, "P2: server %u acknowledges epoch %" PRIu64 " of file %" PRIu64
		           " block %" PRIu64 " after its seal at %" PRIu64, m->src, r->asked.epoch,
		           r->file, r->block, s->seal);
}

/* The catalog knows better than the disk: only a formatted server may come back (A8). */
static void on_session(struct cluster *c, const struct msg *m)
{
	struct node *n = cluster_find(c, m->dst);

	if (m->r_session.status != STATUS_DISK || n->refused == n->life || m->id != n->opening)
		return; /* or the question came late, from a life that is over */
	if (!n->replaced && !n->rotted)
		world_fail(&c->w, "P1: core server %u, which lost nothing, is refused", n->id);
	node_format_soon(n);
}

/* P8: what an access server says that it holds for writers. Beyond the limit go only what the kernel
 * must get rid of, and one record. */
static void on_heartbeat(struct cluster *c, const struct msg *m)
{
	uint64_t limit = ACCESS_BUFFER_BYTES + ACCESS_BUFFER_BYTES / 4 + (128u << 10);

	if (m->heartbeat.dirty_bytes > limit)
		world_fail(&c->w, "P8: access server %u holds %" PRIu64 " bytes of writes", m->src,
		           m->heartbeat.dirty_bytes);
}

void check_wire_sent(struct cluster *c, const struct node *from, const struct msg *m)
{
	if (m->type == MSG_TYPE_op_session && from->id == m->src) {
		cluster_find(c, m->src)->opening = m->id;
	} else if (m->type == MSG_TYPE_heartbeat) {
		on_heartbeat(c, m);
	} else if (m->type == MSG_TYPE_r_session) {
		on_session(c, m);
	} else if (m->type == MSG_TYPE_r_lease) {
		on_lease(c, m);
	} else if (m->type == MSG_TYPE_write_reply && from->kind == SERVER_CORE) {
		on_ack(c, m);
	} else if (m->type == MSG_TYPE_seal_reply && m->seal_reply.status == STATUS_OK) {
		struct wire_seal *s = seal_of(&c->wire, m->seal_reply.file, m->src);

		s->seal = MAX(s->seal, m->seal_reply.epoch);
	}
}

void check_wire_forget(struct check_wire *w, server_id_t server)
{
	struct wire_seal *s, *next;

	HASH_ITER(hh, w->seals, s, next) {
		if (s->key.with == server)
			s->seal = 0;
	}
}

void check_wire_fini(struct check_wire *w)
{
	struct wire_seal *s, *next_seal;
	struct wire_grant *g, *next_grant;

	HASH_ITER(hh, w->seals, s, next_seal) {
		HASH_DEL(w->seals, s);
		mem_free(s);
	}
	HASH_ITER(hh, w->grants, g, next_grant) {
		HASH_DEL(w->grants, g);
		mem_free(g);
	}
}
