/* A loop reads and changes a store whose transactions a worker commits: it sees all of its changes at
 * once; commits that wait, commits that do not, and exports follow each other in any order, each
 * from within the end of the one before. At the end everything is in the file. */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/kv/kv_behind.h"
#include "common/kv/kv_worker_uv.h"

#define ROUNDS 1000
#define KEYS 16
#define MAP_BYTES (64u << 20)

static char dir[3000], image[3100];
static struct kv *kv;
static struct kv_worker worker;
static uv_idle_t idle;
static uint64_t round_of[KEYS];  /* 0: never written */
static uint64_t rounds, exports;

static void remove_store(void)
{
	static const char *const name[] = {"data.mdb", "lock.mdb", "image"};
	char path[3100];

	for (unsigned i = 0; i < ARRAY_LEN(name); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, name[i]);
		(void)unlink(path);
	}
	CHECK(rmdir(dir) == 0);
}

static struct kv_span key_of(const unsigned *k)
{
	return (struct kv_span){k, sizeof(*k)};
}

static void check_all(struct kv *store)
{
	for (unsigned k = 0; k < KEYS; k++) {
		struct kv_span value;
		int rc = kv_get(store, key_of(&k), &value);

		CHECK(rc == (round_of[k] ? 0 : -ENOENT));
		if (rc < 0)
			continue;
		CHECK(value.len == sizeof(round_of[k]));
		CHECK(memcmp(value.p, &round_of[k], value.len) == 0);
	}
}

static int export_image(struct kv *store, void *arg)
{
	(void)unlink(image);
	return kv_export_file(store, arg);
}

static void change(void)
{
	unsigned k = (unsigned)(++rounds % KEYS);

	CHECK(kv_begin(kv) == 0);
	CHECK(kv_put(kv, key_of(&k), (struct kv_span){&rounds, sizeof(rounds)}) == 0);
	round_of[k] = rounds;
	k = (unsigned)(rounds * 7 % KEYS);
	if (round_of[k] && round_of[k] != rounds) {
		CHECK(kv_del(kv, key_of(&k)) == 0);
		round_of[k] = 0;
	}
	check_all(kv);
}

static void go_on(void);

static void on_exported(void *ctx, int rc)
{
	CHECK(ctx == image && rc == 0);
	exports++;
	go_on();
}

static void on_committed(void *ctx, int rc)
{
	CHECK(ctx == &rounds && rc == 0);
	if (rounds % 50 == 0)
		CHECK(kv_task_start(kv, export_image, image, on_exported, image) == 0);
	else
		go_on();
}

/* Commits the changes made meanwhile and makes the next ones. */
static void go_on(void)
{
	if (rounds >= ROUNDS || rounds % 3 == 0) {
		CHECK(kv_commit(kv) == 0);
		check_all(kv);
		if (rounds >= ROUNDS)
			return;
		change();
	}
	kv_commit_start(kv, on_committed, &rounds);
	change();
}

/* A commit that waits leaves the worker's bell ringing during the next one: played here, so that a
 * job's end is seen as early as can be. */
static void on_idle(uv_idle_t *handle)
{
	for (unsigned i = 0; i < 1000 && kv_committing(kv); i++)
		kv_behind_done(kv);
	check_all(kv);
	if (rounds >= ROUNDS && !kv_committing(kv))
		uv_close((uv_handle_t *)handle, NULL);
}

int main(int argc, char **argv)
{
	uv_loop_t loop;

	CHECK(argc == 2);
	snprintf(dir, sizeof(dir), "%s.%d", argv[1], (int)getpid());
	snprintf(image, sizeof(image), "%s/image", dir);
	CHECK(mkdir(dir, 0755) == 0);
	CHECK(kv_open_lmdb(&kv, dir, MAP_BYTES) == 0);
	CHECK(uv_loop_init(&loop) == 0);
	CHECK(kv_worker_start(&worker, &loop, &kv) == 0);
	CHECK(uv_idle_init(&loop, &idle) == 0 && uv_idle_start(&idle, on_idle) == 0);
	change();
	go_on();
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(exports > 0);
	kv_worker_stop(&worker);
	uv_run(&loop, UV_RUN_DEFAULT);
	kv_close(kv);
	CHECK(uv_loop_close(&loop) == 0);

	CHECK(kv_open_lmdb(&kv, dir, MAP_BYTES) == 0);
	check_all(kv);
	kv_close(kv);
	remove_store();
	printf("%llu transactions, %llu exports\n", (unsigned long long)rounds, (unsigned long long)exports);
	return 0;
}
