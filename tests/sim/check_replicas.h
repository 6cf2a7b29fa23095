/* Checker of convergence: when all is well again, the three replicas of every block become equal,
 * versions and bytes, and stay so, and stat says how much of each file they hold. */
#pragma once

#include "tests/sim/cluster.h"

/* True when they are equal by their versions. */
bool replicas_settled(struct cluster *c);
/* A sentence about the first difference. */
void replicas_differ(struct cluster *c, char *out, size_t size);
/* Compares the bytes (page checksums) too; calls world_fail(). To be called once settled. */
void replicas_check(struct cluster *c);
