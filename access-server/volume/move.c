/* Moves of placement (design section 4): which files are moved from here, and when.
 *
 * The leader says which files have to leave core servers that left the map. Who has such a file's lease, or
 * takes it for that, makes the replica whole where it goes (fill.c); the release of the lease is then the
 * move (hint-server/catalog/op_move.c).
 *
 * Follow the writer: a file that was held for writing here for a while, and is at home in another site,
 * gets its home replica here. The move takes the lease back for a moment, so it is asked for only when it
 * can be made: nothing of the file lags, and the servers of all its replicas answer. */
#include "access-server/volume/parts.h"

#define LOOK_AGAIN NSEC_SEC
#define LOOKS 4              /* in the time after which a file is followed */
#define LOOK_MIN (100 * NSEC_MSEC)
#define LOOKED_AT_MAX 20000  /* files, as many as are held */

/* What the new replica lacks is to be repaired now, if nobody has the file; then the next one may go. */
static void moved(struct volume *v)
{
	v->stats.moves++;
	timer_set_sooner(v, &v->repair_poll, v->now);
}

static void on_moved(struct session_call *c, const struct msg *m)
{
	struct volume *v = container_of(c, struct volume, move_call);

	vol_enter(v);
	v->move_asking = false;
	if (m && (m->r_status.status == STATUS_OK || m->r_status.status == STATUS_EXISTS))
		moved(v);
	else if (m && m->r_status.status != STATUS_BUSY)
		vol_log(v, "volume.move", "a replica of file=%" PRIu64 " is not moved: %s", v->moving,
		        status_text((enum status)m->r_status.status));
}

static bool ask(struct volume *v, uint64_t ino, uint16_t from, uint16_t to, uint64_t map)
{
	struct msg m = {.type = MSG_TYPE_op_move};

	if (v->move_asking || !vol_session_valid(v))
		return false;
	v->move_asking = true;
	v->moving = ino;
	v->move_call.done = on_moved;
	m.op_move.ino = ino;
	m.op_move.from = from;
	m.op_move.to = to;
	m.op_move.map = map;
	session_call(v->session, &v->move_call, &m);
	return true;
}

static bool has_replica(const struct file *f, uint16_t site)
{
	return f->site[0] == site || f->site[1] == site || f->site[2] == site;
}

/* --- files that have to leave a core server: the leader says which --- */

bool move_go(struct file *f)
{
	if (!f->to_move.wanted || f->phase != PHASE_IDLE || f->recalled)
		return false;
	if (f->site[0] == f->to_move.from && f->to_move.to != f->to_move.from &&
	    has_replica(f, f->to_move.to)) {
		f->to_move.wanted = false; /* that one becomes the home */
		(void)ask(f->v, f->ino, f->to_move.from, f->to_move.to, 0);
		return false;
	}
	switch (fill_run(f)) {
	case FILL_RUNS:
		repair_kick(f, LOOK_AGAIN);
		return true;
	case FILL_READY:
		f->v->stats.moves++;
		give_back(f, LEASE_NONE); /* which is the move */
		return true;
	case FILL_FAILED:
		f->to_move.wanted = false;
		fill_stop(f);
		return false;
	}
	return false;
}

static void want(struct file *f, uint16_t from, uint16_t to, uint64_t map)
{
	if (f->to_move.wanted && f->to_move.from == from && f->to_move.to == to && f->to_move.map == map)
		return;
	fill_stop(f);
	f->to_move.wanted = true;
	f->to_move.from = from;
	f->to_move.to = to;
	f->to_move.map = map;
}

bool vol_move(struct volume *v, uint64_t ino, uint16_t from, uint16_t to, uint64_t map)
{
	struct file *f;

	vol_enter(v);
	f = file_find(v, ino);
	if (from == 0) /* nothing to copy: the leader recalls the file, the catalog does it */
		return ask(v, ino, from, to, map);
	if (f && f->lease == LEASE_EXCLUSIVE && !f->repair_only) {
		want(f, from, to, map); /* while it is used */
		repair_kick(f, 0);
		return true;
	}
	if (v->repairing || !vol_session_valid(v))
		return false;
	f = repair_take(v, ino);
	if (f)
		want(f, from, to, map);
	return f != NULL;
}

static void on_found(struct session_call *c, const struct msg *m)
{
	struct volume *v = container_of(c, struct volume, move_call);

	vol_enter(v);
	v->move_asking = false;
	if (m && m->type == MSG_TYPE_r_move && m->r_move.status == STATUS_OK)
		(void)vol_move(v, m->r_move.ino, m->r_move.from, m->r_move.to, m->r_move.map);
}

void move_poll(struct volume *v)
{
	struct msg m = {.type = MSG_TYPE_q_move};

	if (v->move_asking || !vol_session_valid(v))
		return;
	v->move_asking = true;
	v->move_call.done = on_found;
	session_call(v->session, &v->move_call, &m);
}

/* --- files that follow their writers --- */

/* Every server of the file answers, those it would move to as well. */
static bool all_up(struct file *f)
{
	uint16_t here = f->v->config.site;

	for (unsigned k = 0; k < f->map->servers; k++) {
		const struct map_server *s = &f->map->server[k];
		bool ours = s->site == here || s->site == f->site[0] || s->site == f->site[1] ||
		            s->site == f->site[2];

		if (ours && peer_get(f->v, s->id)->down)
			return false;
	}
	return true;
}

/* As op_move() of the catalog judges it. */
static bool can_follow(struct file *f)
{
	uint16_t here = f->v->config.site, sites[REPLICAS] = {here, f->site[1], f->site[2]};
	server_id_t server[REPLICAS];

	if (f->site[0] == f->site[1] || f->site[0] == f->site[2] || f->site[1] == f->site[2])
		return false;
	for (unsigned i = 1; i < REPLICAS; i++)
		if (f->site[i] == here)
			sites[i] = f->site[0];
	return map_place(f->map, sites, f->ino, 0, server) == 0;
}

static bool wants_to_follow(struct file *f)
{
	const struct volume *v = f->v;

	if (f->lease != LEASE_EXCLUSIVE || f->phase != PHASE_IDLE || f->recalled || f->repair_only || !f->map ||
	    f->to_move.wanted)
		return false;
	if (f->site[0] == v->config.site || v->now < f->granted_at + v->config.follow_writer)
		return false;
	if (f->n == 0 || f->unclean || f->behinds || !stale_empty(&f->stale))
		return false;
	return can_follow(f) && all_up(f);
}

static void on_follow(struct volume *v, struct vol_timer *t)
{
	struct file *f;
	unsigned n = 0;

	timer_set(v, t, v->now + MAX(v->config.follow_writer / LOOKS, LOOK_MIN));
	DL_FOREACH2(v->held_lru, f, lru_next) {
		if (++n > LOOKED_AT_MAX || v->move_asking)
			return;
		if (!wants_to_follow(f))
			continue;
		want(f, f->site[0], v->config.site, f->attr.map);
		repair_kick(f, 0);
	}
}

void follow_start(struct volume *v)
{
	v->follow.fire = on_follow;
	if (v->config.follow_writer > 0 && v->config.site != 0)
		timer_set(v, &v->follow, v->now + MAX(v->config.follow_writer / LOOKS, LOOK_MIN));
}

void move_stop(struct volume *v)
{
	timer_stop(v, &v->follow);
	if (v->move_asking)
		session_cancel(v->session, &v->move_call);
	v->move_asking = false;
}
