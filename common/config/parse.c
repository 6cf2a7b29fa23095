/* The sections and keys of a configuration: one table row per key. */
#include "common/config/config.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

enum section { SECTION_CLUSTER, SECTION_SITE, SECTION_HINT, SECTION_SERVER };

struct parser {
	struct config *c;
	char section[80];        /* as written, to see where a new one begins */
	struct map_site *site;   /* of the current section */
	struct config_hint *hint;
	bool has_server;
	char why[256];           /* first error */
};

/* Remembers the first error; returns what inih wants for "wrong line". */
static int wrong(struct parser *p, const char *fmt, ...) PRINTF(2, 3);

static int wrong(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->why[0] != '\0')
		return 0;
	va_start(ap, fmt);
	vsnprintf(p->why, sizeof(p->why), fmt, ap);
	va_end(ap);
	return 0;
}

/* A whole number in [min, max]; false if it is none. */
static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0' && *out >= min && *out <= max;
}

static bool copy(char *out, size_t size, const char *text)
{
	return snprintf(out, size, "%s", text) < (int)size && text[0] != '\0';
}

static int cluster_key(struct parser *p, const char *key, const char *value)
{
	if (strcmp(key, "id") == 0) {
		if (number(value, 1, UINT64_MAX, &p->c->cluster))
			return 1;
		return wrong(p, "cluster id \"%s\": use a whole number from 1 up", value);
	}
	if (strcmp(key, "name") == 0) {
		if (copy(p->c->name, sizeof(p->c->name), value))
			return 1;
		return wrong(p, "cluster name: use 1 to %zu characters", sizeof(p->c->name) - 1);
	}
	return wrong(p, "unknown key \"%s\" in [cluster]; it has id and name", key);
}

static int site_prefixes(struct parser *p, const char *value)
{
	char text[512], *rest = text, *one;

	if (!copy(text, sizeof(text), value))
		return wrong(p, "prefixes of site %s: empty or too long", p->site->name);
	while ((one = strtok_r(rest, " ,", &rest))) {
		if (p->site->prefixes == SITE_PREFIXES_MAX)
			return wrong(p, "site %s has more than %d prefixes", p->site->name, SITE_PREFIXES_MAX);
		if (prefix_parse(one, &p->site->prefix[p->site->prefixes]) < 0)
			return wrong(p, "\"%s\" is no prefix such as 10.1.0.0/16 or fd00:1::/32", one);
		p->site->prefixes++;
	}
	return 1;
}

static int site_key(struct parser *p, const char *key, const char *value)
{
	uint64_t id;

	if (strcmp(key, "prefixes") == 0)
		return site_prefixes(p, value);
	if (strcmp(key, "id") != 0)
		return wrong(p, "unknown key \"%s\" in [site %s]; it has id and prefixes", key, p->site->name);
	if (!number(value, 1, SITES_MAX, &id))
		return wrong(p, "id \"%s\" of site %s: use a number from 1 to %d", value, p->site->name, SITES_MAX);
	for (unsigned i = 0; i < p->c->sites; i++)
		if (p->c->site[i].id == id && &p->c->site[i] != p->site)
			return wrong(p, "sites %s and %s have the same id", p->c->site[i].name, p->site->name);
	p->site->id = (uint16_t)id;
	return 1;
}

static int take_address(struct parser *p, const char *key, const char *value, char *out)
{
	char host[ADDR_TEXT_MAX];
	uint16_t port;

	if (config_split_address(value, host, sizeof(host), &port) < 0 ||
	    !copy(out, ADDR_TEXT_MAX, value))
		return wrong(p, "%s \"%s\": use ADDRESS:PORT, such as 127.1.0.1:7100", key, value);
	return 1;
}

static int hint_key(struct parser *p, const char *key, const char *value)
{
	if (strcmp(key, "address") == 0)
		return take_address(p, key, value, p->hint->addr);
	if (strcmp(key, "vote") != 0)
		return wrong(p, "unknown key \"%s\" in [hint %u]; it has address and vote", key, p->hint->id);
	p->hint->vote = strcmp(value, "yes") == 0;
	if (!p->hint->vote && strcmp(value, "no") != 0)
		return wrong(p, "vote of hint %u: use yes or no", p->hint->id);
	return 1;
}

