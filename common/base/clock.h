/* The machine's clocks, for the adapters: cores get theirs through struct env. */
#pragma once

#include "common/base/base.h"

nsec_t clock_boottime(void);  /* counts on during suspend */
uint64_t clock_wall(void);    /* ns since 1970 */
