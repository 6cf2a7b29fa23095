/* file show, scrub, scrub status: questions that also go to the core servers. */
#include "hint-server/ctl/commands.h"

#include <stdio.h>

#define CORE_ANSWERS_WITHIN (2 * NSEC_SEC)

/* Calls each(core server, its answer or NULL) for every core server of the cluster. */
static int ask_cores(struct ctl *c, const char *verb, json_t *args,
                     void (*each)(struct ctl *c, const json_t *server, json_t *answer, void *ctx),
                     void *ctx)
{
	json_t *status, *s;
	size_t i;
	int rc = ctl_ask_leader(c, "status", NULL, &status);

	if (rc < 0)
		return rc;
	json_array_foreach(json_object_get(status, "servers"), i, s) {
		server_id_t id = (server_id_t)ctl_number(s, "id");
		json_t *answer = NULL;

		if (strcmp(ctl_text(s, "kind"), "core") != 0)
			continue;
		rc = ask(c->ask, id, ctl_text(s, "addr"), id, verb, args, CORE_ANSWERS_WITHIN, &answer);
		each(c, s, rc == 0 ? answer : NULL, ctx);
		json_decref(answer);
	}
	json_decref(status);
	return 0;
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

	printf("%s", label);
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

static void print_file(const json_t *file)
{
	json_t *b;
	size_t i;

	printf("path:           %s\n", ctl_text(file, "path"));
	printf("inode:          %" PRIu64 " (%s)\n", ctl_number(file, "ino"), ctl_text(file, "type"));
	printf("size:           %" PRIu64 " (%s)%s, in blocks of %s\n", ctl_number(file, "size"),
	       ctl_size_text(ctl_number(file, "size")),
	       ctl_number(file, "holder") ? " when its lease was taken" : "",
	       ctl_size_text(ctl_number(file, "block_bytes")));
	print_list("state:          ", json_object_get(file, "state"));
	printf("home:           %s\n", ctl_text(file, "home"));
	print_list("replica sites:  ", json_object_get(file, "sites"));
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

enum ctl_exit ctl_file_show(struct ctl *c, const char *path)
{
	json_t *args = json_pack("{s:s}", "path", path), *file, *blocks = json_array(), *which;
	int rc = ctl_ask_leader(c, "file-show", args, &file);

	json_decref(args);
	if (rc < 0) {
		json_decref(blocks);
		return CTL_FAILED;
	}
	which = json_pack("{s:I}", "ino", (json_int_t)ctl_number(file, "ino"));
	rc = ask_cores(c, "file", which, add_blocks, blocks);
	json_decref(which);
	json_object_set_new(file, "blocks", blocks);
	if (c->json)
		ctl_print_json(file);
	else
		print_file(file);
	json_decref(file);
	return rc < 0 ? CTL_FAILED : CTL_OK;
}

static void print_scrub(struct ctl *c, const json_t *server, json_t *answer, void *ctx)
{
	bool *failed = ctx;

	(void)c;
	*failed = *failed || !answer;
	printf("core server %" PRIu64 " (%s): %s\n", ctl_number(server, "id"), ctl_text(server, "site"),
	       answer ? "scrub started" : "no answer");
}

enum ctl_exit ctl_scrub(struct ctl *c)
{
	bool failed = false;

	if (ask_cores(c, "scrub", NULL, print_scrub, &failed) < 0)
		return CTL_FAILED;
	return failed ? CTL_DEGRADED : CTL_OK;
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
	struct scrub_report r = {json_array(), false};

	if (ask_cores(c, "scrub-report", NULL, add_report, &r) < 0) {
		json_decref(r.rows);
		return CTL_FAILED;
	}
	if (c->json)
		ctl_print_json(r.rows);
	else
		print_reports(r.rows);
	json_decref(r.rows);
	return r.attention && !c->json ? CTL_DEGRADED : CTL_OK;
}
