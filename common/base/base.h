/* What every file of distcloud may use: checks, small helpers, basic types.
 *
 * Includes nothing of ours but err.h and owns no state. */
#pragma once

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/err.h"

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF(fmt_arg, first_arg) __attribute__((format(printf, fmt_arg, first_arg)))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#undef MIN /* <sys/param.h>, which <uv.h> includes, has them too */
#undef MAX
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define ALIGN_DOWN(x, a) ((x) - (x) % (a))
#define ALIGN_UP(x, a) ALIGN_DOWN((x) + (a)-1, a)
#define DIV_UP(x, d) (((x) + (d)-1) / (d))

/* Nanoseconds on CLOCK_BOOTTIME (virtual time in the simulator). Never a wall clock. */
typedef int64_t nsec_t;
#define NSEC_MSEC ((nsec_t)1000 * 1000)
#define NSEC_SEC ((nsec_t)1000 * 1000 * 1000)
#define NSEC_NEVER INT64_MAX

/* Stops the program (after dumping the trace rings) unless `cond` holds. Always on, in release
 * builds too: a storage server that is wrong about itself must stop. For our own logic only:
 * input from a disk or a peer is validated and answered with an error. */
#define CHECK(cond) \
	(__builtin_expect(!!(cond), 1) ? (void)0 : check_failed(__FILE__, __LINE__, #cond))

NORETURN void check_failed(const char *file, int line, const char *cond);
