/* Requests of sessions on the leader, in order of arrival:
 *
 *   query:  waiting --(its round confirmed, applied up to the commit index at arrival)--> answered
 *   change: waiting --(nobody caches what it touches, nothing in flight collides)--> submitting
 *           --(one raft step for all of this turn)--> proposed --(applied)--> answered
 *
 * There is no timer on the way of either. What is lost with the leadership is asked again by its
 * session; slots make that harmless (B5). */
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SUBMIT_MAX 256
#define COMMAND_BYTES_MAX (3u << 20)

bool requests_is_change(unsigned type)
{
	return type >= MSG_TYPE_op_session && type <= MSG_TYPE_op_move;
}

bool requests_is_query(unsigned type)
{
	return type >= MSG_TYPE_q_lookup && type <= MSG_TYPE_q_move;
}

/* Every op and query begins with OP_FIELDS. */
static const struct msg_q_statfs *op_fields(const struct request *r)
{
	return &r->m.q_statfs;
}

/* --- life --- */

static struct request **list_of(struct hint *h, const struct request *r)
{
	return r->state == REQUEST_WAITING ? &h->waiting
	     : r->state == REQUEST_SUBMITTING ? &h->submitting : &h->proposed;
}

static void move_to(struct hint *h, struct request *r, enum request_state state)
{
	DL_DELETE(*list_of(h, r), r);
	r->state = state;
	DL_APPEND(*list_of(h, r), r);
}

static struct request *request_new(struct hint *h, const struct msg *m)
{
	struct request *r = mem_new(sizeof(*r));

	r->body_len = msg_body_bytes(m);
	r->body = mem_new(r->body_len);
	msg_encode_body(m, r->body);
	CHECK(msg_decode_body(r->body, r->body_len, &r->m) == 0);
	r->m.src = m->src;
	r->m.via = m->via;
	r->m.id = m->id;
	r->arrival = ++h->arrivals;
	r->state = REQUEST_WAITING;
	DL_APPEND(h->waiting, r);
	h->requests++;
	return r;
}

static void request_free(struct hint *h, struct request *r)
{
	if (r->state != REQUEST_WAITING) {
		for (unsigned i = 0; i < r->touches; i++)
			r->touched[i]->changes--;
		if (room_grows(&r->m))
			h->growing_bytes -= r->body_len;
	}
	lease_release_claims(h, r);
	if (r->keyed)
		HASH_DELETE(hh_slot, h->by_slot, r);
	if (r->index)
		HASH_DELETE(hh_index, h->by_index, r);
	DL_DELETE(*list_of(h, r), r);
	h->requests--;
	mem_free(r->body);
	mem_free(r);
}

void request_finish(struct hint *h, struct request *r, struct msg *reply)
{
	if (reply && reply->type && !r->internal)
		relay_reply(h, reply, &r->m);
	request_free(h, r);
	h->dirty = true;
}

static void finish_status(struct hint *h, struct request *r, enum status status)
{
	struct msg m = {.type = r->m.type == MSG_TYPE_op_session ? MSG_TYPE_r_session
	                                                         : MSG_TYPE_r_status};

	m.r_status = (struct msg_r_status){(uint16_t)status, op_fields(r)->session,
	                                   op_fields(r)->slot, op_fields(r)->seq};
	request_finish(h, r, &m);
}

void requests_drop(struct hint *h, bool tell)
{
	while (h->waiting && tell)
		finish_status(h, h->waiting, STATUS_NOT_LEADER);
	while (h->waiting)
		request_free(h, h->waiting);
	/* Whether these happen is for the new leader to say: their sessions ask again. */
	while (h->submitting)
		request_free(h, h->submitting);
	while (h->proposed)
		request_free(h, h->proposed);
}

/* --- arrival --- */

