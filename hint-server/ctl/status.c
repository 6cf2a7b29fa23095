/* status, site list, server list. */
#include "hint-server/ctl/commands.h"

#include <stdio.h>
#include <stdlib.h>

#define BAD_PAGES_SHOWN 20

enum ctl_exit ctl_print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS);

	if (!text) {
		fprintf(stderr, "distcloud: the answer is no JSON\n");
		return CTL_FAILED;
	}
	puts(text);
	free(text);
	return CTL_OK;
}

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
	json_array_foreach(servers, i, s) {
		bool core = strcmp(ctl_text(s, "kind"), "core") == 0;
		bool space = core && ctl_number(s, "total") > 0; /* known only from one that is up */

		printf("%6" PRIu64 "  %-7s %-14s %-22s %-7s %10s %10s", ctl_number(s, "id"),
		       ctl_text(s, "kind"), ctl_text(s, "site"), ctl_text(s, "addr"), ctl_text(s, "state"),
		       space ? ctl_size_text(ctl_number(s, "total")) : core ? "?" : "-",
		       space ? ctl_size_text(ctl_number(s, "free")) : core ? "?" : "-");
		if (strcmp(ctl_text(s, "kind"), "access") == 0)
			printf(" %7" PRIu64 "\n", ctl_number(s, "stale_blocks"));
		else
			printf(" %7s\n", "-");
	}
}

static void print_attention(const json_t *files)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(files, "attention"), i, f) {
		const char *path = ctl_text(f, "path");

		printf("file:     %s, inode %" PRIu64 ", epoch %" PRIu64 ":%s%s\n", *path ? path : "(no name)",
		       ctl_number(f, "ino"), ctl_number(f, "epoch"),
		       json_is_true(json_object_get(f, "stale")) ? " stale" : "",
		       json_is_true(json_object_get(f, "unclean")) ? " to recover" : "");
	}
	if (ctl_number(files, "stale") + ctl_number(files, "unclean") > i && i > 0)
		printf("file:     and others\n");
}

static void print_bad_pages(const json_t *pages)
{
	json_t *b;
	size_t i;

	json_array_foreach(pages, i, b) {
		const char *path = ctl_text(b, "path");

		if (i == BAD_PAGES_SHOWN) {
			printf("bad page: and %zu others\n", json_array_size(pages) - i);
			break;
		}
		printf("bad page: %s, inode %" PRIu64 ", block %" PRIu64 ", page %" PRIu64
		       ", on core server %" PRIu64 "\n", *path ? path : "(no name)", ctl_number(b, "ino"),
		       ctl_number(b, "block"), ctl_number(b, "page"), ctl_number(b, "server"));
	}
}

/* Core servers of a site and their space, from the status' list. */
static json_t *site_summary(const json_t *site, const json_t *servers)
{
	json_int_t cores = 0, access = 0, hints = 0, up = 0, total = 0, free_bytes = 0;
	json_t *s;
	size_t i;

	json_array_foreach(servers, i, s) {
		if (strcmp(ctl_text(s, "site"), ctl_text(site, "name")) != 0)
			continue;
		bool core = strcmp(ctl_text(s, "kind"), "core") == 0;

		cores += core;
		access += strcmp(ctl_text(s, "kind"), "access") == 0;
		hints += strcmp(ctl_text(s, "kind"), "hint") == 0;
		up += strcmp(ctl_text(s, "state"), "up") == 0;
		total += core ? (json_int_t)ctl_number(s, "total") : 0;
		free_bytes += core ? (json_int_t)ctl_number(s, "free") : 0;
	}
	return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
	                 (json_int_t)ctl_number(site, "id"), "name", ctl_text(site, "name"),
	                 "core_servers", cores, "access_servers", access, "hint_servers", hints, "up", up,
	                 "total", total, "free", free_bytes);
}

static json_t *summaries(const json_t *status)
{
	json_t *sites = json_array(), *s;
	size_t i;

	json_array_foreach(json_object_get(status, "sites"), i, s)
		json_array_append_new(sites, site_summary(s, json_object_get(status, "servers")));
	return sites;
}

