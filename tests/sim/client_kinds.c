/* What each kind of client does next. */

#include "tests/sim/client.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/sim/content.h"

#define DATA_FILES 3u          /* of the history's files; then comes the one for appends */
#define APPENDS_MAX 300u
#define HOT_PAGES 6u

static uint64_t draw(struct client *cl, uint64_t below)
{
	return random_below(&cl->c->w.stream[STREAM_CLIENT], below);
}

void client_rest(struct client *cl)
{
	nsec_t think = cl->c->shape.think;
	nsec_t pause = draw(cl, 4) ? world_between(&cl->c->w, STREAM_CLIENT, 0, think / 4)
	                           : world_between(&cl->c->w, STREAM_CLIENT, 0, 3 * think);

	client_wake(cl, cl->errors ? pause + 20 * NSEC_MSEC : pause);
}

static struct vol_req *fresh(struct client *cl, enum vol_op op, uint64_t ino)
{
	memset(&cl->req, 0, sizeof(cl->req));
	cl->req.op = op;
	cl->req.ino = ino;
	return &cl->req;
}

static struct span name_span(struct client *cl, unsigned i, const char *text)
{
	snprintf(cl->name[i], sizeof(cl->name[i]), "%s", text);
	return (struct span){(const uint8_t *)cl->name[i], (uint32_t)strlen(cl->name[i])};
}

/* --- data --- */

static void data_done(struct client *cl)
{
	if (cl->rc == 0)
		cl->errors = 0;
	else
		client_failed(cl, "data operation");
	client_rest(cl);
}

/* After an error the handle may be lost: only a new one works. */
static bool needs_handle(struct client *cl, uint32_t file)
{
	if (cl->errors && cl->handle[file]) {
		client_close(cl, file, data_done);
		return true;
	}
	if (!cl->handle[file]) {
		client_open(cl, file, data_done);
		return true;
	}
	return false;
}

/* Few places, at block borders too, so that clients meet. */
static void draw_range(struct client *cl, uint32_t file, uint32_t *unit, uint32_t *units)
{
	static const uint32_t hot[HOT_PAGES] = {0, 1, 14, 15, 17, 31};
	uint32_t bytes = cl->c->hist.file[file].unit_bytes, per_page = PAGE_BYTES / bytes;

	*unit = hot[draw(cl, HOT_PAGES)] * per_page;
	if (per_page > 1) {
		*unit += (uint32_t)draw(cl, per_page);
		*units = 1 + (uint32_t)draw(cl, 6);
		return;
	}
	*units = 1 + (uint32_t)draw(cl, 3);
	if (draw(cl, 12) == 0) { /* a whole block: goes to new space */
		*unit = (uint32_t)draw(cl, 2) * 16;
		*units = 16;
	}
}

void client_step_data(struct client *cl)
{
	uint32_t file = (uint32_t)draw(cl, DATA_FILES), unit, units;
	uint64_t dice = draw(cl, 100);

	if (needs_handle(cl, file))
		return;
	draw_range(cl, file, &unit, &units);
	if (dice < 38)
		client_write(cl, file, unit, units, false, data_done);
	else if (dice < 46)
		client_write(cl, file, unit, units, true, data_done);
	else if (dice < 70)
		client_read(cl, file, unit, units, data_done);
	else if (dice < 74)
		client_stat(cl, file, data_done);
	else if (dice < 91)
		client_sync(cl, file, data_done);
	else if (dice < 94)
		client_truncate(cl, file, unit, data_done);
	else if (dice < 97)
		client_punch(cl, file, unit, units, data_done);
	else
		client_close(cl, file, data_done);
}

/* --- appends --- */

void client_step_append(struct client *cl)
{
	uint32_t file = DATA_FILES;
	uint64_t dice = draw(cl, 100);

	if (needs_handle(cl, file))
		return;
	if (dice < 60 && cl->c->appends < APPENDS_MAX) {
		cl->c->appends++;
		client_append(cl, file, dice < 15, data_done);
	} else if (dice < 80) {
		client_sync(cl, file, data_done);
	} else if (dice < 90) {
		client_stat(cl, file, data_done);
	} else {
		client_read(cl, file, (uint32_t)draw(cl, cl->c->appends + 1), 4, data_done);
	}
}

/* --- locks: who was granted the lock last holds it; nobody else gets anything done under it --- */

static void lock_failed(struct client *cl)
{
	cl->locked = false;
	if (cl->rc != -EAGAIN && cl->rc != -EDEADLK)
		client_failed(cl, "lock");
	client_rest(cl);
}

static void unlocked(struct client *cl)
{
	cl->locked = false;
	if (cl->rc < 0)
		client_failed(cl, "unlock");
	client_rest(cl);
}

static void worked(struct client *cl)
{
	struct cluster *c = cl->c;

	if (cl->rc == 0 && c->lock_owner != cl->id && cl->begun_stamp >= c->lock_granted)
		world_fail(&c->w, "P3: client %u on %u works under a lock that client %u was granted",
		           cl->id, cl->n->id, c->lock_owner);
	if (cl->rc < 0 && cl->rc != -ENOSPC) /* the lock may be there still: it is given back as ever */
		client_failed(cl, "work under the lock");
	client_rest(cl);
}

