/* Verbs of the admin's tool, as MSG_admin: a name and JSON both ways. */
#include "common/base/mem.h"
#include "hint-server/quorum/hint_private.h"

#include <jansson.h>
#include <stdlib.h>

struct answer {
	enum status status;
	char *json;  /* malloc'ed; NULL: {} */
};

static struct answer refusal(enum status status, const char *why)
{
	json_t *o = json_object();
	struct answer a = {status, NULL};

	(void)json_object_set_new(o, "error", json_string(why));
	a.json = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	return a;
}

static struct answer status(struct hint *h, json_t *args)
{
	(void)args;
	return (struct answer){STATUS_OK, hint_status_json(h)};
}

static struct answer file_show(struct hint *h, json_t *args)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	struct answer a = {STATUS_NOT_FOUND, NULL};

	if (!path)
		return refusal(STATUS_INVALID, "no path given");
	a.json = hint_file_json(h, (struct span){(const uint8_t *)path, (uint32_t)strlen(path)});
	if (a.json)
		a.status = STATUS_OK;
	else
		a = refusal(STATUS_NOT_FOUND, "no such file");
	return a;
}

static struct answer stepdown(struct hint *h, json_t *args)
{
	(void)args;
	if (!h->leader)
		return refusal(STATUS_NOT_LEADER, "this hint server does not lead");
	voter_stepdown(h->voter);
	return (struct answer){STATUS_OK, NULL};
}

static const struct {
	const char *name;
	struct answer (*run)(struct hint *h, json_t *args);
} verbs[] = {
	{"status", status},
	{"file-show", file_show},
	{"stepdown", stepdown},
};

static bool is_verb(const char *name, struct span verb)
{
	return strlen(name) == verb.len && memcmp(name, verb.p, verb.len) == 0;
}

void admin_recv(struct hint *h, const struct msg *m)
{
	struct msg r = {.type = MSG_TYPE_admin_reply};
	struct answer a;
	json_t *args = json_loadb((const char *)m->admin.json.p, m->admin.json.len, 0, NULL);
	const char *text = "{}";
	size_t i = 0;

	while (i < ARRAY_LEN(verbs) && !is_verb(verbs[i].name, m->admin.verb))
		i++;
	a = i < ARRAY_LEN(verbs) ? verbs[i].run(h, args)
	                         : refusal(STATUS_INVALID, "a hint server does not know this verb");
	if (a.json)
		text = a.json;
	r.admin_reply.status = (uint16_t)a.status;
	r.admin_reply.json = (struct span){(const uint8_t *)text, (uint32_t)strlen(text)};
	relay_reply(h, &r, m);
	free(a.json);
	json_decref(args);
}
