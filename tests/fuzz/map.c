/* The cluster map: what decodes is sound enough to place files by, and encodes to the same. */
#include "common/base/mem.h"
#include "common/topology/map.h"
#include "tests/fuzz/fuzz.h"

static void use(const struct map *m)
{
	uint16_t sites[REPLICAS];
	server_id_t at[REPLICAS];

	for (file_id_t file = 1; file < 4; file++) {
		if (map_choose_sites(m, file, 1, sites) < 0)
			continue;
		CHECK(map_place(m, sites, file, 7, at) == 0);
		CHECK(at[0] != at[1] && at[1] != at[2] && at[0] != at[2]);
		for (unsigned i = 0; i < REPLICAS; i++)
			CHECK(map_find_server(m, at[i]) != NULL);
	}
	map_site_of(m->site, m->sites, "127.1.0.1");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct map *m = NULL;
	uint8_t *out;

	if (map_decode(data, size, &m) < 0)
		return 0;
	use(m);
	CHECK(map_encoded_bytes(m) == size);
	out = mem_new(size);
	map_encode(m, out);
	CHECK(memcmp(out, data, size) == 0);
	mem_free(out);
	map_free(m);
	return 0;
}
