/* The queue of an invalidator: several threads put, one takes, a semaphore counts. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>

#include "access-server/fuse/queue.h"
#include "common/base/mem.h"

#define WRITERS 4
#define ITEMS 20000

struct item {
	struct cds_wfcq_node node;
	unsigned writer, number;
};

static struct cds_wfcq_head head;
static struct cds_wfcq_tail tail;
static sem_t count;

static void *put_all(void *arg)
{
	const unsigned *me = arg;

	for (unsigned i = 0; i < ITEMS; i++) {
		struct item *it = mem_new(sizeof(*it));

		it->writer = *me;
		it->number = i;
		queue_put(&head, &tail, &it->node);
		sem_post(&count);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[WRITERS];
	unsigned index[WRITERS], taken[WRITERS] = {0};

	cds_wfcq_init(&head, &tail);
	CHECK(sem_init(&count, 0, 0) == 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		index[i] = i;
		CHECK(pthread_create(&thread[i], NULL, put_all, &index[i]) == 0);
	}
	for (unsigned i = 0; i < WRITERS * ITEMS; i++) {
		struct cds_wfcq_node *node;
		struct item *it;

		while (sem_wait(&count) < 0)
			;
		node = queue_take(&head, &tail);
		CHECK(node);
		it = container_of(node, struct item, node);
		CHECK(it->number == taken[it->writer]);
		taken[it->writer]++;
		mem_free(it);
	}
	CHECK(!queue_take(&head, &tail));
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(thread[i], NULL);
	sem_destroy(&count);
	printf("%u items\n", WRITERS * ITEMS);
	return 0;
}
