/* The end of a mount: dirty pages first, then the mount, the threads, the memory. */
#include "access-server/fuse/fs_internal.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "access-server/fuse/mount.h"
#include "common/base/mem.h"

static void deliver_quiesced(struct letter *letter)
{
	struct fs *fs = container_of(letter, struct fs, quiesced);

	pthread_join(fs->quiescer, NULL);
	fs->quiesce_done(fs->quiesce_ctx, fs->quiesce_free);
}

/* A thread of its own: both calls wait for requests that the serving threads and the loop answer. */
static void *quiesce(void *arg)
{
	struct fs *fs = arg;
	int fd = open(fs->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		if (syncfs(fd) < 0)
			errno = 0; /* what could not be written is told to whoever calls fsync */
		close(fd);
	}
	fs->quiesce_free = umount2(fs->path, 0) == 0;
	mailbox_post(&fs->mailbox, &fs->quiesced, deliver_quiesced);
	return NULL;
}

void fs_quiesce(struct fs *fs, void (*done)(void *ctx, bool free), void *ctx)
{
	fs->stopping = true; /* from here on the mount's end is no surprise */
	fs->quiesce_done = done;
	fs->quiesce_ctx = ctx;
	CHECK(pthread_create(&fs->quiescer, NULL, quiesce, fs) == 0);
}

static void on_closed(void *ctx)
{
	struct fs *fs = ctx;

	fs->stop_done(fs->stop_ctx);
}

void fs_stop(struct fs *fs, void (*done)(void *ctx), void *ctx)
{
	struct mount_id id;

	fs->stopping = true;
	fs->stop_done = done;
	fs->stop_ctx = ctx;
	if (!fs->threads || fs->gone_seen) {
		mailbox_close(&fs->mailbox, on_closed, fs);
		return;
	}
	/* Whoever waits on the connection gets ENOTCONN, our threads ENODEV. The mount may be detached
	 * already and still be in use. */
	fuse_session_exit(fs->session);
	if (mount_find(fs->path, &id) == 0)
		umount2(fs->path, MNT_FORCE | MNT_DETACH);
	mount_abort(&fs->connection);
}

void fs_free(struct fs *fs)
{
	if (fs->session)
		fuse_session_destroy(fs->session);
	known_free(fs);
	mem_free(fs);
}

bool fs_mounted(const struct fs *fs)
{
	return fs->mounted;
}

void fs_abort(struct fs *fs)
{
	if (fs->mounted)
		mount_abort(&fs->connection);
}

void fs_get_stats(const struct fs *fs, struct fs_stats *out)
{
	*out = fs->stats;
}
