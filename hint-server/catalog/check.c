/* Checks the stored state in full: every record against every other that must agree with it. For
 * tests, the simulator and `distcloud`; reads everything. */
#include "hint-server/catalog/internal.h"
#include "hint-server/catalog/locks.h"

#include "common/base/mem.h"

#include <stdio.h>
#include <sys/stat.h>

/* An inode and what the other records say of it. */
struct seen {
	struct inode i;
	uint64_t links;     /* entries that lead here */
	uint64_t entries;   /* of a directory */
	uint64_t subdirs;
	uint32_t xattr_names, xattr_values;
};

struct checker {
	struct catalog *c;
	char *why;
	size_t size;
	int rc;
	struct seen *seen;  /* ascending by ino */
	size_t n, capacity;
};

/* Counts as the scans find them. */
struct totals {
	uint64_t entries, cookies, holders, orphans, stale, listed, symlinks, locked, sessions;
};

static void PRINTF(2, 3) fail(struct checker *k, const char *fmt, ...)
{
	va_list ap;

	if (k->rc < 0)
		return;
	k->rc = ERR_CORRUPT;
	va_start(ap, fmt);
	vsnprintf(k->why, k->size, fmt, ap);
	va_end(ap);
}

#define EXPECT(k, cond, ...) \
	do { \
		if (!(cond)) \
			fail(k, __VA_ARGS__); \
	} while (0)

/* Next key of the letter; *k holds where to go on. */
static bool scan(struct checker *k, struct key *key, struct kv_span *v)
{
	if (k->rc < 0 || !db_seek(k->c, key, 1, v))
		return false;
	return true;
}

static void advance(struct key *key)
{
	key->bytes[key->len++] = 0;
}

static struct key letter(char c)
{
	struct key k = {.bytes = {(uint8_t)c}, .len = 1};

	return k;
}

static uint64_t number(const struct key *key, unsigned i)
{
	return key->len >= 9 + i * (size_t)8 ? get_u64be(key->bytes + 1 + i * (size_t)8) : 0;
}

static uint64_t count(struct checker *k, char c)
{
	struct key key = letter(c);
	struct kv_span v;
	uint64_t n = 0;

	for (; scan(k, &key, &v); advance(&key))
		n++;
	return n;
}

/* Those of open sessions, and that the others' are about to be tidied. */
static uint64_t count_leases(struct checker *k)
{
	struct key key = letter('h');
	struct kv_span v;
	uint64_t n = 0;

	for (; scan(k, &key, &v); advance(&key)) {
		struct key open = key1('s', number(&key, 0));

		if (db_get(k->c, &open, &v))
			n++;
		else if (!ending_has(k->c, number(&key, 0)))
			fail(k, "lease of session %" PRIu64 ", which is gone", number(&key, 0));
	}
	return n;
}

static bool has(struct checker *k, struct key key)
{
	struct kv_span v;

	return db_get(k->c, &key, &v);
}

