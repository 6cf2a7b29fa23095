/* The configuration parser: any text gives a usable configuration or a sentence. */
#include "common/base/mem.h"
#include "common/config/config.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c;
	char *text = mem_new(size + 1), why[256] = "";
	int rc;

	memcpy(text, data, size);
	rc = config_parse(&c, text, "x.conf", why, sizeof(why));
	CHECK(rc == 0 || rc == -EINVAL);
	CHECK(rc == 0 || strncmp(why, "x.conf:", 7) == 0);
	if (rc == 0) {
		CHECK(c.cluster != 0 && c.hints > 0 && c.sites <= SITES_MAX);
		CHECK(c.kind == 0 || c.own_site != 0);
	}
	mem_free(text);
	return 0;
}
