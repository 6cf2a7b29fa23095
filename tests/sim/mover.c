#include "tests/sim/mover.h"

#include "access-server/volume/volume.h"
#include "common/base/mem.h"
#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/stage.h"

#define PAUSE_MAX (600 * NSEC_MSEC)

struct move_event {
	struct event e; /* first */
	struct cluster *c;
};

bool mover_look(struct cluster *c)
{
	struct node *leader = stage_leader(c);
	struct catalog_inode i;

	for (unsigned f = 0; leader && f < c->hist.files; f++) {
		struct hist_file *file = &c->hist.file[f];

		if (!catalog_inode(hint_catalog(leader->hint), file->ino, &i))
			continue;
		file->site[0] = i.fields.site0;
		file->site[1] = i.fields.site1;
		file->site[2] = i.fields.site2;
	}
	return leader != NULL;
}

uint16_t mover_spare(const struct cluster *c, uint32_t file)
{
	const uint16_t *site = c->hist.file[file].site;

	for (uint16_t s = 1; s <= c->shape.sites; s++)
		if (s != site[0] && s != site[1] && s != site[2])
			return s;
	return 0;
}

void mover_ask(struct cluster *c, uint32_t file, uint16_t from, uint16_t to)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		struct node *n = &c->node[i];

		if (n->kind != SERVER_ACCESS || !n->alive || !n->serving)
			continue;
		if (vol_move(n->volume, c->hist.file[file].ino, from, to, 0)) {
			world_trace(&c->w, "%u asks: file %u from site %u to %u", n->id, file, from, to);
			node_after(n);
			return;
		}
	}
}

static uint64_t draw(struct cluster *c, uint64_t below)
{
	return random_below(&c->w.stream[STREAM_OPERATOR], below);
}

static void next(struct cluster *c);

static void move_one(struct cluster *c)
{
	uint32_t file = (uint32_t)draw(c, MAX(c->hist.files, 1u));
	uint16_t from, to = (uint16_t)(1 + draw(c, c->shape.sites));

	if (file >= c->hist.files || !mover_look(c))
		return;
	from = c->hist.file[file].site[draw(c, REPLICAS)];
	if (from != to)
		mover_ask(c, file, from, to);
}

/* Some core server leaves the map, or one that left it comes back; at times a whole site. */
static void drain_one(struct cluster *c)
{
	struct node *leader = stage_leader(c);
	uint16_t site = (uint16_t)(1 + draw(c, c->shape.sites));
	server_id_t id = cluster_core_id(site, (unsigned)draw(c, c->shape.cores_per_site));
	bool drain = draw(c, 2), whole = draw(c, 4) == 0;
	enum status s;

	if (!leader)
		return;
	s = whole ? hint_drain_site(leader->hint, site, drain) : hint_drain(leader->hint, id, drain);
	if (s == STATUS_OK)
		world_trace(&c->w, "%s %u %s", whole ? "site" : "core server", whole ? site : id,
		            drain ? "is drained" : "comes back");
	node_after(leader);
}

/* Files that still have to leave a core server. */
uint64_t mover_left(struct cluster *c)
{
	struct node *leader = stage_leader(c);
	struct catalog_move m;
	uint64_t ino = 0;

	if (!leader || !c->shape.moves || !catalog_move_next(hint_catalog(leader->hint), &ino, UINT32_MAX, &m))
		return 0;
	return ino;
}

static void fire(struct event *e)
{
	struct cluster *c = ((struct move_event *)e)->c;

	mem_free(e);
	if (c->quiet)
		return;
	if (draw(c, 4) == 0)
		drain_one(c);
	else
		move_one(c);
	next(c);
}

static void drop(struct event *e)
{
	mem_free(e);
}

static void next(struct cluster *c)
{
	struct move_event *m = mem_new(sizeof(*m));

	*m = (struct move_event){{.fire = fire, .drop = drop}, c};
	world_at(&c->w, c->w.now + 1 + (nsec_t)draw(c, PAUSE_MAX), &m->e);
}

void mover_start(struct cluster *c)
{
	if (c->shape.moves)
		next(c);
}