static struct seen *find(struct checker *k, uint64_t ino)
{
	size_t lo = 0, hi = k->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (k->seen[mid].i.ino == ino)
			return &k->seen[mid];
		if (k->seen[mid].i.ino < ino)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static void load_inodes(struct checker *k)
{
	struct key key = letter('i');
	struct kv_span v;

	for (; scan(k, &key, &v); advance(&key)) {
		if (k->n == k->capacity) {
			k->capacity = MAX((size_t)64, k->capacity * 2);
			k->seen = mem_resize(k->seen, k->capacity, sizeof(*k->seen));
		}
		k->seen[k->n] = (struct seen){0};
		if (inode_load(k->c, number(&key, 0), &k->seen[k->n].i))
			k->n++;
		else
			fail(k, "inode %" PRIu64 " does not decode", number(&key, 0));
	}
}

/* --- names --- */

static void check_cookie(struct checker *k, uint64_t dir, struct span name, const struct entry *e)
{
	struct entry by_cookie;
	struct span other;

	if (!entry_next(k->c, dir, e->cookie - 1, &by_cookie, &other) ||
	    by_cookie.cookie != e->cookie || by_cookie.ino != e->ino || other.len != name.len ||
	    memcmp(other.p, name.p, name.len) != 0)
		fail(k, "directory %" PRIu64 ": cookie %" PRIu64 " disagrees with the name", dir, e->cookie);
}

static void check_entry(struct checker *k, uint64_t dir, struct span name)
{
	struct seen *d = find(k, dir), *s;
	struct entry e = {0};

	if (!entry_find(k->c, dir, name, &e))
		return;
	s = find(k, e.ino);
	if (!d || !inode_is(&d->i, S_IFDIR) || !s) {
		fail(k, "entry of %" PRIu64 " to %" PRIu64 ": one is missing", dir, e.ino);
		return;
	}
	EXPECT(k, name_check(name) == STATUS_OK, "directory %" PRIu64 ": bad name", dir);
	EXPECT(k, e.type == s->i.mode >> 12, "entry to %" PRIu64 ": wrong type", e.ino);
	EXPECT(k, e.cookie >= COOKIE_FIRST && e.cookie <= d->i.cookie,
	       "directory %" PRIu64 ": cookie out of range", dir);
	check_cookie(k, dir, name, &e);
	d->entries++;
	s->links++;
	if (inode_is(&s->i, S_IFDIR)) {
		d->subdirs++;
		EXPECT(k, s->i.parent == dir, "directory %" PRIu64 ": wrong parent", e.ino);
	}
}

static void check_names(struct checker *k, struct totals *t)
{
	struct key key = letter('d');
	struct kv_span v;

	for (; scan(k, &key, &v); advance(&key)) {
		struct key copy = key;

		check_entry(k, number(&key, 0), (struct span){copy.bytes + 9, (uint32_t)(key.len - 9)});
		t->entries++;
	}
	t->cookies = count(k, 'c');
	EXPECT(k, t->entries == t->cookies, "names and cookies differ in number");
}

/* --- inodes --- */

static void check_links(struct checker *k, const struct seen *s)
{
	const struct inode *i = &s->i;
	bool dir = inode_is(i, S_IFDIR);
	uint64_t links = !dir ? s->links : i->nlink == 0 ? 0 : 2 + s->subdirs;

	EXPECT(k, i->nlink == links, "inode %" PRIu64 ": nlink %u, %" PRIu64 " found", i->ino, i->nlink,
	       links);
	if (dir) {
		EXPECT(k, s->links == (i->nlink == 0 || i->ino == FILE_ROOT ? 0 : 1),
		       "directory %" PRIu64 ": %" PRIu64 " names", i->ino, s->links);
		EXPECT(k, i->size == s->entries, "directory %" PRIu64 ": wrong size", i->ino);
	}
	EXPECT(k, (i->nlink == 0) == has(k, key1('o', i->ino)), "inode %" PRIu64 ": orphan index",
	       i->ino);
}

static void check_stale(struct checker *k, const struct inode *i)
{
	struct stale_map s;

	stale_init(&s);
	if (!catalog_stale(k->c, i->ino, &s))
		fail(k, "file %" PRIu64 ": stale map does not decode", i->ino);
	EXPECT(k, stale_empty(&s) == !(i->flags & INO_STALE), "file %" PRIu64 ": stale flag", i->ino);
	EXPECT(k, stale_empty(&s) || inode_is(i, S_IFREG), "inode %" PRIu64 ": stale, no file", i->ino);
	stale_fini(&s);
}

static void check_lease(struct checker *k, const struct inode *i)
{
	struct session_record s;
	bool wanted = (i->flags & (INO_UNCLEAN | INO_STALE | INO_REFILL)) != 0;
	bool listed = (i->flags & INO_LISTED) != 0;
	bool untidy = has(k, key2('h', i->lost_by, i->ino)) && ending_has(k->c, i->lost_by);

	EXPECT(k, i->state == inode_state(i), "inode %" PRIu64 ": state %u", i->ino, i->state);
	if (i->holder != 0) {
		EXPECT(k, session_load(k->c, i->holder, &s), "file %" PRIu64 ": holder is no session", i->ino);
		EXPECT(k, has(k, key2('h', i->holder, i->ino)), "file %" PRIu64 ": lease index", i->ino);
		EXPECT(k, i->epoch > 0 && inode_is(i, S_IFREG), "inode %" PRIu64 ": held", i->ino);
		EXPECT(k, !(i->flags & INO_UNCLEAN) && i->lost_by == 0,
		       "file %" PRIu64 ": held and unclean", i->ino);
	}
	EXPECT(k, i->lost_by == 0 || i->flags & INO_UNCLEAN, "file %" PRIu64 ": lost, not unclean",
	       i->ino);
	EXPECT(k, (wanted == listed || untidy) && listed == has(k, key1('u', i->ino)),
	       "file %" PRIu64 ": repair index", i->ino);
}

static void check_kind(struct checker *k, const struct inode *i)
{
	struct key key = key1('y', i->ino);
	struct kv_span v;

	if (inode_is(i, S_IFLNK))
		EXPECT(k, db_get(k->c, &key, &v) && v.len == i->size, "symlink %" PRIu64 ": target", i->ino);
	if (!inode_is(i, S_IFREG))
		return;
	EXPECT(k, has(k, key1('M', i->map)), "file %" PRIu64 ": its map is gone", i->ino);
	EXPECT(k, i->block_shift >= BLOCK_SHIFT_MIN && i->block_shift <= BLOCK_SHIFT_MAX,
	       "file %" PRIu64 ": block size", i->ino);
}

static void check_caps(struct checker *k, const struct inode *i)
{
	struct span name = {(const uint8_t *)XATTR_CAPS, sizeof(XATTR_CAPS) - 1};

	EXPECT(k, has(k, key_name('x', i->ino, name)) == ((i->flags & INO_CAPS) != 0),
	       "inode %" PRIu64 ": capability flag", i->ino);
}

static void check_inodes(struct checker *k, struct totals *t)
{
	uint64_t files = 0;

	for (size_t n = 0; n < k->n && k->rc == 0; n++) {
		const struct seen *s = &k->seen[n];

		check_links(k, s);
		check_lease(k, &s->i);
		check_stale(k, &s->i);
		check_kind(k, &s->i);
		EXPECT(k, s->xattr_names == s->i.xattr_names && s->xattr_values == s->i.xattr_values,
		       "inode %" PRIu64 ": sums of its extended attributes", s->i.ino);
		check_caps(k, &s->i);
		t->holders += s->i.holder != 0;
		t->orphans += s->i.nlink == 0;
		t->stale += (s->i.flags & INO_STALE) != 0;
		t->listed += (s->i.flags & INO_LISTED) != 0;
		t->symlinks += inode_is(&s->i, S_IFLNK);
		files += inode_is(&s->i, S_IFREG);
	}
	EXPECT(k, k->c->meta.inodes == k->n && k->c->meta.files == files, "counts of inodes");
	EXPECT(k, k->c->meta.orphans == t->orphans && count(k, 'o') == t->orphans, "orphans");
	EXPECT(k, k->c->meta.repairs == t->listed && count(k, 'u') == t->listed, "repairs");
	EXPECT(k, count_leases(k) == t->holders, "leases");
	EXPECT(k, count(k, 't') == t->stale, "stale maps");
	EXPECT(k, count(k, 'y') == t->symlinks, "symlinks");
}

static void load_xattrs(struct checker *k)
{
	struct key key = letter('x');
	struct kv_span v;

	for (; scan(k, &key, &v); advance(&key)) {
		struct seen *s = find(k, number(&key, 0));

		if (!s) {
			fail(k, "extended attribute of inode %" PRIu64 ", which is gone", number(&key, 0));
			return;
		}
		s->xattr_names += (uint32_t)(key.len - 9 + 1);
		s->xattr_values += (uint32_t)v.len;
	}
}

/* --- locks --- */

static void check_locks_of(struct checker *k, uint64_t ino, const struct lock_table *t,
                           struct totals *total)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct catalog_lock *l = &t->lock[i], *before = i > 0 ? l - 1 : NULL;
		bool same = before && before->session == l->session;

