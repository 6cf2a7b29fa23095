/* Is a thread about to die of a signal, what may it do? The kernel's word, from /proc. */
#include "access-server/fuse/caller.h"

#include <inttypes.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static uint64_t bit(int signum)
{
	return (uint64_t)1 << (signum - 1);
}

/* Those that do nothing, or do not end a process, when nobody changed what they do. */
static uint64_t harmless(void)
{
	return bit(SIGCHLD) | bit(SIGURG) | bit(SIGWINCH) | bit(SIGCONT) | bit(SIGSTOP) | bit(SIGTSTP) |
	       bit(SIGTTIN) | bit(SIGTTOU);
}

static FILE *open_status(pid_t thread)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	return thread > 0 ? fopen(path, "re") : NULL;
}

bool caller_admin(pid_t thread)
{
	FILE *f = open_status(thread);
	char line[256];
	uint64_t mask, effective = 0;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "CapEff: %" SCNx64, &mask) == 1)
			effective = mask;
	fclose(f);
	return effective >> CAP_SYS_ADMIN & 1;
}

bool caller_dying(pid_t thread)
{
	FILE *f = open_status(thread);
	uint64_t pending = 0, safe = harmless(), mask;
	char line[256];

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "SigPnd: %" SCNx64, &mask) == 1 ||
		    sscanf(line, "ShdPnd: %" SCNx64, &mask) == 1)
			pending |= mask;
		else if (sscanf(line, "SigBlk: %" SCNx64, &mask) == 1 ||
		         sscanf(line, "SigIgn: %" SCNx64, &mask) == 1 ||
		         sscanf(line, "SigCgt: %" SCNx64, &mask) == 1)
			safe |= mask;
	}
	fclose(f);
	return (pending & ~safe) != 0;
}
