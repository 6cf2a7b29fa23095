#include "hint-server/quorum/snapshot.h"

#include "common/base/mem.h"
#include "common/base/trace.h"

#define CHUNK (256u << 10)
#define WINDOW (4 * (uint64_t)CHUNK)
#define RESEND (500 * NSEC_MSEC)
#define IDLE_MAX (30 * NSEC_SEC)  /* an image nobody reads any more is dropped */
#define EXPORT_AGAIN (10 * NSEC_MSEC) /* a commit is under way */
#define EXPORT_FAILED (5 * NSEC_SEC)
#define TOTAL_MAX ((uint64_t)1 << 40)

struct transfer {
	server_id_t peer;      /* 0: unused */
	uint64_t term;
	uint64_t oldest;       /* an image below this index is of no use */
	uint64_t index;        /* of the image it is about; 0: waits for one */
	uint64_t acked, sent;
	nsec_t resend_at;
	nsec_t heard;
};

struct snapshots {
	struct env *env;
	const struct snapshots_ops *ops;
	void *ctx;
	char dir[256];
	struct image out;      /* one image serves all who lag */
	nsec_t out_used;
	bool exporting;        /* the image is being made: nobody reads or drops it */
	bool unwanted;         /* ... and shall be dropped when it is there */
	nsec_t export_at;      /* not tried again before */
	struct transfer transfer[VOTER_PEERS_MAX];
	struct image in;
	server_id_t in_from;
	uint64_t in_done;      /* bytes received in order */
	uint8_t chunk[CHUNK];
};

struct snapshots *snapshots_new(struct env *env, const char *dir, const struct snapshots_ops *ops,
                                void *ctx)
{
	struct snapshots *s = mem_new(sizeof(*s));

	CHECK(strlen(dir) < sizeof(s->dir));
	s->env = env;
	s->ops = ops;
	s->ctx = ctx;
	memcpy(s->dir, dir, strlen(dir) + 1);
	s->out.fd = s->in.fd = -1;
	return s;
}

void snapshots_free(struct snapshots *s)
{
	if (!s)
		return;
	image_drop(&s->out);
	image_drop(&s->in);
	mem_free(s);
}

void snapshots_stop(struct snapshots *s)
{
	memset(s->transfer, 0, sizeof(s->transfer));
	s->unwanted = s->exporting;
	if (!s->exporting)
		image_drop(&s->out);
}

/* --- sending --- */

static void send_window(struct snapshots *s, struct transfer *t)
{
	while (t->sent < s->out.total && t->sent < t->acked + WINDOW) {
		size_t len = (size_t)MIN(CHUNK, s->out.total - t->sent);
		struct msg m = {.type = MSG_TYPE_snapshot_chunk, .dst = t->peer};

		if (image_read(&s->out, t->sent, s->chunk, len)) {
			t->peer = 0;
			return;
		}
		m.snapshot_chunk = (struct msg_snapshot_chunk){
			.term = t->term, .index = s->out.index, .snapshot_term = s->out.term,
			.total = s->out.total, .off = t->sent, .bytes = {s->chunk, (uint32_t)len},
		};
		s->ops->send(s->ctx, &m);
		t->sent += len;
	}
	t->resend_at = s->env->now(s->env) + RESEND;
}

static struct transfer *transfer_of(struct snapshots *s, server_id_t peer)
{
	struct transfer *unused = NULL;

	for (unsigned i = 0; i < VOTER_PEERS_MAX; i++) {
		if (s->transfer[i].peer == peer)
			return &s->transfer[i];
		if (!s->transfer[i].peer && !unused)
			unused = &s->transfer[i];
	}
	return unused;
}

static bool serves(const struct snapshots *s, const struct transfer *t)
{
	return !s->exporting && s->out.total && s->out.index >= t->oldest;
}

static void begin_sending(struct snapshots *s, struct transfer *t)
{
	t->index = s->out.index;
	t->acked = t->sent = 0;
	t->heard = s->out_used = s->env->now(s->env);
	send_window(s, t);
}

/* Whoever is in the middle of the present image begins again with the next. */
static void begin_export(struct snapshots *s)
{
	for (unsigned i = 0; i < VOTER_PEERS_MAX; i++)
		s->transfer[i].index = 0;
	image_drop(&s->out);
	s->export_at = s->env->now(s->env) + EXPORT_AGAIN;
	s->exporting = true;
	if (s->ops->export(s->ctx, &s->out))
		s->exporting = false;
}

