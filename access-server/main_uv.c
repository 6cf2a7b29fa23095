/* distcloud-access: what it is called with. */
#include "access-server/access.h"

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

static const struct server_ops ops = {
	.program = "distcloud-access",
	.usage = usage,
	.kind = SERVER_ACCESS,
	.verbs = access_verbs,
	.n_verbs = ACCESS_VERBS,
	.stats = access_stats,
	.start = access_start,
	.tick = access_tick,
	.stop = access_stop,
	.stop_now = access_stop_now,
	.recv = access_recv,
	.peer_up = access_peer_up,
	.peer_down = access_peer_down,
};

int main(int argc, char **argv)
{
	static struct access access;

	return server_main(&access.server, &ops, argc, argv);
}
