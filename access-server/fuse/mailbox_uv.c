#include "access-server/fuse/mailbox_uv.h"

#include "common/base/clock.h"

static void deliver_all(struct mailbox *m)
{
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	struct cds_wfcq_node *node, *next;
	enum cds_wfcq_ret got;

	/* A letter delivered may make another thread post again: take batches until none is left. */
	for (;;) {
		cds_wfcq_init(&head, &tail);
		got = __cds_wfcq_splice_blocking(&head, &tail, &m->head, &m->tail);
		if (got == CDS_WFCQ_RET_SRC_EMPTY)
			return;
		__cds_wfcq_for_each_blocking_safe(&head, &tail, node, next) {
			struct letter *letter = container_of(node, struct letter, node);

			queue_acquire(node);
			letter->deliver(letter);
		}
	}
}

static void on_bell(uv_async_t *bell)
{
	clock_awake();
	deliver_all(container_of(bell, struct mailbox, bell));
}

int mailbox_open(struct mailbox *m, uv_loop_t *loop)
{
	*m = (struct mailbox){0};
	cds_wfcq_init(&m->head, &m->tail);
	return uv_async_init(loop, &m->bell, on_bell);
}

static void on_closed(uv_handle_t *handle)
{
	struct mailbox *m = container_of((uv_async_t *)(void *)handle, struct mailbox, bell);

	m->closed(m->closed_ctx);
}

void mailbox_close(struct mailbox *m, void (*closed)(void *ctx), void *ctx)
{
	deliver_all(m);
	m->closed = closed;
	m->closed_ctx = ctx;
	uv_close((uv_handle_t *)&m->bell, on_closed);
}

void mailbox_post(struct mailbox *m, struct letter *letter,
                  void (*deliver)(struct letter *letter))
{
	letter->deliver = deliver;
	if (!queue_put(&m->head, &m->tail, &letter->node))
		uv_async_send(&m->bell);
}
