/* Random operations against a model, with power cuts at random disk operations. */
#pragma once

#include "common/base/base.h"

struct crash_options {
	uint64_t seed;
	unsigned bugs;        /* enum store_bug */
	unsigned rounds;      /* power cuts */
	bool full_disk;       /* a disk so small that writes meet ENOSPC */
	bool sync_fails;
	bool rot;             /* pages rot while the power is off */
};

/* NULL: every promise held. Else what broke; static storage. */
const char *crash_run(const struct crash_options *o);
