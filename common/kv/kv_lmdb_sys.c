/* The LMDB backend. One environment, one database, one writer.
 *
 * Reads outside a write transaction use one read-only transaction that is kept and renewed when a
 * commit made it old: readers never pin pages longer than until the next commit (LMDB's manual
 * warns of long ones). Synchronous commits: never MDB_NOSYNC. */
#include "common/kv/kv.h"

#include "common/base/mem.h"
#include "common/kv/kv_ops.h"

#include <fcntl.h>
#include <limits.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LOCK_FILE_BYTES 16384 /* twice what LMDB uses */
#define META_PAGES 2
/* More than LMDB writes at once, and the needs of the file system itself. */
#define FULL_BYTES ((uint64_t)16 << 20)

struct kv_lmdb {
	struct kv base;
	char *path;
	uint64_t map_bytes;
	uint64_t held; /* bytes of the file system that belong to the file */
	MDB_env *env;
	MDB_dbi dbi;
	MDB_txn *write; /* open write transaction */
	MDB_txn *read;  /* reset or live */
	bool read_live;
	MDB_cursor *cursor; /* of the read transaction */
	struct kv_lmdb *twin; /* for another thread: the same environment, transactions of its own */
};

static struct kv_lmdb *lmdb_of(struct kv *kv)
{
	return container_of(kv, struct kv_lmdb, base);
}

/* Our code for LMDB's: its own are below -30000, the system's are positive. Ours pass through. */
static int translate(int rc)
{
	switch (rc) {
	case MDB_NOTFOUND:
		return -ENOENT;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
		return -ENOSPC;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_PANIC:
		return ERR_CORRUPT;
	case MDB_VERSION_MISMATCH:
		return ERR_VERSION;
	default:
		return rc > 0 ? -rc : rc < -30000 ? -EIO : rc;
	}
}

static MDB_val val(struct kv_span s)
{
	return (MDB_val){s.len, (void *)(uintptr_t)s.p};
}

static struct kv_span span(MDB_val v)
{
	return (struct kv_span){v.mv_data, v.mv_size};
}

static void end_read(struct kv_lmdb *l)
{
	if (l->read_live)
		mdb_txn_reset(l->read);
	l->read_live = false;
}

/* The transaction to read through now. */
static int reader(struct kv_lmdb *l, MDB_txn **out)
{
	int rc;

	*out = l->write;
	if (l->write)
		return 0;
	if (!l->read_live) {
		rc = l->read ? mdb_txn_renew(l->read) : mdb_txn_begin(l->env, NULL, MDB_RDONLY, &l->read);
		if (rc != 0)
			return translate(rc);
		l->read_live = true;
	}
	*out = l->read;
	return 0;
}

static int open_file(const struct kv_lmdb *l, const char *name)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/%s", l->path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

/* Blocks for the first `bytes` of the file; its size stays as it is unless `grow`. */
static int take_blocks(int fd, uint64_t bytes, bool grow)
{
	int rc;

	do {
		rc = fallocate(fd, grow ? 0 : FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes);
	} while (rc < 0 && errno == EINTR);
	return rc == 0 || errno == EOPNOTSUPP ? 0 : -errno;
}

/* LMDB maps its table of readers into memory: a hole in that file, with no block left to fill it,
 * would be a SIGBUS. Closed before LMDB locks it: closing a file drops the process's locks on it. */
static int fill_lock_file(const struct kv_lmdb *l)
{
	int fd = open_file(l, "lock.mdb"), rc;

	if (fd < 0)
		return fd;
	rc = take_blocks(fd, LOCK_FILE_BYTES, true);
	close(fd);
	return rc;
}

static uint64_t measure(const struct kv_lmdb *l)
{
	int fd = open_file(l, "data.mdb");
	struct stat st = {0};

	if (fd < 0)
		return 0;
	(void)fstat(fd, &st);
	close(fd);
	return (uint64_t)st.st_blocks * 512;
}

static int lmdb_hold(struct kv *kv, uint64_t bytes)
{
	struct kv_lmdb *l = lmdb_of(kv);
	uint64_t want = MIN(bytes, l->map_bytes);
	int fd, rc;

	if (want <= l->held)
		return 0;
	fd = open_file(l, "data.mdb");
	if (fd < 0)
		return fd;
	rc = take_blocks(fd, want, false);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	close(fd);
	l->held = rc == 0 ? want : measure(l);
	return rc;
}

