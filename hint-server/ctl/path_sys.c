/* Which file of the datastore a path on this machine means. By its text only: a look at a mount
 * whose cluster is away would hang. */
#include "hint-server/ctl/commands.h"

#include "common/base/mem.h"

#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <unistd.h>

#define MOUNT_TYPE "fuse.distcloud"

/* The absolute path without ".", ".." and double slashes; NULL: there is no working directory. */
static char *absolute(const char *path)
{
	char cwd[PATH_MAX] = "";
	char *joined, *out;
	size_t len = 0;

	if (path[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return NULL;
	joined = mem_printf("%s/%s", cwd, path);
	out = mem_new(strlen(joined) + 2);
	for (const char *at = joined, *end; *at; at = end) {
		at += strspn(at, "/");
		end = at + strcspn(at, "/");
		size_t n = (size_t)(end - at);

		if (n == 0 || (n == 1 && at[0] == '.'))
			continue;
		if (n == 2 && memcmp(at, "..", 2) == 0) {
			while (len > 0 && out[--len] != '/')
				continue;
			continue;
		}
		out[len++] = '/';
		memcpy(out + len, at, n);
		len += n;
	}
	out[len] = '\0';
	mem_free(joined);
	return out;
}

/* Bytes of `path` that the longest mount point above it takes; 0: it is in no datastore. */
static size_t mount_length(const char *path)
{
	FILE *f = setmntent("/proc/self/mounts", "r");
	struct mntent *m;
	size_t longest = 0;
	bool ours = false;

	while (f && (m = getmntent(f))) {
		size_t n = strlen(m->mnt_dir);

		if (n < longest || strncmp(path, m->mnt_dir, n) != 0 || (path[n] && path[n] != '/'))
			continue;
		longest = n;
		ours = strcmp(m->mnt_type, MOUNT_TYPE) == 0;
	}
	if (f)
		endmntent(f);
	return ours ? longest : 0;
}

char *ctl_datastore_path(const char *path)
{
	char *whole = absolute(path), *out;
	size_t skip = whole ? mount_length(whole) : 0;

	if (skip > 0)
		out = mem_printf("%s", whole[skip] ? whole + skip : "/");
	else
		out = mem_printf("%s%s", path[0] == '/' ? "" : "/", path);
	if (whole)
		mem_free(whole);
	return out;
}
