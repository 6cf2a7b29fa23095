/* The end of a mount as fs_stop() makes it, without a mount: SIGTERM reaches the loop whatever thread
 * the kernel picks; threads that sit in read(2) are kicked out of it by a signal of their own, the
 * last one posts, and the loop joins them all. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "access-server/fuse/mailbox_uv.h"

#define THREADS 8
#define KICK_MS 5

static struct mailbox box;
static struct letter gone, ready[THREADS];
static pthread_t thread[THREADS];
static uv_signal_t term;
static uv_timer_t kick;
static int pipe_fd[2];
static bool stopping;            /* atomic */
static unsigned ended;           /* atomic */
static unsigned ready_seen;      /* the loop's */

static void on_kick(int signum)
{
	(void)signum;
}

static void on_closed(void *ctx)
{
	(void)ctx;
}

static void deliver_gone(struct letter *letter)
{
	(void)letter;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	mailbox_close(&box, on_closed, NULL);
	uv_close((uv_handle_t *)&term, NULL);
	uv_close((uv_handle_t *)&kick, NULL);
}

static void deliver_ready(struct letter *letter)
{
	(void)letter;
	if (++ready_seen == THREADS)
		CHECK(kill(getpid(), SIGTERM) == 0);
}

static void *serve(void *arg)
{
	char c;

	mailbox_post(&box, arg, deliver_ready);
	while (!__atomic_load_n(&stopping, __ATOMIC_ACQUIRE)) {
		ssize_t n = read(pipe_fd[0], &c, 1);

		CHECK(n < 0 && errno == EINTR);
	}
	if (__atomic_add_fetch(&ended, 1, __ATOMIC_ACQ_REL) == THREADS)
		mailbox_post(&box, &gone, deliver_gone);
	return NULL;
}

/* Again and again: a thread on its way into read(2) needs another one. */
static void on_timer(uv_timer_t *t)
{
	(void)t;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_kill(thread[i], SIGUSR2);
}

static void on_term(uv_signal_t *s, int signum)
{
	(void)s;
	CHECK(signum == SIGTERM);
	__atomic_store_n(&stopping, true, __ATOMIC_RELEASE);
	uv_timer_start(&kick, on_timer, 0, KICK_MS);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_kick}; /* without SA_RESTART */
	uv_loop_t loop;

	CHECK(pipe(pipe_fd) == 0 && sigaction(SIGUSR2, &sa, NULL) == 0);
	CHECK(uv_loop_init(&loop) == 0 && mailbox_open(&box, &loop) == 0);
	CHECK(uv_timer_init(&loop, &kick) == 0 && uv_signal_init(&loop, &term) == 0);
	CHECK(uv_signal_start(&term, on_term, SIGTERM) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, serve, &ready[i]) == 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(ended == THREADS);
	CHECK(uv_loop_close(&loop) == 0);
	printf("%u threads\n", THREADS);
	return 0;
}