static uint64_t lmdb_held(struct kv *kv)
{
	return lmdb_of(kv)->held;
}

static int open_env(struct kv_lmdb *l)
{
	MDB_txn *txn;
	int rc;

	rc = fill_lock_file(l);
	if (rc < 0)
		return rc;
	rc = mdb_env_create(&l->env);
	if (rc != 0)
		return translate(rc);
	rc = mdb_env_set_mapsize(l->env, l->map_bytes);
	if (rc == 0)
		rc = mdb_env_open(l->env, l->path, MDB_NOTLS, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(l->env, NULL, 0, &txn);
	if (rc == 0) {
		rc = mdb_dbi_open(txn, NULL, 0, &l->dbi);
		if (rc == 0)
			rc = mdb_txn_commit(txn);
		else
			mdb_txn_abort(txn);
	}
	if (rc != 0) {
		mdb_env_close(l->env);
		l->env = NULL;
	}
	l->held = measure(l);
	return translate(rc);
}

static void close_env(struct kv_lmdb *l)
{
	if (l->cursor)
		mdb_cursor_close(l->cursor);
	if (l->read)
		mdb_txn_abort(l->read);
	if (l->env)
		mdb_env_close(l->env);
	l->cursor = NULL;
	l->read = NULL;
	l->read_live = false;
	l->env = NULL;
}

static int lmdb_begin(struct kv *kv)
{
	struct kv_lmdb *l = lmdb_of(kv);

	end_read(l);
	return translate(mdb_txn_begin(l->env, NULL, 0, &l->write));
}

static bool file_system_full(const struct kv_lmdb *l)
{
	struct statvfs s;
	int fd;

	return mdb_env_get_fd(l->env, &fd) == 0 && fstatvfs(fd, &s) == 0 &&
	       s.f_bavail * s.f_frsize < FULL_BYTES;
}

/* LMDB calls it EIO when only a part of its pages could be written. Another try writes all of them
 * anew and syncs them before it refers to them, so that nothing depends on what became of these; a
 * failure after that point is final within LMDB itself. */
static int lmdb_commit(struct kv *kv)
{
	struct kv_lmdb *l = lmdb_of(kv);
	MDB_txn *txn = l->write;
	int rc;

	l->write = NULL;
	rc = translate(mdb_txn_commit(txn));
	return rc == -EIO && file_system_full(l) ? -ENOSPC : rc;
}

static void lmdb_abort(struct kv *kv)
{
	struct kv_lmdb *l = lmdb_of(kv);

	mdb_txn_abort(l->write);
	l->write = NULL;
}

static int lmdb_get(struct kv *kv, struct kv_span key, struct kv_span *value)
{
	struct kv_lmdb *l = lmdb_of(kv);
	MDB_val k = val(key), v;
	MDB_txn *txn;
	int rc = reader(l, &txn);

	if (rc < 0)
		return rc;
	rc = mdb_get(txn, l->dbi, &k, &v);
	if (rc == 0)
		*value = span(v);
	return translate(rc);
}

static int lmdb_put(struct kv *kv, struct kv_span key, struct kv_span value)
{
	struct kv_lmdb *l = lmdb_of(kv);
	MDB_val k = val(key), v = val(value);

	return translate(mdb_put(l->write, l->dbi, &k, &v, 0));
}

static int lmdb_del(struct kv *kv, struct kv_span key)
{
	struct kv_lmdb *l = lmdb_of(kv);
	MDB_val k = val(key);

	return translate(mdb_del(l->write, l->dbi, &k, NULL));
}

/* A cursor for the transaction in use; *own tells that the caller closes it. */
static int cursor_for(struct kv_lmdb *l, MDB_cursor **out, bool *own)
{
	MDB_txn *txn;
	int rc = reader(l, &txn);

	if (rc < 0)
		return rc;
	*own = txn == l->write;
	if (*own)
		return translate(mdb_cursor_open(txn, l->dbi, out));
	rc = l->cursor ? mdb_cursor_renew(txn, l->cursor) : mdb_cursor_open(txn, l->dbi, &l->cursor);
	*out = l->cursor;
	return translate(rc);
}

static int lmdb_seek(struct kv *kv, struct kv_span from, size_t prefix UNUSED, struct kv_span *key,
                     struct kv_span *value)
{
	MDB_val k = val(from), v;
	MDB_cursor *c;
	bool own;
	int rc = cursor_for(lmdb_of(kv), &c, &own);

	if (rc < 0)
		return rc;
	rc = mdb_cursor_get(c, &k, &v, from.len > 0 ? MDB_SET_RANGE : MDB_FIRST);
	if (rc == 0) {
		*key = span(k);
		*value = span(v);
	}
	if (own)
		mdb_cursor_close(c);
	return translate(rc);
}

static int lmdb_export_file(struct kv *kv, const char *path)
{
	int fd, rc;

	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	rc = translate(mdb_env_copyfd2(lmdb_of(kv)->env, fd, MDB_CP_COMPACT));
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	if (close(fd) < 0 && rc == 0)
		rc = -errno;
	return rc;
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

/* The image is an LMDB file: it takes the place of the store's own by rename. */
static int lmdb_import_file(struct kv *kv, const char *path)
{
	struct kv_lmdb *l = lmdb_of(kv);
	char target[PATH_MAX];
	int rc = 0, again;

	if (snprintf(target, sizeof(target), "%s/data.mdb", l->path) >= (int)sizeof(target))
		return -ENAMETOOLONG;
	close_env(l);
	if (rename(path, target) < 0)
		rc = -errno;
	else
		rc = sync_directory(l->path);
	again = open_env(l);
	return rc < 0 ? rc : again;
}

static int lmdb_no_mem(struct kv *kv, void **bytes, size_t *len)
{
	(void)kv;
	(void)bytes;
	(void)len;
	return -ENOTSUP;
}

static int lmdb_no_import_mem(struct kv *kv, const void *bytes, size_t len)
{
	(void)kv;
	(void)bytes;
	(void)len;
	return -ENOTSUP;
}

static void lmdb_space(struct kv *kv, uint64_t *used, uint64_t *total)
{
	struct kv_lmdb *l = lmdb_of(kv);
	MDB_envinfo info;
	MDB_stat stat;

	mdb_env_info(l->env, &info);
	mdb_env_stat(l->env, &stat);
	*used = (META_PAGES + stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages) *
	        (uint64_t)stat.ms_psize;
	*total = info.me_mapsize;
}

/* A write transaction belongs to the thread that began it, and this struct to its owner's. */
static struct kv *lmdb_writer(struct kv *kv)
{
	struct kv_lmdb *l = lmdb_of(kv);

	if (!l->twin)
		l->twin = mem_new(sizeof(*l->twin));
	*l->twin = (struct kv_lmdb){.base.ops = l->base.ops, .env = l->env, .dbi = l->dbi};
	return &l->twin->base;
}

static void lmdb_refresh(struct kv *kv)
{
	end_read(lmdb_of(kv));
}

static void lmdb_close(struct kv *kv)
{
	struct kv_lmdb *l = lmdb_of(kv);

	close_env(l);
	free(l->path);
	mem_free(l->twin);
	mem_free(l);
}

static const struct kv_ops ops = {
	.close = lmdb_close,
	.begin = lmdb_begin,
	.commit = lmdb_commit,
	.abort = lmdb_abort,
	.writer = lmdb_writer,
	.refresh = lmdb_refresh,
	.get = lmdb_get,
	.put = lmdb_put,
	.del = lmdb_del,
	.seek = lmdb_seek,
	.export_file = lmdb_export_file,
	.export_mem = lmdb_no_mem,
	.import_file = lmdb_import_file,
	.import_mem = lmdb_no_import_mem,
	.space = lmdb_space,
	.hold = lmdb_hold,
	.held = lmdb_held,
};

int kv_open_lmdb(struct kv **out, const char *path, uint64_t map_bytes)
{
	struct kv_lmdb *l;
	int rc;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return -errno;
	l = mem_new(sizeof(*l));
	l->base.ops = &ops;
	l->path = mem_printf("%s", path);
	l->map_bytes = map_bytes;
	rc = open_env(l);
	if (rc < 0) {
		free(l->path);
		mem_free(l);
		return rc;
	}
	*out = &l->base;
	return 0;
}
