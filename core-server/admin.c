/* What `distcloud` may ask a core server, by a verb, answered as JSON:
 *
 *   status        everything below, the session and the counters
 *   space         bytes: total, free, granted, reserve
 *   scrub         starts a full pass over the checksums
 *   scrub-report  how far it is, and the pages that wait for repair
 *   file          {"ino": N}: what this server holds of the file */
#include "core-server/core.h"

#include <jansson.h>
#include <stdlib.h>

#define BAD_SHOWN_MAX 64
#define FILE_COUNT_MAX 1000000

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *space_json(struct core *c)
{
	struct store_space s;
	json_t *o = json_object();

	store_get_space(c->store, &s);
	json_object_set_new(o, "total", number(s.total));
	json_object_set_new(o, "free", number(s.free));
	json_object_set_new(o, "granted", number(s.granted));
	json_object_set_new(o, "reserve", number(s.reserve));
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

		json_object_set_new(b, "ino", number(bad[i].file));
		json_object_set_new(b, "block", number(bad[i].block));
		json_object_set_new(b, "page", number(bad[i].page));
		json_array_append_new(list, b);
	}
	json_object_set_new(o, "running", json_boolean(replica_scrubbing(c->replica)));
	json_object_set_new(o, "blocks_scrubbed", number(stats.scrubbed));
	json_object_set_new(o, "bad_pages_found", number(stats.bad_pages));
	json_object_set_new(o, "repaired", number(stats.repaired));
	json_object_set_new(o, "bad_pages_now", number(n));
	json_object_set_new(o, "bad", list);
	return o;
}

static json_t *counters_json(struct core *c)
{
	struct replica_stats s;
	struct net_stats net;
	json_t *o = json_object();

	replica_get_stats(c->replica, &s);
	net_get_stats(c->net, &net);
	json_object_set_new(o, "writes", number(s.writes));
	json_object_set_new(o, "reads", number(s.reads));
	json_object_set_new(o, "installs", number(s.installs));
	json_object_set_new(o, "seals", number(s.seals));
	json_object_set_new(o, "refused", number(s.refused));
	json_object_set_new(o, "malformed", number(s.malformed));
	json_object_set_new(o, "files_deleted", number(s.files_deleted));
	json_object_set_new(o, "bytes_in", number(net.bytes_in));
	json_object_set_new(o, "bytes_out", number(net.bytes_out));
	json_object_set_new(o, "bad_frames", number(net.bad_frames));
	return o;
}

static json_t *status_json(struct core *c)
{
	json_t *o = json_object();

	json_object_set_new(o, "server", number(c->config.id));
	json_object_set_new(o, "kind", json_string("core"));
	json_object_set_new(o, "version", json_string(DC_VERSION));
	json_object_set_new(o, "site", json_string(config_site_name(&c->config, c->config.own_site)));
	json_object_set_new(o, "address", json_string(c->config.listen));
	json_object_set_new(o, "session", number(session_id(c->session)));
	json_object_set_new(o, "serving", json_boolean(session_valid(c->session)));
	json_object_set_new(o, "start", number(store_start_counter(c->store)));
	json_object_set_new(o, "journal", number(store_journal_position(c->store)));
	json_object_set_new(o, "damaged_blocks", number(store_damaged(c->store)));
	json_object_set_new(o, "space", space_json(c));
	json_object_set_new(o, "scrub", scrub_json(c));
	json_object_set_new(o, "counters", counters_json(c));
	return o;
}

static json_t *start_scrub(struct core *c)
{
	replica_scrub(c->replica);
	return scrub_json(c);
}

static json_t *file_json(struct core *c, const json_t *args)
{
	file_id_t file = (file_id_t)json_integer_value(json_object_get(args, "ino"));
	struct store_file rec;
	struct store_block b;
	uint64_t blocks = 0, holes = 0, pages = 0, block = 0;
	json_t *o = json_object();
	bool known = file != 0 && store_get_file(c->store, file, &rec);

	json_object_set_new(o, "known", json_boolean(known));
	if (!known)
		return o;
	json_object_set_new(o, "seal", number(rec.seal));
	json_object_set_new(o, "closed", number(rec.closed));
	json_object_set_new(o, "map", number(rec.map));
	json_object_set_new(o, "complete", json_boolean(rec.complete));
	json_object_set_new(o, "exceptions", number(rec.exceptions));
	for (uint64_t from = 0; blocks < FILE_COUNT_MAX; from = block + 1) {
		if (!store_next_block(c->store, file, from, &block, &b) || block == BLOCK_ATTR)
			break;
		blocks++;
		holes += b.holes;
		pages += b.pages;
	}
	json_object_set_new(o, "blocks", number(blocks));
	json_object_set_new(o, "holes", number(holes));
	json_object_set_new(o, "bytes", number(pages * PAGE_BYTES));
	return o;
}

static bool is(struct span verb, const char *name)
{
	return verb.len == strlen(name) && memcmp(verb.p, name, verb.len) == 0;
}

char *core_admin(struct core *c, struct span verb, struct span args, enum status *status)
{
	json_t *in = args.len > 0 ? json_loadb((const char *)args.p, args.len, 0, NULL) : NULL;
	json_t *out;
	char *text;

	if (is(verb, "status")) {
		out = status_json(c);
	} else if (is(verb, "space")) {
		out = space_json(c);
	} else if (is(verb, "scrub")) {
		out = start_scrub(c);
	} else if (is(verb, "scrub-report")) {
		out = scrub_json(c);
	} else if (is(verb, "file")) {
		out = file_json(c, in);
	} else {
		*status = STATUS_INVALID;
		out = json_pack("{s:s}", "error", "a core server knows the verbs status, space, scrub, "
		                "scrub-report and file");
	}
	text = json_dumps(out, JSON_COMPACT);
	CHECK(text != NULL);
	json_decref(out);
	json_decref(in);
	return text;
}
