/* The sections and keys of a configuration.
 *
 * inih splits lines into key and value. Its reader hook, read_line(), counts lines, sees the
 * section headers (inih passes over a section without keys, and cuts long names) and takes
 * indentation away (inih would read an indented line as more of the value above it). */
#include "common/config/parser.h"

#include <ini.h>
#include <stdio.h>
#include <stdlib.h>

int config_wrong(struct parser *p, const char *fmt, ...)
{
	va_list ap;

	if (p->why[0] != '\0')
		return 0;
	p->why_line = p->line;
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
		return config_wrong(p, "cluster id \"%s\": use a whole number from 1 up", value);
	}
	if (strcmp(key, "name") == 0) {
		if (copy(p->c->name, sizeof(p->c->name), value))
			return 1;
		return config_wrong(p, "cluster name: use 1 to %zu characters",
		                    sizeof(p->c->name) - 1);
	}
	return config_wrong(p, "unknown key \"%s\" in [cluster]; it has id and name", key);
}

static int site_prefixes(struct parser *p, const char *value)
{
	char text[512], *rest = text, *one;

	if (!copy(text, sizeof(text), value))
		return config_wrong(p, "prefixes of site %s: empty or too long", p->site->name);
	while ((one = strtok_r(rest, " ,", &rest))) {
		if (p->site->prefixes == SITE_PREFIXES_MAX)
			return config_wrong(p, "site %s has more than %d prefixes", p->site->name,
			                    SITE_PREFIXES_MAX);
		if (prefix_parse(one, &p->site->prefix[p->site->prefixes]) < 0)
			return config_wrong(p,
			                    "\"%s\" is no prefix such as 10.1.0.0/16 or fd00:1::/32",
			                    one);
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
		return config_wrong(p, "unknown key \"%s\" in [site %s]; it has id and prefixes",
		                    key, p->site->name);
	if (!number(value, 1, SITES_MAX, &id))
		return config_wrong(p, "id \"%s\" of site %s: use a number from 1 to %d", value,
		                    p->site->name, SITES_MAX);
	for (unsigned i = 0; i < p->c->sites; i++)
		if (p->c->site[i].id == id && &p->c->site[i] != p->site)
			return config_wrong(p, "sites %s and %s have the same id",
			                    p->c->site[i].name, p->site->name);
	p->site->id = (uint16_t)id;
	return 1;
}

static int take_address(struct parser *p, const char *key, const char *value, char *out)
{
	char host[ADDR_TEXT_MAX];
	uint16_t port;

	if (config_split_address(value, host, sizeof(host), &port) < 0 ||
	    !copy(out, ADDR_TEXT_MAX, value))
		return config_wrong(p, "%s \"%s\": use ADDRESS:PORT, such as 127.1.0.1:7100", key,
		                    value);
	return 1;
}

static int hint_key(struct parser *p, const char *key, const char *value)
{
	if (strcmp(key, "address") == 0)
		return take_address(p, key, value, p->hint->addr);
	if (strcmp(key, "vote") != 0)
		return config_wrong(p, "unknown key \"%s\" in [hint %u]; it has address and vote",
		                    key, p->hint->id);
	p->hint->vote = strcmp(value, "yes") == 0;
	if (!p->hint->vote && strcmp(value, "no") != 0)
		return config_wrong(p, "vote of hint %u: use yes or no", p->hint->id);
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
	return config_wrong(p, "kind \"%s\": use core, hint or access", value);
}

static int server_fence(struct parser *p, const char *value)
{
	p->c->fence_error = strcmp(value, "wait") != 0;
	if (!p->c->fence_error || strcmp(value, "error") == 0)
		return 1;
	if (strncmp(value, "wait:", 5) == 0 && config_parse_duration(value + 5, &p->c->fence_wait) == 0)
		return 1;
	return config_wrong(p, "on_fence \"%s\": use wait, error or wait:30s", value);
}

static int server_block(struct parser *p, const char *value)
{
	uint64_t bytes;

	if (config_parse_size(value, &bytes) < 0 || bytes < (1u << BLOCK_SHIFT_MIN) ||
	    bytes > (1u << BLOCK_SHIFT_MAX) || (bytes & (bytes - 1)) != 0)
		return config_wrong(p, "block \"%s\": use a power of two from 64KiB to 16MiB",
		                    value);
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
		{"election", NULL, &c->election}, {"follow", NULL, &c->follow},
		{"recover_after", NULL, &c->recover_after},
		{"stale_after", NULL, &c->stale_after}, {"follow_writer", NULL, &c->follow_writer},
	};

	if (strcmp(key, "follow") == 0 && strcmp(value, "never") == 0) {
		c->follow = NSEC_NEVER;
		return 1;
	}
	if (strcmp(key, "follow_writer") == 0 && strcmp(value, "never") == 0) {
		c->follow_writer = NSEC_NEVER;
		return 1;
	}
	for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
		if (strcmp(key, row[i].key) != 0)
			continue;
		if (row[i].bytes && config_parse_size(value, row[i].bytes) < 0)
			return config_wrong(p, "%s \"%s\": use a size such as 256MiB", key, value);
		if (row[i].time && config_parse_duration(value, row[i].time) < 0)
			return config_wrong(p, "%s \"%s\": use a duration such as 500ms or 5s", key,
			                    value);
		return 1;
	}
	return config_wrong(p, "unknown key \"%s\" in [server]", key);
}

