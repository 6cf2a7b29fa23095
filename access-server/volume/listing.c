#include "access-server/volume/listing.h"

#define LIST_MAX 4096

static void list_next(struct listing *l, uint64_t from);

static void add(struct listing *l, const uint8_t *e)
{
	if (l->n == l->capacity) {
		l->capacity = l->capacity ? 2 * l->capacity : 64;
		l->list = mem_resize(l->list, l->capacity, sizeof(*l->list));
	}
	l->list[l->n++] = (struct listed){get_u64le(e), {get_u64le(e + 8), get_u64le(e + 16)}};
}

static bool on_list(struct rpc *rpc, const struct msg *m)
{
	struct listing *l = rpc->ctx;
	const struct msg_list_reply *r = &m->list_reply;

	if (m->type != MSG_TYPE_list_reply || r->file != l->f->ino ||
	    (r->status != STATUS_OK && r->status != STATUS_UNKNOWN))
		return false;
	if (r->seal > l->f->epoch) {
		lease_sealed(l->f, r->seal);
		return true;
	}
	l->rpc = NULL;
	rpc_cancel(rpc);
	for (uint32_t at = 0; at + LIST_ENTRY_BYTES <= r->entries.len; at += LIST_ENTRY_BYTES)
		add(l, r->entries.p + at);
	if (r->more)
		list_next(l, r->next);
	else
		l->done(l);
	return true;
}

static void list_next(struct listing *l, uint64_t from)
{
	struct msg m = {.type = MSG_TYPE_list, .dst = l->server};

	m.list.file = l->f->ino;
	m.list.map = file_placement(l->f, m.dst);
	m.list.epoch = l->f->epoch;
	m.list.first = from;
	m.list.last = BLOCK_ATTR;
	m.list.max = LIST_MAX;
	l->rpc = rpc_start(l->f->v, &m, on_list, l, 0);
}

void listing_start(struct listing *l, struct file *f, server_id_t server, void (*done)(struct listing *l),
                   void *ctx)
{
	*l = (struct listing){.f = f, .server = server, .done = done, .ctx = ctx};
	list_next(l, 0);
}

void listing_end(struct listing *l)
{
	rpc_cancel(l->rpc);
	mem_free(l->list);
	*l = (struct listing){0};
}

struct version listing_version(const struct listing *l, uint64_t no)
{
	unsigned low = 0, high = l->n;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (l->list[mid].no < no)
			low = mid + 1;
		else
			high = mid;
	}
	return low < l->n && l->list[low].no == no ? l->list[low].version : VERSION_NONE;
}
