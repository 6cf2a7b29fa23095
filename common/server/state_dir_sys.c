#include "common/server/state_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define IDENTITY_BYTES 128

/* As mkdir -p. */
static int make_dirs(const char *path)
{
	char part[sizeof(((struct state_dir *)0)->below)];
	size_t len = strlen(path);

	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		snprintf(part, sizeof(part), "%.*s", (int)i, path);
		if (mkdir(part, 0750) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int find_dir(const char *path, bool make, char *why, size_t why_size)
{
	int rc = make ? make_dirs(path) : 0;

	if (rc < 0) {
		snprintf(why, why_size, "cannot make the directory %s: %s", path, err_text(rc));
		return rc;
	}
	if (access(path, R_OK | W_OK | X_OK) < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot use %s: %s%s", path, err_text(rc),
		         rc == -ENOENT ? "; a new server's directory is made by --format"
		                       : "; check owner and rights of the directory");
	}
	return rc;
}

static int take_lock(struct state_dir *d, char *why, size_t why_size)
{
	char path[sizeof(d->below)];
	int rc;

	snprintf(path, sizeof(path), "%s/lock", d->path);
	d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (d->lock_fd < 0) {
		rc = -errno;
		snprintf(why, why_size, "cannot open %s: %s; check owner and rights of the directory",
		         path, err_text(rc));
		return rc;
	}
	if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	rc = -errno;
	if (rc == -EWOULDBLOCK)
		snprintf(why, why_size, "%s is in use by another process; stop that one first", d->path);
	else
		snprintf(why, why_size, "cannot lock %s: %s", path, err_text(rc));
	state_dir_leave(d);
	return rc;
}

static int write_synced(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), rc = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	if (n != (ssize_t)strlen(text))
		rc = n < 0 ? -errno : -ENOSPC;
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int sync_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* Whole or not at all: written aside, then renamed. */
static int write_identity(const struct state_dir *d, const char *path, const char *text)
{
	char aside[sizeof(d->below)];
	int rc;

	snprintf(aside, sizeof(aside), "%s/identity.new", d->path);
	rc = write_synced(aside, text);
	if (rc == 0 && rename(aside, path) < 0)
		rc = -errno;
	return rc == 0 ? sync_dir(d->path) : rc;
}

/* Length of the text in buf, which gets a NUL behind it; a negative errno. */
static int read_identity(const char *path, char buf[IDENTITY_BYTES])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

	if (fd < 0)
		return -errno;
	rc = (int)read(fd, buf, IDENTITY_BYTES - 1);
	if (rc < 0)
		rc = -errno;
	else
		buf[rc] = '\0';
	close(fd);
	return rc;
}

static int check_identity(const struct state_dir *d, const struct config *c, char *why,
                          size_t why_size)
{
	char path[sizeof(d->below)], mine[IDENTITY_BYTES], found[IDENTITY_BYTES];
	int rc;

	snprintf(path, sizeof(path), "%s/identity", d->path);
	snprintf(mine, sizeof(mine), "%s server %" PRIu32 " of cluster %" PRIu64 "\n",
	         config_kind_name(c->kind), c->id, c->cluster);
	rc = read_identity(path, found);
	if (rc == -ENOENT) {
		rc = write_identity(d, path, mine);
		if (rc < 0)
			snprintf(why, why_size, "cannot write %s: %s", path, err_text(rc));
		return rc;
	}
	if (rc < 0) {
		snprintf(why, why_size, "cannot read %s: %s", path, err_text(rc));
		return rc;
	}
	if (strcmp(found, mine) == 0)
		return 0;
	found[strcspn(found, "\n")] = '\0';
	mine[strcspn(mine, "\n")] = '\0';
	snprintf(why, why_size, "%s says that the directory belongs to \"%s\", but this is %s; give each "
	         "server a directory of its own", path, found, mine);
	return -EEXIST;
}

int state_dir_take(struct state_dir *d, const struct config *c, const char *below, bool format,
                   char *why, size_t why_size)
{
	int rc;

	d->lock_fd = -1;
	snprintf(d->path, sizeof(d->path), "%s", c->directory);
	snprintf(d->below, sizeof(d->below), "%s%s%s", c->directory, below ? "/" : "",
	         below ? below : "");
	rc = find_dir(d->below, format || !below, why, why_size);
	if (rc == 0)
		rc = take_lock(d, why, why_size);
	if (rc < 0)
		return rc;
	rc = check_identity(d, c, why, why_size);
	if (rc < 0)
		state_dir_leave(d);
	return rc;
}

void state_dir_leave(struct state_dir *d)
{
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
}

int state_dir_fs_bytes(const struct state_dir *d, uint64_t *out)
{
	struct statvfs fs;

	if (statvfs(d->path, &fs) < 0)
		return -errno;
	*out = (uint64_t)fs.f_blocks * fs.f_frsize;
	return 0;
}
