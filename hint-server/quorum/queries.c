/* Questions, answered by the leader after the read index (trap A14: followers answer none). The
 * answer brings a shared lease where nothing stands against it, so the next one is not asked. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#include <sys/stat.h>

#define ATTR_RESEND (100 * NSEC_MSEC)
#define ATTR_PAUSE (10 * NSEC_MSEC) /* its release is on the way; else one would ask as fast as it answers */
#define REPAIR_SCAN_MAX 4096

static bool is_file(const struct msg_r_inode *i)
{
	return S_ISREG(i->mode);
}

/* META on what the reply shows; DATA too on a clean file that nobody writes. */
static void grant_inode(struct hint *h, struct request *r, struct msg_r_inode *i)
{
	struct sess *s = sess_find(h, i->session);
	struct catalog_inode c;
	bool lookup = r->m.type == MSG_TYPE_q_lookup;
	bool found = i->status == STATUS_OK;
	unsigned what = RECALL_META;

	if (!s || (!found && !(lookup && i->status == STATUS_NOT_FOUND)))
		return;
	if (lookup && !lease_may_grant(h, s, r->m.q_lookup.dir))
		return;
	if (found) {
		if (!lease_may_grant(h, s, i->ino) || !catalog_inode(h->catalog, i->ino, &c))
			return;
		if (is_file(i) && (c.unclean || (c.holder && c.holder != s->id)))
			return;
		if (is_file(i) && !c.holder && !(i->state & INODE_STALE))
			what |= RECALL_DATA;
		if (!lease_grant(h, s, i->ino, what))
			return;
	}
	if (lookup && !lease_grant(h, s, r->m.q_lookup.dir, RECALL_META))
		return;
	i->meta = 1;
	if (what & RECALL_DATA)
		i->lease = LEASE_SHARED;
}

static void grant_dirents(struct hint *h, struct request *r, struct msg_r_dirents *d)
{
	struct sess *s = sess_find(h, d->session);

	if (d->status == STATUS_OK && lease_may_grant(h, s, r->m.q_readdir.dir) &&
	    lease_grant(h, s, r->m.q_readdir.dir, RECALL_META))
		d->meta = 1;
}

/* --- q_inodes: attributes of a directory's entries, those that come with a lease --- */

static bool inode_leased(struct hint *h, struct request *r, uint64_t ino, struct msg *out)
{
	struct msg q = r->m;

	q.type = MSG_TYPE_q_inode;
	q.q_inode.ino = ino;
	if (catalog_query(h->catalog, &q, &h->scratch) || h->scratch.m.r_inode.status != STATUS_OK)
		return false;
	*out = (struct msg){.type = MSG_TYPE_r_inode, .r_inode = h->scratch.m.r_inode};
	grant_inode(h, r, &out->r_inode);
	return out->r_inode.meta;
}

static void answer_inodes(struct hint *h, struct request *r)
{
	const struct span inos = r->m.q_inodes.inos;
	struct msg reply = {.type = MSG_TYPE_r_bytes}, one = {.type = MSG_TYPE_r_inode};
	size_t each = 2 + msg_body_bytes(&one);
	uint32_t n = MIN(inos.len / 8, (uint32_t)Q_INODES_MAX), used = 0;
	uint8_t *p = mem_new(n * each + 1);

	for (uint32_t k = 0; k < n; k++) {
		if (!inode_leased(h, r, get_u64le(inos.p + 8 * k), &one))
			continue;
		put_u16le(p + used, (uint16_t)(each - 2));
		msg_encode_body(&one, p + used + 2);
		used += (uint32_t)each;
	}
	reply.r_bytes = (struct msg_r_bytes){.status = STATUS_OK, .session = r->m.q_inodes.session,
	                                     .slot = r->m.q_inodes.slot, .seq = r->m.q_inodes.seq,
	                                     .bytes = {p, used}};
	request_finish(h, r, &reply);
	mem_free(p);
}

/* --- attributes of a file that somebody writes (trap B10) --- */

static void ask_holder(struct hint *h, struct request *r, const struct sess *holder, uint64_t ino)
{
	struct msg m = {.type = MSG_TYPE_holder_attr, .dst = holder->server};

	if (hint_now(h) < r->attr_resend_at) {
		hint_wake(h, r->attr_resend_at);
		return;
	}
	if (!r->attr_id)
		r->attr_id = ++h->next_id;
	r->attr_resend_at = hint_now(h) + ATTR_RESEND;
	hint_wake(h, r->attr_resend_at);
	m.holder_attr = (struct msg_holder_attr){ino, r->attr_id};
	relay_send(h, &m);
}

/* True: the request waits for the holder, or for its end. */
static bool holder_decides(struct hint *h, struct request *r, const struct msg_r_inode *i)
{
	struct catalog_inode c;
	struct sess *holder;

	if (i->status != STATUS_OK || !is_file(i) || !catalog_inode(h->catalog, i->ino, &c) ||
	    !c.holder || c.holder == i->session)
		return false;
	holder = sess_find(h, c.holder);
	if (!holder || holder->ending)
		return true;
	if (sess_lapsed(h, holder)) {
		sess_end(h, holder);
		return true;
	}
	hint_wake(h, holder->deadline);
	ask_holder(h, r, holder, i->ino);
	return true;
}

