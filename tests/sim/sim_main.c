/* The simulator's command line. tests/README.md tells how to use it. */

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/trace.h"
#include "tests/sim/jobs.h"
#include "tests/sim/scenario.h"

static const char usage[] =
        "usage: sim --seed N [--trace] [options]     one run; --trace prints every event\n"
        "       sim --seeds A-B [--jobs J] [options] many runs; exit code 1 if one fails\n"
        "       sim --soak SECONDS [--seed N]        seeds from N on, until the time is over\n"
        "       sim --scenario NAME                  a named schedule; --list names them\n"
        "       sim --scenarios [--seeds A-B]        all of them\n"
        "       sim --kept FILE                      the seeds that a file lists\n"
        "       sim --bugs                           every planted bug must be found\n"
        "options:\n"
        "  --sites N     3 to 12 sites instead of a number drawn from the seed\n"
        "  --until MS    length of the time with faults, in virtual milliseconds\n"
        "  --bug NAME    plants a bug (see --list): a run is then expected to fail\n"
        "  --hostile     peers send senseless messages: nothing may crash, nothing else is checked\n"
        "  --twice       runs the seed twice: the replay must be exact\n";

struct command {
	struct jobs_options jobs;
	bool one, trace, bugs, twice, scenarios;
	const char *kept;
};

static unsigned parse_number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n > 1000000000) {
		fprintf(stderr, "sim: \"%s\" is no number\n", text);
		exit(2);
	}
	return (unsigned)n;
}

static void list(void)
{
	puts("scenarios:");
	for (unsigned i = 0; i < scenarios_n; i++)
		printf("  %-22s %s\n", scenarios[i].name, scenarios[i].text);
	puts("planted bugs:");
	for (unsigned i = 0; i < planted_bugs_n; i++)
		printf("  %-22s %s\n", planted_bugs[i].name, planted_bugs[i].text);
}

static void plant(struct run_options *o, const char *name)
{
	const struct planted_bug *b = planted_bug_find(name);

	if (!b) {
		fprintf(stderr, "sim: no planted bug \"%s\"; --list names them\n", name);
		exit(2);
	}
	o->replica_bugs |= b->replica;
	o->volume_bugs |= b->volume;
	o->hint_bugs |= b->hint;
	o->store_bugs |= b->store;
}

static void parse_seeds(struct command *cmd, const char *text)
{
	const char *dash = strchr(text, '-');
	char first[24];

	if (!dash || (size_t)(dash - text) >= sizeof(first)) {
		fputs(usage, stderr);
		exit(2);
	}
	memcpy(first, text, (size_t)(dash - text));
	first[dash - text] = 0;
	cmd->one = false;
	cmd->jobs.first = parse_number(first);
	cmd->jobs.last = parse_number(dash + 1);
}

enum { OPT_SEED = 1, OPT_SEEDS, OPT_SOAK, OPT_SCENARIO, OPT_SITES, OPT_UNTIL, OPT_BUG, OPT_TRACE,
       OPT_JOBS, OPT_LIST, OPT_BUGS, OPT_TWICE, OPT_SCENARIOS, OPT_KEPT, OPT_HOSTILE, OPT_HELP };

static const struct option options[] = {
        {"seed", required_argument, NULL, OPT_SEED},
        {"seeds", required_argument, NULL, OPT_SEEDS},
        {"soak", required_argument, NULL, OPT_SOAK},
        {"scenario", required_argument, NULL, OPT_SCENARIO},
        {"sites", required_argument, NULL, OPT_SITES},
        {"until", required_argument, NULL, OPT_UNTIL},
        {"bug", required_argument, NULL, OPT_BUG},
        {"jobs", required_argument, NULL, OPT_JOBS},
        {"trace", no_argument, NULL, OPT_TRACE},
        {"list", no_argument, NULL, OPT_LIST},
        {"bugs", no_argument, NULL, OPT_BUGS},
        {"twice", no_argument, NULL, OPT_TWICE},
        {"scenarios", no_argument, NULL, OPT_SCENARIOS},
        {"kept", required_argument, NULL, OPT_KEPT},
        {"hostile", no_argument, NULL, OPT_HOSTILE},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0},
};

