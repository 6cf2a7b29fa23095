/* Many threads post to one loop: each letter is delivered once, on the loop, in its poster's order and
 * with all that the poster wrote before; buffers filled here and freed there balance. */
#include <pthread.h>
#include <stdio.h>

#include "access-server/fuse/mailbox_uv.h"
#include "common/base/iobuf.h"
#include "common/base/mem.h"

#define POSTERS 6
#define LETTERS 20000

struct parcel {
	struct letter letter;
	unsigned poster, number;
	struct iobuf *data;          /* of each tenth */
};

struct poster {
	pthread_t thread;
	unsigned index;
	struct letter gone;
};

static struct mailbox box;
static struct poster posters[POSTERS];
static unsigned delivered[POSTERS], ended;  /* the loop's */
static bool closed;

static void deliver(struct letter *letter)
{
	struct parcel *p = container_of(letter, struct parcel, letter);

	CHECK(p->number == delivered[p->poster]);
	delivered[p->poster]++;
	if (p->data) {
		CHECK(*(unsigned *)p->data->data == p->number);
		iobuf_put(p->data);
	}
	mem_free(p);
}

static void on_closed(void *ctx)
{
	CHECK(ctx == &box);
	closed = true;
}

/* The last letter of a thread: it posts no more, but may still be in mailbox_post(). */
static void deliver_gone(struct letter *letter)
{
	struct poster *p = container_of(letter, struct poster, gone);

	CHECK(delivered[p->index] == LETTERS);
	pthread_join(p->thread, NULL);
	if (++ended == POSTERS)
		mailbox_close(&box, on_closed, &box);
}

static void *post_all(void *arg)
{
	struct poster *me = arg;

	for (unsigned i = 0; i < LETTERS; i++) {
		struct parcel *p = mem_new(sizeof(*p));

		p->poster = me->index;
		p->number = i;
		if (i % 10 == 0) {
			p->data = iobuf_new_reserve(PAGE_BYTES);
			*(unsigned *)p->data->data = i;
		}
		mailbox_post(&box, &p->letter, deliver);
	}
	mailbox_post(&box, &me->gone, deliver_gone);
	return NULL;
}

int main(void)
{
	uv_loop_t loop;

	CHECK(uv_loop_init(&loop) == 0);
	CHECK(mailbox_open(&box, &loop) == 0);
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].index = i;
		CHECK(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]) == 0);
	}
	uv_run(&loop, UV_RUN_DEFAULT);
	CHECK(closed && ended == POSTERS);
	CHECK(iobuf_used() == 0);
	CHECK(uv_loop_close(&loop) == 0);
	printf("%u letters\n", POSTERS * LETTERS);
	return 0;
}
