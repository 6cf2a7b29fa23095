/* A replica of a file goes to another site (design section 4, trap A4).
 *
 * It is a swap in one entry, while nobody has a lease on the file (the leader recalled them all) and it is
 * clean: every block is then whole on the two replicas that stay, for none of their bits is set. The new
 * replica is stale in every block, like one on a new disk, until a lease holder has made it whole; so until
 * then every flush needs both that stay, and every recovery asks one of them at least: no majority of before
 * misses one of after. Requests for the new replica carry the number of the move: a server that has
 * something of the file from earlier, or believes that it must have everything of so new a file, says UNKNOWN.
 *
 * If both sites have a replica and one is the home, they only change places: the other is the home then.
 *
 * Stale runs are the progress: a move goes on after any crash as any repair does. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

static int replica_in(const uint16_t sites[REPLICAS], uint16_t site)
{
	for (int k = 0; k < REPLICAS; k++)
		if (sites[k] == site)
			return k;
	return -1;
}

/* Where sites repeat, one replica's server follows from where the others are. */
static bool distinct(const uint16_t sites[REPLICAS])
{
	return sites[0] != sites[1] && sites[0] != sites[2] && sites[1] != sites[2];
}

/* The map of the file has core servers there. */
static bool can_place(struct catalog *c, const struct inode *i, const uint16_t sites[REPLICAS])
{
	server_id_t server[REPLICAS];
	struct map *map = NULL;
	bool ok;

	if (catalog_map_get(c, i->map, &map) < 0)
		return false;
	ok = map_place(map, sites, i->ino, 0, server) == 0;
	map_free(map);
	return ok;
}

/* Something is stale, or will be, in another replica than k. */
static bool others_lag(struct catalog *c, const struct inode *i, int k)
{
	struct stale_map stale;
	struct stale_run run;
	bool lag = catalog_refilling(c) || i->flags & INO_REFILL & ~(INO_REFILL_0 << k);

	if (c->bugs & CATALOG_BUG_MOVE_LAGGING)
		return false;
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

static void mark(struct catalog *c, struct inode *i, int k)
{
	struct stale_map stale;
	int rc;

	stale_init(&stale);
	if (!(c->bugs & CATALOG_BUG_MOVE_UNMARKED)) {
		rc = stale_set(&stale, 0, BLOCK_ATTR, (unsigned)k);
		CHECK(rc == 0);
	}
	i->flags &= (uint8_t)~(INO_REFILL_0 << k);
	inode_set_stale(c, i, &stale);
	stale_fini(&stale);
}

enum status op_move(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_move *op = &m->op_move;
	struct inode i;

	(void)reply;
	if (!inode_load(c, op->ino, &i) || i.nlink == 0)
		return STATUS_STALE;
	if (!inode_is(&i, S_IFREG) || op->to == 0)
		return STATUS_INVALID;
	uint16_t sites[REPLICAS] = {i.site0, i.site1, i.site2};
	uint32_t moved[REPLICAS] = {i.moved0, i.moved1, i.moved2};
	uint32_t last = MAX(moved[0], MAX(moved[1], moved[2]));
	uint32_t home = i.moved0;
	int k = replica_in(sites, op->from), t;

	t = replica_in(sites, op->to);
	if (k < 0 || (t == 0 && k != 0))
		return t < 0 ? STATUS_NOT_FOUND : STATUS_EXISTS;
	if (!distinct(sites) || (t >= 0 && k != 0) || t == k || last == UINT32_MAX)
		return STATUS_INVALID;
	sites[k] = op->to;
	if (t < 0 && !can_place(c, &i, sites))
		return STATUS_INVALID;
	if (i.holder != 0 || i.flags & (INO_UNCLEAN | INO_RECOVER) || others_lag(c, &i, k) ||
	    (t >= 0 && i.flags & (INO_STALE | INO_REFILL)))
		return STATUS_BUSY;
	if (t >= 0) {
		sites[t] = op->from;
		moved[k] = moved[t];
		moved[t] = home;
	} else {
		moved[k] = last + 1;
		mark(c, &i, k);
	}
	i.site0 = sites[0];
	i.site1 = sites[1];
	i.site2 = sites[2];
	i.moved0 = moved[0];
	i.moved1 = moved[1];
	i.moved2 = moved[2];
	inode_store(c, &i);
	return STATUS_OK;
}
