/* What `distcloud why` asks of one file: what stands in the way of those who use it. */
#include "common/server/admin.h"
#include "hint-server/quorum/hint_private.h"

/* --- its replicas --- */

static json_t *server_json(struct hint *h, const struct catalog_server *s)
{
	json_t *o = json_object();

	admin_put(o, "id", s->id);
	admin_put_text(o, "state", hint_server_state(h, s));
	return o;
}

/* Replica k: its site, the core servers that may have blocks of it, and whether something there is stale. */
static json_t *replica_json(struct hint *h, const struct map *map, const struct stale_map *stale, unsigned k,
                            uint16_t site)
{
	json_t *o = json_object(), *servers = json_array();
	struct catalog_server s;
	bool lags = false;

	for (unsigned i = 0; i < map->servers; i++)
		if (map->server[i].site == site && catalog_server(h->catalog, map->server[i].id, &s))
			(void)json_array_append_new(servers, server_json(h, &s));
	for (unsigned n = 0; n < stale->n; n++)
		lags |= stale->runs[n].mask >> k & 1;
	admin_put_text(o, "site", hint_site_name(h, site));
	admin_put_bool(o, "stale", lags);
	(void)json_object_set_new(o, "servers", servers);
	return o;
}

static void add_replicas(struct hint *h, json_t *o, const struct catalog_inode *i)
{
	const uint16_t site[REPLICAS] = {i->fields.site0, i->fields.site1, i->fields.site2};
	json_t *list = json_array();
	struct stale_map stale;
	struct map *map;

	stale_init(&stale);
	(void)catalog_stale(h->catalog, i->fields.ino, &stale);
	if (catalog_map_get(h->catalog, i->fields.map, &map) == 0) {
		for (unsigned k = 0; k < REPLICAS; k++)
			(void)json_array_append_new(list, replica_json(h, map, &stale, k, site[k]));
		map_free(map);
	}
	stale_fini(&stale);
	(void)json_object_set_new(o, "replicas", list);
}

/* --- who has it, or had it --- */

/* The server whose session that is or was last; 0: not known any more. */
static server_id_t server_of(struct hint *h, session_id_t id)
{
	struct catalog_session session;
	struct catalog_server s = {0};

	if (catalog_session(h->catalog, id, &session))
		return session.server;
	while (catalog_server_next(h->catalog, s.id, &s))
		if (s.ended == id)
			return s.id;
	return 0;
}

static void add_server(struct hint *h, json_t *o, const char *key, server_id_t id)
{
	struct catalog_server s;
	json_t *server;

	if (id == 0 || !catalog_server(h->catalog, id, &s))
		return;
	server = server_json(h, &s);
	admin_put_text(server, "site", hint_site_name(h, s.site));
	(void)json_object_set_new(o, key, server);
}

static void add_lease(struct hint *h, json_t *o, const struct catalog_inode *i)
{
	struct ilease *il;

	if (i->holder)
		add_server(h, o, "holder", server_of(h, i->holder));
	if (i->unclean && i->lost_by) {
		add_server(h, o, "lost_by", server_of(h, i->lost_by));
		admin_put(o, "recovered_in_ms", (uint64_t)(absent_left(h, i->lost_by) / NSEC_MSEC));
	}
	add_server(h, o, "taken_by", i->taken_by);
	HASH_FIND(hh, h->ileases, &i->fields.ino, sizeof(i->fields.ino), il);
	if (il && i->holder && il->ex_from == i->holder)
		admin_put(o, "asked_back_ms", (uint64_t)((hint_now(h) - il->ex_at) / NSEC_MSEC));
}

json_t *hint_why_json(struct hint *h, uint64_t ino)
{
	struct catalog_inode i;
	json_t *o;

	if (!catalog_inode(h->catalog, ino, &i))
		return NULL;
	o = json_object();
	admin_put(o, "ino", ino);
	admin_put(o, "epoch", i.fields.epoch);
	admin_put_bool(o, "unclean", i.unclean);
	if (i.fields.site0 != 0)
		add_replicas(h, o, &i);
	add_lease(h, o, &i);
	return o;
}
