/* Handover: giving a lease back because somebody else wants it (design section 5, traps A5, A11).
 *
 * 1. INVAL: the kernel drops its pages. Reads and writes go on meanwhile, since the kernel waits for
 *    pages that requests hold locked; if some did, it is told once more (a few times at most).
 * 2. DRAIN: new requests wait; what runs ends, or starts again under the next lease.
 * 3. SETTLE: everything is flushed, with the attribute record; then every record is on all three
 *    replicas, or the laggard has its stale bit.
 * 4. RELEASE: size, times and the stale map go to the catalog with the release, in one entry.
 *
 * A shared lease skips 3 and 4: recall_ack. A lease lasts one operation, or 200 ms. */
#include "access-server/volume/recovery.h"

#define LEAST (200 * NSEC_MSEC)
#define DRAIN_FOR (100 * NSEC_MSEC)
#define DRAIN_FIRST_FOR (500 * NSEC_MSEC) /* while nothing was served: else nobody ever is, far apart */
#define SETTLE_LOOK (310 * NSEC_MSEC)
#define RECOVERY_MAY_TAKE NSEC_SEC
#define REPAIR_MAY_TAKE NSEC_SEC
#define RECOVERY_DECIDED_MAY_TAKE (3 * NSEC_SEC)
#define INVAL_ROUNDS 3
#define INVAL_PAUSE NSEC_MSEC
#define AWAITED_LOOK (50 * NSEC_MSEC)

static void ack(struct file *f)
{
	vol_send_recall_ack(f->v, f->ino, RECALL_DATA, f->recall_to, f->recall_id);
	f->recalled = false;
}

static void inval_start(struct file *f)
{
	f->phase = PHASE_INVAL;
	f->inval_dirty = f->inval_pause = false;
	f->kernel_may_cache = true;
	lease_inval_kernel(f);
}

static void drain_start(struct file *f)
{
	f->phase = PHASE_DRAIN;
	timer_set(f->v, &f->lease_timer, f->v->now + (f->served ? DRAIN_FOR : DRAIN_FIRST_FOR));
	recall_step(f);
}

/* How long a lease is kept that served nothing yet. A write may need a replica to be made whole: others
 * who want the file gain nothing if it is given back before, they had the same to do. */
static nsec_t least(const struct file *f)
{
	if (space_waits(f) && f->repair)
		return REPAIR_MAY_TAKE;
	return f->waiting || room_waits(f) ? LEAST : 0;
}

void recall_start(struct file *f)
{
	struct volume *v = f->v;

	if (!f->recalled || f->phase != PHASE_IDLE || f->in_run)
		return;
	if (f->lease == LEASE_NONE || f->recall_to >= f->lease) {
		ack(f);
		return;
	}
	if (repair_turn(f)) {
		timer_set_sooner(v, &f->lease_timer, repair_turn(f));
		return;
	}
	if (!f->served && !f->repair_only && v->now < f->granted_at + least(f)) {
		timer_set_sooner(v, &f->lease_timer, f->granted_at + least(f));
		return;
	}
	if (attr_awaited(f, f->recalled_at)) {
		timer_set_sooner(v, &f->lease_timer, v->now + AWAITED_LOOK);
		return;
	}
	f->inval_rounds = 0;
	timer_stop(v, &f->lease_timer);
	/* Also when it is shared from now on: only dropping its pages has the kernel write those that
	 * were dirtied through a mapping. An invalidation under way did not end yet. */
	if (f->kernel_may_cache || f->inval_cookie)
		inval_start(f);
	else
		drain_start(f);
}

