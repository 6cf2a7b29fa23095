/* Every voter holds the same catalog, and a whole one. */
#pragma once

#include "tests/sim/cluster.h"

/* All voters have applied the same entries. */
bool catalogs_settled(struct cluster *c);
/* Then: every invariant of each (catalog_check()), and record by record the same in all. */
void catalogs_check(struct cluster *c);
/* How far each is, for a run in which they do not come together. */
void catalogs_tell(struct cluster *c, char *out, size_t size);
