#include "common/disk/disk_uring_uv.h"

#include "common/base/clock.h"
#include "common/disk/disk_uring.h"

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct disk_uring_uv *u = container_of(poll, struct disk_uring_uv, poll);

	(void)status;
	(void)events;
	clock_awake();
	disk_uring_poll(u->disk);
}

static void on_prepare(uv_prepare_t *prepare)
{
	disk_uring_flush(container_of(prepare, struct disk_uring_uv, prepare)->disk);
}

int disk_uring_uv_start(struct disk_uring_uv *u, uv_loop_t *loop, struct disk *disk)
{
	int rc;

	*u = (struct disk_uring_uv){.disk = disk};
	rc = uv_poll_init(loop, &u->poll, disk_uring_fd(disk));
	if (rc < 0)
		return rc;
	u->open_handles = 2;
	CHECK(uv_prepare_init(loop, &u->prepare) == 0);
	CHECK(uv_prepare_start(&u->prepare, on_prepare) == 0);
	return uv_poll_start(&u->poll, UV_READABLE, on_ready);
}

static void on_close(uv_handle_t *h)
{
	struct disk_uring_uv *u = h->data;

	if (--u->open_handles == 0)
		u->closed(u->ctx);
}

void disk_uring_uv_stop(struct disk_uring_uv *u, void (*closed)(void *ctx), void *ctx)
{
	u->closed = closed;
	u->ctx = ctx;
	u->poll.data = u->prepare.data = u;
	uv_close((uv_handle_t *)&u->poll, on_close);
	uv_close((uv_handle_t *)&u->prepare, on_close);
}
