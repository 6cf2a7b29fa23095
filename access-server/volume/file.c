/* The table of inodes known here: their attributes, who may run on them, when they can go.
 *
 * Invariants:
 * - a file stays while the kernel knows it, or it has handles, a lease, records, waiting requests,
 *   locks or a change of lease under way;
 * - under PHASE_IDLE and PHASE_ASK requests run as far as file.lease allows, checked against the
 *   clock each time; in every other phase they wait, except as file_admits() says. */
#include "access-server/volume/parts.h"

struct file *file_find(struct volume *v, uint64_t ino)
{
	struct file *f;

	HASH_FIND(hh, v->files, &ino, sizeof(ino), f);
	return f;
}

static void on_attr_timer(struct volume *v UNUSED, struct vol_timer *t)
{
	struct file *f = container_of(t, struct file, attr_timer);

	if (f->lease == LEASE_EXCLUSIVE && (f->size_dirty || f->times_dirty))
		attr_write(f);
}

struct file *file_get(struct volume *v, uint64_t ino)
{
	struct file *f = file_find(v, ino);

	if (f)
		return f;
	f = mem_new(sizeof(*f));
	f->v = v;
	f->ino = ino;
	f->trim_from = UINT64_MAX;
	f->attr_timer.fire = on_attr_timer;
	lease_init(f);
	repair_init(f);
	stale_init(&f->stale);
	HASH_ADD(hh, v->files, ino, sizeof(ino), f);
	return f;
}

void file_destroy(struct file *f)
{
	struct volume *v = f->v;

	while (f->handles)
		handle_close(v, f->handles);
	reads_abort(f);
	scans_abort(f);
	learns_cancel(f);
	recovery_abort(f);
	repair_stop(f);
	fill_stop(f);
	lease_fini(f);
	writer_drop(f);
	blocks_drop(f);
	file_lru_remove(f);
	timer_stop(v, &f->attr_timer);
	names_file_free(f);
	locks_file_free(f);
	stale_fini(&f->stale);
	mem_free(f->behind);
	mem_free(f->refused);
	lost_forget(f);
	HASH_DEL(v->files, f);
	mem_free(f);
}

/* Looked at again when the entry point ends: callers may still hold f. */
void file_put_if_unused(struct file *f)
{
	if (f->reap || !f->forgotten)
		return;
	f->reap = true;
	f->reap_next = f->v->reap;
	f->v->reap = f;
}

bool file_idle(const struct file *f)
{
	return !f->waiting && !f->flushing && !f->active && !f->reads && !f->scans &&
	       !f->scan_ops && !f->records && f->phase == PHASE_IDLE && !f->recovery && !f->asks_n;
}

void reap(struct volume *v)
{
	while (v->reap) {
		struct file *f = v->reap;

		v->reap = f->reap_next;
		f->reap = false;
		if (!f->forgotten || f->handles || !file_idle(f) || locks_held(f) || f == v->repairing)
			continue;
		if (f->lease == LEASE_EXCLUSIVE || f->size_dirty || f->times_dirty)
			continue; /* the bound on idle leases gives it back in time */
		file_destroy(f);
	}
}

/* Others may have it open, and read what no replica has yet: the lease is given back as to any of them.
 * Only when the file turns out to be deleted is anything dropped. */
bool file_give_up_orphan(struct file *f)
{
	if (f->handles || f->waiting || f->active)
		return false;
	f->gone = true;
	if (f->lease == LEASE_EXCLUSIVE)
		give_back(f, LEASE_NONE);
	file_put_if_unused(f);
	return true;
}

/* The catalog has it no more, and nobody here could ask for it. */
void file_deleted(struct file *f)
{
	f->gone = true;
	if (f->handles)
		return;
	writer_drop(f);
	lease_none(f);
}

/* --- attributes --- */

/* A map without servers in the file's sites is none: requests wait, rather than go to nobody. */
void file_set_map(struct file *f, struct map *map)
{
	server_id_t server[REPLICAS];

	if (map && map_place(map, f->site, f->ino, 0, server) < 0) {
		vol_log(f->v, "volume.placement",
			"file=%" PRIu64 " sites=%u,%u,%u: map %" PRIu64 " has no core server there", f->ino,
			f->site[0], f->site[1], f->site[2], map->version);
		map = NULL;
	}
	f->map = map;
}

