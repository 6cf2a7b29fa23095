/* server drain, server undrain, site remove, site restore. */
#include "hint-server/ctl/commands.h"

#include <stdio.h>
#include <stdlib.h>

static enum ctl_exit order(struct ctl *c, const char *what, json_t *args, bool drain)
{
	enum ctl_exit code = CTL_OK;
	json_t *reply = NULL;
	int rc;

	(void)json_object_set_new(args, "drain", json_boolean(drain));
	rc = ctl_ask_leader(c, "drain", args, &reply);
	if (rc < 0) {
		if (rc == -EREMOTEIO)
			fprintf(stderr, "distcloud: %s: %s\n", what, ctl_text(reply, "error"));
		code = CTL_FAILED;
	} else if (c->json) {
		code = ctl_print_json(reply);
	} else if (!json_is_true(json_object_get(reply, "changed"))) {
		printf("%s: is so already\n", what);
	} else if (drain) {
		printf("%s: replicas leave for other core servers in the background, clients go on; distcloud "
		       "status says how many files are left, distcloud server list when it is drained\n", what);
	} else {
		printf("%s: takes replicas of new files again\n", what);
	}
	json_decref(reply);
	json_decref(args);
	return code;
}

static enum ctl_exit server(struct ctl *c, const char *text, bool drain)
{
	char *end, what[64];
	unsigned long id = strtoul(text, &end, 10);

	if (*end != '\0' || id == 0 || id > UINT32_MAX) {
		fprintf(stderr, "distcloud: %s is no server's number; see distcloud server list\n", text);
		return CTL_USAGE;
	}
	snprintf(what, sizeof(what), "core server %lu", id);
	return order(c, what, json_pack("{s:I}", "server", (json_int_t)id), drain);
}

static enum ctl_exit site(struct ctl *c, const char *name, bool drain)
{
	json_t *args = json_pack("{s:s}", "site", name);
	char what[64];

	if (!args) {
		fprintf(stderr, "distcloud: a site's name is text; see distcloud site list\n");
		return CTL_USAGE;
	}
	snprintf(what, sizeof(what), "site %.50s", name);
	return order(c, what, args, drain);
}

enum ctl_exit ctl_server_drain(struct ctl *c, const char *id)
{
	return server(c, id, true);
}

enum ctl_exit ctl_server_undrain(struct ctl *c, const char *id)
{
	return server(c, id, false);
}

enum ctl_exit ctl_site_remove(struct ctl *c, const char *name)
{
	return site(c, name, true);
}

enum ctl_exit ctl_site_restore(struct ctl *c, const char *name)
{
	return site(c, name, false);
}
