/* The operator who has replicas moved to other sites, and core servers drained, while everything else goes
 * on (trap A4). */
#pragma once

#include "tests/sim/cluster.h"

/* Asks some mount now and then, in runs whose shape says so, until cluster.quiet. */
void mover_start(struct cluster *c);
/* Has every live mount that can ask for a move of the file, once. */
void mover_ask(struct cluster *c, uint32_t file, uint16_t from, uint16_t to);
/* Takes over from the catalog's leader where the files live now; false: nobody leads. */
bool mover_look(struct cluster *c);
/* A file that still has to leave a core server that was drained; 0: none. */
uint64_t mover_left(struct cluster *c);
/* A site in which the file has no replica; 0: none. */
uint16_t mover_spare(const struct cluster *c, uint32_t file);
