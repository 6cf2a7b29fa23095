/* Room for the catalog in the voter's file system, which others may fill (P8).
 *
 * What the catalog may grow by, and some for what deletes and housekeeping need on their way, is taken from
 * the file system in advance. When that gets short this voter is *full*, and tells the leader so with its
 * answers to term checks. The leader refuses what makes the catalog grow while too few voters are left
 * that are not full: NO_SPACE. All else goes on, from the reserve. A commit that has no space even so is
 * kept and tried again: until then nothing more is applied here, and the voter lags as if its disk were slow;
 * if it leads it hands over. There is room again when the file system says so, or when enough was deleted. */
#include "hint-server/quorum/hint_private.h"

#include "common/base/trace.h"

#define LOOK_EVERY NSEC_SEC
#define GROWTH_PARTS 4

bool room_stuck(const struct hint *h)
{
	return kv_commit_left(h->kv);
}

static void judge(struct hint *h)
{
	uint64_t used, total, reserve = h->config.reserve_bytes;
	bool full;

	kv_space(h->kv, &used, &total);
	used += h->batch_bytes + h->committing_bytes; /* it will be */
	full = room_stuck(h) || (h->room_short && MIN(kv_held(h->kv), total) < used + reserve);
	if (full != h->full)
		TRACE("hint.full full used held", full, used, kv_held(h->kv), 0);
	h->full = full;
	voter_choke(h->voter, room_stuck(h));
}

static int hold(struct kv *kv, void *arg)
{
	return kv_hold(kv, *(const uint64_t *)arg);
}

static void on_held(void *ctx, int rc)
{
	struct hint *h = ctx;

	h->room_short = rc < 0;
	judge(h);
	hint_wake(h, hint_now(h));
}

void room_committed(struct hint *h)
{
	uint64_t used, total;

	h->applied_durable = h->committing;
	h->committing_bytes = 0;
	kv_space(h->kv, &used, &total);
	if (kv_held(h->kv) < used + h->config.reserve_bytes)
		h->room_look = 0; /* it grew faster than one looks */
}

void room_applied(struct hint *h)
{
	if (h->room_short)
		judge(h);
}

void room_refused(struct hint *h)
{
	h->room_look = hint_now(h) + LOOK_EVERY;
	judge(h);
}

/* To one that has room, or at least is not stuck: raft alone would choose one that is. */
static void hand_over(struct hint *h)
{
	if (!h->leader || h->config.bugs & HINT_BUG_FULL_LEADS)
		return;
	for (unsigned most = ROOM_ENOUGH; most < ROOM_NONE; most++)
		for (unsigned i = 0; i < h->config.voters; i++)
			if (h->config.voter[i].vote && h->config.voter[i].id != h->config.server &&
			    h->voter_room[i] == most && hint_hears(h, i)) {
				voter_hand_over(h->voter, h->config.voter[i].id);
				return;
			}
}

nsec_t room_tick(struct hint *h, nsec_t now)
{
	uint64_t used, total;

	if (kv_committing(h->kv))
		return NSEC_NEVER; /* its end wakes us */
	if (now < h->room_look)
		return h->room_look;
	h->room_look = now + LOOK_EVERY;
	if (room_stuck(h)) {
		judge(h);
		hand_over(h);
		hint_commit_again(h);
		return h->room_look;
	}
	kv_space(h->kv, &used, &total);
	h->room_want = MIN(used + 2 * h->config.reserve_bytes, total);
	if (kv_held(h->kv) < h->room_want && kv_task_start(h->kv, hold, &h->room_want, on_held, h) == 0)
		return NSEC_NEVER;
	h->room_short = h->room_want < used + h->config.reserve_bytes; /* the bound of its size */
	judge(h);
	return h->room_look;
}

void room_told(struct hint *h, const struct msg *m)
{
	for (unsigned i = 0; i < h->config.voters; i++)
		if (h->config.voter[i].id == m->src)
			h->voter_room[i] = MIN(m->term_check_reply.room, (uint8_t)ROOM_NONE);
}

enum room room_of(const struct hint *h)
{
	return room_stuck(h) ? ROOM_NONE : h->full ? ROOM_RESERVE : ROOM_ENOUGH;
}

bool room_full(const struct hint *h, unsigned i)
{
	return h->config.voter[i].id == h->config.server ? h->full : h->voter_room[i] != ROOM_ENOUGH;
}

bool room_grows(const struct msg *op)
{
	return op->type == MSG_TYPE_op_create || op->type == MSG_TYPE_op_link ||
	       (op->type == MSG_TYPE_op_setxattr && op->op_setxattr.flags != XATTR_FLAG_REMOVE);
}

/* Too few voters that could take it are left; and not because they are away. */
bool room_refuses(const struct hint *h, const struct msg *op)
{
	unsigned votes = 0, fit = 0, full = 0;

	if (h->config.bugs & HINT_BUG_FULL_UNHEARD)
		return false;
	for (unsigned i = 0; i < h->config.voters; i++) {
		if (!h->config.voter[i].vote)
			continue;
		votes++;
		if (room_full(h, i))
			full++;
		else
			fit += hint_hears(h, i);
	}
	return full > 0 && fit < votes / 2 + 1 && room_grows(op);
}

/* What others applied is known late. So what is decided and not committed here, and may grow their catalogs
 * as well as this one, is kept well below the reserve. */
bool room_waits(const struct hint *h, const struct msg *op)
{
	return room_grows(op) && h->growing_bytes + h->batch_bytes >= h->config.reserve_bytes / GROWTH_PARTS;
}
