/* How far core servers' journals were, as their heartbeats showed, or as they acknowledged to a holder
 * who gave a lease back: trap A8. */
#include "hint-server/catalog/internal.h"

/* What a peer says: more than any disk writes meanwhile is no position. */
#define JOURNAL_AHEAD_MAX ((uint64_t)1 << 44)

/* A process that came before knew more than the disk had when the present one came: the disk forgot.
 * It counts as replaced: no session any more, until it is formatted. */
static void condemn(struct catalog *c, struct server_record *s)
{
	struct session_record session;

	s->flags |= CATALOG_SERVER_REFUSED;
	memmove(s->past_disk + 1, s->past_disk, sizeof(s->past_disk) - sizeof(s->past_disk[0]));
	s->past_disk[0] = s->disk;
	s->disk = s->boot = 0;
	server_store(c, s);
	if (session_load(c, s->session, &session))
		session_end(c, &session);
}

static bool take(struct catalog *c, struct cursor *cur)
{
	server_id_t id = cursor_u32(cur);
	uint64_t boot = cursor_u64(cur), start = cursor_u64(cur), journal = cursor_u64(cur);
	struct server_record s;

	if (cur->bad)
		return false;
	if (!server_load(c, id, &s) || s.kind != SERVER_CORE || journal > s.journal + JOURNAL_AHEAD_MAX)
		return true;
	if (s.boot != boot) {
		if (boot != 0 && s.past[0] == boot && journal > s.began)
			condemn(c, &s);
		return true;
	}
	if (start > s.start || journal > s.journal) {
		s.start = MAX(s.start, start);
		s.journal = MAX(s.journal, journal);
		server_store(c, &s);
	}
	return true;
}

enum status op_shown(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	(void)reply;
	return shown_take(c, m->op_shown.shown);
}

enum status shown_take(struct catalog *c, struct span shown)
{
	struct cursor cur = {shown.p, shown.len, false};

	if (shown.len % CATALOG_SHOWN_BYTES != 0)
		return STATUS_INVALID;
	while (cur.left > 0)
		if (!take(c, &cur))
			return STATUS_INVALID;
	return STATUS_OK;
}
