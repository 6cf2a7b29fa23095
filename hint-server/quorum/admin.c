/* Verbs of the admin's tool, as MSG_admin: a name and JSON both ways. */
#include "common/server/admin.h"
#include "hint-server/catalog/path.h"
#include "hint-server/quorum/hint_private.h"

#include <stdlib.h>

#define PATH_SHOWN_BYTES 4096

static const char no_such_path[] = "no such file or directory in the datastore; a path counts from its root, "
                                   "such as /dir/file, or lies in one of its mounts";

static json_t *run_status(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	return hint_status_json(ctx);
}

static json_t *run_file_show(void *ctx, const json_t *args, enum status *status)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	uint64_t ino = (uint64_t)json_integer_value(json_object_get(args, "ino"));
	char found[PATH_SHOWN_BYTES];
	json_t *o;

	if (ino && catalog_path_of(((struct hint *)ctx)->catalog, ino, found, sizeof(found)) == 0)
		path = found;
	if (!path)
		return ino ? admin_refuse(status, STATUS_NOT_FOUND, "no such inode, or no name of it is left")
		           : admin_refuse(status, STATUS_INVALID, "no path given");
	o = hint_file_json(ctx, (struct span){(const uint8_t *)path, (uint32_t)strlen(path)});
	return o ? o : admin_refuse(status, STATUS_NOT_FOUND, no_such_path);
}

/* {"path"} -> hint_why_json(), with the path */
static json_t *run_why(void *ctx, const json_t *args, enum status *status)
{
	struct hint *h = ctx;
	const char *path = json_string_value(json_object_get(args, "path"));
	json_t *o;
	uint64_t ino;

	if (!path)
		return admin_refuse(status, STATUS_INVALID, "no path given");
	if (!h->leader)
		return admin_refuse(status, STATUS_NOT_LEADER, "this hint server does not lead");
	if (catalog_path(h->catalog, (struct span){(const uint8_t *)path, (uint32_t)strlen(path)}, &ino) ||
	    !(o = hint_why_json(h, ino)))
		return admin_refuse(status, STATUS_NOT_FOUND, no_such_path);
	admin_put_text(o, "path", path);
	return o;
}

static json_t *run_stepdown(void *ctx, const json_t *args, enum status *status)
{
	struct hint *h = ctx;

	(void)args;
	if (!h->leader)
		return admin_refuse(status, STATUS_NOT_LEADER, "this hint server does not lead");
	voter_stepdown(h->voter);
	return json_object();
}

static uint16_t site_called(const struct hint *h, const char *name)
{
	const struct map *m = catalog_map(h->catalog);

	for (unsigned i = 0; name && i < m->sites; i++)
		if (strcmp(m->site[i].name, name) == 0)
			return m->site[i].id;
	return 0;
}

static json_t *drain_refused(enum status *status, enum status s, bool site)
{
	if (s == STATUS_NOT_FOUND)
		return admin_refuse(status, s, site ? "no core server is known in a site of that name"
		                                    : "no core server of that number is known");
	if (s == STATUS_NO_SPACE)
		return admin_refuse(status, s, "too little would be left: files have three replicas, in "
		                    "three sites where there are as many; add core servers first");
	return admin_refuse(status, s, "this hint server does not lead");
}

/* {"server": id} or {"site": name}, {"drain": bool} -> {"changed": false if it is so already} */
static json_t *run_drain(void *ctx, const json_t *args, enum status *status)
{
	struct hint *h = ctx;
	const char *name = json_string_value(json_object_get(args, "site"));
	server_id_t server = (server_id_t)json_integer_value(json_object_get(args, "server"));
	bool drain = json_is_true(json_object_get(args, "drain"));
	enum status s;
	json_t *o;

	s = name ? hint_drain_site(h, site_called(h, name), drain) : hint_drain(h, server, drain);
	if (s != STATUS_OK && s != STATUS_EXISTS)
		return drain_refused(status, s, name != NULL);
	o = json_object();
	admin_put_bool(o, "changed", s == STATUS_OK);
	return o;
}

static const struct admin_verb verbs[] = {
	{"status", run_status},
	{"file-show", run_file_show},
	{"stepdown", run_stepdown},
	{"drain", run_drain},
	{"why", run_why},
};

void admin_recv(struct hint *h, const struct msg *m)
{
	struct msg reply;
	char *text = admin_answer(verbs, ARRAY_LEN(verbs), h, m, &reply);

	relay_reply(h, &reply, m);
	free(text);
}
