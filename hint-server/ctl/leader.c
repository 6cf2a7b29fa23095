#include "hint-server/ctl/commands.h"

#include "common/base/clock.h"

#include <stdio.h>

#define ANSWER_WITHIN NSEC_SEC
#define PAUSE_AFTER_REFUSAL (200 * NSEC_MSEC)

static const char *verdict(int rc)
{
	switch (rc) {
	case -EHOSTUNREACH:
		return "no connection: it does not run, cannot be reached, or is of another cluster";
	case -ETIMEDOUT:
		return "connected, but no answer";
	case -EAGAIN:
		return "runs, but finds no leader";
	default:
		return err_text(rc);
	}
}

static void say_nobody(const struct ctl *c, const int *rc)
{
	const struct config *config = c->config;
	unsigned votes = 0;

	for (unsigned i = 0; i < config->hints; i++)
		votes += config->hint[i].vote;
	fprintf(stderr, "distcloud: the cluster of %s has no leader that answered within %" PRIu64 " s:\n",
	        c->config_path, (uint64_t)(c->timeout / NSEC_SEC));
	for (unsigned i = 0; i < config->hints; i++)
		fprintf(stderr, "  hint server %" PRIu32 " at %s: %s\n", config->hint[i].id,
		        config->hint[i].addr, verdict(rc[i]));
	fprintf(stderr, "%u of %u votes must run and reach each other; start the missing servers, their "
	        "logs say more\n", votes / 2 + 1, votes);
}

/* A leader may just have died: every hint server is asked, again and again. */
int ctl_ask_leader(struct ctl *c, const char *verb, json_t *args, json_t **reply)
{
	nsec_t end = clock_boottime() + c->timeout;
	int rc[CONFIG_HINTS_MAX] = {0};

	for (unsigned i = 0;; i = (i + 1) % c->config->hints) {
		const struct config_hint *h = &c->config->hint[i];
		nsec_t left = end - clock_boottime();

		if (left <= 0 && rc[c->config->hints - 1] != 0)
			break;
		rc[i] = ask(c->ask, h->id, h->addr, SERVER_LEADER, verb, args,
		            MAX(MIN(left, ANSWER_WITHIN), 50 * NSEC_MSEC), reply);
		if (rc[i] == 0 || rc[i] == -EREMOTEIO)
			return rc[i];
		json_decref(*reply);
		*reply = NULL;
		if (rc[i] == -EAGAIN)
			ask_pause(c->ask, PAUSE_AFTER_REFUSAL);
	}
	say_nobody(c, rc);
	return -ETIMEDOUT;
}

json_t *ctl_get_status(struct ctl *c)
{
	json_t *status = NULL;
	int rc = ctl_ask_leader(c, "status", NULL, &status);

	if (rc == 0)
		return status;
	if (rc == -EREMOTEIO)
		fprintf(stderr, "distcloud: status: %s\n", ctl_text(status, "error"));
	json_decref(status);
	return NULL;
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

const char *ctl_text(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

uint64_t ctl_number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}