static int server_kind(struct parser *p, const char *value)
{
	static const enum server_kind kinds[] = {SERVER_CORE, SERVER_ACCESS, SERVER_HINT};

	for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
		if (strcmp(value, config_kind_name(kinds[i])) == 0) {
			p->c->kind = kinds[i];
			return 1;
		}
	}
	return wrong(p, "kind \"%s\": use core, hint or access", value);
}

static int server_fence(struct parser *p, const char *value)
{
	p->c->fence_error = strcmp(value, "wait") != 0;
	if (!p->c->fence_error || strcmp(value, "error") == 0)
		return 1;
	if (strncmp(value, "wait:", 5) == 0 && config_parse_duration(value + 5, &p->c->fence_wait) == 0)
		return 1;
	return wrong(p, "on_fence \"%s\": use wait, error or wait:30s", value);
}

static int server_block(struct parser *p, const char *value)
{
	uint64_t bytes;

	if (config_parse_size(value, &bytes) < 0 || bytes < (1u << BLOCK_SHIFT_MIN) ||
	    bytes > (1u << BLOCK_SHIFT_MAX) || (bytes & (bytes - 1)) != 0)
		return wrong(p, "block \"%s\": use a power of two from 64KiB to 16MiB", value);
	p->c->block_shift = (uint8_t)__builtin_ctzll(bytes);
	return 1;
}

/* Keys of [server] that are a size or a duration. */
static int server_amount(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;
	const struct {
		const char *key;
		uint64_t *bytes;
		nsec_t *time;
	} row[] = {
		{"capacity", &c->capacity, NULL}, {"journal", &c->journal, NULL},
		{"cache", &c->cache, NULL}, {"memory", &c->memory, NULL}, {"buffer", &c->buffer, NULL},
		{"session", NULL, &c->session}, {"shared", NULL, &c->shared},
		{"election", NULL, &c->election}, {"stale_after", NULL, &c->stale_after},
	};

	for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
		if (strcmp(key, row[i].key) != 0)
			continue;
		if (row[i].bytes && config_parse_size(value, row[i].bytes) < 0)
			return wrong(p, "%s \"%s\": use a size such as 256MiB", key, value);
		if (row[i].time && config_parse_duration(value, row[i].time) < 0)
			return wrong(p, "%s \"%s\": use a duration such as 500ms or 5s", key, value);
		return 1;
	}
	return wrong(p, "unknown key \"%s\" in [server]", key);
}

static int server_path(struct parser *p, const char *key, const char *value, char *out)
{
	if (value[0] == '/' && copy(out, CONFIG_PATH_MAX, value))
		return 1;
	return wrong(p, "%s \"%s\": use an absolute path", key, value);
}

static int server_key(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;
	uint64_t id;

	if (strcmp(key, "id") == 0) {
		if (!number(value, 1, 0x7fffffff, &id))
			return wrong(p, "server id \"%s\": use a whole number from 1 up", value);
		c->id = (server_id_t)id;
		return 1;
	}
	if (strcmp(key, "kind") == 0)
		return server_kind(p, value);
	if (strcmp(key, "listen") == 0)
		return take_address(p, key, value, c->listen);
	if (strcmp(key, "directory") == 0)
		return server_path(p, key, value, c->directory);
	if (strcmp(key, "mount") == 0)
		return server_path(p, key, value, c->mount);
	if (strcmp(key, "on_fence") == 0)
		return server_fence(p, value);
	if (strcmp(key, "block") == 0)
		return server_block(p, value);
	if (strcmp(key, "log") != 0)
		return server_amount(p, key, value);
	if (log_level_parse(value, &c->log) < 0)
		return wrong(p, "log \"%s\": use error, warn, info or debug", value);
	return 1;
}

static int begin_site(struct parser *p, const char *name)
{
	for (unsigned i = 0; i < p->c->sites; i++)
		if (strcmp(p->c->site[i].name, name) == 0)
			return wrong(p, "two sections for site %s", name);
	if (p->c->sites == SITES_MAX)
		return wrong(p, "more than %d sites", SITES_MAX);
	p->site = &p->c->site[p->c->sites++];
	if (!copy(p->site->name, sizeof(p->site->name), name))
		return wrong(p, "site name \"%s\": use 1 to %zu characters", name, sizeof(p->site->name) - 1);
	return 1;
}

