/* file show, scrub, scrub status: questions that also go to the core servers. */
#include "hint-server/ctl/commands.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <stdio.h>

#define ANSWERS_WITHIN (2 * NSEC_SEC)
#define CONNECTED_WITHIN (500 * NSEC_MSEC)
#define PAUSE (10 * NSEC_MSEC)

json_t *ctl_ask_server(struct ctl *c, const json_t *server, const char *verb, json_t *args)
{
	server_id_t id = (server_id_t)ctl_number(server, "id");
	json_t *answer = NULL;
	int rc = ask(c->ask, id, ctl_text(server, "addr"), id, verb, args, ANSWERS_WITHIN, &answer);

	if (rc == 0)
		return answer;
	json_decref(answer);
	return NULL;
}

static bool is_core(const json_t *server)
{
	return strcmp(ctl_text(server, "kind"), "core") == 0;
}

/* Connects to all core servers at once; whoever is not connected soon is not asked. One without a session may
 * answer all the same. */
static void connect_cores(struct ctl *c, const json_t *servers)
{
	nsec_t until = clock_boottime() + CONNECTED_WITHIN;
	bool waits = true;
	json_t *s;
	size_t i;

	json_array_foreach(servers, i, s)
		if (is_core(s))
			ask_connect(c->ask, (server_id_t)ctl_number(s, "id"), ctl_text(s, "addr"));
	while (waits && clock_boottime() < until) {
		waits = false;
		json_array_foreach(servers, i, s)
			waits |= is_core(s) && !ask_connected(c->ask, (server_id_t)ctl_number(s, "id"));
		if (waits)
			ask_pause(c->ask, PAUSE);
	}
}

/* Calls each(core server, its answer or NULL) for every core server. */
static void ask_cores(struct ctl *c, const json_t *servers, const char *verb, json_t *args,
                      void (*each)(struct ctl *c, const json_t *server, json_t *answer, void *ctx),
                      void *ctx)
{
	json_t *s;
	size_t i;

	connect_cores(c, servers);
	json_array_foreach(servers, i, s) {
		if (!is_core(s))
			continue;
		bool there = ask_connected(c->ask, (server_id_t)ctl_number(s, "id"));
		json_t *answer = there ? ctl_ask_server(c, s, verb, args) : NULL;

		each(c, s, answer, ctx);
		json_decref(answer);
	}
}

static void add_blocks(struct ctl *c, const json_t *server, json_t *answer, void *ctx)
{
	json_t *row = json_pack("{s:I, s:s}", "server", (json_int_t)ctl_number(server, "id"), "site",
	                        ctl_text(server, "site"));

	(void)c;
	if (answer) {
		json_object_set_new(row, "blocks", json_integer((json_int_t)ctl_number(answer, "blocks")));
		json_object_set_new(row, "bytes", json_integer((json_int_t)ctl_number(answer, "bytes")));
	} else {
		json_object_set_new(row, "blocks", json_null());
	}
	json_array_append_new(ctx, row);
}

static void print_list(const char *label, const json_t *list)
{
	json_t *v;
	size_t i;

	printf("%-16s", label);
	json_array_foreach(list, i, v)
		printf("%s%s", i > 0 ? ", " : "", json_string_value(v));
	putchar('\n');
}

static void print_stale(const json_t *runs)
{
	json_t *r;
	size_t i;

	if (json_array_size(runs) == 0)
		printf("stale:          no block\n");
	json_array_foreach(runs, i, r)
		printf("stale:          blocks %" PRIu64 " to %" PRIu64 " in %s\n", ctl_number(r, "first"),
		       ctl_number(r, "last"), ctl_text(r, "site"));
}

static void print_size(const json_t *file)
{
	const char *from = ctl_text(file, "size_from");

	printf("size:           %" PRIu64 " (%s)", ctl_number(file, "size"),
	       ctl_size_text(ctl_number(file, "size")));
	if (strcmp(from, "holder") == 0)
		printf(", as its writer has it now; %s not yet in two sites",
		       ctl_size_text(ctl_number(file, "unflushed_bytes")));
	else if (strcmp(from, "lease") == 0)
		printf(" when its lease was taken; the writer does not answer");
	putchar('\n');
}

