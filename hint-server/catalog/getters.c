/* What the leader's duties and the admin's tools look up. */
#include "hint-server/catalog/internal.h"

bool catalog_session(struct catalog *c, session_id_t id, struct catalog_session *out)
{
	struct session_record s;

	if (!session_load(c, id, &s))
		return false;
	*out = (struct catalog_session){s.id, s.server, s.kind, s.boot, s.index};
	return true;
}

bool catalog_session_next(struct catalog *c, session_id_t after, struct catalog_session *out)
{
	session_id_t id;

	return db_next(c, 's', after, &id) && catalog_session(c, id, out);
}

bool catalog_server(struct catalog *c, server_id_t id, struct catalog_server *out)
{
	struct server_record s;

	if (!server_load(c, id, &s))
		return false;
	*out = (struct catalog_server){
		.id = s.id,
		.kind = s.kind,
		.flags = s.flags,
		.site = s.site,
		.boot = s.boot,
		.start = s.start,
		.journal = s.journal,
		.disk = s.disk,
		.total = s.total,
		.complete_from = s.complete_from,
		.session = s.session,
		.ended = s.ended,
		.ended_index = s.ended_index,
	};
	memcpy(out->addr, s.addr, sizeof(out->addr));
	if (map_find_server(c->map, id))
		out->flags |= CATALOG_SERVER_MAPPED;
	return true;
}

bool catalog_server_next(struct catalog *c, server_id_t after, struct catalog_server *out)
{
	uint64_t id;

	return db_next(c, 'v', after, &id) && catalog_server(c, (server_id_t)id, out);
}

session_id_t catalog_session_of(struct catalog *c, server_id_t server)
{
	struct server_record s;

	return server_load(c, server, &s) ? s.session : 0;
}

bool catalog_inode(struct catalog *c, uint64_t ino, struct catalog_inode *out)
{
	struct inode i;

	if (!inode_load(c, ino, &i))
		return false;
	*out = (struct catalog_inode){
		.parent = i.parent,
		.holder = i.holder,
		.unclean = i.flags & INO_UNCLEAN,
		.lost_by = i.lost_by,
		.recovering = i.flags & INO_RECOVER,
		.taken_by = i.taken_by,
		.refill = i.flags & INO_REFILL,
	};
	reply_inode(&out->fields, &i);
	return true;
}

bool catalog_lookup(struct catalog *c, uint64_t dir, struct span name, uint64_t *ino)
{
	struct entry e;

	if (name.len > NAME_BYTES_MAX || !entry_find(c, dir, name, &e))
		return false;
	*ino = e.ino;
	return true;
}

bool catalog_stale(struct catalog *c, uint64_t ino, struct stale_map *out)
{
	struct key k = key1('t', ino);
	struct inode i;
	struct kv_span v;

	if (!inode_load(c, ino, &i))
		return false;
	if (db_get(c, &k, &v)) {
		if (stale_decode(out, v.p, v.len) < 0)
			db_corrupt(c);
	} else if (stale_decode(out, NULL, 0) < 0) {
		db_corrupt(c);
	}
	return c->rc == 0;
}

bool catalog_lease_next(struct catalog *c, session_id_t s, uint64_t after, uint64_t *ino)
{
	return db_next2(c, 'h', s, after, ino);
}

bool catalog_locked_next(struct catalog *c, session_id_t s, uint64_t after, uint64_t *ino)
{
	return db_next2(c, 'k', s, after, ino);
}

bool catalog_orphan_next(struct catalog *c, uint64_t after, uint64_t *ino)
{
	return db_next(c, 'o', after, ino);
}

bool catalog_repair_next(struct catalog *c, uint64_t after, uint64_t *ino)
{
	return db_next(c, 'u', after, ino);
}
