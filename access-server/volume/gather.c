/* When small records leave. What nobody waits for is sent after a few milliseconds, together with what
 * came meanwhile: one message, one journal record and one sync serve many small writes, and neighbours
 * are merged. Who waits for a flush calls writer_push(). */
#include "access-server/volume/parts.h"

#define GATHER_FOR (4 * NSEC_MSEC)
#define GATHER_BYTES (256u << 10) /* of all blocks */
#define EAGER_RECORDS 4           /* between two flushes: the next flush is not far */

void block_gather(struct block *b, const struct record *r, uint32_t len)
{
	struct volume *v = b->f->v;

	/* A file that is flushed after every few writes gains nothing by waiting, and its records are
	 * half-way when the flush comes. */
	if (r->len >= GATHER_RECORD || r->op != WRITE_DATA ||
	    (b->f->flush_asked && b->f->n - b->f->flush_asked <= EAGER_RECORDS)) {
		block_send(b);
		return;
	}
	if (!b->gathering)
		DL_APPEND2(v->gathering, b, gprev, gnext);
	b->gathering = true;
	v->gathered += len;
	if (v->gathered >= GATHER_BYTES)
		writer_push(v);
	else if (!v->push.slot)
		timer_set(v, &v->push, v->now + GATHER_FOR);
}

void block_gathered(struct block *b)
{
	if (!b->gathering)
		return;
	b->gathering = false;
	DL_DELETE2(b->f->v->gathering, b, gprev, gnext);
}

void writer_push(struct volume *v)
{
	struct block *b;

	v->gathered = 0;
	timer_stop(v, &v->push);
	while ((b = v->gathering)) {
		block_gathered(b);
		block_send(b);
	}
}
