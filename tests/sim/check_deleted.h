/* What was deleted goes, from the catalog and from every core server (P8, trap A15). That nothing else
 * goes is what the readers of files see, open ones without a name in scenario a15. */
#pragma once

#include "tests/sim/cluster.h"

bool deleted_gone(struct cluster *c);
/* What is still there. */
void deleted_tell(struct cluster *c, char *out, size_t size);
