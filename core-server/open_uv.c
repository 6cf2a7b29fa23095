/* What lies in the server's directory: the index (LMDB) and the store's files (io_uring). */
#include "core-server/core.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/disk/disk_uring.h"

/* Page tables take about a hundredth of the data; LMDB keeps old versions during a checkpoint. The
 * file is sparse: this is a bound, not a size. */
static uint64_t kv_bytes(const struct config *config, const struct place *p)
{
	uint64_t data = config->capacity != 0 ? config->capacity : p->fs_bytes;

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

static int open_parts(const struct config *config, const struct place *p, struct kv **kv,
                      struct disk **disk, char *why, size_t why_size)
{
	int rc = kv_open_lmdb(kv, p->kv_dir, kv_bytes(config, p));

	if (rc < 0) {
		snprintf(why, why_size, "cannot open the index in %s: %s", p->kv_dir, err_text(rc));
		return rc;
	}
	rc = disk_uring_open(disk, p->dir);
	if (rc < 0) {
		snprintf(why, why_size, "cannot use io_uring in %s: %s%s", p->dir, err_text(rc),
		         rc == -ENOSYS || rc == -EPERM ?
		                 "; this server needs a kernel with io_uring allowed" : "");
		kv_close(*kv);
		*kv = NULL;
	}
	return rc;
}

int core_format(const struct config *config, char *why, size_t why_size)
{
	struct store_config store = store_config_of(config);
	struct place p;
	struct kv *kv;
	struct disk *disk;
	int rc = place_take(&p, config->directory, true, why, why_size);

	if (rc < 0)
		return rc;
	rc = open_parts(config, &p, &kv, &disk, why, why_size);
	if (rc < 0)
		goto out_leave;
	rc = store_format(disk, kv, config->cluster, config->id, &store);
	if (rc == -EEXIST)
		snprintf(why, why_size, "%s holds a store already; remove the directory to lose its data",
		         p.dir);
	else if (rc < 0)
		snprintf(why, why_size, "cannot format %s: %s", p.dir, err_text(rc));
	disk_uring_close(disk);
	kv_close(kv);
out_leave:
	place_leave(&p);
	return rc;
}

static void on_store_open(void *ctx, int rc)
{
	core_opened(ctx, rc);
}

int core_open(struct core *c, char *why, size_t why_size)
{
	struct store_config store = store_config_of(&c->config);
	int rc = place_take(&c->place, c->config.directory, false, why, why_size);

	if (rc < 0)
		return rc;
	rc = open_parts(&c->config, &c->place, &c->kv, &c->disk, why, why_size);
	if (rc < 0)
		goto out_leave;
	rc = disk_uring_uv_start(&c->disk_loop, &c->loop, c->disk);
	if (rc < 0) {
		snprintf(why, why_size, "cannot wait for the disk in the event loop: %s", err_text(rc));
		goto out_parts;
	}
	store_open(&c->store, c->disk, c->kv, c->config.cluster, c->config.id, &store, on_store_open,
	           c);
	return 0;

out_parts:
	disk_uring_close(c->disk);
	kv_close(c->kv);
	c->disk = NULL;
	c->kv = NULL;
out_leave:
	place_leave(&c->place);
	return rc;
}

void core_close_files(struct core *c)
{
	if (c->disk != NULL)
		disk_uring_close(c->disk);
	if (c->kv != NULL)
		kv_close(c->kv);
	place_leave(&c->place);
}
