/* distcloud-core: options, configuration, signals, exit status. */
#include "core-server/core.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/iobuf.h"
#include "common/base/mem.h"
#include "common/base/trace.h"

static const char usage[] =
	"usage: distcloud-core --config FILE [--format]\n"
	"\n"
	"Keeps replicas of blocks on this machine's disk.\n"
	"\n"
	"  -c, --config FILE  configuration; its [server] section has kind = core\n"
	"      --format       make the directory of a new server, then end\n"
	"  -h, --help         this text\n"
	"  -V, --version      version of the program\n"
	"\n"
	"It runs in the foreground, logs to standard error and ends cleanly on SIGTERM or\n"
	"SIGINT. SIGUSR1 writes its trace to standard error. Exit status: 0 stopped as\n"
	"asked or formatted, 1 failed, 2 wrong usage or configuration.\n";

struct options {
	const char *config;
	bool format;
};

/* -1: go on; otherwise the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
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
			o->config = optarg;
			break;
		case 'F':
			o->format = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EXIT_STOPPED;
		case 'V':
			puts("distcloud-core " DC_VERSION);
			return EXIT_STOPPED;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc || o->config == NULL) {
		fprintf(stderr, "distcloud-core: %s\n\n%s",
		        optind < argc ? "an argument too many" : "say which --config FILE to use", usage);
		return EXIT_USAGE;
	}
	return -1;
}

static int fail(enum exit_status status, const char *why)
{
	fprintf(stderr, "distcloud-core: %s\n", why);
	return (int)status;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct core *c = handle->data;

	if (signum == SIGUSR1) {
		trace_dump(stderr);
		return;
	}
	log_info("core.stop", "stopping on %s", signum == SIGTERM ? "SIGTERM" : "SIGINT");
	core_stop(c, EXIT_STOPPED);
}

static void catch_signal(struct core *c, uv_signal_t *handle, int signum)
{
	uv_signal_init(&c->loop, handle);
	handle->data = c;
	uv_signal_start(handle, on_signal, signum);
	uv_unref((uv_handle_t *)handle);
}

void core_opened(struct core *c, int rc)
{
	if (c->stopping)
		return;
	if (rc < 0) {
		log_error("core.open", "cannot open the store in %s: %s", c->place.dir,
		          store_why(c->store));
		core_stop(c, EXIT_FAILED);
		return;
	}
	c->store_open = true;
	if (core_serve(c) < 0) {
		core_stop(c, EXIT_FAILED);
		return;
	}
	log_info("core.up", "start %" PRIu64 ", listening on %s, %s", store_start_counter(c->store),
	         c->config.listen, c->place.dir);
}

static int run(struct core *c)
{
	char why[WHY_BYTES];

	uv_loop_init(&c->loop);
	if (core_open(c, why, sizeof(why)) < 0) {
		uv_run(&c->loop, UV_RUN_DEFAULT);
		uv_loop_close(&c->loop);
		return fail(EXIT_FAILED, why);
	}
	core_tick_start(c);
	catch_signal(c, &c->sigterm, SIGTERM);
	catch_signal(c, &c->sigint, SIGINT);
	catch_signal(c, &c->sigusr1, SIGUSR1);
	uv_run(&c->loop, UV_RUN_DEFAULT);
	CHECK(uv_loop_close(&c->loop) == 0);
	core_close_files(c);
	return (int)c->status;
}

int main(int argc, char **argv)
{
	struct options options = {0};
	int status = parse_options(argc, argv, &options);
	char why[WHY_BYTES], name[32];
	struct core *c;

	if (status >= 0)
		return status;
	c = mem_new(sizeof(*c));
	if (config_load_server(&c->config, options.config, SERVER_CORE, why, sizeof(why)) < 0) {
		mem_free(c);
		return fail(EXIT_USAGE, why);
	}
	snprintf(name, sizeof(name), "core %" PRIu32, c->config.id);
	log_init(name, c->config.log);
	if (c->config.memory != 0)
		iobuf_budget_set(c->config.memory);
	if (uv_random(NULL, NULL, &c->boot, sizeof(c->boot), 0, NULL) < 0) {
		mem_free(c);
		return fail(EXIT_FAILED, "the system gives no random numbers");
	}
	random_seed(&c->random, c->boot);
	if (!options.format)
		status = run(c);
	else if (core_format(&c->config, why, sizeof(why)) < 0)
		status = fail(EXIT_FAILED, why);
	else
		status = EXIT_STOPPED;
	mem_free(c);
	return status;
}
