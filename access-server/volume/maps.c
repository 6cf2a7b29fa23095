/* Cluster maps: the newest, and every older one that a file in use is placed by. */
#include "access-server/volume/parts.h"

#define MAP_RETRY (300 * NSEC_MSEC)

struct vol_map_entry {
	UT_hash_handle hh;
	struct volume *v;
	uint64_t version;
	struct map *map; /* NULL: not here yet */
	bool asking;
	struct session_call call;
	struct vol_timer timer;
};

static void fetch(struct vol_map_entry *e);

static void on_map_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	fetch(container_of(t, struct vol_map_entry, timer));
}

static void give_to_files(struct vol_map_entry *e)
{
	struct file *f, *next;

	HASH_ITER(hh, e->v->files, f, next)
		if (!f->map && f->have_attr && f->attr.map == e->version) {
			file_set_map(f, e->map);
			repair_kick(f, 0); /* it may be held for nothing else */
			file_run(f);
		}
}

static bool take_map(struct vol_map_entry *e, const struct msg *m)
{
	struct map *map = NULL;

	if (!m || m->type != MSG_TYPE_r_bytes || m->r_bytes.status != STATUS_OK ||
	    map_decode(m->r_bytes.bytes.p, m->r_bytes.bytes.len, &map) != 0)
		return false;
	if (map->version != e->version) {
		map_free(map);
		return false;
	}
	e->map = map;
	e->v->maps_taken++;
	return true;
}

static void on_map(struct session_call *c, const struct msg *m)
{
	struct vol_map_entry *e = container_of(c, struct vol_map_entry, call);
	struct volume *v = e->v;

	vol_enter(v);
	e->asking = false;
	if (!take_map(e, m)) {
		/* Old ones are kept only while an inode names them: asked for again when one does. */
		if (m && m->r_status.status == STATUS_NOT_FOUND && e->version < v->newest_wanted) {
			HASH_DEL(v->maps, e);
			mem_free(e);
			return;
		}
		timer_set(v, &e->timer, v->now + MAP_RETRY);
		return;
	}
	if (!v->newest || e->map->version > v->newest->version)
		v->newest = e->map;
	give_to_files(e);
}

static void fetch(struct vol_map_entry *e)
{
	struct msg m = {.type = MSG_TYPE_q_map};

	if (e->asking || e->map)
		return;
	/* A new session asks before the retry is due: the timer must not outlive an entry given up. */
	timer_stop(e->v, &e->timer);
	e->asking = true;
	m.q_map.map = e->version;
	e->call.done = on_map;
	session_call(e->v->session, &e->call, &m);
}

struct map *maps_get(struct volume *v, uint64_t version)
{
	struct vol_map_entry *e;

	if (version == 0)
		return NULL;
	HASH_FIND(hh, v->maps, &version, sizeof(version), e);
	if (!e) {
		e = mem_new(sizeof(*e));
		e->v = v;
		e->version = version;
		e->timer.fire = on_map_timer;
		HASH_ADD(hh, v->maps, version, sizeof(version), e);
		fetch(e);
	}
	return e->map;
}

void maps_want_newest(struct volume *v, uint64_t version)
{
	if (version > v->newest_wanted)
		v->newest_wanted = version;
	maps_get(v, v->newest_wanted);
}

void maps_session_up(struct volume *v)
{
	struct vol_map_entry *e, *next;

	HASH_ITER(hh, v->maps, e, next)
		fetch(e);
}

void maps_free(struct volume *v)
{
	struct vol_map_entry *e, *next;

	HASH_ITER(hh, v->maps, e, next) {
		if (e->asking)
			session_cancel(v->session, &e->call);
		timer_stop(v, &e->timer);
		HASH_DEL(v->maps, e);
		map_free(e->map);
		mem_free(e);
	}
}

unsigned vol_maps(const struct volume *v)
{
	return v->maps_taken;
}

const struct map *vol_map_next(const struct volume *v, const struct map *after)
{
	struct vol_map_entry *e, *next;
	const struct map *found = NULL;

	HASH_ITER(hh, v->maps, e, next)
		if (e->map && (!after || e->version > after->version) &&
		    (!found || e->version < found->version))
			found = e->map;
	return found;
}

bool vol_knows_server(const struct volume *v, server_id_t core)
{
	struct vol_map_entry *e, *next;

	HASH_ITER(hh, v->maps, e, next)
		if (e->map && map_find_server(e->map, core))
			return true;
	return false;
}