static void parse_one(struct command *cmd, int opt)
{
	struct run_options *r = &cmd->jobs.run;

	switch (opt) {
	case OPT_SEED:
		cmd->jobs.first = cmd->jobs.last = parse_number(optarg);
		break;
	case OPT_SEEDS:
		parse_seeds(cmd, optarg);
		break;
	case OPT_SOAK:
		cmd->jobs.soak_seconds = parse_number(optarg);
		cmd->one = false;
		break;
	case OPT_SCENARIO:
		r->scenario = optarg;
		if (!scenario_find(optarg)) {
			fprintf(stderr, "sim: no scenario \"%s\"; --list names them\n", optarg);
			exit(2);
		}
		break;
	case OPT_SITES:
		r->sites = parse_number(optarg);
		if (r->sites < 3 || r->sites > 12) {
			fprintf(stderr, "sim: --sites %s: 3 to 12\n", optarg);
			exit(2);
		}
		break;
	case OPT_UNTIL:
		r->until = (nsec_t)parse_number(optarg) * NSEC_MSEC;
		break;
	case OPT_BUG:
		plant(r, optarg);
		break;
	case OPT_JOBS:
		cmd->jobs.jobs = parse_number(optarg);
		break;
	case OPT_TRACE:
		cmd->trace = true;
		break;
	case OPT_BUGS:
		cmd->bugs = true;
		break;
	case OPT_TWICE:
		cmd->twice = true;
		break;
	case OPT_SCENARIOS:
		cmd->scenarios = true;
		break;
	case OPT_KEPT:
		cmd->kept = optarg;
		break;
	case OPT_HOSTILE:
		r->hostile = true;
		break;
	case OPT_LIST:
		list();
		exit(0);
	case OPT_HELP:
		fputs(usage, stdout);
		exit(0);
	default:
		fputs(usage, stderr);
		exit(2);
	}
}

static int run_one(const struct command *cmd)
{
	struct run_options o = cmd->jobs.run;
	struct run_result r, again;

	o.seed = cmd->jobs.first;
	o.tracing = cmd->trace ? TRACING_ALL : TRACING_RING;
	if (cmd->trace)
		trace_live(stdout);
	run(&o, &r);
	printf("seed %" PRIu64 ": %s%s; %" PRIu64 " events, %" PRId64 " ms, %" PRIu64 " writes, %" PRIu64
	       " acks, slowest sync %" PRId64 " ms, hash %016" PRIx64 "\n", o.seed,
	       r.failed ? "FAILED " : "ok", r.failure, r.events, r.virtual_time / NSEC_MSEC, r.ops, r.acks,
	       r.longest_sync / NSEC_MSEC, r.hash);
	if (cmd->twice) {
		o.tracing = TRACING_OFF;
		run(&o, &again);
		if (again.hash != r.hash || again.events != r.events) {
			printf("seed %" PRIu64 ": the replay differs\n", o.seed);
			return 1;
		}
	}
	return r.failed;
}

static int run_many(const struct jobs_options *o)
{
	struct jobs_result r;

	jobs_run(o, &r);
	printf("%" PRIu64 " passed, %" PRIu64 " failed; %.2f virtual hours, %" PRIu64 " writes, %" PRIu64
	       " events\n", r.passed, r.failed, (double)r.virtual_time / 3600e9, r.ops, r.events);
	return r.failed != 0;
}

static int run_scenarios(const struct jobs_options *given)
{
	int failed = 0;

	for (unsigned i = 0; i < scenarios_n; i++) {
		struct jobs_options o = *given;
		struct jobs_result r;

		o.run.scenario = scenarios[i].name;
		o.verbose = false;
		jobs_run(&o, &r);
		printf("%-22s %" PRIu64 " passed, %" PRIu64 " failed\n", scenarios[i].name, r.passed, r.failed);
		failed += r.failed != 0;
	}
	return failed != 0;
}

/* Lines "SEED  what it found"; # begins a comment. */
static int run_kept(const struct jobs_options *given, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[300];
	uint64_t passed = 0, failed = 0;

	if (!f) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof(line), f)) {
		struct jobs_options o = *given;
		struct jobs_result r;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		o.first = o.last = strtoull(line, NULL, 10);
		jobs_run(&o, &r);
		passed += r.passed;
		failed += r.failed;
	}
	fclose(f);
	printf("%" PRIu64 " passed, %" PRIu64 " failed\n", passed, failed);
	return failed != 0;
}

/* Every planted bug is found within its seeds, and its scenario passes without it. */
static int find_bugs(const struct jobs_options *given)
{
	int missed = 0;

	for (unsigned i = 0; i < planted_bugs_n; i++) {
		const struct planted_bug *b = &planted_bugs[i];
		struct jobs_options o = *given;
		struct jobs_result r;

		o.first = 1;
		o.last = b->seeds;
		o.quiet = true;
		o.stop_at_failure = true;
		o.run.scenario = b->scenario;
		plant(&o.run, b->name);
		jobs_run(&o, &r);
		printf("%-22s %s after %" PRIu64 " runs: %s\n", b->name, r.failed ? "found" : "MISSED",
		       r.passed + r.failed, r.why);
		fflush(stdout);
		missed += !r.failed;
	}
	return missed != 0;
}

int main(int argc, char **argv)
{
	struct command cmd = {.one = true, .jobs = {.first = 1, .last = 1, .jobs = 2, .verbose = true}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1)
		parse_one(&cmd, opt);
	if (optind < argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (cmd.bugs)
		return find_bugs(&cmd.jobs);
	if (cmd.scenarios)
		return run_scenarios(&cmd.jobs);
	if (cmd.kept)
		return run_kept(&cmd.jobs, cmd.kept);
	return cmd.one ? run_one(&cmd) : run_many(&cmd.jobs);
}