		EXPECT(k, !lock_table_conflict(t, l), "file %" PRIu64 ": locks in conflict", ino);
		EXPECT(k, has(k, key1('s', l->session)), "file %" PRIu64 ": lock of no session", ino);
		EXPECT(k, has(k, key2('k', l->session, ino)), "file %" PRIu64 ": lock index", ino);
		EXPECT(k, !same || before->flavour != l->flavour || before->owner != l->owner ||
		               before->end < l->start,
		       "file %" PRIu64 ": one owner's locks overlap", ino);
	}
	for (unsigned i = 0; i < t->n; i++) {
		unsigned j = 0;

		while (t->lock[j].session != t->lock[i].session)
			j++;
		total->locked += i == j;
	}
}

static void check_locks(struct checker *k, struct totals *total)
{
	struct key key = letter('l');
	struct lock_table t;
	struct kv_span v;

	for (; scan(k, &key, &v); advance(&key)) {
		lock_table_init(&t);
		if (lock_table_decode(&t, v.p, v.len) < 0 || t.n == 0)
			fail(k, "locks of %" PRIu64 " do not decode", number(&key, 0));
		EXPECT(k, find(k, number(&key, 0)), "locks of %" PRIu64 ", which is gone", number(&key, 0));
		check_locks_of(k, number(&key, 0), &t, total);
		lock_table_fini(&t);
	}
	EXPECT(k, count(k, 'k') == total->locked, "lock index and locks differ in number");
}

