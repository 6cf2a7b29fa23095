/* `distcloud`: the administrator's command. */
#include "hint-server/ctl/commands.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMEOUT_DEFAULT (10 * NSEC_SEC)

static const char usage_text[] =
	"usage: distcloud [--config FILE] [--json] [--timeout TIME] COMMAND\n"
	"\n"
	"commands (distcloud COMMAND --help says more):\n"
	"  status             the cluster: votes, leader, files, sites, servers, space\n"
	"  file show PATH     one file: size, home, replica sites, lease, blocks per server, stale blocks\n"
	"  why PATH           what stands in the way of who uses a file, and what to do\n"
	"  site list          sites and their space\n"
	"  site remove NAME   move all replicas out of a site, for good (undone by: site restore NAME)\n"
	"  server list        servers and their state\n"
	"  server show ID     one server's counters: loop, connections, buffers, log, what it did\n"
	"  server drain ID    move all replicas off a core server (undone by: server undrain ID)\n"
	"  scrub              verify every stored page on every core server, in the background\n"
	"  scrub status       how far that is, what it found and what waits for repair\n"
	"  drill ...          rehearse disasters with real servers in networks of their own\n"
	"  format CONFIG      make the empty directory of the server that CONFIG describes (also: init)\n"
	"\n";

static const char options_text[] =
	"options:\n"
	"  -c, --config FILE  the cluster's configuration; default $DISTCLOUD_CONFIG, then\n"
	"                     /etc/distcloud/distcloud.conf\n"
	"  -j, --json         print JSON; the exit code is the same\n"
	"  -t, --timeout TIME how long to look for a leader, such as 500ms or 30s; default 10s\n"
	"  -h, --help         print this\n"
	"  -V, --version      print the version\n"
	"\n"
	"exit codes: 0 well, 1 works but wants attention (status, scrub, why), 2 failed, 64 wrong usage\n";

struct command {
	const char *word[2];
	unsigned words, arguments;
	enum ctl_exit (*run)(struct ctl *c, const char *argument);
	const char *help;
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

static enum ctl_exit run_format(struct ctl *c, const char *argument)
{
	(void)c;
	return ctl_format(argument);
}

static const struct command commands[] = {
	{{"status", NULL}, 1, 0, run_status,
	 "usage: distcloud status\n\n"
	 "Shows the cluster as its leader sees it. health: healthy, or what is missing; leader, its term,\n"
	 "map and incarnation; votes and how many more may fail; files by state, and the first that are\n"
	 "stale (a replica is behind) or to recover (their writer died), with the epoch of their lease;\n"
	 "sites and servers with their space. Exit code 1 unless it is healthy.\n"},
	{{"file", "show"}, 2, 1, ctl_file_show,
	 "usage: distcloud file show PATH\n\n"
	 "Shows one file: size, home, replica sites, lease holder and epoch, stale blocks, blocks per core\n"
	 "server. PATH lies below a mount of the datastore on this machine, or counts from the root of\n"
	 "the datastore. The size of a file that is being written comes from its writer.\n"},
	{{"why", NULL}, 1, 1, ctl_why,
	 "usage: distcloud why PATH\n\n"
	 "Says in sentences what stands in the way of those who use a file, and what to do: core servers of\n"
	 "its replicas that do not answer, replicas that lag, who holds it and for how long it is asked back,\n"
	 "whose session ended with it unfinished, and where open handles are lost, since when and to whom.\n"
	 "Access servers remember the last 64 losses since their start. PATH as in file show. Exit code 1 if\n"
	 "something is wrong with the file.\n"},
	{{"site", "list"}, 2, 0, run_sites,
	 "usage: distcloud site list\n\n"
	 "Shows sites, how many servers they have and how many are up, and their space.\n"},
	{{"server", "list"}, 2, 0, run_servers,
	 "usage: distcloud server list\n\n"
	 "Shows servers. State: up; lapsed (not heard in time, its session can still come back); ended\n"
	 "(no session); blank (its disk lost what it had); silent (a hint server that is not heard).\n"},
	{{"server", "show"}, 2, 1, ctl_server_show,
	 "usage: distcloud server show ID\n\n"
	 "Shows one server's counters since its start, as it tells them itself. Hint servers answer\n"
	 "without a leader.\n"},
	{{"server", "drain"}, 2, 1, ctl_server_drain,
	 "usage: distcloud server drain ID\n\n"
	 "Takes a core server out of use without stopping anybody: new files are placed elsewhere, and the\n"
	 "replicas it has leave for other core servers of its site or, where there are none, for other\n"
	 "sites, in the background. Once server list calls it drained it can be stopped and taken away. It\n"
	 "may be dead when this is said: its replicas are made anew from the others. Refused if too few\n"
	 "core servers or sites would be left for three replicas.\n"},
	{{"server", "undrain"}, 2, 1, ctl_server_undrain,
	 "usage: distcloud server undrain ID\n\n"
	 "Takes back server drain: the core server gets replicas of new files again, and keeps what has\n"
	 "not left it yet.\n"},
	{{"site", "remove"}, 2, 1, ctl_site_remove,
	 "usage: distcloud site remove NAME\n\n"
	 "Drains all core servers of a site: see server drain. Access servers there go on working, with data\n"
	 "from other sites; votes of hint servers there stay. When server list calls all core servers\n"
	 "drained, the site can be switched off if the votes elsewhere are a majority.\n"},
	{{"site", "restore"}, 2, 1, ctl_site_restore,
	 "usage: distcloud site restore NAME\n\nTakes back site remove.\n"},
	{{"scrub", NULL}, 1, 0, run_scrub,
	 "usage: distcloud scrub\n\n"
	 "Makes every core server verify every page it stores, in the background. Bad pages are repaired\n"
	 "from the other sites. Exit code 1 if a server did not answer.\n"},
	{{"scrub", "status"}, 2, 0, run_scrub_status,
	 "usage: distcloud scrub status\n\n"
	 "Shows how far the scrub is on each core server, how many bad pages it found, how many were\n"
	 "repaired and how many wait. Exit code 1 if pages wait or a server did not answer.\n"},
	{{"format", NULL}, 1, 1, run_format,
	 "usage: distcloud format CONFIG\n\n"
	 "Makes the directory of the core or hint server that CONFIG describes, once, before its first\n"
	 "start. A directory that holds one already is left alone: exit code 2.\n"},
	{{"init", NULL}, 1, 1, run_format, "usage: distcloud init CONFIG\n\nThe same as distcloud format.\n"},
};

static enum ctl_exit usage_error(const char *what, const struct command *of)
{
	fprintf(stderr, "distcloud: %s; see distcloud", what);
	for (unsigned i = 0; of && i < of->words; i++)
		fprintf(stderr, " %s", of->word[i]);
	fputs(" --help\n", stderr);
	return CTL_USAGE;
}

/* The command that the words begin with: of two that do, the longer one. */
static const struct command *find_command(int argc, char **argv)
{
	const struct command *found = NULL;

	for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
		const struct command *c = &commands[i];
		bool same = argc >= (int)c->words;

		for (unsigned k = 0; k < c->words && same; k++)
			same = strcmp(argv[k], c->word[k]) == 0;
		if (same && (!found || c->words > found->words))
			found = c;
	}
	return found;
}

