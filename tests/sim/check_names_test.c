/* The names checker must be able to fail. A history is a string of steps, by client and in order:
 *   "c1a=5"  client 1 created name a as inode 5     "c1a!"   it was told EEXIST
 *   "u1a"    unlinked                               "u1a-"   it was told ENOENT
 *   "m1ab"   renamed a to b                         "m1ab-"  ENOENT
 *   "l1a=5"  looked up: inode 5, or =0 absent
 *   "(1m1ab" begins only, ")1" returns, "?1" outcome unknown, "e1" client 1's mount is new */

#include "tests/sim/check_names.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_OPS 64

struct history {
	struct name_op op[MAX_OPS];
	struct name_event event[2 * MAX_OPS];
	unsigned ops, events;
	uint32_t under_way[10];
};

static void event(struct history *h, enum name_event_type type, uint32_t op)
{
	h->event[h->events++] = (struct name_event){type, op};
}

static unsigned op_begin(struct history *h, const char *s)
{
	struct name_op *o = &h->op[h->ops];
	unsigned client = (unsigned)(s[1] - '0');
	const char *rest = s + 3;

	*o = (struct name_op){.mount = client, .name = (uint8_t)(s[2] - 'a')};
	o->type = s[0] == 'c' ? NAME_CREATE : s[0] == 'u' ? NAME_UNLINK : s[0] == 'm' ? NAME_RENAME
	                                                                              : NAME_LOOKUP;
	if (o->type == NAME_RENAME)
		o->to = (uint8_t)(*rest++ - 'a');
	if (*rest == '=')
		o->ino = strtoull(rest + 1, NULL, 10);
	else if (*rest == '-')
		o->outcome = NAME_ABSENT;
	else if (*rest == '!')
		o->outcome = NAME_EXISTS;
	if (o->type == NAME_LOOKUP && o->ino == 0)
		o->outcome = NAME_ABSENT;
	h->under_way[client] = h->ops;
	event(h, NAME_INVOKE, h->ops++);
	return client;
}

static void step(struct history *h, const char *s)
{
	switch (s[0]) {
	case '(':
		op_begin(h, s + 2);
		return;
	case ')':
		event(h, NAME_RETURN, h->under_way[s[1] - '0']);
		return;
	case '?':
		event(h, NAME_UNKNOWN, h->under_way[s[1] - '0']);
		return;
	case 'e':
		event(h, NAME_RETIRE, (uint32_t)(s[1] - '0'));
		return;
	default:
		event(h, NAME_RETURN, h->under_way[op_begin(h, s)]);
	}
}

static enum name_verdict verdict(const char *text)
{
	struct history h = {0};
	struct name_report report;
	char word[16];
	int used;

	for (; sscanf(text, "%15s%n", word, &used) == 1; text += used)
		step(&h, word);
	return names_check(h.op, h.ops, h.event, h.events, &report);
}

#define HOLDS(text) cr_expect_eq(verdict(text), NAMES_OK, "should hold: %s", text)
#define BROKEN(text) cr_expect_eq(verdict(text), NAMES_VIOLATION, "should be found: %s", text)

/* One after the other: what POSIX says. */
Test(names, sequential)
{
	HOLDS("l1a=0 c1a=5 l2a=5 c2a! u1a l2a=0 u2a-");
	BROKEN("c1a=5 l2a=0");
	BROKEN("c1a=5 c2a=6");
	BROKEN("c1a=5 u2a-");
	BROKEN("c1a=5 u1a l2a=5");
	BROKEN("c1a! ");
}

/* Trap A14: after a rename was acknowledged nobody finds the old file. */
Test(names, rename_is_atomic)
{
	HOLDS("c1a=5 c1b=6 m1ab l2b=5 l2a=0");
	BROKEN("c1a=5 c1b=6 m1ab l2b=6");
	BROKEN("c1a=5 c1b=6 m1ab l2a=5");
	HOLDS("c1a=5 (1m1ab l2a=5 l2b=5 )1");
	BROKEN("c1a=5 (1m1ab l2b=5 l2a=5 )1");
	BROKEN("c1a=5 (1m1ab l2b=5 l2b=0 )1");
}

/* Two at once: exactly one succeeds. */
Test(names, concurrent_changes)
{
	HOLDS("(1c1a=5 (2c2a! )2 )1");
	BROKEN("(1c1a=5 (2c2a=6 )2 )1");
	HOLDS("(1c1a=5 (2c2a=6 (3u3a )2 )3 )1 l4a=5");
	HOLDS("c1a=5 (1u1a (2u2a- )1 )2");
	BROKEN("c1a=5 (1u1a (2u2a )1 )2");
}

/* Exactly once: a change without an answer happens once or never, and not in the next session. */
Test(names, unknown_outcomes)
{
	HOLDS("c1a=5 (1u1a ?1 l2a=5 l2a=0");
	BROKEN("c1a=5 (1u1a ?1 l2a=0 l2a=5");
	HOLDS("c1a=5 (1u1a ?1 e1 l2a=0");
	HOLDS("c1a=5 (1u1a ?1 e1 l2a=5");
	BROKEN("c1a=5 (1u1a ?1 e1 l2a=5 l2a=0");
	BROKEN("c1a=5 (1u1a ?1 l2a=0 c2a=6 l2a=0");
	HOLDS("(1c1a ?1 l2a=7");
}
