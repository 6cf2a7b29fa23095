#include "tests/sim/jobs.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/mem.h"

/* What a child says of one seed. */
struct verdict {
	uint64_t seed;
	struct run_result r;
};

struct child {
	pid_t pid;         /* 0: none */
	int fd;
	uint64_t at, last; /* the seed it is at; the last it was given */
};

struct pool {
	const struct jobs_options *o;
	struct jobs_result *out;
	struct child child[JOBS_MAX];
	uint64_t next;     /* seed nobody was given yet */
	time_t end;
};

#define BATCH 20

static void silence(void)
{
	if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
		_exit(2);
}

static NORETURN void work(const struct pool *p, uint64_t first, uint64_t last, int fd)
{
	struct run_options o = p->o->run;
	struct verdict v;

	silence();
	/* Runs free what they took: memory stays in the process instead of going back and forth. */
	mallopt(M_MMAP_THRESHOLD, 1 << 26);
	mallopt(M_TRIM_THRESHOLD, 1 << 29);
	for (uint64_t seed = first; seed <= last; seed++) {
		memset(&v, 0, sizeof(v));
		v.seed = seed;
		o.seed = seed;
		o.tracing = TRACING_OFF;
		run(&o, &v.r);
		if (write(fd, &v, sizeof(v)) != sizeof(v))
			_exit(2);
	}
	_exit(0);
}

static void start(struct pool *p, struct child *ch, uint64_t first, uint64_t last)
{
	int fd[2];

	if (pipe(fd) < 0) {
		perror("pipe");
		exit(2);
	}
	fflush(stdout);
	ch->pid = fork();
	if (ch->pid < 0) {
		perror("fork");
		exit(2);
	}
	if (ch->pid == 0) {
		close(fd[0]);
		work(p, first, last, fd[1]);
	}
	close(fd[1]);
	ch->fd = fd[0];
	ch->at = first;
	ch->last = last;
}

static bool more(const struct pool *p)
{
	if (p->o->stop_at_failure && p->out->failed)
		return false;
	return p->end ? time(NULL) < p->end : p->next <= p->o->last;
}

static void feed(struct pool *p, struct child *ch)
{
	uint64_t last = p->next + (p->o->stop_at_failure ? 1 : BATCH) - 1;

	if (!p->end)
		last = MIN(last, p->o->last);
	start(p, ch, p->next, last);
	p->next = last + 1;
}

static void count(struct pool *p, uint64_t seed, bool failed, const char *why)
{
	if (!failed) {
		p->out->passed++;
		return;
	}
	if (p->out->failed++ == 0 || seed < p->out->first_failed) {
		p->out->first_failed = seed;
		snprintf(p->out->why, sizeof(p->out->why), "%s", why);
	}
	if (p->out->failed <= JOBS_FAILED_MAX && !p->o->quiet)
		printf("seed %" PRIu64 ": %s\n", seed, why);
}

/* True while the child lives. */
static bool hear(struct pool *p, struct child *ch)
{
	struct verdict v;
	ssize_t n = read(ch->fd, &v, sizeof(v));

	if (n == sizeof(v)) {
		count(p, v.seed, v.r.failed, v.r.failure);
		p->out->ops += v.r.ops;
		p->out->events += v.r.events;
		p->out->virtual_time += v.r.virtual_time;
		ch->at = v.seed + 1;
		return true;
	}
	close(ch->fd);
	waitpid(ch->pid, NULL, 0);
	ch->pid = 0;
	if (ch->at > ch->last)
		return false;
	count(p, ch->at, true, "the process died");
	if (ch->at < ch->last)
		start(p, ch, ch->at + 1, ch->last);
	return ch->pid != 0;
}

static void loop(struct pool *p)
{
	for (;;) {
		struct pollfd fds[JOBS_MAX];
		unsigned of[JOBS_MAX], n = 0;

		for (unsigned i = 0; i < p->o->jobs; i++) {
			struct child *ch = &p->child[i];

			if (!ch->pid && more(p))
				feed(p, ch);
			if (ch->pid) {
				of[n] = i;
				fds[n++] = (struct pollfd){.fd = ch->fd, .events = POLLIN};
			}
		}
		if (n == 0)
			return;
		if (poll(fds, n, -1) < 0)
			continue;
		for (unsigned i = 0; i < n; i++) {
			if (fds[i].revents)
				hear(p, &p->child[of[i]]);
		}
	}
}

/* Again, in a child of its own, with a trace: whoever looks at the failure wants to see it. */
static void replay(const struct jobs_options *o, uint64_t seed)
{
	pid_t pid;

	printf("--- the end of seed %" PRIu64 " ---\n", seed);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		struct run_options r = o->run;
		struct run_result result;

		r.seed = seed;
		r.tracing = TRACING_RING;
		run(&r, &result);
		fflush(stdout);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

void jobs_run(const struct jobs_options *o, struct jobs_result *out)
{
	struct pool *p = mem_new(sizeof(*p));

	CHECK(o->jobs > 0 && o->jobs <= JOBS_MAX);
	*out = (struct jobs_result){0};
	p->o = o;
	p->out = out;
	p->next = o->first;
	p->end = o->soak_seconds ? time(NULL) + o->soak_seconds : 0;
	loop(p);
	if (out->failed && o->verbose && !o->quiet)
		replay(o, out->first_failed);
	mem_free(p);
}