static void print_data(const json_t *file)
{
	json_t *b;
	size_t i;

	printf("blocks of:      %s\n", ctl_size_text(ctl_number(file, "block_bytes")));
	printf("home:           %s%s\n", ctl_text(file, "home"),
	       json_is_true(json_object_get(file, "moving")) ? ", a replica is moving" : "");
	print_list("replica sites:", json_object_get(file, "sites"));
	if (ctl_number(file, "holder"))
		printf("lease:          exclusive, access server %" PRIu64 ", epoch %" PRIu64 "\n",
		       ctl_number(file, "holder"), ctl_number(file, "epoch"));
	else
		printf("lease:          nobody writes it, epoch %" PRIu64 "\n", ctl_number(file, "epoch"));
	print_stale(json_object_get(file, "stale_runs"));
	json_array_foreach(json_object_get(file, "blocks"), i, b) {
		printf("core server %-4" PRIu64 "%s: ", ctl_number(b, "server"), ctl_text(b, "site"));
		if (json_is_null(json_object_get(b, "blocks")))
			printf("no answer\n");
		else
			printf("%" PRIu64 " blocks, %s\n", ctl_number(b, "blocks"),
			       ctl_size_text(ctl_number(b, "bytes")));
	}
}

static void print_file(const json_t *file)
{
	printf("path:           %s\n", ctl_text(file, "path"));
	printf("inode:          %" PRIu64 " (%s)\n", ctl_number(file, "ino"), ctl_text(file, "type"));
	if (!json_object_get(file, "block_bytes"))
		return;
	print_size(file);
	print_list("state:", json_object_get(file, "state"));
	print_data(file);
}

/* While a file is held, its size is the holder's to tell, as for stat(2). */
static void add_holder(struct ctl *c, json_t *file, const json_t *servers, json_t *which)
{
	uint64_t holder = ctl_number(file, "holder");
	json_t *s, *answer = NULL;
	size_t i;

	json_array_foreach(servers, i, s)
		if (holder && ctl_number(s, "id") == holder)
			answer = ctl_ask_server(c, s, "file", which);
	if (json_is_true(json_object_get(answer, "held"))) {
		json_object_set(file, "size", json_object_get(answer, "size"));
		json_object_set(file, "unflushed_bytes", json_object_get(answer, "unflushed_bytes"));
		json_object_set(file, "epoch", json_object_get(answer, "epoch"));
	}
	json_object_set_new(file, "size_from",
	                    json_string(!holder ? "catalog" :
	                                json_object_get(file, "unflushed_bytes") ? "holder" : "lease"));
	json_decref(answer);
}

/* What the servers know of the file; CTL_FAILED after a word about why nothing. */
static enum ctl_exit ask_servers(struct ctl *c, json_t *file)
{
	json_t *status, *blocks, *which;

	if (!json_object_get(file, "block_bytes"))
		return CTL_OK; /* a directory and the like: all of it is in the catalog */
	status = ctl_get_status(c);
	if (!status)
		return CTL_FAILED;
	blocks = json_array();
	which = json_pack("{s:I}", "ino", (json_int_t)ctl_number(file, "ino"));
	add_holder(c, file, json_object_get(status, "servers"), which);
	ask_cores(c, json_object_get(status, "servers"), "file", which, add_blocks, blocks);
	json_object_set_new(file, "blocks", blocks);
	json_decref(which);
	json_decref(status);
	return CTL_OK;
}

static enum ctl_exit show(struct ctl *c, const char *given, const char *path)
{
	json_t *args = json_pack("{s:s}", "path", path), *file = NULL;
	int rc = args ? ctl_ask_leader(c, "file-show", args, &file) : -EILSEQ;
	enum ctl_exit code = CTL_FAILED;

	json_decref(args);
	if (rc == -EILSEQ)
		fprintf(stderr, "distcloud: the path is not UTF-8 text; such names cannot be asked for\n");
	else if (rc == -EREMOTEIO && strcmp(given, path) != 0)
		fprintf(stderr, "distcloud: %s (%s in the datastore): %s\n", given, path,
		        ctl_text(file, "error"));
	else if (rc == -EREMOTEIO)
		fprintf(stderr, "distcloud: %s: %s\n", given, ctl_text(file, "error"));
	else if (rc == 0)
		code = ask_servers(c, file);
	if (code == CTL_OK && c->json)
		code = ctl_print_json(file);
	else if (code == CTL_OK)
		print_file(file);
	json_decref(file);
	return code;
}

enum ctl_exit ctl_file_show(struct ctl *c, const char *given)
{
	char *path = ctl_datastore_path(given);
	enum ctl_exit code = show(c, given, path);

	mem_free(path);
	return code;
}

struct scrub_start {
	json_t *rows;
	bool failed;
};

