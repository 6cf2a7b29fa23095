#include "common/kv/kv.h"

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

/* Both backends behave alike, transaction by transaction, over a random history. */
Test(kv, backends_agree)
{
	struct kv *mem = kv_new_mem(), *lmdb = open_kv(LMDB);
	struct random r;

	random_seed(&r, 11);
	for (unsigned t = 0; t < 300; t++) {
		cr_assert_eq(kv_begin(mem), 0);
		cr_assert_eq(kv_begin(lmdb), 0);
		for (unsigned i = 0; i < 20; i++) {
			char key[16], value[16];

			snprintf(key, sizeof(key), "k%u", (unsigned)random_below(&r, 200));
			snprintf(value, sizeof(value), "v%u", (unsigned)random_below(&r, 1000));
			if (random_chance(&r, 400))
				cr_assert_eq(kv_del(mem, text(key)), kv_del(lmdb, text(key)));
			else
				cr_assert_eq(kv_put(mem, text(key), text(value)),
				             kv_put(lmdb, text(key), text(value)));
		}
		if (random_chance(&r, 300)) {
			kv_abort(mem);
			kv_abort(lmdb);
		} else {
			cr_assert_eq(kv_commit(mem), 0);
			cr_assert_eq(kv_commit(lmdb), 0);
		}
		struct kv_span from = {"", 0}, ka, va, kb, vb;
		char last[16];

		while (kv_seek(mem, from, &ka, &va) == 0) {
			cr_assert_eq(kv_seek(lmdb, from, &kb, &vb), 0);
			cr_assert_eq(ka.len, kb.len);
			cr_assert_arr_eq(ka.p, kb.p, ka.len);
			cr_assert_eq(va.len, vb.len);
			cr_assert_arr_eq(va.p, vb.p, va.len);
			memcpy(last, ka.p, ka.len);
			last[ka.len] = 0; /* the smallest key after it */
			from = (struct kv_span){last, ka.len + 1};
		}
		cr_assert_eq(kv_seek(lmdb, from, &kb, &vb), -ENOENT);
	}
	kv_close(mem);
	remove_kv(LMDB, lmdb);
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
