/* The machine's clocks, for the adapters: cores get theirs through struct env. */
#pragma once

#include "common/base/base.h"

nsec_t clock_boottime(void);  /* counts on during suspend */
uint64_t clock_wall(void);    /* ns since 1970 */

/* When this thread's loop began to work after it slept; 0: it sleeps. Every handler of an event begins with
 * clock_awake(), and the loop sets it back before it sleeps (common/server/stats_uv.c). */
extern _Thread_local nsec_t clock_awake_since;

static inline void clock_awake(void)
{
	if (!clock_awake_since)
		clock_awake_since = clock_boottime();
}
