#include "common/wire/stale.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"

void stale_init(struct stale_map *s)
{
	*s = (struct stale_map){0};
}

void stale_fini(struct stale_map *s)
{
	mem_free(s->runs);
	stale_init(s);
}

/* Index of the first run that ends at or after `block`; s->n if none. */
static unsigned find(const struct stale_map *s, uint64_t block)
{
	unsigned lo = 0, hi = s->n;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (s->runs[mid].last < block)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

uint8_t stale_get(const struct stale_map *s, uint64_t block)
{
	unsigned i = find(s, block);

	return i < s->n && s->runs[i].first <= block ? s->runs[i].mask : 0;
}

static void insert(struct stale_map *s, unsigned at, struct stale_run run)
{
	if (s->n == s->capacity) {
		s->capacity = MAX(8u, s->capacity * 2);
		s->runs = mem_resize(s->runs, s->capacity, sizeof(*s->runs));
	}
	memmove(s->runs + at + 1, s->runs + at, (s->n - at) * sizeof(*s->runs));
	s->runs[at] = run;
	s->n++;
}

static void erase(struct stale_map *s, unsigned at)
{
	memmove(s->runs + at, s->runs + at + 1, (s->n - at - 1) * sizeof(*s->runs));
	s->n--;
}

/* Makes `block` the start of a run if it lies inside one. */
static void split(struct stale_map *s, uint64_t block)
{
	unsigned i = find(s, block);

	if (i == s->n || s->runs[i].first >= block)
		return;
	struct stale_run head = s->runs[i];

	s->runs[i].first = block;
	head.last = block - 1;
	insert(s, i, head);
}

static bool joins(const struct stale_run *a, const struct stale_run *b)
{
	return a->mask == b->mask && a->last + 1 == b->first;
}

/* Merges equal neighbours among the runs that touch [first, last], and drops empty ones. */
static void tidy(struct stale_map *s, uint64_t first, uint64_t last)
{
	unsigned i = find(s, first > 0 ? first - 1 : 0);

	while (i < s->n && s->runs[i].first <= last) {
		if (s->runs[i].mask == 0)
			erase(s, i);
		else if (i + 1 < s->n && joins(&s->runs[i], &s->runs[i + 1])) {
			s->runs[i].last = s->runs[i + 1].last;
			erase(s, i + 1);
		} else
			i++;
	}
}

static unsigned join(struct stale_map *s, uint64_t gap)
{
	unsigned n = 0;

	for (unsigned i = 1; i < s->n; i++) {
		struct stale_run *last = &s->runs[n], *run = &s->runs[i];

		if (run->mask == last->mask && run->first - last->last - 1 <= gap)
			last->last = run->last;
		else
			s->runs[++n] = *run;
	}
	return s->n ? n + 1 : 0;
}

bool stale_coarsen(struct stale_map *s, unsigned max)
{
	for (unsigned bits = 1; s->n > max && bits <= 64; bits++)
		s->n = join(s, UINT64_MAX >> (64 - bits));
	return s->n <= max;
}

int stale_set(struct stale_map *s, uint64_t first, uint64_t last, unsigned replica)
{
	uint8_t bit = (uint8_t)(1u << replica);
	uint64_t at = first;
	struct stale_run run;

	CHECK(first <= last);
	CHECK(replica < REPLICAS);
	for (unsigned i = find(s, first); i < s->n && s->runs[i].first <= last; i++)
		if (s->runs[i].mask & ~bit)
			return -EBUSY;
	if (s->n + 3 > STALE_RUNS_MAX && !stale_coarsen(s, STALE_RUNS_MAX / 2))
		return -EBUSY;

	/* Every run inside is already ours: replace them by one. */
	split(s, first);
	if (last < UINT64_MAX)
		split(s, last + 1);
	run = (struct stale_run){first, last, bit};
	unsigned i = find(s, at);

	while (i < s->n && s->runs[i].first <= last)
		erase(s, i);
	insert(s, i, run);
	tidy(s, first, last < UINT64_MAX ? last + 1 : last);
	return 0;
}

void stale_clear(struct stale_map *s, uint64_t first, uint64_t last, unsigned replica)
{
	uint8_t bit = (uint8_t)(1u << replica);

	CHECK(first <= last);
	CHECK(replica < REPLICAS);
	split(s, first);
	if (last < UINT64_MAX)
		split(s, last + 1);
	for (unsigned i = find(s, first); i < s->n && s->runs[i].first <= last; i++)
		s->runs[i].mask = (uint8_t)(s->runs[i].mask & ~bit);
	tidy(s, first, last < UINT64_MAX ? last + 1 : last);
}

bool stale_next(const struct stale_map *s, uint64_t from, struct stale_run *out)
{
	unsigned i = find(s, from);

	if (i == s->n)
		return false;
	*out = s->runs[i];
	out->first = MAX(out->first, from);
	return true;
}

bool stale_empty(const struct stale_map *s)
{
	return s->n == 0;
}

uint64_t stale_count(const struct stale_map *s, uint64_t blocks)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < s->n; i++) {
		const struct stale_run *r = &s->runs[i];

		if (r->first < blocks)
			count += MIN(r->last, blocks - 1) - r->first + 1;
		if (r->last == BLOCK_ATTR)
			count++;
	}
	return count;
}

size_t stale_encoded_bytes(const struct stale_map *s)
{
	return (size_t)s->n * STALE_RUN_BYTES;
}

void stale_encode(const struct stale_map *s, uint8_t *out)
{
	for (unsigned i = 0; i < s->n; i++, out += STALE_RUN_BYTES) {
		put_u64le(out, s->runs[i].first);
		put_u64le(out + 8, s->runs[i].last);
		out[16] = s->runs[i].mask;
	}
}

static bool valid(const struct stale_run *run, const struct stale_run *before)
{
	bool one = run->mask == 1 || run->mask == 2 || run->mask == 4;

	return one && run->first <= run->last && (!before || before->last < run->first);
}

int stale_decode(struct stale_map *s, const uint8_t *p, size_t len)
{
	size_t n = len / STALE_RUN_BYTES;

	if (len % STALE_RUN_BYTES != 0 || n > STALE_RUNS_MAX)
		return ERR_CORRUPT;
	s->n = 0;
	for (size_t i = 0; i < n; i++, p += STALE_RUN_BYTES) {
		struct stale_run run = {get_u64le(p), get_u64le(p + 8), p[16]};

		if (!valid(&run, s->n > 0 ? &s->runs[s->n - 1] : NULL)) {
			s->n = 0;
			return ERR_CORRUPT;
		}
		insert(s, s->n, run);
	}
	return 0;
}