static void locked(struct client *cl)
{
	if (cl->rc < 0) {
		lock_failed(cl);
		return;
	}
	cl->errors = 0;
	cl->locked = true;
	cl->c->lock_owner = cl->id;
	cl->c->lock_granted = history_stamp(&cl->c->hist);
	client_rest(cl);
}

void client_step_lock(struct client *cl)
{
	if (!cl->locked && needs_handle(cl, 0))
		return;
	if (!cl->locked) {
		client_lock(cl, 0, F_WRLCK, draw(cl, 2) && !cl->c->quiet, locked);
	} else if (cl->c->quiet || draw(cl, 3) == 0) {
		client_lock(cl, 0, F_UNLCK, false, unlocked);
	} else if (draw(cl, 2)) {
		client_read(cl, 0, 0, 1, worked);
	} else {
		client_write(cl, 0, 0, 1, false, worked);
	}
}

/* --- the maker: files first, then the directory for names --- */

void client_made(struct client *cl, uint32_t file, struct hist_file *f)
{
	f->ino = cl->req.attr.ino;
	f->site[0] = cl->req.attr.site0;
	f->site[1] = cl->req.attr.site1;
	f->site[2] = cl->req.attr.site2;
	f->append = file == DATA_FILES;
	f->unit_bytes = file == 0 || f->append ? CHUNK_BYTES : PAGE_BYTES;
	cl->handle[file] = cl->req.out_handle;
	cl->opened[file] = cl->begun_stamp;
}

static void made(struct client *cl)
{
	struct cluster *c = cl->c;
	struct hist_file *f = &c->hist.file[cl->step];

	if (cl->rc < 0) {
		world_fail(&c->w, "client %u cannot make file %u: %d", cl->id, cl->step, cl->rc);
		return;
	}
	if (cl->step > DATA_FILES) {
		c->dir = cl->req.attr.ino;
		cl->finished = true;
		return;
	}
	client_made(cl, cl->step, f);
	c->hist.files = MAX(c->hist.files, cl->step + 1);
	cl->file = cl->step++;
	client_close(cl, cl->file, client_make);
}

void client_make(struct client *cl)
{
	char name[4] = "dir";
	struct vol_req *req = fresh(cl, VOL_CREATE, FILE_ROOT);

	if (cl->step <= DATA_FILES)
		snprintf(name, sizeof(name), "f%u", cl->step % 10);
	req->name = name_span(cl, 0, name);
	req->flags = VOL_F_EXCL;
	req->mode = cl->step > DATA_FILES ? S_IFDIR | 0755 : S_IFREG | 0644;
	client_submit(cl, made);
}

/* --- the verifier: every file block by block, then every name --- */

#define VERIFY_STEPS ((FILE_BYTES >> FILE_BLOCK_SHIFT) + 1) /* the last one is its size */

static void verified(struct client *cl)
{
	if (cl->rc < 0) {
		client_failed(cl, "reading everything");
	} else {
		cl->errors = 0;
		cl->step++;
	}
	client_rest(cl);
}

static void verify_opened(struct client *cl)
{
	if (cl->rc < 0)
		client_failed(cl, "open");
	else
		cl->errors = 0;
	client_rest(cl);
}

static void name_verified(struct client *cl)
{
	if (cl->rc == 0 || cl->rc == -ENOENT)
		cl->step++;
	client_rest(cl);
}

void client_step_verify(struct client *cl)
{
	uint32_t file = cl->step / VERIFY_STEPS, block = cl->step % VERIFY_STEPS;
	uint32_t units;

	if (file >= cl->c->hist.files) {
		unsigned name = cl->step - cl->c->hist.files * VERIFY_STEPS;

		cl->finished = name == CLIENT_NAMES_N;
		if (!cl->finished)
			client_name(cl, NAME_LOOKUP, name, 0, name_verified);
		return;
	}
	if (cl->c->hist.file[file].gone) {
		cl->step++;
		client_wake(cl, 0);
		return;
	}
	if (cl->errors && cl->handle[file]) {
		client_close(cl, file, verify_opened);
		return;
	}
	if (!cl->handle[file]) {
		client_open(cl, file, verify_opened);
		return;
	}
	if (block == VERIFY_STEPS - 1) {
		client_stat(cl, file, verified);
		return;
	}
	units = (1u << FILE_BLOCK_SHIFT) / cl->c->hist.file[file].unit_bytes;
	client_read(cl, file, block * units, units, verified);
}

/* --- who goes on: every mount can write again --- */

static void went_on(struct client *cl)
{
	if (cl->rc < 0) {
		client_failed(cl, "write after all is well again");
	} else {
		cl->errors = 0;
		cl->step++;
	}
	client_rest(cl);
}

void client_step_go_on(struct client *cl)
{
	cl->finished = cl->step == DATA_FILES;
	if (cl->finished)
		return;
	if (!needs_handle(cl, cl->step))
		client_write(cl, cl->step, 0, 1, true, went_on);
}