void file_set_placement(struct file *f)
{
	f->site[0] = f->attr.site0;
	f->site[1] = f->attr.site1;
	f->site[2] = f->attr.site2;
	f->moved[0] = f->attr.moved0;
	f->moved[1] = f->attr.moved1;
	f->moved[2] = f->attr.moved2;
	if (file_regular(f))
		file_set_map(f, maps_get(f->v, f->attr.map));
}

/* What a file is and the size of its blocks are for ever, and blocks are held by them. */
static bool same_kind(const struct file *f, const struct msg_r_inode *r)
{
	if (f->attr.mode == 0)
		return true;
	if (((f->attr.mode ^ r->mode) & 0170000) == 0 && f->attr.block_shift == r->block_shift)
		return true;
	vol_log(f->v, "volume.answer",
		"file=%" PRIu64 " mode=%o shift=%u: the catalog now says mode=%o shift=%u, ignored",
		f->ino, f->attr.mode, f->attr.block_shift, r->mode, r->block_shift);
	return false;
}

/* It is by an earlier placement than the one known. */
static bool placed_before(const struct msg_r_inode *r, const struct msg_r_inode *known)
{
	uint32_t moves = MAX(r->moved0, MAX(r->moved1, r->moved2));

	return moves < MAX(known->moved0, MAX(known->moved1, known->moved2)) || r->map < known->map;
}

/* Where the replicas are is what the lease says, as long as there is one or something runs that began under
 * one; and answers overtake each other: the fewer moves one knows of, the older it is (trap A4). */
static bool placement_stays(const struct file *f, const struct msg_r_inode *r)
{
	if (!f->have_attr)
		return false;
	return f->lease != LEASE_NONE || (f->phase != PHASE_IDLE && f->phase != PHASE_ASK) || f->reads ||
	       f->scans || f->scan_ops || placed_before(r, &f->attr);
}

static void take_attr(struct file *f, const struct msg_r_inode *r)
{
	struct msg_r_inode old = f->attr;
	bool stays = placement_stays(f, r);

	f->attr = *r;
	if (stays) {
		f->attr.map = old.map;
		f->attr.site0 = old.site0;
		f->attr.site1 = old.site1;
		f->attr.site2 = old.site2;
		f->attr.moved0 = old.moved0;
		f->attr.moved1 = old.moved1;
		f->attr.moved2 = old.moved2;
	}
	f->have_attr = true;
}

/* `change`: the answer to a change of our own, which no lease of ours keeps away. */
static struct file *take(struct volume *v, const struct msg_r_inode *r, bool late, bool change)
{
	struct file *f = file_get(v, r->ino);
	bool leases = session_shared_valid(v->session) || VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED);

	/* An older answer that was overtaken, by a change or by the one that brought the lease: what
	 * we have is newer, nobody changes it without recalling the lease. */
	if (f->meta && (late || (!change && !r->meta && leases)))
		return f;
	if (!same_kind(f, r))
		return f;
	take_attr(f, r);
	if (change)
		privs_known(f);
	else
		privs_heard(f);
	/* Under a lease nobody else changes size and times. */
	if (f->lease == LEASE_NONE && f->phase != PHASE_RELEASE) {
		f->size = r->size;
		f->pages = r->pages;
		f->atime = r->atime;
		f->mtime = r->mtime;
		f->ctime = r->ctime;
	}
	file_set_placement(f);
	/* Without validity the leader forgets again what it granted, and need not say so. */
	if (late || !leases)
		return f;
	if (r->meta)
		f->meta = true;
	if (r->lease == LEASE_SHARED && f->lease == LEASE_NONE && f->phase == PHASE_IDLE &&
	    file_regular(f) && !(r->state & (INODE_STALE | INODE_HELD)) && (r->state & INODE_CLEAN)) {
		f->epoch = r->epoch;
		lease_granted(f, LEASE_SHARED, false);
	}
	return f;
}

struct file *file_take_inode(struct volume *v, const struct msg_r_inode *r, uint64_t seq)
{
	return take(v, r, vol_recalled_since(v, r->ino, seq), false);
}

