#include "common/kv/kv_behind.h"

#include "common/base/mem.h"
#include "common/kv/kv_ops.h"

struct kv_behind {
	struct kv base;
	struct kv *below;
	const struct kv_behind_ops *ops;
	void *ctx;
	struct kv *open;     /* changes of the transaction; NULL: none */
	struct kv *writing;  /* of the one before, on their way; NULL: none */
	int (*task)(struct kv *kv, void *arg);
	void *task_arg;
	int rc;              /* written by the job */
	bool tasking;        /* what runs is the task, not a commit */
	bool ran;            /* the same, read after it */
};

/* A change: the key with a first byte that tells whether there is a value, and that. */
enum { GONE, THERE };

static struct kv_behind *behind_of(struct kv *kv)
{
	return container_of(kv, struct kv_behind, base);
}

/* --- changes --- */

static struct kv *changes_new(void)
{
	struct kv *kv = kv_new_changes();

	CHECK(kv_begin(kv) == 0);
	return kv;
}

static int change_put(struct kv *changes, uint8_t kind, struct kv_span key, struct kv_span value)
{
	uint8_t few[512], *p = value.len < sizeof(few) ? few : mem_new(value.len + 1);
	int rc;

	CHECK(key.len < KV_KEY_BYTES_MAX); /* so that it has a successor */
	p[0] = kind;
	if (value.len > 0)
		memcpy(p + 1, value.p, value.len);
	rc = kv_put(changes, key, (struct kv_span){p, value.len + 1});
	if (p != few)
		mem_free(p);
	return rc;
}

static bool is_there(struct kv_span change)
{
	return *(const uint8_t *)change.p == THERE;
}

static struct kv_span value_of(struct kv_span change)
{
	return (struct kv_span){(const uint8_t *)change.p + 1, change.len - 1};
}

/* The first key behind `key`, in buf. */
static struct kv_span successor(struct kv_span key, uint8_t buf[KV_KEY_BYTES_MAX])
{
	memcpy(buf, key.p, key.len);
	buf[key.len] = 0;
	return (struct kv_span){buf, key.len + 1};
}

/* --- writing them below: on another thread --- */

static int write_all(struct kv *below, struct kv *changes)
{
	uint8_t buf[KV_KEY_BYTES_MAX];
	struct kv_span from = {"", 0}, key, change;
	int rc = 0;

	while (rc == 0 && changes->ops->seek(changes, from, 0, &key, &change) == 0) {
		if (is_there(change)) {
			rc = below->ops->put(below, key, value_of(change));
		} else {
			rc = below->ops->del(below, key);
			if (rc == -ENOENT) /* made and deleted in one transaction */
				rc = 0;
		}
		from = successor(key, buf);
	}
	return rc;
}

static void run_task(void *arg)
{
	struct kv_behind *b = arg;

	b->rc = b->task(b->below, b->task_arg);
	__atomic_store_n(&b->ran, true, __ATOMIC_RELEASE);
}

static void run_commit(void *arg)
{
	struct kv_behind *b = arg;
	struct kv *writer = b->below->ops->writer ? b->below->ops->writer(b->below) : b->below;
	int rc = writer->ops->begin(writer);

	if (rc == 0) {
		rc = write_all(writer, b->writing);
		if (rc == 0)
			rc = writer->ops->commit(writer);
		else
			writer->ops->abort(writer);
	}
	b->rc = rc;
	__atomic_store_n(&b->ran, true, __ATOMIC_RELEASE);
}

/* --- transactions --- */

static void drop_writing(struct kv_behind *b)
{
	if (b->writing)
		kv_close(b->writing);
	b->writing = NULL;
	b->base.left = false;
}

static void finish(struct kv_behind *b)
{
	void (*done)(void *ctx, int rc) = b->base.committed;
	void *ctx = b->base.committed_ctx;

	if (b->below->ops->refresh)
		b->below->ops->refresh(b->below);
	b->base.left = b->writing && (b->tasking ? b->base.left : b->rc == -ENOSPC);
	if (!b->base.left)
		drop_writing(b);
	b->tasking = false;
	b->base.committing = false;
	b->base.committed = NULL;
	if (done)
		done(ctx, b->rc);
}

void kv_behind_done(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	if (kv->committing && __atomic_load_n(&b->ran, __ATOMIC_ACQUIRE))
		finish(b);
}

static void wait_written(struct kv_behind *b)
{
	if (!b->base.committing)
		return;
	b->ops->wait(b->ctx);
	kv_behind_done(&b->base);
	CHECK(!b->base.committing);
}

static void behind_wait(struct kv *kv)
{
	wait_written(behind_of(kv));
}

static int behind_begin(struct kv *kv)
{
	behind_of(kv)->open = changes_new();
	return 0;
}

static void behind_commit_start(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	CHECK(!b->writing);
	b->writing = b->open;
	b->open = NULL;
	b->ran = false;
	b->ops->start(b->ctx, run_commit, b);
}

static void behind_commit_again(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	b->ran = false;
	b->ops->start(b->ctx, run_commit, b);
}

static void behind_task_start(struct kv *kv, int (*fn)(struct kv *kv, void *arg), void *arg)
{
	struct kv_behind *b = behind_of(kv);

	b->tasking = true;
	b->task = fn;
	b->task_arg = arg;
	b->ran = false;
	b->ops->start(b->ctx, run_task, b);
}

static int behind_commit(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	wait_written(b);
	if (kv->left) {
		kv_commit_again(kv, NULL, NULL);
		wait_written(b);
	}
	if (kv->left) {
		kv_close(b->open);
		b->open = NULL;
		return -ENOSPC;
	}
	kv->committing = true;
	behind_commit_start(kv);
	wait_written(b);
	return b->rc;
}

