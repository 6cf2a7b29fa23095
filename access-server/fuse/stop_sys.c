/* The end of a mount: dirty pages first, then the mount, the threads, the memory. */
#include "access-server/fuse/fs_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "access-server/fuse/mount.h"
#include "common/base/mem.h"

static void deliver_quiesced(struct letter *letter)
{
	struct fs *fs = container_of(letter, struct fs, quiesced);

	pthread_join(fs->quiescer, NULL);
	fs->quiesce_done(fs->quiesce_ctx, fs->quiesce_free);
}

/* Both calls wait for requests that the serving threads and the loop answer. They are made by another
 * process: a thread of ours that waited on our own mount could not be killed, and would keep the
 * connection, which it waits for, open. System calls only after fork(2) with threads around. */
static void NORETURN quiesce_child(const char *path)
{
	int fd;

	close_range(3, ~0u, 0); /* above all the connection */
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		syncfs(fd);
		close(fd);
	}
	_exit(umount2(path, 0) == 0 ? 0 : 1);
}

static void *quiesce(void *arg)
{
	struct fs *fs = arg;
	pid_t pid = fork();
	int status = 1;

	if (pid == 0)
		quiesce_child(fs->path);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	fs->quiesce_free = pid > 0 && status == 0;
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

static void close_mailbox(struct fs *fs)
{
	mailbox_close(&fs->mailbox, on_closed, fs);
}

/* No thread of ours is left that could post; what was posted is delivered by the closing. */
void fs_close(struct fs *fs)
{
	serving_close(fs, close_mailbox);
}

/* A mount that somebody detached while it was in use cannot be reached any more: the threads are
 * taken out of their reads. One that was on its way into it needs another kick. */
void fs_kick(struct fs *fs)
{
	if (fs->gone_seen)
		return;
	serving_stop(fs);
	for (unsigned i = 0; i < fs->threads_started; i++)
		pthread_kill(fs->thread[i], SIGUSR2);
}

void fs_stop(struct fs *fs, void (*done)(void *ctx), void *ctx)
{
	struct mount_id id;

	fs->stopping = true;
	fs->stop_done = done;
	fs->stop_ctx = ctx;
	/* Whoever waits on the connection gets ENOTCONN, our threads ENODEV. */
	if (fs->session)
		fuse_session_exit(fs->session);
	if (mount_find(fs->path, &id) == 0)
		umount2(fs->path, MNT_FORCE | MNT_DETACH);
	if (!fs->threads || fs->gone_seen) {
		fs_close(fs);
		return;
	}
	mount_abort(&fs->connection);
	fs_kick(fs);
}

/* The volume is gone, and with it what it held. */
void fs_free(struct fs *fs)
{
	calls_abandon(fs);
	if (fs->session) {
		fuse_session_unmount(fs->session); /* is unmounted: this frees its name */
		fuse_session_destroy(fs->session);
	}
	writebacks_free(fs);
	known_free(fs);
	serving_free(fs);
	mem_free(fs);
}

bool fs_mounted(const struct fs *fs)
{
	return fs->mounted;
}

void fs_abort(struct fs *fs)
{
	if (!fs->mounted)
		return;
	/* MNT_FORCE aborts even where the mount is busy and stays. */
	if (umount2(fs->path, MNT_FORCE) < 0)
		mount_abort(&fs->connection);
}

void fs_get_stats(const struct fs *fs, struct fs_stats *out)
{
	*out = fs->stats;
}
