/* The register checker must be able to fail: hand-made histories that break a promise, each beside
 * one that keeps it. A history is a string of steps, by client and in order:
 *   "w1=5"   client 1 is told that it wrote 5        "(1w5" begins only, ")1" ends, "!1" fails
 *   "r2=5"   client 2 reads 5                        "(2r5" begins a read that will return 5
 *   "s1"     client 1's sync succeeds                "W1=5" a synchronous write
 *   "x1"     the mount of client 1 crashes           "t" takeover
 *   "o1"     client 1 opens a new handle
 * Clients 1-3 are on mount 1, 4-6 on mount 2, 7-9 on mount 3. */

#include "tests/sim/check_register.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_OPS 64

struct history {
	struct register_op op[MAX_OPS];
	struct register_event event[2 * MAX_OPS];
	unsigned ops, events;
	uint32_t under_way[10], opened[10];
};

static void event(struct history *h, enum register_event_type type, uint32_t op)
{
	h->event[h->events] = (struct register_event){type, op, h->events + 1};
	h->events++;
}

static void op_begin(struct history *h, unsigned client, char type, uint64_t value)
{
	struct register_op *o = &h->op[h->ops];

	*o = (struct register_op){.mount = (client + 2) / 3, .value = value, .opened = h->opened[client]};
	o->type = type == 'r' ? REG_READ : type == 's' ? REG_SYNC : REG_WRITE;
	o->sync = type == 'W';
	h->under_way[client] = h->ops;
	event(h, REG_INVOKE, h->ops++);
}

static void step(struct history *h, const char *s)
{
	unsigned client = s[0] == '(' ? (unsigned)(s[1] - '0') : s[1] ? (unsigned)(s[1] - '0') : 0;

	switch (s[0]) {
	case '(':
		op_begin(h, client, s[2], strtoull(s + 3, NULL, 10));
		return;
	case ')':
		event(h, REG_RETURN, h->under_way[client]);
		return;
	case '!':
		event(h, REG_FAIL, h->under_way[client]);
		return;
	case 'x':
		event(h, REG_CRASH, (client + 2) / 3);
		return;
	case 't':
		event(h, REG_TAKEOVER, 0);
		return;
	case 'o':
		h->opened[client] = h->events + 1;
		return;
	default:
		op_begin(h, client, s[0], s[1] && s[2] ? strtoull(s + 3, NULL, 10) : 0);
		event(h, REG_RETURN, h->under_way[client]);
	}
}

static enum register_verdict verdict(const char *text)
{
	struct history h = {0};
	struct register_report report;
	char word[16];
	int used;

	for (; sscanf(text, "%15s%n", word, &used) == 1; text += used)
		step(&h, word);
	return register_check(h.op, h.ops, h.event, h.events, &report);
}

#define HOLDS(text) cr_expect_eq(verdict(text), REG_OK, "should hold: %s", text)
#define BROKEN(text) cr_expect_eq(verdict(text), REG_VIOLATION, "should be found: %s", text)

/* P3: a read returns the newest completed write. */
Test(register, sequential_reads)
{
	HOLDS("r1=0 w1=5 r4=5 w4=6 r1=6 r7=6");
	BROKEN("w1=5 r4=0");
	BROKEN("w1=5 w4=6 r7=5");
	BROKEN("r1=5");
}

/* P3: while writes overlap any order is right, but one order for all. */
Test(register, concurrent_writes_have_one_order)
{
	HOLDS("(1w5 (4w6 )1 )4 r1=5");
	HOLDS("(1w5 (4w6 )1 )4 r1=6 r7=6");
	HOLDS("(1w5 (4w6 r7=5 r7=6 )1 )4 r1=6");
	HOLDS("(1w5 (4w6 r7=6 )1 )4 r1=5 r1=5");
	BROKEN("(1w5 (4w6 )1 )4 r1=5 r7=6 r1=5");
	BROKEN("(1w5 (4w6 )1 )4 r1=0");
	BROKEN("(1w5 )1 (4w6 )4 r7=5");
	BROKEN("(1w5 (4w6 r7=5 r8=6 r9=5 )1 )4");
}