void query_attr_reply(struct hint *h, const struct msg *m)
{
	const struct msg_holder_attr_reply *a = &m->holder_attr_reply;
	struct request *r, *tmp;

	DL_FOREACH_SAFE(h->waiting, r, tmp) {
		struct msg_r_inode *i;
		struct catalog_inode c;
		const struct sess *s;

		if (!r->attr_id || r->attr_id != a->id)
			continue;
		if (a->status != STATUS_OK || catalog_query(h->catalog, &r->m, &h->scratch) ||
		    h->scratch.m.type != MSG_TYPE_r_inode || h->scratch.m.r_inode.ino != a->ino ||
		    !catalog_inode(h->catalog, a->ino, &c) || !(s = sess_find(h, c.holder)) ||
		    s->server != m->src) {
			r->attr_id = 0; /* the world has changed, or will: again from the start */
			r->attr_resend_at = a->status == STATUS_OK ? 0 : hint_now(h) + ATTR_PAUSE;
			h->dirty = true;
			return;
		}
		i = &h->scratch.m.r_inode;
		i->size = a->size;
		i->pages = a->pages;
		i->atime = a->atime;
		i->mtime = a->mtime;
		i->ctime = MAX(i->ctime, a->ctime);
		request_finish(h, r, &h->scratch.m);
		return;
	}
}

/* --- q_repair: files that could be repaired now, by somebody else than their holder --- */

/* How many of the file's replica sites have all their core servers here. */
static unsigned sites_alive(struct hint *h, const struct msg_r_inode *i)
{
	const uint16_t site[REPLICAS] = {i->site0, i->site1, i->site2};
	const struct map *map = catalog_map(h->catalog);
	unsigned alive = 0;

	for (unsigned k = 0; k < REPLICAS; k++) {
		bool all = true;

		for (unsigned s = 0; s < map->servers; s++) {
			const struct sess *sess;

			if (map->server[s].site != site[k])
				continue;
			sess = sessions_of_server(h, map->server[s].id);
			all &= sess && !sess_lapsed(h, sess);
		}
		alive += all;
	}
	return alive;
}

static bool wants_repair(struct hint *h, uint64_t ino)
{
	struct catalog_inode c;
	const struct sess *s;

	if (!catalog_inode(h->catalog, ino, &c))
		return false;
	s = c.holder ? sess_find(h, c.holder) : NULL;
	/* A holder need not know of a new disk: it is asked for the file once, then its grant says so. */
	if (s && !sess_lapsed(h, s) && (!c.refill || c.fields.nlink == 0))
		return false;
	if ((c.unclean && c.lost_by && !absent_over(h, c.lost_by)) ||
	    (s && sess_lapsed(h, s) && !absent_over(h, c.holder)))
		return false;
	return sites_alive(h, &c.fields) >= (c.unclean || c.holder ? REPLICAS - 1 : REPLICAS);
}

static void answer_repair(struct hint *h, struct request *r)
{
	uint64_t ino = r->m.q_repair.ino;
	struct msg q = r->m;

	for (unsigned n = 0; n < REPAIR_SCAN_MAX && catalog_repair_next(h->catalog, ino, &ino); n++) {
		if (!wants_repair(h, ino))
			continue;
		q.type = MSG_TYPE_q_inode;
		q.q_inode.ino = ino;
		if (catalog_query(h->catalog, &q, &h->scratch))
			break;
		request_finish(h, r, &h->scratch.m);
		return;
	}
	h->scratch.m = (struct msg){.type = MSG_TYPE_r_inode};
	h->scratch.m.r_inode.status = STATUS_NOT_FOUND;
	h->scratch.m.r_inode.session = r->m.q_repair.session;
	h->scratch.m.r_inode.slot = r->m.q_repair.slot;
	h->scratch.m.r_inode.seq = r->m.q_repair.seq;
	request_finish(h, r, &h->scratch.m);
}

/* --- */

static bool session_known(struct hint *h, struct request *r)
{
	struct catalog_session c;
	session_id_t id = r->m.q_statfs.session;

	return catalog_session(h->catalog, id, &c) && c.server == r->m.src;
}

static bool answered_blindly(const struct hint *h, const struct request *r)
{
	return h->config.bugs & HINT_BUG_READ_LOCAL ||
	       (h->config.bugs & HINT_BUG_GC_STALE && r->m.type == MSG_TYPE_q_files);
}

bool query_run(struct hint *h, struct request *r)
{
	struct msg *reply = &h->scratch.m;
	int rc;

	if (!answered_blindly(h, r) && !request_confirmed(h, r))
		return false;
	if (!session_known(h, r)) {
		*reply = (struct msg){.type = MSG_TYPE_r_status};
		reply->r_status = (struct msg_r_status){STATUS_NO_SESSION, r->m.q_statfs.session,
		                                        r->m.q_statfs.slot, r->m.q_statfs.seq};
		request_finish(h, r, reply);
		return true;
	}
	if (r->m.type == MSG_TYPE_q_repair) {
		answer_repair(h, r);
		return true;
	}
	if (r->m.type == MSG_TYPE_q_move) {
		moves_answer(h, &r->m, reply);
		request_finish(h, r, reply);
		return true;
	}
	if (r->m.type == MSG_TYPE_q_inodes) {
		answer_inodes(h, r);
		return true;
	}
	rc = catalog_query(h->catalog, &r->m, &h->scratch);
	if (rc) {
		hint_fail(h, rc, "the catalog cannot be read");
		return false;
	}
	if (reply->type == MSG_TYPE_r_inode) {
		if (holder_decides(h, r, &reply->r_inode))
			return false;
		grant_inode(h, r, &reply->r_inode);
	} else if (reply->type == MSG_TYPE_r_dirents) {
		grant_dirents(h, r, &reply->r_dirents);
	} else if (reply->type == MSG_TYPE_r_statfs) {
		uint64_t total, room;

		sessions_space(h, &total, &room);
		reply->r_statfs.total = MAX(reply->r_statfs.total, total / REPLICAS);
		reply->r_statfs.free = room / REPLICAS;
	}
	request_finish(h, r, reply);
	return true;
}
