/* The stale map: what decodes keeps two replicas of every block clear, and encodes to the same. */
#include "common/base/mem.h"
#include "common/wire/stale.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct stale_map *s)
{
	struct stale_run r;
	uint64_t from = 0;

	while (stale_next(s, from, &r)) {
		CHECK(r.first >= from && r.last >= r.first);
		CHECK(r.mask == 1 || r.mask == 2 || r.mask == 4);
		CHECK(stale_get(s, r.first) == r.mask && stale_get(s, r.last) == r.mask);
		if (r.last == UINT64_MAX)
			return;
		from = r.last + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stale_map s;
	uint8_t *out;

	stale_init(&s);
	if (stale_decode(&s, data, size) == 0) {
		check(&s);
		CHECK(stale_encoded_bytes(&s) == size);
		out = mem_new(MAX(size, 1));
		stale_encode(&s, out);
		CHECK(memcmp(out, data, size) == 0);
		mem_free(out);
		stale_clear(&s, 3, 1000, 0);
		check(&s);
		if (stale_set(&s, 10, 500, 1) == 0)
			CHECK(stale_get(&s, 10) == 2);
		check(&s);
	}
	stale_fini(&s);
	return 0;
}
