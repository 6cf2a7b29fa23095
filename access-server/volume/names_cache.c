/* Cached items by (inode, kind, name), least recently used out first. */
#include "access-server/volume/names.h"

#define KEY_BYTES_MAX (9 + NAME_BYTES_MAX)

static uint32_t make_key(uint8_t *key, uint64_t ino, enum item_kind kind, struct span name)
{
	CHECK(name.len <= NAME_BYTES_MAX);
	put_u64le(key, ino);
	key[8] = (uint8_t)kind;
	if (name.len)
		memcpy(key + 9, name.p, name.len);
	return 9 + name.len;
}

struct node *node_find(struct volume *v, uint64_t ino)
{
	struct node *n;

	HASH_FIND(hh, names_of(v)->nodes, &ino, sizeof(ino), n);
	return n;
}

struct node *node_pin(struct volume *v, uint64_t ino)
{
	struct node *n = node_find(v, ino);

	if (!n) {
		n = mem_new(sizeof(*n));
		n->ino = ino;
		HASH_ADD(hh, names_of(v)->nodes, ino, sizeof(ino), n);
	}
	n->pins++;
	return n;
}

static struct item **list_of(struct node *n, unsigned kind)
{
	return kind == ITEM_DIRENTS ? &n->pages : &n->items;
}

static void free_if_unused(struct volume *v, struct node *n)
{
	if (n->pins || n->items || n->pages)
		return;
	HASH_DEL(names_of(v)->nodes, n);
	mem_free(n);
}

void node_unpin(struct volume *v, struct node *n)
{
	if (!n)
		return;
	CHECK(n->pins > 0);
	n->pins--;
	free_if_unused(v, n);
}

static void unlink_item(struct volume *v, struct item *i)
{
	struct names *nm = names_of(v);

	if (i->key[8] == ITEM_NEW || (i->key[8] == ITEM_ENTRY && i->ino))
		i->node->whole = false;
	if (i->key[8] == ITEM_NEW)
		i->node->bare = false;
	i->node->n[i->key[8]]--;
	HASH_DEL(nm->items, i);
	DL_DELETE(*list_of(i->node, i->key[8]), i);
	DL_DELETE2(nm->lru, i, lru_prev, lru_next);
	nm->n--;
	nm->bytes -= i->bytes;
	mem_free(i->value);
	mem_free(i);
}

void item_drop(struct volume *v, struct item *i)
{
	struct node *n = i->node;

	unlink_item(v, i);
	free_if_unused(v, n);
}

/* What the kernel may still believe stays: a recall must be able to name it. */
static void evict(struct volume *v, const struct item *keep)
{
	struct names *nm = names_of(v);

	while (nm->n > NAMES_ITEMS_MAX || nm->bytes > NAMES_BYTES_MAX) {
		struct item *old = nm->lru;

		if (old == keep || old->kernel_until > v->now)
			return;
		item_drop(v, old);
	}
}

struct item *item_find(struct volume *v, uint64_t ino, enum item_kind kind, struct span name)
{
	uint8_t key[KEY_BYTES_MAX];
	uint32_t len;
	struct item *i;

	if (name.len > NAME_BYTES_MAX)
		return NULL;
	len = make_key(key, ino, kind, name);
	HASH_FIND(hh, names_of(v)->items, key, len, i);
	return i;
}

void item_use(struct volume *v, struct item *i)
{
	struct names *nm = names_of(v);

	DL_DELETE2(nm->lru, i, lru_prev, lru_next);
	DL_APPEND2(nm->lru, i, lru_prev, lru_next);
}

static struct item *item_new(struct volume *v, struct node *n, enum item_kind kind,
                             struct span name)
{
	struct names *nm = names_of(v);
	struct item *i = mem_new(sizeof(*i) + 9 + name.len);

	i->node = n;
	i->key_bytes = make_key(i->key, n->ino, kind, name);
	HASH_ADD_KEYPTR(hh, nm->items, i->key, i->key_bytes, i);
	DL_APPEND(*list_of(n, kind), i);
	n->n[kind]++;
	DL_APPEND2(nm->lru, i, lru_prev, lru_next);
	nm->n++;
	return i;
}

struct item *item_put(struct volume *v, struct node *n, enum item_kind kind, struct span name,
                      struct span value)
{
	struct names *nm = names_of(v);
	struct item *i = item_find(v, n->ino, kind, name);

	if (i)
		item_use(v, i);
	else
		i = item_new(v, n, kind, name);
	nm->bytes += value.len;
	nm->bytes -= i->bytes;
	mem_free(i->value);
	i->bytes = value.len;
	i->value = value.len ? mem_dup(value.p, value.len) : NULL;
	i->ino = 0;
	i->next_cookie = i->last_cookie = 0;
	i->absent = false;
	i->unknown = false;
	evict(v, i);
	return i;
}

void node_drop_kind(struct volume *v, struct node *n, enum item_kind kind)
{
	struct item *i, *next;

	if (n->n[kind] == 0)
		return; /* a directory may have many other items */
	n->pins++;
	DL_FOREACH_SAFE(*list_of(n, kind), i, next) {
		if (i->key[8] == (uint8_t)kind)
			item_drop(v, i);
	}
	node_unpin(v, n);
}

void node_drop(struct volume *v, struct node *n)
{
	struct item *i, *next;

	n->leased = n->whole = n->bare = false;
	n->pins++;
	node_drop_kind(v, n, ITEM_DIRENTS);
	DL_FOREACH_SAFE(n->items, i, next) {
		if (i->key[8] != ITEM_LINK)
			item_drop(v, i);
	}
	node_unpin(v, n);
}

void node_lease(struct volume *v, struct node *n)
{
	if (!n->leased)
		node_drop_kind(v, n, ITEM_DIRENTS);
	n->leased = true;
}

void node_begin_new(struct volume *v, uint64_t ino, bool dir)
{
	struct node *n = node_pin(v, ino);

	node_lease(v, n);
	n->whole = dir;
	n->bare = true;
	item_put(v, n, ITEM_NEW, (struct span){0}, (struct span){0});
	node_unpin(v, n);
}

void names_drop_all(struct volume *v)
{
	struct node *n, *next;

	HASH_ITER(hh, names_of(v)->nodes, n, next)
		node_drop(v, n);
}

void names_free_all(struct volume *v)
{
	struct names *nm = names_of(v);
	struct node *n, *next;

	while (nm->lru)
		unlink_item(v, nm->lru);
	HASH_ITER(hh, nm->nodes, n, next) {
		HASH_DEL(nm->nodes, n);
		mem_free(n);
	}
}