/* A repeated request joins the first: true. */
static bool join_earlier(struct hint *h, const struct msg *m)
{
	struct slot_key key = {m->q_statfs.session, m->q_statfs.slot};
	struct request *old;

	HASH_FIND(hh_slot, h->by_slot, &key, sizeof(key), old);
	if (!old)
		return false;
	if (old->m.q_statfs.seq == m->q_statfs.seq) {
		old->m.src = m->src;
		old->m.via = m->via;
		old->m.id = m->id;
		return true;
	}
	if (old->m.q_statfs.seq > m->q_statfs.seq)
		return true; /* a late copy: answered long ago */
	HASH_DELETE(hh_slot, h->by_slot, old);
	old->keyed = false;
	return false;
}

static bool from_outside(unsigned type)
{
	return requests_is_query(type) ||
	       (requests_is_change(type) && type != MSG_TYPE_op_session_end &&
	        type != MSG_TYPE_op_orphan_gone && type != MSG_TYPE_op_drain &&
	        type != MSG_TYPE_op_shown && type != MSG_TYPE_op_refused);
}

/* What many may wait for finds a place when they take all. */
static bool others_wait_for(unsigned type)
{
	return type == MSG_TYPE_op_session || type == MSG_TYPE_op_release || type == MSG_TYPE_op_reclaim ||
	       type == MSG_TYPE_q_map;
}

void requests_arrive(struct hint *h, const struct msg *m)
{
	bool change = requests_is_change(m->type);
	struct request *r;
	struct msg refusal = {.type = MSG_TYPE_r_status};

	refusal.r_status = (struct msg_r_status){STATUS_INVALID, m->q_statfs.session,
	                                         m->q_statfs.slot, m->q_statfs.seq};
	if (!from_outside(m->type) || msg_body_bytes(m) > COMMAND_BYTES_MAX) {
		relay_reply(h, &refusal, m);
		return;
	}
	if (change && m->type != MSG_TYPE_op_session && join_earlier(h, m))
		return;
	if (h->requests >= (others_wait_for(m->type) ? 2 : 1) * h->config.requests_max) {
		/* As if it never came: it is asked again. Had its sender heard that it was refused, a copy of
		 * it that comes later would be taken all the same. */
		refusal.r_status.status = STATUS_BUSY;
		if (h->config.bugs & HINT_BUG_REFUSES_UNLOGGED)
			relay_reply(h, &refusal, m);
		return;
	}
	follow_count(h, m);
	r = request_new(h, m);
	if (change && m->type != MSG_TYPE_op_session) {
		r->key = (struct slot_key){op_fields(r)->session, op_fields(r)->slot};
		r->keyed = true;
		HASH_ADD(hh_slot, h->by_slot, key, sizeof(r->key), r);
	} else if (!change) {
		r->round = read_index_join(&h->reads);
		r->commit = voter_commit(h->voter);
	}
	h->dirty = true;
}

/* Is it certain that this server led when the request had come, and is everything committed until
 * then applied? */
bool request_confirmed(struct hint *h, struct request *r)
{
	if (!r->round) {
		r->round = read_index_join(&h->reads);
		r->commit = voter_commit(h->voter);
	}
	return h->reads.confirmed >= r->round && catalog_applied(h->catalog) >= r->commit;
}

/* --- what a change waits for --- */

static uint64_t name_hash(uint64_t dir, struct span name)
{
	uint64_t x = 0xcbf29ce484222325u ^ dir;

	for (uint32_t i = 0; i < name.len; i++)
		x = (x ^ name.p[i]) * 0x100000001b3u;
	return x ? x : 1;
}

static void find_names(struct request *r)
{
	const struct msg *m = &r->m;

	r->names = 0;
	if (m->type == MSG_TYPE_op_create) {
		r->name[r->names++] = name_hash(m->op_create.dir, m->op_create.name);
	} else if (m->type == MSG_TYPE_op_link) {
		r->name[r->names++] = name_hash(m->op_link.dir, m->op_link.name);
	} else if (m->type == MSG_TYPE_op_unlink) {
		r->name[r->names++] = name_hash(m->op_unlink.dir, m->op_unlink.name);
	} else if (m->type == MSG_TYPE_op_rename) {
		r->name[r->names++] = name_hash(m->op_rename.dir, m->op_rename.name);
		r->name[r->names++] = name_hash(m->op_rename.new_dir, m->op_rename.new_name);
	}
}

