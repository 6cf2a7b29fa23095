/* A peer gone mad: valid frames with senseless contents, or sensible ones where they do not belong.
 *
 * Once in a while a message that is sent comes a second time with fields changed (edges, neighbours,
 * numbers seen elsewhere), spans cut or scrambled, at the right server or at another. No promise is
 * checked in such a run, for a peer that lies may seal a file for ever (P9 is a matter of TLS and
 * MACs): no core may crash, loop, or read what is not there. */
#pragma once

#include "tests/sim/node.h"

#define HOSTILE_SEEN 256
#define HOSTILE_SCRATCH_BYTES 8192

struct hostile {
	unsigned permille;              /* of messages that get a mad twin; 0: nobody is mad */
	uint64_t seen[HOSTILE_SEEN];    /* numbers of recent messages: ids that mean something */
	unsigned seen_n;
	uint8_t scratch[HOSTILE_SCRATCH_BYTES];
	size_t scratch_used;
	uint64_t sent;
};

/* Remembers numbers of `m`, which is being sent. */
void hostile_look(struct hostile *h, const struct msg *m);
/* Changes `m`. Its spans may then point into `h`, until the next call. */
void hostile_twist(struct hostile *h, struct random *r, struct msg *m);
