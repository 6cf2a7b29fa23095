/* What `distcloud` may ask a server: a verb and JSON, answered with JSON and a status. */
#pragma once

#include <jansson.h>

#include "common/wire/msg.h"

struct admin_verb {
	const char *name;
	/* Returns a new object, which the caller releases; *status is STATUS_OK unless set. `args` is
	 * NULL when none or no JSON came. */
	json_t *(*run)(void *ctx, const json_t *args, enum status *status);
};

const struct admin_verb *admin_find(const struct admin_verb *verbs, unsigned n, struct span name);

/* Answers the question *m: *reply is an admin_reply with status and text, its addresses to be filled
 * in. Its text points into the returned memory, which the caller gives to free() when it is sent. */
char *admin_answer(const struct admin_verb *verbs, unsigned n, void *ctx, const struct msg *m,
                   struct msg *reply);

/* {"error": why}, with a status. */
json_t *admin_refuse(enum status *status, enum status why_status, const char *why);

void admin_put(json_t *o, const char *key, uint64_t n);
void admin_put_text(json_t *o, const char *key, const char *text);
void admin_put_bool(json_t *o, const char *key, bool yes);
