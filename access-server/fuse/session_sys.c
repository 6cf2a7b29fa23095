/* Mount, serving threads, and the words with the kernel that libfuse 3.14 does not speak. */
#include "access-server/fuse/fs_internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/uio.h>
#include <unistd.h>

#include "access-server/fuse/mount.h"
#include "common/base/mem.h"

/* Newer than this system's linux/fuse.h: shared mappings of files opened with FOPEN_DIRECT_IO. */
#define FUSE_INIT_ALLOW_MMAP ((uint64_t)1 << 36)

/* What is asked of the kernel beyond libfuse's flags:
 * PARALLEL_DIROPS     libfuse 3.14.0 has it in its API and forgets to send it;
 * HANDLE_KILLPRIV_V2  otherwise every write(2) asks for security.capability first;
 * ALLOW_MMAP          a file open with O_DIRECT or O_APPEND can be mapped through that handle. */
#define FLAGS_MORE (FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_ALLOW_MMAP)

static _Thread_local const struct fuse_in_header *raw_request;

const struct fuse_in_header *fs_raw_request(void)
{
	return raw_request;
}

/* FUSE_INIT is the first request of a connection, answered by the same thread. */
static void add_flags(struct fs *fs, const struct iovec *iov, int n)
{
	const struct fuse_out_header *head = iov[0].iov_base;
	struct fuse_init_out *out;
	uint64_t flags;

	if (n != 2 || head->error || iov[1].iov_len < sizeof(*out))
		return;
	out = iov[1].iov_base;
	flags = fs->kernel_flags & FLAGS_MORE;
	out->flags |= (uint32_t)flags;
	if (fs->kernel_flags & FUSE_INIT_EXT) {
		out->flags |= FUSE_INIT_EXT;
		out->flags2 |= (uint32_t)(flags >> 32);
	}
}

static ssize_t io_writev(int fd, struct iovec *iov, int n, void *ctx)
{
	const struct fuse_in_header *in = raw_request;
	const struct fuse_out_header *out = iov[0].iov_base;

	if (in && in->opcode == FUSE_INIT && out->unique == in->unique)
		add_flags(ctx, iov, n);
	return writev(fd, iov, n);
}

static ssize_t io_read(int fd, void *buf, size_t len, void *ctx)
{
	(void)ctx;
	return read(fd, buf, len);
}

static void op_init(void *ctx, struct fuse_conn_info *conn)
{
	struct fs *fs = ctx;
	const struct fuse_init_in *in = (const void *)(raw_request + 1);

	fs->kernel_flags = in->flags;
	if (in->flags & FUSE_INIT_EXT)
		fs->kernel_flags |= (uint64_t)in->flags2 << 32;
	conn->max_write = FS_REQUEST_BYTES_MAX;
	conn->max_background = 256;
	conn->congestion_threshold = 192;
	/* The kernel's own write cache trusts its own size and times: not with several writers. */
	conn->want &= ~(unsigned)(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
	                          FUSE_CAP_HANDLE_KILLPRIV | FUSE_CAP_READDIRPLUS_AUTO);
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA |
	                               FUSE_CAP_ASYNC_DIO | FUSE_CAP_ATOMIC_O_TRUNC |
	                               FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS |
	                               FUSE_CAP_EXPORT_SUPPORT);
}

static void deliver_gone(struct letter *letter);

static void threads_end(struct fs *fs, unsigned n)
{
	if (__atomic_add_fetch(&fs->threads_ended, n, __ATOMIC_ACQ_REL) == fs->threads)
		mailbox_post(&fs->mailbox, &fs->gone, deliver_gone);
}

void fs_process(struct fs *fs, const struct fuse_buf *buf)
{
	raw_request = buf->mem;
	fuse_session_process_buf(fs->session, buf);
	if (raw_request->opcode == FUSE_INIT) { /* its answer set the kernel's own limit */
		mount_set_readahead(&fs->connection, fs->config.readahead_kib);
		__atomic_store_n(&fs->serving.ready, true, __ATOMIC_RELEASE);
	}
	raw_request = NULL;
}

static void *serve(void *arg)
{
	struct fs *fs = arg;
	struct fuse_buf buf = {0};

	pthread_setname_np(pthread_self(), "fuse");
	for (;;) {
		int n;

		serving_park(fs);
		if (fuse_session_exited(fs->session))
			break;
		n = fuse_session_receive_buf(fs->session, &buf);
		if (n == -EINTR || n == -EAGAIN)
			continue;
		if (n <= 0)
			break;
		serving_saw(fs, buf.size);
		fs_process(fs, &buf);
	}
	free(buf.mem);
	fuse_session_exit(fs->session);
	threads_end(fs, 1);
	return NULL;
}


