#include "common/kv/kv_behind.h"
#include "common/kv/kv_worker_uv.h"

#include "common/base/mem.h"
#include "common/base/random.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum backend { MEM, LMDB };

static char dir[64];

static struct kv *open_kv(enum backend backend)
{
	struct kv *kv;

	if (backend == MEM)
		return kv_new_mem();
	snprintf(dir, sizeof(dir), "%s/dc-kv-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	cr_assert(mkdtemp(dir));
	cr_assert_eq(kv_open_lmdb(&kv, dir, 16 << 20), 0);
	return kv;
}

static void remove_kv(enum backend backend, struct kv *kv)
{
	char path[128];

	kv_close(kv);
	if (backend == MEM)
		return;
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	unlink(path);
	cr_assert_eq(rmdir(dir), 0);
}

static struct kv_span text(const char *s)
{
	return (struct kv_span){s, strlen(s)};
}

static bool has(struct kv *kv, const char *key, const char *value)
{
	struct kv_span v;

	if (kv_get(kv, text(key), &v) < 0)
		return value == NULL;
	return value && v.len == strlen(value) && memcmp(v.p, value, v.len) == 0;
}

static enum backend backends[] = {MEM, LMDB};

ParameterizedTestParameters(kv, keeps_what_was_committed)
{
	return cr_make_param_array(enum backend, backends, ARRAY_LEN(backends));
}

ParameterizedTest(enum backend *backend, kv, keeps_what_was_committed)
{
	struct kv *kv = open_kv(*backend);
	struct kv_span key, value;

	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("b"), text("2")), 0);
	cr_assert_eq(kv_put(kv, text("a"), text("1")), 0);
	cr_assert(has(kv, "a", "1"), "a transaction reads its own writes");
	cr_assert_eq(kv_commit(kv), 0);

	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("a"), text("9")), 0);
	cr_assert_eq(kv_del(kv, text("b")), 0);
	cr_assert_eq(kv_del(kv, text("zz")), -ENOENT);
	kv_abort(kv);
	cr_assert(has(kv, "a", "1"));
	cr_assert(has(kv, "b", "2"));
	cr_assert(has(kv, "c", NULL));

	cr_assert_eq(kv_seek(kv, text("aa"), &key, &value), 0);
	cr_assert_eq(key.len, 1);
	cr_assert_arr_eq(key.p, "b", 1);
	cr_assert_eq(kv_seek(kv, text("bb"), &key, &value), -ENOENT);
	cr_assert_eq(kv_seek(kv, (struct kv_span){"", 0}, &key, &value), 0);
	cr_assert_arr_eq(key.p, "a", 1);
	remove_kv(*backend, kv);
}

/* A worker that runs a job when it is told to. */
struct hands {
	void (*job)(void *arg);
	void *arg;
};

static void take_job(void *ctx, void (*job)(void *arg), void *arg)
{
	struct hands *h = ctx;

	cr_assert_null(h->job);
	*h = (struct hands){job, arg};
}

static void do_job(void *ctx)
{
	struct hands *h = ctx;
	void (*job)(void *arg) = h->job;

	h->job = NULL;
	if (job)
		job(h->arg);
}

static const struct kv_behind_ops by_hand = {take_job, do_job};

static void count_done(void *ctx, int rc)
{
	cr_assert_eq(rc, 0);
	++*(unsigned *)ctx;
}

static void same_content(struct kv *a, struct kv *b)
{
	struct kv_span from = {"", 0}, ka, va, kb, vb;
	char last[17];

	while (kv_seek(a, from, &ka, &va) == 0) {
		cr_assert_eq(kv_seek(b, from, &kb, &vb), 0);
		cr_assert_eq(ka.len, kb.len);
		cr_assert_arr_eq(ka.p, kb.p, ka.len);
		cr_assert_eq(va.len, vb.len);
		cr_assert_arr_eq(va.p, vb.p, va.len);
		memcpy(last, ka.p, ka.len);
		last[ka.len] = 0; /* the smallest key after it */
		from = (struct kv_span){last, ka.len + 1};
	}
	cr_assert_eq(kv_seek(b, from, &kb, &vb), -ENOENT);
}

/* Among the keys that begin like "k17", and from there on. */
static void same_under_prefixes(struct kv *a, struct kv *b)
{
	struct kv_span ka, va, kb, vb;
	char key[16];

	for (unsigned i = 0; i < 200; i++) {
		size_t prefix = i % 4;
		int rc;

		snprintf(key, sizeof(key), "k%u", i);
		prefix = MIN(prefix, strlen(key));
		rc = kv_seek_prefix(a, text(key), prefix, &ka, &va);
		cr_assert_eq(kv_seek_prefix(b, text(key), prefix, &kb, &vb), rc);
		if (rc < 0)
			continue;
		cr_assert_eq(ka.len, kb.len);
		cr_assert_arr_eq(ka.p, kb.p, ka.len);
		cr_assert_eq(va.len, vb.len);
		cr_assert_arr_eq(va.p, vb.p, va.len);
	}
}

