/* The end: what the kernel has, what the volume has, the leases, the mount, the connections. Nothing
 * is lost on a good day; when the cluster does not answer, waiting ends after STOP_WITHIN and the
 * exit status says that something was given up. */
#include "access-server/access.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#define STOP_WITHIN (20 * NSEC_SEC)
#define FENCED_STOP_WITHIN (3 * NSEC_SEC) /* when nothing here waits to be written */
#define RELEASE_WITHIN (3 * NSEC_SEC)

static void on_quiesced(void *ctx, bool free)
{
	struct access *a = ctx;

	if (!free)
		log_warn("mount.busy", "%s is in use: programs there will get errors", a->server.config.mount);
	if (a->phase == STOP_QUIESCE)
		a->phase = STOP_SYNC;
}

static bool nothing_to_save(const struct access *a)
{
	struct vol_stats stats;

	if (!a->volume)
		return true;
	vol_get_stats(a->volume, &stats);
	return !stats.buffered_bytes && !session_valid(a->server.session);
}

static void stop_mount(struct access *a);

void access_stop(struct server *s)
{
	struct access *a = (struct access *)s;

	a->stop_by = clock_boottime() + STOP_WITHIN;
	if (a->fs && fs_mounted(a->fs)) {
		a->phase = STOP_QUIESCE;
		fs_quiesce(a->fs, on_quiesced, a);
	} else if (nothing_to_save(a)) {
		stop_mount(a);
	} else {
		a->phase = STOP_SYNC;
	}
}

void access_stop_now(struct server *s)
{
	log_warn("stop.now", "asked again: not waiting for unwritten data");
	((struct access *)s)->stop_by = 0;
}

static void on_synced(struct vol_req *req)
{
	struct access *a = container_of(req, struct access, sync);

	a->syncing = false;
	if (req->rc < 0) {
		log_error("stop.sync", "not everything could be written: %s", err_text(req->rc));
		a->server.status = EXIT_FAILED;
	}
	if (a->phase == STOP_SYNC) {
		a->phase = STOP_RELEASE;
		a->stop_by = clock_boottime() + RELEASE_WITHIN;
		vol_give_back(a->volume);
	}
}

static void start_sync(struct access *a)
{
	a->syncing = true;
	a->sync = (struct vol_req){.op = VOL_SYNC, .done = on_synced};
	vol_submit(a->volume, &a->sync);
}

static void on_net_gone(struct server *s)
{
	struct access *a = (struct access *)s;

	a->phase = STOP_DONE;
	if (a->volume)
		vol_free(a->volume);
	if (s->session)
		session_free(s->session);
	if (a->fs)
		fs_free(a->fs);
	server_end(s);
}

static void on_mount_gone(void *ctx)
{
	struct access *a = ctx;

	a->phase = STOP_NET;
	server_stop_net(&a->server, on_net_gone);
}

static void stop_mount(struct access *a)
{
	a->phase = STOP_MOUNT;
	if (a->fs)
		fs_stop(a->fs, on_mount_gone, a);
	else
		on_mount_gone(a);
}

static void give_up(struct access *a)
{
	struct vol_stats stats;

	vol_get_stats(a->volume, &stats);
	if (stats.buffered_bytes && !a->abandoned) {
		log_error("stop.lost", "giving up %" PRIu64 " bytes that no two sites have",
		          stats.buffered_bytes);
		a->server.status = EXIT_FAILED;
	}
	a->abandoned = true;
	stop_mount(a);
}

void access_stop_step(struct access *a, nsec_t now)
{
	switch (a->phase) {
	case STOP_NOT:
	case STOP_NET:
	case STOP_DONE:
		return;
	case STOP_MOUNT:
		if (a->fs)
			fs_kick(a->fs);
		return;
	case STOP_QUIESCE:
		/* The kernel waits for the volume, the volume for the cluster: ending the mount ends
		 * the waiting, and the quiescing thread with it. */
		if (now >= a->stop_by ||
		    (nothing_to_save(a) && now >= a->stop_by - STOP_WITHIN + FENCED_STOP_WITHIN))
			fs_abort(a->fs);
		return;
	case STOP_SYNC:
		if (now >= a->stop_by || nothing_to_save(a))
			give_up(a);
		else if (!a->syncing)
			start_sync(a);
		return;
	case STOP_RELEASE:
		if (vol_gave_back(a->volume) || now >= a->stop_by)
			stop_mount(a);
		return;
	}
}
