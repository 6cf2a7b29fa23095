/* Files that have to leave core servers which left the map (design section 4): who moves them, and how many
 * are left.
 *
 * The leader walks over all inodes, a few at a time, again and again until a whole walk finds none. What it
 * finds it gives to access servers that ask for such work: files that nobody holds to anyone, held ones to
 * their holder. They move them with op_move; that it is right and still wanted is the catalog's to say. All
 * this is volatile: a new leader walks anew. */
#include "hint-server/quorum/hint_private.h"

#define LOOKS 512                   /* inodes of one tick without a find */
#define FINDS 64                    /* of one tick */
#define LOOK_EVERY NSEC_MSEC
#define WALK_PAUSE NSEC_SEC
#define GIVEN_FOR (3 * NSEC_SEC)    /* then another one may try */

void moves_reset(struct hint *h)
{
	h->moves = (struct moves){0};
}

static bool any_drained(struct hint *h)
{
	struct catalog_server s = {0};

	while (catalog_server_next(h->catalog, s.id, &s))
		if (s.flags & CATALOG_SERVER_DRAINED)
			return true;
	return false;
}

static void walk_begin(struct moves *m, uint64_t map)
{
	m->walking = true;
	m->map = map;
	m->cursor = 0;
	m->found = 0;
	m->stuck = 0;
}

static void walk_end(struct moves *m, nsec_t now)
{
	m->walking = false;
	m->left = m->found;
	m->left_stuck = m->stuck;
	m->counted = true;
	m->due = now + WALK_PAUSE;
	if (m->found == 0)
		m->map_done = m->map;
}

static void take(struct moves *m, const struct catalog_move *move)
{
	m->found++;
	m->stuck += move->map == 0;
	for (unsigned i = 0; i < m->n; i++)
		if (m->list[i].ino == move->ino)
			return;
	if (m->n < MOVES_MAX && move->map != 0)
		m->list[m->n++] = (struct move_to_do){move->ino, 0};
}

bool moves_done(const struct hint *h)
{
	return h->moves.map_done == catalog_map(h->catalog)->version;
}

nsec_t moves_tick(struct hint *h, nsec_t now)
{
	struct moves *m = &h->moves;
	const uint64_t map = catalog_map(h->catalog)->version;
	struct catalog_move move;

	if (!h->ready || moves_done(h))
		return NSEC_NEVER;
	if (!m->walking) {
		if (now < m->due)
			return m->due;
		if (!any_drained(h)) {
			moves_reset(h);
			h->moves.map_done = map;
			return NSEC_NEVER;
		}
		walk_begin(m, map);
	}
	for (unsigned n = 0; n < FINDS && catalog_move_next(h->catalog, &m->cursor, LOOKS, &move); n++)
		take(m, &move);
	if (m->cursor == 0) {
		walk_end(m, now);
		return moves_done(h) ? NSEC_NEVER : m->due;
	}
	return now + LOOK_EVERY;
}

/* --- giving --- */

static bool server_up(const struct hint *h, server_id_t id)
{
	const struct sess *s = sessions_of_server(h, id);

	return s && !sess_lapsed(h, s);
}

/* All servers of the site that the map has there. */
static bool site_up(const struct hint *h, uint16_t site)
{
	const struct map *map = catalog_map(h->catalog);

	for (unsigned i = 0; i < map->servers; i++)
		if (map->server[i].site == site && !server_up(h, map->server[i].id))
			return false;
	return true;
}

/* Two replicas stay and have to be complete, and the new one is filled from them, in a site that is well. */
static bool can_go(struct hint *h, const struct catalog_inode *i, struct catalog_move *move)
{
	const uint16_t site[REPLICAS] = {i->fields.site0, i->fields.site1, i->fields.site2};
	uint16_t down[SITES_MAX];
	unsigned n = 0;

	if (i->unclean || i->refill)
		return false;
	for (unsigned k = 0; k < REPLICAS; k++)
		if (site[k] != move->from && !site_up(h, site[k]))
			return false;
	while (move->to && !site_up(h, move->to)) {
		down[n++] = move->to;
		if (n == SITES_MAX || !catalog_move_elsewhere(h->catalog, move, down, n))
			return false;
	}
	return true;
}

static void drop(struct moves *m, unsigned i)
{
	m->list[i] = m->list[--m->n];
}

/* A file for that session to move now; false: none. */
static bool find(struct hint *h, session_id_t asker, struct catalog_move *out)
{
	struct moves *m = &h->moves;
	const nsec_t now = hint_now(h);
	struct catalog_inode i;

	for (unsigned k = 0; k < m->n;) {
		struct move_to_do *t = &m->list[k];

		if (!catalog_move_wanted(h->catalog, t->ino, out) || out->map == 0 ||
		    !catalog_inode(h->catalog, t->ino, &i)) {
			drop(m, k);
			continue;
		}
		k++;
		if (now < t->given || (i.holder && i.holder != asker) || !can_go(h, &i, out))
			continue;
		t->given = now + GIVEN_FOR;
		return true;
	}
	return false;
}

void moves_answer(struct hint *h, const struct msg *q, struct msg *reply)
{
	const struct msg_q_statfs *head = &q->q_statfs;
	struct catalog_move move;

	*reply = (struct msg){.type = MSG_TYPE_r_move};
	reply->r_move.status = STATUS_NOT_FOUND;
	reply->r_move.session = head->session;
	reply->r_move.slot = head->slot;
	reply->r_move.seq = head->seq;
	if (!find(h, head->session, &move))
		return;
	reply->r_move.status = STATUS_OK;
	reply->r_move.ino = move.ino;
	reply->r_move.from = move.from;
	reply->r_move.to = move.to;
	reply->r_move.map = move.map;
}

/* --- the operator's word --- */

static void propose(struct hint *h, server_id_t server, bool drain)
{
	struct msg op = {.type = MSG_TYPE_op_drain};

	op.op_drain.slot = 0xffff;
	op.op_drain.server = server;
	op.op_drain.drain = drain;
	requests_internal(h, &op);
	hint_wake(h, hint_now(h));
}

enum status hint_drain(struct hint *h, server_id_t server, bool drain)
{
	enum status s;

	if (!h->leader || !h->ready)
		return STATUS_NOT_LEADER;
	s = catalog_can_drain(h->catalog, server, drain);
	if (s == STATUS_OK)
		propose(h, server, drain);
	return s;
}

enum status hint_drain_site(struct hint *h, uint16_t site, bool drain)
{
	struct catalog_server server = {0};
	enum status s;

	if (!h->leader || !h->ready)
		return STATUS_NOT_LEADER;
	s = catalog_can_drain_site(h->catalog, site, drain);
	while (s == STATUS_OK && catalog_server_next(h->catalog, server.id, &server))
		if (server.kind == SERVER_CORE && server.site == site &&
		    drain != !!(server.flags & CATALOG_SERVER_DRAINED))
			propose(h, server.id, drain);
	return s;
}
