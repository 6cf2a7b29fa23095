/* Entry points of the replica protocol: dispatch, what every request must pass, replies. */
#include "core-server/replica/internal.h"

struct replica *replica_new(struct env *env, struct store *store, const struct replica_config *c)
{
	struct replica *r = mem_new(sizeof(*r));

	r->env = env;
	r->store = store;
	r->config = *c;
	if (r->config.exceptions_max == 0)
		r->config.exceptions_max = EXCEPTIONS_MAX;
	r->scrub.due = NSEC_NEVER;
	doubt_load(r);
	return r;
}

static void free_changes(struct change *list)
{
	struct change *c, *next;

	DL_FOREACH_SAFE(list, c, next)
		mem_free(c);
}

void replica_free(struct replica *r)
{
	struct file_state *f, *next_f;
	struct block_state *b, *next_b;

	if (r == NULL)
		return;
	collect_stop(r);
	replica_reads_free(r);
	space_free(r);
	HASH_ITER(hh, r->files, f, next_f) {
		HASH_ITER(hh, f->blocks, b, next_b) {
			free_changes(b->changes);
			HASH_DELETE(hh, f->blocks, b);
			mem_free(b);
		}
		free_changes(f->changes);
		f->busy = 0;
		file_free(r, f);
	}
	mem_free(r);
}

void replica_set_catalog(struct replica *r, struct session *s)
{
	collect_stop(r);
	r->catalog = s;
}

void replica_set_session(struct replica *r, nsec_t valid_until, uint64_t complete_from)
{
	r->valid_until = valid_until;
	if (complete_from > r->complete_from || (!r->complete_from_known && valid_until > 0))
		doubt_start(r, complete_from);
}

uint64_t replica_shown_start(const struct replica *r)
{
	return r->joined ? store_start_counter(r->store) : 1;
}

bool replica_fenced(const struct replica *r)
{
	return r->env->now(r->env) >= r->valid_until;
}

bool replica_disk_failed(const struct replica *r)
{
	return r->disk_failed;
}

void replica_reply(struct replica *r, struct origin to, struct msg *m)
{
	m->src = r->config.server;
	m->dst = to.peer;
	m->via = to.via;
	m->id = to.id;
	if (r->env->send(r->env, m) != 0)
		TRACE("reply.lost type peer id", m->type, to.peer, to.id, 0);
}

enum status replica_refuse(struct replica *r, enum status s)
{
	r->stats.refused++;
	if (s == STATUS_INVALID)
		r->stats.malformed++;
	return s;
}

enum status replica_disk_status(struct replica *r, int result)
{
	switch (result) {
	case 0:
		return STATUS_OK;
	case -ENOSPC:
		return STATUS_NO_SPACE;
	case ERR_CORRUPT:
		return STATUS_BAD_PAGE;
	case -ECANCELED: /* a change of the block before this one failed */
		return STATUS_GAP;
	case -EINVAL: /* the block is known with another size, for example */
		return STATUS_INVALID;
	case -ENOMEM: /* of the buffer budget */
		return STATUS_BUSY;
	default:
		r->disk_failed = true;
		return STATUS_DISK;
	}
}

enum status replica_admit(struct replica *r, file_id_t file, uint64_t map, uint64_t epoch,
                          bool serves_fenced, struct file_state **out)
{
	struct file_state *f;
	enum status s;

	*out = NULL;
	if (r->disk_failed)
		return STATUS_DISK;
	if (replica_fenced(r) && !serves_fenced && !replica_has_bug(r, REPLICA_BUG_WRITES_FENCED))
		return STATUS_FENCED;
	f = file_get(r, file);
	if (f == NULL)
		return STATUS_BUSY;
	if (f->gone)
		return STATUS_STALE;
	if (f->leaving)
		return STATUS_BUSY;
	if (f->rec.map != 0 && f->rec.map != map && !placement_later(f->rec.map, map))
		return STATUS_WRONG_MAP;
	if (epoch < f->rec.seal)
		return STATUS_SEALED;
	s = file_take_placement(r, f, map);
	if (s == STATUS_OK)
		*out = f;
	return s;
}

void replica_recv(struct replica *r, const struct msg *m)
{
	static void (*const handler[MSG_TYPE_MAX])(struct replica *, const struct msg *) = {
		[MSG_TYPE_write] = replica_write,
		[MSG_TYPE_read] = replica_read,
		[MSG_TYPE_seal] = replica_seal,
		[MSG_TYPE_list] = replica_list,
		[MSG_TYPE_install] = replica_install,
		[MSG_TYPE_close] = replica_close,
		[MSG_TYPE_space] = replica_space,
		[MSG_TYPE_forget] = replica_forget,
	};

	if ((unsigned)m->type >= MSG_TYPE_MAX || handler[m->type] == NULL) {
		r->stats.malformed++;
		return;
	}
	if (m->type < MSG_TYPE_space)
		scrub_note_asker(r, m->src);
	handler[m->type](r, m);
}

nsec_t replica_tick(struct replica *r, nsec_t now)
{
	nsec_t due = replica_reads_tick(r, now);

	due = MIN(due, space_tick(r, now));
	due = MIN(due, doubt_tick(r, now));
	due = MIN(due, collect_tick(r, now));
	due = MIN(due, scrub_tick(r, now));
	return due;
}

void replica_get_stats(const struct replica *r, struct replica_stats *out)
{
	*out = r->stats;
}
