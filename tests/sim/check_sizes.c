#include "tests/sim/check_sizes.h"

#include "common/base/mem.h"

#define NEVER UINT32_MAX

struct check {
	const struct history *h;
	uint32_t *begun, *returned; /* per op: stamps; NEVER */
	struct size_report *out;
};

static bool is_write(const struct hist_op *o)
{
	return o->type == HIST_WRITE && o->value != 0;
}

static bool is_cut(const struct hist_op *o)
{
	return o->type == HIST_WRITE && o->cut;
}

/* What the file has at least once the op is done, or at most made so. */
static uint64_t size_of(const struct check *k, const struct hist_op *o)
{
	uint64_t unit = k->h->file[o->file].unit_bytes;

	if (o->type == HIST_STAT)
		return o->value;
	return (is_cut(o) ? o->unit : o->unit + o->units) * unit;
}

/* An append that failed may have gone behind everything else. */
static uint64_t most(const struct check *k, uint32_t stat)
{
	const struct hist_op *s = &k->h->op[stat];
	uint64_t bytes = 0, appends = 0;

	for (uint32_t i = 0; i < k->h->ops; i++) {
		const struct hist_op *o = &k->h->op[i];

		if (o->file != s->file || k->begun[i] > k->returned[stat] || (!is_write(o) && !is_cut(o)))
			continue;
		if (o->units == 0 && !o->cut)
			appends += k->h->file[o->file].unit_bytes;
		else
			bytes = MAX(bytes, size_of(k, o));
	}
	return bytes + appends;
}

static bool may_be_cut(const struct check *k, uint32_t evidence, uint32_t stat, uint64_t bytes)
{
	for (uint32_t i = 0; i < k->h->ops; i++) {
		const struct hist_op *o = &k->h->op[i];

		if (o->file == k->h->op[stat].file && is_cut(o) && size_of(k, o) < bytes &&
		    k->begun[i] < k->returned[stat] && k->returned[i] >= k->begun[evidence])
			return true;
	}
	return false;
}

/* Synced before `stamp`, by itself or by its mount. */
static bool synced(const struct check *k, uint32_t write, uint32_t stamp)
{
	const struct hist_op *w = &k->h->op[write];

	for (uint32_t i = 0; i < k->h->ops && !w->sync; i++) {
		const struct hist_op *o = &k->h->op[i];

		if (o->type == HIST_SYNC && o->file == w->file && o->mount == w->mount &&
		    k->begun[i] > k->returned[write] && k->returned[i] < stamp)
			return true;
	}
	return w->sync;
}

/* Nobody on the mount of the stat had begun to make the file so long. */
static bool seen_elsewhere(const struct check *k, uint32_t stat, uint64_t bytes)
{
	const struct hist_op *s = &k->h->op[stat];

	for (uint32_t i = 0; i < k->h->ops; i++) {
		const struct hist_op *o = &k->h->op[i];

		if (o->file == s->file && o->mount == s->mount && (is_write(o) || is_cut(o)) &&
		    (o->units == 0 || size_of(k, o) >= bytes) && k->begun[i] < k->returned[stat])
			return false;
	}
	return true;
}

static bool may_be_lost(const struct check *k, uint32_t evidence, uint32_t stat, uint64_t bytes)
{
	bool told = k->h->op[evidence].type == HIST_STAT;

	for (uint32_t i = k->begun[evidence]; i < k->returned[stat]; i++) {
		const struct hist_event *e = &k->h->event[i];

		if (e->type == HIST_TAKEOVER && e->arg == k->h->op[stat].file &&
		    !(told ? seen_elsewhere(k, evidence, bytes) : synced(k, evidence, i)))
			return true;
	}
	return false;
}

static bool check_stat(const struct check *k, uint32_t stat)
{
	const struct hist_op *s = &k->h->op[stat];

	k->out->stat = k->out->evidence = stat;
	k->out->bytes = most(k, stat);
	if (s->value > k->out->bytes)
		return false;
	for (uint32_t i = 0; i < k->h->ops; i++) {
		const struct hist_op *o = &k->h->op[i];
		uint64_t bytes = size_of(k, o);

		if (o->file != s->file || k->returned[i] > k->begun[stat] || bytes <= s->value ||
		    (!is_write(o) && o->type != HIST_STAT) || may_be_cut(k, i, stat, bytes) ||
		    may_be_lost(k, i, stat, bytes))
			continue;
		k->out->evidence = i;
		k->out->bytes = bytes;
		return false;
	}
	return true;
}

bool sizes_check(const struct history *h, struct size_report *out)
{
	struct check k = {.h = h, .out = out};
	bool good = true;

	k.begun = mem_new_array(h->ops + 1, sizeof(*k.begun));
	k.returned = mem_new_array(h->ops + 1, sizeof(*k.returned));
	history_stamps(h, k.begun, k.returned);
	for (uint32_t i = 0; i < h->ops && good; i++) {
		if (h->op[i].type == HIST_STAT && k.returned[i] != NEVER)
			good = check_stat(&k, i);
	}
	mem_free(k.begun);
	mem_free(k.returned);
	return good;
}
