/* The cluster map and placement by L3 topology (design section 4). Pure.
 *
 * A map version lists the sites and core servers that count for the files placed by it. Replica i
 * of a block lives in the inode's replica site i, on the core server with the lowest rendezvous
 * cost for (file, block) there; where a site stands for several replicas (fewer than three sites),
 * the second takes the second lowest, and so on: always three different servers.
 * Rendezvous hashing: Thaler & Ravishankar 1998; weights: -ln(h) / w, Schindelhauer & Schomaker 2005. */
#pragma once

#include "common/base/types.h"

#define ADDR_TEXT_MAX 64 /* "address:port", IPv6 in brackets */
#define SITE_PREFIXES_MAX 8

struct prefix {
	uint8_t family; /* 4 or 6 */
	uint8_t bits;
	uint8_t addr[16];
};

struct map_site {
	uint16_t id;    /* 1 ... SITES_MAX; from the configuration, never reused */
	char name[32];
	unsigned prefixes;
	struct prefix prefix[SITE_PREFIXES_MAX];
};

struct map_server {
	server_id_t id;
	uint16_t site;
	uint32_t weight; /* capacity in GiB, at least 1 */
	char addr[ADDR_TEXT_MAX];
};

struct map {
	uint64_t version;  /* 0: no map yet */
	unsigned sites;
	unsigned servers;  /* core servers, ascending by id */
	struct map_site site[SITES_MAX];
	struct map_server server[];
};

struct map *map_new(unsigned servers_max); /* zeroed */
struct map *map_copy(const struct map *m, unsigned servers_max);
void map_free(struct map *m);

size_t map_encoded_bytes(const struct map *m);
void map_encode(const struct map *m, uint8_t *out);
MUST_CHECK int map_decode(const uint8_t *p, size_t len, struct map **out); /* ERR_CORRUPT */

const struct map_server *map_find_server(const struct map *m, server_id_t id); /* NULL if absent */

/* Parses "10.1.0.0/16" or "fd00::/64". -EINVAL. */
MUST_CHECK int prefix_parse(const char *text, struct prefix *out);
/* Site whose longest prefix holds `addr` (text, without port); 0 if none. */
uint16_t map_site_of(const struct map_site *sites, unsigned n, const char *addr);

/* Chooses the replica sites of a new file: home first when it has core servers, then weighted
 * rendezvous over the other sites. -ENOSPC when the map has fewer than three core servers. */
MUST_CHECK int map_choose_sites(const struct map *m, file_id_t file, uint16_t home, uint16_t out[REPLICAS]);

/* The three servers of a block. -ENOENT when the map cannot provide them. */
MUST_CHECK int map_place(const struct map *m, const uint16_t sites[REPLICAS], file_id_t file,
                         uint64_t block, server_id_t out[REPLICAS]);

/* The same core servers with the same shares in that site: blocks lie where they lay. */
bool map_same_site(const struct map *a, const struct map *b, uint16_t site);
/* The best site for another replica of the file but these; 0: none with core servers is left. */
uint16_t map_best_site(const struct map *m, file_id_t file, const uint16_t *but, unsigned n);

/* What places one replica of a file, as requests for it say: the map version, and which move brought the
 * replica to where it is (0: none). Both only rise. A core server refuses a lower one, and what it holds by an
 * earlier move is incomplete until a lease holder says otherwise. Map versions stay below 2^32. */
static inline uint64_t placement_id(uint64_t map, uint32_t moved)
{
	return (uint64_t)moved << 32 | (uint32_t)map;
}

static inline uint32_t placement_moved(uint64_t id)
{
	return (uint32_t)(id >> 32);
}

/* `next` is what `id` became: by a later map, a later move, or both. */
static inline bool placement_later(uint64_t id, uint64_t next)
{
	return next != id && (uint32_t)next >= (uint32_t)id && placement_moved(next) >= placement_moved(id);
}

/* True if replicas i and j suffice for promise P1: different sites, or different hosts where all
 * three replica sites are the same one. */
bool map_pair_counts(const uint16_t sites[REPLICAS], unsigned i, unsigned j);
