/* The log: events an operator acts on, one line each on standard error.
 *
 * A line is: time, level, server, key, text. Keys are stable names such as "net.bad_frame", for
 * searching and alarms. Repeated lines of one key are limited to 10 a second; what was left out
 * is counted in the next line. Servers log; protocol cores trace instead (trace.h). */
#pragma once

#include "common/base/base.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_init(const char *who, enum log_level up_to);
MUST_CHECK int log_level_parse(const char *text, enum log_level *out); /* -EINVAL */
void log_line(enum log_level level, const char *key, const char *fmt, ...) PRINTF(3, 4);

struct log_counts {
	uint64_t lines[LOG_DEBUG + 1]; /* written, by level */
	uint64_t left_out;             /* of all keys, since the start */
};
void log_get_counts(struct log_counts *out);

#define log_error(key, ...) log_line(LOG_ERROR, key, __VA_ARGS__)
#define log_warn(key, ...) log_line(LOG_WARN, key, __VA_ARGS__)
#define log_info(key, ...) log_line(LOG_INFO, key, __VA_ARGS__)
#define log_debug(key, ...) log_line(LOG_DEBUG, key, __VA_ARGS__)
