#include "common/base/iobuf.h"

#include "common/base/mem.h"

#include <stdlib.h>

/* Sizes up to 1 MiB + a page come in power-of-two classes and are kept on per-thread free lists:
 * page-aligned memory from malloc costs a system call or a search each time. */
#define CLASS_MIN_SHIFT 12
#define CLASSES 10
#define CLASS_KEEP 32
#define CLASS_KEEP_BYTES (1u << 20) /* but two of each: they count for no budget, and every thread has some */

static uint64_t budget = (uint64_t)512 << 20;
static uint64_t used;

struct free_list {
	unsigned n;
	struct iobuf *item[CLASS_KEEP];
};

static _Thread_local struct free_list free_lists[CLASSES];

/* Class whose buffers hold `size` bytes, or CLASSES when too big for any. */
static unsigned class_of(uint32_t size)
{
	unsigned c = 0;

	while (c < CLASSES && ((uint32_t)1 << (c + CLASS_MIN_SHIFT)) < size)
		c++;
	return c;
}

static unsigned class_keep(unsigned c)
{
	return MIN(CLASS_KEEP, MAX(2, CLASS_KEEP_BYTES >> (c + CLASS_MIN_SHIFT)));
}

static struct iobuf *allocate(uint32_t size)
{
	unsigned c = class_of(size);
	uint32_t room = c < CLASSES ? (uint32_t)1 << (c + CLASS_MIN_SHIFT) : ALIGN_UP(size, PAGE_BYTES);
	struct iobuf *b;
	void *data;

	if (c < CLASSES && free_lists[c].n > 0) {
		b = free_lists[c].item[--free_lists[c].n];
	} else {
		b = mem_new(sizeof(*b));
		CHECK(posix_memalign(&data, PAGE_BYTES, room) == 0);
		b->data = data;
		b->owner = NULL;
	}
	b->size = room;
	b->refs = 1;
	__atomic_add_fetch(&used, room, __ATOMIC_RELAXED);
	return b;
}

struct iobuf *iobuf_new(uint32_t size)
{
	if (__atomic_load_n(&used, __ATOMIC_RELAXED) + size > __atomic_load_n(&budget, __ATOMIC_RELAXED))
		return NULL;
	return allocate(size);
}

struct iobuf *iobuf_new_reserve(uint32_t size)
{
	return allocate(size);
}

struct iobuf *iobuf_get(struct iobuf *b)
{
	CHECK(__atomic_fetch_add(&b->refs, 1, __ATOMIC_RELAXED) > 0);
	return b;
}

void iobuf_put(struct iobuf *b)
{
	unsigned c;

	if (!b)
		return;
	uint32_t before = __atomic_fetch_sub(&b->refs, 1, __ATOMIC_ACQ_REL);

	CHECK(before > 0);
	if (before > 1)
		return;
	__atomic_sub_fetch(&used, b->size, __ATOMIC_RELAXED);
	c = class_of(b->size);
	if (c < CLASSES && free_lists[c].n < class_keep(c)) {
		free_lists[c].item[free_lists[c].n++] = b;
		return;
	}
	free(b->data);
	mem_free(b);
}

void iobuf_budget_set(uint64_t bytes)
{
	__atomic_store_n(&budget, bytes, __ATOMIC_RELAXED);
}

uint64_t iobuf_used(void)
{
	return __atomic_load_n(&used, __ATOMIC_RELAXED);
}

uint64_t iobuf_budget(void)
{
	return __atomic_load_n(&budget, __ATOMIC_RELAXED);
}