/* A directory that only gets or loses an entry: changes of other names in it go on beside. */
static bool is_parent(const struct msg *m, uint64_t ino)
{
	switch ((unsigned)m->type) {
	case MSG_TYPE_op_create:
		return ino == m->op_create.dir;
	case MSG_TYPE_op_link:
		return ino == m->op_link.dir;
	case MSG_TYPE_op_unlink:
		return ino == m->op_unlink.dir;
	case MSG_TYPE_op_rename:
		return ino == m->op_rename.dir || ino == m->op_rename.new_dir;
	default:
		return false;
	}
}

static bool collides(const struct request *a, const struct request *b)
{
	for (unsigned i = 0; i < a->names; i++)
		for (unsigned j = 0; j < b->names; j++)
			if (a->name[i] == b->name[j])
				return true;
	for (unsigned i = 0; i < a->touches; i++)
		for (unsigned j = 0; j < b->touches; j++)
			if (a->touch[i].ino == b->touch[j].ino &&
			    !(is_parent(&a->m, a->touch[i].ino) && is_parent(&b->m, a->touch[i].ino)))
				return true;
	return false;
}

/* What a change in flight decides may be what this one has to recall. */
static bool in_flight_collides(struct hint *h, const struct request *r)
{
	struct request *o;
	bool any = false;

	for (unsigned i = 0; i < r->touches; i++)
		any |= r->touched[i]->changes > 0;
	if (!any)
		return false;
	DL_FOREACH(h->submitting, o)
		if (collides(r, o))
			return true;
	DL_FOREACH(h->proposed, o)
		if (collides(r, o))
			return true;
	return false;
}

static void find_touches(struct hint *h, struct request *r)
{
	unsigned i = 0;

	lease_release_claims(h, r);
	r->touches = catalog_touches(h->catalog, &r->m, r->touch);
	find_names(r);
	if (r->m.type != MSG_TYPE_op_lease)
		return;
	while (i < r->touches && r->touch[i].ino != r->m.op_lease.ino)
		i++;
	if (i == r->touches)
		r->touch[r->touches++] = (struct catalog_touch){.ino = r->m.op_lease.ino};
	/* Who writes a file changes its size and times without asking. */
	if (r->touch[i].what & RECALL_DATA)
		r->touch[i].what |= RECALL_META;
}

/* A lock of a session that lapsed is in the way: that session ends. */
static bool lock_waits_for_end(struct hint *h, const struct request *r)
{
	const struct msg_op_lock *op = &r->m.op_lock;
	struct catalog_lock blocker;
	struct sess *s;

	if (r->m.type != MSG_TYPE_op_lock || op->type == F_UNLCK ||
	    !catalog_lock_blocker(h->catalog, op->session, op, &blocker))
		return false;
	s = sess_find(h, blocker.session);
	if (!s || !sess_lapsed(h, s))
		return false;
	sess_end(h, s);
	return true;
}

/* --- the shared lease that needs no log entry --- */

static bool shared_suffices(struct hint *h, const struct request *r, struct catalog_inode *i)
{
	const struct msg_op_lease *op = &r->m.op_lease;

	return r->m.type == MSG_TYPE_op_lease && op->mode == LEASE_SHARED &&
	       catalog_inode(h->catalog, op->ino, i) && S_ISREG(i->fields.mode) && !i->holder &&
	       !i->unclean && op->above <= i->fields.epoch;
}

/* A copy of a request that was answered without the log: its session went on long ago, or asks again for a
 * lost answer. What the answer granted may not be to be had any more, and an exclusive lease would be one that
 * nobody knows of. */
static bool was_unlogged(struct hint *h, const struct request *r)
{
	const struct sess *s = sess_find(h, op_fields(r)->session);

	return r->m.type == MSG_TYPE_op_lease && s && s->unlogged && r->key.slot < CATALOG_SLOTS &&
	       op_fields(r)->seq <= s->unlogged[r->key.slot];
}

