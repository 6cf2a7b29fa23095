/* Who waits for an answer of the filesystem: has it been killed meanwhile? */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* A signal is pending for the thread that will end its process: not blocked, ignored or caught, and
 * not harmless by default. False, too, for a thread that cannot be seen from here (another pid
 * namespace, or gone). Reads /proc: some 20 us. */
bool caller_dying(pid_t thread);
/* The thread has CAP_SYS_ADMIN. False also for one that cannot be seen from here. */
bool caller_admin(pid_t thread);