static void change_at_random(struct kv *a, struct kv *b, struct random *r)
{
	char key[16], value[16];

	snprintf(key, sizeof(key), "k%u", (unsigned)random_below(r, 200));
	snprintf(value, sizeof(value), "v%u", (unsigned)random_below(r, 1000));
	if (random_chance(r, 400))
		cr_assert_eq(kv_del(a, text(key)), kv_del(b, text(key)));
	else
		cr_assert_eq(kv_put(a, text(key), text(value)), kv_put(b, text(key), text(value)));
}

/* A commit on its way, or several on end, change nothing of what is read. */
static void agrees_with_mem(struct kv *kv, struct hands *hands)
{
	struct kv *mem = kv_new_mem();
	unsigned done = 0, commits = 0;
	struct random r;

	random_seed(&r, 11);
	for (unsigned t = 0; t < 300; t++) {
		cr_assert_eq(kv_begin(mem), 0);
		cr_assert_eq(kv_begin(kv), 0);
		for (unsigned i = 0; i < 20; i++)
			change_at_random(mem, kv, &r);
		same_content(mem, kv);
		if (random_chance(&r, 300)) {
			kv_abort(mem);
			kv_abort(kv);
		} else if (random_chance(&r, 300)) {
			cr_assert_eq(kv_commit(mem), 0);
			cr_assert_eq(kv_commit(kv), 0);
		} else {
			kv_commit_wait(kv);
			cr_assert_eq(done, commits);
			cr_assert_eq(kv_commit(mem), 0);
			kv_commit_start(kv, count_done, &done);
			commits++;
		}
		if (hands && random_chance(&r, 300))
			do_job(hands);
		same_content(mem, kv);
		if (hands && random_chance(&r, 500))
			kv_behind_done(kv);
		same_content(mem, kv);
		same_under_prefixes(mem, kv);
	}
	kv_commit_wait(kv);
	cr_assert_eq(done, commits);
	kv_close(mem);
}

Test(kv, backends_agree)
{
	struct kv *lmdb = open_kv(LMDB);

	agrees_with_mem(lmdb, NULL);
	remove_kv(LMDB, lmdb);
}

Test(kv, behind_agrees_over_memory)
{
	struct hands hands = {NULL, NULL};
	struct kv *kv = kv_new_behind(kv_new_mem(), &by_hand, &hands);

	agrees_with_mem(kv, &hands);
	kv_close(kv);
}

/* Each seek used to step over all that was deleted behind the prefix: servers stood still for
 * seconds when many files went at once. It would take minutes here. */
Test(kv, deleted_keys_behind_a_prefix_cost_nothing, .timeout = 30)
{
	enum { N = 50000 };
	struct hands hands = {NULL, NULL};
	struct kv *kv = kv_new_behind(kv_new_mem(), &by_hand, &hands);
	struct kv_span k, v;
	char key[16];

	cr_assert_eq(kv_begin(kv), 0);
	for (unsigned i = 0; i < N; i++) {
		snprintf(key, sizeof(key), "o%06u", i);
		cr_assert_eq(kv_put(kv, text(key), text("1")), 0);
	}
	cr_assert_eq(kv_commit(kv), 0);
	cr_assert_eq(kv_begin(kv), 0);
	for (unsigned i = 0; i < N; i++) {
		snprintf(key, sizeof(key), "o%06u", i);
		cr_assert_eq(kv_del(kv, text(key)), 0);
		key[0] = 'l';
		cr_assert_eq(kv_seek_prefix(kv, text(key), 7, &k, &v), -ENOENT);
	}
	cr_assert_eq(kv_commit(kv), 0);
	kv_close(kv);
}

Test(kv, behind_agrees_over_lmdb)
{
	struct hands hands = {NULL, NULL};
	struct kv *kv = kv_new_behind(open_kv(LMDB), &by_hand, &hands);

	agrees_with_mem(kv, &hands);
	remove_kv(LMDB, kv);
}

/* Durable is what the job has written, whether or not anybody heard of it. */
Test(kv, behind_forgets_in_a_crash_what_was_not_written)
{
	struct hands hands = {NULL, NULL};
	struct kv *kv = kv_new_behind(kv_new_mem(), &by_hand, &hands);
	unsigned done = 0;

	for (unsigned written = 0; written <= 1; written++) {
		cr_assert_eq(kv_begin(kv), 0);
		cr_assert_eq(kv_put(kv, text("a"), text(written ? "2" : "1")), 0);
		kv_commit_start(kv, count_done, &done);
		cr_assert(has(kv, "a", written ? "2" : "1"));
		if (written)
			do_job(&hands);
		hands.job = NULL;
		kv_mem_crash(kv);
		cr_assert(has(kv, "a", written ? "2" : NULL));
		kv_behind_done(kv);
		cr_assert_eq(done, 0, "nobody is there to hear it");
	}
	kv_close(kv);
}

