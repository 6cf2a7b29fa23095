#include "tests/sim/history.h"

#include "common/base/mem.h"

#define GROW(array, n, capacity) \
	do { \
		if ((n) == (capacity)) { \
			(capacity) = (capacity) ? 2 * (capacity) : 256; \
			(array) = mem_resize(array, capacity, sizeof(*(array))); \
		} \
	} while (0)

void history_fini(struct history *h)
{
	for (uint32_t i = 0; i < h->ops; i++)
		mem_free(h->op[i].values);
	mem_free(h->op);
	mem_free(h->event);
	mem_free(h->takeover);
	mem_free(h->name_op);
	mem_free(h->name_event);
	memset(h, 0, sizeof(*h));
}

uint32_t history_stamp(const struct history *h)
{
	return h->events;
}

static void add_event(struct history *h, enum hist_event_type type, uint32_t arg)
{
	GROW(h->event, h->events, h->events_capacity);
	h->event[h->events++] = (struct hist_event){type, arg};
}

uint32_t history_begin(struct history *h, const struct hist_op *op)
{
	GROW(h->op, h->ops, h->ops_capacity);
	h->op[h->ops] = *op;
	h->op[h->ops].ended = NSEC_NEVER;
	add_event(h, HIST_INVOKE, h->ops);
	return h->ops++;
}

void history_end(struct history *h, uint32_t op, int rc, nsec_t now)
{
	h->op[op].rc = rc;
	h->op[op].ended = now;
	add_event(h, rc == 0 ? HIST_RETURN : HIST_FAIL, op);
}

void history_crash(struct history *h, uint32_t mount)
{
	add_event(h, HIST_CRASH, mount);
}

void history_takeover(struct history *h, uint64_t ino, uint64_t epoch)
{
	for (unsigned i = 0; i < h->takeovers; i++) {
		if (h->takeover[i].ino == ino && h->takeover[i].epoch == epoch)
			return;
	}
	GROW(h->takeover, h->takeovers, h->takeovers_capacity);
	h->takeover[h->takeovers++] = (struct hist_takeover){ino, epoch};
	for (unsigned i = 0; i < h->files; i++) {
		if (h->file[i].ino == ino)
			add_event(h, HIST_TAKEOVER, i);
	}
}

uint32_t history_name_begin(struct history *h, const struct name_op *op)
{
	GROW(h->name_op, h->name_ops, h->name_ops_capacity);
	h->name_op[h->name_ops] = *op;
	history_name_event(h, NAME_INVOKE, h->name_ops);
	return h->name_ops++;
}

void history_name_event(struct history *h, enum name_event_type type, uint32_t op)
{
	GROW(h->name_event, h->name_events, h->name_events_capacity);
	h->name_event[h->name_events++] = (struct name_event){type, op};
}

void history_stamps(const struct history *h, uint32_t *begun, uint32_t *returned)
{
	memset(begun, 0xff, h->ops * sizeof(*begun));
	memset(returned, 0xff, h->ops * sizeof(*returned));
	for (uint32_t i = 0; i < h->events; i++) {
		if (h->event[i].type == HIST_INVOKE)
			begun[h->event[i].arg] = i;
		else if (h->event[i].type == HIST_RETURN)
			returned[h->event[i].arg] = i;
	}
}