struct file *file_take_change(struct volume *v, const struct msg_r_inode *r, uint64_t seq)
{
	struct file *f = take(v, r, false, true);

	if (vol_recalled_since(v, r->ino, seq))
		f->meta = false;
	f->recall_seq = ++v->recall_seq;
	return f;
}

struct file *file_created_with_lease(struct volume *v, const struct msg_r_inode *r, uint64_t seq)
{
	struct msg_r_inode plain = *r;
	struct file *f;

	plain.lease = LEASE_NONE;
	f = file_take_change(v, &plain, seq);
	/* Somebody wanted it before this answer came: then it may have gone back already (recall.c). */
	if (r->lease != LEASE_EXCLUSIVE || f->lease != LEASE_NONE || f->phase != PHASE_IDLE ||
	    v->taken_seq > seq)
		return f;
	f->epoch = r->epoch;
	f->size = r->size;
	f->pages = 0;
	lease_granted(f, LEASE_EXCLUSIVE, true);
	return f;
}

void file_fill_attr(struct file *f, struct msg_r_inode *out)
{
	*out = f->attr;
	if (f->lease == LEASE_NONE || !file_regular(f))
		return;
	out->size = f->size;
	out->pages = f->pages;
	out->atime = f->atime;
	out->mtime = f->mtime;
	out->ctime = MAX(f->ctime, f->attr.ctime);
}

bool file_attr_cached(struct file *f)
{
	if (!f->have_attr || !f->meta)
		return false;
	if (!VOL_BUG(f->v, VOLUME_BUG_SERVES_LAPSED) && !session_shared_valid(f->v->session))
		return false;
	return !file_regular(f) || file_lease_good(f, LEASE_SHARED);
}

nsec_t file_attr_valid(struct file *f)
{
	nsec_t left = session_shared_until(f->v->session) - f->v->now;

	if (!file_attr_cached(f) || (f->phase != PHASE_IDLE && f->phase != PHASE_ASK) || f->recalled)
		return 0;
	left = MAX(MIN(left, ATTR_VALID_MAX), 0);
	f->kernel_may_cache = true;
	f->attr_until = MAX(f->attr_until, f->v->now + left);
	return left;
}

void file_complete_attr(struct file *f, struct vol_req *req, int rc)
{
	if (rc == 0) {
		file_fill_attr(f, &req->attr);
		req->attr_valid = file_attr_valid(f);
	}
	vol_complete(f->v, req, rc);
}

uint64_t vol_recall_seq(struct volume *v)
{
	return v->recall_seq;
}

bool vol_recalled_since(struct volume *v, uint64_t ino, uint64_t seq)
{
	struct file *f = file_find(v, ino);

	return (f && f->recall_seq > seq) || v->recall_unknown > seq;
}

/* --- admission --- */

bool file_lease_good(struct file *f, enum lease_mode mode)
{
	struct volume *v = f->v;

	if (f->lease < mode || f->lease == LEASE_NONE)
		return false;
	if (VOL_BUG(v, VOLUME_BUG_SERVES_LAPSED))
		return true;
	if (f->lease == LEASE_EXCLUSIVE)
		return session_valid(v->session);
	if (session_shared_valid(v->session))
		return true;
	lease_drop_shared(f);
	return false;
}

bool file_admits(struct file *f, const struct vol_req *req, enum need need)
{
	switch (f->phase) {
	case PHASE_IDLE:
	case PHASE_ASK:
		break;
	case PHASE_INVAL:
		/* The kernel's invalidation waits for pages that requests hold locked, so what reads
		 * and writes goes on. Attributes wait: without them read(2) waits before it locks. */
		if (need == NEED_NOTHING)
			return req->op == VOL_FSYNC || req->op == VOL_OPEN ||
			       (req->op == VOL_GETATTR && f->inval_pause);
		f->inval_dirty = true;
		break;
	case PHASE_DRAIN:
	case PHASE_SETTLE:
	case PHASE_RELEASE:
		return need == NEED_NOTHING && (req->op == VOL_FSYNC || req->op == VOL_OPEN);
	case PHASE_RECOVER:
	case PHASE_RECLAIM:
		return need == NEED_NOTHING && req->op == VOL_OPEN;
	}
	if (need == NEED_NOTHING)
		return true;
	if (!f->map)
		return false;
	return file_lease_good(f, need == NEED_SHARED ? LEASE_SHARED : LEASE_EXCLUSIVE);
}

