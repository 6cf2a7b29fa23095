/* A core server came back with a new disk (trap A8): whatever has a replica in its site and is older
 * than the disk is stale there as a whole, until a lease holder has refilled it. As with ending.c
 * one record counts at once - the server answers UNKNOWN - and the inodes follow a few per entry.
 *
 * A file that is held, or has another replica stale, keeps a flag per site meanwhile; the mark enters
 * the stale map when it is given back. */
#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

static void write_cursor(struct catalog *c, server_id_t server, uint64_t after)
{
	struct key k = key1('b', server);
	uint8_t bytes[8];

	put_u64le(bytes, after);
	db_put(c, &k, bytes, sizeof(bytes));
}

int refill_read(struct catalog *c)
{
	uint64_t server;

	c->refilling = db_next(c, 'b', 0, &server);
	return c->rc;
}

void refill_add(struct catalog *c, server_id_t server)
{
	write_cursor(c, server, 0);
	c->refilling = true;
}

bool catalog_refilling(const struct catalog *c)
{
	return c->refilling;
}

void refill_apply(struct catalog *c, struct inode *i)
{
	struct stale_map stale;

	if (!(i->flags & INO_REFILL))
		return;
	stale_init(&stale);
	(void)catalog_stale(c, i->ino, &stale);
	for (unsigned k = 0; k < REPLICAS; k++)
		if (i->flags & INO_REFILL_0 << k && stale_set(&stale, 0, BLOCK_ATTR, k) == 0)
			i->flags &= (uint8_t)~(INO_REFILL_0 << k);
	inode_set_stale(c, i, &stale);
	stale_fini(&stale);
}

static bool all_stale(const struct stale_map *m, unsigned k)
{
	struct stale_run run;

	for (uint64_t at = 0; stale_next(m, at, &run); at = run.last + 1) {
		if (run.first > at || !(run.mask >> k & 1))
			return false;
		if (run.last == BLOCK_ATTR)
			return true;
	}
	return false;
}

/* Nobody held the file when the disk was replaced, so the mark is in the stale map. Whoever takes it back
 * after its session ended has another map, and gives that back. */
void refill_keep(struct catalog *c, struct inode *i)
{
	struct stale_map stale;

	stale_init(&stale);
	(void)catalog_stale(c, i->ino, &stale);
	for (unsigned k = 0; k < REPLICAS; k++)
		if (all_stale(&stale, k))
			i->flags |= (uint8_t)(INO_REFILL_0 << k);
	stale_fini(&stale);
}

static void mark(struct catalog *c, uint64_t ino, uint16_t site)
{
	struct inode i;

	if (!inode_load(c, ino, &i) || !inode_is(&i, S_IFREG) || i.nlink == 0)
		return;
	const uint16_t sites[REPLICAS] = {i.site0, i.site1, i.site2};

	for (unsigned k = 0; k < REPLICAS; k++)
		if (sites[k] == site)
			i.flags |= (uint8_t)(INO_REFILL_0 << k);
	if (i.holder == 0)
		refill_apply(c, &i);
	inode_store(c, &i);
}

/* Marks at most `max` files; true when it is through with this server. */
static bool sweep_server(struct catalog *c, server_id_t id, uint32_t max)
{
	struct key k = key1('b', id);
	struct server_record s;
	struct kv_span v;
	uint64_t ino;

	if (!server_load(c, id, &s) || !db_get(c, &k, &v) || v.len != 8) {
		db_corrupt(c);
		return true;
	}
	ino = get_u64le(v.p);
	for (uint32_t n = 0; n < max; n++) {
		if (!db_next(c, 'i', ino, &ino) || ino > s.complete_from) {
			db_del(c, &k);
			return true;
		}
		mark(c, ino, s.site);
	}
	write_cursor(c, id, ino);
	return false;
}

void refill_sweep(struct catalog *c)
{
	uint64_t server;

	if (!c->refilling)
		return;
	if (db_next(c, 'b', 0, &server) && !sweep_server(c, (server_id_t)server, c->meta.sweep))
		return;
	(void)refill_read(c);
}
