/* Directory listings: fetched in large pages, handed out in the small ones that the kernel asks for.
 *
 * A page serves readers at any cookie inside it. A listing from the beginning is fetched afresh
 * unless the directory's lease is held; going on in a page fetched since then needs no lease, for
 * readdir(3) owes entries as they were at rewinddir or later. */
#include "access-server/volume/names.h"

#define COOKIE_AT 8   /* in a record: u64 ino, u64 next cookie, u32 type, u16 name length, name */
#define LENGTH_AT 20

uint32_t dirent_bytes(const uint8_t *p, uint32_t left)
{
	uint32_t n;

	if (left < DIRENT_HEAD_BYTES)
		return 0;
	n = DIRENT_HEAD_BYTES + (uint32_t)get_u16le(p + LENGTH_AT);
	return n <= left ? n : 0;
}

static struct span page_key(const uint8_t cookie[8])
{
	return (struct span){cookie, 8};
}

/* Where in the page the reader of `cookie` goes on; false: nowhere. The end of the page is inside
 * only when the listing ends there. */
static bool page_offset(const struct item *page, uint64_t cookie, uint32_t *off)
{
	uint64_t first = get_u64le(item_name(page).p);
	uint32_t at = 0, n;

	if (cookie < first || cookie > page->last_cookie)
		return false;
	if (first == cookie) {
		*off = 0;
		return true;
	}
	while ((n = dirent_bytes(page->value + at, page->bytes - at)) != 0) {
		uint64_t next = get_u64le(page->value + at + COOKIE_AT);

		at += n;
		if (next == cookie) {
			*off = at;
			return at < page->bytes || page->next_cookie == 0;
		}
	}
	return false;
}

static struct item *find_page(struct node *n, uint64_t cookie, uint32_t *off)
{
	struct item *i;

	DL_FOREACH(n->pages, i) {
		if (page_offset(i, cookie, off))
			return i;
	}
	return NULL;
}

static uint64_t last_cookie(struct span records)
{
	uint64_t cookie = 0;
	uint32_t at = 0, n;

	while ((n = dirent_bytes(records.p + at, records.len - at)) != 0) {
		cookie = get_u64le(records.p + at + COOKIE_AT);
		at += n;
	}
	return cookie;
}

/* Whole records that fit into what the caller has room for. */
static int give(struct vol_req *req, const uint8_t *p, uint32_t left)
{
	uint32_t at = 0, n;

	while ((n = dirent_bytes(p + at, left - at)) != 0 && at + n <= req->len)
		at += n;
	if (at == 0 && left)
		return -EINVAL; /* as getdents(2) for a buffer that is too small */
	names_give_bytes(req, (struct span){p, at});
	return 0;
}

static void on_readdir(struct name_op *op, const struct msg *m)
{
	const struct msg_r_bytes *r = &m->r_bytes;
	uint8_t cookie[8];
	struct item *page;

	if (m->type != MSG_TYPE_r_dirents || r->status != STATUS_OK) {
		op_end(op, r->status == STATUS_OK ? -EIO : vol_status_errno(r->status));
		return;
	}
	if (!op->req) {
		op_end(op, 0);
		return;
	}
	if (r->meta && op_fresh(op, op->dir))
		op->dir->leased = true;
	put_u64le(cookie, op->req->off);
	if (r->bytes.len && op->dir->changing == 0) {
		page = item_put(op->v, op->dir, ITEM_DIRENTS, page_key(cookie), r->bytes);
		page->next_cookie = r->next;
		page->last_cookie = last_cookie(r->bytes);
	}
	if (op->req->flags & VOL_F_PLUS)
		names_give_plus(op->v, op->req, op, r->bytes.p, r->bytes.len);
	else
		op_end(op, give(op->req, r->bytes.p, r->bytes.len));
}

void names_readdir(struct volume *v, struct vol_req *req)
{
	struct node *n = node_find(v, req->ino);
	struct item *page = NULL;
	struct name_op *op;
	uint32_t off = 0;

	if (n && req->off == 0 && !node_usable(v, n))
		node_drop_kind(v, n, ITEM_DIRENTS);
	n = node_find(v, req->ino);
	if (n)
		page = find_page(n, req->off, &off);
	if (page) {
		item_use(v, page);
		if (req->flags & VOL_F_PLUS) {
			names_give_plus(v, req, NULL, page->value + off, page->bytes - off);
			return;
		}
		vol_complete(v, req, give(req, page->value + off, page->bytes - off));
		return;
	}
	op = op_new(v, req, on_readdir);
	op->dir = node_pin(v, req->ino);
	op->ask.type = MSG_TYPE_q_readdir;
	op->ask.q_readdir.dir = req->ino;
	op->ask.q_readdir.cookie = req->off;
	op->ask.q_readdir.bytes_max = NAMES_DIRENTS_BYTES;
	op_send(op);
}
