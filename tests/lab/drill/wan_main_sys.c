/* distcloud-wan: the wide-area network of the lab, one process for all links. See wan_control.h for
 * what it is told over its socket. It lives as long as its standard input is open, so that it never
 * outlives whom it works for; its devices go with it. */
#include "tests/lab/drill/wan_control.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define EVENTS_MAX 64
#define ANSWER_MAX (128 << 10)
#define COMMAND_MAX 4096

/* What an event's number means: an end of a link counts from 0. */
enum { ON_STDIN = WAN_LINKS_MAX * 2, ON_LISTENER, ON_CLIENT };

static const char usage[] =
    "usage: distcloud-wan SOCKET\n"
    "The wide-area network of the lab: joins network namespaces by links with delay, jitter, rate\n"
    "and loss, as it is told over the unix socket (SOCK_SEQPACKET). Ends with its standard input.\n";

static int die(const char *what)
{
	fprintf(stderr, "distcloud-wan: %s: %s\n", what, strerror(errno));
	return 1;
}

static int watch(int epoll, int fd, unsigned number)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = number | (uint64_t)fd << 32};

	return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev);
}

static int open_listener(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(at.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(at.sun_path, path, strlen(path) + 1);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0)
		return -1;
	return fd;
}

/* One command of a client; false: it has gone. */
static bool on_client(struct wan *wan, int epoll, int fd)
{
	static char command[COMMAND_MAX], answer[ANSWER_MAX];
	unsigned before = wan->n;
	ssize_t n = recv(fd, command, sizeof(command) - 1, 0);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	command[n] = 0;
	wan_command(wan, command, answer, sizeof(answer));
	for (unsigned i = before * 2; i < wan->n * 2; i++)
		CHECK(watch(epoll, wan->link[i / 2].end[i % 2].fd, i) == 0);
	return send(fd, answer, strlen(answer), MSG_NOSIGNAL) >= 0;
}

/* false: the owner has gone. */
static bool on_event(struct wan *wan, int epoll, uint64_t data)
{
	unsigned number = (unsigned)data;
	int fd = (int)(data >> 32);
	char ignored[64];

	switch (number) {
	case ON_STDIN:
		return read(fd, ignored, sizeof(ignored)) > 0;
	case ON_LISTENER:
		fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0 && watch(epoll, fd, ON_CLIENT) < 0)
			close(fd);
		return true;
	case ON_CLIENT:
		if (!on_client(wan, epoll, fd))
			close(fd);
		return true;
	default:
		wan_link_read(&wan->link[number / 2], number % 2);
		return true;
	}
}

static nsec_t deliver(struct wan *wan)
{
	nsec_t next = NSEC_NEVER;

	for (unsigned i = 0; i < wan->n; i++) {
		nsec_t due = wan_link_deliver(&wan->link[i]);

		next = MIN(next, due);
	}
	return next;
}

static int run(struct wan *wan, int epoll)
{
	for (;;) {
		struct epoll_event ev[EVENTS_MAX];
		nsec_t next = deliver(wan), now = clock_boottime(), wait = next > now ? next - now : 0;
		struct timespec until = {.tv_sec = wait / NSEC_SEC, .tv_nsec = wait % NSEC_SEC};
		int n = epoll_pwait2(epoll, ev, EVENTS_MAX, next == NSEC_NEVER ? NULL : &until, NULL);

		if (n < 0 && errno != EINTR)
			return die("epoll");
		for (int i = 0; i < n; i++) {
			/* a device whose namespace has been removed would report that for ever */
			if ((ev[i].events & EPOLLERR) && (unsigned)ev[i].data.u64 < ON_STDIN)
				epoll_ctl(epoll, EPOLL_CTL_DEL, (int)(ev[i].data.u64 >> 32), NULL);
			else if (!on_event(wan, epoll, ev[i].data.u64))
				return 0;
		}
	}
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc != 2 || argv[1][0] == '-') {
		fputs(usage, stderr);
		return 2;
	}
	/* Delays must hold also while the servers keep the machine busy. Not allowed: then as it comes. */
	struct sched_param priority = {.sched_priority = 1};
	if (sched_setscheduler(0, SCHED_RR, &priority) < 0)
		setpriority(PRIO_PROCESS, 0, -20);
	prctl(PR_SET_TIMERSLACK, 1ul);
	struct wan *wan = mem_new(sizeof(*wan));
	int epoll = epoll_create1(EPOLL_CLOEXEC), listener = open_listener(argv[1]);
	if (listener < 0)
		return die(argv[1]);
	if (epoll < 0 || watch(epoll, 0, ON_STDIN) < 0 || watch(epoll, listener, ON_LISTENER) < 0)
		return die("epoll");
	int rc = run(wan, epoll);
	unlink(argv[1]);
	for (unsigned i = 0; i < wan->n; i++)
		wan_link_close(&wan->link[i]);
	CHECK(wan->held == 0);
	mem_free(wan);
	return rc;
}
