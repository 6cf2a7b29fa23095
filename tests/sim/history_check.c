/* The checkers of contents and names over the history of a run. */
#include "tests/sim/history.h"

#include "common/base/mem.h"
#include "tests/sim/check_prefix.h"
#include "tests/sim/check_register.h"
#include "tests/sim/check_sizes.h"
#include "tests/sim/world.h"

struct history_stats history_stats;

/* --- contents: one register per unit --- */

struct scratch {
	struct register_op *op;
	struct register_event *event;
	uint32_t *index;     /* op of the history -> op of the register, plus 1 */
	unsigned ops, events;
	bool touched;
};

static void take_op(const struct history *h, struct scratch *s, uint32_t i, uint32_t unit)
{
	const struct hist_op *o = &h->op[i];
	struct register_op *r = &s->op[s->ops];

	*r = (struct register_op){.mount = o->mount, .sync = o->sync, .opened = o->opened, .tag = i};
	switch (o->type) {
	case HIST_READ:
		r->type = REG_READ;
		r->value = o->values ? o->values[unit - o->unit] : 0;
		break;
	case HIST_WRITE:
		r->type = REG_WRITE;
		r->value = o->value;
		break;
	case HIST_SYNC:
		r->type = REG_SYNC;
		break;
	case HIST_STAT:
		CHECK(!"no unit is concerned");
		break;
	}
	s->touched |= o->type != HIST_SYNC;
	s->index[i] = ++s->ops;
}

static bool concerns(const struct hist_op *o, uint32_t file, uint32_t unit)
{
	if (o->file != file)
		return false;
	return o->type == HIST_SYNC || (unit >= o->unit && unit < o->unit + o->units);
}

static void add(struct scratch *s, enum register_event_type type, uint32_t arg, uint32_t stamp)
{
	s->event[s->events++] = (struct register_event){type, arg, stamp};
}

static void collect(const struct history *h, struct scratch *s, uint32_t file, uint32_t unit)
{
	s->ops = s->events = 0;
	s->touched = false;
	for (uint32_t i = 0; i < h->events; i++) {
		const struct hist_event *e = &h->event[i];

		switch (e->type) {
		case HIST_INVOKE:
			if (!concerns(&h->op[e->arg], file, unit))
				break;
			take_op(h, s, e->arg, unit);
			add(s, REG_INVOKE, s->index[e->arg] - 1, i);
			break;
		case HIST_RETURN:
		case HIST_FAIL:
			if (concerns(&h->op[e->arg], file, unit))
				add(s, e->type == HIST_RETURN ? REG_RETURN : REG_FAIL,
				    s->index[e->arg] - 1, i);
			break;
		case HIST_CRASH:
			add(s, REG_CRASH, e->arg, i);
			break;
		case HIST_TAKEOVER:
			if (e->arg == file)
				add(s, REG_TAKEOVER, 0, i);
			break;
		}
	}
}

/* Events around the violation, oldest first: what a reader needs to see why. */
static void print_register(const struct history *h, const struct scratch *s, struct world *w,
                           uint32_t until)
{
	static const char *const event[] = {"begin", "end", "fail", "crash of mount", "takeover"};
	static const char *const op[] = {"read", "write", "sync"};
	unsigned from = until > 60 ? until - 60 : 0;

	for (unsigned i = from; i <= until && w->tracing != TRACING_OFF; i++) {
		const struct register_event *e = &s->event[i];
		const struct hist_op *o;

		if (e->type == REG_CRASH || e->type == REG_TAKEOVER) {
			world_trace(w, "  %s %u", event[e->type], e->op);
			continue;
		}
		o = &h->op[s->op[e->op].tag];
		world_trace(w, "  %s %s %" PRIu64 " client %u mount %x op %u at %" PRId64 " us rc %d",
		            event[e->type], op[o->type], s->op[e->op].value, o->client, o->mount,
		            s->op[e->op].tag,
		            (e->type == REG_INVOKE ? o->begun : o->ended) / 1000, o->rc);
	}
}

/* An append that got no answer may have gone anywhere: where a read shows its value. */
static void place_append(struct history *h, const struct hist_op *read, uint32_t unit, uint64_t value,
                         struct world *w)
{
	for (uint32_t i = 0; i < h->ops; i++) {
		struct hist_op *o = &h->op[i];

		if (o->type != HIST_WRITE || o->file != read->file || o->value != value)
			continue;
		if (o->units == 0) {
			o->unit = unit;
			o->units = 1;
		} else if (o->unit != unit) {
			world_fail(w, "P3: append of %" PRIu64 " to file %u went to unit %u and is read at"
			           " unit %u", value, read->file, o->unit, unit);
		}
		return;
	}
}

static void place_appends(struct history *h, struct world *w)
{
	for (uint32_t i = 0; i < h->ops; i++) {
		const struct hist_op *o = &h->op[i];

		if (o->type != HIST_READ || !h->file[o->file].append || !o->values)
			continue;
		for (uint32_t k = 0; k < o->units; k++) {
			if (o->values[k])
				place_append(h, o, o->unit + k, o->values[k], w);
		}
	}
}

/* True if the append's bytes cannot have been taken back before `stamp`. */
static bool stays(const struct history *h, uint32_t op, uint32_t stamp)
{
	const struct hist_op *o = &h->op[op];
	uint32_t returned = UINT32_MAX;

	if (o->sync)
		return true;
	for (uint32_t i = 0; i < stamp; i++) {
		const struct hist_event *e = &h->event[i];

		if (e->type == HIST_RETURN && e->arg == op)
			returned = i;
		if (e->type == HIST_TAKEOVER && e->arg == o->file)
			return false; /* nobody synced it before */
		if (e->type == HIST_INVOKE && returned < i && h->op[e->arg].type == HIST_SYNC &&
		    h->op[e->arg].mount == o->mount && h->op[e->arg].file == o->file &&
		    h->op[e->arg].rc == 0 && h->op[e->arg].ended != NSEC_NEVER)
			return true;
	}
	return returned != UINT32_MAX;
}