static void deliver_gone(struct letter *letter)
{
	struct fs *fs = container_of(letter, struct fs, gone);

	for (unsigned i = 0; i < fs->threads_started; i++)
		pthread_join(fs->thread[i], NULL);
	invalidators_stop(fs);
	fs->mounted = false;
	fs->gone_seen = true;
	if (fs->stop_done)
		fs_close(fs);
	else if (!fs->stopping)
		fs->ops->unmounted(fs->ctx);
}

int fs_new(struct fs **out, uv_loop_t *loop, const struct fs_config *c, const struct fs_ops *ops,
           void *ctx)
{
	struct fs *fs = mem_new(sizeof(*fs));
	int rc;

	fs->config = *c;
	fs->loop = loop;
	fs->ops = ops;
	fs->ctx = ctx;
	if (!fs->config.threads)
		fs->config.threads = 4;
	fs->config.threads = MIN(fs->config.threads, FS_THREADS_MAX);
	if (!fs->config.readahead_kib)
		fs->config.readahead_kib = 4096;
	rc = mailbox_open(&fs->mailbox, loop);
	if (rc < 0) {
		mem_free(fs);
		return rc;
	}
	serving_init(fs);
	*out = fs;
	return 0;
}

static void on_kick(int signum)
{
	(void)signum; /* it only ends a read(2) */
}

static void catch_kick(void)
{
	struct sigaction sa = {.sa_handler = on_kick}; /* without SA_RESTART */

	sigaction(SIGUSR2, &sa, NULL);
}

static struct fuse_session *new_session(struct fs *fs)
{
	char options[256];
	char *argv[] = {"distcloud-access", "-o", options, fs->config.debug ? "-d" : NULL, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(fs->config.debug ? 4 : 3, argv);
	struct fuse_lowlevel_ops ops = {.init = op_init};
	struct fuse_session *se;

	/* default_permissions: the kernel checks modes; root's mount may carry devices and setuid. */
	snprintf(options, sizeof(options), "fsname=distcloud,subtype=distcloud,default_permissions%s",
	         geteuid() == 0 ? ",allow_other,suid,dev" : "");
	fs_fill_ops(&ops);
	fs_fill_data_ops(&ops);
	se = fuse_session_new(&args, &ops, sizeof(ops), fs);
	fuse_opt_free_args(&args);
	return se;
}

static int prepare_mount_point(struct fs *fs, const char **why)
{
	int rc = mount_path(fs->config.mount, fs->path, sizeof(fs->path));

	*why = "the directory above the mount point cannot be reached";
	if (rc < 0)
		return rc;
	*why = "a stale mount of an earlier process cannot be detached";
	rc = mount_clean(fs->path);
	if (rc < 0)
		return rc;
	*why = "the mount point cannot be created";
	return mkdir(fs->path, 0755) < 0 && errno != EEXIST ? -errno : 0;
}

static int start_threads(struct fs *fs)
{
	fs->threads = fs->config.threads; /* the first one reads it already */
	for (; fs->threads_started < fs->threads; fs->threads_started++) {
		int rc = pthread_create(&fs->thread[fs->threads_started], NULL, serve, fs);

		if (rc == 0)
			continue;
		threads_end(fs, fs->threads - fs->threads_started);
		return -rc;
	}
	return 0;
}

static const struct fuse_custom_io custom_io = {.read = io_read, .writev = io_writev};

int fs_start(struct fs *fs, struct volume *v, const char **why)
{
	int rc = prepare_mount_point(fs, why);

	if (rc < 0)
		return rc;
	catch_kick();
	fs->volume = v;
	fs->session = new_session(fs);
	*why = "libfuse refuses its options";
	if (!fs->session)
		return -EINVAL;
	*why = "mounting failed: is /dev/fuse there, and are you root or in group fuse?";
	if (fuse_session_mount(fs->session, fs->path) != 0)
		return errno ? -errno : -EIO;
	fs->mounted = true;
	rc = mount_find(fs->path, &fs->connection);
	*why = "out of threads or memory";
	if (rc == 0)
		rc = fuse_session_custom_io(fs->session, &custom_io, fuse_session_fd(fs->session));
	if (rc == 0)
		rc = invalidators_start(fs);
	if (rc == 0)
		rc = serving_start(fs);
	if (rc == 0)
		rc = start_threads(fs);
	if (rc < 0)
		umount2(fs->path, MNT_FORCE | MNT_DETACH);
	return rc;
}
