/* The commands of distcloud-wan, one to a message, words divided by spaces:
 *
 *     link NAME NETNS DEVICE NETNS DEVICE    makes a link; its direction 0 leads from the first end
 *     set NAME 0|1 KEY=NUMBER...             delay_ns jitter_ns rate_bps queue_ns loss duplicate
 *                                            corrupt (the last three: parts per million)
 *     cut NAME, join NAME                    a cut cable: neither packets nor carrier
 *     show                                   a line per direction: conditions and counters
 *
 * Answers are "ok" and what was asked for, or "error: " and a sentence. */
#pragma once

#include "tests/lab/drill/wan_link.h"

struct wan {
	struct wan_link link[WAN_LINKS_MAX];
	unsigned n;
	uint64_t held; /* bytes in all ways */
};

/* Carries out `command` (changes it) and fills `answer`, which is always terminated. Whoever waits
 * for packets looks at wan->n afterwards: there may be a new link. */
void wan_command(struct wan *wan, char *command, char *answer, size_t answer_len);
