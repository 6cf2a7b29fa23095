#include "hint-server/quorum/hint.h"
#include "tests/sim/cluster.h"

#include <stdio.h>

static void configure(struct node *n, struct hint_config *out)
{
	struct cluster *c = n->c;

	memset(out, 0, sizeof(*out));
	out->server = n->id;
	out->cluster = CLUSTER_ID;
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind != SERVER_HINT)
			continue;
		out->voter[out->voters].id = c->node[i].id;
		out->voter[out->voters].vote = true;
		snprintf(out->voter[out->voters].addr, sizeof(out->voter[0].addr), "%s", c->node[i].addr);
		out->voters++;
	}
	out->sites = c->shape.sites;
	memcpy(out->site, c->site, c->shape.sites * sizeof(c->site[0]));
	out->session_timeout = c->shape.session_timeout;
	out->margin = c->shape.session_timeout / 10;
	out->shared_timeout = c->shape.shared_timeout;
	out->election_timeout = 500 * NSEC_MSEC;
	out->follow = c->shape.follow ? c->shape.follow : NSEC_NEVER;
	out->recover_after = c->shape.recover_after;
	out->snapshot_entries = 200;
	out->reserve_bytes = HINT_RESERVE;
	out->requests_max = c->shape.requests_max;
	out->log_bytes = 4u << 20; /* goes round often, and is soon read at a start */
	out->bugs = c->shape.hint_bugs;
}

void hint_start(struct node *n)
{
	struct hint_config config;
	const char *why = "";
	int rc;

	configure(n, &config);
	if (n->blank) {
		rc = hint_format(n->disk, n->kv.kv, &config);
		CHECK(rc == 0);
		n->blank = false;
	}
	rc = hint_new(&n->hint, &n->env, n->disk, n->kv.kv, &config, &why);
	if (rc < 0) {
		world_fail(&n->c->w, "P1: hint server %u does not start again: %d %s", n->id, rc, why);
		n->alive = false;
	}
}

void hint_stop(struct node *n)
{
	if (n->hint)
		hint_free(n->hint);
	n->hint = NULL;
}

void hint_fill(struct node *n, uint64_t left)
{
	if (left < UINT64_MAX)
		n->full_until = NSEC_NEVER;
	else if (n->full_until == NSEC_NEVER)
		n->full_until = n->c->w.now;
	world_trace(&n->c->w, "%u has %" PRIu64 " bytes for its catalog to grow", n->id, left);
	sim_kv_fill(&n->kv, left);
}

nsec_t hint_node_tick(struct node *n, nsec_t now)
{
	return hint_tick(n->hint, now);
}

bool hint_disk_failed(const struct node *n)
{
	struct hint_status status;

	if (!n->hint)
		return true;
	hint_get_status(n->hint, &status);
	return status.failed;
}
