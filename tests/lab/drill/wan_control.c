#include "tests/lab/drill/wan_control.h"

#include <stdio.h>
#include <stdlib.h>

#define WORDS_MAX 16
#define DELAY_MAX (60 * NSEC_SEC)

struct answer {
	char *text;
	size_t len, size;
};

PRINTF(2, 3) static void say(struct answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(a->text + a->len, a->size - a->len, fmt, ap);
	va_end(ap);
	a->len = MIN(a->len + (size_t)MAX(n, 0), a->size - 1);
}

static struct wan_link *find(struct wan *wan, const char *name)
{
	for (unsigned i = 0; i < wan->n; i++)
		if (strcmp(wan->link[i].name, name) == 0)
			return &wan->link[i];
	return NULL;
}

static void on_link(struct wan *wan, char **word, struct answer *a)
{
	struct wan_place place[2] = {{word[2], word[3]}, {word[4], word[5]}};
	char why[256];

	if (find(wan, word[1]))
		say(a, "error: there is a link %s already", word[1]);
	else if (wan->n == WAN_LINKS_MAX)
		say(a, "error: %u links are the most", WAN_LINKS_MAX);
	else if (strlen(word[1]) >= WAN_NAME_MAX)
		say(a, "error: a name of %zu characters is too long", strlen(word[1]));
	else if (wan_link_open(&wan->link[wan->n], word[1], place, &wan->held, why, sizeof(why)) < 0)
		say(a, "error: link %s: %s", word[1], why);
	else
		wan->n++, say(a, "ok");
}

/* Sets the condition `key`, if there is one of that name and the value is within its bounds. */
static bool set_condition(struct way_conditions *is, const char *key, uint64_t value)
{
	const struct {
		const char *key;
		uint64_t max;
		uint64_t *wide;
		unsigned *narrow;
	} keys[] = {
	    {"delay_ns", DELAY_MAX, (uint64_t *)&is->delay, NULL},
	    {"jitter_ns", DELAY_MAX, (uint64_t *)&is->jitter, NULL},
	    {"queue_ns", DELAY_MAX, (uint64_t *)&is->queue, NULL},
	    {"rate_bps", UINT64_MAX / NSEC_SEC, &is->rate, NULL},
	    {"loss", WAN_PER_ALL, NULL, &is->loss},
	    {"duplicate", WAN_PER_ALL, NULL, &is->duplicate},
	    {"corrupt", WAN_PER_ALL, NULL, &is->corrupt},
	};

	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		if (strcmp(keys[i].key, key) != 0 || value > keys[i].max)
			continue;
		if (keys[i].wide)
			*keys[i].wide = value;
		else
			*keys[i].narrow = (unsigned)value;
		return true;
	}
	return false;
}

static void on_set(struct wan *wan, char **word, struct answer *a)
{
	struct wan_link *l = find(wan, word[1]);

	if (!l || (strcmp(word[2], "0") != 0 && strcmp(word[2], "1") != 0)) {
		say(a, "error: there is no link %s or no direction %s", word[1], word[2]);
		return;
	}
	struct way *w = &l->end[word[2][0] - '0'].out;
	struct way_conditions is = w->is;
	for (char **pair = word + 3; *pair; pair++) {
		char *equals = strchr(*pair, '='), *end = NULL;
		uint64_t value = 0;

		if (equals) {
			*equals = 0;
			errno = 0;
			value = strtoull(equals + 1, &end, 10);
		}
		bool number = equals && end != equals + 1 && !*end && !errno;
		if (!number || !set_condition(&is, *pair, value)) {
			say(a, "error: %s=%s: no such condition, or not within its bounds", *pair,
			    equals ? equals + 1 : "");
			return;
		}
	}
	w->is = is;
	wan_link_adapt(l);
	say(a, "ok");
}

static void on_cut(struct wan *wan, char **word, struct answer *a)
{
	struct wan_link *l = find(wan, word[1]);

	if (!l) {
		say(a, "error: there is no link %s", word[1]);
		return;
	}
	wan_link_cut(l, strcmp(word[0], "cut") == 0);
	say(a, "ok");
}

static void on_show(struct wan *wan, char **word UNUSED, struct answer *a)
{
	say(a, "ok\n");
	for (unsigned i = 0; i < wan->n * 2; i++) {
		const struct wan_link *l = &wan->link[i / 2];
		const struct way_conditions *is = &l->end[i % 2].out.is;
		const struct way_counters *c = &l->end[i % 2].out.count;

		say(a, "%s %u cut=%d delay_ns=%" PRId64 " jitter_ns=%" PRId64 " rate_bps=%" PRIu64
		    " queue_ns=%" PRId64 " loss=%u duplicate=%u corrupt=%u", l->name, i % 2, l->cut,
		    is->delay, is->jitter, is->rate, is->queue, is->loss, is->duplicate, is->corrupt);
		say(a, " packets=%" PRIu64 " bytes=%" PRIu64 " lost=%" PRIu64 " overflow=%" PRIu64
		    " duplicated=%" PRIu64 " corrupted=%" PRIu64 " refused=%" PRIu64 " late_ns=%" PRId64
		    "\n", c->packets, c->bytes, c->lost, c->overflow, c->duplicated, c->corrupted,
		    c->refused, c->late);
	}
}

static const struct {
	const char *name;
	unsigned words_min, words_max;
	void (*run)(struct wan *wan, char **word, struct answer *a);
} commands[] = {
    {"link", 6, 6, on_link}, {"set", 4, WORDS_MAX, on_set}, {"cut", 2, 2, on_cut},
    {"join", 2, 2, on_cut},  {"show", 1, 1, on_show},
};

void wan_command(struct wan *wan, char *command, char *answer, size_t answer_len)
{
	struct answer a = {.text = answer, .size = answer_len};
	char *word[WORDS_MAX + 1] = {NULL}, *state = NULL;
	unsigned n = 0;

	for (char *w = strtok_r(command, " \n", &state); w; w = strtok_r(NULL, " \n", &state)) {
		if (n == WORDS_MAX) {
			say(&a, "error: more than %u words", WORDS_MAX);
			return;
		}
		word[n++] = w;
	}
	for (unsigned i = 0; n && i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, word[0]) != 0)
			continue;
		if (n < commands[i].words_min || n > commands[i].words_max)
			say(&a, "error: %s does not take %u words", word[0], n - 1);
		else
			commands[i].run(wan, word, &a);
		return;
	}
	say(&a, "error: no such command; there are link, set, cut, join and show");
}
