/* Core servers that forget (trap A8): a disk that went back to an old image shows itself by a start
 * counter and journal position below those that its heartbeats showed before.
 *
 * The leader logs positions that rose, those of all servers together and at most every SHOWN_EVERY,
 * and answers such a heartbeat once that is applied: what an answered heartbeat showed outlives
 * leaders and power cuts. A log that takes long must not fence anybody: a heartbeat is answered
 * after SHOWN_WAIT all the same. */
#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#define SHOWN_EVERY (200 * NSEC_MSEC)
#define SHOWN_WAIT NSEC_SEC

/* The furthest that one life of a core server showed. */
struct shown {
	UT_hash_handle hh;
	server_id_t server;
	uint64_t boot, start, journal;
};

static struct shown *find(struct hint *h, server_id_t server)
{
	struct shown *s;

	HASH_FIND(hh, h->shown, &server, sizeof(server), s);
	return s;
}

static bool remembered(struct hint *h, const struct shown *s)
{
	struct catalog_server c;

	/* A life that was succeeded by another was compared then. */
	return !catalog_server(h->catalog, s->server, &c) || c.boot != s->boot ||
	       (s->start <= c.start && s->journal <= c.journal);
}

bool shown_note(struct hint *h, const struct catalog_session *c, const struct beat *b)
{
	struct shown *s = find(h, c->server);

	if (!s) {
		s = mem_new(sizeof(*s));
		s->server = c->server;
		HASH_ADD(hh, h->shown, server, sizeof(s->server), s);
	}
	if (s->boot != c->boot)
		s->start = s->journal = 0;
	s->boot = c->boot;
	s->start = MAX(s->start, b->hb.start);
	s->journal = MAX(s->journal, b->hb.journal);
	if (remembered(h, s))
		return true;
	h->shown_due = true;
	hint_wake(h, b->arrived + SHOWN_WAIT);
	return hint_now(h) >= b->arrived + SHOWN_WAIT;
}

void shown_log(struct hint *h)
{
	struct msg op = {.type = MSG_TYPE_op_shown};
	struct shown *s, *tmp;
	uint8_t *bytes, *p;

	/* An entry more is also what a catalog needs that is busy marking. */
	if ((!h->shown_due && !catalog_refilling(h->catalog)) || h->shown_logging)
		return;
	if (hint_now(h) < h->shown_next) {
		hint_wake(h, h->shown_next);
		return;
	}
	p = bytes = mem_new(HASH_COUNT(h->shown) * CATALOG_SHOWN_BYTES + 1);
	HASH_ITER(hh, h->shown, s, tmp) {
		if (remembered(h, s))
			continue;
		put_u32le(p, s->server);
		put_u64le(p + 4, s->boot);
		put_u64le(p + 12, s->start);
		put_u64le(p + 20, s->journal);
		p += CATALOG_SHOWN_BYTES;
	}
	h->shown_due = false;
	if (p > bytes || catalog_refilling(h->catalog)) {
		op.op_shown.slot = 0xffff;
		op.op_shown.shown = (struct span){bytes, (uint32_t)(p - bytes)};
		h->shown_logging = true;
		h->shown_next = hint_now(h) + SHOWN_EVERY;
		requests_internal(h, &op);
	}
	mem_free(bytes);
}

void shown_logged(struct hint *h)
{
	h->shown_logging = false;
}

/* What this leader has not logged yet; the catalog compares the rest, and knows other disks. */
bool shown_more(struct hint *h, const struct msg_op_session *op)
{
	struct shown *s = find(h, op->server);
	struct catalog_server c;

	/* A process forgets nothing while it lives: its registration may only be late. */
	if (!s || op->kind != SERVER_CORE || op->boot == s->boot || op->start <= 1)
		return false;
	if (!catalog_server(h->catalog, op->server, &c) || c.boot != s->boot || c.disk != op->disk)
		return false;
	if (op->start >= s->start && op->journal >= s->journal)
		return false;
	TRACE("shown.refused server start journal was", op->server, op->start, op->journal,
	      s->journal);
	return true;
}

void shown_clear(struct hint *h)
{
	struct shown *s, *tmp;

	HASH_ITER(hh, h->shown, s, tmp) {
		HASH_DEL(h->shown, s);
		mem_free(s);
	}
	h->shown_due = h->shown_logging = false;
	h->shown_next = 0;
}