/* P3: a read that overlaps a write may return old or new, but not go back. */
Test(register, reads_overlapping_a_write)
{
	HOLDS("w1=1 (1w5 r4=1 r4=5 )1 r4=5");
	BROKEN("w1=1 (1w5 r4=5 r4=1 )1");
	HOLDS("w1=1 (4r1 w1=5 r7=5 )4");
	HOLDS("(1w5 (4r5 w2=6 )4 )1 r7=6");
	HOLDS("w1=1 (4r1 w1=5 w1=6 w1=7 )4");
	BROKEN("w1=1 w1=5 (4r1 )4");
}

/* A failed write may have happened while it ran; never later. */
Test(register, failed_writes_are_optional)
{
	HOLDS("w1=1 (1w5 !1 r4=1");
	HOLDS("w1=1 (1w5 !1 r4=5 r7=5");
	BROKEN("w1=1 (1w5 !1 r4=1 r7=5");
	HOLDS("w1=1 (1w5 w4=6 !1 r4=6");
}

/* P1: what was synced survives; P4: what was not may be missing, once. */
Test(register, crash_keeps_a_prefix)
{
	HOLDS("w1=5 x1 t r4=0 r7=0");
	HOLDS("w1=5 x1 t r4=5 r7=5");
	BROKEN("w1=5 s1 x1 t r4=0");
	BROKEN("W1=5 x1 t r4=0");
	HOLDS("w1=1 w1=2 w1=3 x1 t r4=2");
	BROKEN("w1=1 w1=2 s1 w1=3 x1 t r4=1");
	BROKEN("w1=5 x1 t r4=0 r7=5");
	BROKEN("w1=5 x1 t r4=5 r7=0");
}

/* Trap A1: the lost write comes back with the next takeover. */
Test(register, lost_writes_stay_lost)
{
	BROKEN("w1=5 x1 t r4=0 x4 t r7=5");
	HOLDS("w1=5 x1 t x4 t r7=5");
	HOLDS("w1=5 x1 t r4=5 w4=6 x4 t r7=5");
	BROKEN("w1=5 x1 t r4=5 w4=6 x4 t r7=0");
}

/* Without a takeover nothing is lost, crash or not. */
Test(register, only_a_takeover_takes_back)
{
	BROKEN("w1=5 x1 r4=0");
	BROKEN("w1=5 r1=0");
	HOLDS("w1=5 r1=5 x1 t r4=0");
}

/* What another mount read never goes back. */
Test(register, read_elsewhere_is_safe)
{
	BROKEN("w1=5 r4=5 x1 t r7=0");
	HOLDS("w1=5 r4=5 w1=6 x1 t r7=5");
}

/* A sync covers the writes of its own mount that were acknowledged before it began. */
Test(register, sync_covers_what_came_before)
{
	HOLDS("(1s0 w2=5 )1 x1 t r4=0");
	BROKEN("w2=5 s1 x1 t r4=0");
	HOLDS("w1=5 (1s0 !1 x1 t r4=0");
}

/* A write in flight at the crash may arrive until the takeover, not after it. */
Test(register, in_flight_until_the_takeover)
{
	HOLDS("(1w5 x1 t r4=5 r7=5");
	HOLDS("(1w5 x1 t r4=0");
	BROKEN("(1w5 x1 t r4=0 t r7=5");
}

/* Trap A9: no success through a handle whose writes were dropped. */
Test(register, lost_handles_stay_lost)
{
	BROKEN("w1=5 t r4=0 s1");
	BROKEN("w1=5 t r4=0 s2");
	HOLDS("w1=5 t r4=0 (1s0 !1 o1 s1 r1=0");
	HOLDS("w1=5 t r4=5 s1 r1=5");
	BROKEN("w1=5 t r4=0 r1=0");
	HOLDS("w1=5 t r4=0 r7=0");
}

/* P2: a flush under way at the takeover succeeds only if the takeover kept what it flushes. */
Test(register, flush_across_a_takeover)
{
	BROKEN("w1=5 (1s0 t r4=0 )1");
	HOLDS("w1=5 (1s0 t r4=5 )1");
	HOLDS("w1=5 (1s0 t r4=0 !1");
	BROKEN("w1=5 (1W6 t r4=0 )1");
}

/* Zeros come from many places (holes, punches, the start): values need not be unique. */
Test(register, zeros_are_ordinary_values)
{
	HOLDS("w1=5 w1=0 r4=0 w4=6 r7=6");
	BROKEN("w1=5 w1=0 w1=6 r4=0");
	HOLDS("w1=5 (1w0 (4w0 r7=0 )1 )4 r7=0");
}
