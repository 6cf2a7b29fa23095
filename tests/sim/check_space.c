#include "tests/sim/check_space.h"

#include "access-server/volume/volume.h"
#include "tests/sim/client.h"

/* How long a mount may still believe that a server is full: until it asks again, and its question or
 * the answer may be late, lost and repeated. */
#define BELIEF_MAX (6 * NSEC_SEC)

/* How many replica sites of the file have a server whose disk was full while the operation ran. */
static unsigned full_sites(const struct client *cl, const struct hist_file *f)
{
	const struct cluster *c = cl->c;
	/* Else it is one of names, which may be anywhere, or moves about. */
	bool known = f->ino == cl->req.ino && !c->shape.moves;
	uint64_t sites = 0;

	for (unsigned i = 0; i < c->nodes; i++) {
		const struct node *n = &c->node[i];
		bool ours = n->site == f->site[0] || n->site == f->site[1] || n->site == f->site[2];

		if (n->kind == SERVER_CORE && (ours || !known) && n->full_until &&
		    n->full_until > cl->begun - BELIEF_MAX)
			sites |= 1ULL << n->site;
	}
	return (unsigned)__builtin_popcountll(sites);
}

/* Whether those that were not full were too few depends on who heard whom: a scenario looks at that. */
static bool voter_full(const struct client *cl)
{
	const struct cluster *c = cl->c;

	for (unsigned i = 0; i < c->nodes; i++)
		if (c->node[i].kind == SERVER_HINT && c->node[i].full_until > cl->begun - BELIEF_MAX &&
		    c->node[i].full_until)
			return true;
	return false;
}

void check_space(const struct client *cl)
{
	const struct history *h = &cl->c->hist;

	if (cl->rc != -ENOSPC)
		return;
	if (cl->req.op == VOL_CREATE && voter_full(cl))
		return;
	if (cl->req.op != VOL_WRITE) {
		world_fail(&cl->c->w, "P8: client %u on %u: op %d of inode %" PRIu64 " fails with ENOSPC,"
		           " which is for writes", cl->id, cl->n->id, (int)cl->req.op, cl->req.ino);
		return;
	}
	if (full_sites(cl, &h->file[cl->file]) < 2)
		world_fail(&cl->c->w, "P8: client %u on %u: a write to file %u fails with ENOSPC and two"
		           " of its replicas have space", cl->id, cl->n->id, cl->file);
}
