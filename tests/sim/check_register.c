/* States are kept as a set without duplicates. Writes of concurrent ops are put in order lazily:
 * a write is placed when it returns or when a read returned its value; then either as the newest,
 * or (it happened unseen) before a write that was placed since it began. That keeps the set small:
 * usually one state, a few while writes overlap or after a takeover. */

#include "tests/sim/check_register.h"

#include <stdio.h>

#include "common/base/mem.h"

#define ITEMS_MAX 40
#define SLOTS_MAX 64
#define STATES_MAX 2048
#define LOST_MAX 12
#define NO_OP UINT32_MAX

struct item {
	uint64_t value;
	uint32_t op;     /* NO_OP: the first, or what a takeover kept */
	uint32_t stamp;  /* event at which it was placed */
};

/* A write taken back by the takeover at `stamp`. */
struct lost {
	uint32_t op;
	uint32_t stamp;
};

struct state {
	uint64_t placed;  /* slots of writes under way that have taken effect */
	uint64_t seen;    /* slots of reads under way whose value was current meanwhile */
	unsigned n;
	unsigned n_lost;  /* the newest LOST_MAX are kept */
	struct lost lost[LOST_MAX];
	struct item item[ITEMS_MAX];
};

struct set {
	struct state *s;
	unsigned n;
};

struct slot {
	bool used, dead;   /* dead: its mount crashed; may take effect until a takeover */
	uint32_t op;
	uint32_t begun;
};

struct check {
	const struct register_op *ops;
	const struct register_event *events;
	unsigned n_events;
	uint32_t at;            /* event in progress */
	uint32_t *returned;     /* per op: event of its return, NO_OP before */
	uint32_t *begun;
	struct slot slot[SLOTS_MAX];
	struct set now, next;
	bool gave_up;
};

static uint64_t current(const struct state *s)
{
	return s->item[s->n - 1].value;
}

static bool same(const struct state *a, const struct state *b)
{
	if (a->placed != b->placed || a->seen != b->seen || a->n != b->n || a->n_lost != b->n_lost)
		return false;
	if (memcmp(a->lost, b->lost, a->n_lost * sizeof(a->lost[0])) != 0)
		return false;
	return memcmp(a->item, b->item, a->n * sizeof(a->item[0])) == 0;
}

static void emit(struct check *c, const struct state *s)
{
	for (unsigned i = 0; i < c->next.n; i++) {
		if (same(&c->next.s[i], s))
			return;
	}
	if (c->next.n == STATES_MAX) {
		c->gave_up = true;
		return;
	}
	c->next.s[c->next.n++] = *s;
}

/* Reads under way see what is current now. */
static void satisfy(const struct check *c, struct state *s)
{
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		const struct slot *t = &c->slot[i];

		if (t->used && c->ops[t->op].type == REG_READ && c->ops[t->op].value == current(s))
			s->seen |= 1ULL << i;
	}
}

static void insert(struct check *c, struct state *s, unsigned at, uint64_t value, uint32_t op)
{
	if (s->n == ITEMS_MAX) {
		c->gave_up = true;
		return;
	}
	memmove(&s->item[at + 1], &s->item[at], (s->n - at) * sizeof(s->item[0]));
	s->item[at] = (struct item){value, op, c->at};
	s->n++;
}

/* All ways in which a write under way may have happened by now. `since`: only orders in which its
 * value was current at some moment after this event, and `mark` (slots) has seen it. */
static void place(struct check *c, const struct state *s, unsigned slot, uint32_t since, uint64_t mark)
{
	const struct slot *t = &c->slot[slot];
	uint32_t from = MAX(t->begun, since);
	struct state new = *s;

	insert(c, &new, new.n, c->ops[t->op].value, t->op);
	new.placed |= 1ULL << slot;
	new.seen |= mark;
	satisfy(c, &new);
	emit(c, &new);
	for (unsigned i = s->n; i-- > 0 && s->item[i].stamp > from;) {
		new = *s;
		new.placed |= 1ULL << slot;
		new.seen |= mark;
		if (i > 0)
			insert(c, &new, i, c->ops[t->op].value, t->op);
		emit(c, &new);
	}
}