static void note_unlogged(struct sess *s, const struct request *r)
{
	if (r->key.slot >= CATALOG_SLOTS)
		return;
	if (!s->unlogged)
		s->unlogged = mem_new_array(CATALOG_SLOTS, sizeof(*s->unlogged));
	s->unlogged[r->key.slot] = MAX(s->unlogged[r->key.slot], op_fields(r)->seq);
}

static void grant_shared(struct hint *h, struct request *r, const struct catalog_inode *i)
{
	struct sess *s = sess_find(h, op_fields(r)->session);
	struct msg m = {.type = MSG_TYPE_r_lease};
	struct msg_r_lease *l = &m.r_lease;
	struct stale_map stale;
	uint8_t *runs;
	size_t len;

	if (!s || !lease_grant(h, s, i->fields.ino, RECALL_DATA)) {
		finish_status(h, r, STATUS_BUSY);
		return;
	}
	note_unlogged(s, r);
	stale_init(&stale);
	(void)catalog_stale(h->catalog, i->fields.ino, &stale);
	len = stale_encoded_bytes(&stale);
	runs = mem_new(len + 1);
	stale_encode(&stale, runs);
	*l = (struct msg_r_lease){.status = STATUS_OK, .session = op_fields(r)->session,
	                          .slot = op_fields(r)->slot, .seq = op_fields(r)->seq,
	                          .granted = LEASE_SHARED, .grant = ++h->next_id,
	                          .stale = {runs, (uint32_t)len}};
#define u8(name) l->name = i->fields.name;
#define u16(name) l->name = i->fields.name;
#define u32(name) l->name = i->fields.name;
#define u64(name) l->name = i->fields.name;
#define X(kind, name) kind(name)
	INODE_FIELDS(X)
#undef X
#undef u8
#undef u16
#undef u32
#undef u64
	request_finish(h, r, &m);
	mem_free(runs);
	stale_fini(&stale);
}

/* --- proposing --- */

static void propose(struct hint *h, struct request *r)
{
	move_to(h, r, REQUEST_SUBMITTING);
	if (room_grows(&r->m))
		h->growing_bytes += r->body_len;
	for (unsigned i = 0; i < r->touches; i++)
		r->touched[i]->changes++;
}

void requests_internal(struct hint *h, const struct msg *op)
{
	struct request *r = request_new(h, op);

	r->internal = true;
	propose(h, r);
}

/* A refusal that could be otherwise a moment later goes through the log, in the request's slot. Else a copy
 * of the request that comes late would be taken after its sender was told that it was not. */
static void refuse(struct hint *h, struct request *r, enum status status)
{
	const struct msg_q_statfs head = *op_fields(r);

	if (h->config.bugs & HINT_BUG_REFUSES_UNLOGGED) {
		finish_status(h, r, status);
		return;
	}
	lease_release_claims(h, r);
	r->touches = 0;
	r->m.type = MSG_TYPE_op_refused;
	r->m.op_refused = (struct msg_op_refused){head.session, head.slot, head.seq, (uint16_t)status};
	mem_free(r->body);
	r->body_len = msg_body_bytes(&r->m);
	r->body = mem_new(r->body_len);
	msg_encode_body(&r->m, r->body);
	propose(h, r);
}

/* A process with another disk than the registered one, which is served from at this moment: the word of a new
 * disk that was replaced before it was registered may come as late as this. Taken for the newest, it would have
 * the living process refused for good. One that is true asks again, and the other one's session lapses soon. */
static bool other_disk_serves(const struct hint *h, const struct msg_op_session *op)
{
	const struct sess *s = sessions_of_server(h, op->server);
	struct catalog_server known;

	return op->kind == SERVER_CORE && s && !sess_lapsed(h, s) && !(h->config.bugs & HINT_BUG_LATE_DISK) &&
	       catalog_server(h->catalog, op->server, &known) && known.disk != op->disk;
}

