#include "hint-server/ctl/commands.h"

#include <limits.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The server's program beside this one. */
static int program_path(char *out, size_t size, const char *kind)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	if (n < 0)
		return -errno;
	self[n] = '\0';
	slash = strrchr(self, '/');
	*slash = '\0';
	return snprintf(out, size, "%s/distcloud-%s", self, kind) < (int)size ? 0 : -ENAMETOOLONG;
}

enum ctl_exit ctl_drill(char **argv)
{
	char program[PATH_MAX];

	if (program_path(program, sizeof(program), "drill") < 0)
		return CTL_FAILED;
	execv(program, argv);
	fprintf(stderr, "distcloud: cannot run %s: %s; the build puts it beside distcloud, and it needs "
	        "python3\n", program, err_text(-errno));
	return CTL_FAILED;
}

enum ctl_exit ctl_format(const char *path)
{
	char why[512], program[PATH_MAX];
	struct config config;
	int state;
	pid_t pid;

	if (config_load(&config, path, why, sizeof(why)) < 0) {
		fprintf(stderr, "distcloud: %s\n", why);
		return CTL_FAILED;
	}
	if (config.kind == 0) {
		fprintf(stderr, "distcloud: %s: has no [server] section; name the file of the core or hint "
		        "server whose directory is to be made\n", path);
		return CTL_FAILED;
	}
	if (config.kind == SERVER_ACCESS) {
		fprintf(stderr, "distcloud: %s: an access server stores nothing and needs no format; start "
		        "distcloud-access\n", path);
		return CTL_FAILED;
	}
	if (program_path(program, sizeof(program), config_kind_name(config.kind)) < 0)
		return CTL_FAILED;
	pid = fork();
	if (pid == 0) {
		execl(program, program, "--config", path, "--format", (char *)NULL);
		fprintf(stderr, "distcloud: cannot run %s: %s; it is installed beside distcloud\n", program,
		        err_text(-errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &state, 0) < 0 || !WIFEXITED(state) || WEXITSTATUS(state) != 0)
		return CTL_FAILED;
	return CTL_OK;
}