/* One look at one waiting request. True: it does not wait any more. */
static bool run_one(struct file *f, struct vol_req *req)
{
	struct volume *v = f->v;
	enum need need;

	if (!vol_session_valid(v)) {
		req_push(&v->fenced, req);
		return true;
	}
	if (req->handle) {
		struct handle *h = handle_find(v, req->handle);

		if (!h || h->lost) {
			vol_complete(v, req, h ? -EIO : -EBADF);
			return true;
		}
	} else if (f->gone) {
		vol_complete(v, req, -ESTALE);
		return true;
	}
	if (!f->have_attr && req->op != VOL_GETATTR) {
		inode_ask(f, req, file_requeue);
		return true;
	}
	need = op_need(f, req);
	if (VOL_BUG(v, VOLUME_BUG_APPEND_EARLY) && (req->flags & VOL_F_APPEND) && !rs(req)->step++)
		req->off = f->size;
	return file_admits(f, req, need) && op_try(f, req);
}

static enum lease_mode lease_wanted(struct file *f)
{
	enum lease_mode want = LEASE_NONE;

	for (struct vol_req *req = f->waiting; req; req = rs(req)->next) {
		enum need need = f->have_attr ? op_need(f, req) : NEED_NOTHING;

		if (need == NEED_EXCLUSIVE)
			return LEASE_EXCLUSIVE;
		if (need == NEED_SHARED)
			want = LEASE_SHARED;
	}
	return want;
}

void file_run(struct file *f)
{
	enum lease_mode want;

	if (f->phase == PHASE_RECOVER && !f->recovery)
		recovery_start(f); /* it waited for the map */
	f->run_again = true;
	if (f->in_run)
		return;
	f->in_run = true;
	while (f->run_again) {
		struct vol_req *batch = NULL, *req;

		f->run_again = false;
		while ((req = req_pop(&f->waiting)))
			req_push(&batch, req);
		while ((req = req_pop(&batch)))
			if (!run_one(f, req))
				req_push(&f->waiting, req);
	}
	f->in_run = false;
	want = lease_wanted(f);
	if (want > f->lease && f->phase == PHASE_IDLE)
		lease_ask(f, want);
	recall_start(f);
}

void file_requeue(struct file *f, struct vol_req *req)
{
	if (rs(req)->flags & REQ_INTERRUPTED)
		vol_complete(f->v, req, -EINTR);
	else
		req_push_front(&f->waiting, req);
	f->run_again = true;
}

/* Ends what waits through lost handles. */
void file_waiting_fail(struct file *f)
{
	struct vol_req *req, *next;

	for (req = f->waiting; req; req = next) {
		struct handle *h = req->handle ? handle_find(f->v, req->handle) : NULL;

		next = rs(req)->next;
		if (h && h->lost) {
			req_remove(req);
			vol_complete(f->v, req, -EIO);
		}
	}
}

void file_progress(struct file *f)
{
	flush_check(f);
	writer_ungate(f);
	truncate_progress(f);
	holder_attr_progress(f);
	recall_step(f);
	f->v->sync_check = true;
	file_put_if_unused(f);
}

void file_active(struct file *f, int change)
{
	f->active = (unsigned)((int)f->active + change);
	if (change < 0)
		recall_step(f);
}

/* --- files held exclusively, by last use --- */

void file_touch(struct file *f)
{
	struct volume *v = f->v;

	if (f->in_lru)
		DL_DELETE2(v->held_lru, f, lru_prev, lru_next);
	else
		v->held++;
	f->in_lru = true;
	DL_APPEND2(v->held_lru, f, lru_prev, lru_next);
}

void file_lru_remove(struct file *f)
{
	if (!f->in_lru)
		return;
	f->in_lru = false;
	f->v->held--;
	DL_DELETE2(f->v->held_lru, f, lru_prev, lru_next);
}
