/* How far core servers' heartbeats showed their journals: trap A8. */
#include "hint-server/catalog/internal.h"

static bool take(struct catalog *c, struct cursor *cur)
{
	server_id_t id = cursor_u32(cur);
	uint64_t boot = cursor_u64(cur), start = cursor_u64(cur), journal = cursor_u64(cur);
	struct server_record s;

	if (cur->bad)
		return false;
	/* Of the process that registered last; what an earlier one showed was compared then. */
	if (!server_load(c, id, &s) || s.kind != SERVER_CORE || s.boot != boot)
		return true;
	if (start > s.start || journal > s.journal) {
		s.start = MAX(s.start, start);
		s.journal = MAX(s.journal, journal);
		server_store(c, &s);
	}
	return true;
}

enum status op_shown(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	struct span shown = m->op_shown.shown;
	struct cursor cur = {shown.p, shown.len, false};

	(void)reply;
	if (shown.len % CATALOG_SHOWN_BYTES != 0)
		return STATUS_INVALID;
	while (cur.left > 0)
		if (!take(c, &cur))
			return STATUS_INVALID;
	return STATUS_OK;
}