void recall_invalidated(struct volume *v, uint64_t cookie)
{
	struct file *f;

	HASH_FIND(hh_inval, v->invals, &cookie, sizeof(cookie), f);
	if (!f)
		return;
	lease_inval_forget(f);
	f->cache_suspect = false;
	if (f->phase == PHASE_ASK && f->recalled && f->lease == LEASE_SHARED) {
		/* Reads went on meanwhile. */
		if (f->kernel_may_cache && ++f->inval_rounds < INVAL_ROUNDS) {
			lease_inval_kernel(f);
			return;
		}
		f->cache_suspect = f->kernel_may_cache;
		f->lease = LEASE_NONE;
		ack(f);
	} else if (f->phase == PHASE_INVAL && f->inval_dirty && ++f->inval_rounds < INVAL_ROUNDS) {
		/* Who was served asks for attributes next: that is to be answered before (attr_asked.c). */
		f->inval_pause = true;
		timer_set(v, &f->lease_timer, v->now + INVAL_PAUSE);
		file_run(f);
	} else if (f->phase == PHASE_INVAL) {
		/* Somebody was too fast for us each time: the next open drops the pages. */
		f->cache_suspect = f->inval_dirty;
		drain_start(f);
	}
}

/* --- the release --- */

static void on_release(struct session_call *c, const struct msg *m)
{
	uint64_t seq;
	struct file *f = lease_call_end(c, &seq);
	enum lease_mode kept;
	struct stale_map stale;

	if (!f || !m)
		return; /* the session ended: op_reclaim finds out what became of it */
	if (m->r_status.status == STATUS_BUSY || m->r_status.status == STATUS_NOT_LEADER) {
		f->phase = PHASE_SETTLE;
		timer_set(f->v, &f->lease_timer, f->v->now + 50 * NSEC_MSEC);
		return;
	}
	if (m->r_status.status == STATUS_STALE)
		file_deleted(f);
	if (m->r_status.status != STATUS_OK) {
		if (f->lease != LEASE_NONE)
			lease_lost(f, "taken by another before it was given back", 0);
		else
			file_run(f);
		return;
	}
	kept = f->release_to;
	stale = f->stale;
	stale_init(&f->stale);
	f->attr.state = (uint8_t)(f->unclean ? 0 : INODE_CLEAN);
	f->attr.size = f->size;
	f->attr.pages = f->pages;
	f->attr.atime = f->atime;
	f->attr.mtime = f->mtime;
	f->attr.ctime = MAX(f->ctime, f->attr.ctime);
	lease_none(f);
	/* What is kept may have been recalled or voided before this answer came. */
	if (kept == LEASE_SHARED && session_shared_valid(f->v->session) &&
	    !vol_recalled_since(f->v, f->ino, seq)) {
		f->stale = stale;
		f->lease = LEASE_SHARED;
	} else {
		stale_fini(&stale);
	}
	if (f == f->v->repairing)
		repair_poll_next(f->v);
	file_run(f);
	file_put_if_unused(f);
}

/* Servers that count for nothing become stale bits of their site, if no other replica is stale
 * there; else the file stays unclean, and the next holder recovers. */
static void behind_to_stale(struct file *f)
{
	for (unsigned k = 0; k < f->behinds; k++) {
		const struct map_server *s = map_find_server(f->map, f->behind[k]);

		for (unsigned i = 0; s && i < REPLICAS; i++)
			if (f->site[i] == s->site && stale_set(&f->stale, 0, BLOCK_ATTR, i) < 0)
				f->unclean = true;
	}
}

/* How far the file's servers acknowledged to us: what the catalog did not hear of in their own
 * heartbeats a disk could forget unnoticed. The caller frees it. */
static struct span shown(struct file *f)
{
	unsigned servers = f->map ? f->map->servers : 0;
	server_id_t *id = mem_new_array(servers + 1, sizeof(*id));
	unsigned n = f->map ? file_servers(f, id, servers, -1) : 0;
	uint8_t *bytes = mem_new_array(n + 1, OP_SHOWN_BYTES), *p = bytes;

	for (unsigned k = 0; k < n; k++) {
		const struct peer *peer = peer_get(f->v, id[k]);

		if (!peer->journal)
			continue;
		put_u32le(p, id[k]);
		put_u64le(p + 4, peer->boot);
		put_u64le(p + 12, 0);
		put_u64le(p + 20, peer->journal);
		p += OP_SHOWN_BYTES;
	}
	mem_free(id);
	return (struct span){bytes, (uint32_t)(p - bytes)};
}

