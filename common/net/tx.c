#include "common/net/tx.h"

#include "common/base/mem.h"

#define CHUNK_BYTES (16u << 10)
/* A payload up to this size is cheaper to copy than to carry as a piece of its own. */
#define COPY_BYTES 1024
#define RING_MIN 16

struct tx_chunk {
	unsigned refs;             /* pieces that lie in it, and tx->chunk */
	size_t used, cap;
	uint8_t data[];
};

void tx_init(struct tx *tx)
{
	*tx = (struct tx){.cap = RING_MIN};
	tx->ring = mem_new_array(tx->cap, sizeof(*tx->ring));
}

static void chunk_put(struct tx *tx, struct tx_chunk *c)
{
	if (!c || --c->refs > 0)
		return;
	if (c->cap == CHUNK_BYTES && !tx->spare)
		tx->spare = c;
	else
		mem_free(c);
}

static struct tx_piece *at(const struct tx *tx, unsigned i)
{
	return &tx->ring[(tx->first + i) & (tx->cap - 1)];
}

static void drop_first(struct tx *tx)
{
	struct tx_piece *p = at(tx, 0);

	iobuf_put(p->buf);
	chunk_put(tx, p->chunk);
	tx->first = (tx->first + 1) & (tx->cap - 1);
	tx->n--;
	if (tx->sealed > 0)
		tx->sealed--;
}

void tx_fini(struct tx *tx)
{
	while (tx->n > 0)
		drop_first(tx);
	chunk_put(tx, tx->chunk);
	mem_free(tx->spare);
	mem_free(tx->ring);
	*tx = (struct tx){0};
}

static void grow(struct tx *tx)
{
	struct tx_piece *ring = mem_new_array((size_t)tx->cap * 2, sizeof(*ring));

	for (unsigned i = 0; i < tx->n; i++)
		ring[i] = *at(tx, i);
	mem_free(tx->ring);
	tx->ring = ring;
	tx->first = 0;
	tx->cap *= 2;
}

static struct tx_piece *add_piece(struct tx *tx, const uint8_t *p, size_t len)
{
	struct tx_piece *piece;

	if (tx->n == tx->cap)
		grow(tx);
	piece = at(tx, tx->n++);
	*piece = (struct tx_piece){.p = p, .len = len};
	return piece;
}

static void new_chunk(struct tx *tx, size_t cap)
{
	struct tx_chunk *c = cap == CHUNK_BYTES ? tx->spare : NULL;

	if (c)
		tx->spare = NULL;
	else
		c = mem_new(sizeof(*c) + cap);
	c->refs = 1;
	c->used = 0;
	c->cap = cap;
	chunk_put(tx, tx->chunk);
	tx->chunk = c;
}

/* `len` bytes at the end of the queue, to be filled in. */
static uint8_t *extend(struct tx *tx, size_t len)
{
	struct tx_piece *last = tx->n > tx->sealed ? at(tx, tx->n - 1) : NULL;
	uint8_t *p;

	if (!tx->chunk || tx->chunk->cap - tx->chunk->used < len)
		new_chunk(tx, MAX(len, CHUNK_BYTES));
	p = tx->chunk->data + tx->chunk->used;
	tx->chunk->used += len;
	tx->bytes += len;
	if (last && last->chunk == tx->chunk) {
		last->len += len;
	} else {
		add_piece(tx, p, len)->chunk = tx->chunk;
		tx->chunk->refs++;
	}
	return p;
}

void tx_add(struct tx *tx, const struct msg *m)
{
	size_t head = msg_head_bytes(m);
	uint32_t len = m->payload.len;
	uint8_t *p;

	if (len <= COPY_BYTES) {
		p = extend(tx, head + len);
		msg_encode(m, p);
		if (len > 0)
			memcpy(p + head, slice_data(m->payload), len);
		return;
	}
	msg_encode(m, extend(tx, head));
	add_piece(tx, slice_data(m->payload), len)->buf = iobuf_get(m->payload.buf);
	tx->bytes += len;
}

unsigned tx_seal(struct tx *tx, unsigned max)
{
	unsigned n = MIN(tx->n, max);

	tx->sealed = MAX(tx->sealed, n);
	return n;
}

const struct tx_piece *tx_piece(const struct tx *tx, unsigned i)
{
	CHECK(i < tx->n);
	return at(tx, i);
}

void tx_consume(struct tx *tx, size_t bytes)
{
	CHECK(bytes <= tx->bytes);
	tx->bytes -= bytes;
	while (bytes > 0) {
		struct tx_piece *p = at(tx, 0);
		size_t n = MIN(bytes, p->len);

		p->p += n;
		p->len -= n;
		bytes -= n;
		if (p->len == 0)
			drop_first(tx);
	}
	/* Nothing looks into the chunk any more: it starts anew. */
	if (tx->n == 0 && tx->chunk)
		tx->chunk->used = 0;
}
