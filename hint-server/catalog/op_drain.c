/* Core servers enter the map and leave it: at registration, and by the operator's word.
 *
 * One that is drained leaves at once: nothing new is placed on it. Files that are placed by older maps use it
 * until their replicas have gone elsewhere (placing.c), as long as it is up. It has sessions meanwhile and
 * afterwards, and may come back. */
#include "hint-server/catalog/internal.h"

static bool same_weight(uint32_t now, uint32_t then)
{
	uint32_t gap = now > then ? now - then : then - now;

	/* Small changes of capacity are not worth a map version. */
	return gap <= then / 8;
}

static uint32_t weight_of(uint64_t total)
{
	uint64_t gib = total >> 30;

	return (uint32_t)MIN(MAX(gib, (uint64_t)1), (uint64_t)UINT32_MAX);
}

enum status map_enter(struct catalog *c, const struct server_record *s)
{
	const struct map_server *old = map_find_server(c->map, s->id);
	uint32_t weight = weight_of(s->total);
	struct map *next;
	unsigned at = 0;

	if (s->flags & CATALOG_SERVER_DRAINED)
		return STATUS_OK;
	if (old && old->site == s->site && strcmp(old->addr, s->addr) == 0 &&
	    same_weight(weight, old->weight))
		return STATUS_OK;
	if (!old && c->map->servers == SERVERS_MAX)
		return STATUS_NO_SPACE;
	next = map_copy(c->map, c->map->servers + 1);
	while (at < next->servers && next->server[at].id < s->id)
		at++;
	if (!old) {
		memmove(&next->server[at + 1], &next->server[at],
		        (next->servers - at) * sizeof(next->server[0]));
		next->servers++;
	}
	next->server[at] = (struct map_server){.id = s->id, .site = s->site, .weight = weight};
	memcpy(next->server[at].addr, s->addr, sizeof(s->addr));
	next->version++;
	map_publish(c, next);
	return STATUS_OK;
}

/* Without one server, or one site; 0: none. */
static unsigned sites_with_servers(const struct map *m, server_id_t without, uint16_t site)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->sites; i++) {
		bool any = false;

		for (unsigned k = 0; k < m->servers; k++)
			any |= m->server[k].site == m->site[i].id && m->server[k].id != without;
		any &= m->site[i].id != site;
		n += any;
	}
	return n;
}

/* What is left can keep three replicas in as many sites as before. */
static bool can_leave(const struct map *m, server_id_t id, uint16_t site)
{
	unsigned before = sites_with_servers(m, 0, 0), left = 0;

	for (unsigned k = 0; k < m->servers; k++)
		left += m->server[k].id != id && m->server[k].site != site;
	return left >= REPLICAS && sites_with_servers(m, id, site) >= MIN(before, (unsigned)REPLICAS);
}

static void leave_map(struct catalog *c, const struct map_server *s)
{
	size_t at = (size_t)(s - c->map->server);
	struct map *next = map_copy(c->map, c->map->servers);

	memmove(&next->server[at], &next->server[at + 1], (next->servers - at - 1) * sizeof(next->server[0]));
	next->servers--;
	next->version++;
	map_publish(c, next);
}

enum status catalog_can_drain(struct catalog *c, server_id_t server, bool drain)
{
	struct server_record s;

	if (!server_load(c, server, &s) || s.kind != SERVER_CORE)
		return STATUS_NOT_FOUND;
	if (drain == !!(s.flags & CATALOG_SERVER_DRAINED))
		return STATUS_EXISTS;
	if (drain && map_find_server(c->map, server) && !can_leave(c->map, server, 0))
		return STATUS_NO_SPACE;
	return STATUS_OK;
}

enum status catalog_can_drain_site(struct catalog *c, uint16_t site, bool drain)
{
	struct catalog_server s = {0};
	unsigned known = 0, others = 0;

	while (catalog_server_next(c, s.id, &s)) {
		if (s.kind != SERVER_CORE || s.site != site)
			continue;
		known++;
		others += drain != !!(s.flags & CATALOG_SERVER_DRAINED);
	}
	if (known == 0)
		return STATUS_NOT_FOUND;
	if (others == 0)
		return STATUS_EXISTS;
	return drain && !can_leave(c->map, 0, site) ? STATUS_NO_SPACE : STATUS_OK;
}

enum status op_drain(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_drain *op = &m->op_drain;
	const struct map_server *at = map_find_server(c->map, op->server);
	enum status status = catalog_can_drain(c, op->server, op->drain);
	struct server_record s;

	(void)reply;
	if (status != STATUS_OK || !server_load(c, op->server, &s))
		return status;
	s.flags ^= CATALOG_SERVER_DRAINED;
	if (op->drain && at)
		leave_map(c, at);
	else if (!op->drain && map_enter(c, &s) != STATUS_OK)
		return STATUS_NO_SPACE;
	server_store(c, &s);
	return STATUS_OK;
}
