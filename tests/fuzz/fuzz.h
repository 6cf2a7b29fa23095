/* A fuzz target: bytes in, and the program stops (CHECK, sanitizer) if a decoder mishandles them.
 *
 * libFuzzer drives it in the clang build (tests/fuzz/run); replay_sys.c drives it as an ordinary
 * test: the committed corpus, then a fixed series of random mutations of it. */
#pragma once

#include "common/base/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
