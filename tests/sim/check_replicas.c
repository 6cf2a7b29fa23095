#include "tests/sim/check_replicas.h"

#include <stdio.h>
#include <stdlib.h>

#include "access-server/volume/volume.h"
#include "common/base/mem.h"
#include "core-server/store/store.h"
#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/mover.h"
#include "tests/sim/stage.h"

#define BLOCKS ((FILE_BYTES >> FILE_BLOCK_SHIFT) + 1) /* with the attribute record */

/* By the map that the catalog has the file placed by. NULL: nobody leads. The caller frees it. */
static struct map *map_of(struct cluster *c, uint64_t ino)
{
	struct node *leader = stage_leader(c);
	struct catalog_inode i;
	struct map *m = NULL;

	if (!leader || !catalog_inode(hint_catalog(leader->hint), ino, &i) ||
	    catalog_map_get(hint_catalog(leader->hint), i.fields.map, &m) < 0)
		return NULL;
	return m;
}

static uint64_t block_number(unsigned i)
{
	return i == BLOCKS - 1 ? BLOCK_ATTR : i;
}

static bool find_replicas(struct cluster *c, unsigned file, uint64_t block, struct node *out[REPLICAS])
{
	const struct hist_file *f = &c->hist.file[file];
	struct map *m = map_of(c, f->ino);
	server_id_t id[REPLICAS];
	bool placed = m && map_place(m, f->site, f->ino, block, id) == 0;

	map_free(m);
	if (!placed)
		return false;
	for (unsigned i = 0; i < REPLICAS; i++) {
		out[i] = cluster_find(c, id[i]);
		if (!out[i] || !out[i]->serving)
			return false;
	}
	return true;
}

static struct version version_at(const struct node *n, uint64_t ino, uint64_t block)
{
	struct store_block b;

	return store_get_block(n->store, ino, block, &b) ? b.version : VERSION_NONE;
}

static bool block_settled(struct cluster *c, unsigned file, uint64_t block, char *out, size_t size)
{
	struct node *n[REPLICAS];
	uint64_t ino = c->hist.file[file].ino;
	struct version v[REPLICAS];

	if (!find_replicas(c, file, block, n)) {
		snprintf(out, size, "file %u block %" PRIu64 ": a server is not up", file, block);
		return false;
	}
	for (unsigned i = 0; i < REPLICAS; i++)
		v[i] = version_at(n[i], ino, block);
	if (version_eq(v[0], v[1]) && version_eq(v[0], v[2]))
		return true;
	snprintf(out, size, "file %u (%" PRIu64 ") block %" PRIu64 ": server %u has (%" PRIu64 ",%" PRIu64
	         "), %u (%" PRIu64 ",%" PRIu64 "), %u (%" PRIu64 ",%" PRIu64 ")", file, ino, block,
	         n[0]->id, v[0].epoch, v[0].n, n[1]->id, v[1].epoch, v[1].n, n[2]->id, v[2].epoch, v[2].n);
	return false;
}

bool replicas_settled(struct cluster *c)
{
	char text[300];

	if (!mover_look(c) || mover_left(c))
		return false;
	for (unsigned f = 0; f < c->hist.files; f++) {
		for (unsigned b = 0; b < BLOCKS && !c->hist.file[f].gone; b++) {
			if (!block_settled(c, f, block_number(b), text, sizeof(text)))
				return false;
		}
	}
	return true;
}

void replicas_differ(struct cluster *c, char *out, size_t size)
{
	out[0] = 0;
	if (mover_left(c))
		snprintf(out, size, "inode %" PRIu64 " has to leave a drained core server", mover_left(c));
	for (unsigned f = 0; f < c->hist.files; f++) {
		for (unsigned b = 0; b < BLOCKS && !c->hist.file[f].gone; b++) {
			if (!block_settled(c, f, block_number(b), out, size))
				return;
		}
	}
}

/* --- bytes --- */

struct block_read {
	struct store_read r;    /* first */
	struct node *n;
	bool done;
};

static void on_read(struct store_read *r)
{
	((struct block_read *)r)->done = true;
}

static void start_read(struct block_read *b, struct node *n, uint64_t ino, uint64_t block)
{
	memset(b, 0, sizeof(*b));
	b->n = n;
	b->r.file = ino;
	b->r.block = block;
	b->r.block_shift = FILE_BLOCK_SHIFT;
	b->r.len = block == BLOCK_ATTR ? PAGE_BYTES : 1u << FILE_BLOCK_SHIFT;
	b->r.sums_only = true;
	b->r.done = on_read;
	store_read(n->store, &b->r);
	node_after(n);
}

