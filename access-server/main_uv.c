/* distcloud-access: options, configuration, signals, exit status. */
#include "access-server/access.h"

#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/iobuf.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/trace.h"

static const char usage[] =
	"usage: distcloud-access --config FILE\n"
	"\n"
	"Mounts the datastore on this machine.\n"
	"\n"
	"  -c, --config FILE  configuration; its [server] section has kind = access\n"
	"  -h, --help         this text\n"
	"  -V, --version      version of the program\n"
	"\n"
	"It runs in the foreground and logs to standard error. SIGTERM or SIGINT ends it:\n"
	"unwritten data is written, leases are given back, the mount goes; a second one does\n"
	"not wait for unwritten data. SIGUSR1 writes its trace to standard error. Exit\n"
	"status: 0 stopped as asked, 1 failed or gave up unwritten data, 2 wrong usage or\n"
	"configuration.\n";

/* -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv, const char **config)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			*config = optarg;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_STOPPED;
		case 'V':
			puts("distcloud-access " DC_VERSION);
			return EXIT_STOPPED;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || !*config) {
		fprintf(stderr, "distcloud-access: %s\n\n%s",
		        optind < argc ? "an argument too many" : "say which --config FILE to use",
		        usage);
		return EXIT_USAGE;
	}
	return -1;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct access *a = handle->data;

	if (signum == SIGUSR1) {
		trace_dump(stderr);
		return;
	}
	if (a->phase != STOP_NOT) {
		access_stop_now(a);
		return;
	}
	log_info("access.stop", "stopping on %s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	access_stop(a, EXIT_STOPPED);
}

static void catch_signal(struct access *a, uv_signal_t *handle, int signum)
{
	uv_signal_init(&a->loop, handle);
	handle->data = a;
	uv_signal_start(handle, on_signal, signum);
	uv_unref((uv_handle_t *)handle);
}

/* Data blocks of a megabyte come and go: kept in the heap, their pages need not be zeroed by the
 * kernel each time. */
static void tune_heap(void)
{
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

static int run(struct access *a)
{
	char why[WHY_BYTES];
	int rc;

	if (place_take(a->config.directory, &a->lock_fd, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud-access: %s\n", why);
		return EXIT_FAILED;
	}
	uv_loop_init(&a->loop);
	catch_signal(a, &a->sigterm, SIGTERM);
	catch_signal(a, &a->sigint, SIGINT);
	catch_signal(a, &a->sigusr1, SIGUSR1);
	rc = access_start(a, why, sizeof(why));
	if (rc < 0) {
		log_error("access.start", "%s", why);
		access_stop(a, EXIT_FAILED);
	} else {
		log_info("access.up", "listening on %s, mounted on %s", a->config.listen,
		         a->config.mount);
	}
	uv_run(&a->loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&a->loop) == 0);
	place_leave(a->lock_fd);
	return (int)a->status;
}

int main(int argc, char **argv)
{
	const char *path = NULL;
	int status = parse_options(argc, argv, &path);
	char why[WHY_BYTES], name[32];
	struct access *a;

	if (status >= 0)
		return status;
	a = mem_new(sizeof(*a));
	if (config_load_server(&a->config, path, SERVER_ACCESS, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud-access: %s\n", why);
		mem_free(a);
		return EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "access %" PRIu32, a->config.id);
	log_init(name, a->config.log);
	tune_heap();
	if (a->config.memory)
		iobuf_budget_set(a->config.memory);
	if (uv_random(NULL, NULL, &a->boot, sizeof(a->boot), 0, NULL) < 0) {
		fputs("distcloud-access: the system gives no random numbers\n", stderr);
		mem_free(a);
		return EXIT_FAILED;
	}
	random_seed(&a->random, a->boot);
	status = run(a);
	mem_free(a);
	return status;
}
