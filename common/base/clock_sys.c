#include "common/base/clock.h"

#include <time.h>

_Thread_local nsec_t clock_awake_since;

nsec_t clock_boottime(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_BOOTTIME, &ts) == 0);
	return (nsec_t)ts.tv_sec * NSEC_SEC + ts.tv_nsec;
}

uint64_t clock_wall(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
	return (uint64_t)ts.tv_sec * (uint64_t)NSEC_SEC + (uint64_t)ts.tv_nsec;
}
