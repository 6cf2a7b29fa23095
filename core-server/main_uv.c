/* distcloud-core: what it is called with. */
#include "core-server/core.h"

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

static const struct server_ops ops = {
	.program = "distcloud-core",
	.usage = usage,
	.kind = SERVER_CORE,
	.below = "index",
	.verbs = core_verbs,
	.n_verbs = CORE_VERBS,
	.stats = core_stats,
	.format = core_format,
	.start = core_start,
	.tick = core_tick,
	.stop = core_stop,
	.close = core_close,
	.recv = core_recv,
	.peer_up = core_peer_up,
	.peer_down = core_peer_down,
	.session_heard = core_session_heard,
};

int main(int argc, char **argv)
{
	static struct core core;

	return server_main(&core.server, &ops, argc, argv);
}
