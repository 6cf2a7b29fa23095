/* Lines come from several threads while one counts them. */
#include <pthread.h>
#include <stdio.h>

#include "common/base/log.h"

#define THREADS 4
#define LINES 2000

static void *log_all(void *arg)
{
	for (unsigned i = 0; i < LINES; i++)
		log_warn(arg, "line %u", i);
	return NULL;
}

static uint64_t counted(void)
{
	struct log_counts counts;

	log_get_counts(&counts);
	return (uint64_t)counts.lines[LOG_WARN] + counts.left_out;
}

int main(void)
{
	static char key[THREADS][4] = {"a", "b", "c", "d"};
	pthread_t thread[THREADS];
	uint64_t before = 0;

	log_init("threads", LOG_INFO);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, log_all, key[i]) == 0);
	while (before < THREADS * LINES) {
		uint64_t now = counted();

		CHECK(now >= before && now <= THREADS * LINES);
		before = now;
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	printf("%u lines\n", THREADS * LINES);
	return 0;
}
