#include "common/topology/map.h"

#include "common/base/bytes.h"

#define XXH_INLINE_ALL
#include <math.h>
#include <xxhash.h>

/* Score of `who` for (file, block): higher wins. -w / ln(h) with h uniform in (0, 1) gives each a
 * share in proportion to its weight, and a change of one weight moves only what it must. */
static double score(uint64_t who, uint32_t weight, file_id_t file, uint64_t block)
{
	uint8_t key[24];
	double h;

	put_u64le(key, who);
	put_u64le(key + 8, file);
	put_u64le(key + 16, block);
	h = ((double)(XXH3_64bits(key, sizeof(key)) >> 11) + 0.5) / 9007199254740992.0;
	return -(double)weight / log(h);
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

/* Picks the best site that is not in out[0..n); 0 if none is left. */
static uint16_t best_site(const struct map *m, file_id_t file, const uint16_t *out, unsigned n)
{
	double best_score = -1;
	uint16_t best = 0;

	for (unsigned i = 0; i < m->sites; i++) {
		uint16_t site = m->site[i].id;
		uint32_t weight = site_weight(m, site);
		bool taken = weight == 0;

		for (unsigned j = 0; j < n; j++)
			taken = taken || out[j] == site;
		if (taken)
			continue;
		double s = score((uint64_t)1 << 32 | site, weight, file, 0);

		if (s > best_score) {
			best_score = s;
			best = site;
		}
	}
	return best;
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
		uint16_t site = best_site(m, file, out, n);

		if (site == 0)
			break;
		out[n++] = site;
	}
	if (n == 0)
		return -ENOSPC;
	return repeat_sites(m, out, n);
}

/* The server of `site` with the highest score below (limit, limit_id), in that order. */
static const struct map_server *next_best(const struct map *m, uint16_t site, file_id_t file,
                                          uint64_t block, double *limit, server_id_t *limit_id)
{
	const struct map_server *best = NULL;
	double best_score = -1;

	for (unsigned i = 0; i < m->servers; i++) {
		const struct map_server *s = &m->server[i];

		if (s->site != site)
			continue;
		double v = score(s->id, s->weight, file, block);

		if (v > *limit || (v == *limit && s->id <= *limit_id))
			continue;
		if (v > best_score) {
			best = s;
			best_score = v;
		}
	}
	if (best) {
		*limit = best_score;
		*limit_id = best->id;
	}
	return best;
}

int map_place(const struct map *m, const uint16_t sites[REPLICAS], file_id_t file, uint64_t block,
              server_id_t out[REPLICAS])
{
	for (unsigned i = 0; i < REPLICAS; i++) {
		double limit = INFINITY;
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
