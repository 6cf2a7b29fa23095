#include "tests/sim/cluster.h"

#include <stdio.h>

#include "common/base/mem.h"
#include "tests/sim/client.h"

server_id_t cluster_hint_id(unsigned site)
{
	return 100 * site + 1;
}

server_id_t cluster_core_id(unsigned site, unsigned i)
{
	return 100 * site + 11 + i;
}

server_id_t cluster_access_id(unsigned site)
{
	return 100 * site + 51;
}

struct node *cluster_find(struct cluster *c, server_id_t id)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].id == id)
			return &c->node[i];
	}
	return NULL;
}

static void init_sites(struct cluster *c)
{
	for (unsigned s = 1; s <= c->shape.sites; s++) {
		struct map_site *site = &c->site[s - 1];
		char prefix[32];
		int rc;

		site->id = (uint16_t)s;
		snprintf(site->name, sizeof(site->name), "site%u", s);
		snprintf(prefix, sizeof(prefix), "10.%u.0.0/16", s);
		site->prefixes = 1;
		rc = prefix_parse(prefix, &site->prefix[0]);
		CHECK(rc == 0);
	}
}

static void init_latency(struct cluster *c)
{
	nsec_t max = (nsec_t)c->shape.wan_ms_max * NSEC_MSEC;

	for (unsigned a = 1; a <= c->shape.sites; a++) {
		c->net.latency[a][a] = 100 * 1000;
		for (unsigned b = a + 1; b <= c->shape.sites; b++) {
			nsec_t t = world_between(&c->w, STREAM_SHAPE, NSEC_MSEC, max);

			c->net.latency[a][b] = c->net.latency[b][a] = t;
		}
	}
}

static void init_nodes(struct cluster *c)
{
	for (unsigned s = c->shape.sites + 1; s <= c->shape.hints; s++) /* more votes than sites */
		node_init(&c->node[c->nodes], c, cluster_hint_id(s), SERVER_HINT, 1);
	for (unsigned s = 1; s <= c->shape.sites; s++) {
		if (s <= c->shape.hints)
			node_init(&c->node[c->nodes], c, cluster_hint_id(s), SERVER_HINT, (uint16_t)s);
		for (unsigned i = 0; i < c->shape.cores_per_site; i++)
			node_init(&c->node[c->nodes], c, cluster_core_id(s, i), SERVER_CORE, (uint16_t)s);
		node_init(&c->node[c->nodes], c, cluster_access_id(s), SERVER_ACCESS, (uint16_t)s);
	}
	for (unsigned i = 0; i < c->nodes && c->shape.drift_ppm; i++)
		node_set_clock_rate(&c->node[i], (int)random_below(&c->w.stream[STREAM_SHAPE],
		                    2 * c->shape.drift_ppm) - (int)c->shape.drift_ppm);
}

static void observe(struct cluster *c, const struct node *from, const struct msg *m)
{
	check_fence_sent(c, from, m);
	check_wire_sent(c, from, m);
}

void cluster_init(struct cluster *c, const struct shape *shape, enum world_tracing tracing)
{
	memset(c, 0, sizeof(*c));
	c->shape = *shape;
	CHECK(shape->sites * (shape->cores_per_site + 2) <= NODES_MAX);
	world_init(&c->w, shape->seed, tracing);
	simnet_init(&c->net, c);
	c->net.observe = observe;
	c->net.arrived = check_fence_arrived;
	c->net.faults.jitter_percent = 10;
	init_sites(c);
	init_latency(c);
	init_nodes(c);
}

void cluster_fini(struct cluster *c)
{
	for (unsigned i = 0; i < c->nodes; i++)
		node_fini(&c->node[i]);
	world_fini(&c->w);
	clients_free(c);
	history_fini(&c->hist);
	check_wire_fini(&c->wire);
	check_fence_fini(&c->fence);
}

void cluster_start(struct cluster *c)
{
	for (unsigned i = 0; i < c->nodes; i++)
		node_start(&c->node[i]);
}

bool cluster_wait(struct cluster *c, nsec_t limit, bool (*cond)(struct cluster *c))
{
	nsec_t until = c->w.now + limit;

	while (!c->w.failed && c->w.now < until) {
		if (cond(c))
			return true;
		world_run(&c->w, MIN(c->w.now + 10 * NSEC_MSEC, until));
	}
	return !c->w.failed && cond(c);
}
