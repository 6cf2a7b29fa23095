/* The state directory. It holds a lock only: an access server remembers nothing; two processes under
 * one server id would end each other's session for ever. */
#include "access-server/access.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"

/* As mkdir -p. */
static int make_dirs(const char *path)
{
	char *p = mem_printf("%s/", path);
	int rc = 0;

	for (char *slash = strchr(p + 1, '/'); slash && rc == 0; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(p, 0750) < 0 && errno != EEXIST)
			rc = -errno;
		*slash = '/';
	}
	mem_free(p);
	return rc;
}

static int lock_dir(const char *dir, int *lock_fd, char *why, size_t why_size)
{
	char *path = mem_printf("%s/lock", dir);
	int rc = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);

	if (fd < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot open %s: %s; check owner and rights of the directory",
		         path, err_text(rc));
	} else if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		snprintf(why, why_size, "%s is in use by another process (%s); stop that one first", dir,
		         err_text(rc));
		close(fd);
	} else {
		*lock_fd = fd;
	}
	mem_free(path);
	return rc;
}

int place_take(const char *dir, int *lock_fd, char *why, size_t why_size)
{
	int rc = make_dirs(dir);

	*lock_fd = -1;
	if (rc < 0) {
		snprintf(why, why_size, "cannot make the directory %s: %s", dir, err_text(rc));
		return rc;
	}
	return lock_dir(dir, lock_fd, why, why_size);
}

void place_leave(int lock_fd)
{
	if (lock_fd >= 0)
		close(lock_fd);
}
