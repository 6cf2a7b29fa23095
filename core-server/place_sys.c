/* The server's directory: made, locked against a second process, measured. */
#include "core-server/core.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/mem.h"

/* As mkdir -p. */
static int make_dirs(const char *path)
{
	char *p = mem_printf("%s", path);
	int rc = 0;

	for (char *slash = strchr(p + 1, '/'); slash != NULL && rc == 0;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(p, 0750) < 0 && errno != EEXIST)
			rc = -errno;
		*slash = '/';
	}
	if (rc == 0 && mkdir(p, 0750) < 0 && errno != EEXIST)
		rc = -errno;
	mem_free(p);
	return rc;
}

static int lock_dir(struct place *p, char *why, size_t why_size)
{
	char *path = mem_printf("%s/lock", p->dir);
	int rc = 0;

	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (p->lock_fd < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot open %s: %s; check owner and rights of the directory",
		         path, err_text(rc));
	} else if (flock(p->lock_fd, LOCK_EX | LOCK_NB) < 0) {
		rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
		snprintf(why, why_size, "%s is in use by another process (%s); stop that one first",
		         p->dir, err_text(rc));
		close(p->lock_fd);
		p->lock_fd = -1;
	}
	mem_free(path);
	return rc;
}

int place_take(struct place *p, const char *dir, bool make, char *why, size_t why_size)
{
	struct statvfs fs;
	int rc;

	p->lock_fd = -1;
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	snprintf(p->kv_dir, sizeof(p->kv_dir), "%s/index", dir);
	rc = make ? make_dirs(p->kv_dir) : 0;
	if (rc < 0) {
		snprintf(why, why_size, "cannot make the directory %s: %s", p->kv_dir, err_text(rc));
		return rc;
	}
	if (access(p->kv_dir, R_OK | W_OK | X_OK) < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot use %s: %s; a new server's directory is made by --format",
		         p->kv_dir, err_text(rc));
		return rc;
	}
	if (statvfs(dir, &fs) < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot measure the file system of %s: %s", dir, err_text(rc));
		return rc;
	}
	p->fs_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	return lock_dir(p, why, why_size);
}

void place_leave(struct place *p)
{
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->lock_fd = -1;
}