/* What lies before item `at` can not come back any more. */
static void make_safe(struct state *s, unsigned at)
{
	memmove(s->item, s->item + at, (s->n - at) * sizeof(s->item[0]));
	s->n -= at;
}

/* A sync that began at `begun` covers what the mount was told before that it had written. */
static void sync_mount(const struct check *c, struct state *s, uint32_t mount, uint32_t begun)
{
	for (unsigned i = s->n; i-- > 0;) {
		uint32_t op = s->item[i].op;

		if (op == NO_OP || c->ops[op].mount != mount || c->returned[op] > begun)
			continue;
		make_safe(s, i);
		return;
	}
}

static void sync_own(struct state *s, uint32_t op)
{
	for (unsigned i = s->n; i-- > 0;) {
		if (s->item[i].op == op) {
			make_safe(s, i);
			return;
		}
	}
}

/* Read through another mount: flushed at handover, never goes back. */
static void read_elsewhere(const struct check *c, struct state *s, const struct register_op *read)
{
	for (unsigned i = 0; i < s->n; i++) {
		uint32_t op = s->item[i].op;

		if (s->item[i].value != read->value)
			continue;
		if (op == NO_OP || c->ops[op].mount != read->mount)
			make_safe(s, i);
		return;
	}
}

static void begin(struct check *c, uint32_t op)
{
	unsigned i = 0;

	c->begun[op] = c->at;
	while (i < SLOTS_MAX && c->slot[i].used)
		i++;
	if (i == SLOTS_MAX) {
		c->gave_up = true;
		return;
	}
	c->slot[i] = (struct slot){.used = true, .op = op, .begun = c->at};
	for (unsigned k = 0; k < c->now.n; k++) {
		c->now.s[k].placed &= ~(1ULL << i);
		c->now.s[k].seen &= ~(1ULL << i);
		satisfy(c, &c->now.s[k]);
	}
	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++)
		emit(c, &c->now.s[k]);
}

/* True if the op cannot have succeeded in this state: it went through a handle that is lost, or it
 * is a flush (also one under way at the takeover) that says that what is lost is durable. */
static bool through_lost(const struct check *c, const struct state *s, uint32_t op)
{
	const struct register_op *o = &c->ops[op];
	bool flush = o->type == REG_SYNC || o->sync;

	for (unsigned i = 0; i < s->n_lost; i++) {
		uint32_t lost = s->lost[i].op, stamp = s->lost[i].stamp;

		if (c->ops[lost].mount == o->mount && c->returned[lost] < c->begun[op] &&
		    o->opened < stamp && (flush || stamp < c->events[c->begun[op]].stamp))
			return true;
	}
	return false;
}

static void drop_lost(struct check *c, uint32_t op)
{
	unsigned kept = 0;

	for (unsigned k = 0; k < c->now.n; k++) {
		if (!through_lost(c, &c->now.s[k], op))
			c->now.s[kept++] = c->now.s[k];
	}
	c->now.n = kept;
}

static void return_write(struct check *c, unsigned slot)
{
	uint64_t bit = 1ULL << slot;
	uint32_t op = c->slot[slot].op;

	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		if (c->now.s[k].placed & bit)
			emit(c, &c->now.s[k]);
		else
			place(c, &c->now.s[k], slot, 0, 0);
	}
	for (unsigned k = 0; c->ops[op].sync && k < c->next.n; k++) {
		sync_mount(c, &c->next.s[k], c->ops[op].mount, c->begun[op]);
		sync_own(&c->next.s[k], op);
	}
}

