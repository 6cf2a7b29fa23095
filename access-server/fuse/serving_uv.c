/* Who reads the kernel's requests: the loop itself, or threads.
 *
 *   THREADS -- mounted, and no large write for a while ------------> LOOP
 *   LOOP    -- a large write, many requests at once, no memory ----> THREADS
 *
 * A request that the loop reads costs one wakeup less on its way, which is most of what a small one costs.
 * Threads copy large data beside the loop, and may wait for memory (P8). While the loop reads, the
 * connection does not block and the threads are parked; one that was inside its read when that began
 * serves one more request. */
#include "access-server/fuse/fs_internal.h"

#include <fcntl.h>

#include "common/base/clock.h"

#define THREADS_FOR (200 * NSEC_MSEC)
#define READS_MAX 4

static _Thread_local bool on_loop;

bool serving_on_loop(void)
{
	return on_loop;
}

static bool set_nonblocking(struct fs *fs, bool on)
{
	int fd = fuse_session_fd(fs->session), flags = fcntl(fd, F_GETFL);

	return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) == 0;
}

static void on_readable(uv_poll_t *poll, int status, int events);

static void turn(struct fs *fs, bool to_loop)
{
	struct serving *s = &fs->serving;

	if (s->by_loop == to_loop || !set_nonblocking(fs, to_loop))
		return;
	pthread_mutex_lock(&s->lock);
	s->by_loop = to_loop;
	pthread_cond_broadcast(&s->turned);
	pthread_mutex_unlock(&s->lock);
	s->until = s->now + THREADS_FOR;
	if (to_loop)
		CHECK(uv_poll_start(&s->poll, UV_READABLE, on_readable) == 0);
	else
		uv_poll_stop(&s->poll);
}

static void to_threads(struct fs *fs)
{
	turn(fs, false);
}

/* False: nothing more to be read by the loop now. */
static bool read_one(struct fs *fs)
{
	struct serving *s = &fs->serving;
	int n = fuse_session_receive_buf(fs->session, &s->buf);

	if (n == -EINTR)
		return true;
	if (n == -EAGAIN)
		return false;
	if (n <= 0) { /* the mount is gone: the threads end, and say so */
		fuse_session_exit(fs->session);
		to_threads(fs);
		return false;
	}
	on_loop = true;
	fs_process(fs, &s->buf);
	on_loop = false;
	if (s->buf.size > FS_LARGE_BYTES || s->no_memory) {
		s->no_memory = false;
		to_threads(fs);
		return false;
	}
	return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct fs *fs = container_of(container_of(poll, struct serving, poll), struct fs, serving);
	struct serving *s = &fs->serving;
	unsigned n = 0, max = s->several ? READS_MAX : 1;

	clock_awake();
	(void)events;
	while (n < max && s->by_loop && read_one(fs))
		n++;
	s->several = n == max;
	if (n == READS_MAX || status < 0)
		to_threads(fs);
}

void serving_saw(struct fs *fs, size_t bytes)
{
	if (bytes > FS_LARGE_BYTES && !__atomic_load_n(&fs->serving.large, __ATOMIC_RELAXED))
		__atomic_store_n(&fs->serving.large, true, __ATOMIC_RELAXED);
}

void serving_park(struct fs *fs)
{
	struct serving *s = &fs->serving;

	pthread_mutex_lock(&s->lock);
	while (s->by_loop)
		pthread_cond_wait(&s->turned, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

nsec_t serving_tick(struct fs *fs, nsec_t now)
{
	struct serving *s = &fs->serving;

	s->now = now;
	if (!s->open || s->by_loop || fuse_session_exited(fs->session))
		return NSEC_NEVER;
	if (now < s->until)
		return s->until;
	s->until = now + THREADS_FOR;
	/* The first request sets up what the threads and the kernel agreed on. */
	if (!__atomic_load_n(&s->ready, __ATOMIC_ACQUIRE))
		return s->until;
	if (__atomic_exchange_n(&s->large, false, __ATOMIC_RELAXED))
		return s->until;
	turn(fs, true);
	return s->by_loop ? NSEC_NEVER : s->until;
}

int serving_start(struct fs *fs)
{
	struct serving *s = &fs->serving;
	int rc = uv_poll_init(fs->loop, &s->poll, fuse_session_fd(fs->session));

	if (rc < 0)
		return rc;
	s->open = true;
	return set_nonblocking(fs, false) ? 0 : -EIO; /* libuv has set it */
}

void serving_stop(struct fs *fs)
{
	if (fs->serving.open)
		to_threads(fs);
}

static void on_closed(uv_handle_t *handle)
{
	struct serving *s = container_of((uv_poll_t *)(void *)handle, struct serving, poll);

	s->closed(container_of(s, struct fs, serving));
}

void serving_close(struct fs *fs, void (*closed)(struct fs *fs))
{
	struct serving *s = &fs->serving;

	if (!s->open) {
		closed(fs);
		return;
	}
	to_threads(fs);
	s->open = false;
	s->closed = closed;
	uv_close((uv_handle_t *)&s->poll, on_closed);
}

void serving_init(struct fs *fs)
{
	pthread_mutex_init(&fs->serving.lock, NULL);
	pthread_cond_init(&fs->serving.turned, NULL);
}

void serving_free(struct fs *fs)
{
	free(fs->serving.buf.mem);
	pthread_cond_destroy(&fs->serving.turned);
	pthread_mutex_destroy(&fs->serving.lock);
}