static void print_sites(const json_t *sites)
{
	json_t *s;
	size_t i;

	printf("%6s  %-14s %5s %7s %5s %4s %10s %10s\n", "ID", "SITE", "CORE", "ACCESS", "HINT", "UP",
	       "TOTAL", "FREE");
	json_array_foreach(sites, i, s)
		printf("%6" PRIu64 "  %-14s %5" PRIu64 " %7" PRIu64 " %5" PRIu64 " %4" PRIu64 " %10s %10s\n",
		       ctl_number(s, "id"), ctl_text(s, "name"), ctl_number(s, "core_servers"),
		       ctl_number(s, "access_servers"), ctl_number(s, "hint_servers"), ctl_number(s, "up"),
		       ctl_size_text(ctl_number(s, "total")), ctl_size_text(ctl_number(s, "free")));
}

static void print_moves(const json_t *moves)
{
	uint64_t stuck = ctl_number(moves, "files_stuck");

	if (!moves)
		return;
	if (!json_is_true(json_object_get(moves, "counted"))) {
		printf("moves:    files that have to leave drained core servers are being counted\n");
		return;
	}
	printf("moves:    %" PRIu64 " files have to leave drained core servers\n",
	       ctl_number(moves, "files_left"));
	if (stuck)
		printf("moves:    %" PRIu64 " of them have no place to go to; add core servers elsewhere\n",
		       stuck);
}

static void print_status(const json_t *status)
{
	const json_t *files = json_object_get(status, "files");
	json_t *w, *sites;
	size_t i;

	printf("health:   %s\n", ctl_text(status, "health"));
	printf("leader:   hint server %" PRIu64 ", term %" PRIu64 ", log committed to %" PRIu64
	       ", map %" PRIu64 ", incarnation %" PRIu64 "\n", ctl_number(status, "leader"),
	       ctl_number(status, "term"), ctl_number(status, "commit"), ctl_number(status, "map"),
	       ctl_number(status, "incarnation"));
	print_votes(status);
	printf("files:    %" PRIu64 ", of them %" PRIu64 " open for writing, %" PRIu64 " with stale replicas, %"
	       PRIu64 " to recover, %" PRIu64 " deleted but open\n", ctl_number(files, "total"),
	       ctl_number(files, "held"), ctl_number(files, "stale"), ctl_number(files, "unclean"),
	       ctl_number(files, "orphans"));
	print_attention(files);
	print_moves(json_object_get(status, "moves"));
	print_bad_pages(json_object_get(status, "bad_pages"));
	json_array_foreach(json_object_get(status, "warnings"), i, w)
		printf("warning:  %s\n", json_string_value(w));
	putchar('\n');
	sites = summaries(status);
	print_sites(sites);
	json_decref(sites);
	putchar('\n');
	print_servers(json_object_get(status, "servers"));
}

enum ctl_exit ctl_status(struct ctl *c)
{
	json_t *status = ctl_get_status(c);
	enum ctl_exit code = CTL_OK;
	bool healthy = strcmp(ctl_text(status, "health"), "healthy") == 0;

	if (!status)
		return CTL_FAILED;
	ctl_add_bad_pages(c, status);
	if (c->json)
		code = ctl_print_json(status);
	else
		print_status(status);
	json_decref(status);
	return code == CTL_OK && !healthy ? CTL_DEGRADED : code;
}

enum ctl_exit ctl_server_list(struct ctl *c)
{
	json_t *status = ctl_get_status(c);
	enum ctl_exit code = CTL_OK;

	if (!status)
		return CTL_FAILED;
	if (c->json)
		code = ctl_print_json(json_object_get(status, "servers"));
	else
		print_servers(json_object_get(status, "servers"));
	json_decref(status);
	return code;
}

enum ctl_exit ctl_site_list(struct ctl *c)
{
	json_t *status = ctl_get_status(c), *sites;
	enum ctl_exit code = CTL_OK;

	if (!status)
		return CTL_FAILED;
	sites = summaries(status);
	if (c->json)
		code = ctl_print_json(sites);
	else
		print_sites(sites);
	json_decref(sites);
	json_decref(status);
	return code;
}
