/* Moves of placement that are asked for here (design section 4). The catalog makes them, as a swap
 * of one replica (hint-server/catalog/op_move.c); what the new one lacks is then repaired like any stale
 * replica, by whoever holds the file or by the background repairer.
 *
 * Follow the writer: a file that was held for writing here for a while, and is at home in another site,
 * gets its home replica here. The move takes the lease back for a moment, so it is asked for only when it
 * can be made: nothing of the file lags, and the servers of all its replicas answer. */
#include "access-server/volume/parts.h"

#define LOOKS 4              /* in the time after which a file is followed */
#define LOOK_MIN (100 * NSEC_MSEC)
#define LOOKED_AT_MAX 20000  /* files, as many as are held */

static void on_moved(struct session_call *c, const struct msg *m)
{
	struct volume *v = container_of(c, struct volume, move_call);

	vol_enter(v);
	v->move_asking = false;
	if (m && (m->r_status.status == STATUS_OK || m->r_status.status == STATUS_EXISTS))
		v->stats.moves++;
	else if (m && m->r_status.status != STATUS_BUSY)
		vol_log(v, "volume.move", "a replica of file=%" PRIu64 " is not moved: %s", v->moving,
		        status_text((enum status)m->r_status.status));
}

bool vol_move(struct volume *v, uint64_t ino, uint16_t from, uint16_t to)
{
	struct msg m = {.type = MSG_TYPE_op_move};

	vol_enter(v);
	if (v->move_asking || !vol_session_valid(v))
		return false;
	v->move_asking = true;
	v->moving = ino;
	v->move_call.done = on_moved;
	m.op_move.ino = ino;
	m.op_move.from = from;
	m.op_move.to = to;
	session_call(v->session, &v->move_call, &m);
	return true;
}

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

	if (f->lease != LEASE_EXCLUSIVE || f->phase != PHASE_IDLE || f->recalled || f->repair_only || !f->map)
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
		if (wants_to_follow(f))
			(void)vol_move(v, f->ino, f->site[0], v->config.site);
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
