/* Which pending signals mean that a process dies, and who may do all. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access-server/fuse/caller.h"

static void on_signal(int signum)
{
	(void)signum;
}

/* A stopped child with `signum` pending: stopped processes act on SIGKILL and SIGCONT only. */
static pid_t stopped_with(int signum, void (*prepare)(void))
{
	pid_t pid = fork();
	int status;

	cr_assert_geq(pid, 0);
	if (pid == 0) {
		if (prepare)
			prepare();
		raise(SIGSTOP);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	cr_assert_eq(kill(pid, signum), 0);
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static bool dying_with(int signum, void (*prepare)(void))
{
	pid_t pid = stopped_with(signum, prepare);
	bool dying = caller_dying(pid);

	end(pid);
	return dying;
}

static void catch_it(void)
{
	signal(SIGTERM, on_signal);
}

static void ignore_it(void)
{
	signal(SIGTERM, SIG_IGN);
}

static void block_it(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

Test(caller, lives_without_a_signal)
{
	cr_assert_not(caller_dying(getpid()));
}

Test(caller, dies_of_what_it_does_not_handle)
{
	cr_assert(dying_with(SIGTERM, NULL));
	cr_assert(dying_with(SIGQUIT, NULL));
	cr_assert(dying_with(SIGALRM, NULL));
}

Test(caller, lives_with_signals_it_handles)
{
	cr_assert_not(dying_with(SIGTERM, catch_it));
	cr_assert_not(dying_with(SIGTERM, ignore_it));
	cr_assert_not(dying_with(SIGTERM, block_it));
}

Test(caller, lives_with_signals_that_end_nobody)
{
	cr_assert_not(dying_with(SIGCHLD, NULL));
	cr_assert_not(dying_with(SIGURG, NULL));
	cr_assert_not(dying_with(SIGWINCH, NULL));
}

Test(caller, knows_nothing_of_threads_it_cannot_see)
{
	cr_assert_not(caller_dying(0));
	cr_assert_not(caller_dying(-1));
}

/* Whoever gave up root is none, whatever he may have kept else. */
Test(caller, administrators_have_the_capability)
{
	pid_t pid;

	if (geteuid() != 0)
		cr_skip_test("gives up root");
	cr_assert(caller_admin(getpid()));
	cr_assert_not(caller_admin(0));
	pid = fork();
	if (pid == 0) {
		if (setresuid(1000, 1000, 1000) == 0)
			raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, NULL, WUNTRACED);
	cr_assert_not(caller_admin(pid));
	end(pid);
}
