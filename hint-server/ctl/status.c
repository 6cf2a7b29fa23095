/* status, site list, server list. */
#include "hint-server/ctl/commands.h"

#include <stdio.h>
#include <stdlib.h>

static void print_votes(const json_t *status)
{
	json_t *v;
	size_t i;

	printf("votes:   ");
	json_array_foreach(json_object_get(status, "votes"), i, v)
		printf(" %" PRIu64 " (%s%s%s)", ctl_number(v, "id"), ctl_text(v, "site"),
		       json_is_true(json_object_get(v, "vote")) ? "" : ", no vote",
		       json_is_true(json_object_get(v, "heard")) ? "" : ", not heard");
	printf("; %" PRIu64 " more may fail\n", ctl_number(status, "margin"));
}

static void print_servers(const json_t *servers)
{
	json_t *s;
	size_t i;

	printf("%6s  %-7s %-14s %-22s %-7s %10s %10s %7s\n", "ID", "KIND", "SITE", "ADDRESS", "STATE",
	       "TOTAL", "FREE", "STALE");
	json_array_foreach(servers, i, s)
		printf("%6" PRIu64 "  %-7s %-14s %-22s %-7s %10s %10s %7" PRIu64 "\n", ctl_number(s, "id"),
		       ctl_text(s, "kind"), ctl_text(s, "site"), ctl_text(s, "addr"), ctl_text(s, "state"),
		       ctl_size_text(ctl_number(s, "total")), ctl_size_text(ctl_number(s, "free")),
		       ctl_number(s, "stale_blocks"));
}

static void print_status(const json_t *status)
{
	const json_t *files = json_object_get(status, "files");
	json_t *w;
	size_t i;

	printf("health:   %s\n", ctl_text(status, "health"));
	printf("leader:   hint server %" PRIu64 ", term %" PRIu64 ", log committed to %" PRIu64
	       ", map %" PRIu64 "\n", ctl_number(status, "leader"), ctl_number(status, "term"),
	       ctl_number(status, "commit"), ctl_number(status, "map"));
	print_votes(status);
	printf("files:    %" PRIu64 ", of them %" PRIu64 " open for writing, %" PRIu64 " with stale replicas, %"
	       PRIu64 " to recover, %" PRIu64 " deleted but open\n", ctl_number(files, "total"),
	       ctl_number(files, "held"), ctl_number(files, "stale"), ctl_number(files, "unclean"),
	       ctl_number(files, "orphans"));
	json_array_foreach(json_object_get(status, "warnings"), i, w)
		printf("warning:  %s\n", json_string_value(w));
	putchar('\n');
	print_servers(json_object_get(status, "servers"));
}

enum ctl_exit ctl_status(struct ctl *c)
{
	enum ctl_exit code;
	json_t *status;

	if (ctl_ask_leader(c, "status", NULL, &status) < 0)
		return CTL_FAILED;
	if (c->json)
		code = ctl_print_json(status) < 0 ? CTL_FAILED : CTL_OK;
	else {
		print_status(status);
		code = strcmp(ctl_text(status, "health"), "healthy") == 0 ? CTL_OK : CTL_DEGRADED;
	}
	json_decref(status);
	return code;
}

enum ctl_exit ctl_server_list(struct ctl *c)
{
	json_t *status;

	if (ctl_ask_leader(c, "status", NULL, &status) < 0)
		return CTL_FAILED;
	if (c->json)
		ctl_print_json(json_object_get(status, "servers"));
	else
		print_servers(json_object_get(status, "servers"));
	json_decref(status);
	return CTL_OK;
}

/* Core servers of a site and their space, from the status' list. */
static json_t *site_summary(const struct map_site *site, const json_t *servers)
{
	json_int_t cores = 0, access = 0, up = 0, total = 0, free_bytes = 0;
	json_t *s;
	size_t i;

	json_array_foreach(servers, i, s) {
		if (strcmp(ctl_text(s, "site"), site->name) != 0)
			continue;
		bool core = strcmp(ctl_text(s, "kind"), "core") == 0;

		cores += core;
		access += !core;
		up += strcmp(ctl_text(s, "state"), "up") == 0;
		total += core ? (json_int_t)ctl_number(s, "total") : 0;
		free_bytes += core ? (json_int_t)ctl_number(s, "free") : 0;
	}
	return json_pack("{s:i, s:s, s:I, s:I, s:I, s:I, s:I}", "id", (int)site->id, "name", site->name,
	                 "core_servers", cores, "access_servers", access, "up", up, "total", total,
	                 "free", free_bytes);
}

static void print_sites(const json_t *sites)
{
	json_t *s;
	size_t i;

	printf("%4s  %-16s %5s %7s %4s %10s %10s\n", "ID", "SITE", "CORE", "ACCESS", "UP", "TOTAL", "FREE");
	json_array_foreach(sites, i, s)
		printf("%4" PRIu64 "  %-16s %5" PRIu64 " %7" PRIu64 " %4" PRIu64 " %10s %10s\n",
		       ctl_number(s, "id"), ctl_text(s, "name"), ctl_number(s, "core_servers"),
		       ctl_number(s, "access_servers"), ctl_number(s, "up"),
		       ctl_size_text(ctl_number(s, "total")), ctl_size_text(ctl_number(s, "free")));
}

enum ctl_exit ctl_site_list(struct ctl *c)
{
	json_t *status, *sites;

	if (ctl_ask_leader(c, "status", NULL, &status) < 0)
		return CTL_FAILED;
	sites = json_array();
	for (unsigned i = 0; i < c->config->sites; i++)
		json_array_append_new(sites, site_summary(&c->config->site[i],
		                                          json_object_get(status, "servers")));
	if (c->json)
		ctl_print_json(sites);
	else
		print_sites(sites);
	json_decref(sites);
	json_decref(status);
	return CTL_OK;
}
