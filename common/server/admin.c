#include "common/server/admin.h"

#include <stdio.h>

void admin_put(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

void admin_put_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, json_string(text));
}

void admin_put_bool(json_t *o, const char *key, bool yes)
{
	json_object_set_new(o, key, json_boolean(yes));
}

json_t *admin_refuse(enum status *status, enum status why_status, const char *why)
{
	json_t *o = json_object();

	*status = why_status;
	admin_put_text(o, "error", why);
	return o;
}

const struct admin_verb *admin_find(const struct admin_verb *verbs, unsigned n, struct span name)
{
	for (unsigned i = 0; i < n; i++)
		if (strlen(verbs[i].name) == name.len && memcmp(verbs[i].name, name.p, name.len) == 0)
			return &verbs[i];
	return NULL;
}

static json_t *refuse_unknown(const struct admin_verb *verbs, unsigned n, enum status *status)
{
	char text[256] = "this server knows the verbs";
	size_t len = strlen(text);

	for (unsigned i = 0; i < n && len < sizeof(text); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s", i ? "," : "",
		                        verbs[i].name);
	return admin_refuse(status, STATUS_INVALID, text);
}

char *admin_answer(const struct admin_verb *verbs, unsigned n, void *ctx, const struct msg *m,
                   struct msg *reply)
{
	const struct admin_verb *verb = admin_find(verbs, n, m->admin.verb);
	struct span in = m->admin.json;
	json_t *args = in.len > 0 ? json_loadb((const char *)in.p, in.len, 0, NULL) : NULL, *out;
	enum status status = STATUS_OK;
	char *text;

	out = verb ? verb->run(ctx, args, &status) : refuse_unknown(verbs, n, &status);
	text = json_dumps(out, JSON_COMPACT);
	CHECK(text);
	json_decref(out);
	json_decref(args);
	*reply = (struct msg){
		.type = MSG_TYPE_admin_reply,
		.admin_reply = {
			.status = (uint16_t)status,
			.json = {(const uint8_t *)text, (uint32_t)strlen(text)},
		},
	};
	return text;
}