/* The thread: commits end while the loop runs, and one under way ends with it. */
Test(kv, worker_commits_for_a_loop)
{
	struct kv *kv = open_kv(LMDB);
	struct kv_worker w = {0};
	unsigned done = 0;
	uv_loop_t loop;

	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(kv_worker_start(&w, &loop, &kv), 0);
	uv_ref((uv_handle_t *)&w.ran); /* nothing else keeps this loop alive */
	for (unsigned i = 0; i < 20; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		cr_assert_eq(kv_begin(kv), 0);
		cr_assert_eq(kv_put(kv, text(key), text("v")), 0);
		kv_commit_start(kv, count_done, &done);
		cr_assert(has(kv, key, "v"));
		while (done == i)
			uv_run(&loop, UV_RUN_ONCE);
		cr_assert(has(kv, key, "v"));
	}
	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("last"), text("v")), 0);
	kv_commit_start(kv, count_done, &done);
	kv_commit_forget(kv);
	kv_worker_stop(&w);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	cr_assert_eq(done, 20);
	kv_close(kv);
	cr_assert_eq(kv_open_lmdb(&kv, dir, 16 << 20), 0);
	cr_assert(has(kv, "k19", "v"));
	cr_assert(has(kv, "last", "v"));
	remove_kv(LMDB, kv);
}

/* A bell rung for an older commit may tell the loop of this one before its thread is idle again. */
Test(kv, worker_takes_the_next_commit_at_once)
{
	struct kv *kv = kv_new_mem();
	struct kv_worker w = {0};
	unsigned done = 0;
	uv_loop_t loop;

	cr_assert_eq(uv_loop_init(&loop), 0);
	cr_assert_eq(kv_worker_start(&w, &loop, &kv), 0);
	for (unsigned i = 0; i < 20000; i++) {
		cr_assert_eq(kv_begin(kv), 0);
		cr_assert_eq(kv_put(kv, text("k"), text("v")), 0);
		kv_commit_start(kv, count_done, &done);
		while (done == i)
			kv_behind_done(kv);
	}
	kv_worker_stop(&w);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0);
	kv_close(kv);
}

Test(kv, image_brings_everything_back)
{
	struct kv *a = kv_new_mem(), *b = kv_new_mem();
	uint8_t *bytes;
	size_t len;

	cr_assert_eq(kv_begin(a), 0);
	cr_assert_eq(kv_put(a, text("x"), text("1")), 0);
	cr_assert_eq(kv_put(a, text("y"), text("")), 0);
	cr_assert_eq(kv_commit(a), 0);
	cr_assert_eq(kv_begin(b), 0);
	cr_assert_eq(kv_put(b, text("old"), text("1")), 0);
	cr_assert_eq(kv_commit(b), 0);
	cr_assert_eq(kv_export_mem(a, (void **)&bytes, &len), 0);
	cr_assert_eq(kv_import_mem(b, bytes, len - 1), ERR_CORRUPT);
	cr_assert(has(b, "old", "1"), "a bad image changes nothing");
	cr_assert_eq(kv_import_mem(b, bytes, len), 0);
	cr_assert(has(b, "x", "1"));
	cr_assert(has(b, "y", ""));
	cr_assert(has(b, "old", NULL));
	mem_free(bytes);
	kv_close(a);
	kv_close(b);
}

Test(kv, lmdb_image_replaces_the_store)
{
	struct kv *kv = open_kv(LMDB);
	char path[128];

	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("x"), text("1")), 0);
	cr_assert_eq(kv_commit(kv), 0);
	snprintf(path, sizeof(path), "%s/image", dir);
	cr_assert_eq(kv_export_file(kv, path), 0);
	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("x"), text("2")), 0);
	cr_assert_eq(kv_commit(kv), 0);
	cr_assert(has(kv, "x", "2"));
	cr_assert_eq(kv_import_file(kv, path), 0);
	cr_assert(has(kv, "x", "1"));
	remove_kv(LMDB, kv);
}

/* P8: a full map says ENOSPC and the store lives on. */
Test(kv, full_lmdb_says_so)
{
	struct kv *kv = open_kv(LMDB);
	static char big[64 << 10];
	int rc = 0;

	cr_assert_eq(kv_begin(kv), 0);
	for (unsigned i = 0; i < 1000 && rc == 0; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		rc = kv_put(kv, text(key), (struct kv_span){big, sizeof(big)});
	}
	cr_assert_eq(rc, -ENOSPC);
	kv_abort(kv);
	cr_assert_eq(kv_begin(kv), 0);
	cr_assert_eq(kv_put(kv, text("x"), text("1")), 0);
	cr_assert_eq(kv_commit(kv), 0);
	remove_kv(LMDB, kv);
}
