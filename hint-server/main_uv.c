/* distcloud-hint: options, configuration, signals, exit status. */
#include "hint-server/server.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/iobuf.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/trace.h"

static const char usage[] =
	"usage: distcloud-hint --config FILE [--format]\n"
	"\n"
	"Holds a vote of the cluster's catalog and hears every server's liveness.\n"
	"\n"
	"  -c, --config FILE  configuration; its [server] section has kind = hint\n"
	"      --format       make the directory of a new hint server, then end\n"
	"  -h, --help         this text\n"
	"  -V, --version      version of the program\n"
	"\n"
	"It runs in the foreground, logs to standard error and ends cleanly on SIGTERM or\n"
	"SIGINT. SIGUSR1 writes its trace to standard error. Exit status: 0 stopped as\n"
	"asked or formatted, 1 failed, 2 wrong usage or configuration.\n";

/* -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv, const char **config, bool *format)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"format", no_argument, NULL, 'F'},
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
		case 'F':
			*format = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_STOPPED;
		case 'V':
			puts("distcloud-hint " DC_VERSION);
			return EXIT_STOPPED;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (*config && optind == argc)
		return -1;
	fprintf(stderr, "distcloud-hint: %s\n\n%s",
	        *config ? "an argument too many" : "say which --config FILE to use", usage);
	return EXIT_USAGE;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct hint_server *s = handle->data;

	if (signum == SIGUSR1) {
		trace_dump(stderr);
		return;
	}
	log_info("hint.stop", "stopping on %s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	server_stop(s, EXIT_STOPPED);
}

static void catch_signal(struct hint_server *s, uv_signal_t *handle, int signum)
{
	uv_signal_init(&s->loop, handle);
	handle->data = s;
	uv_signal_start(handle, on_signal, signum);
	uv_unref((uv_handle_t *)handle);
}

static int run(struct hint_server *s)
{
	char why[WHY_BYTES] = "";
	int rc;

	uv_loop_init(&s->loop);
	rc = server_start(s, why, sizeof(why));
	if (rc) {
		fprintf(stderr, "distcloud-hint: %s\n", why);
		s->status = EXIT_FAILED;
	} else {
		catch_signal(s, &s->sigterm, SIGTERM);
		catch_signal(s, &s->sigint, SIGINT);
		catch_signal(s, &s->sigusr1, SIGUSR1);
		log_info("hint.up", "listening on %s, %s", s->config.listen, s->place.dir);
	}
	uv_run(&s->loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&s->loop) == 0);
	server_close(s);
	return (int)s->status;
}

static int prepare(struct hint_server *s, const char *config)
{
	char why[WHY_BYTES], name[32];

	if (config_load_server(&s->config, config, SERVER_HINT, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud-hint: %s\n", why);
		return EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "hint %" PRIu32, s->config.id);
	log_init(name, s->config.log);
	if (s->config.memory)
		iobuf_budget_set(s->config.memory);
	if (uv_random(NULL, NULL, &s->boot, sizeof(s->boot), 0, NULL) < 0) {
		fprintf(stderr, "distcloud-hint: the system gives no random numbers\n");
		return EXIT_FAILED;
	}
	random_seed(&s->random, s->boot);
	return -1;
}

int main(int argc, char **argv)
{
	const char *config = NULL;
	bool format = false;
	int status = parse_options(argc, argv, &config, &format);
	char why[WHY_BYTES];
	struct hint_server *s;

	if (status >= 0)
		return status;
	s = mem_new(sizeof(*s));
	status = prepare(s, config);
	if (status < 0 && !format) {
		status = run(s);
	} else if (status < 0) {
		status = server_format(s, why, sizeof(why)) ? EXIT_FAILED : EXIT_STOPPED;
		if (status)
			fprintf(stderr, "distcloud-hint: %s\n", why);
	}
	mem_free(s);
	return status;
}
