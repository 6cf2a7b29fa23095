/* What `distcloud` may ask a core server, by a verb, answered as JSON:
 *
 *   stats         counters: what every server has, what this one did, its space and scrub
 *   space         bytes: total, free, granted, reserve
 *   scrub         starts a full pass over the checksums
 *   scrub-report  how far it is, and the pages that wait for repair
 *   file          {"ino": N}: what this server holds of the file */
#include "core-server/core.h"

#define BAD_SHOWN_MAX 64
#define FILE_COUNT_MAX 1000000

static json_t *space_json(struct core *c)
{
	struct store_space s;
	json_t *o = json_object();

	store_get_space(c->store, &s);
	admin_put(o, "total", s.total);
	admin_put(o, "free", s.free);
	admin_put(o, "granted", s.granted);
	admin_put(o, "reserve", s.reserve);
	return o;
}

static json_t *scrub_json(struct core *c)
{
	struct replica_bad bad[BAD_SHOWN_MAX];
	struct replica_stats stats;
	unsigned n = replica_get_bad(c->replica, bad, BAD_SHOWN_MAX);
	json_t *o = json_object(), *list = json_array();

	replica_get_stats(c->replica, &stats);
	for (unsigned i = 0; i < MIN(n, (unsigned)BAD_SHOWN_MAX); i++) {
		json_t *b = json_object();

		admin_put(b, "ino", bad[i].file);
		admin_put(b, "block", bad[i].block);
		admin_put(b, "page", bad[i].page);
		json_array_append_new(list, b);
	}
	admin_put_bool(o, "running", replica_scrubbing(c->replica));
	admin_put(o, "blocks_scrubbed", stats.scrubbed);
	admin_put(o, "bad_pages_found", stats.bad_pages);
	admin_put(o, "repaired", stats.repaired);
	admin_put(o, "bad_pages_now", n);
	json_object_set_new(o, "bad", list);
	return o;
}

static json_t *replica_json(struct core *c)
{
	struct replica_stats s;
	json_t *o = json_object();

	replica_get_stats(c->replica, &s);
	admin_put(o, "writes", s.writes);
	admin_put(o, "reads", s.reads);
	admin_put(o, "installs", s.installs);
	admin_put(o, "seals", s.seals);
	admin_put(o, "refused", s.refused);
	admin_put(o, "malformed", s.malformed);
	admin_put(o, "files_deleted", s.files_deleted);
	return o;
}

void core_stats(struct server *s, json_t *o)
{
	struct core *c = (struct core *)s;

	json_object_set_new(o, "replica", replica_json(c));
	json_object_set_new(o, "space", space_json(c));
	json_object_set_new(o, "scrub", scrub_json(c));
	admin_put(o, "start", store_start_counter(c->store));
	admin_put(o, "journal", store_journal_position(c->store));
	admin_put(o, "damaged_blocks", store_damaged(c->store));
}

static json_t *file_json(struct core *c, const json_t *args)
{
	file_id_t file = (file_id_t)json_integer_value(json_object_get(args, "ino"));
	struct store_file rec;
	struct store_block b;
	uint64_t blocks = 0, holes = 0, pages = 0, block = 0;
	json_t *o = json_object();
	bool known = file != 0 && store_get_file(c->store, file, &rec);

	admin_put_bool(o, "known", known);
	if (!known)
		return o;
	admin_put(o, "seal", rec.seal);
	admin_put(o, "closed", rec.closed);
	admin_put(o, "map", rec.map);
	admin_put_bool(o, "complete", rec.complete);
	admin_put(o, "exceptions", rec.exceptions);
	for (uint64_t from = 0; blocks < FILE_COUNT_MAX; from = block + 1) {
		if (!store_next_block(c->store, file, from, &block, &b) || block == BLOCK_ATTR)
			break;
		blocks++;
		holes += b.holes;
		pages += b.pages;
	}
	admin_put(o, "blocks", blocks);
	admin_put(o, "holes", holes);
	admin_put(o, "bytes", pages * PAGE_BYTES);
	return o;
}

static json_t *run_space(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	return space_json(ctx);
}

static json_t *run_scrub(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	replica_scrub(((struct core *)ctx)->replica);
	return scrub_json(ctx);
}

static json_t *run_scrub_report(void *ctx, const json_t *args, enum status *status)
{
	(void)args, (void)status;
	return scrub_json(ctx);
}

static json_t *run_file(void *ctx, const json_t *args, enum status *status)
{
	(void)status;
	return file_json(ctx, args);
}

const struct admin_verb core_verbs[CORE_VERBS] = {
	{"stats", server_run_stats},
	{"space", run_space},
	{"scrub", run_scrub},
	{"scrub-report", run_scrub_report},
	{"file", run_file},
};
