/* A mailbox: any thread posts, the owner loop delivers, in the order of posting.
 *
 * liburcu's wait-free queue with uv_async_send() as the bell; the bell rings only for the first
 * letter of a batch, and a batch is drained completely. A letter is embedded in what it is about
 * and belongs to the mailbox from mailbox_post() until its deliver() is called. */
#pragma once

#include <uv.h>

#include "access-server/fuse/queue.h"

struct letter {
	struct cds_wfcq_node node;
	void (*deliver)(struct letter *letter); /* on the owner loop */
};

struct mailbox {
	struct cds_wfcq_head head;
	struct cds_wfcq_tail tail;
	uv_async_t bell;
	void (*closed)(void *ctx);
	void *closed_ctx;
};

MUST_CHECK int mailbox_open(struct mailbox *m, uv_loop_t *loop);
/* Delivers what is there and closes; nobody may post any more. Memory may go when `closed` runs. */
void mailbox_close(struct mailbox *m, void (*closed)(void *ctx), void *ctx);
void mailbox_post(struct mailbox *m, struct letter *letter,
                  void (*deliver)(struct letter *letter));
