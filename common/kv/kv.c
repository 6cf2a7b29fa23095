/* Checks that hold for every backend, then hands the call over. */
#include "common/kv/kv.h"

#include "common/kv/kv_ops.h"

void kv_close(struct kv *kv)
{
	if (!kv)
		return;
	kv_abort(kv);
	kv->ops->close(kv);
}

int kv_begin(struct kv *kv)
{
	int rc;

	CHECK(!kv->in_transaction);
	rc = kv->ops->begin(kv);
	kv->in_transaction = rc == 0;
	return rc;
}

int kv_commit(struct kv *kv)
{
	CHECK(kv->in_transaction);
	kv->in_transaction = false;
	return kv->ops->commit(kv);
}

void kv_commit_start(struct kv *kv, void (*done)(void *ctx, int rc), void *ctx)
{
	CHECK(kv->in_transaction && !kv->committing && !kv->left);
	kv->in_transaction = false;
	if (!kv->ops->commit_start) {
		done(ctx, kv->ops->commit(kv));
		return;
	}
	kv->committing = true;
	kv->committed = done;
	kv->committed_ctx = ctx;
	kv->ops->commit_start(kv);
}

bool kv_commit_left(const struct kv *kv)
{
	return kv->left;
}

void kv_commit_again(struct kv *kv, void (*done)(void *ctx, int rc), void *ctx)
{
	CHECK(kv->left && !kv->committing);
	kv->committing = true;
	kv->committed = done;
	kv->committed_ctx = ctx;
	kv->ops->commit_again(kv);
}

int kv_task_start(struct kv *kv, int (*fn)(struct kv *kv, void *arg), void *arg,
                  void (*done)(void *ctx, int rc), void *ctx)
{
	CHECK(!kv->committing);
	if (!kv->ops->task_start) {
		if (kv->in_transaction)
			return -EBUSY;
		done(ctx, fn(kv, arg));
		return 0;
	}
	kv->committing = true;
	kv->committed = done;
	kv->committed_ctx = ctx;
	kv->ops->task_start(kv, fn, arg);
	return 0;
}

bool kv_committing(const struct kv *kv)
{
	return kv->committing;
}

void kv_commit_wait(struct kv *kv)
{
	if (kv->committing)
		kv->ops->wait(kv);
}

void kv_commit_forget(struct kv *kv)
{
	kv->committed = NULL;
}

void kv_abort(struct kv *kv)
{
	if (!kv->in_transaction)
		return;
	kv->in_transaction = false;
	kv->ops->abort(kv);
}

int kv_get(struct kv *kv, struct kv_span key, struct kv_span *value)
{
	CHECK(key.len > 0 && key.len <= KV_KEY_BYTES_MAX);
	return kv->ops->get(kv, key, value);
}

int kv_put(struct kv *kv, struct kv_span key, struct kv_span value)
{
	CHECK(kv->in_transaction);
	CHECK(key.len > 0 && key.len <= KV_KEY_BYTES_MAX);
	return kv->ops->put(kv, key, value);
}

int kv_del(struct kv *kv, struct kv_span key)
{
	CHECK(kv->in_transaction);
	CHECK(key.len > 0 && key.len <= KV_KEY_BYTES_MAX);
	return kv->ops->del(kv, key);
}

int kv_seek(struct kv *kv, struct kv_span from, struct kv_span *key, struct kv_span *value)
{
	CHECK(from.len <= KV_KEY_BYTES_MAX);
	return kv->ops->seek(kv, from, 0, key, value);
}

int kv_seek_prefix(struct kv *kv, struct kv_span from, size_t prefix, struct kv_span *key,
                   struct kv_span *value)
{
	int rc;

	CHECK(from.len <= KV_KEY_BYTES_MAX && prefix <= from.len);
	rc = kv->ops->seek(kv, from, prefix, key, value);
	if (rc == 0 && (key->len < prefix || memcmp(key->p, from.p, prefix) != 0))
		return -ENOENT;
	return rc;
}

int kv_export_file(struct kv *kv, const char *path)
{
	CHECK(!kv->in_transaction);
	return kv->ops->export_file(kv, path);
}

int kv_export_mem(struct kv *kv, void **bytes, size_t *len)
{
	CHECK(!kv->in_transaction);
	return kv->ops->export_mem(kv, bytes, len);
}

int kv_import_file(struct kv *kv, const char *path)
{
	CHECK(!kv->in_transaction);
	return kv->ops->import_file(kv, path);
}

int kv_import_mem(struct kv *kv, const void *bytes, size_t len)
{
	CHECK(!kv->in_transaction);
	return kv->ops->import_mem(kv, bytes, len);
}

void kv_space(struct kv *kv, uint64_t *used, uint64_t *total)
{
	kv->ops->space(kv, used, total);
}

int kv_hold(struct kv *kv, uint64_t bytes)
{
	return kv->ops->hold ? kv->ops->hold(kv, bytes) : 0;
}

uint64_t kv_held(struct kv *kv)
{
	return kv->ops->held ? kv->ops->held(kv) : UINT64_MAX;
}
