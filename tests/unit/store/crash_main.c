/* store_crash FIRST COUNT [BUGS [full] [sync] [rot]]: runs seeds; prints those that break a promise. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/trace.h"
#include "tests/unit/store/crash.h"

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;
	struct crash_options o = {.bugs = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 0) : 0, .rounds = 4};
	unsigned bad = 0;

	for (int i = 4; i < argc; i++) {
		o.full_disk = o.full_disk || strcmp(argv[i], "full") == 0;
		o.sync_fails = o.sync_fails || strcmp(argv[i], "sync") == 0;
		o.rot = o.rot || strcmp(argv[i], "rot") == 0;
	}
	for (o.seed = first; o.seed < first + count; o.seed++) {
		const char *error = crash_run(&o);

		if (!error)
			continue;
		printf("%s\n", error);
		if (count == 1)
			trace_dump(stdout);
		bad++;
	}
	printf("%u of %" PRIu64 " seeds broke a promise\n", bad, count);
	return bad != 0;
}
