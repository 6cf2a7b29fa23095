/* The life of a call: posted by a serving thread, submitted and answered on the loop. */
#include "access-server/fuse/fs_internal.h"

#include "access-server/fuse/caller.h"
#include "common/base/mem.h"

#define WATCH_EVERY (200 * NSEC_MSEC)

struct call *call_new(fuse_req_t fuse, enum vol_op op, uint64_t ino, size_t text_bytes)
{
	struct call *c = mem_new(sizeof(*c) + text_bytes);

	c->fs = fuse_req_userdata(fuse);
	c->fuse = fuse;
	c->thread = fuse_req_ctx(fuse)->pid;
	c->req.op = op;
	c->req.ino = ino;
	return c;
}

static void call_free(struct call *c)
{
	iobuf_put(c->req.data.buf);
	iobuf_put(c->req.out.buf);
	mem_free(c);
}

static void unwatch(struct call *c)
{
	if (!c->watched)
		return;
	c->watched = false;
	c->fs->watched--;
}

/* The interrupt letter may still be under way when the answer is out: the last of both frees. */
void call_finish(struct call *c)
{
	c->replied = true;
	unwatch(c);
	c->fs->stats.in_flight--;
	DL_DELETE(c->fs->calls, c);
	if (!c->interrupt_posted || c->interrupted)
		call_free(c);
}

void calls_abandon(struct fs *fs)
{
	while (fs->calls) {
		struct call *c = fs->calls;

		if (c->fuse)
			fuse_reply_err(c->fuse, ENOTCONN);
		c->interrupt_posted = false; /* no letter is under way any more */
		call_finish(c);
	}
}

/* After this no interrupt function runs any more: libfuse holds the request's lock there. */
void call_answered(struct call *c)
{
	if (c->fuse)
		fuse_req_interrupt_func(c->fuse, NULL, NULL);
}

static void on_done(struct vol_req *req)
{
	struct call *c = container_of(req, struct call, req);

	call_answered(c);
	if (c->failed && req->rc == -EINTR)
		req->rc = -EIO;
	c->reply(c);
	if (!c->deferred)
		call_finish(c);
}

void call_submit(struct call *c)
{
	c->submitted = true;
	vol_submit(c->fs->volume, &c->req);
	if (c->ended && c->fuse)
		vol_interrupt(c->fs->volume, &c->req);
}

static void deliver_call(struct letter *letter)
{
	struct call *c = container_of(letter, struct call, letter);

	c->fs->stats.calls++;
	c->fs->stats.in_flight++;
	DL_APPEND(c->fs->calls, c);
	c->req.done = on_done;
	if (c->req.op == VOL_WRITE && (c->req.flags & VOL_F_WRITEBACK))
		writeback_begin(c);
	else if (writeback_holds(c))
		return;
	call_submit(c);
}

/* Nobody wants the answer any more. */
static void end_waiting(struct call *c)
{
	unwatch(c);
	c->ended = true;
	if (c->submitted && c->fuse) {
		vol_interrupt(c->fs->volume, &c->req);
	} else if (c->waits && c->req.op != VOL_CLOSE) {
		writeback_leave(c);
		c->req.rc = -EINTR;
		on_done(&c->req);
	}
}

/* Programs do not expect a filesystem to answer EINTR, and those that live on signals (timers of a
 * runtime, QEMU) would fail at every slow moment: as on other filesystems only a signal that ends
 * the process ends its waiting - but for locks, where POSIX says so. The kernel tells of the first
 * signal only, so whoever got a harmless one is looked at until the answer is there. */
static bool ends_waiting(const struct call *c)
{
	return (c->req.op == VOL_SETLK && (c->req.flags & VOL_F_WAIT)) || caller_dying(c->thread);
}

