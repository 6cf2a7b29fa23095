/* liburcu's wait-free queue, and what ThreadSanitizer has to be told of it: that who takes a node sees
 * all that was done before it was put. The library orders this with barriers that the sanitizer does
 * not know. (In its build the library's own code is called, not inlined: see CMakeLists.txt.) */
#pragma once

#include <urcu/wfcqueue.h>

#include "common/base/base.h"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#define queue_release(node) __tsan_release(node)
#define queue_acquire(node) __tsan_acquire(node)
#else
#define queue_release(node) ((void)(node))
#define queue_acquire(node) ((void)(node))
#endif

/* Whether the queue was not empty before. */
static inline bool queue_put(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail,
                             struct cds_wfcq_node *node)
{
	cds_wfcq_node_init(node);
	queue_release(node);
	return cds_wfcq_enqueue(head, tail, node);
}

/* The oldest; NULL if there is none. For a queue with one reader. */
static inline struct cds_wfcq_node *queue_take(struct cds_wfcq_head *head, struct cds_wfcq_tail *tail)
{
	struct cds_wfcq_node *node = __cds_wfcq_dequeue_blocking(head, tail);

	if (node)
		queue_acquire(node);
	return node;
}
