#include "common/topology/map.h"

#include "common/base/mem.h"

struct map *map_new(unsigned servers_max)
{
	CHECK(servers_max <= SERVERS_MAX);
	return mem_new(sizeof(struct map) + servers_max * sizeof(struct map_server));
}

struct map *map_copy(const struct map *m, unsigned servers_max)
{
	struct map *copy = map_new(MAX(servers_max, m->servers));

	memcpy(copy, m, sizeof(*m) + m->servers * sizeof(m->server[0]));
	return copy;
}

void map_free(struct map *m)
{
	mem_free(m);
}

const struct map_server *map_find_server(const struct map *m, server_id_t id)
{
	unsigned lo = 0, hi = m->servers;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (m->server[mid].id == id)
			return &m->server[mid];
		if (m->server[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}
