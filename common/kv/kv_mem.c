/* The in-memory backend: a skip list (Pugh 1990) with an undo log per transaction.
 *
 * For the simulator: what was committed counts as durable, what was not is undone by
 * kv_mem_crash(). Levels come from a counter, so equal histories give equal structures. */
#include "common/kv/kv.h"

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "common/kv/kv_ops.h"

#define LEVELS 16

struct node {
	struct kv_span key, value;
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
	uint64_t inserted;
	uint64_t used;
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

	for (unsigned level = LEVELS; level-- > 0;) {
		struct node **next = at;

		while (next[level] && compare(next[level]->key, key) < 0)
			next = next[level]->next;
		at = next;
		if (link)
			link[level] = &at[level];
	}
	return at[0];
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

static void insert(struct kv_mem *m, struct kv_span key, struct kv_span value)
{
	struct node **link[LEVELS];
	struct node *n;
	unsigned levels = pick_levels(m);

	find(m, key, link);
	n = mem_new(sizeof(*n) + LEVELS * sizeof(n->next[0]));
	n->key = key;
	n->value = value;
	for (unsigned i = 0; i < levels; i++) {
		n->next[i] = *link[i];
		*link[i] = n;
	}
	m->used += key.len + value.len;
}

static void erase(struct kv_mem *m, struct kv_span key)
{
	struct node **link[LEVELS];
	struct node *n = find(m, key, link);

	for (unsigned i = 0; i < LEVELS; i++)
		if (*link[i] == n)
			*link[i] = n->next[i];
	m->used -= n->key.len + n->value.len;
	drop(n->key);
	drop(n->value);
	mem_free(n);
}

static struct node *lookup(struct kv_mem *m, struct kv_span key)
{
	struct node *n = find(m, key, NULL);

	return n && compare(n->key, key) == 0 ? n : NULL;
}

static void remember(struct kv_mem *m, struct kv_span key, const struct node *old)
{
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

static void set(struct kv_mem *m, struct kv_span key, struct kv_span value)
{
	struct node *n = lookup(m, key);

	if (!n) {
		insert(m, dup(key), dup(value));
		return;
	}
	value = dup(value); /* before the old one goes: it may be a part of it */
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

	for (size_t i = m->undos; i-- > 0;) {
		if (lookup(m, m->undo[i].key))
			erase(m, m->undo[i].key);
		if (m->undo[i].existed)
			insert(m, dup(m->undo[i].key), dup(m->undo[i].value));
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

	remember(m, key, lookup(m, key));
	set(m, key, value);
	return 0;
}

static int mem_del(struct kv *kv, struct kv_span key)
{
	struct kv_mem *m = mem_of(kv);
	struct node *n = lookup(m, key);

	if (!n)
		return -ENOENT;
	remember(m, key, n);
	erase(m, key);
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
	while (m->head[0])
		erase(m, m->head[0]->key);
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
	while (c.left > 0 && take_entry(&c, &key, &value))
		set(m, key, value);
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

struct kv *kv_new_mem(void)
{
	struct kv_mem *m = mem_new(sizeof(*m));

	m->base.ops = &ops;
	m->limit = UINT64_MAX;
	return &m->base;
}

void kv_mem_crash(struct kv *kv)
{
	kv_abort(kv);
	kv->committing = false;
	kv->committed = NULL;
	if (kv->ops->crash)
		kv->ops->crash(kv);
}
