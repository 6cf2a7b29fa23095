/* The simulator must be able to fail: each of these breaks one rule in a core, and must be found. */

#include "access-server/volume/volume.h"
#include "core-server/replica/replica.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/scenario.h"

const struct planted_bug planted_bugs[] = {
        {"flush-one", "P1: one durable replica is enough", 0, VOLUME_BUG_FLUSH_ONE, 0, 0, NULL, 200},
};
const unsigned planted_bugs_n = ARRAY_LEN(planted_bugs);
