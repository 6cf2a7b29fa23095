#include "hint-server/ctl/commands.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_WITHIN (3 * NSEC_SEC)
#define TRIES 3

static void say_refused(const char *verb, json_t *reply)
{
	const char *why = reply ? json_string_value(json_object_get(reply, "error")) : NULL;

	fprintf(stderr, "distcloud: %s: %s\n", verb, why ? why : "refused without a reason");
}

/* A leader may just have died: every hint server is asked, a few times over. */
int ctl_ask_leader(struct ctl *c, const char *verb, json_t *args, json_t **reply)
{
	int rc = -ETIMEDOUT;

	for (unsigned i = 0; i < TRIES * c->config->hints; i++) {
		const struct config_hint *h = &c->config->hint[i % c->config->hints];

		rc = ask(c->ask, h->id, h->addr, SERVER_LEADER, verb, args,
		         i < c->config->hints ? ANSWER_WITHIN / 3 : ANSWER_WITHIN, reply);
		if (rc == 0)
			return 0;
		if (rc == -EREMOTEIO && *reply) {
			say_refused(verb, *reply);
			json_decref(*reply);
			return rc;
		}
		json_decref(*reply);
	}
	fprintf(stderr, "distcloud: no hint server of %s answers with a leader's word (%s); are a majority "
	        "of them running and connected?\n", c->config_path, err_text(rc));
	return rc;
}

const char *ctl_size_text(uint64_t bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	static char text[4][32];
	static unsigned turn;
	char *out = text[turn++ % 4];
	double value = (double)bytes;
	unsigned i = 0;

	while (value >= 1024 && i < ARRAY_LEN(unit) - 1) {
		value /= 1024;
		i++;
	}
	snprintf(out, sizeof(text[0]), i == 0 ? "%.0f %s" : "%.1f %s", value, unit[i]);
	return out;
}

int ctl_print_json(const json_t *value)
{
	char *text = json_dumps(value, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	if (!text)
		return -EBADMSG;
	puts(text);
	free(text);
	return 0;
}

const char *ctl_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

uint64_t ctl_number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}
