/* `distcloud`: the administrator's command. */
#include "hint-server/ctl/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage_text[] =
	"usage: distcloud [--config FILE] [--json] COMMAND\n"
	"\n"
	"commands:\n"
	"  status             the cluster: votes, leader, files, servers, space\n"
	"  file show PATH     one file: size, home, replica sites, lease, blocks per server, stale blocks\n"
	"  site list          sites and their space\n"
	"  server list        servers and their state\n"
	"  server show ID     one server's counters: loop, connections, buffers, log, what it did\n"
	"  scrub              verify every stored page on every core server, in the background\n"
	"  scrub status       how far that is, what it found and what waits for repair\n"
	"  format CONFIG      make the empty directory of the server that CONFIG describes (also: init)\n"
	"\n"
	"options:\n"
	"  -c, --config FILE  the cluster's configuration; default $DISTCLOUD_CONFIG, then\n"
	"                     /etc/distcloud/distcloud.conf\n"
	"  -j, --json         print JSON\n"
	"  -h, --help         print this\n"
	"  -V, --version      print the version\n"
	"\n"
	"exit codes: 0 well, 1 works but wants attention (status, scrub), 2 failed, 64 wrong usage\n";

static enum ctl_exit usage_error(const char *what)
{
	fprintf(stderr, "distcloud: %s; see distcloud --help\n", what);
	return CTL_USAGE;
}

struct command {
	const char *word[2];
	unsigned words, arguments;
	enum ctl_exit (*run)(struct ctl *c, const char *argument);
};

static enum ctl_exit run_status(struct ctl *c, const char *argument)
{
	(void)argument;
	return ctl_status(c);
}

static enum ctl_exit run_sites(struct ctl *c, const char *argument)
{
	(void)argument;
	return ctl_site_list(c);
}

static enum ctl_exit run_servers(struct ctl *c, const char *argument)
{
	(void)argument;
	return ctl_server_list(c);
}

static enum ctl_exit run_scrub(struct ctl *c, const char *argument)
{
	(void)argument;
	return ctl_scrub(c);
}

static enum ctl_exit run_scrub_status(struct ctl *c, const char *argument)
{
	(void)argument;
	return ctl_scrub_status(c);
}

static const struct command commands[] = {
	{{"status", NULL}, 1, 0, run_status},
	{{"file", "show"}, 2, 1, ctl_file_show},
	{{"site", "list"}, 2, 0, run_sites},
	{{"server", "list"}, 2, 0, run_servers},
	{{"server", "show"}, 2, 1, ctl_server_show},
	{{"scrub", NULL}, 1, 0, run_scrub},
	{{"scrub", "status"}, 2, 0, run_scrub_status},
};

static const struct command *find_command(int argc, char **argv)
{
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];

		if (argc != (int)(c->words + c->arguments) || strcmp(argv[0], c->word[0]) != 0)
			continue;
		if (c->words == 1 || strcmp(argv[1], c->word[1]) == 0)
			return c;
	}
	return NULL;
}

static enum ctl_exit run(const struct command *command, struct ctl *c, const char *argument)
{
	static struct config config;
	enum ctl_exit code;
	char why[512];
	int rc;

	if (config_load(&config, c->config_path, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud: %s\n", why);
		return CTL_FAILED;
	}
	log_init("distcloud", LOG_ERROR);
	c->config = &config;
	rc = ask_new(&c->ask, config.cluster, NULL);
	if (rc < 0) {
		fprintf(stderr, "distcloud: cannot start: %s\n", err_text(rc));
		return CTL_FAILED;
	}
	code = command->run(c, argument);
	ask_free(c->ask);
	return code;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
	};
	const char *from_environment = getenv("DISTCLOUD_CONFIG");
	struct ctl c = {
		.config_path = from_environment ? from_environment : "/etc/distcloud/distcloud.conf",
	};
	const struct command *command;
	int option;

	while ((option = getopt_long(argc, argv, "c:jhV", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			c.config_path = optarg;
			break;
		case 'j':
			c.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return CTL_OK;
		case 'V':
			puts("distcloud " DC_VERSION);
			return CTL_OK;
		default:
			return CTL_USAGE;
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return (int)usage_error("a command is missing");
	if (argc == 2 && (strcmp(argv[0], "format") == 0 || strcmp(argv[0], "init") == 0))
		return (int)ctl_format(argv[1], "distcloud");
	command = find_command(argc, argv);
	if (!command)
		return (int)usage_error("no such command, or a wrong number of arguments");
	return (int)run(command, &c, argv[command->words]);
}
