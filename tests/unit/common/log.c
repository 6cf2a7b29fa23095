/* The log's limit per key, and the trace ring: bounded, oldest first, shown when a CHECK fails. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/trace.h"

static char text[1 << 20];

/* What is written to standard error between the two. */
static FILE *capture_begin(int *saved)
{
	FILE *f = tmpfile();

	cr_assert(f);
	fflush(stderr);
	*saved = dup(STDERR_FILENO);
	dup2(fileno(f), STDERR_FILENO);
	return f;
}

static void capture_end(FILE *f, int saved)
{
	fflush(stderr);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
}

static unsigned lines_with(const char *part)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, part)) != NULL; p++)
		n++;
	return n;
}

/* A flood of one event neither fills the disk nor hides another event; what was left out is known. */
Test(log, of_one_key_is_limited)
{
	struct log_counts n;
	int saved;
	FILE *f = capture_begin(&saved);

	log_init("core 1", LOG_INFO);
	for (unsigned i = 0; i < 1000; i++)
		log_warn("test.flood", "line %u", i);
	log_error("test.other", "not to be missed");
	log_debug("test.debug", "not wanted");
	capture_end(f, saved);
	log_get_counts(&n);
	cr_expect_eq(n.lines[LOG_WARN], lines_with("test.flood"));
	cr_expect_lt(n.lines[LOG_WARN], 1000);
	cr_expect_eq(n.lines[LOG_WARN] + n.left_out, 1000);
	cr_expect(strstr(text, "warn core 1 test.flood: line 0\n"));
	cr_expect(strstr(text, "error core 1 test.other: not to be missed\n"));
	cr_expect_eq(n.lines[LOG_DEBUG] + lines_with("test.debug"), 0);
}

Test(trace, keeps_the_newest_oldest_first)
{
	FILE *f = tmpfile();

	trace_clear();
	for (unsigned i = 0; i < TRACE_EVENTS + 10; i++)
		TRACE("event i", i, 0, 0, 0);
	trace_dump(f);
	rewind(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	cr_expect_eq(lines_with("event i: "), TRACE_EVENTS);
	cr_expect_eq(strncmp(text, "event i: 10 0 0 0\n", 18), 0, "%.40s", text);
}

Test(trace, is_shown_when_a_check_fails)
{
	int saved, state;
	FILE *f = capture_begin(&saved);
	pid_t pid = fork();

	if (pid == 0) {
		TRACE("last seen", 7, 8, 9, 10);
		CHECK(!"what must not be");
	}
	cr_assert(waitpid(pid, &state, 0) == pid);
	capture_end(f, saved);
	cr_expect(WIFSIGNALED(state) && WTERMSIG(state) == SIGABRT);
	cr_expect(strstr(text, "CHECK failed at "));
	cr_expect(strstr(text, "last seen: 7 8 9 10\n"));
}
