/* Lists: the blocks of a file that this server has something to say of.
 *
 * These are the blocks with a record and those that the file's `closed` does not count for (the
 * exceptions of the last MSG_CLOSE): leaving out one of the latter would tell a reader that its
 * absence was closed with the rest.
 *
 * UNKNOWN: the file is not held completely, or a block in the range is lost to damage (it is listed as
 * never written). The entries then help a holder to see what must be replaced, and count for nothing
 * else: above all nothing follows from what is not among them. */
#include "core-server/replica/internal.h"

/* Smallest exception at or after `from`. */
static bool next_exception(const struct store_file *rec, uint64_t from, uint64_t *block)
{
	unsigned low = 0, high = rec->exceptions;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (rec->exception[mid] < from)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == rec->exceptions)
		return false;
	*block = rec->exception[low];
	return true;
}

/* Smallest listed block at or after `from`, with its own `closed`. */
static bool next_listed(struct replica *r, file_id_t file, const struct store_file *rec,
                        uint64_t from, uint64_t *block, struct store_block *b)
{
	uint64_t exception;
	bool found = store_next_block(r->store, file, from, block, b);

	if (next_exception(rec, from, &exception) && (!found || exception < *block)) {
		*block = exception;
		*b = (struct store_block){.version = VERSION_NONE, .holes = true};
		return true;
	}
	return found;
}

static void put_entry(uint8_t *p, uint64_t block, const struct store_block *b, uint64_t closed)
{
	put_u64le(p, block);
	put_u64le(p + 8, b->version.epoch);
	put_u64le(p + 16, b->version.n);
	put_u64le(p + 24, closed);
	p[32] = b->holes ? LIST_HOLES : 0;
	put_u32le(p + 33, b->pages);
}

/* Fills *reply; the entries are the caller's to free. */
static uint8_t *collect_entries(struct replica *r, const struct msg_list *q,
                                const struct store_file *rec, struct msg_list_reply *reply)
{
	uint32_t max = MIN(q->max, (uint32_t)LIST_ENTRIES_MAX), n = 0;
	uint8_t *entries = NULL;
	uint32_t room = 0;
	uint64_t from = q->first, block;
	struct store_block b;

	while (next_listed(r, q->file, rec, from, &block, &b) && block <= q->last) {
		if (b.damaged)
			reply->status = STATUS_UNKNOWN;
		if (n == max) {
			reply->more = 1;
			reply->next = block;
			break;
		}
		if (n == room) {
			room = MIN(max, room == 0 ? 64 : room * 2);
			entries = mem_resize(entries, room, LIST_ENTRY_BYTES);
		}
		put_entry(entries + (size_t)n * LIST_ENTRY_BYTES, block, &b,
		          closed_of(r, rec, block, &b));
		n++;
		if (block == BLOCK_ATTR)
			break;
		from = block + 1;
	}
	reply->entries = (struct span){entries, n * LIST_ENTRY_BYTES};
	return entries;
}

/* The durable record with its own copy of the exceptions: the store's last until its next call. */
static struct store_file durable_record(struct replica *r, file_id_t file)
{
	struct store_file rec;

	(void)file_durable(r, file, &rec);
	if (rec.exceptions > 0)
		rec.exception = mem_dup(rec.exception, rec.exceptions * sizeof(*rec.exception));
	else
		rec.exception = NULL;
	return rec;
}

void replica_list(struct replica *r, const struct msg *m)
{
	const struct msg_list *q = &m->list;
	struct msg out = {.type = MSG_TYPE_list_reply};
	struct msg_list_reply *reply = &out.list_reply;
	struct store_file rec = {0};
	struct file_state *f = NULL;
	enum status s = STATUS_INVALID;
	uint8_t *entries = NULL;

	if (check_file(q->file) && q->first <= q->last && q->max > 0)
		s = replica_admit(r, q->file, q->map, q->epoch, false, &f);
	if (s == STATUS_OK && !file_complete(r, f))
		s = STATUS_UNKNOWN;
	reply->file = q->file;
	if (s != STATUS_INVALID && s != STATUS_DISK) {
		rec = durable_record(r, q->file);
		reply->seal = rec.seal;
		reply->closed = replica_has_bug(r, REPLICA_BUG_NO_CLOSED) ? 0 : rec.closed;
	}
	reply->status = (uint16_t)s;
	if (s == STATUS_OK || s == STATUS_UNKNOWN)
		entries = collect_entries(r, q, &rec, reply);
	if (reply->status != STATUS_OK)
		(void)replica_refuse(r, (enum status)reply->status);
	replica_reply(r, origin_of(m), &out);
	mem_free(entries);
	mem_free(rec.exception);
	file_put_idle(r, NULL);
}
