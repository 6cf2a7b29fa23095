/* Trace ring: the last events of this thread, always on, dumped when a CHECK fails or on request.
 *
 * Cores trace, they never log. An event is a static key and up to four numbers; formatting waits
 * until somebody looks. */
#pragma once

#include "common/base/base.h"

#include <stdio.h>

#define TRACE_EVENTS 4096

/* `key` must be a string literal, e.g. "write.accept file block epoch n". */
void trace4(const char *key, uint64_t a, uint64_t b, uint64_t c, uint64_t d);
#define TRACE(key, a, b, c, d) \
	trace4(key, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d))

void trace_dump(FILE *to);      /* of the calling thread, oldest first */
void trace_clear(void);
/* Also prints every event as it comes, for replaying a seed; NULL switches it off. */
void trace_live(FILE *to);