/* Two appends that succeeded never share a place, unless the first was lost in between. */
static void check_appends(struct history *h, struct world *w)
{
	uint32_t *returned = mem_new_array(h->ops + 1, sizeof(*returned));

	for (uint32_t i = 0; i < h->events; i++) {
		const struct hist_event *e = &h->event[i];

		if (e->type == HIST_RETURN)
			returned[e->arg] = i;
	}
	for (uint32_t a = 0; a < h->ops; a++) {
		const struct hist_op *o = &h->op[a];

		if (o->type != HIST_WRITE || !h->file[o->file].append || o->ended == NSEC_NEVER || o->rc)
			continue;
		for (uint32_t b = a + 1; b < h->ops; b++) {
			const struct hist_op *p = &h->op[b];

			if (p->type == HIST_WRITE && p->file == o->file && p->ended != NSEC_NEVER &&
			    !p->rc && p->unit == o->unit &&
			    stays(h, returned[a] < returned[b] ? a : b, MAX(returned[a], returned[b])))
				world_fail(w, "P3: appends %" PRIu64 " and %" PRIu64 " both went to unit %u of"
				           " file %u", o->value, p->value, o->unit, o->file);
		}
	}
	mem_free(returned);
}

static void check_unit(struct history *h, struct scratch *s, struct world *w, uint32_t file,
                       uint32_t unit)
{
	struct register_report report;
	const struct hist_op *o;

	collect(h, s, file, unit);
	if (!s->touched)
		return;
	history_stats.registers++;
	switch (register_check(s->op, s->ops, s->event, s->events, &report)) {
	case REG_OK:
		break;
	case REG_GAVE_UP:
		history_stats.gave_up++;
		break;
	case REG_VIOLATION:
		print_register(h, s, w, report.event);
		o = &h->op[s->op[s->event[report.event].op].tag];
		world_fail(w, "P1/P3/P4: file %u unit %u: %s by client %u at %" PRId64 "-%" PRId64
		           " ms got %" PRIu64 ", possible were %s",
		           file, unit, o->type == HIST_READ ? "read" : o->type == HIST_SYNC ? "sync" : "write",
		           o->client, o->begun / NSEC_MSEC, o->ended / NSEC_MSEC,
		           s->op[s->event[report.event].op].value, report.text);
		break;
	}
	history_stats.states_max = MAX(history_stats.states_max, report.states_max);
}

static void check_prefix(struct history *h, struct world *w)
{
	struct prefix_report r;

	if (!prefix_check(h, &r))
		world_fail(w, "P4: file %u: write %" PRIu64 " survived a takeover and write %" PRIu64 ", done"
		           " before it in the same block, did not: read %u by client %u shows unit %u as"
		           " it was before", h->op[r.later].file, h->op[r.later].value,
		           h->op[r.earlier].value, r.read, h->op[r.read].client, r.unit);
}

static void check_sizes(struct history *h, struct world *w)
{
	struct size_report r;
	const struct hist_op *s, *e;

	if (sizes_check(h, &r))
		return;
	s = &h->op[r.stat];
	e = &h->op[r.evidence];
	if (r.evidence == r.stat)
		world_fail(w, "P3: file %u: stat %u by client %u tells %" PRIu64 " bytes, nobody made more"
		           " than %" PRIu64, s->file, r.stat, s->client, s->value, r.bytes);
	else
		world_fail(w, "P3/P4: file %u: stat %u by client %u tells %" PRIu64 " bytes, after %s %u by"
		           " client %u it had %" PRIu64, s->file, r.stat, s->client, s->value,
		           e->type == HIST_STAT ? "stat" : "write", r.evidence, e->client, r.bytes);
}

static void check_names(struct history *h, struct world *w)
{
	struct name_report report;
	const struct name_op *o;

	switch (names_check(h->name_op, h->name_ops, h->name_event, h->name_events, &report)) {
	case NAMES_OK:
		break;
	case NAMES_GAVE_UP:
		history_stats.gave_up++;
		break;
	case NAMES_VIOLATION:
		o = &h->name_op[h->name_event[report.event].op];
		world_fail(w, "P3: names: op %u (type %d, name %u, to %u, inode %" PRIu64 ", outcome %d)"
		           " by mount %x fits no order", h->name_event[report.event].op, (int)o->type,
		           o->name, o->to, o->ino, (int)o->outcome, o->mount);
		break;
	}
}

void history_check(struct history *h, struct world *w)
{
	struct scratch s = {0};

	s.op = mem_new_array(h->ops + 1, sizeof(*s.op));
	s.event = mem_new_array(h->events + 1, sizeof(*s.event));
	s.index = mem_new_array(h->ops + 1, sizeof(*s.index));
	history_stats.ops += h->ops + h->name_ops;
	place_appends(h, w);
	check_appends(h, w);
	for (unsigned f = 0; f < h->files; f++) {
		for (uint32_t u = 0; u < FILE_BYTES / h->file[f].unit_bytes && !w->failed; u++)
			check_unit(h, &s, w, f, u);
	}
	if (!w->failed)
		check_prefix(h, w);
	if (!w->failed)
		check_sizes(h, w);
	if (!w->failed)
		check_names(h, w);
	mem_free(s.op);
	mem_free(s.event);
	mem_free(s.index);
}
