/* Reads and writes of the clients, with what they hold against the answers at once: bytes that
 * nobody wrote (P7), pages of two writes (P4). The order of it all is judged later (history.h). */

#include "tests/sim/client.h"

#include <fcntl.h>

#include "common/base/mem.h"
#include "tests/sim/content.h"


static struct vol_req *fresh(struct client *cl, enum vol_op op, uint32_t file)
{
	memset(&cl->req, 0, sizeof(cl->req));
	cl->req.op = op;
	cl->file = file;
	cl->req.ino = cl->c->hist.file[file].ino;
	cl->req.handle = cl->handle[file];
	return &cl->req;
}

static uint32_t unit_bytes(const struct client *cl)
{
	return cl->c->hist.file[cl->file].unit_bytes;
}

static void begin(struct client *cl, enum hist_type type, uint32_t unit, uint32_t units,
                  uint64_t value, bool sync)
{
	struct hist_op op = {
	        .type = type, .client = cl->id, .mount = cl->mount, .opened = cl->opened[cl->file],
	        .file = cl->file, .unit = unit, .units = units, .value = value, .sync = sync,
	        .begun = cl->c->w.now,
	};

	cl->op = history_begin(&cl->c->hist, &op);
}

static void ended(struct client *cl)
{
	history_end(&cl->c->hist, cl->op, cl->rc, cl->c->w.now);
	cl->next(cl);
}

static void opened(struct client *cl)
{
	if (cl->rc == 0) {
		cl->handle[cl->file] = cl->req.out_handle;
		cl->opened[cl->file] = cl->begun_stamp;
	}
	cl->next(cl);
}

void client_open(struct client *cl, uint32_t file, void (*after)(struct client *cl))
{
	fresh(cl, VOL_OPEN, file)->flags = cl->read_only ? VOL_F_READ_ONLY : 0;
	cl->next = after;
	client_submit(cl, opened);
}

static void closed(struct client *cl)
{
	cl->handle[cl->file] = 0;
	cl->next(cl);
}

void client_close(struct client *cl, uint32_t file, void (*after)(struct client *cl))
{
	fresh(cl, VOL_CLOSE, file);
	cl->next = after;
	client_submit(cl, closed);
}

/* The whole file, for the client as the owner. */
void client_lock(struct client *cl, uint32_t file, uint8_t type, bool wait,
                 void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_SETLK, file);

	req->flags = wait ? VOL_F_WAIT : 0;
	req->lock.owner = cl->id + 1;
	req->lock.pid = cl->id + 1;
	req->lock.end = UINT64_MAX;
	req->lock.type = type;
	client_submit(cl, after);
}

/* --- read --- */

static uint64_t unit_value(struct client *cl, uint64_t off)
{
	uint32_t bytes = unit_bytes(cl);
	uint64_t value = 0, end = cl->req.off + cl->req.out_len;
	bool append = cl->c->hist.file[cl->file].append;

	for (uint32_t at = 0; at < bytes; at += CHUNK_BYTES) {
		uint64_t pos = off + at, v = 0;

		if (pos + CHUNK_BYTES <= end)
			v = content_read(slice_data(cl->req.out) + (pos - cl->req.off), cl->file,
			                 append ? 0 : pos / CHUNK_BYTES);
		if (v == CONTENT_GARBAGE) {
			world_fail(&cl->c->w, "P7: client %u on %u reads bytes nobody wrote at %" PRIu64
			           " of file %u", cl->id, cl->n->id, pos, cl->file);
			return 0;
		}
		if (at == 0)
			value = v;
		else if (v != value)
			world_fail(&cl->c->w, "P4: client %u on %u reads a page of two writes, %" PRIu64
			           " and %" PRIu64 ", at %" PRIu64 " of file %u", cl->id, cl->n->id,
			           value, v, pos, cl->file);
	}
	return value;
}

static void read_done(struct client *cl)
{
	struct hist_op *op = &cl->c->hist.op[cl->op];

	if (cl->rc == 0) {
		CHECK(cl->req.out_len <= cl->req.len);
		op->values = mem_new_array(op->units, sizeof(*op->values));
		for (uint32_t i = 0; i < op->units; i++)
			op->values[i] = unit_value(cl, (uint64_t)(op->unit + i) * unit_bytes(cl));
		world_trace(&cl->c->w, "client %u read units %u+%u of file %u: first %" PRIu64
		            ", last %" PRIu64, cl->id, op->unit, op->units, cl->file, op->values[0],
		            op->values[op->units - 1]);
	}
	ended(cl);
}

void client_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units,
                 void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_READ, file);

	req->off = (uint64_t)unit * unit_bytes(cl);
	req->len = (uint64_t)units * unit_bytes(cl);
	cl->next = after;
	begin(cl, HIST_READ, unit, units, 0, false);
	client_submit(cl, read_done);
}

