#include "tests/sim/check_prefix.h"

#include "common/base/mem.h"

#define NEVER UINT32_MAX

struct check {
	const struct history *h;
	uint32_t *begun, *returned; /* per op: stamps; NEVER */
	uint32_t *writer;           /* per value: its op; NEVER */
	uint64_t values;
	uint32_t from, until;       /* stamps of two takeovers with nothing in between */
	uint32_t file;
	struct prefix_report *out;
};

static bool is_write(const struct check *k, uint32_t i)
{
	const struct hist_op *o = &k->h->op[i];

	return o->type == HIST_WRITE && o->file == k->file;
}

/* Begun and done while nobody took the file over, and told apart from others by its value. */
static bool in_window(const struct check *k, uint32_t i)
{
	return is_write(k, i) && k->h->op[i].value && k->begun[i] >= k->from && k->returned[i] < k->until;
}

static bool read_after(const struct check *k, uint32_t i)
{
	const struct hist_op *o = &k->h->op[i];

	return o->type == HIST_READ && o->file == k->file && o->values && k->returned[i] != NEVER &&
	       k->begun[i] > k->until;
}

static uint32_t block_of(const struct check *k, uint32_t unit)
{
	return (uint32_t)(((uint64_t)unit * k->h->file[k->file].unit_bytes) >> FILE_BLOCK_SHIFT);
}

static bool covers(const struct hist_op *o, uint32_t unit)
{
	return unit >= o->unit && unit < o->unit + o->units;
}

/* No zeros were written to the unit, but before the write began. */
static bool zeros_are_older(const struct check *k, uint32_t write, uint32_t unit)
{
	for (uint32_t i = 0; i < k->h->ops; i++) {
		if (is_write(k, i) && k->h->op[i].value == 0 && covers(&k->h->op[i], unit) &&
		    k->returned[i] >= k->begun[write])
			return false;
	}
	return true;
}

static bool older(const struct check *k, uint64_t value, uint32_t write, uint32_t unit)
{
	if (value == 0)
		return zeros_are_older(k, write, unit);
	return value < k->values && k->writer[value] != NEVER &&
	       k->returned[k->writer[value]] < k->begun[write];
}

/* Does a read after the takeover show the value in that block? Fills in the highest such unit. */
static bool kept(const struct check *k, uint32_t write, uint32_t block, uint32_t *unit)
{
	bool found = false;

	for (uint32_t i = 0; i < k->h->ops; i++) {
		const struct hist_op *o = &k->h->op[i];

		if (!read_after(k, i))
			continue;
		for (uint32_t u = 0; u < o->units; u++) {
			if (o->values[u] != k->h->op[write].value || block_of(k, o->unit + u) != block)
				continue;
			*unit = found ? MAX(*unit, o->unit + u) : o->unit + u;
			found = true;
		}
	}
	return found;
}

/* A later write of the same mount to the block, which was kept. `unit` has what was before. */
static bool later_kept(struct check *k, uint32_t write, uint32_t unit, bool zero)
{
	uint32_t seen = 0;

	for (uint32_t i = 0; i < k->h->ops; i++) {
		if (!in_window(k, i) || k->h->op[i].mount != k->h->op[write].mount ||
		    k->begun[i] < k->returned[write] || !kept(k, i, block_of(k, unit), &seen))
			continue;
		if (zero && seen < unit)
			continue; /* the file may end between them */
		k->out->later = i;
		return true;
	}
	return false;
}

static bool lost_at(struct check *k, uint32_t write, uint32_t read)
{
	const struct hist_op *w = &k->h->op[write], *r = &k->h->op[read];
	uint32_t end = MIN(w->unit + w->units, r->unit + r->units);

	for (uint32_t u = MAX(w->unit, r->unit); u < end; u++) {
		uint64_t value = r->values[u - r->unit];

		if (value == w->value || !older(k, value, write, u) || !later_kept(k, write, u, value == 0))
			continue;
		k->out->earlier = write;
		k->out->unit = u;
		k->out->read = read;
		return true;
	}
	return false;
}

static bool check_window(struct check *k)
{
	for (uint32_t w = 0; w < k->h->ops; w++) {
		if (!in_window(k, w))
			continue;
		for (uint32_t r = 0; r < k->h->ops; r++) {
			if (read_after(k, r) && lost_at(k, w, r))
				return false;
		}
	}
	return true;
}

static bool check_file(struct check *k)
{
	k->from = 0;
	for (uint32_t i = 0; i < k->h->events; i++) {
		const struct hist_event *e = &k->h->event[i];

		if (e->type != HIST_TAKEOVER || e->arg != k->file)
			continue;
		k->until = i;
		if (!check_window(k))
			return false;
		k->from = i;
	}
	return true;
}

static void index_writers(struct check *k)
{
	memset(k->writer, 0xff, k->values * sizeof(*k->writer));
	for (uint32_t i = 0; i < k->h->ops; i++) {
		if (k->h->op[i].type == HIST_WRITE && k->h->op[i].value)
			k->writer[k->h->op[i].value] = i;
	}
}

bool prefix_check(const struct history *h, struct prefix_report *out)
{
	struct check k = {.h = h, .out = out, .values = 1};
	bool good = true;

	for (uint32_t i = 0; i < h->ops; i++)
		k.values = h->op[i].type == HIST_WRITE ? MAX(k.values, h->op[i].value + 1) : k.values;
	k.begun = mem_new_array(h->ops + 1, sizeof(*k.begun));
	k.returned = mem_new_array(h->ops + 1, sizeof(*k.returned));
	k.writer = mem_new_array(k.values, sizeof(*k.writer));
	history_stamps(h, k.begun, k.returned);
	index_writers(&k);
	for (k.file = 0; k.file < h->files && good; k.file++)
		good = h->file[k.file].append || check_file(&k);
	mem_free(k.begun);
	mem_free(k.returned);
	mem_free(k.writer);
	return good;
}
