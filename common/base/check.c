#include "common/base/base.h"
#include "common/base/trace.h"

#include <stdio.h>
#include <stdlib.h>

void check_failed(const char *file, int line, const char *cond)
{
	fprintf(stderr, "CHECK failed at %s:%d: %s\n", file, line, cond);
	trace_dump(stderr);
	fflush(stderr);
	abort();
}
