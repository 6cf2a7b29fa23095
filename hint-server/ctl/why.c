/* why: in sentences, what stands in the way of those who use a file, and what to do. */
#include "hint-server/ctl/commands.h"

#include "common/base/mem.h"

#include <stdio.h>

struct verdict {
	unsigned wrong;   /* sentences that are no good news */
};

static double seconds(const json_t *o, const char *key)
{
	return (double)ctl_number(o, key) / 1000;
}

static bool is_up(const json_t *server)
{
	const char *state = ctl_text(server, "state");

	return strcmp(state, "up") == 0 || strcmp(state, "draining") == 0 || strcmp(state, "drained") == 0;
}

/* --- replicas --- */

/* True: all core servers of the replica answer. */
static bool say_replica(const json_t *replica, struct verdict *v)
{
	const json_t *servers = json_object_get(replica, "servers");
	bool all = json_array_size(servers) > 0;
	json_t *s;
	size_t i;

	json_array_foreach(servers, i, s) {
		if (is_up(s))
			continue;
		all = false;
		v->wrong++;
		printf("- core server %" PRIu64 " in %s is %s: what it has of the file is out of reach; start "
		       "it, or see its log\n", ctl_number(s, "id"), ctl_text(replica, "site"),
		       ctl_text(s, "state"));
	}
	if (json_is_true(json_object_get(replica, "stale"))) {
		v->wrong++;
		printf("- the replica in %s lags; whoever holds the file, or the background, repairs it%s\n",
		       ctl_text(replica, "site"), all ? "" : " once its servers are back");
	}
	return all;
}

static void say_replicas(const json_t *why, struct verdict *v)
{
	const json_t *list = json_object_get(why, "replicas");
	unsigned good = 0;
	json_t *r;
	size_t i;

	json_array_foreach(list, i, r)
		good += say_replica(r, v);
	if (json_array_size(list) == 0 || good == json_array_size(list))
		return;
	if (good < 2)
		printf("- fewer than two of its replicas are whole in reach: parts of it can be neither "
		       "written nor recovered, and wait\n");
	else
		printf("- two of its replicas are in reach: it can be read and written\n");
}

/* --- leases --- */

static void say_holder(const json_t *why, struct verdict *v)
{
	const json_t *holder = json_object_get(why, "holder");

	if (!holder)
		return;
	printf("- access server %" PRIu64 " in %s holds it for writing, in epoch %" PRIu64 "\n",
	       ctl_number(holder, "id"), ctl_text(holder, "site"), ctl_number(why, "epoch"));
	if (!is_up(holder)) {
		v->wrong++;
		printf("- that server has no session (%s): others have the file as soon as its lease has "
		       "ended, in a few seconds\n", ctl_text(holder, "state"));
	}
	if (json_object_get(why, "asked_back_ms")) {
		v->wrong += ctl_number(why, "asked_back_ms") > 1000;
		printf("- somebody else wants it: it is asked back since %.1f s\n",
		       seconds(why, "asked_back_ms"));
	}
}

static void say_unclean(const json_t *why, struct verdict *v)
{
	const json_t *by = json_object_get(why, "lost_by");

	if (!json_is_true(json_object_get(why, "unclean")))
		return;
	v->wrong++;
	if (by)
		printf("- access server %" PRIu64 " in %s held it for writing when its session ended, and is "
		       "to find it as it was: who opens it recovers it at once, the background in %.0f s\n",
		       ctl_number(by, "id"), ctl_text(by, "site"), seconds(why, "recovered_in_ms"));
	else
		printf("- its writer's session ended: whoever opens it recovers it at once, else the "
		       "background does\n");
}

/* --- what access servers lost --- */

static void say_lost(const json_t *lost, struct verdict *v)
{
	uint64_t by = ctl_number(lost, "by"), handles = ctl_number(lost, "handles");

	printf("- access server %" PRIu64 " in %s lost it %.1f s ago, in epoch %" PRIu64 ": %s",
	       ctl_number(lost, "id"), ctl_text(lost, "site"), seconds(lost, "ms_ago"),
	       ctl_number(lost, "epoch"), ctl_text(lost, "why"));
	if (by)
		printf(" (access server %" PRIu64 ")", by);
	if (handles == 0) {
		printf("; no handle of then is open any more\n");
		return;
	}
	v->wrong++;
	printf("; %" PRIu64 " open handles give EIO until they are closed: end or restart what has it open "
	       "there\n", handles);
}

/* Adds "lost": [{"server", "site", and as the server tells}] of all access servers that answer. */
static void add_lost(struct ctl *c, json_t *why)
{
	json_t *status = ctl_get_status(c), *list = json_array(), *which, *s, *answer, *lost;
	size_t i;

	which = json_pack("{s:I}", "ino", (json_int_t)ctl_number(why, "ino"));
	json_array_foreach(json_object_get(status, "servers"), i, s) {
		if (strcmp(ctl_text(s, "kind"), "access") != 0 || !is_up(s))
			continue;
		answer = ctl_ask_server(c, s, "file", which);
		lost = json_object_get(answer, "lost");
		if (lost) {
			json_object_set(lost, "id", json_object_get(s, "id"));
			json_object_set(lost, "site", json_object_get(s, "site"));
			json_array_append(list, lost);
		}
		json_decref(answer);
	}
	json_object_set_new(why, "lost", list);
	json_decref(which);
	json_decref(status);
}

static enum ctl_exit say(const json_t *why)
{
	struct verdict v = {0};
	json_t *lost;
	size_t i;

	printf("%s, inode %" PRIu64 ":\n", ctl_text(why, "path"), ctl_number(why, "ino"));
	say_replicas(why, &v);
	say_holder(why, &v);
	say_unclean(why, &v);
	json_array_foreach(json_object_get(why, "lost"), i, lost)
		say_lost(lost, &v);
	if (v.wrong == 0)
		printf("- nothing is wrong with it\n");
	return v.wrong ? CTL_DEGRADED : CTL_OK;
}

enum ctl_exit ctl_why(struct ctl *c, const char *given)
{
	char *path = ctl_datastore_path(given);
	json_t *args = json_pack("{s:s}", "path", path), *why = NULL;
	int rc = args ? ctl_ask_leader(c, "why", args, &why) : -EILSEQ;
	enum ctl_exit code = CTL_FAILED;

	if (rc == -EILSEQ)
		fprintf(stderr, "distcloud: the path is not UTF-8 text; such names cannot be asked for\n");
	else if (rc == -EREMOTEIO)
		fprintf(stderr, "distcloud: %s: %s\n", given, ctl_text(why, "error"));
	if (rc == 0) {
		add_lost(c, why);
		code = c->json ? ctl_print_json(why) : say(why);
	}
	json_decref(args);
	json_decref(why);
	mem_free(path);
	return code;
}
