#include "hint-server/ctl/commands.h"

#include "common/base/clock.h"

#include <stdio.h>

#define ANSWER_WITHIN NSEC_SEC
#define PAUSE_AFTER_REFUSAL (200 * NSEC_MSEC)
#define PAUSE_FOR_CONNECTIONS (20 * NSEC_MSEC)
#define CONNECTED_WITHIN (300 * NSEC_MSEC) /* then those that are not are asked in their turn, too */

/* What a hint server did when it was asked last. */
struct outcome {
	int rc;
	char refused[256];
};

static const char *verdict(const struct outcome *o)
{
	switch (o->rc) {
	case -EPERM:
		return o->refused;
	case -EHOSTUNREACH:
		return "no connection: it does not run, or cannot be reached";
	case -ETIMEDOUT:
		return "connected, but no answer";
	case -EAGAIN:
		return "runs, but finds no leader";
	default:
		return err_text(o->rc);
	}
}

static void say_nobody(const struct ctl *c, const struct outcome *outcome)
{
	const struct config *config = c->config;
	unsigned votes = 0;

	for (unsigned i = 0; i < config->hints; i++)
		votes += config->hint[i].vote;
	fprintf(stderr, "distcloud: the cluster of %s has no leader that answered within %g s:\n",
	        c->config_path, (double)c->timeout / NSEC_SEC);
	for (unsigned i = 0; i < config->hints; i++)
		fprintf(stderr, "  hint server %" PRIu32 " at %s: %s\n", config->hint[i].id,
		        config->hint[i].addr, verdict(&outcome[i]));
	fprintf(stderr, "%u of %u votes must run and reach each other; start the missing servers, their "
	        "logs say more\n", votes / 2 + 1, votes);
}

/* Nobody talks to us, and asking again changes nothing. */
static bool all_refuse(const struct outcome *outcome, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (outcome[i].rc != -EPERM)
			return false;
	return true;
}

/* The next one in turn, of those that are connected as long as others may still become so. */
static unsigned next_of(struct ctl *c, unsigned i, nsec_t until)
{
	unsigned n = c->config->hints;

	for (;;) {
		for (unsigned k = 0; k < n; k++)
			if (ask_connected(c->ask, c->config->hint[(i + k) % n].id))
				return (i + k) % n;
		if (clock_boottime() >= until)
			return i;
		ask_pause(c->ask, PAUSE_FOR_CONNECTIONS);
	}
}

/* A leader may just have died: every hint server is asked, again and again. All are connected to at once:
 * a site that is cut off costs no time. */
int ctl_ask_leader(struct ctl *c, const char *verb, json_t *args, json_t **reply)
{
	nsec_t end = clock_boottime() + c->timeout;
	struct outcome outcome[CONFIG_HINTS_MAX] = {0};
	unsigned n = c->config->hints, i = 0;

	for (unsigned k = 0; k < n; k++) {
		outcome[k].rc = -EHOSTUNREACH; /* until it is asked */
		ask_connect(c->ask, c->config->hint[k].id, c->config->hint[k].addr);
	}
	for (; !all_refuse(outcome, n); i = (i + 1) % n) {
		nsec_t left = end - clock_boottime();
		const struct config_hint *h;
		int rc;

		if (left <= 0)
			break;
		i = next_of(c, i, clock_boottime() + MIN(left, CONNECTED_WITHIN));
		h = &c->config->hint[i];
		rc = ask(c->ask, h->id, h->addr, SERVER_LEADER, verb, args,
		            MAX(MIN(left, ANSWER_WITHIN), 50 * NSEC_MSEC), reply);
		if (rc == 0 || rc == -EREMOTEIO)
			return rc;
		/* One that had no time to answer is as it was when it had. */
		if (rc != -ETIMEDOUT || outcome[i].rc == -EHOSTUNREACH || left >= ANSWER_WITHIN)
			outcome[i].rc = rc;
		snprintf(outcome[i].refused, sizeof(outcome[i].refused), "refuses: %.200s", ask_why(c->ask));
		json_decref(*reply);
		*reply = NULL;
		if (rc == -EAGAIN || rc == -EPERM)
			ask_pause(c->ask, PAUSE_AFTER_REFUSAL);
	}
	say_nobody(c, outcome);
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
