/* The in-memory backend: a skip list (Pugh 1990) with an undo log per transaction.
 *
 * For the simulator: what was committed counts as durable, what was not is undone by
 * kv_mem_crash(). Levels come from a counter, so equal histories give equal structures. Without the log it
 * is what kv_behind.c keeps changes in until they are written. */
#include "common/kv/kv.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/kv/kv_ops.h"

#define LEVELS 16

struct node {
	struct kv_span key, value; /* the key's bytes are behind the links */
	unsigned levels;
	struct node *next[];
};

struct undo {
	struct kv_span key;
	struct kv_span value;
	bool existed;
};

struct kv_mem {
	struct kv base;
	struct node *head[LEVELS];
	unsigned levels;      /* of the tallest node there ever was */
	uint64_t inserted;
	uint64_t used;
	bool undoes;
	struct undo *undo;
	size_t undos, undo_capacity;
	uint64_t limit;       /* of the file system it is thought to be on */
	uint64_t held;        /* of that */
};

static struct kv_mem *mem_of(struct kv *kv)
{
	return container_of(kv, struct kv_mem, base);
}

static int compare(struct kv_span a, struct kv_span b)
{
	int c = memcmp(a.p, b.p, MIN(a.len, b.len));

	if (c != 0)
		return c;
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

static struct kv_span dup(struct kv_span s)
{
	return (struct kv_span){mem_dup(s.p, s.len), s.len};
}

static void drop(struct kv_span s)
{
	mem_free((void *)(uintptr_t)s.p);
}

/* First node with a key >= `key`; fills where each level would link to it. */
static struct node *find(struct kv_mem *m, struct kv_span key, struct node **link[LEVELS])
{
	struct node **at = m->head;

	for (unsigned level = LEVELS; link && level-- > m->levels;)
		link[level] = &m->head[level];
	for (unsigned level = m->levels; level-- > 0;) {
		struct node **next = at;

		while (next[level] && compare(next[level]->key, key) < 0)
			next = next[level]->next;
		at = next;
		if (link)
			link[level] = &at[level];
	}
	return at[0];
}

static bool is_at(const struct node *n, struct kv_span key)
{
	return n && compare(n->key, key) == 0;
}

/* One in four nodes reaches the next level. The counter is mixed: its own bits follow the pattern
 * in which a program writes, and would give all tall towers to the same few keys. */
static unsigned pick_levels(struct kv_mem *m)
{
	uint64_t x = ++m->inserted * 0x9e3779b97f4a7c15u;

	x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
	unsigned zeros = (unsigned)__builtin_ctzll((x >> 32) | 1ull << 40);

	return MIN(1 + zeros / 2, (unsigned)LEVELS);
}

/* Takes `value`; `link` as find() filled it. */
static void insert(struct kv_mem *m, struct node **link[LEVELS], struct kv_span key, struct kv_span value)
{
	unsigned levels = pick_levels(m);
	size_t links = levels * sizeof(((struct node *)0)->next[0]);
	struct node *n = mem_new(sizeof(*n) + links + key.len);

	n->levels = levels;
	n->key = (struct kv_span){(uint8_t *)(n + 1) + links, key.len};
	memcpy((uint8_t *)(n + 1) + links, key.p, key.len);
	n->value = value;
	for (unsigned i = 0; i < levels; i++) {
		n->next[i] = *link[i];
		*link[i] = n;
	}
	m->levels = MAX(m->levels, levels);
	m->used += key.len + value.len;
}

static void erase(struct kv_mem *m, struct node **link[LEVELS], struct node *n)
{
	for (unsigned i = 0; i < n->levels; i++)
		*link[i] = n->next[i];
	m->used -= n->key.len + n->value.len;
	drop(n->value);
	mem_free(n);
}

static struct node *lookup(struct kv_mem *m, struct kv_span key)
{
	struct node *n = find(m, key, NULL);

	return is_at(n, key) ? n : NULL;
}

static void remember(struct kv_mem *m, struct kv_span key, const struct node *old)
{
	if (!m->undoes)
		return;
	if (m->undos == m->undo_capacity) {
		m->undo_capacity = MAX((size_t)64, m->undo_capacity * 2);
		m->undo = mem_resize(m->undo, m->undo_capacity, sizeof(*m->undo));
	}
	m->undo[m->undos++] = (struct undo){
		.key = dup(key),
		.value = old ? dup(old->value) : (struct kv_span){0},
		.existed = old != NULL,
	};
}

/* Takes `value`. */
static void set(struct kv_mem *m, struct node **link[LEVELS], struct node *n, struct kv_span key,
                struct kv_span value)
{
	if (!is_at(n, key)) {
		insert(m, link, key, value);
		return;
	}
	m->used += value.len - n->value.len;
	drop(n->value);
	n->value = value;
}

static void forget_undo(struct kv_mem *m)
{
	for (size_t i = 0; i < m->undos; i++) {
		drop(m->undo[i].key);
		if (m->undo[i].existed)
			drop(m->undo[i].value);
	}
	m->undos = 0;
}

static int mem_begin(struct kv *kv)
{
	CHECK(mem_of(kv)->undos == 0);
	return 0;
}

static int mem_commit(struct kv *kv)
{
	struct kv_mem *m = mem_of(kv);

	if (m->used > MAX(m->limit, m->held)) {
		kv->ops->abort(kv);
		return -ENOSPC;
	}
	forget_undo(m);
	return 0;
}

static void mem_abort(struct kv *kv)
{
	struct kv_mem *m = mem_of(kv);
	struct node **link[LEVELS];

	for (size_t i = m->undos; i-- > 0;) {
		struct undo *u = &m->undo[i];
		struct node *n = find(m, u->key, link);

		if (u->existed)
			set(m, link, n, u->key, dup(u->value));
		else if (is_at(n, u->key))
			erase(m, link, n);
	}
	forget_undo(m);
}

static int mem_get(struct kv *kv, struct kv_span key, struct kv_span *value)
{
	struct node *n = lookup(mem_of(kv), key);

	if (!n)
		return -ENOENT;
	*value = n->value;
	return 0;
}

static int mem_put(struct kv *kv, struct kv_span key, struct kv_span value)
{
	struct kv_mem *m = mem_of(kv);
	struct node **link[LEVELS], *n = find(m, key, link);

	value = dup(value); /* before the old one goes: it may be a part of it */
	remember(m, key, is_at(n, key) ? n : NULL);
	set(m, link, n, key, value);
	return 0;
}

static int mem_del(struct kv *kv, struct kv_span key)
{
	struct kv_mem *m = mem_of(kv);
	struct node **link[LEVELS], *n = find(m, key, link);

	if (!is_at(n, key))
		return -ENOENT;
	remember(m, key, n);
	erase(m, link, n);
	return 0;
}

static int mem_seek(struct kv *kv, struct kv_span from, size_t prefix UNUSED, struct kv_span *key,
                    struct kv_span *value)
{
	struct node *n = find(mem_of(kv), from, NULL);

	if (!n)
		return -ENOENT;
	*key = n->key;
	*value = n->value;
	return 0;
}

/* Image: u64 key length, u64 value length, key, value; and so on. */
static int mem_export_mem(struct kv *kv, void **bytes, size_t *len)
{
	struct kv_mem *m = mem_of(kv);
	uint8_t *p;

	*len = 0;
	for (struct node *n = m->head[0]; n; n = n->next[0])
		*len += 16 + n->key.len + n->value.len;
	*bytes = p = mem_new(*len);
	for (struct node *n = m->head[0]; n; n = n->next[0]) {
		put_u64le(p, n->key.len);
		put_u64le(p + 8, n->value.len);
		memcpy(p + 16, n->key.p, n->key.len);
		memcpy(p + 16 + n->key.len, n->value.p, n->value.len);
		p += 16 + n->key.len + n->value.len;
	}
	return 0;
}

static void clear(struct kv_mem *m)
{
	struct node *n, *next;

	for (n = m->head[0]; n; n = next) {
		next = n->next[0];
		drop(n->value);
		mem_free(n);
	}
	memset(m->head, 0, sizeof(m->head));
	m->used = 0;
}

static bool take_entry(struct cursor *c, struct kv_span *key, struct kv_span *value)
{
	key->len = cursor_u64(c);
	value->len = cursor_u64(c);
	key->p = cursor_take(c, key->len);
	value->p = cursor_take(c, value->len);
	return !c->bad && key->len > 0 && key->len <= KV_KEY_BYTES_MAX;
}

static int mem_import_mem(struct kv *kv, const void *bytes, size_t len)
{
	struct kv_mem *m = mem_of(kv);
	struct cursor c = {bytes, len, false};
	struct kv_span key, value;

	while (c.left > 0)
		if (!take_entry(&c, &key, &value))
			return ERR_CORRUPT;
	clear(m);
	c = (struct cursor){bytes, len, false};
	while (c.left > 0 && take_entry(&c, &key, &value)) {
		struct node **link[LEVELS], *n = find(m, key, link);

		set(m, link, n, key, dup(value));
	}
	return 0;
}

static int mem_no_file(struct kv *kv, const char *path)
{
	(void)kv;
	(void)path;
	return -ENOTSUP;
}

static void mem_space(struct kv *kv, uint64_t *used, uint64_t *total)
{
	*used = mem_of(kv)->used;
	*total = UINT64_MAX;
}

static int mem_hold(struct kv *kv, uint64_t bytes)
{
	struct kv_mem *m = mem_of(kv);

	m->held = MAX(m->held, MIN(bytes, m->limit));
	return m->held < bytes ? -ENOSPC : 0;
}

static uint64_t mem_held(struct kv *kv)
{
	struct kv_mem *m = mem_of(kv);

	return m->limit == UINT64_MAX ? UINT64_MAX : m->held;
}

void kv_mem_fill(struct kv *kv, uint64_t left)
{
	struct kv_mem *m = mem_of(kv);

	m->limit = left < UINT64_MAX - m->used ? m->used + left : UINT64_MAX;
	m->held = MIN(m->held, m->limit);
}

static void mem_close(struct kv *kv)
{
	struct kv_mem *m = mem_of(kv);

	clear(m);
	mem_free(m->undo);
	mem_free(m);
}

static const struct kv_ops ops = {
	.close = mem_close,
	.begin = mem_begin,
	.commit = mem_commit,
	.abort = mem_abort,
	.get = mem_get,
	.put = mem_put,
	.del = mem_del,
	.seek = mem_seek,
	.export_file = mem_no_file,
	.export_mem = mem_export_mem,
	.import_file = mem_no_file,
	.import_mem = mem_import_mem,
	.space = mem_space,
	.hold = mem_hold,
	.held = mem_held,
};

static struct kv *new_mem(bool undoes)
{
	struct kv_mem *m = mem_new(sizeof(*m));

	m->base.ops = &ops;
	m->limit = UINT64_MAX;
	m->undoes = undoes;
	return &m->base;
}

struct kv *kv_new_mem(void)
{
	return new_mem(true);
}

struct kv *kv_new_changes(void)
{
	return new_mem(false);
}

void kv_mem_crash(struct kv *kv)
{
	kv_abort(kv);
	kv->committing = false;
	kv->committed = NULL;
	if (kv->ops->crash)
		kv->ops->crash(kv);
}
