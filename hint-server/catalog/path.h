/* Paths of the datastore's namespace, for the admin's tools. Pure; no symlink is followed. */
#pragma once

#include "hint-server/catalog/catalog.h"

#define CATALOG_PATH_DEPTH_MAX 4096

/* Inode of "/a/b" (also "a//b/."; ".." is not resolved: it is no name). -ENOENT, -ENOTDIR,
 * -EINVAL. */
MUST_CHECK int catalog_path(struct catalog *c, struct span path, uint64_t *ino);

/* One path that leads to the inode, NUL-terminated. -ENOENT: none known (orphan, or the link that
 * was made last is gone); -ENAMETOOLONG. Scans the directory of the last component. */
MUST_CHECK int catalog_path_of(struct catalog *c, uint64_t ino, char *out, size_t size);