/* --- write --- */

static void fill(struct client *cl, uint64_t off, uint32_t len, uint64_t value)
{
	cl->data = iobuf_new_reserve(ALIGN_UP(len, PAGE_BYTES));
	for (uint32_t at = 0; at < len; at += CHUNK_BYTES)
		content_fill(cl->data->data + at, value, cl->file, (off + at) / CHUNK_BYTES);
	cl->req.data = (struct slice){cl->data, 0, len};
	cl->req.len = len;
}

uint64_t client_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync,
                      void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_WRITE, file);
	uint64_t value = ++cl->c->last_value;

	req->off = (uint64_t)unit * unit_bytes(cl);
	req->flags = sync ? VOL_F_DSYNC : 0;
	fill(cl, req->off, units * unit_bytes(cl), value);
	cl->next = after;
	world_trace(&cl->c->w, "client %u writes %" PRIu64 " to units %u+%u of file %u%s", cl->id, value,
	            unit, units, file, sync ? ", sync" : "");
	begin(cl, HIST_WRITE, unit, units, value, sync);
	client_submit(cl, ended);
	return value;
}

static void sync_done(struct client *cl)
{
	if (cl->rc == 0)
		cl->c->longest_sync = MAX(cl->c->longest_sync, cl->c->w.now - cl->begun);
	ended(cl);
}

void client_sync(struct client *cl, uint32_t file, void (*after)(struct client *cl))
{
	fresh(cl, VOL_FSYNC, file);
	cl->next = after;
	begin(cl, HIST_SYNC, 0, 0, 0, false);
	client_submit(cl, sync_done);
}

/* Zeros from `unit` on. */
void client_truncate(struct client *cl, uint32_t file, uint32_t unit, void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_SETATTR, file);

	req->valid = VOL_ATTR_SIZE;
	req->size = (uint64_t)unit * unit_bytes(cl);
	cl->next = after;
	world_trace(&cl->c->w, "client %u truncates file %u to unit %u", cl->id, file, unit);
	begin(cl, HIST_WRITE, unit, FILE_BYTES / unit_bytes(cl) - unit, 0, false);
	cl->c->hist.op[cl->op].cut = true;
	client_submit(cl, ended);
}

void client_punch(struct client *cl, uint32_t file, uint32_t unit, uint32_t units,
                  void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_FALLOCATE, file);

	req->flags = VOL_F_PUNCH | VOL_F_KEEP_SIZE;
	req->off = (uint64_t)unit * unit_bytes(cl);
	req->len = (uint64_t)units * unit_bytes(cl);
	cl->next = after;
	world_trace(&cl->c->w, "client %u punches units %u+%u of file %u", cl->id, unit, units, file);
	begin(cl, HIST_WRITE, unit, units, 0, false);
	client_submit(cl, ended);
}

static void stat_done(struct client *cl)
{
	if (cl->rc == 0)
		cl->c->hist.op[cl->op].value = cl->req.attr.size;
	ended(cl);
}

void client_stat(struct client *cl, uint32_t file, void (*after)(struct client *cl))
{
	fresh(cl, VOL_GETATTR, file);
	cl->next = after;
	begin(cl, HIST_STAT, 0, 0, 0, false);
	client_submit(cl, stat_done);
}

/* --- append: where it went is known afterwards, so its chunk carries no place --- */

static void append_done(struct client *cl)
{
	struct hist_op *op = &cl->c->hist.op[cl->op];

	if (cl->rc == 0) {
		op->unit = (uint32_t)(cl->req.out_off / CHUNK_BYTES);
		op->units = 1;
		if (cl->req.out_off % CHUNK_BYTES || op->unit >= FILE_BYTES / CHUNK_BYTES)
			world_fail(&cl->c->w, "P3: client %u appends at %" PRIu64, cl->id, cl->req.out_off);
	}
	ended(cl);
}

void client_append(struct client *cl, uint32_t file, bool sync, void (*after)(struct client *cl))
{
	struct vol_req *req = fresh(cl, VOL_WRITE, file);
	uint64_t value = ++cl->c->last_value;

	req->flags = VOL_F_APPEND | (sync ? VOL_F_DSYNC : 0);
	cl->data = iobuf_new_reserve(PAGE_BYTES);
	content_fill(cl->data->data, value, file, 0);
	req->data = (struct slice){cl->data, 0, CHUNK_BYTES};
	req->len = CHUNK_BYTES;
	cl->next = after;
	world_trace(&cl->c->w, "client %u appends %" PRIu64 " to file %u", cl->id, value, file);
	begin(cl, HIST_WRITE, 0, 0, value, sync);
	client_submit(cl, append_done);
}