/* 0: go on; else the status to answer with; -EAGAIN: wait. */
static int check_session(struct hint *h, struct request *r)
{
	struct catalog_session c;

	if (r->m.type == MSG_TYPE_op_session && r->m.op_session.server != r->m.src)
		return STATUS_INVALID;
	if (r->m.type == MSG_TYPE_op_session && other_disk_serves(h, &r->m.op_session))
		return STATUS_BUSY;
	if (r->m.type == MSG_TYPE_op_session)
		return shown_more(h, &r->m.op_session) ? STATUS_DISK : 0;
	if (!catalog_session(h->catalog, op_fields(r)->session, &c) || c.server != r->m.src ||
	    !sess_find(h, c.id))
		return request_confirmed(h, r) ? STATUS_NO_SESSION : -EAGAIN;
	return sess_find(h, c.id)->ending ? -EAGAIN : 0;
}

/* A move of a file whose holder is away: that one is to find it as it was (absent.c). */
static bool moves_absent(struct hint *h, const struct request *r)
{
	struct catalog_inode i;
	const struct sess *s;

	if (r->m.type != MSG_TYPE_op_move || !catalog_inode(h->catalog, r->m.op_move.ino, &i) || !i.holder)
		return false;
	s = sess_find(h, i.holder);
	return !s || s->ending || sess_lapsed(h, s);
}

static void run_change(struct hint *h, struct request *r)
{
	struct catalog_inode inode;
	int rc = check_session(h, r);
	bool shared;

	if (rc == -EAGAIN)
		return;
	if (rc) {
		finish_status(h, r, (enum status)rc);
		return;
	}
	if (r->m.type != MSG_TYPE_op_session && catalog_repeated(h->catalog, &r->m, &h->scratch)) {
		request_finish(h, r, &h->scratch.m);
		return;
	}
	if (room_refuses(h, &r->m)) {
		refuse(h, r, STATUS_NO_SPACE);
		return;
	}
	if (room_waits(h, &r->m))
		return;
	if (moves_absent(h, r)) {
		refuse(h, r, STATUS_BUSY);
		return;
	}
	find_touches(h, r);
	shared = shared_suffices(h, r, &inode);
	if (!lease_clear_for(h, r, !shared || h->config.bugs & HINT_BUG_GRACE_FOR_ALL) ||
	    in_flight_collides(h, r) || lock_waits_for_end(h, r))
		return;
	if (shared) {
		if (request_confirmed(h, r))
			grant_shared(h, r, &inode);
		return;
	}
	if (was_unlogged(h, r)) {
		finish_status(h, r, STATUS_BUSY);
		return;
	}
	propose(h, r);
}

void requests_run(struct hint *h)
{
	struct request *r, *tmp;

	while (h->dirty && h->ready) {
		h->dirty = false;
		DL_FOREACH_SAFE(h->waiting, r, tmp) {
			if (requests_is_query(r->m.type))
				(void)query_run(h, r);
			else
				run_change(h, r);
		}
	}
}

void requests_submit(struct hint *h)
{
	struct span command[SUBMIT_MAX];
	struct request *r, *tmp;
	uint64_t index;
	unsigned n = 0;

	if (!h->submitting)
		return;
	DL_FOREACH(h->submitting, r) {
		if (n == SUBMIT_MAX)
			break;
		command[n++] = (struct span){r->body, (uint32_t)r->body_len};
	}
	index = voter_submit(h->voter, n, command);
	if (!index) {
		hint_wake(h, hint_now(h) + 10 * NSEC_MSEC); /* leadership is being handed over */
		return;
	}
	DL_FOREACH_SAFE(h->submitting, r, tmp) {
		if (n-- == 0) {
			requests_submit(h);
			return;
		}
		move_to(h, r, REQUEST_PROPOSED);
		r->index = index++;
		HASH_ADD(hh_index, h->by_index, index, sizeof(r->index), r);
	}
}

/* --- applied --- */