static void release_send(struct file *f)
{
	struct msg m = {.type = MSG_TYPE_op_release};
	size_t len;
	uint8_t *stale;

	behind_to_stale(f);
	/* Clearing bits within runs makes more of them. What cannot be told the next holder finds out. */
	if (!f->unclean && !stale_coarsen(&f->stale, STALE_RUNS_MAX))
		f->unclean = true;
	if (fill_release(f, &m.op_release) || f->unclean)
		f->recall_to = LEASE_NONE;
	f->phase = PHASE_RELEASE;
	f->release_to = f->recall_to;
	len = stale_encoded_bytes(&f->stale);
	stale = mem_new(len ? len : 1);
	stale_encode(&f->stale, stale);
	m.op_release.ino = f->ino;
	m.op_release.epoch = f->epoch;
	m.op_release.to = (uint8_t)f->recall_to;
	m.op_release.clean = !f->unclean;
	m.op_release.size = f->size;
	m.op_release.pages = f->pages;
	m.op_release.atime = f->atime;
	m.op_release.mtime = f->mtime;
	m.op_release.ctime = f->ctime;
	m.op_release.stale = (struct span){stale, (uint32_t)len};
	m.op_release.shown = shown(f);
	timer_stop(f->v, &f->lease_timer);
	lease_call(f, &m, on_release);
	mem_free(stale);
	mem_free((void *)m.op_release.shown.p);
}

static void settle_step(struct file *f)
{
	if (f->lease_call)
		return; /* the catalog is being told something: it comes back to this */
	if ((f->size_dirty || f->times_dirty) && !attr_write(f))
		return; /* its block's version is being learnt */
	if (VOL_BUG(f->v, VOLUME_BUG_NO_THIRD) && !f->unflushed)
		writer_drop(f);
	writer_push(f->v);
	if (f->records || (f->trim_from != UINT64_MAX && !f->recovery_waits))
		return;
	release_send(f);
}

/* Something ended: is it time for the next step? */
void recall_step(struct file *f)
{
	struct volume *v = f->v;

	if (f->phase == PHASE_DRAIN) {
		if ((f->reads || f->scan_ops) && v->now < f->lease_timer.due && f->lease_timer.slot)
			return;
		reads_abort(f);
		scans_abort(f);
		if (f->lease != LEASE_EXCLUSIVE) {
			f->phase = PHASE_IDLE;
			f->lease = LEASE_NONE;
			timer_stop(v, &f->lease_timer);
			ack(f);
			file_run(f);
			return;
		}
		repair_stop(f);
		f->phase = PHASE_SETTLE;
		repair_kick(f, 0); /* it looks whether the flush needs it */
		f->settle_since = v->now;
		timer_set(v, &f->lease_timer, v->now + SETTLE_LOOK);
	}
	if (f->phase == PHASE_SETTLE)
		settle_step(f);
}

void recall_timer(struct file *f)
{
	if (f->phase == PHASE_RECOVER) {
		/* One that has its seals is nearly done. If two who want the file each gave up so
		 * soon, on slow disks far apart, none would ever finish. */
		if (f->recovery && f->recovery->phase != REC_GATHER &&
		    f->v->now < f->granted_at + RECOVERY_DECIDED_MAY_TAKE)
			timer_set(f->v, &f->lease_timer, f->granted_at + RECOVERY_DECIDED_MAY_TAKE);
		else
			recovery_failed(f);
		return;
	}
	if (f->phase == PHASE_INVAL && f->inval_pause) {
		if (attr_awaited(f, f->recalled_at))
			timer_set(f->v, &f->lease_timer, f->v->now + INVAL_PAUSE);
		else
			inval_start(f);
		return;
	}
	if (f->phase == PHASE_SETTLE) {
		timer_set(f->v, &f->lease_timer, f->v->now + SETTLE_LOOK);
		repair_kick(f, 0);
		file_settle(f);
	}
	recall_step(f);
}

/* Nothing was served under this epoch; the next one recovers. */
void recovery_failed(struct file *f)
{
	recovery_abort(f);
	f->unclean = f->unserved = true;
	f->recalled = true;
	f->recall_to = LEASE_NONE;
	f->lease = LEASE_EXCLUSIVE;
	f->phase = PHASE_SETTLE;
	settle_step(f);
}

