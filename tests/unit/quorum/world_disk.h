/* A simulated disk whose completions are events of a world: for tests of one part alone. */
#pragma once

#include "tests/sim/sim_disk.h"
#include "tests/sim/world.h"

struct sim_disk_env world_disk_env(struct world *w);
