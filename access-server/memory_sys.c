/* Bulk buffers get five eighths of the limit. The rest is for records of writes, names and attributes,
 * requests, and for what the heap does not give back: data blocks of a megabyte come and go among small
 * objects that stay, so its holes grow while little of it is in use. Kept, they save the kernel from
 * zeroing pages; near the limit they are returned. */
#include "access-server/memory_sys.h"

#include "common/base/iobuf.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#define WATCH_EVERY (50 * NSEC_MSEC)
#define GROWN ((uint64_t)16 << 20) /* since the last time: less is not worth the walk */

static uint64_t limit, kept;
static nsec_t due;
static int statm = -1;

void memory_divide(struct config *c)
{
	limit = c->memory ? c->memory : CONFIG_MEMORY_DEFAULT;
	iobuf_budget_set(limit / 8 * 5);
	if (c->buffer == 0)
		c->buffer = limit / 2;
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

/* 0: not known. */
static uint64_t resident(void)
{
	char text[128], *end;
	ssize_t n = statm < 0 ? -1 : pread(statm, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	(void)strtoull(text, &end, 10); /* of the address space */
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

nsec_t memory_watch(nsec_t now)
{
	uint64_t bytes;

	if (now < due)
		return due;
	due = now + WATCH_EVERY;
	bytes = resident();
	if (bytes > limit / 8 * 5 && bytes > kept + GROWN) {
		malloc_trim(0);
		kept = resident();
	}
	kept = MIN(kept, bytes);
	return due;
}
