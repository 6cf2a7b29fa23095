/* The loop's life: started, ticked before each sleep, ended by a signal or by the server itself. */
#include "common/server/server_uv.h"

#include <signal.h>
#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/trace.h"

static void on_signal(uv_signal_t *handle, int signum)
{
	struct server *s = handle->data;

	clock_awake();
	if (signum == SIGUSR1) {
		trace_dump(stderr);
		return;
	}
	if (s->stopping) {
		if (s->ops->stop_now)
			s->ops->stop_now(s);
		return;
	}
	log_info("server.stop", "stopping on %s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	server_stop(s, EXIT_STOPPED);
}

static void catch_signals(struct server *s)
{
	static const int caught[] = {SIGTERM, SIGINT, SIGUSR1};

	_Static_assert(ARRAY_LEN(caught) == ARRAY_LEN(s->signal), "a handle for each");
	for (unsigned i = 0; i < ARRAY_LEN(caught); i++) {
		uv_signal_init(&s->loop, &s->signal[i]);
		s->signal[i].data = s;
		uv_signal_start(&s->signal[i], on_signal, caught[i]);
		uv_unref((uv_handle_t *)&s->signal[i]);
	}
}

static void on_timer(uv_timer_t *t)
{
	(void)t;
	clock_awake(); /* the work is done in on_prepare() */
}

void server_wake(struct server *s)
{
	if (!uv_is_closing((uv_handle_t *)&s->tick))
		uv_timer_start(&s->tick, on_timer, 0, 0);
}

/* After each batch of events, before the loop sleeps. */
static void on_prepare(uv_prepare_t *p)
{
	struct server *s = container_of(p, struct server, prepare);
	nsec_t now = clock_boottime(), due = s->ops->tick(s, now);

	server_count_turn(s);
	if (uv_is_closing((uv_handle_t *)&s->tick))
		return;
	if (due == NSEC_NEVER)
		uv_timer_stop(&s->tick);
	else
		uv_timer_start(&s->tick, on_timer,
		               due <= now ? 0 : (uint64_t)DIV_UP(due - now, NSEC_MSEC), 0);
}

void server_stop(struct server *s, enum exit_status status)
{
	if (s->stopping)
		return;
	s->stopping = true;
	s->status = status;
	s->ops->stop(s);
	server_wake(s);
}

void server_end(struct server *s)
{
	uv_close((uv_handle_t *)&s->tick, NULL);
	uv_close((uv_handle_t *)&s->prepare, NULL);
	for (unsigned i = 0; i < ARRAY_LEN(s->signal); i++)
		uv_close((uv_handle_t *)&s->signal[i], NULL);
}

int server_run(struct server *s)
{
	char why[WHY_BYTES] = "";

	server_env_init(s);
	uv_loop_init(&s->loop);
	s->started = clock_boottime();
	uv_timer_init(&s->loop, &s->tick);
	uv_prepare_init(&s->loop, &s->prepare);
	catch_signals(s);
	if (s->ops->start(s, why, sizeof(why)) < 0) {
		log_error("server.start", "%s", why);
		server_stop(s, EXIT_FAILED);
	}
	/* Started after what start() started, a disk's own for example, so that it runs before that
	 * (libuv: last started, first run) and what ticks submit goes to the kernel in this round. */
	if (!uv_is_closing((uv_handle_t *)&s->prepare))
		uv_prepare_start(&s->prepare, on_prepare);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&s->loop) == 0);
	if (s->ops->close)
		s->ops->close(s);
	return (int)s->status;
}