static void add_start(struct ctl *c, const json_t *server, json_t *answer, void *ctx)
{
	struct scrub_start *s = ctx;

	s->failed = s->failed || !answer;
	json_array_append_new(s->rows, json_pack("{s:I, s:s, s:b}", "server",
	                                         (json_int_t)ctl_number(server, "id"), "site",
	                                         ctl_text(server, "site"), "started", answer != NULL));
	if (!c->json)
		printf("core server %" PRIu64 " (%s): %s\n", ctl_number(server, "id"),
		       ctl_text(server, "site"), answer ? "scrub started" : "no answer");
}

enum ctl_exit ctl_scrub(struct ctl *c)
{
	json_t *status = ctl_get_status(c);
	struct scrub_start s = {json_array(), false};
	enum ctl_exit code = status ? CTL_OK : CTL_FAILED;

	if (status)
		ask_cores(c, json_object_get(status, "servers"), "scrub", NULL, add_start, &s);
	if (status && c->json)
		code = ctl_print_json(s.rows);
	json_decref(s.rows);
	json_decref(status);
	return code == CTL_OK && s.failed ? CTL_DEGRADED : code;
}

struct scrub_report {
	json_t *rows;
	bool attention;
};

static void add_report(struct ctl *c, const json_t *server, json_t *answer, void *ctx)
{
	struct scrub_report *r = ctx;
	json_t *row = answer ? json_deep_copy(answer) : json_object();

	(void)c;
	json_object_set_new(row, "server", json_integer((json_int_t)ctl_number(server, "id")));
	json_object_set_new(row, "site", json_string(ctl_text(server, "site")));
	json_object_set_new(row, "answered", json_boolean(answer != NULL));
	json_array_append_new(r->rows, row);
	r->attention = r->attention || !answer || ctl_number(answer, "bad_pages_now") > 0;
}

static void print_reports(const json_t *rows)
{
	json_t *row;
	size_t i;

	printf("%6s  %-14s %-8s %10s %10s %10s %10s\n", "ID", "SITE", "SCRUB", "BLOCKS", "BAD FOUND",
	       "REPAIRED", "BAD NOW");
	json_array_foreach(rows, i, row)
		printf("%6" PRIu64 "  %-14s %-8s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 "\n",
		       ctl_number(row, "server"), ctl_text(row, "site"),
		       !json_is_true(json_object_get(row, "answered")) ? "?" :
		       json_is_true(json_object_get(row, "running")) ? "running" : "idle",
		       ctl_number(row, "blocks_scrubbed"), ctl_number(row, "bad_pages_found"),
		       ctl_number(row, "repaired"), ctl_number(row, "bad_pages_now"));
}

enum ctl_exit ctl_scrub_status(struct ctl *c)
{
	json_t *status = ctl_get_status(c);
	struct scrub_report r = {json_array(), false};
	enum ctl_exit code = status ? CTL_OK : CTL_FAILED;

	if (status)
		ask_cores(c, json_object_get(status, "servers"), "scrub-report", NULL, add_report, &r);
	if (status && c->json)
		code = ctl_print_json(r.rows);
	else if (status)
		print_reports(r.rows);
	json_decref(r.rows);
	json_decref(status);
	return code == CTL_OK && r.attention ? CTL_DEGRADED : code;
}

/* Of the inode, as the leader knows it; NULL: it has none. */
static json_t *path_of(struct ctl *c, uint64_t ino, const json_t *known)
{
	json_t *args, *file = NULL, *path = NULL, *row;
	size_t i;

	json_array_foreach(known, i, row)
		if (ctl_number(row, "ino") == ino)
			return json_incref(json_object_get(row, "path"));
	args = json_pack("{s:I}", "ino", (json_int_t)ino);
	if (ctl_ask_leader(c, "file-show", args, &file) == 0)
		path = json_incref(json_object_get(file, "path"));
	json_decref(args);
	json_decref(file);
	return path;
}

static void add_bad(struct ctl *c, const json_t *server, json_t *answer, void *ctx)
{
	json_t *b, *path, *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "bad"), i, b) {
		path = path_of(c, ctl_number(b, "ino"), ctx);
		row = json_deep_copy(b);
		json_object_set_new(row, "server", json_integer((json_int_t)ctl_number(server, "id")));
		json_object_set_new(row, "path", path ? path : json_null());
		json_array_append_new(ctx, row);
	}
}

void ctl_add_bad_pages(struct ctl *c, json_t *status)
{
	json_t *list = json_array();

	ask_cores(c, json_object_get(status, "servers"), "scrub-report", NULL, add_bad, list);
	json_object_set_new(status, "bad_pages", list);
}
