#include "common/topology/map.h"

#include "common/base/mem.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* `sites` sites with `each` core servers, ids 10 * site + 1 ... */
static struct map *make(unsigned sites, unsigned each)
{
	struct map *m = map_new(sites * each);

	m->version = 1;
	m->sites = sites;
	for (unsigned s = 0; s < sites; s++) {
		m->site[s].id = (uint16_t)(s + 1);
		snprintf(m->site[s].name, sizeof(m->site[s].name), "site%u", s + 1);
		m->site[s].prefixes = 1;
		m->site[s].prefix[0] = (struct prefix){4, 16, {127, (uint8_t)(s + 1)}};
		for (unsigned i = 0; i < each; i++) {
			struct map_server *v = &m->server[m->servers++];

			v->id = (s + 1) * 10 + i + 1;
			v->site = (uint16_t)(s + 1);
			v->weight = 100;
			snprintf(v->addr, sizeof(v->addr), "127.%u.0.%u:7000", s + 1, i + 1);
		}
	}
	return m;
}

Test(placement, gives_three_sites_home_first)
{
	struct map *m = make(5, 2);
	uint16_t sites[REPLICAS];
	server_id_t at[REPLICAS];

	for (uint64_t file = 1; file < 500; file++) {
		cr_assert_eq(map_choose_sites(m, file, 4, sites), 0);
		cr_assert_eq(sites[0], 4);
		cr_assert(sites[1] != 4 && sites[2] != 4 && sites[1] != sites[2]);
		cr_assert_eq(map_place(m, sites, file, 9, at), 0);
		for (unsigned i = 0; i < REPLICAS; i++)
			cr_assert_eq(at[i] / 10, sites[i], "replica i lives in site i");
	}
	map_free(m);
}

/* Shares follow the weights, within what chance allows. */
Test(placement, is_balanced)
{
	struct map *m = make(3, 2);
	uint16_t sites[REPLICAS] = {1, 2, 3};
	unsigned first = 0, n = 20000;
	server_id_t at[REPLICAS];

	m->server[0].weight = 300;
	for (uint64_t block = 0; block < n; block++) {
		cr_assert_eq(map_place(m, sites, 7, block, at), 0);
		first += at[0] == 11;
	}
	cr_assert(first > n * 73 / 100 && first < n * 77 / 100, "%u of %u", first, n);
	map_free(m);
}

/* A new server takes blocks, but none moves between the old ones. */
Test(placement, moves_only_to_a_new_server)
{
	struct map *old = make(3, 2), *grown = make(3, 3);
	uint16_t sites[REPLICAS] = {1, 2, 3};
	server_id_t a[REPLICAS], b[REPLICAS];

	for (uint64_t block = 0; block < 5000; block++) {
		cr_assert_eq(map_place(old, sites, 7, block, a), 0);
		cr_assert_eq(map_place(grown, sites, 7, block, b), 0);
		for (unsigned i = 0; i < REPLICAS; i++)
			cr_assert(a[i] == b[i] || b[i] % 10 == 3);
	}
	map_free(old);
	map_free(grown);
}

/* Fewer than three sites: hosts make up the number, never one host twice. */
Test(placement, uses_distinct_hosts_when_sites_are_few)
{
	struct map *two = make(2, 2), *one = make(1, 3), *small = make(1, 2);
	uint16_t sites[REPLICAS];
	server_id_t at[REPLICAS];

	cr_assert_eq(map_choose_sites(two, 5, 2, sites), 0);
	cr_assert_eq(sites[0], 2);
	cr_assert_eq(map_place(two, sites, 5, 0, at), 0);
	cr_assert(at[0] != at[1] && at[1] != at[2] && at[0] != at[2]);
	cr_assert_eq(map_choose_sites(one, 5, 1, sites), 0);
	cr_assert_eq(map_place(one, sites, 5, 0, at), 0);
	cr_assert(at[0] != at[1] && at[1] != at[2] && at[0] != at[2]);
	cr_assert_eq(map_choose_sites(small, 5, 1, sites), -ENOSPC);
	map_free(two);
	map_free(one);
	map_free(small);
}

/* Trap A12: two copies in one site do not survive that site. */
Test(placement, counts_pairs_across_sites)
{
	const uint16_t three[] = {1, 2, 3}, two[] = {1, 2, 1}, one[] = {1, 1, 1};

	cr_assert(map_pair_counts(three, 0, 2));
	cr_assert_not(map_pair_counts(two, 0, 2));
	cr_assert(map_pair_counts(two, 0, 1));
	cr_assert(map_pair_counts(one, 0, 2));
	cr_assert_not(map_pair_counts(one, 1, 1));
}

Test(prefix, decides_the_site_of_an_address)
{
	struct map *m = make(3, 1);
	struct prefix p;

	cr_assert_eq(map_site_of(m->site, m->sites, "127.2.0.9"), 2);
	cr_assert_eq(map_site_of(m->site, m->sites, "127.9.0.9"), 0);
	cr_assert_eq(map_site_of(m->site, m->sites, "nonsense"), 0);
	cr_assert_eq(prefix_parse("127.2.7.0/24", &m->site[2].prefix[0]), 0);
	cr_assert_eq(map_site_of(m->site, m->sites, "127.2.7.9"), 3, "the longest prefix decides");
	cr_assert_eq(prefix_parse("fd00:1::/33", &m->site[0].prefix[0]), 0);
	cr_assert_eq(map_site_of(m->site, m->sites, "fd00:1:7fff::1"), 1);
	cr_assert_eq(map_site_of(m->site, m->sites, "fd00:1:8000::1"), 0);
	cr_assert_eq(prefix_parse("127.2.0.0", &p), -EINVAL);
	cr_assert_eq(prefix_parse("127.2.0.0/33", &p), -EINVAL);
	cr_assert_eq(prefix_parse("x/8", &p), -EINVAL);
	cr_assert_eq(prefix_parse("10.0.0.0/-1", &p), -EINVAL);
	map_free(m);
}

Test(map, survives_its_encoding)
{
	struct map *m = make(3, 2), *back;
	size_t len = map_encoded_bytes(m);
	uint8_t *bytes = mem_new(len), *again;

	map_encode(m, bytes);
	cr_assert_eq(map_decode(bytes, len, &back), 0);
	cr_assert_eq(map_encoded_bytes(back), len);
	again = mem_new(len);
	map_encode(back, again);
	cr_assert_arr_eq(bytes, again, len);
	cr_assert_str_eq(map_find_server(back, 22)->addr, "127.2.0.2:7000");
	cr_assert_null(map_find_server(back, 23));
	for (size_t cut = 0; cut < len; cut++) {
		struct map *none;

		cr_assert_eq(map_decode(bytes, cut, &none), ERR_CORRUPT);
	}
	map_free(m);
	map_free(back);
	mem_free(bytes);
	mem_free(again);
}