void snapshots_exported(struct snapshots *s, int rc)
{
	bool drop = rc || s->unwanted;

	s->exporting = s->unwanted = false;
	if (drop) {
		s->export_at = s->env->now(s->env) + (rc ? EXPORT_FAILED : 0);
		image_drop(&s->out);
		return;
	}
	TRACE("snapshot.export index term total", s->out.index, s->out.term, s->out.total, 0);
	for (unsigned i = 0; i < VOTER_PEERS_MAX; i++)
		if (s->transfer[i].peer && serves(s, &s->transfer[i]))
			begin_sending(s, &s->transfer[i]);
}

void snapshots_start(struct snapshots *s, server_id_t peer, uint64_t term, uint64_t oldest)
{
	struct transfer *t = transfer_of(s, peer);

	if (!t || (t->peer && t->term == term && t->oldest >= oldest))
		return;
	if (t->peer && t->term == term && t->index >= oldest) {
		t->oldest = oldest;
		return;
	}
	*t = (struct transfer){.peer = peer, .term = term, .oldest = oldest};
	if (serves(s, t))
		begin_sending(s, t);
	else if (!s->exporting)
		begin_export(s);
}

void snapshots_ack(struct snapshots *s, const struct msg *m)
{
	const struct msg_snapshot_ack *a = &m->snapshot_ack;
	struct transfer *t = transfer_of(s, m->src);

	if (!t || t->peer != m->src || !t->index || a->index != t->index || a->term != t->term ||
	    a->off > s->out.total)
		return;
	t->heard = s->out_used = s->env->now(s->env);
	if (a->off < t->acked) /* it starts again: it crashed */
		t->sent = a->off;
	t->acked = a->off;
	t->sent = MAX(t->sent, a->off);
	if (a->off == s->out.total)
		t->peer = 0; /* raft's own answer follows when it is installed */
	else
		send_window(s, t);
}

/* --- receiving --- */

static void acknowledge(struct snapshots *s, const struct msg *chunk)
{
	struct msg m = {.type = MSG_TYPE_snapshot_ack, .dst = chunk->src, .via = chunk->via};

	m.snapshot_ack.term = chunk->snapshot_chunk.term;
	m.snapshot_ack.index = chunk->snapshot_chunk.index;
	m.snapshot_ack.off = s->in_done;
	s->ops->send(s->ctx, &m);
}

static bool incoming_begin(struct snapshots *s, const struct msg *m)
{
	const struct msg_snapshot_chunk *c = &m->snapshot_chunk;

	if (s->in.total == c->total && s->in.index == c->index && s->in.term == c->snapshot_term &&
	    s->in_from == m->src)
		return true;
	image_drop(&s->in);
	s->in_done = 0;
	if (c->total == 0 || c->total > TOTAL_MAX || (!s->dir[0] && c->total > (1u << 30)))
		return false;
	if (image_create(&s->in, s->dir, "snapshot.in", c->total)) {
		image_drop(&s->in);
		return false;
	}
	s->in.index = c->index;
	s->in.term = c->snapshot_term;
	s->in_from = m->src;
	return true;
}

void snapshots_chunk(struct snapshots *s, const struct msg *m, bool wanted)
{
	const struct msg_snapshot_chunk *c = &m->snapshot_chunk;

	if (!wanted || !incoming_begin(s, m))
		return;
	if (c->off == s->in_done && s->in_done < c->total && c->bytes.len > 0) {
		if (image_write(&s->in, c->off, c->bytes.p, c->bytes.len)) {
			image_drop(&s->in);
			return;
		}
		s->in_done += c->bytes.len;
	}
	acknowledge(s, m);
	if (s->in_done == c->total)
		s->ops->received(s->ctx, m->src, c->term, c->index, c->snapshot_term);
}

struct image *snapshots_image(struct snapshots *s, uint64_t index, uint64_t term)
{
	bool complete = s->in.total && s->in_done == s->in.total;

	return complete && s->in.index == index && s->in.term == term ? &s->in : NULL;
}

nsec_t snapshots_tick(struct snapshots *s, nsec_t now)
{
	nsec_t next = NSEC_NEVER;
	bool used = false, waiting = false;

	for (unsigned i = 0; i < VOTER_PEERS_MAX; i++) {
		struct transfer *t = &s->transfer[i];

		if (!t->peer)
			continue;
		if (!t->index) {
			used = waiting = true;
			continue;
		}
		if (now - t->heard > IDLE_MAX) {
			t->peer = 0;
			continue;
		}
		used = true;
		if (now >= t->resend_at) {
			t->sent = t->acked;
			send_window(s, t);
		}
		next = MIN(next, t->resend_at);
	}
	if (waiting && !s->exporting && now >= s->export_at)
		begin_export(s);
	if (waiting && !s->exporting)
		next = MIN(next, MAX(s->export_at, now));
	if (!used && !s->exporting && s->out.total && now - s->out_used > IDLE_MAX)
		image_drop(&s->out);
	return next;
}
