/* Where a file's replicas are to go (design section 4, trap A4): away from core servers that left the map.
 *
 * A file goes from the map it is placed by to a later one in which at most one of its replicas lies
 * elsewhere, on other servers of its site or in another site; such a step is one op_move. Of the maps in
 * between all are kept, and from one to the next one server enters, leaves or changes: there is always a
 * step. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

struct sites {
	uint16_t at[REPLICAS];
};

static struct sites sites_of(const struct inode *i)
{
	return (struct sites){{i->site0, i->site1, i->site2}};
}

bool sites_distinct(const uint16_t sites[REPLICAS])
{
	return sites[0] != sites[1] && sites[0] != sites[2] && sites[1] != sites[2];
}

/* Some server that may have blocks of the file is not in the current map. */
static bool must_move(struct catalog *c, const struct inode *i, const struct map *by)
{
	const struct sites sites = sites_of(i);

	for (unsigned k = 0; k < by->servers; k++) {
		const struct map_server *s = &by->server[k];
		bool has = s->site == sites.at[0] || s->site == sites.at[1] || s->site == sites.at[2];

		if (has && !map_find_server(c->map, s->id))
			return true;
	}
	return false;
}

/* How many replicas lie elsewhere by `to`, the last of them *which. */
static unsigned differing(const struct map *by, const struct map *to, const struct sites *sites,
                          unsigned *which)
{
	unsigned n = 0;

	for (unsigned k = 0; k < REPLICAS; k++)
		if (!map_same_site(by, to, sites->at[k])) {
			*which = k;
			n++;
		}
	return n;
}

static bool has_servers(const struct map *m, uint16_t site)
{
	for (unsigned k = 0; k < m->servers; k++)
		if (m->server[k].site == site)
			return true;
	return false;
}

/* The longest step there is. */
static bool find_step(struct catalog *c, const struct inode *i, struct catalog_move *out)
{
	const struct sites sites = sites_of(i);
	const struct map *by, *to;

	for (uint64_t version = c->meta.map; version > i->map; version--) {
		unsigned k = 0, n;

		by = map_cached(c, i->map);
		to = map_cached(c, version);
		if (!by || !to)
			continue;
		n = differing(by, to, &sites, &k);
		if (n > 1)
			continue;
		*out = (struct catalog_move){.ino = i->ino, .map = version};
		if (n == 0)
			return true;
		out->from = sites.at[k];
		out->to = has_servers(to, sites.at[k]) ? sites.at[k]
		                                       : map_best_site(to, i->ino, sites.at, REPLICAS);
		return out->to != 0;
	}
	return false;
}

bool catalog_move_wanted(struct catalog *c, uint64_t ino, struct catalog_move *out)
{
	const struct map *by;
	struct inode i;

	if (!inode_load(c, ino, &i) || !inode_is(&i, S_IFREG) || i.nlink == 0 || i.map == c->meta.map)
		return false;
	by = map_cached(c, i.map);
	if (!by || !must_move(c, &i, by))
		return false;
	*out = (struct catalog_move){.ino = ino};
	if (sites_distinct(sites_of(&i).at) && !find_step(c, &i, out))
		*out = (struct catalog_move){.ino = ino};
	return true;
}

bool catalog_move_elsewhere(struct catalog *c, struct catalog_move *move, const uint16_t *but, unsigned n)
{
	uint16_t taken[REPLICAS + SITES_MAX];
	const struct map *map = map_cached(c, move->map);
	struct inode i;

	if (!map || move->to == move->from || n > SITES_MAX || !inode_load(c, move->ino, &i))
		return false;
	memcpy(taken, sites_of(&i).at, sizeof(uint16_t[REPLICAS]));
	memcpy(taken + REPLICAS, but, n * sizeof(*but));
	move->to = map_best_site(map, i.ino, taken, REPLICAS + n);
	return move->to != 0;
}

bool catalog_move_next(struct catalog *c, uint64_t *ino, unsigned max, struct catalog_move *out)
{
	for (unsigned n = 0; n < max; n++) {
		if (!db_next(c, 'i', *ino, ino)) {
			*ino = 0;
			return false;
		}
		if (catalog_move_wanted(c, *ino, out))
			return true;
	}
	return false;
}

/* The server has nothing of the file to keep: by the file's map no block of it lies there, and where they
 * lie it is whole. Nor does anybody make a replica there: that is done in an epoch to which the file is
 * sealed there, and ends with the lease of that epoch. */
bool placing_left(struct catalog *c, uint64_t ino, uint64_t seal, const struct server_record *s)
{
	const struct map_server *at;
	const struct map *by;
	struct inode i;

	if (!inode_load(c, ino, &i) || !inode_is(&i, S_IFREG) ||
	    i.flags & (INO_UNCLEAN | INO_STALE | INO_REFILL))
		return false;
	by = map_cached(c, i.map);
	if (!by || i.epoch < seal || (i.epoch == seal && i.holder != 0))
		return false;
	at = map_find_server(by, s->id);
	return !at || (i.site0 != at->site && i.site1 != at->site && i.site2 != at->site);
}
