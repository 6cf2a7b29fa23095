/* What lies in the server's directory: the index (LMDB) and the store's files (io_uring). */
#include "core-server/core.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/disk/disk_uring.h"

/* Page tables take about a hundredth of the data; LMDB keeps old versions during a checkpoint. The
 * file is sparse: this is a bound, not a size. */
static uint64_t kv_bytes(uint64_t data)
{
	return MAX(data / 24, (uint64_t)1 << 30);
}

static nsec_t store_now(void *ctx)
{
	(void)ctx;
	return clock_boottime();
}

static struct store_config store_config_of(const struct config *c)
{
	return (struct store_config){
		.journal_bytes = c->journal,
		.data_bytes_max = c->capacity,
		.cache_bytes = c->cache,
		.now = store_now,
	};
}

static int open_kv(struct core *c, char *why, size_t why_size)
{
	const struct state_dir *dir = &c->server.dir;
	uint64_t data = c->server.config.capacity;
	int rc = data != 0 ? 0 : state_dir_fs_bytes(dir, &data);

	if (rc < 0) {
		snprintf(why, why_size, "cannot measure the file system of %s: %s", dir->path, err_text(rc));
		return rc;
	}
	rc = kv_open_lmdb(&c->kv, dir->below, kv_bytes(data));
	if (rc < 0)
		snprintf(why, why_size, "cannot open the index in %s: %s", dir->below, err_text(rc));
	return rc;
}

static int open_parts(struct core *c, char *why, size_t why_size)
{
	int rc = open_kv(c, why, why_size);

	if (rc < 0)
		return rc;
	rc = disk_uring_open(&c->disk, c->server.dir.path);
	if (rc < 0)
		snprintf(why, why_size, "cannot use io_uring in %s: %s%s", c->server.dir.path, err_text(rc),
		         rc == -ENOSYS || rc == -EPERM ?
		                 "; this server needs a kernel with io_uring allowed" : "");
	return rc;
}

int core_format(struct server *s, char *why, size_t why_size)
{
	struct store_config store = store_config_of(&s->config);
	struct core *c = (struct core *)s;
	int rc = open_parts(c, why, why_size);

	if (rc == 0) {
		rc = store_format(c->disk, c->kv, s->config.cluster, s->config.id, &store);
		if (rc == -EEXIST)
			snprintf(why, why_size, "%s holds a store already; remove it to lose its data",
			         s->dir.path);
		else if (rc < 0)
			snprintf(why, why_size, "cannot format %s: %s", s->dir.path, err_text(rc));
	}
	core_close(s);
	return rc;
}

static void on_store_open(void *ctx, int rc)
{
	core_opened(ctx, rc);
}

int core_start(struct server *s, char *why, size_t why_size)
{
	struct store_config store = store_config_of(&s->config);
	struct core *c = (struct core *)s;
	int rc = open_parts(c, why, why_size);

	if (rc < 0)
		goto out_close;
	rc = disk_uring_uv_start(&c->disk_loop, &s->loop, c->disk);
	if (rc < 0) {
		snprintf(why, why_size, "cannot wait for the disk in the event loop: %s", err_text(rc));
		goto out_close;
	}
	rc = kv_worker_start(&c->kv_worker, &s->loop, &c->kv);
	if (rc < 0) {
		snprintf(why, why_size, "cannot start a thread for the index: %s", err_text(rc));
		return rc; /* stopped like a server that serves */
	}
	store_open(&c->store, c->disk, c->kv, s->config.cluster, s->config.id, &store, on_store_open,
	           c);
	return 0;

out_close:
	core_close(s);
	return rc;
}

void core_close(struct server *s)
{
	struct core *c = (struct core *)s;

	if (c->disk != NULL)
		disk_uring_close(c->disk);
	c->disk = NULL;
	if (c->kv != NULL)
		kv_close(c->kv);
	c->kv = NULL;
}
