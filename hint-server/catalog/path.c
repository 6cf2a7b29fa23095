#include "hint-server/catalog/path.h"

#include "hint-server/catalog/internal.h"

#include <sys/stat.h>

/* The next component of *path, which is shortened; false at the end. */
static bool component(struct span *path, struct span *out)
{
	const uint8_t *end;

	while (path->len > 0 && path->p[0] == '/') {
		path->p++;
		path->len--;
	}
	if (path->len == 0)
		return false;
	end = memchr(path->p, '/', path->len);
	*out = (struct span){path->p, end ? (uint32_t)(end - path->p) : path->len};
	path->p += out->len;
	path->len -= out->len;
	return true;
}

int catalog_path(struct catalog *c, struct span path, uint64_t *ino)
{
	struct inode i;
	struct span name;
	uint64_t at = FILE_ROOT;

	if (path.len == 0 || path.p[0] != '/')
		return -EINVAL;
	while (component(&path, &name)) {
		if (!inode_load(c, at, &i))
			return -ENOENT;
		if (!inode_is(&i, S_IFDIR))
			return -ENOTDIR;
		if (name.len == 1 && name.p[0] == '.')
			continue;
		if (name_check(name) != STATUS_OK)
			return -EINVAL;
		if (!catalog_lookup(c, at, name, &at))
			return -ENOENT;
	}
	*ino = at;
	return 0;
}

/* The name under which `dir` lists the inode. */
static bool name_in(struct catalog *c, uint64_t dir, uint64_t ino, struct span *name)
{
	struct entry e = {.cookie = 0};

	while (entry_next(c, dir, e.cookie, &e, name))
		if (e.ino == ino)
			return true;
	return false;
}

int catalog_path_of(struct catalog *c, uint64_t ino, char *out, size_t size)
{
	size_t at = size;
	struct span name;
	struct inode i;

	/* Built from the end of the buffer, then moved to its start. */
	if (size < 2)
		return -ENAMETOOLONG;
	out[--at] = 0;
	for (unsigned n = 0; ino != FILE_ROOT && n < CATALOG_PATH_DEPTH_MAX; n++) {
		if (!inode_load(c, ino, &i) || i.nlink == 0 || !name_in(c, i.parent, ino, &name))
			return -ENOENT;
		if (at < name.len + 1)
			return -ENAMETOOLONG;
		at -= name.len;
		memcpy(out + at, name.p, name.len);
		out[--at] = '/';
		ino = i.parent;
	}
	if (at == size - 1)
		out[--at] = '/';
	memmove(out, out + at, size - at);
	return ino == FILE_ROOT ? 0 : -ENAMETOOLONG;
}