static void deliver_interrupt(struct letter *letter)
{
	struct call *c = container_of(letter, struct call, interrupt);

	c->fs->stats.interrupts++;
	c->interrupted = true;
	if (c->replied) {
		call_free(c);
	} else if (ends_waiting(c)) {
		end_waiting(c);
	} else if (c->fuse) {
		c->watched = true;
		c->fs->watched++;
	}
}

nsec_t fs_watch(struct fs *fs, nsec_t now)
{
	nsec_t due = serving_tick(fs, now);
	struct call *c, *next;

	if (!fs->watched)
		return due;
	if (now < fs->watch_at)
		return MIN(due, fs->watch_at);
	DL_FOREACH_SAFE(fs->calls, c, next)
		if (c->watched && caller_dying(c->thread))
			end_waiting(c);
	fs->watch_at = now + WATCH_EVERY;
	return fs->watched ? MIN(due, fs->watch_at) : due;
}

/* Writebacks go on: nobody waits for them, and their data is not to be dropped. */
void fs_fail_waiting(struct fs *fs)
{
	struct call *c, *next;

	DL_FOREACH_SAFE(fs->calls, c, next) {
		if (!c->fuse || !c->submitted || c->failed || c->deferred || c->req.op == VOL_CLOSE)
			continue;
		c->failed = true;
		vol_interrupt(fs->volume, &c->req);
	}
}

/* On a serving thread, under libfuse's lock of the request. The kernel sends one FUSE_INTERRUPT,
 * but may send it again after -EAGAIN only, which we never answer. */
static void on_interrupt(fuse_req_t fuse, void *data)
{
	struct call *c = data;

	(void)fuse;
	if (c->interrupt_posted)
		return;
	c->interrupt_posted = true;
	mailbox_post(&c->fs->mailbox, &c->interrupt, deliver_interrupt);
}

void fs_post(struct fs *fs, struct letter *letter, void (*deliver)(struct letter *letter))
{
	if (serving_on_loop())
		deliver(letter);
	else
		mailbox_post(&fs->mailbox, letter, deliver);
}

void call_post(struct call *c, void (*reply)(struct call *c))
{
	c->reply = reply;
	fuse_req_interrupt_func(c->fuse, on_interrupt, c);
	fs_post(c->fs, &c->letter, deliver_call);
}

static void reply_nobody(struct call *c)
{
	(void)c;
}

void call_close_handle(struct fs *fs, uint64_t ino, uint64_t handle)
{
	struct call *c = mem_new(sizeof(*c));

	c->fs = fs;
	c->req.op = VOL_CLOSE;
	c->req.ino = ino;
	c->req.handle = handle;
	c->reply = reply_nobody;
	deliver_call(&c->letter);
}

void known_add(struct fs *fs, uint64_t ino)
{
	struct known *k;

	HASH_FIND(hh, fs->known, &ino, sizeof(ino), k);
	if (!k) {
		k = mem_new(sizeof(*k));
		k->ino = ino;
		HASH_ADD(hh, fs->known, ino, sizeof(ino), k);
		fs->stats.inodes_known++;
	}
	k->lookups++;
}

void known_forget(struct fs *fs, uint64_t ino, uint64_t lookups)
{
	struct known *k;

	HASH_FIND(hh, fs->known, &ino, sizeof(ino), k);
	if (!k)
		return;
	k->lookups -= MIN(lookups, k->lookups);
	if (k->lookups)
		return;
	HASH_DEL(fs->known, k);
	mem_free(k);
	fs->stats.inodes_known--;
	vol_forget(fs->volume, ino);
}

void known_free(struct fs *fs)
{
	struct known *k, *next;

	HASH_ITER(hh, fs->known, k, next) {
		HASH_DEL(fs->known, k);
		mem_free(k);
	}
}

int fs_errno(int rc)
{
	if (rc == ERR_FENCED || rc == ERR_CORRUPT)
		return EIO;
	return rc < 0 && rc > -1000 ? -rc : rc == 0 ? 0 : EIO;
}
