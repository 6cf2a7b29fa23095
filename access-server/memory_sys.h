/* The memory of the whole process, against the limit that its configuration sets (P8). */
#pragma once

#include "common/config/config.h"

/* Divides c->memory (0: the default) and fills in c->buffer if it is 0. Before other threads start. */
void memory_divide(struct config *c);
/* Near the limit, gives back to the kernel what the heap keeps free. Returns when to call it again. */
nsec_t memory_watch(nsec_t now);