static void print_help(const struct command *command)
{
	printf("%s%s%s", command ? command->help : usage_text, command ? "\n" : "", options_text);
}

static enum ctl_exit run(const struct command *command, struct ctl *c, const char *argument)
{
	static struct config config;
	enum ctl_exit code;
	char why[512];
	int rc;

	if (config_load(&config, c->config_path, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud: %s; --config names the cluster's file\n", why);
		return CTL_FAILED;
	}
	log_init("distcloud", LOG_ERROR);
	c->config = &config;
	rc = ask_new(&c->ask, config.cluster, c->config_path, NULL);
	if (rc < 0) {
		fprintf(stderr, "distcloud: cannot start: %s\n", err_text(rc));
		return CTL_FAILED;
	}
	code = command->run(c, argument);
	ask_free(c->ask);
	return code;
}

/* True: the options are read. Otherwise *code is the exit code. */
static bool parse_options(int argc, char **argv, struct ctl *c, bool *help, enum ctl_exit *code)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"json", no_argument, NULL, 'j'},
		{"timeout", required_argument, NULL, 't'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:jt:hV", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			c->config_path = optarg;
			break;
		case 'j':
			c->json = true;
			break;
		case 't':
			if (config_parse_duration(optarg, &c->timeout) == 0 && c->timeout > 0)
				break;
			fprintf(stderr, "distcloud: --timeout %s: use a duration such as 500ms or 5s\n",
			        optarg);
			*code = CTL_USAGE;
			return false;
		case 'h':
			*help = true;
			break;
		case 'V':
			puts("distcloud " DC_VERSION);
			*code = CTL_OK;
			return false;
		default:
			fputs("distcloud: see distcloud --help\n", stderr);
			*code = CTL_USAGE;
			return false;
		}
	}
	return true;
}

int main(int argc, char **argv)
{
	const char *from_environment = getenv("DISTCLOUD_CONFIG");
	struct ctl c = {
		.config_path = from_environment ? from_environment : "/etc/distcloud/distcloud.conf",
		.timeout = TIMEOUT_DEFAULT,
	};
	const struct command *command;
	enum ctl_exit code;
	bool help = false;

	if (argc > 1 && strcmp(argv[1], "drill") == 0)
		return (int)ctl_drill(argv + 1); /* whose options are its own */
	if (!parse_options(argc, argv, &c, &help, &code))
		return (int)code;
	argc -= optind;
	argv += optind;
	command = find_command(argc, argv);
	if (help) {
		print_help(command);
		return CTL_OK;
	}
	if (argc == 0)
		return (int)usage_error("a command is missing", NULL);
	if (!command)
		return (int)usage_error("there is no such command", NULL);
	if (argc != (int)(command->words + command->arguments))
		return (int)usage_error(argc < (int)(command->words + command->arguments) ?
		                        "an argument is missing" : "an argument too many", command);
	if (command->run == run_format)
		return (int)run_format(&c, argv[command->words]);
	return (int)run(command, &c, argv[command->words]);
}
