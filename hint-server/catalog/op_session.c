/* Sessions: how a server comes, is recognised, and goes. */
#include "hint-server/catalog/internal.h"

/* --- the end --- */

static void lose_slots(struct catalog *c, session_id_t s)
{
	struct key k = key2('r', s, 0);
	struct kv_span v;

	while (db_seek(c, &k, 9, &v))
		db_del(c, &k);
}

void session_end(struct catalog *c, const struct session_record *s)
{
	struct key k = key1('s', s->id);
	struct server_record server;
	uint64_t ino = 0;

	ending_add(c, s->id);
	while (db_next2(c, 'k', s->id, ino, &ino))
		locks_drop_session(c, ino, s->id);
	lose_slots(c, s->id);
	db_del(c, &k);
	c->meta.sessions--;
	meta_changed(c);
	if (server_load(c, s->server, &server)) {
		server.session = 0;
		server.ended = s->id;
		server.ended_index = c->index;
		server_store(c, &server);
	}
	if (c->watch && c->watch->session_ended)
		c->watch->session_ended(c->watch_ctx, s->id, s->server);
}

enum status op_session_end(struct catalog *c, const struct msg *op, struct catalog_reply *reply)
{
	struct session_record s;

	(void)reply;
	if (!session_load(c, op->op_session_end.ended, &s))
		return STATUS_NO_SESSION;
	session_end(c, &s);
	return STATUS_OK;
}

/* --- the beginning --- */

/* A counter that leaps would leave no room above it. */
#define STARTS_AHEAD_MAX ((uint64_t)1 << 32)

static bool copy_text(char *out, size_t size, struct span text)
{
	if (text.len >= size || (text.len > 0 && memchr(text.p, 0, text.len)))
		return false;
	memset(out, 0, size);
	if (text.len > 0)
		memcpy(out, text.p, text.len);
	return true;
}

/* By the configured name, else by the address: a site is an L3 network. 0: neither tells. */
static uint16_t find_site(const struct map *m, struct span name, const char *addr)
{
	char host[ADDR_TEXT_MAX], *end;

	for (unsigned i = 0; i < m->sites && name.len > 0; i++)
		if (strlen(m->site[i].name) == name.len &&
		    memcmp(m->site[i].name, name.p, name.len) == 0)
			return m->site[i].id;
	if (name.len > 0)
		return 0;
	memcpy(host, addr[0] == '[' ? addr + 1 : addr, strlen(addr) + (addr[0] != '['));
	end = strchr(host, addr[0] == '[' ? ']' : ':');
	if (end)
		*end = 0;
	return map_site_of(m->site, m->sites, host);
}

static bool among(const uint64_t *past, unsigned n, uint64_t id)
{
	for (unsigned i = 0; i < n; i++)
		if (id != 0 && past[i] == id)
			return true;
	return false;
}

static void push(uint64_t *past, unsigned n, uint64_t id)
{
	memmove(past + 1, past, (n - 1) * sizeof(past[0]));
	past[0] = id;
}

/* Whether the request is of a process that is dead. Of two with the same disk the one that opened it
 * later lives. But a disk may be set back to when it was new: that is believed when nobody serves. */
static bool is_dead(const struct server_record *s, const struct msg_op_session *op)
{
	if (op->kind != SERVER_CORE || op->disk != s->disk || op->boot == s->boot)
		return among(s->past, SERVER_PAST_BOOTS, op->boot);
	if (op->opened > s->opened)
		return false;
	return among(s->past, SERVER_PAST_BOOTS, op->boot) || (op->start <= 1 && s->session != 0);
}

/* A8: every start raises the counter and the journal only grows; a step back is a disk that forgot.
 * So is one that was replaced and comes back, however far it had been. A disk never met, or still at
 * its first start, knows that it knows nothing. */
static bool shows_less(const struct server_record *s, const struct msg_op_session *op)
{
	if (op->disk != s->disk)
		return among(s->past_disk, SERVER_PAST_DISKS, op->disk);
	if (op->start <= 1)
		return false;
	if (op->start < s->start || op->journal < s->journal)
		return true;
	return op->start == s->start && op->boot != s->boot;
}

/* Whether the server may have a session, from what is remembered; *s takes what it shows.
 *
 * A server without a disk has no counter of its own: it is told the one remembered here and comes
 * again with a higher one. So a request of a dead process that arrives late never passes for a newer
 * process than the one that lives. */