/* The one directory in which the change added, removed or replaced an entry; 0: none, or two. */
static uint64_t changed_dir(const struct msg *op)
{
	switch ((unsigned)op->type) {
	case MSG_TYPE_op_create:
		return op->op_create.dir;
	case MSG_TYPE_op_link:
		return op->op_link.dir;
	case MSG_TYPE_op_unlink:
		return op->op_unlink.dir;
	case MSG_TYPE_op_rename:
		return op->op_rename.dir == op->op_rename.new_dir ? op->op_rename.dir : 0;
	default:
		return 0;
	}
}

/* Who changes a directory asks for its attributes next. */
static void grant_dir(struct hint *h, struct sess *s, const struct msg *op, struct msg_r_inode *r)
{
	uint64_t dir = changed_dir(op);
	struct catalog_inode i;

	if (!dir || !lease_may_grant(h, s, dir) || !catalog_inode(h->catalog, dir, &i) ||
	    !lease_grant(h, s, dir, RECALL_META))
		return;
	r->dir_meta = 1;
	r->dir_nlink = i.fields.nlink;
	r->dir_size = i.fields.size;
	r->dir_mtime = i.fields.mtime;
	r->dir_ctime = i.fields.ctime;
}

/* What the reply grants beyond the catalog's own word. */
static void grant_with_reply(struct hint *h, const struct msg *op, struct msg *reply)
{
	struct sess *s = sess_find(h, op->q_statfs.session);
	bool ok = reply->type && reply->r_status.status == STATUS_OK;

	if (!s || !ok)
		return;
	if (op->type == MSG_TYPE_op_release && op->op_release.to == LEASE_SHARED)
		(void)lease_grant(h, s, op->op_release.ino, RECALL_DATA);
	if (reply->type == MSG_TYPE_r_lease && reply->r_lease.granted == LEASE_SHARED) {
		(void)lease_grant(h, s, reply->r_lease.ino, RECALL_DATA);
		reply->r_lease.grant = ++h->next_id;
	}
	if ((op->type == MSG_TYPE_op_create || op->type == MSG_TYPE_op_setattr ||
	     op->type == MSG_TYPE_op_link) && lease_may_grant(h, s, reply->r_inode.ino)) {
		struct catalog_inode i;

		if (catalog_inode(h->catalog, reply->r_inode.ino, &i) &&
		    (!i.holder || i.holder == s->id) && !i.unclean)
			reply->r_inode.meta = lease_grant(h, s, i.fields.ino, RECALL_META);
	}
	if (reply->type == MSG_TYPE_r_inode)
		grant_dir(h, s, op, &reply->r_inode);
}

void requests_applied(struct hint *h, uint64_t index, const struct msg *op,
                      struct catalog_reply *reply)
{
	struct request *r;
	struct msg_r_session *given = &reply->m.r_session;

	if (op->type == MSG_TYPE_op_session && reply->m.type == MSG_TYPE_r_session &&
	    given->status == STATUS_OK)
		sess_add(h, given->given, op->op_session.server, op->op_session.kind);
	if (op->type == MSG_TYPE_op_shown)
		shown_logged(h);
	if (op->type == MSG_TYPE_op_lock) {
		bool waits = op->op_lock.wait && reply->m.r_status.status == STATUS_AGAIN;

		if (!waits)
			lock_wait_forget(h, op->op_lock.session, op->op_lock.ino, op->op_lock.owner);
		else if (!lock_wait_add(h, op))
			reply->m.r_status.status = STATUS_DEADLOCK;
	}
	HASH_FIND(hh_index, h->by_index, &index, sizeof(index), r);
	if (r) {
		/* Its own change is over before what it leaves is granted. */
		for (unsigned i = 0; i < r->touches; i++)
			r->touched[i]->changes--;
		lease_release_claims(h, r);
		r->touches = 0;
	}
	grant_with_reply(h, op, &reply->m);
	if (r)
		request_finish(h, r, &reply->m);
	h->dirty = true;
}
