#include "tests/sim/check_deleted.h"

#include <stdio.h>

#include "core-server/store/store.h"
#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/client.h"

#define OWN_RECORD UINT64_MAX /* the server keeps one under the last of all ids */

/* Files without a name that somebody has open: they stay. */
static unsigned open_orphans(const struct cluster *c)
{
	unsigned n = 0;

	for (unsigned f = 0; f < c->hist.files; f++) {
		bool open = false;

		for (unsigned i = 0; i < c->clients; i++)
			open |= !c->client[i]->dead && c->client[i]->handle[f];
		n += open && c->hist.file[f].gone;
	}
	return n;
}

static struct catalog *any_catalog(struct cluster *c)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind == SERVER_HINT && c->node[i].alive)
			return hint_catalog(c->node[i].hint);
	}
	return NULL;
}

static bool lies_on(struct catalog *catalog, const struct msg_r_inode *i, const struct node *n)
{
	const struct map_server *at;
	struct map *m;
	bool lies;

	if (catalog_map_get(catalog, i->map, &m) < 0)
		return true;
	at = map_find_server(m, n->id);
	lies = at && (i->site0 == at->site || i->site1 == at->site || i->site2 == at->site);
	map_free(m);
	return lies;
}

/* First file on the server that the catalog does not know, or has elsewhere; 0: none. */
static file_id_t left_over(const struct node *n, struct catalog *catalog)
{
	struct catalog_inode inode;
	file_id_t file = 0;

	while ((file = store_next_file(n->store, file)) != 0 && file != OWN_RECORD) {
		if (!catalog_inode(catalog, file, &inode))
			return file;
		if (!lies_on(catalog, &inode.fields, n))
			return file;
	}
	return 0;
}

/* Text only where there is something left. */
static bool gone(struct cluster *c, char *out, size_t size)
{
	struct catalog *catalog = any_catalog(c);
	struct catalog_stats stats;

	if (!catalog) {
		snprintf(out, size, "no voter is up");
		return false;
	}
	catalog_get_stats(catalog, &stats);
	if (stats.orphans > open_orphans(c)) {
		snprintf(out, size, "%" PRIu64 " files without a name in the catalog", stats.orphans);
		return false;
	}
	for (unsigned i = 0; i < c->nodes; i++) {
		const struct node *n = &c->node[i];
		file_id_t file = n->kind == SERVER_CORE && n->serving ? left_over(n, catalog) : 0;

		if (file) {
			snprintf(out, size, "file %" PRIu64 " on core server %u", file, n->id);
			return false;
		}
	}
	return true;
}

bool deleted_gone(struct cluster *c)
{
	char text[100];

	return gone(c, text, sizeof(text));
}

void deleted_tell(struct cluster *c, char *out, size_t size)
{
	out[0] = 0;
	(void)gone(c, out, size);
}
