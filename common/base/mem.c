#include "common/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

static void *must(void *p, size_t bytes)
{
	if (!p) {
		fprintf(stderr, "distcloud: out of memory (%zu bytes asked for)\n", bytes);
		abort();
	}
	return p;
}

void *mem_new(size_t bytes)
{
	return must(calloc(1, MAX(bytes, (size_t)1)), bytes);
}

void *mem_new_array(size_t n, size_t bytes)
{
	return must(calloc(MAX(n, (size_t)1), MAX(bytes, (size_t)1)), bytes);
}

void *mem_resize(void *p, size_t n, size_t bytes)
{
	return must(reallocarray(p, MAX(n, (size_t)1), MAX(bytes, (size_t)1)), bytes);
}

void *mem_dup(const void *p, size_t bytes)
{
	void *copy = must(malloc(MAX(bytes, (size_t)1)), bytes);

	if (bytes > 0)
		memcpy(copy, p, bytes);
	return copy;
}

char *mem_printf(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	return must(text, strlen(fmt));
}

void mem_free(void *p)
{
	free(p);
}
