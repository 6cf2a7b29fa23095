/* Questions to a server: the verb decides, and whatever comes is answered. */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "common/server/admin.h"

static json_t *run_double(void *ctx, const json_t *args, enum status *status)
{
	json_int_t n = json_integer_value(json_object_get(args, "n"));
	json_t *o;

	if (!args)
		return admin_refuse(status, STATUS_INVALID, "say n");
	o = json_object();
	admin_put(o, "n", (uint64_t)(n * *(int *)ctx));
	return o;
}

static const struct admin_verb verbs[] = {{"double", run_double}, {"other", run_double}};

static char *answer(const char *verb, const char *json, enum status *status)
{
	struct msg reply, m = {.type = MSG_TYPE_admin};
	int factor = 2;
	char *text;

	m.admin.verb = (struct span){(const uint8_t *)verb, (uint32_t)strlen(verb)};
	m.admin.json = (struct span){(const uint8_t *)json, (uint32_t)strlen(json)};
	text = admin_answer(verbs, ARRAY_LEN(verbs), &factor, &m, &reply);
	cr_assert_eq(reply.type, MSG_TYPE_admin_reply);
	cr_assert_eq(reply.admin_reply.json.p, (const uint8_t *)text);
	cr_assert_eq(reply.admin_reply.json.len, strlen(text));
	*status = (enum status)reply.admin_reply.status;
	return text;
}

static void expect(const char *verb, const char *json, enum status status, const char *text)
{
	enum status got;
	char *s = answer(verb, json, &got);

	cr_expect_eq(got, status);
	cr_expect_str_eq(s, text);
	free(s);
}

Test(admin, answers_by_the_verb)
{
	expect("double", "{\"n\":21}", STATUS_OK, "{\"n\":42}");
}

Test(admin, refuses_what_it_does_not_know_and_says_what_it_does)
{
	expect("doub", "", STATUS_INVALID, "{\"error\":\"this server knows the verbs double, other\"}");
	expect("", "", STATUS_INVALID, "{\"error\":\"this server knows the verbs double, other\"}");
}

Test(admin, lives_with_arguments_that_are_none)
{
	expect("double", "", STATUS_INVALID, "{\"error\":\"say n\"}");
	expect("double", "{\"n\":", STATUS_INVALID, "{\"error\":\"say n\"}");
	expect("double", "{\"n\":\"x\"}", STATUS_OK, "{\"n\":0}");
}
