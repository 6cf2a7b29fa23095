/* server show: asks one server for its counters. */
#include "hint-server/ctl/commands.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWERS_WITHIN (2 * NSEC_SEC)

/* Where server `id` listens, malloc'ed; NULL after a word on standard error. Hint servers stand in
 * the configuration; the others are known to the catalog. */
static char *find_address(struct ctl *c, server_id_t id)
{
	json_t *status, *s;
	char *addr = NULL;
	size_t i;

	for (unsigned h = 0; h < c->config->hints; h++)
		if (c->config->hint[h].id == id)
			return strdup(c->config->hint[h].addr);
	status = ctl_get_status(c);
	if (!status)
		return NULL;
	json_array_foreach(json_object_get(status, "servers"), i, s)
		if (!addr && ctl_number(s, "id") == id)
			addr = strdup(ctl_text(s, "addr"));
	json_decref(status);
	if (!addr)
		fprintf(stderr, "distcloud: no server %" PRIu32 " in this cluster; see distcloud server list\n",
		        id);
	return addr;
}

static void print_value(const char *section, const char *key, const json_t *value)
{
	if (json_is_object(value) || json_is_array(value))
		return;
	printf("%-10s %-16s ", section, key);
	if (json_is_string(value))
		puts(json_string_value(value));
	else if (json_is_boolean(value))
		puts(json_is_true(value) ? "yes" : "no");
	else
		printf("%" PRIu64 "\n", (uint64_t)json_integer_value(value));
}

static void print_stats(json_t *stats)
{
	const char *key, *inner;
	json_t *value, *v;

	json_object_foreach(stats, key, value)
		print_value("", key, value);
	json_object_foreach(stats, key, value)
		json_object_foreach(value, inner, v)
			print_value(key, inner, v);
}

enum ctl_exit ctl_server_show(struct ctl *c, const char *text)
{
	char *end, *addr;
	unsigned long id = strtoul(text, &end, 10);
	json_t *stats;
	int rc;

	if (*end != '\0' || id == 0 || id > UINT32_MAX) {
		fprintf(stderr, "distcloud: %s is no server's number; see distcloud server list\n", text);
		return CTL_USAGE;
	}
	addr = find_address(c, (server_id_t)id);
	if (!addr)
		return CTL_FAILED;
	rc = ask(c->ask, (server_id_t)id, addr, (server_id_t)id, "stats", NULL, ANSWERS_WITHIN, &stats);
	if (rc == -EPERM)
		fprintf(stderr, "distcloud: server %lu at %s refuses: %s\n", id, addr, ask_why(c->ask));
	else if (rc < 0)
		fprintf(stderr, "distcloud: server %lu at %s does not answer (%s); does it run?\n", id, addr,
		        err_text(rc));
	else if (c->json)
		ctl_print_json(stats);
	else
		print_stats(stats);
	json_decref(stats);
	free(addr);
	return rc < 0 ? CTL_FAILED : CTL_OK;
}
