/* What must hold between the keys of a configuration, and what follows from them. */
#include "common/config/parser.h"

#define MEMORY_LEAST ((uint64_t)128 << 20)

static uint16_t site_of_address(const struct config *c, const char *addr)
{
	char host[ADDR_TEXT_MAX];
	uint16_t port;

	if (config_split_address(addr, host, sizeof(host), &port) < 0)
		return 0;
	return map_site_of(c->site, c->sites, host);
}

static int check_hints(struct parser *p)
{
	struct config *c = p->c;
	unsigned votes = 0;

	for (unsigned i = 0; i < c->hints; i++) {
		struct config_hint *h = &c->hint[i];

		if (h->addr[0] == '\0')
			return config_wrong(p, "hint %u has no address", h->id);
		for (unsigned j = 0; j < i; j++)
			if (strcmp(h->addr, c->hint[j].addr) == 0)
				return config_wrong(p, "hints %u and %u have the same address",
				                    c->hint[j].id, h->id);
		h->site = site_of_address(c, h->addr);
		votes += h->vote;
	}
	return votes > 0 ? 1 : config_wrong(p,
	                                    "no hint server has a vote: write vote = yes in its section");
}

/* Keys that belong to one kind of server only. */
static int check_keys(struct parser *p)
{
	static const struct {
		const char *key;
		enum server_kind kind;
	} row[] = {
		{"capacity", SERVER_CORE}, {"journal", SERVER_CORE}, {"cache", SERVER_CORE},
		{"mount", SERVER_ACCESS}, {"buffer", SERVER_ACCESS}, {"block", SERVER_ACCESS},
		{"stale_after", SERVER_ACCESS}, {"on_fence", SERVER_ACCESS},
		{"follow_writer", SERVER_ACCESS},
		{"session", SERVER_HINT}, {"shared", SERVER_HINT}, {"election", SERVER_HINT},
		{"follow", SERVER_HINT}, {"recover_after", SERVER_HINT},
	};

	for (unsigned i = 0; i < p->server_seen; i++) {
		for (unsigned j = 0; j < ARRAY_LEN(row); j++) {
			if (strcmp(p->server_key[i].name, row[j].key) != 0 || row[j].kind == p->c->kind)
				continue;
			p->line = p->server_key[i].line;
			return config_wrong(p, "%s is for kind = %s: take it out of this file",
			                    row[j].key, config_kind_name(row[j].kind));
		}
	}
	return 1;
}

static int check_times(struct parser *p)
{
	const struct config *c = p->c;
	nsec_t session = c->session ? c->session : 5 * NSEC_SEC;
	nsec_t shared = c->shared ? c->shared : 800 * NSEC_MSEC;

	/* A heartbeat goes out every 200 ms: shorter ones would lapse between two. */
	if (shared < 500 * NSEC_MSEC)
		return config_wrong(p, "shared is too short: use 500ms or more");
	if (session < 2 * shared)
		return config_wrong(p, "session must be at least twice as long as shared");
	return 1;
}

static int check_memory(struct parser *p)
{
	uint64_t memory = p->c->memory ? p->c->memory : CONFIG_MEMORY_DEFAULT;

	if (memory < MEMORY_LEAST)
		return config_wrong(p, "memory is too little for an access server: use 128MiB or more");
	if (p->c->buffer > memory / 2)
		return config_wrong(p, "buffer may be half of memory at most (memory is %" PRIu64 "MiB): raise "
		                    "memory, or lower buffer", memory >> 20);
	return 1;
}

static int check_server(struct parser *p)
{
	struct config *c = p->c;
	bool listed = false;

	if (c->id == 0 || c->kind == 0 || c->listen[0] == '\0' || c->directory[0] == '\0')
		return config_wrong(p, "[server] needs id, kind, listen and directory");
	c->own_site = site_of_address(c, c->listen);
	if (c->own_site == 0)
		return config_wrong(p, "%s lies in no site's prefixes", c->listen);
	if (!check_keys(p))
		return 0;
	for (unsigned i = 0; i < c->hints; i++) {
		if (c->hint[i].id != c->id)
			continue;
		listed = true;
		if (c->kind == SERVER_HINT && strcmp(c->hint[i].addr, c->listen) != 0)
			return config_wrong(p, "listen %s is not the address of [hint %u]",
			                    c->listen, c->id);
	}
	if (listed && c->kind != SERVER_HINT)
		return config_wrong(p, "id %u belongs to [hint %u]: use another one", c->id, c->id);
	if (!listed && c->kind == SERVER_HINT)
		return config_wrong(p, "[server] is hint server %u, but there is no [hint %u]", c->id,
		                    c->id);
	if (c->kind == SERVER_ACCESS && c->mount[0] == '\0')
		return config_wrong(p, "an access server needs mount");
	if (c->kind == SERVER_ACCESS && !check_memory(p))
		return 0;
	return c->kind == SERVER_HINT ? check_times(p) : 1;
}

int config_check(struct parser *p)
{
	struct config *c = p->c;

	p->line = 0;
	if (c->cluster == 0)
		return config_wrong(p, "[cluster] has no id");
	if (c->hints == 0)
		return config_wrong(p,
		                    "no [hint ID] section: a cluster needs at least one hint server");
	for (unsigned i = 0; i < c->sites; i++)
		if (c->site[i].id == 0 || c->site[i].prefixes == 0)
			return config_wrong(p, "site %s needs an id and prefixes", c->site[i].name);
	if (!check_hints(p))
		return 0;
	return p->server_line ? check_server(p) : 1;
}

const char *config_site_name(const struct config *c, uint16_t site)
{
	for (unsigned i = 0; i < c->sites; i++)
		if (c->site[i].id == site)
			return c->site[i].name;
	return "?";
}

const char *config_kind_name(enum server_kind kind)
{
	static const char *const name[] = {"?", "core", "access", "hint", "admin"};

	return kind < ARRAY_LEN(name) ? name[kind] : "?";
}

void config_hints_by_distance(const struct config *c, uint16_t site,
                              unsigned order[CONFIG_HINTS_MAX])
{
	unsigned n = 0;

	for (unsigned near = 2; near-- > 0;)
		for (unsigned i = 0; i < c->hints; i++)
			if ((c->hint[i].site == site) == (near == 1))
				order[n++] = i;
}
