#include "common/net/tx.h"

#include "common/base/mem.h"

#define SEG_BYTES (16u << 10)
/* A payload up to this size is cheaper to copy than to carry as a piece of its own. */
#define COPY_BYTES 1024

struct tx_seg {
	struct tx_seg *next;
	struct iobuf *buf;         /* payload by reference; NULL: the bytes are in `data` */
	const uint8_t *p;
	size_t len;                /* from p on, not sent yet */
	size_t used, cap;          /* of `data` */
	bool sealed;
	uint8_t data[];
};

void tx_init(struct tx *tx)
{
	*tx = (struct tx){0};
}

static void seg_free(struct tx *tx, struct tx_seg *s)
{
	iobuf_put(s->buf);
	if (s->cap == SEG_BYTES && !tx->spare)
		tx->spare = s;
	else
		mem_free(s);
}

void tx_fini(struct tx *tx)
{
	while (tx->head) {
		struct tx_seg *s = tx->head;

		tx->head = s->next;
		seg_free(tx, s);
	}
	mem_free(tx->spare);
	*tx = (struct tx){0};
}

static struct tx_seg *seg_new(struct tx *tx, size_t cap)
{
	struct tx_seg *s = cap == SEG_BYTES ? tx->spare : NULL;

	if (s)
		tx->spare = NULL;
	else
		s = mem_new(sizeof(*s) + cap);
	s->next = NULL;
	s->buf = NULL;
	s->p = s->data;
	s->len = s->used = 0;
	s->cap = cap;
	s->sealed = false;
	if (tx->tail)
		tx->tail->next = s;
	else
		tx->head = s;
	tx->tail = s;
	return s;
}

/* `len` bytes at the end of the queue, to be filled in. */
static uint8_t *extend(struct tx *tx, size_t len)
{
	struct tx_seg *s = tx->tail;
	uint8_t *p;

	if (!s || s->buf || s->sealed || s->cap - s->used < len)
		s = seg_new(tx, MAX(len, SEG_BYTES));
	p = s->data + s->used;
	s->used += len;
	s->len += len;
	tx->bytes += len;
	return p;
}

void tx_add(struct tx *tx, const struct msg *m)
{
	size_t head = msg_head_bytes(m);
	uint32_t len = m->payload.len;
	struct tx_seg *s;
	uint8_t *p;

	if (len <= COPY_BYTES) {
		p = extend(tx, head + len);
		msg_encode(m, p);
		if (len > 0)
			memcpy(p + head, slice_data(m->payload), len);
		return;
	}
	msg_encode(m, extend(tx, head));
	s = seg_new(tx, 0);
	s->buf = iobuf_get(m->payload.buf);
	s->p = slice_data(m->payload);
	s->len = len;
	tx->bytes += len;
}

unsigned tx_pieces(struct tx *tx, struct tx_piece *out, unsigned max)
{
	unsigned n = 0;

	for (struct tx_seg *s = tx->head; s && n < max; s = s->next) {
		s->sealed = true;
		out[n++] = (struct tx_piece){s->p, s->len};
	}
	return n;
}

void tx_consume(struct tx *tx, size_t bytes)
{
	CHECK(bytes <= tx->bytes);
	tx->bytes -= bytes;
	while (bytes > 0) {
		struct tx_seg *s = tx->head;
		size_t n = MIN(bytes, s->len);

		s->p += n;
		s->len -= n;
		bytes -= n;
		if (s->len > 0)
			return;
		tx->head = s->next;
		if (!tx->head)
			tx->tail = NULL;
		seg_free(tx, s);
	}
}
