/* Heap memory for set-up and bookkeeping. Never returns NULL: lack of memory stops the program with
 * a sentence, so there is no untested out-of-memory branch. Bulk data uses iobuf.h instead. */
#pragma once

#include "common/base/base.h"

void *mem_new(size_t bytes);                           /* zeroed */
void *mem_new_array(size_t n, size_t bytes);           /* zeroed; overflow is checked */
void *mem_resize(void *p, size_t n, size_t bytes);     /* as reallocarray; new part is not zeroed */
void *mem_dup(const void *p, size_t bytes);
char *mem_printf(const char *fmt, ...) PRINTF(1, 2);
void mem_free(void *p);