static void behind_abort(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	kv_close(b->open);
	b->open = NULL;
}

static void behind_crash(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	drop_writing(b);
	b->tasking = false;
	kv_mem_crash(b->below);
}

/* --- access --- */

static int behind_get(struct kv *kv, struct kv_span key, struct kv_span *value)
{
	struct kv_behind *b = behind_of(kv);
	struct kv *layer[] = {b->open, b->writing};

	for (unsigned i = 0; i < ARRAY_LEN(layer); i++) {
		if (!layer[i] || kv_get(layer[i], key, value) < 0)
			continue;
		if (!is_there(*value))
			return -ENOENT;
		*value = value_of(*value);
		return 0;
	}
	return kv_get(b->below, key, value);
}

static int behind_put(struct kv *kv, struct kv_span key, struct kv_span value)
{
	return change_put(behind_of(kv)->open, THERE, key, value);
}

static int behind_del(struct kv *kv, struct kv_span key)
{
	struct kv_span value;
	int rc = behind_get(kv, key, &value);

	return rc < 0 ? rc : change_put(behind_of(kv)->open, GONE, key, (struct kv_span){NULL, 0});
}

static int compare(struct kv_span a, struct kv_span b)
{
	int c = memcmp(a.p, b.p, MIN(a.len, b.len));

	if (c != 0)
		return c;
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

/* Where a seek stands in one of the three layers. */
struct place {
	struct kv *layer;
	struct kv_span key, value;
	bool valid;
};

static int place_seek(struct place *p, struct kv_span from)
{
	int rc = p->layer ? p->layer->ops->seek(p->layer, from, 0, &p->key, &p->value) : -ENOENT;

	p->valid = rc == 0;
	return rc == -ENOENT ? 0 : rc;
}

/* The newest of those with the smallest key. */
static struct place *nearest(struct place place[], unsigned n)
{
	struct place *best = NULL;

	for (unsigned i = 0; i < n; i++)
		if (place[i].valid && (!best || compare(place[i].key, best->key) < 0))
			best = &place[i];
	return best;
}

/* Deleted keys are stepped over; not past the prefix, since many thousands may lie behind it. */
static int behind_seek(struct kv *kv, struct kv_span from, size_t prefix, struct kv_span *key,
                       struct kv_span *value)
{
	struct kv_behind *b = behind_of(kv);
	struct place place[] = {{.layer = b->open}, {.layer = b->writing}, {.layer = b->below}}, *best;
	uint8_t buf[KV_KEY_BYTES_MAX];
	struct kv_span gone;
	int rc = 0;

	for (unsigned i = 0; i < ARRAY_LEN(place) && rc == 0; i++)
		rc = place_seek(&place[i], from);
	while (rc == 0 && (best = nearest(place, ARRAY_LEN(place)))) {
		bool below = best->layer == b->below;

		if (best->key.len < prefix || memcmp(best->key.p, from.p, prefix) != 0)
			break;
		if (below || is_there(best->value)) {
			*key = best->key;
			*value = below ? best->value : value_of(best->value);
			return 0;
		}
		gone = best->key;
		for (unsigned i = 0; i < ARRAY_LEN(place) && rc == 0; i++)
			if (place[i].valid && &place[i] != best && compare(place[i].key, gone) == 0)
				rc = place_seek(&place[i], successor(gone, buf));
		if (rc == 0)
			rc = place_seek(best, successor(gone, buf));
	}
	return rc < 0 ? rc : -ENOENT;
}

/* --- images, size, end --- */

/* Images are of what is durable. */
static int behind_export_file(struct kv *kv, const char *path)
{
	return kv_export_file(behind_of(kv)->below, path);
}

static int behind_export_mem(struct kv *kv, void **bytes, size_t *len)
{
	return kv_export_mem(behind_of(kv)->below, bytes, len);
}

static int behind_import_file(struct kv *kv, const char *path)
{
	wait_written(behind_of(kv));
	drop_writing(behind_of(kv));
	return kv_import_file(behind_of(kv)->below, path);
}

static int behind_import_mem(struct kv *kv, const void *bytes, size_t len)
{
	wait_written(behind_of(kv));
	drop_writing(behind_of(kv));
	return kv_import_mem(behind_of(kv)->below, bytes, len);
}

static void behind_space(struct kv *kv, uint64_t *used, uint64_t *total)
{
	kv_space(behind_of(kv)->below, used, total);
}

static int behind_hold(struct kv *kv, uint64_t bytes)
{
	return kv_hold(behind_of(kv)->below, bytes);
}

static uint64_t behind_held(struct kv *kv)
{
	return kv_held(behind_of(kv)->below);
}

static void behind_close(struct kv *kv)
{
	struct kv_behind *b = behind_of(kv);

	wait_written(b);
	drop_writing(b);
	kv_close(b->below);
	mem_free(b);
}

static const struct kv_ops ops = {
	.close = behind_close,
	.begin = behind_begin,
	.commit = behind_commit,
	.commit_start = behind_commit_start,
	.commit_again = behind_commit_again,
	.task_start = behind_task_start,
	.wait = behind_wait,
	.abort = behind_abort,
	.crash = behind_crash,
	.get = behind_get,
	.put = behind_put,
	.del = behind_del,
	.seek = behind_seek,
	.export_file = behind_export_file,
	.export_mem = behind_export_mem,
	.import_file = behind_import_file,
	.import_mem = behind_import_mem,
	.space = behind_space,
	.hold = behind_hold,
	.held = behind_held,
};

struct kv *kv_new_behind(struct kv *below, const struct kv_behind_ops *how, void *ctx)
{
	struct kv_behind *b = mem_new(sizeof(*b));

	b->base.ops = &ops;
	b->below = below;
	b->ops = how;
	b->ctx = ctx;
	return &b->base;
}