static int server_path(struct parser *p, const char *key, const char *value, char *out)
{
	if (value[0] == '/' && copy(out, CONFIG_PATH_MAX, value))
		return 1;
	return config_wrong(p, "%s \"%s\": use an absolute path", key, value);
}

static int server_key(struct parser *p, const char *key, const char *value)
{
	struct config *c = p->c;
	uint64_t id;

	if (strcmp(key, "id") == 0) {
		if (!number(value, 1, SERVER_ID_MAX, &id))
			return config_wrong(p, "server id \"%s\": use a whole number from 1 up",
			                    value);
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
		return config_wrong(p, "log \"%s\": use error, warn, info or debug", value);
	return 1;
}

/* --- sections --- */

static int begin_site(struct parser *p, const char *name)
{
	for (unsigned i = 0; i < p->c->sites; i++)
		if (strcmp(p->c->site[i].name, name) == 0)
			return config_wrong(p, "two sections for site %s", name);
	if (p->c->sites == SITES_MAX)
		return config_wrong(p, "more than %d sites", SITES_MAX);
	p->section = SECTION_SITE;
	p->site = &p->c->site[p->c->sites++];
	if (!copy(p->site->name, sizeof(p->site->name), name))
		return config_wrong(p, "site name \"%s\": use 1 to %zu characters", name,
		                    sizeof(p->site->name) - 1);
	return 1;
}

static int begin_hint(struct parser *p, const char *text)
{
	uint64_t id;

	if (!number(text, 1, SERVER_ID_MAX, &id))
		return config_wrong(p, "[hint %s]: use the hint server's id, a whole number", text);
	for (unsigned i = 0; i < p->c->hints; i++)
		if (p->c->hint[i].id == id)
			return config_wrong(p, "two sections for hint %s", text);
	if (p->c->hints == CONFIG_HINTS_MAX)
		return config_wrong(p, "more than %d hint servers", CONFIG_HINTS_MAX);
	p->section = SECTION_HINT;
	p->hint = &p->c->hint[p->c->hints++];
	*p->hint = (struct config_hint){.id = (server_id_t)id, .vote = true};
	return 1;
}

static int begin_only(struct parser *p, enum section section, const char *name, unsigned *line)
{
	if (*line)
		return config_wrong(p, "two sections [%s]; the first is in line %u", name, *line);
	*line = p->line;
	p->section = section;
	return 1;
}

static void end_section(struct parser *p)
{
	if (p->in_section && p->section == SECTION_SERVER) {
		memcpy(p->server_key, p->key, sizeof(p->key));
		p->server_seen = p->seen;
	}
	p->site = NULL;
	p->hint = NULL;
	p->seen = 0;
	p->in_section = false;
}

static int begin_section(struct parser *p, const char *name)
{
	end_section(p);
	p->in_section = true;
	if (strncmp(name, "site ", 5) == 0)
		return begin_site(p, name + 5);
	if (strncmp(name, "hint ", 5) == 0)
		return begin_hint(p, name + 5);
	if (strcmp(name, "server") == 0)
		return begin_only(p, SECTION_SERVER, name, &p->server_line);
	if (strcmp(name, "cluster") == 0)
		return begin_only(p, SECTION_CLUSTER, name, &p->cluster_line);
	return config_wrong(p,
	                    "unknown section [%s]; there are cluster, site NAME, hint ID and server",
	                    name);
}

/* --- lines --- */

static int see_header(struct parser *p, const char *line)
{
	const char *end = strchr(line, ']');
	char name[80];

	if (!end || (size_t)(end - line) > sizeof(name))
		return config_wrong(p,
		                    "a section is written [name], with a name of up to %zu characters",
		                    sizeof(name) - 1);
	snprintf(name, (size_t)(end - line), "%s", line + 1);
	return begin_section(p, name);
}

/* inih's fgets. */
static char *read_line(char *out, int size, void *ctx)
{
	struct parser *p = ctx;
	const char *line = p->at;
	size_t len = strcspn(line, "\n");

	if (p->why[0] != '\0' || *line == '\0')
		return NULL;
	p->at += len + (line[len] == '\n');
	p->line++;
	while (len > 0 && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len >= (size_t)size) {
		config_wrong(p, "the line is longer than %d characters", size - 1);
		return NULL;
	}
	memcpy(out, line, len);
	out[len] = '\0';
	if (out[0] == '[' && !see_header(p, out))
		return NULL;
	return out;
}

static int see_key(struct parser *p, const char *key)
{
	for (unsigned i = 0; i < p->seen; i++)
		if (strcmp(p->key[i].name, key) == 0)
			return config_wrong(p, "%s is given in line %u already", key,
			                    p->key[i].line);
	/* A name too long to be kept is an unknown key's. */
	if (p->seen < KEYS_MAX && strlen(key) < KEY_BYTES) {
		snprintf(p->key[p->seen].name, KEY_BYTES, "%s", key);
		p->key[p->seen++].line = p->line;
	}
	return 1;
}

static int on_key(void *ctx, const char *section, const char *key, const char *value)
{
	struct parser *p = ctx;

	(void)section; /* as see_header() saw it */
	if (p->why[0] != '\0')
		return 0;
	if (!p->in_section)
		return config_wrong(p, "\"%s\" stands before the first [section]", key);
	if (!see_key(p, key))
		return 0;
	switch (p->section) {
	case SECTION_CLUSTER:
		return cluster_key(p, key, value);
	case SECTION_SITE:
		return site_key(p, key, value);
	case SECTION_HINT:
		return hint_key(p, key, value);
	case SECTION_SERVER:
		return server_key(p, key, value);
	}
	return 0;
}

int config_parse(struct config *c, const char *text, const char *path, char *why, size_t why_size)
{
	struct parser p = {.c = c, .at = text};
	int line;

	*c = (struct config){.log = LOG_INFO};
	line = ini_parse_stream(read_line, &p, on_key, &p);
	if (p.why[0] == '\0' && line > 0) {
		p.line = (unsigned)line;
		config_wrong(&p, "neither [section] nor key = value");
	}
	end_section(&p);
	if (p.why[0] == '\0' && line == 0 && config_check(&p))
		return 0;
	if (p.why_line > 0)
		snprintf(why, why_size, "%s:%u: %s", path, p.why_line, p.why);
	else
		snprintf(why, why_size, "%s: %s", path, p.why[0] ? p.why : "cannot be parsed");
	return -EINVAL;
}