/* --- servers, sessions, maps --- */

static void check_sessions(struct checker *k)
{
	struct catalog_session s = {0};
	struct catalog_server v = {0};
	struct key key = letter('r');
	struct kv_span value;
	uint64_t open = 0, n = 0;

	while (k->rc == 0 && catalog_session_next(k->c, s.id, &s)) {
		EXPECT(k, catalog_session_of(k->c, s.server) == s.id, "session %" PRIu64 " of no server", s.id);
		n++;
	}
	while (k->rc == 0 && catalog_server_next(k->c, v.id, &v)) {
		EXPECT(k, v.session == 0 || has(k, key1('s', v.session)), "server %u: no session", v.id);
		open += v.session != 0;
	}
	EXPECT(k, n == open && n == k->c->meta.sessions, "counts of sessions");
	EXPECT(k, count(k, 'e') == k->c->endings, "sessions that end");
	EXPECT(k, (count(k, 'b') > 0) == k->c->refilling, "new disks");
	for (; scan(k, &key, &value); advance(&key))
		EXPECT(k, has(k, key1('s', number(&key, 0))) && number(&key, 1) < CATALOG_SLOTS,
		       "slot of session %" PRIu64 ", which is gone", number(&key, 0));
}

static uint64_t files_of_map(const struct checker *k, uint64_t version)
{
	uint64_t n = 0;

	for (size_t i = 0; i < k->n; i++)
		n += inode_is(&k->seen[i].i, S_IFREG) && k->seen[i].i.map == version;
	return n;
}

static void check_maps(struct checker *k)
{
	struct key key = letter('M');
	struct kv_span v;
	uint64_t counts = 0;

	for (; scan(k, &key, &v); advance(&key)) {
		uint64_t version = number(&key, 0), files = files_of_map(k, version);
		struct key n = key1('n', version);
		bool current = version == k->c->meta.map;
		struct map *m;

		if (catalog_map_get(k->c, version, &m) < 0) {
			fail(k, "map %" PRIu64 " does not decode", version);
			return;
		}
		EXPECT(k, m->version == version && version <= k->c->meta.map, "map %" PRIu64, version);
		map_free(m);
		EXPECT(k, current || (db_get(k->c, &n, &v) && v.len == 8 && get_u64le(v.p) == files),
		       "map %" PRIu64 ": count of files", version);
		EXPECT(k, current ? k->c->meta.map_files == files : files > 0 || counts > 0,
		       "map %" PRIu64 ": %" PRIu64 " files", version, files);
		counts += !current;
	}
	EXPECT(k, count(k, 'n') == counts, "counts of maps that are gone");
	EXPECT(k, k->c->map->version == k->c->meta.map, "cached map");
}

int catalog_check(struct catalog *c, char *why, size_t size)
{
	struct checker k = {.c = c, .why = why, .size = size};
	struct totals totals = {0};

	load_inodes(&k);
	load_xattrs(&k);
	check_names(&k, &totals);
	check_inodes(&k, &totals);
	check_locks(&k, &totals);
	check_sessions(&k);
	check_maps(&k);
	mem_free(k.seen);
	if (c->rc < 0)
		fail(&k, "reading failed: %s", err_text(c->rc));
	return k.rc;
}
