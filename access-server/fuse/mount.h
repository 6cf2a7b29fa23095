/* The mount table as far as the filesystem needs it. */
#pragma once

#include "common/base/base.h"

#define MOUNT_TYPE "fuse.distcloud"

/* Absolute path of a mount point without touching the directory itself: a stale mount answers every
 * call with ENOTCONN. -ENAMETOOLONG, -ENOENT: its parent is not there. */
MUST_CHECK int mount_path(const char *dir, char *out, size_t size);
struct mount_id {
	unsigned major, minor; /* its device number; the kernel names the connection by the minor */
};
/* The distcloud mount at `path`; -ENOENT if there is none. */
MUST_CHECK int mount_find(const char *path, struct mount_id *out);
/* Detaches what a killed process left at `path`; the count of mounts removed, or -errno. Only for
 * the owner of the state directory's lock: no living server is mounted there. */
MUST_CHECK int mount_clean(const char *path);
/* Lets the kernel read ahead so many KiB: FUSE itself allows 128 only. */
void mount_set_readahead(const struct mount_id *id, unsigned kib);
/* Ends the connection whether it is still mounted somewhere or not: its users get ENOTCONN. */
void mount_abort(const struct mount_id *id);