void give_back(struct file *f, enum lease_mode to)
{
	if (f->phase != PHASE_IDLE || f->lease == LEASE_NONE || f->recalled)
		return;
	f->recalled = f->served = true;
	f->recalled_at = f->v->now;
	f->recall_to = to;
	f->recall_id = 0;
	recall_start(f);
}

/* --- recalls --- */

/* The catalog says that we hold what we do not know of: a grant whose answer was lost, or was given to a late
 * copy of a question. Nobody else gets the file until it is given back, with the size, times and stale map that
 * it has there: the question brings them. Shared is asked for, since this recall may be a late copy itself. */
static void take_unknown(struct file *f)
{
	f->v->taken_seq = f->v->recall_seq;
	lease_ask(f, LEASE_SHARED);
	f->recalled = f->phase == PHASE_ASK;
}

/* The leader may want this answer before it grants what we ask for. If what it wants back is that very grant,
 * still on its way, on_lease() notices by its id. */
static void recall_while_asking(struct file *f)
{
	struct volume *v = f->v;

	if (f->lease == LEASE_SHARED && f->recall_to == LEASE_NONE) {
		if (f->inval_cookie)
			return; /* the leader repeats itself */
		if (f->kernel_may_cache && attr_awaited(f, f->recalled_at)) {
			timer_set_sooner(v, &f->lease_timer, v->now + AWAITED_LOOK);
			return;
		}
		if (f->kernel_may_cache) {
			f->inval_rounds = 0;
			lease_inval_kernel(f);
			return;
		}
		f->lease = LEASE_NONE;
	}
	vol_send_recall_ack(v, f->ino, RECALL_DATA, f->recall_to, f->recall_id);
	f->recalled = f->asked == LEASE_EXCLUSIVE;
}

void recall_ask_timer(struct file *f)
{
	if (f->recalled && f->lease == LEASE_SHARED && f->recall_to == LEASE_NONE)
		recall_while_asking(f);
}

static void recall_data(struct file *f, bool held, unsigned to, uint64_t id)
{
	struct volume *v = f->v;

	f->recall_to = to == LEASE_SHARED ? LEASE_SHARED : LEASE_NONE;
	f->recall_id = id;
	if (!f->recalled)
		f->recalled_at = v->now;
	switch (f->phase) {
	case PHASE_IDLE:
		if (held && f->lease != LEASE_EXCLUSIVE) {
			take_unknown(f);
			break;
		}
		f->recalled = true;
		recall_start(f);
		break;
	case PHASE_ASK:
		f->recalled = true;
		recall_while_asking(f);
		break;
	case PHASE_RECOVER:
		if (!f->recalled)
			timer_set(v, &f->lease_timer, v->now + RECOVERY_MAY_TAKE);
		f->recalled = true;
		break;
	case PHASE_INVAL:
	case PHASE_DRAIN:
	case PHASE_SETTLE:
	case PHASE_RELEASE:
	case PHASE_RECLAIM:
		break;
	}
}

void recall_arrived(struct volume *v, uint64_t ino, unsigned what, unsigned to, uint64_t id)
{
	struct file *f = file_find(v, ino);
	bool held = what & RECALL_HELD && !VOL_BUG(v, VOLUME_BUG_UNKNOWN_KEPT);

	v->recall_seq++;
	if (f)
		f->recall_seq = v->recall_seq;
	else
		v->recall_unknown = v->recall_seq;
	if (what & RECALL_DATA && f)
		f->recalled_id = MAX(f->recalled_id, id);
	else if (what & RECALL_DATA)
		v->unknown_id = MAX(v->unknown_id, id);
	if (!f && held) {
		f = file_get(v, ino);
		f->forgotten = true;
	}
	if (what == RECALL_META)
		names_recall_meta(v, ino, id);
	else if (f)
		recall_data(f, held, to, id);
	else
		vol_send_recall_ack(v, ino, what, to, id);
}
