#include "hint-server/quorum/image.h"

#include "common/base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int path_of(struct image *im, const char *dir, const char *name)
{
	int n = snprintf(im->path, sizeof(im->path), "%s/%s", dir, name);

	return n < 0 || (size_t)n >= sizeof(im->path) ? -ENAMETOOLONG : 0;
}

static int export_file(struct image *im, struct kv *kv, const char *dir)
{
	struct stat st;
	int rc = path_of(im, dir, "snapshot.out");

	if (rc)
		return rc;
	if (unlink(im->path) && errno != ENOENT)
		return -errno;
	rc = kv_export_file(kv, im->path);
	if (rc)
		return rc;
	im->fd = open(im->path, O_RDONLY | O_CLOEXEC);
	if (im->fd < 0 || fstat(im->fd, &st)) {
		rc = -errno;
		image_drop(im);
		return rc;
	}
	im->total = (uint64_t)st.st_size;
	return 0;
}

int image_export(struct image *im, struct kv *kv, const char *dir)
{
	size_t len;
	int rc;

	*im = (struct image){.fd = -1};
	if (dir[0])
		return export_file(im, kv, dir);
	rc = kv_export_mem(kv, &im->mem, &len);
	im->total = rc ? 0 : len;
	return rc;
}

int image_create(struct image *im, const char *dir, const char *name, uint64_t total)
{
	int rc;

	*im = (struct image){.fd = -1, .total = total};
	if (!dir[0]) {
		im->mem = mem_new(total);
		return 0;
	}
	rc = path_of(im, dir, name);
	if (rc)
		return rc;
	im->fd = open(im->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (im->fd < 0)
		return -errno;
	/* All of it, or nothing: want of space must not show when it is complete. */
	rc = fallocate(im->fd, 0, 0, (off_t)total) < 0 && errno != EOPNOTSUPP ? -errno : 0;
	return rc;
}

int image_read(const struct image *im, uint64_t off, void *out, size_t len)
{
	if (off > im->total || len > im->total - off)
		return -EINVAL;
	if (im->fd < 0) {
		memcpy(out, (const uint8_t *)im->mem + off, len);
		return 0;
	}
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(im->fd, (uint8_t *)out + done, len - done, (off_t)(off + done));

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	return 0;
}

int image_write(struct image *im, uint64_t off, const void *p, size_t len)
{
	if (off > im->total || len > im->total - off)
		return -EINVAL;
	if (im->fd < 0) {
		memcpy((uint8_t *)im->mem + off, p, len);
		return 0;
	}
	for (size_t done = 0; done < len;) {
		ssize_t n = pwrite(im->fd, (const uint8_t *)p + done, len - done, (off_t)(off + done));

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

int image_import(struct image *im, struct kv *kv)
{
	if (im->fd < 0)
		return kv_import_mem(kv, im->mem, im->total);
	if (fsync(im->fd))
		return -errno;
	return kv_import_file(kv, im->path);
}

void image_drop(struct image *im)
{
	free(im->mem);
	if (im->fd >= 0) {
		close(im->fd);
		unlink(im->path);
	}
	*im = (struct image){.fd = -1};
}
