/* Listings with attributes, so that `ls -l` costs no lookup for each entry.
 *
 * The records are those of a plain listing; attributes that are not cached are asked for with one
 * question for all that fit into the caller's room, and their answers bring leases, as a lookup's do.
 * An entry goes without attributes, and the kernel looks it up when it needs it, if the leader gave
 * no lease on it (another server writes it), or the directory has none or is contended. */
#include "access-server/volume/names.h"
#include "common/wire/msg_check.h"

static bool is_dots(const uint8_t *record)
{
	uint16_t len = get_u16le(record + DIRENT_HEAD_BYTES - 2);

	return len <= 2 && memcmp(record + DIRENT_HEAD_BYTES, "..", len) == 0;
}

/* The part of the records that the caller has room for. */
static uint32_t fitting(const struct vol_req *req, const uint8_t *p, uint32_t left, uint32_t *count)
{
	uint64_t room = req->len;
	uint32_t at = 0, n;

	*count = 0;
	while ((n = dirent_bytes(p + at, left - at)) != 0) {
		uint64_t need = DIRENT_KERNEL_BYTES(n - DIRENT_HEAD_BYTES);

		if (need > room)
			break;
		room -= need;
		at += n;
		++*count;
	}
	return at;
}

static struct file *cached_file(struct volume *v, const uint8_t *record)
{
	struct file *f = is_dots(record) ? NULL : file_find(v, get_u64le(record));

	return f && file_attr_cached(f) ? f : NULL;
}

static void give_one(struct volume *v, struct node *dir, const uint8_t *record, uint32_t bytes,
                     struct vol_dirent_plus *out)
{
	struct span name = {record + DIRENT_HEAD_BYTES, bytes - DIRENT_HEAD_BYTES};
	struct file *f = cached_file(v, record);
	struct item *i;

	if (!f)
		return;
	i = item_put(v, dir, ITEM_ENTRY, name, (struct span){0});
	i->ino = f->ino;
	f->forgotten = false;
	file_fill_attr(f, &out->attr);
	out->attr_valid = file_attr_valid(f);
	out->entry_valid = names_note_told(v, i);
}

/* `dir`: usable, or NULL where the kernel is to believe nothing. */
static void give(struct volume *v, struct vol_req *req, struct node *dir, const uint8_t *p, uint32_t len,
                 uint32_t count)
{
	uint32_t n;
	uint8_t *out;

	if (count == 0)
		return;
	req->out.len = len + count * (uint32_t)sizeof(struct vol_dirent_plus);
	req->out.buf = iobuf_new_reserve(req->out.len);
	req->out.off = 0;
	out = req->out.buf->data;
	for (uint32_t at = 0; at < len; at += n) {
		struct vol_dirent_plus plus = {0};

		n = dirent_bytes(p + at, len - at);
		if (dir)
			give_one(v, dir, p + at, n, &plus);
		memcpy(out, p + at, n);
		memcpy(out + n, &plus, sizeof(plus));
		out += n + sizeof(plus);
	}
}

static void take_inodes(struct name_op *op, struct span bytes)
{
	struct cursor c = {bytes.p, bytes.len, false};

	while (c.left) {
		uint16_t len = cursor_u16(&c);
		const uint8_t *body = cursor_take(&c, len);
		struct msg one;

		if (c.bad || msg_decode_body(body, len, &one) < 0 || one.type != MSG_TYPE_r_inode ||
		    !msg_inode_ok(&one.r_inode))
			return;
		file_take_inode(op->v, &one.r_inode, op->seq);
	}
}

static void on_inodes(struct name_op *op, const struct msg *m)
{
	struct node *dir = op_fresh(op, op->dir) && names_entry_valid(op->v, op->dir) > 0 ? op->dir : NULL;
	uint32_t count;

	if (op->req && m->type == MSG_TYPE_r_bytes && m->r_bytes.status == STATUS_OK)
		take_inodes(op, m->r_bytes.bytes);
	if (op->req) {
		(void)fitting(op->req, op->records, op->records_bytes, &count);
		give(op->v, op->req, dir, op->records, op->records_bytes, count);
	}
	op_end(op, 0);
}

/* False: nothing is missing. */
static bool ask_missing(struct name_op *op, uint32_t count)
{
	struct volume *v = op->v;
	uint8_t *inos = mem_new_array(MIN(count, (uint32_t)Q_INODES_MAX) + 1, 8);
	uint32_t missing = 0, n;

	for (uint32_t at = 0; at < op->records_bytes && missing < Q_INODES_MAX; at += n) {
		const uint8_t *record = op->records + at;

		n = dirent_bytes(record, op->records_bytes - at);
		if (!is_dots(record) && !cached_file(v, record))
			put_u64le(inos + 8 * missing++, get_u64le(record));
	}
	if (missing) {
		op->ask = (struct msg){.type = MSG_TYPE_q_inodes};
		op->ask.q_inodes.inos = (struct span){inos, missing * 8};
		op->answer = on_inodes;
		op_send(op);
	}
	mem_free(inos);
	return missing != 0;
}

void names_give_plus(struct volume *v, struct vol_req *req, struct name_op *op, const uint8_t *p,
                     uint32_t left)
{
	uint32_t count, len = fitting(req, p, left, &count);

	if (!op) {
		op = op_new(v, req, on_inodes);
		op->dir = node_pin(v, req->ino);
	}
	op->records = len ? mem_dup(p, len) : NULL;
	op->records_bytes = len;
	if (count == 0 || names_entry_valid(v, op->dir) == 0)
		give(v, req, NULL, op->records, len, count);
	else if (ask_missing(op, count))
		return;
	else
		give(v, req, op->dir, op->records, len, count);
	op_end(op, count == 0 && left ? -EINVAL : 0);
}
