#include "access-server/fuse/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "common/base/mem.h"

int mount_path(const char *dir, char *out, size_t size)
{
	char *copy = mem_dup(dir, strlen(dir) + 1), *slash, *real, *name;
	int n;

	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	slash = strrchr(copy, '/');
	name = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	real = realpath(!slash ? "." : slash == copy ? "/" : copy, NULL);
	if (!real) {
		n = -errno;
	} else {
		n = snprintf(out, size, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
		n = n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
	}
	free(real);
	mem_free(copy);
	return n;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

int mount_find(const char *path, struct mount_id *out)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int rc = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) >= 0) {
		char point[PATH_MAX], *dash = strstr(line, " - ");
		struct mount_id id;

		if (!dash || strncmp(dash + 3, MOUNT_TYPE " ", sizeof(MOUNT_TYPE)) != 0)
			continue;
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &id.major, &id.minor, point) != 3)
			continue;
		unescape(point);
		if (strcmp(point, path) == 0) {
			*out = id;
			rc = 0;
		}
	}
	free(line);
	fclose(f);
	return rc;
}

int mount_clean(const char *path)
{
	struct mount_id id;
	int n = 0;

	while (mount_find(path, &id) == 0) {
		if (umount2(path, MNT_FORCE | MNT_DETACH) < 0)
			return -errno;
		n++;
	}
	return n;
}

/* Not being allowed to is no error: the defaults stay. */
static void write_text(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		errno = 0;
	close(fd);
}

void mount_set_readahead(const struct mount_id *id, unsigned kib)
{
	char file[64], text[16];

	snprintf(file, sizeof(file), "/sys/class/bdi/%u:%u/read_ahead_kb", id->major, id->minor);
	snprintf(text, sizeof(text), "%u", kib);
	write_text(file, text);
}

void mount_abort(const struct mount_id *id)
{
	char file[64];

	snprintf(file, sizeof(file), "/sys/fs/fuse/connections/%u/abort", id->minor);
	write_text(file, "1");
}