static int begin_hint(struct parser *p, const char *text)
{
	uint64_t id;

	if (!number(text, 1, 0x7fffffff, &id))
		return wrong(p, "[hint %s]: use the hint server's id, a whole number", text);
	for (unsigned i = 0; i < p->c->hints; i++)
		if (p->c->hint[i].id == id)
			return wrong(p, "two sections for hint %s", text);
	if (p->c->hints == CONFIG_HINTS_MAX)
		return wrong(p, "more than %d hint servers", CONFIG_HINTS_MAX);
	p->hint = &p->c->hint[p->c->hints++];
	*p->hint = (struct config_hint){.id = (server_id_t)id, .vote = true};
	return 1;
}

/* A section's header came: sets p->site or p->hint. */
static int begin_section(struct parser *p, const char *section)
{
	snprintf(p->section, sizeof(p->section), "%s", section);
	p->site = NULL;
	p->hint = NULL;
	if (strncmp(section, "site ", 5) == 0)
		return begin_site(p, section + 5);
	if (strncmp(section, "hint ", 5) == 0)
		return begin_hint(p, section + 5);
	if (strcmp(section, "server") == 0) {
		p->has_server = true;
		return 1;
	}
	if (strcmp(section, "cluster") == 0)
		return 1;
	return wrong(p, "unknown section [%s]; there are cluster, site NAME, hint ID and server", section);
}

static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
	struct parser *p = ctx;

	if (p->why[0] != '\0')
		return 0;
	if (strcmp(section, p->section) != 0 && !begin_section(p, section))
		return 0;
	if (p->site)
		return site_key(p, key, value);
	if (p->hint)
		return hint_key(p, key, value);
	return strcmp(section, "server") == 0 ? server_key(p, key, value) : cluster_key(p, key, value);
}

static uint16_t site_of_address(const struct config *c, const char *addr)
{
	char host[ADDR_TEXT_MAX];
	uint16_t port;

	if (config_split_address(addr, host, sizeof(host), &port) < 0)
		return 0;
	return map_site_of(c->site, c->sites, host);
}

/* What must hold once everything is read; a sentence in p->why if it does not. */
static int complete(struct parser *p)
{
	struct config *c = p->c;

	if (c->cluster == 0)
		return wrong(p, "[cluster] has no id");
	if (c->hints == 0)
		return wrong(p, "no [hint ID] section: a cluster needs at least one hint server");
	for (unsigned i = 0; i < c->sites; i++)
		if (c->site[i].id == 0 || c->site[i].prefixes == 0)
			return wrong(p, "site %s needs an id and prefixes", c->site[i].name);
	for (unsigned i = 0; i < c->hints; i++) {
		if (c->hint[i].addr[0] == '\0')
			return wrong(p, "hint %u has no address", c->hint[i].id);
		c->hint[i].site = site_of_address(c, c->hint[i].addr);
	}
	if (!p->has_server)
		return 1;
	if (c->id == 0 || c->kind == 0 || c->listen[0] == '\0' || c->directory[0] == '\0')
		return wrong(p, "[server] needs id, kind, listen and directory");
	c->own_site = site_of_address(c, c->listen);
	if (c->own_site == 0)
		return wrong(p, "%s lies in no site's prefixes", c->listen);
	if (c->kind == SERVER_ACCESS && c->mount[0] == '\0')
		return wrong(p, "an access server needs mount");
	return 1;
}

int config_parse(struct config *c, const char *text, const char *path, char *why, size_t why_size)
{
	struct parser p = {.c = c};
	int line;

	*c = (struct config){.log = LOG_INFO};
	line = ini_parse_string(text, on_key, &p);
	if (line > 0) {
		snprintf(why, why_size, "%s:%d: %s", path, line,
		         p.why[0] ? p.why : "neither [section] nor key = value");
		return -EINVAL;
	}
	if (line < 0 || !complete(&p)) {
		snprintf(why, why_size, "%s: %s", path, p.why[0] ? p.why : "cannot be parsed");
		return -EINVAL;
	}
	return 0;
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

void config_hints_by_distance(const struct config *c, uint16_t site, unsigned order[CONFIG_HINTS_MAX])
{
	unsigned n = 0;

	for (unsigned near = 2; near-- > 0;)
		for (unsigned i = 0; i < c->hints; i++)
			if ((c->hint[i].site == site) == (near == 1))
				order[n++] = i;
}
