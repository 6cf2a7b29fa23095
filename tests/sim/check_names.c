#include "tests/sim/check_names.h"

#include "common/base/mem.h"

#define SLOTS_MAX 64
#define STATES_MAX 8192
#define INO_UNKNOWN_BASE ((uint64_t)1 << 63) /* inode of a create whose answer was lost: plus op */

struct state {
	uint64_t done;           /* slots of changes under way that have taken effect */
	uint64_t seen;           /* slots of answers without a change that were true meanwhile */
	uint64_t ino[NAMES_MAX];
};

struct set {
	struct state *s;
	unsigned n;
};

struct slot {
	bool used;
	bool unknown;            /* outcome never learned */
	uint32_t op;
};

struct check {
	const struct name_op *ops;
	struct slot slot[SLOTS_MAX];
	unsigned slots;          /* highest used + 1 */
	struct set now, next;
	bool gave_up;
};

static void emit(struct check *c, struct set *to, const struct state *s)
{
	for (unsigned i = 0; i < to->n; i++) {
		if (memcmp(&to->s[i], s, sizeof(*s)) == 0)
			return;
	}
	if (to->n == STATES_MAX) {
		c->gave_up = true;
		return;
	}
	to->s[to->n++] = *s;
}

static bool is_change(const struct slot *t, const struct name_op *op)
{
	return t->unknown || (op->type != NAME_LOOKUP && op->outcome == NAME_OK);
}

/* Inodes of creates without an answer match any inode that a lookup shows for the first time. */
static bool shows(const struct state *s, unsigned name, uint64_t ino)
{
	if (s->ino[name] >= INO_UNKNOWN_BASE)
		return ino != 0;
	return s->ino[name] == ino;
}

/* True if the answer (of an op that changed nothing) fits this state. */
static bool fits(const struct name_op *op, const struct state *s)
{
	switch (op->outcome) {
	case NAME_OK:
		return shows(s, op->name, op->ino);
	case NAME_ABSENT:
		return s->ino[op->name] == 0;
	case NAME_EXISTS:
		return s->ino[op->type == NAME_RENAME ? op->to : op->name] != 0;
	}
	return false;
}

static void satisfy(const struct check *c, struct state *s)
{
	for (unsigned i = 0; i < c->slots; i++) {
		const struct slot *t = &c->slot[i];

		if (t->used && !is_change(t, &c->ops[t->op]) && fits(&c->ops[t->op], s))
			s->seen |= 1ULL << i;
	}
}

/* Applies the change in slot i; false if it could not have succeeded in this state. */
static bool apply(const struct check *c, struct state *s, unsigned i)
{
	const struct name_op *op = &c->ops[c->slot[i].op];

	switch (op->type) {
	case NAME_CREATE:
		if (s->ino[op->name])
			return false;
		s->ino[op->name] = op->ino ? op->ino : INO_UNKNOWN_BASE + c->slot[i].op;
		break;
	case NAME_UNLINK:
		if (!s->ino[op->name])
			return false;
		s->ino[op->name] = 0;
		break;
	case NAME_RENAME:
		if (!s->ino[op->name])
			return false;
		s->ino[op->to] = s->ino[op->name];
		s->ino[op->name] = 0;
		break;
	case NAME_LOOKUP:
		return false;
	}
	s->done |= 1ULL << i;
	satisfy(c, s);
	return true;
}

static bool finished(const struct check *c, const struct state *s, unsigned slot)
{
	const struct slot *t = &c->slot[slot];

	return ((is_change(t, &c->ops[t->op]) ? s->done : s->seen) >> slot) & 1;
}

/* All states in which the op in `slot` has happened: those of now, or after some order of changes
 * under way. */
static void search(struct check *c, unsigned slot)
{
	static struct state work[STATES_MAX];
	struct set reached = {work, 0};

	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++)
		emit(c, finished(c, &c->now.s[k], slot) ? &c->next : &reached, &c->now.s[k]);
	for (unsigned k = 0; k < reached.n && !c->gave_up; k++) {
		for (unsigned i = 0; i < c->slots; i++) {
			const struct slot *t = &c->slot[i];
			struct state s = reached.s[k];

			if (!t->used || ((s.done >> i) & 1) || !is_change(t, &c->ops[t->op]) ||
			    !apply(c, &s, i))
				continue;
			emit(c, finished(c, &s, slot) ? &c->next : &reached, &s);
		}
	}
}

static void swap(struct check *c)
{
	struct set t = c->now;

	c->now = c->next;
	c->next = t;
}

static void forget_slot(struct check *c, unsigned slot)
{
	c->slot[slot].used = false;
	c->next.n = 0;
	for (unsigned k = 0; k < c->now.n; k++) {
		struct state s = c->now.s[k];

		s.done &= ~(1ULL << slot);
		s.seen &= ~(1ULL << slot);
		emit(c, &c->next, &s);
	}
	swap(c);
}

static void begin(struct check *c, uint32_t op)
{
	unsigned i = 0;

	while (i < SLOTS_MAX && c->slot[i].used)
		i++;
	if (i == SLOTS_MAX) {
		c->gave_up = true;
		return;
	}
	c->slot[i] = (struct slot){.used = true, .op = op};
	c->slots = MAX(c->slots, i + 1);
	for (unsigned k = 0; k < c->now.n; k++)
		satisfy(c, &c->now.s[k]);
}

static unsigned slot_of(const struct check *c, uint32_t op)
{
	unsigned i = 0;

	while (i < c->slots && !(c->slot[i].used && c->slot[i].op == op))
		i++;
	CHECK(i < c->slots);
	return i;
}

/* An unknown outcome is settled: it happened by now, or never. */
static void settle(struct check *c, unsigned slot)
{
	search(c, slot);
	for (unsigned k = 0; k < c->now.n; k++)
		emit(c, &c->next, &c->now.s[k]);
	swap(c);
	forget_slot(c, slot);
}

static void step(struct check *c, const struct name_event *e)
{
	unsigned slot;

	switch (e->type) {
	case NAME_INVOKE:
		begin(c, e->op);
		break;
	case NAME_RETURN:
		slot = slot_of(c, e->op);
		search(c, slot);
		swap(c);
		forget_slot(c, slot);
		break;
	case NAME_UNKNOWN:
		slot = slot_of(c, e->op);
		if (c->ops[e->op].type == NAME_LOOKUP)
			forget_slot(c, slot);
		else
			c->slot[slot].unknown = true;
		break;
	case NAME_RETIRE:
		for (unsigned i = 0; i < c->slots; i++) {
			if (c->slot[i].used && c->slot[i].unknown && c->ops[c->slot[i].op].mount == e->op)
				settle(c, i);
		}
		break;
	}
}

enum name_verdict names_check(const struct name_op *ops, unsigned n_ops,
                              const struct name_event *events, unsigned n_events,
                              struct name_report *report)
{
	static struct state a[STATES_MAX], b[STATES_MAX];
	struct check c = {.ops = ops, .now = {a, 1}, .next = {b, 0}};

	memset(&a[0], 0, sizeof(a[0]));
	*report = (struct name_report){0};
	for (unsigned i = 0; i < n_events; i++) {
		CHECK(events[i].type == NAME_RETIRE || events[i].op < n_ops);
		step(&c, &events[i]);
		report->states_max = MAX(report->states_max, c.now.n);
		report->event = i;
		if (c.gave_up)
			return NAMES_GAVE_UP;
		if (c.now.n == 0)
			return NAMES_VIOLATION;
	}
	return NAMES_OK;
}
