/* Runs a fuzz target over every file of a directory, then over mutations of them for some seconds. The same
 * seed makes the same inputs in the same order: a failure comes back, if sooner or later. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_BYTES_MAX 65536
#define FILES_MAX 256

struct input {
	uint8_t *p;
	size_t len;
};

static struct input corpus[FILES_MAX];
static unsigned files;
static struct random rnd;

static void load(const char *dir, const char *name)
{
	static uint8_t buf[INPUT_BYTES_MAX];
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "rb");
	if (!f) {
		fprintf(stderr, "cannot read %s\n", path);
		exit(2);
	}
	CHECK(files < FILES_MAX);
	corpus[files].len = fread(buf, 1, sizeof(buf), f);
	corpus[files].p = mem_dup(buf, corpus[files].len + 1);
	files++;
	fclose(f);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void load_all(const char *dir)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, NULL, by_name);

	for (int i = 0; i < n; i++) {
		if (entry[i]->d_name[0] != '.')
			load(dir, entry[i]->d_name);
		free(entry[i]);
	}
	if (files == 0) {
		fprintf(stderr, "no corpus in %s\n", dir);
		exit(2);
	}
	free(entry);
}

static size_t below(size_t n)
{
	return n > 0 ? (size_t)random_below(&rnd, n) : 0;
}

/* Moves the tail at `at` by `by` bytes, filling a gap with random bytes. */
static size_t insert(uint8_t *p, size_t len, size_t at, size_t by)
{
	if (len + by > INPUT_BYTES_MAX)
		return len;
	memmove(p + at + by, p + at, len - at);
	for (size_t i = 0; i < by; i++)
		p[at + i] = (uint8_t)random_u64(&rnd);
	return len + by;
}

static size_t erase(uint8_t *p, size_t len, size_t at, size_t by)
{
	by = MIN(by, len - at);
	memmove(p + at, p + at + by, len - at - by);
	return len - by;
}

static size_t mutate_once(uint8_t *p, size_t len)
{
	static const uint8_t edges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, '[', ']', '=', '\n'};
	const struct input *other = &corpus[below(files)];
	size_t at = below(len), from, n;

	switch (random_below(&rnd, 7)) {
	case 0:
		if (len > 0)
			p[at] ^= (uint8_t)(1u << random_below(&rnd, 8));
		return len;
	case 1:
		if (len > 0)
			p[at] = edges[below(sizeof(edges))];
		return len;
	case 2:
		return insert(p, len, at, 1 + below(16));
	case 3:
		return erase(p, len, at, 1 + below(16));
	case 4:
		return at; /* cut off */
	case 5: /* a small change of a number */
		if (len > 0)
			p[at] = (uint8_t)(p[at] + random_below(&rnd, 5) - 2);
		return len;
	default: /* a piece of another input */
		from = below(other->len);
		n = 1 + below(64);
		n = MIN(n, other->len - from);
		n = MIN(n, INPUT_BYTES_MAX - at);
		memcpy(p + at, other->p + from, n);
		return MAX(len, at + n);
	}
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_BYTES_MAX];
	nsec_t until = argc > 2 ? (nsec_t)strtol(argv[2], NULL, 10) * NSEC_SEC : NSEC_SEC;
	unsigned long runs = 0;

	if (argc < 2) {
		fprintf(stderr, "usage: %s CORPUS-DIRECTORY [SECONDS]\n", argv[0]);
		return 2;
	}
	load_all(argv[1]);
	random_seed(&rnd, 1);
	for (unsigned i = 0; i < files; i++)
		LLVMFuzzerTestOneInput(corpus[i].p, corpus[i].len);
	for (until += clock_boottime(); clock_boottime() < until; runs++) {
		const struct input *from = &corpus[below(files)];
		size_t len = from->len;
		uint8_t *exact;

		memcpy(buf, from->p, len);
		for (uint64_t n = 1 + random_below(&rnd, 6); n > 0; n--)
			len = mutate_once(buf, len);
		/* Of exactly its size on the heap: reading past the end is seen. */
		exact = mem_dup(buf, MAX(len, 1));
		LLVMFuzzerTestOneInput(exact, len);
		mem_free(exact);
	}
	for (unsigned i = 0; i < files; i++)
		mem_free(corpus[i].p);
	printf("%u inputs and %lu mutations passed\n", files, runs);
	return 0;
}
