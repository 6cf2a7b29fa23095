#include "common/base/log.h"
#include "common/base/clock.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define KEYS_MAX 128
#define LINES_PER_SECOND 10

struct key_rate {
	const char *key;
	nsec_t since;
	unsigned lines;
	unsigned left_out;
};

static const char *const level_name[] = {"error", "warn", "info", "debug"};
static char server_name[64] = "distcloud";
static enum log_level level_max = LOG_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* lines come from several threads */
static struct key_rate rates[KEYS_MAX];
static struct log_counts counts;

void log_init(const char *who, enum log_level up_to)
{
	snprintf(server_name, sizeof(server_name), "%s", who);
	level_max = up_to;
}

int log_level_parse(const char *text, enum log_level *out)
{
	for (unsigned i = 0; i < ARRAY_LEN(level_name); i++) {
		if (strcmp(text, level_name[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Slot of `key`; the table is small, so an unlucky key shares the last slot. */
static struct key_rate *rate_of(const char *key)
{
	unsigned i = 0;

	while (i < KEYS_MAX - 1 && rates[i].key && strcmp(rates[i].key, key) != 0)
		i++;
	rates[i].key = key;
	return &rates[i];
}

/* Whether this line may be written; *left_out tells how many were not, before. */
static bool admit(const char *key, unsigned *left_out)
{
	struct key_rate *r = rate_of(key);
	nsec_t now = clock_boottime();

	*left_out = 0;
	if (now - r->since > NSEC_SEC) {
		*left_out = r->left_out;
		*r = (struct key_rate){.key = key, .since = now};
	}
	if (r->lines >= LINES_PER_SECOND) {
		r->left_out++;
		counts.left_out++;
		return false;
	}
	r->lines++;
	return true;
}

void log_line(enum log_level level, const char *key, const char *fmt, ...)
{
	char stamp[32], text[1024];
	unsigned left_out;
	time_t seconds;
	struct tm tm;
	va_list ap;

	if (level > level_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	seconds = (time_t)(clock_wall() / (uint64_t)NSEC_SEC);
	gmtime_r(&seconds, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", &tm);

	pthread_mutex_lock(&lock);
	if (admit(key, &left_out)) {
		counts.lines[level]++;
		fprintf(stderr, "%s %s %s %s: %s", stamp, level_name[level], server_name, key, text);
		if (left_out > 0)
			fprintf(stderr, " (%u such lines left out)", left_out);
		fputc('\n', stderr);
	}
	pthread_mutex_unlock(&lock);
}

void log_get_counts(struct log_counts *out)
{
	pthread_mutex_lock(&lock);
	*out = counts;
	pthread_mutex_unlock(&lock);
}
