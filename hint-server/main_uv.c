/* distcloud-hint: what it is called with. */
#include "hint-server/hint_server.h"

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

/* All other questions are for the core: the leader's. */
static const struct admin_verb verbs[] = {{"stats", server_run_stats}};

static const struct server_ops ops = {
	.program = "distcloud-hint",
	.usage = usage,
	.kind = SERVER_HINT,
	.below = "catalog",
	.verbs = verbs,
	.n_verbs = ARRAY_LEN(verbs),
	.stats = hint_server_stats,
	.format = hint_server_format,
	.start = hint_server_start,
	.tick = hint_server_tick,
	.stop = hint_server_stop,
	.close = hint_server_close,
	.recv = hint_server_recv,
	.peer_up = hint_server_peer_up,
	.peer_down = hint_server_peer_down,
};

int main(int argc, char **argv)
{
	static struct hint_server hint;

	return server_main(&hint.server, &ops, argc, argv);
}