static enum status recognise(struct catalog *c, const struct msg_op_session *op,
                             struct server_record *s, const char *addr)
{
	bool known = s->id != 0, core = op->kind == SERVER_CORE;
	bool same_life = known && op->boot == s->boot;

	if (known && s->kind != op->kind)
		return STATUS_INVALID;
	if (!core && op->start > s->start + STARTS_AHEAD_MAX)
		return STATUS_INVALID;
	if (known && (is_dead(s, op) || (!core && !same_life && op->start <= s->start)))
		return STATUS_NO_SESSION;
	/* A process forgets nothing while it lives: its registration may only arrive late. */
	if (known && core && !same_life && shows_less(s, op)) {
		/* Of a disk that was replaced only a late word may be left, while the new one serves. */
		if (op->disk == s->disk || s->session == 0)
			s->flags |= CATALOG_SERVER_REFUSED;
		server_store(c, s);
		return STATUS_DISK;
	}
	s->flags &= (uint8_t)~CATALOG_SERVER_REFUSED;
	if (core && (!known || op->disk != s->disk || (op->start <= 1 && op->boot != s->boot))) {
		s->complete_from = meta_last_file(&c->meta);
		s->flags |= known ? CATALOG_SERVER_BLANK : 0;
		if (known)
			refill_add(c, op->server);
	}
	if (known && op->boot != s->boot)
		push(s->past, SERVER_PAST_BOOTS, s->boot);
	if (known && op->disk != s->disk)
		push(s->past_disk, SERVER_PAST_DISKS, s->disk);
	s->id = op->server;
	s->kind = op->kind;
	if (!same_life) /* a new disk never had what the one before it acknowledged */
		s->began = known && op->disk == s->disk ? op->journal : UINT64_MAX;
	s->boot = op->boot;
	s->disk = op->disk;
	s->opened = op->opened;
	s->start = op->start;
	s->journal = same_life ? MAX(s->journal, op->journal) : op->journal;
	s->total = op->total;
	s->site = find_site(c->map, op->site, addr);
	memcpy(s->addr, addr, sizeof(s->addr));
	return STATUS_OK;
}

static session_id_t begin_session(struct catalog *c, const struct server_record *s)
{
	struct session_record fresh = {
		.id = meta_new_session(c),
		.server = s->id,
		.kind = s->kind,
		.boot = s->boot,
		.index = c->index,
	};

	session_store(c, &fresh);
	c->meta.sessions++;
	return fresh.id;
}

static bool valid(const struct catalog *c, const struct msg_op_session *op,
                  char addr[ADDR_TEXT_MAX])
{
	if (op->server == 0 || op->server == SERVER_LEADER)
		return false;
	if (op->kind < SERVER_CORE || op->kind > SERVER_ADMIN)
		return false;
	if (!copy_text(addr, ADDR_TEXT_MAX, op->addr))
		return false;
	return op->kind != SERVER_CORE || (addr[0] && find_site(c->map, op->site, addr) != 0);
}

enum status op_session(struct catalog *c, const struct msg *m, struct catalog_reply *reply)
{
	const struct msg_op_session *op = &m->op_session;
	struct msg_r_session *r = &reply->m.r_session;
	char addr[ADDR_TEXT_MAX];
	struct server_record s;
	struct session_record old;
	enum status status;
	bool live, repeated;

	if (!valid(c, op, addr))
		return STATUS_INVALID;
	server_load(c, op->server, &s);
	live = session_load(c, s.session, &old);
	/* The same boot again is a request sent twice; another one means the old process is gone. */
	repeated = live && old.boot == op->boot;
	status = recognise(c, op, &s, addr);
	if (status == STATUS_OK && op->kind == SERVER_CORE)
		status = map_enter(c, &s);
	if (status == STATUS_NO_SESSION)
		r->start = s.start;
	if (status != STATUS_OK)
		return status;
	if (live && !repeated) {
		session_end(c, &old);
		s.ended = old.id;
		s.ended_index = c->index;
	}
	if (!repeated)
		s.session = begin_session(c, &s);
	server_store(c, &s);
	r->given = s.session;
	r->session_ms = c->meta.session_ms;
	r->margin_ms = c->meta.margin_ms;
	r->map = c->meta.map;
	r->files_complete_from = s.complete_from;
	return STATUS_OK;
}
