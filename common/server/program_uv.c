/* Options, configuration, signals, exit status: the same for all servers. */
#include "common/server/server_uv.h"

#include <getopt.h>
#include <stdio.h>
#include <sys/resource.h>

#include "common/base/iobuf.h"
#include "common/base/log.h"

struct options {
	const char *config;
	bool format;
};

static int wrong_usage(const struct server_ops *ops, const char *what)
{
	fprintf(stderr, "%s: %s\n\n%s", ops->program, what, ops->usage);
	return EXIT_USAGE;
}

/* -1: go on; otherwise the exit status. */
static int parse_options(const struct server_ops *ops, int argc, char **argv, struct options *o)
{
	struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'},
		{"format", no_argument, NULL, 'F'},
		{0},
	};
	int option;

	if (!ops->format)
		longs[ARRAY_LEN(longs) - 2] = (struct option){0};
	while ((option = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
			o->config = optarg;
			break;
		case 'F':
			o->format = true;
			break;
		case 'h':
			fputs(ops->usage, stdout);
			return EXIT_STOPPED;
		case 'V':
			printf("%s " DC_VERSION "\n", ops->program);
			return EXIT_STOPPED;
		default: /* getopt has said what */
			fputs(ops->usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc)
		return wrong_usage(ops, "an argument too many");
	return o->config ? -1 : wrong_usage(ops, "say which --config FILE to use");
}

static int fail(const struct server *s, enum exit_status status, const char *why)
{
	fprintf(stderr, "%s: %s\n", s->ops->program, why);
	return (int)status;
}

static int format(struct server *s)
{
	char why[WHY_BYTES];
	int rc = state_dir_take(&s->dir, &s->config, s->ops->below, true, why, sizeof(why));

	if (rc == 0) {
		rc = s->ops->format(s, why, sizeof(why));
		state_dir_leave(&s->dir);
	}
	return rc < 0 ? fail(s, EXIT_FAILED, why) : EXIT_STOPPED;
}

static int run(struct server *s)
{
	char why[WHY_BYTES];
	int status;

	if (state_dir_take(&s->dir, &s->config, s->ops->below, false, why, sizeof(why)) < 0)
		return fail(s, EXIT_FAILED, why);
	status = server_run(s);
	state_dir_leave(&s->dir);
	return status;
}

/* As many open files as the system allows: connections come and go (net_uv.c). */
static void raise_files_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

int server_main(struct server *s, const struct server_ops *ops, int argc, char **argv)
{
	struct options options = {0};
	int status = parse_options(ops, argc, argv, &options);
	char why[WHY_BYTES], name[32];

	if (status >= 0)
		return status;
	s->ops = ops;
	if (config_load_server(&s->config, options.config, ops->kind, why, sizeof(why)) < 0)
		return fail(s, EXIT_USAGE, why);
	snprintf(name, sizeof(name), "%s %" PRIu32, config_kind_name(ops->kind), s->config.id);
	log_init(name, s->config.log);
	s->config_path = options.config;
	raise_files_limit();
	if (s->config.memory != 0)
		iobuf_budget_set(s->config.memory);
	if (uv_random(NULL, NULL, &s->boot, sizeof(s->boot), 0, NULL) < 0)
		return fail(s, EXIT_FAILED, "the system gives no random numbers");
	random_seed(&s->random, s->boot);
	return options.format ? format(s) : run(s);
}