static void end_read(struct block_read *b)
{
	free(b->r.sums);
	iobuf_put(b->r.data.buf);
}

static bool same_bytes(const struct store_read *a, const struct store_read *b)
{
	if (a->present_pages != b->present_pages)
		return false;
	if (memcmp(a->present, b->present, a->len / PAGE_BYTES / 8 + 1) != 0)
		return false;
	return a->present_pages == 0 || memcmp(a->sums, b->sums, 8 * a->present_pages) == 0;
}

static void check_block(struct cluster *c, unsigned file, uint64_t block)
{
	static struct block_read r[REPLICAS];
	struct node *n[REPLICAS];
	uint64_t ino = c->hist.file[file].ino;
	nsec_t until = c->w.now + 5 * NSEC_SEC;

	if (!find_replicas(c, file, block, n))
		return;
	for (unsigned i = 0; i < REPLICAS; i++)
		start_read(&r[i], n[i], ino, block);
	while (!(r[0].done && r[1].done && r[2].done) && c->w.now < until && !c->w.failed)
		world_run(&c->w, c->w.now + NSEC_MSEC);
	if (c->w.failed)
		return;
	CHECK(r[0].done && r[1].done && r[2].done);
	for (unsigned i = 1; i < REPLICAS && !r[0].r.result; i++) {
		if (r[i].r.result == 0 && version_eq(r[i].r.at.version, r[0].r.at.version) &&
		    !same_bytes(&r[0].r, &r[i].r))
			world_fail(&c->w, "P3: file %u block %" PRIu64 ": servers %u and %u hold different"
			           " bytes under version (%" PRIu64 ",%" PRIu64 ")", file, block, n[0]->id,
			           n[i]->id, r[0].r.at.version.epoch, r[0].r.at.version.n);
	}
	for (unsigned i = 0; i < REPLICAS; i++)
		end_read(&r[i]);
}

/* --- what stat says is stored --- */

static bool answered;

static void on_attr(struct vol_req *req)
{
	(void)req;
	answered = true;
}

/* Asks the first mount that serves, as stat(2) would. */
static bool ask_attr(struct cluster *c, struct vol_req *req)
{
	nsec_t until = c->w.now + 10 * NSEC_SEC;
	struct node *n = NULL;

	for (unsigned i = 0; i < c->nodes && !n; i++)
		if (c->node[i].kind == SERVER_ACCESS && c->node[i].alive)
			n = &c->node[i];
	CHECK(n);
	req->op = VOL_GETATTR;
	req->done = on_attr;
	answered = false;
	vol_submit(n->volume, req);
	node_after(n);
	while (!answered && c->w.now < until && !c->w.failed)
		world_run(&c->w, c->w.now + NSEC_MSEC);
	if (!answered && !c->w.failed)
		world_fail(&c->w, "liveness: no answer to a stat of %" PRIu64, req->ino);
	return !c->w.failed && req->rc == 0;
}

static void check_pages(struct cluster *c, unsigned file)
{
	static struct vol_req req; /* a late answer still finds it */
	uint64_t ino = c->hist.file[file].ino, stored = 0;

	for (unsigned b = 0; b < BLOCKS - 1; b++) {
		struct node *n[REPLICAS];
		struct store_block at;

		if (!find_replicas(c, file, b, n))
			return;
		if (store_get_block(n[0]->store, ino, b, &at))
			stored += at.pages;
	}
	req = (struct vol_req){.ino = ino};
	if (ask_attr(c, &req) && req.attr.pages != stored)
		world_fail(&c->w, "file %u (%" PRIu64 "): stat tells of %" PRIu64 " pages, the replicas"
		           " hold %" PRIu64, file, ino, req.attr.pages, stored);
}

void replicas_check(struct cluster *c)
{
	for (unsigned f = 0; f < c->hist.files && !c->w.failed; f++) {
		for (unsigned b = 0; b < BLOCKS && !c->w.failed && !c->hist.file[f].gone; b++)
			check_block(c, f, block_number(b));
		if (!c->w.failed && !c->hist.file[f].gone)
			check_pages(c, f);
	}
}
