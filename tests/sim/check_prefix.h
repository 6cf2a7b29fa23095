/* Checker of P4 across the pages of one block: after a crash the block is some prefix of the writes
 * made to it. Never looks inside a core.
 *
 * What shows for certain that it is not: a mount was told that write 1 is done, then asked for write
 * 2 to the same block and was told so too; nobody took the file over from before write 1 until after
 * write 2; and after the takeover that followed somebody read what write 2 wrote, and somebody read,
 * where write 1 wrote, what was there before it. Whatever happened in between, both had their place in
 * one chain of versions, and the takeover kept the later one without the earlier.
 *
 * Left out, because they prove nothing: writes of zeros, which are not told apart; zeros read behind
 * the last byte that surely exists, since the size is in a record of its own; files of appends. */
#pragma once

#include "tests/sim/history.h"

struct prefix_report {
	uint32_t earlier, later;   /* ops of the history: lost, and kept */
	uint32_t unit;             /* where the earlier one is missing */
	uint32_t read;             /* op that shows it */
};

/* False: *out says why. */
bool prefix_check(const struct history *h, struct prefix_report *out);
