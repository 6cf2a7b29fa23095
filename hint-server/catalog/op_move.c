/* Where the replicas of a file lie changes (design section 4, trap A4).
 *
 * A replica that goes elsewhere was made whole there by the holder of the exclusive lease, whose release is
 * the move (access-server/volume/fill.c): a swap in one entry, of a file that is clean and that nobody
 * holds then. Every block is whole on the two replicas that stay, for none of their bits is set, and on the
 * new one but for those that the release names; so a majority of after has whatever a majority of before
 * acknowledged. Requests for a replica that came to another site carry the number of its move: what servers
 * there have of the file from earlier counts for nothing until a holder made it whole.
 *
 * What needs no copy is op_move: another map by which all lies where it lay, and another home. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

static int replica_in(const uint16_t sites[REPLICAS], uint16_t site)
{
	for (int k = 0; k < REPLICAS; k++)
		if (sites[k] == site)
			return k;
	return -1;
}

/* Nothing goes where it would have to leave again, but as a step on the way (placing.c). */
static bool drained(const struct catalog *c, const struct map *to, uint16_t site)
{
	for (unsigned i = 0; i < to->servers; i++)
		if (to->server[i].site == site && !map_find_server(c->map, to->server[i].id))
			return true;
	return false;
}

/* By map `to` replica k lies on servers of site `site`, and each other one where it lies now. */
static bool can_place(struct catalog *c, const struct inode *i, const struct map *to, int k, uint16_t site)
{
	uint16_t sites[REPLICAS] = {i->site0, i->site1, i->site2};
	const struct map *by = map_cached(c, i->map);
	server_id_t server[REPLICAS];

	if (!by)
		return false;
	for (int j = 0; j < REPLICAS; j++)
		if (j != k && !map_same_site(by, to, sites[j]))
			return false;
	if (k >= 0 && to->version == i->map && drained(c, to, site))
		return false;
	if (k >= 0)
		sites[k] = site;
	return map_place(to, sites, i->ino, 0, server) == 0;
}

/* Something is stale, or will be, in another replica than k. */
static bool others_lag(struct catalog *c, const struct inode *i, int k)
{
	struct stale_map stale;
	struct stale_run run;
	bool lag = catalog_refilling(c) || i->flags & INO_REFILL & ~(INO_REFILL_0 << k);

	stale_init(&stale);
	(void)catalog_stale(c, i->ino, &stale);
	for (uint64_t at = 0; !lag && stale_next(&stale, at, &run); at = run.last + 1) {
		lag = run.mask != 1u << k;
		if (run.last == BLOCK_ATTR)
			break;
	}
	stale_fini(&stale);
	return lag;
}

static void set_map(struct catalog *c, struct inode *i, uint64_t version)
{
	if (version == i->map)
		return;
	map_count(c, version, 1); /* first: one that places nothing is forgotten */
	map_count(c, i->map, -1);
	i->map = version;
}

/* The home and replica t change places. */
static enum status change_home(struct catalog *c, struct inode *i, int t)
{
	uint16_t site = i->site0;
	uint32_t moved = i->moved0;

	if (i->holder != 0 || i->flags & (INO_UNCLEAN | INO_RECOVER | INO_STALE | INO_REFILL))
		return STATUS_BUSY;
	i->site0 = t == 1 ? i->site1 : i->site2;
	i->moved0 = t == 1 ? i->moved1 : i->moved2;
	*(t == 1 ? &i->site1 : &i->site2) = site;
	*(t == 1 ? &i->moved1 : &i->moved2) = moved;
	inode_store(c, i);
	return STATUS_OK;
}

/* By `map` every replica lies where it does. */
static enum status change_map(struct catalog *c, struct inode *i, const struct map *map)
{
	if (!can_place(c, i, map, -1, 0))
		return STATUS_INVALID;
	if (i->holder != 0 || i->flags & (INO_UNCLEAN | INO_RECOVER))
		return STATUS_BUSY;
	set_map(c, i, map->version);
	inode_store(c, i);
	return STATUS_OK;
}

enum status op_move(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_move *op = &m->op_move;
	const struct map *map;
	struct inode i;
	int k, t;

	(void)reply;
	if (!inode_load(c, op->ino, &i) || i.nlink == 0)
		return STATUS_STALE;
	if (!inode_is(&i, S_IFREG) || (op->from == 0) != (op->to == 0))
		return STATUS_INVALID;
	const uint16_t sites[REPLICAS] = {i.site0, i.site1, i.site2};

	map = map_cached(c, op->map ? op->map : i.map);
	if (!map)
		return STATUS_NOT_FOUND;
	if (map->version < i.map)
		return STATUS_MOVED;
	if (!sites_distinct(sites)) /* one replica's server follows from where the others are */
		return STATUS_INVALID;
	if (op->from == 0)
		return map->version == i.map ? STATUS_EXISTS : change_map(c, &i, map);
	k = replica_in(sites, op->from);
	t = replica_in(sites, op->to);
	if (t == 0)
		return STATUS_EXISTS;
	return k == 0 && t > 0 && map->version == i.map ? change_home(c, &i, t) : STATUS_INVALID;
}

void move_released(struct catalog *c, struct inode *i, const struct msg_op_release *op)
{
	const uint16_t sites[REPLICAS] = {i->site0, i->site1, i->site2};
	uint32_t last = MAX(i->moved0, MAX(i->moved1, i->moved2));
	const struct map *map = map_cached(c, op->map);
	int k = replica_in(sites, op->from), t = replica_in(sites, op->move_to);
	struct stale_map none;

	if (!map || map->version < i->map || k < 0 || (t >= 0 && t != k) || op->move_to == 0 ||
	    last == UINT32_MAX || i->nlink == 0 || !inode_is(i, S_IFREG) || !sites_distinct(sites) ||
	    !can_place(c, i, map, k, op->move_to) || others_lag(c, i, k))
		return;
	*(k == 0 ? &i->site0 : k == 1 ? &i->site1 : &i->site2) = op->move_to;
	if (t < 0) {
		*(k == 0 ? &i->moved0 : k == 1 ? &i->moved1 : &i->moved2) = last + 1;
		i->flags &= (uint8_t)~(INO_REFILL_0 << k); /* of a disk it left */
	}
	set_map(c, i, map->version);
	if (c->bugs & CATALOG_BUG_MOVE_UNMARKED) {
		stale_init(&none);
		inode_set_stale(c, i, &none);
		stale_fini(&none);
	}
}
