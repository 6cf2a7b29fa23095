/* Threads that drop what the kernel caches. An invalidation waits for locked pages, so they serve
 * no request themselves (trap A11); inodes are spread over several so that one waits for one. */
#include "access-server/fuse/fs_internal.h"

#include "common/base/mem.h"

static void deliver_done(struct letter *letter)
{
	struct invalidation *in = container_of(letter, struct invalidation, letter);

	in->fs->stats.invalidations++;
	if (in->then) {
		in->then->reply(in->then);
		call_finish(in->then);
	} else if (in->cookie) {
		vol_invalidated(in->fs->volume, in->cookie);
	}
	mem_free(in);
}

/* -ENOENT: the kernel knows no such inode or entry; that is what was wanted. */
static void drop(struct invalidation *in)
{
	struct fuse_session *se = in->fs->session;

	if (in->entry && in->name_len)
		fuse_lowlevel_notify_inval_entry(se, in->ino, in->name, in->name_len);
	else if (in->entry || in->off == VOL_ATTRIBUTES_ONLY)
		fuse_lowlevel_notify_inval_inode(se, in->ino, -1, 0);
	else
		fuse_lowlevel_notify_inval_inode(se, in->ino, (off_t)in->off, (off_t)in->len);
}

static struct invalidation *next(struct invalidator *v)
{
	struct cds_wfcq_node *node;

	while (sem_wait(&v->count) < 0)
		;
	node = queue_take(&v->head, &v->tail);
	CHECK(node);
	return container_of(node, struct invalidation, node);
}

static void *run(void *arg)
{
	struct invalidator *v = arg;

	pthread_setname_np(pthread_self(), "invalidate");
	for (;;) {
		struct invalidation *in = next(v);

		if (in->quit) {
			mem_free(in);
			return NULL;
		}
		drop(in);
		mailbox_post(&v->fs->mailbox, &in->letter, deliver_done);
	}
}

static void post(struct invalidator *v, struct invalidation *in)
{
	queue_put(&v->head, &v->tail, &in->node);
	sem_post(&v->count);
}

/* Nothing is mounted yet or any more: nothing is cached; the answer still comes later, on the loop. */
static void give(struct fs *fs, struct invalidation *in)
{
	if (fs->mounted && !fs->stopping)
		post(&fs->invalidator[in->ino % FS_INVALIDATORS], in);
	else
		mailbox_post(&fs->mailbox, &in->letter, deliver_done);
}

void invalidate_then(struct fs *fs, uint64_t ino, uint64_t off, struct call *then)
{
	struct invalidation *in = mem_new(sizeof(*in));

	*in = (struct invalidation){.fs = fs, .then = then, .ino = ino, .off = off};
	give(fs, in);
}

void fs_invalidate(struct fs *fs, uint64_t ino, uint64_t off, uint64_t len, uint64_t cookie)
{
	struct invalidation *in = mem_new(sizeof(*in));

	*in = (struct invalidation){.fs = fs, .ino = ino, .off = off, .len = len, .cookie = cookie};
	give(fs, in);
}

void fs_invalidate_entry(struct fs *fs, uint64_t dir, struct span name, uint64_t cookie)
{
	struct invalidation *in = mem_new(sizeof(*in) + name.len + 1);

	*in = (struct invalidation){.fs = fs, .entry = true, .ino = dir, .cookie = cookie,
	                            .name_len = name.len};
	if (name.len)
		memcpy(in->name, name.p, name.len);
	give(fs, in);
}

int invalidators_start(struct fs *fs)
{
	for (unsigned i = 0; i < FS_INVALIDATORS; i++) {
		struct invalidator *v = &fs->invalidator[i];
		int rc;

		v->fs = fs;
		cds_wfcq_init(&v->head, &v->tail);
		CHECK(sem_init(&v->count, 0, 0) == 0);
		rc = pthread_create(&v->thread, NULL, run, v);
		if (rc)
			return -rc;
	}
	return 0;
}

/* After the connection is gone: no invalidation can wait any more. */
void invalidators_stop(struct fs *fs)
{
	for (unsigned i = 0; i < FS_INVALIDATORS; i++) {
		struct invalidation *in = mem_new(sizeof(*in));

		in->quit = true;
		post(&fs->invalidator[i], in);
	}
	for (unsigned i = 0; i < FS_INVALIDATORS; i++) {
		pthread_join(fs->invalidator[i].thread, NULL);
		sem_destroy(&fs->invalidator[i].count);
	}
}
