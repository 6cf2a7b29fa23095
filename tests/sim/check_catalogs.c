#include "tests/sim/check_catalogs.h"

#include <stdio.h>

#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"

/* Kept aside: one letter alone is the catalog's head, which is written with a batch and not with an
 * entry; above the letters is what belongs to the voter itself. */
#define HEAD_BYTES 1
#define OWN_KEYS 0xff

static bool applied(const struct node *n, uint64_t *index)
{
	struct hint_status s;

	if (!n->alive)
		return false;
	hint_get_status(n->hint, &s);
	*index = s.applied;
	return !s.failed;
}

bool catalogs_settled(struct cluster *c)
{
	uint64_t first = 0, index;

	for (unsigned i = 0; i < c->nodes; i++) {
		if (c->node[i].kind != SERVER_HINT)
			continue;
		if (!applied(&c->node[i], &index) || (first && index != first))
			return false;
		first = index;
	}
	return true;
}

void catalogs_tell(struct cluster *c, char *out, size_t size)
{
	size_t len = 0;

	out[0] = 0;
	for (unsigned i = 0; i < c->nodes && len < size; i++) {
		uint64_t index = 0;
		bool up;

		if (c->node[i].kind != SERVER_HINT)
			continue;
		up = applied(&c->node[i], &index);
		len += (size_t)snprintf(out + len, size - len, "%s%u at %" PRIu64 "%s", len ? ", " : "",
		                        c->node[i].id, index, up ? "" : ", down");
	}
}

/* --- record by record --- */

struct walk {
	struct kv *kv;
	uint8_t next[KV_KEY_BYTES_MAX + 1]; /* first key that was not looked at */
	size_t next_len;
	struct kv_span key, value;
	bool end;
};

static void step(struct walk *w)
{
	do {
		if (kv_seek(w->kv, (struct kv_span){w->next, w->next_len}, &w->key, &w->value) < 0 ||
		    *(const uint8_t *)w->key.p == OWN_KEYS) {
			w->end = true;
			return;
		}
		memcpy(w->next, w->key.p, w->key.len);
		w->next[w->key.len] = 0;
		w->next_len = w->key.len + 1;
	} while (w->key.len == HEAD_BYTES);
}

static bool same_span(struct kv_span a, struct kv_span b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

static const char *text_of(const struct walk *w, char *out, size_t size)
{
	const uint8_t *key = w->key.p, *value = w->value.p;
	size_t len;

	if (w->end) {
		snprintf(out, size, "nothing more");
		return out;
	}
	len = (size_t)snprintf(out, size, "%c ", key[0]);
	for (size_t i = 1; i < w->key.len && len < size / 3; i++)
		len += (size_t)snprintf(out + len, size - len, "%02x", key[i]);
	len += (size_t)snprintf(out + len, size - len, " =");
	for (size_t i = 0; i < w->value.len && len + 4 < size; i++)
		len += (size_t)snprintf(out + len, size - len, "%s%02x", i % 8 ? "" : " ", value[i]);
	return out;
}

static void compare(struct cluster *c, const struct node *a, const struct node *b)
{
	struct walk x = {.kv = a->kv.kv}, y = {.kv = b->kv.kv};
	char first[220], second[220];

	for (;;) {
		step(&x);
		step(&y);
		if (x.end && y.end)
			return;
		if (x.end == y.end && same_span(x.key, y.key) && same_span(x.value, y.value))
			continue;
		world_fail(&c->w, "catalog: after the same entries voter %u has %s, voter %u has %s", a->id,
		           text_of(&x, first, sizeof(first)), b->id, text_of(&y, second, sizeof(second)));
		return;
	}
}

void catalogs_check(struct cluster *c)
{
	const struct node *first = NULL;
	char why[200];

	for (unsigned i = 0; i < c->nodes; i++) {
		struct node *n = &c->node[i];

		if (n->kind != SERVER_HINT)
			continue;
		if (catalog_check(hint_catalog(n->hint), why, sizeof(why)) < 0)
			world_fail(&c->w, "catalog: voter %u: %s", n->id, why);
		if (first)
			compare(c, first, n);
		first = first ? first : n;
	}
}