/* The value must have been current since the read began: by now, or by a write still under way. */
static void return_read(struct check *c, unsigned slot)
{
	const struct register_op *read = &c->ops[c->slot[slot].op];
	uint64_t bit = 1ULL << slot;

	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		const struct state *s = &c->now.s[k];

		if (s->seen & bit) {
			emit(c, s);
			continue;
		}
		for (unsigned i = 0; i < SLOTS_MAX; i++) {
			const struct slot *t = &c->slot[i];

			if (t->used && !(s->placed & (1ULL << i)) && c->ops[t->op].type == REG_WRITE &&
			    c->ops[t->op].value == read->value)
				place(c, s, i, c->slot[slot].begun, bit);
		}
	}
	for (unsigned k = 0; k < c->next.n; k++)
		read_elsewhere(c, &c->next.s[k], read);
}

static void return_sync(struct check *c, unsigned slot)
{
	uint32_t op = c->slot[slot].op;

	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		struct state s = c->now.s[k];

		sync_mount(c, &s, c->ops[op].mount, c->begun[op]);
		emit(c, &s);
	}
}

static bool read_later(const struct check *c, uint64_t value)
{
	for (unsigned i = c->at + 1; i < c->n_events; i++) {
		const struct register_event *e = &c->events[i];

		if (e->type == REG_RETURN && c->ops[e->op].type == REG_READ &&
		    c->ops[e->op].value == value)
			return true;
	}
	return false;
}

/* A write that failed: it happened, or it did not; what nobody ever saw need not be asked. */
static void fail_write(struct check *c, unsigned slot)
{
	uint64_t value = c->ops[c->slot[slot].op].value;
	bool matters = read_later(c, value);

	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		emit(c, &c->now.s[k]);
		if (matters && !(c->now.s[k].placed & (1ULL << slot)))
			place(c, &c->now.s[k], slot, 0, 0);
	}
}

static void release_slot(struct check *c, unsigned slot)
{
	c->slot[slot].used = false;
	for (unsigned k = 0; k < c->now.n; k++) {
		c->now.s[k].placed &= ~(1ULL << slot);
		c->now.s[k].seen &= ~(1ULL << slot);
	}
	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++)
		emit(c, &c->now.s[k]);
}

static void swap(struct check *c)
{
	struct set t = c->now;

	c->now = c->next;
	c->next = t;
}

static void end_op(struct check *c, uint32_t op, bool ok)
{
	unsigned slot = 0;

	while (slot < SLOTS_MAX && !(c->slot[slot].used && c->slot[slot].op == op))
		slot++;
	CHECK(slot < SLOTS_MAX);
	if (ok)
		drop_lost(c, op);
	switch (c->ops[op].type) {
	case REG_READ:
		if (ok) {
			return_read(c, slot);
			swap(c);
		}
		break;
	case REG_WRITE:
		if (ok)
			return_write(c, slot);
		else
			fail_write(c, slot);
		swap(c);
		break;
	case REG_SYNC:
		if (ok) {
			return_sync(c, slot);
			swap(c);
		}
		break;
	}
	c->returned[op] = ok ? c->at : NO_OP;
	release_slot(c, slot);
	swap(c);
}

/* Writes in flight of a dead mount may still reach the disks, until a takeover seals them. */
static void crash(struct check *c, uint32_t mount)
{
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		struct slot *t = &c->slot[i];

		if (!t->used || t->dead || c->ops[t->op].mount != mount)
			continue;
		if (c->ops[t->op].type == REG_WRITE && read_later(c, c->ops[t->op].value)) {
			t->dead = true;
			continue;
		}
		release_slot(c, i);
		swap(c);
	}
}

/* The takeover keeps `value`; of the state's items, those from `first_lost` on are taken back. */
static void keep(struct check *c, const struct state *s, uint64_t value, unsigned first_lost)
{
	struct state new = *s;

	new.n = 1;
	new.item[0] = (struct item){value, NO_OP, c->at};
	for (unsigned i = first_lost; i < s->n; i++) {
		if (s->item[i].op == NO_OP)
			continue;
		if (new.n_lost == LOST_MAX)
			memmove(new.lost, new.lost + 1, (--new.n_lost) * sizeof(new.lost[0]));
		new.lost[new.n_lost++] = (struct lost){s->item[i].op, c->events[c->at].stamp};
	}
	satisfy(c, &new);
	emit(c, &new);
}

