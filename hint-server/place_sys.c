/* The server's directory: made, and locked against a second process. */
#include "hint-server/server.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes the directory and those above it. */
static int make_path(const char *path)
{
	char part[CONFIG_PATH_MAX + 16];
	size_t len = strlen(path);

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0750) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int take_lock(struct place *p, char *why, size_t why_size)
{
	char path[CONFIG_PATH_MAX + 16];
	int rc = 0;

	snprintf(path, sizeof(path), "%s/lock", p->dir);
	p->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (p->lock_fd >= 0 && flock(p->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	rc = -errno;
	if (rc == -EWOULDBLOCK)
		snprintf(why, why_size, "%s is in use by another process; stop that one first", p->dir);
	else
		snprintf(why, why_size, "cannot lock %s: %s", path, err_text(rc));
	place_leave(p);
	return rc;
}

int place_take(struct place *p, const char *dir, bool make, char *why, size_t why_size)
{
	int rc;

	p->lock_fd = -1;
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	snprintf(p->kv_dir, sizeof(p->kv_dir), "%s/catalog", dir);
	rc = make ? make_path(p->kv_dir) : 0;
	if (rc == 0 && access(p->kv_dir, R_OK | W_OK | X_OK))
		rc = -errno;
	if (rc) {
		snprintf(why, why_size, "cannot use %s: %s%s", p->kv_dir, err_text(rc),
		         make ? "" : "; a new server's directory is made by --format");
		return rc;
	}
	return take_lock(p, why, why_size);
}

void place_leave(struct place *p)
{
	if (p->lock_fd >= 0)
		close(p->lock_fd);
	p->lock_fd = -1;
}
