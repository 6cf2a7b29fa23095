#include "common/topology/map.h"

#include "common/base/bytes.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define FRACTION_BITS 32

/* -log2(x / 2^64) in units of 2^-32, x > 0, by repeated squaring (Knuth, TAOCP 1, 1.2.2). Integers
 * only: replica sites are stored by every voter for itself, and a libm differs in its last bit. */
static uint64_t minus_log2(uint64_t x)
{
	unsigned zeros = (unsigned)__builtin_clzll(x);
	uint64_t m = x << zeros; /* in [1, 2), 63 bits behind the point */
	uint64_t log = 0;

	for (unsigned i = 0; i < FRACTION_BITS; i++) {
		unsigned __int128 square = (unsigned __int128)m * m;
		bool two = (square >> 127) != 0;

		m = (uint64_t)(square >> (two ? 64 : 63));
		log = log << 1 | two;
	}
	return ((uint64_t)(zeros + 1) << FRACTION_BITS) - log;
}

/* Cost of `who` for (file, block): the lowest wins. -ln(h) / w with h uniform in (0, 1) gives each
 * a share in proportion to its weight, and a change of one weight moves only what it must. */
static uint64_t cost(uint64_t who, uint32_t weight, file_id_t file, uint64_t block)
{
	uint8_t key[24];

	put_u64le(key, who);
	put_u64le(key + 8, file);
	put_u64le(key + 16, block);
	return (minus_log2(XXH3_64bits(key, sizeof(key)) | 1) << 24) / weight;
}

/* Weight of a site: its core servers' together; 0 when it has none. */
static uint32_t site_weight(const struct map *m, uint16_t site)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < m->servers; i++)
		if (m->server[i].site == site)
			sum += m->server[i].weight;
	return (uint32_t)MIN(sum, (uint64_t)UINT32_MAX);
}

static unsigned site_servers(const struct map *m, uint16_t site)
{
	unsigned n = 0;

	for (unsigned i = 0; i < m->servers; i++)
		n += m->server[i].site == site;
	return n;
}

uint16_t map_best_site(const struct map *m, file_id_t file, const uint16_t *but, unsigned n)
{
	uint64_t best_cost = UINT64_MAX;
	uint16_t best = 0;

	for (unsigned i = 0; i < m->sites; i++) {
		uint16_t site = m->site[i].id;
		uint32_t weight = site_weight(m, site);
		bool taken = weight == 0;

		for (unsigned j = 0; j < n; j++)
			taken = taken || but[j] == site;
		if (taken)
			continue;
		uint64_t c = cost((uint64_t)1 << 32 | site, weight, file, 0);

		if (c < best_cost) {
			best_cost = c;
			best = site;
		}
	}
	return best;
}

bool map_same_site(const struct map *a, const struct map *b, uint16_t site)
{
	unsigned n = 0;

	if (site_servers(a, site) != site_servers(b, site))
		return false;
	for (unsigned i = 0; i < a->servers; i++) {
		const struct map_server *s = &a->server[i], *t;

		if (s->site != site)
			continue;
		t = map_find_server(b, s->id);
		n += t && t->site == site && t->weight == s->weight;
	}
	return n == site_servers(a, site);
}

/* Fewer than three sites have servers: repeats sites, as far as each has servers left. */
static int repeat_sites(const struct map *m, uint16_t out[REPLICAS], unsigned n)
{
	unsigned distinct = n;

	while (n < REPLICAS) {
		unsigned before = n;

		for (unsigned j = 0; j < distinct && n < REPLICAS; j++) {
			unsigned used = 0;

			for (unsigned k = 0; k < n; k++)
				used += out[k] == out[j];
			if (used < site_servers(m, out[j]))
				out[n++] = out[j];
		}
		if (n == before)
			return -ENOSPC;
	}
	return 0;
}

int map_choose_sites(const struct map *m, file_id_t file, uint16_t home, uint16_t out[REPLICAS])
{
	unsigned n = 0;

	if (home != 0 && site_weight(m, home) > 0)
		out[n++] = home;
	while (n < REPLICAS) {
		uint16_t site = map_best_site(m, file, out, n);

		if (site == 0)
			break;
		out[n++] = site;
	}
	if (n == 0)
		return -ENOSPC;
	return repeat_sites(m, out, n);
}

/* The server of `site` with the lowest cost above (limit, limit_id), in that order. */
static const struct map_server *next_best(const struct map *m, uint16_t site, file_id_t file,
                                          uint64_t block, uint64_t *limit, server_id_t *limit_id)
{
	const struct map_server *best = NULL;
	uint64_t best_cost = UINT64_MAX;

	for (unsigned i = 0; i < m->servers; i++) {
		const struct map_server *s = &m->server[i];

		if (s->site != site)
			continue;
		uint64_t c = cost(s->id, s->weight, file, block);

		if (c < *limit || (c == *limit && s->id <= *limit_id))
			continue;
		if (!best || c < best_cost) {
			best = s;
			best_cost = c;
		}
	}
	if (best) {
		*limit = best_cost;
		*limit_id = best->id;
	}
	return best;
}

int map_place(const struct map *m, const uint16_t sites[REPLICAS], file_id_t file, uint64_t block,
              server_id_t out[REPLICAS])
{
	for (unsigned i = 0; i < REPLICAS; i++) {
		uint64_t limit = 0;
		server_id_t limit_id = 0;
		const struct map_server *s = NULL;

		/* The r-th replica in a site goes to the r-th best server. */
		for (unsigned j = 0; j <= i; j++) {
			if (sites[j] != sites[i])
				continue;
			s = next_best(m, sites[i], file, block, &limit, &limit_id);
			if (!s)
				return -ENOENT;
		}
		out[i] = s->id;
	}
	return 0;
}

bool map_pair_counts(const uint16_t sites[REPLICAS], unsigned i, unsigned j)
{
	bool one_site = sites[0] == sites[1] && sites[1] == sites[2];

	return i != j && (one_site || sites[i] != sites[j]);
}