static void take_over(struct check *c)
{
	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		const struct state *s = &c->now.s[k];

		for (unsigned i = 0; i < s->n; i++)
			keep(c, s, s->item[i].value, i + 1);
		for (unsigned i = 0; i < SLOTS_MAX; i++) {
			const struct slot *t = &c->slot[i];

			if (t->used && t->dead && !(s->placed & (1ULL << i)))
				keep(c, s, c->ops[t->op].value, s->n);
		}
	}
	swap(c);
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		if (c->slot[i].used && c->slot[i].dead) {
			release_slot(c, i);
			swap(c);
		}
	}
}

static void step(struct check *c, const struct register_event *e)
{
	switch (e->type) {
	case REG_INVOKE:
		begin(c, e->op);
		swap(c);
		break;
	case REG_RETURN:
		end_op(c, e->op, true);
		break;
	case REG_FAIL:
		end_op(c, e->op, false);
		break;
	case REG_CRASH:
		crash(c, e->op);
		break;
	case REG_TAKEOVER:
		take_over(c);
		break;
	}
}

static void describe(const struct check *c, char *out, size_t size)
{
	size_t len = 0;

	out[0] = 0;
	for (unsigned k = 0; k < c->now.n && k < 4 && len + 40 < size; k++) {
		const struct state *s = &c->now.s[k];

		len += (size_t)snprintf(out + len, size - len, "%s[", k ? " or " : "");
		for (unsigned i = 0; i < s->n && len + 30 < size; i++)
			len += (size_t)snprintf(out + len, size - len, "%s%" PRIu64, i ? " " : "",
			                        s->item[i].value);
		len += (size_t)snprintf(out + len, size - len, "]");
	}
}

static void start(struct check *c, unsigned n_ops)
{
	memset(c->returned, 0xff, n_ops * sizeof(*c->returned));
	memset(c->slot, 0, sizeof(c->slot));
	memset(&c->now.s[0], 0, sizeof(c->now.s[0]));
	c->now.n = 1;
	c->now.s[0].n = 1;
	c->now.s[0].item[0].op = NO_OP;
	c->gave_up = false;
}

static enum register_verdict run(struct check *c, struct register_report *report, uint32_t describe_at)
{
	for (c->at = 0; c->at < c->n_events; c->at++) {
		if (c->at == describe_at)
			describe(c, report->text, sizeof(report->text));
		step(c, &c->events[c->at]);
		report->states_max = MAX(report->states_max, c->now.n);
		if (c->gave_up)
			return REG_GAVE_UP;
		if (c->now.n == 0) {
			report->event = c->at;
			return REG_VIOLATION;
		}
	}
	return REG_OK;
}

enum register_verdict register_check(const struct register_op *ops, unsigned n_ops,
                                     const struct register_event *events, unsigned n_events,
                                     struct register_report *report)
{
	static struct state a[STATES_MAX], b[STATES_MAX];
	struct check c = {.ops = ops, .events = events, .n_events = n_events,
	                  .now = {a, 0}, .next = {b, 0}};
	enum register_verdict verdict;

	*report = (struct register_report){0};
	c.returned = mem_new_array(n_ops + 1, sizeof(*c.returned));
	c.begun = mem_new_array(n_ops + 1, sizeof(*c.begun));
	start(&c, n_ops);
	verdict = run(&c, report, UINT32_MAX);
	if (verdict == REG_VIOLATION) {
		start(&c, n_ops);
		verdict = run(&c, report, report->event);
	}
	mem_free(c.returned);
	mem_free(c.begun);
	return verdict;
}
