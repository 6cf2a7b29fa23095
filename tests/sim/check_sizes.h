/* Checker of P3 and P4 for the size of a file, as stat tells it. Never looks inside a core.
 *
 * Not a full search for an order, but what holds in every order:
 * - no stat tells more than writes and cuts that had begun can have made;
 * - none tells less than what was done before it began: the end of a write that returned, or what
 *   another stat told - unless something that had not ended by then may have cut the file, or a
 *   takeover may have lost it. A takeover loses no write that was synced, and no size that was told
 *   through another mount than the one that had made it: once seen elsewhere it never goes back. */
#pragma once

#include "tests/sim/history.h"

struct size_report {
	uint32_t stat;      /* op of the history */
	uint32_t evidence;  /* it tells less than this op; the stat itself: more than anything made */
	uint64_t bytes;     /* what it had to be at least, or at most */
};

/* False: *out says why. */
bool sizes_check(const struct history *h, struct size_report *out);
