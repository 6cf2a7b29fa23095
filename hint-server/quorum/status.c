/* What `distcloud status` and `distcloud file show` print, as JSON. Complete only on the leader. */
#include "common/base/mem.h"
#include "hint-server/catalog/path.h"
#include "hint-server/quorum/hint_private.h"

#include <stdio.h>
#include <sys/stat.h>

#define HEARD_WITHIN (1500 * NSEC_MSEC)
#define FILES_COUNTED_MAX 100000u
#define STALE_RUNS_SHOWN_MAX 1000u
#define FILES_NAMED_MAX 20u
#define PATH_SHOWN_BYTES 4096

bool hint_hears(const struct hint *h, unsigned i)
{
	if (h->config.voter[i].id == h->config.server)
		return true;
	return h->heard[i] && hint_now(h) - h->heard[i] < HEARD_WITHIN;
}

struct catalog *hint_catalog(struct hint *h)
{
	return h->catalog;
}

void hint_get_status(const struct hint *h, struct hint_status *out)
{
	*out = (struct hint_status){.failed = h->failed, .leader = h->leader, .full = h->full};
	if (!h->started)
		return;
	out->leader_id = voter_leader(h->voter);
	out->term = voter_term(h->voter);
	out->commit = voter_commit(h->voter);
	out->applied = catalog_applied(h->catalog);
	for (unsigned i = 0; i < h->config.voters; i++) {
		if (!h->config.voter[i].vote)
			continue;
		out->voters++;
		out->voters_heard += hint_hears(h, i);
	}
}

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static void set(json_t *o, const char *key, uint64_t v)
{
	(void)json_object_set_new(o, key, number(v));
}

static void set_text(json_t *o, const char *key, const char *text)
{
	(void)json_object_set_new(o, key, json_string(text));
}

static void set_bool(json_t *o, const char *key, bool v)
{
	(void)json_object_set_new(o, key, json_boolean(v));
}

const char *hint_site_name(const struct hint *h, uint16_t id)
{
	const struct map *map = catalog_map(h->catalog);

	for (unsigned i = 0; i < map->sites; i++)
		if (map->site[i].id == id)
			return map->site[i].name;
	return "";
}

/* --- votes --- */

static void warn(json_t *warnings, char *text)
{
	(void)json_array_append_new(warnings, json_string(text));
	mem_free(text);
}

/* A site that, alone, holds so many votes that the others have no majority without it. */
static void warn_of_one_site(const struct hint *h, unsigned votes, json_t *warnings)
{
	for (unsigned i = 0; i < h->config.voters; i++) {
		uint16_t site = hint_voter_site(h, i);
		unsigned here = 0, before = 0;

		for (unsigned j = 0; j < h->config.voters; j++) {
			bool same = h->config.voter[j].vote && hint_voter_site(h, j) == site;

			here += same;
			before += same && j < i;
		}
		if (before || !h->config.voter[i].vote || votes == 1 || votes - here > votes / 2)
			continue;
		warn(warnings, mem_printf("site %s holds %u of %u votes: without it nobody decides",
		                          hint_site_name(h, site), here, votes));
	}
}

static void add_votes(const struct hint *h, json_t *root, json_t *warnings)
{
	json_t *list = json_array();
	unsigned votes = 0, alive = 0, needed;

	for (unsigned i = 0; i < h->config.voters; i++) {
		json_t *v = json_object();
		bool here = hint_hears(h, i);

		set(v, "id", h->config.voter[i].id);
		set_text(v, "addr", h->config.voter[i].addr);
		set_text(v, "site", hint_site_name(h, hint_voter_site(h, i)));
		set_bool(v, "vote", h->config.voter[i].vote);
		set_bool(v, "heard", here);
		set_bool(v, "full", room_full(h, i));
		if (h->leader)
			set(v, "log", h->config.voter[i].id == h->config.server
			                      ? voter_last(h->voter)
			                      : voter_match(h->voter, h->config.voter[i].id));
		(void)json_array_append_new(list, v);
		votes += h->config.voter[i].vote;
		alive += h->config.voter[i].vote && here;
	}
	needed = votes / 2 + 1;
	(void)json_object_set_new(root, "votes", list);
	set(root, "margin", alive > needed ? alive - needed : 0);
	if (votes % 2 == 0)
		warn(warnings, mem_printf("%u votes are no better than %u: use an odd number", votes,
		                          votes - 1));
	if (alive <= needed && votes > 1)
		warn(warnings, mem_printf("no further hint server may fail (%u of %u votes heard, %u needed)",
		                          alive, votes, needed));
	warn_of_one_site(h, votes, warnings);
}

/* --- servers --- */

const char *hint_server_state(const struct hint *h, const struct catalog_server *s)
{
	const struct sess *sess = sessions_of_server(h, s->id);
	bool up = sess && !sess_lapsed(h, sess);

	if (s->flags & CATALOG_SERVER_DRAINED && moves_done(h))
		return "drained";
	if (s->flags & CATALOG_SERVER_DRAINED && up)
		return "draining";
	if (s->flags & CATALOG_SERVER_REFUSED)
		return "blank";
	if (!s->session || (h->leader && !sess))
		return "ended";
	return up ? "up" : "lapsed";
}

static json_t *server_json(const struct hint *h, const struct catalog_server *s)
{
	const struct sess *sess = sessions_of_server(h, s->id);
	json_t *o = json_object();

	set(o, "id", s->id);
	set_text(o, "kind", s->kind == SERVER_CORE ? "core" : "access");
	set_text(o, "site", hint_site_name(h, s->site));
	set_text(o, "addr", s->addr);
	set_text(o, "state", hint_server_state(h, s));
	set(o, "session", s->session);
	set(o, "total", sess ? sess->stats.total : 0);
	set(o, "free", sess ? sess->stats.free : 0);
	set(o, "stale_blocks", sess ? sess->stats.stale_blocks : 0);
	set(o, "dirty_bytes", sess ? sess->stats.dirty_bytes : 0);
	return o;
}

/* Hint servers have no session; heard is what the leader knows of them. */
static void add_hints(struct hint *h, json_t *list)
{
	for (unsigned i = 0; i < h->config.voters; i++) {
		json_t *o = json_object();

		set(o, "id", h->config.voter[i].id);
		set_text(o, "kind", "hint");
		set_text(o, "site", hint_site_name(h, hint_voter_site(h, i)));
		set_text(o, "addr", h->config.voter[i].addr);
		set_text(o, "state", hint_hears(h, i) ? "up" : "silent");
		(void)json_array_append_new(list, o);
	}
}

static void add_sites(struct hint *h, json_t *root)
{
	const struct map *map = catalog_map(h->catalog);
	json_t *list = json_array();

	for (unsigned i = 0; i < map->sites; i++) {
		json_t *o = json_object();

		set(o, "id", map->site[i].id);
		set_text(o, "name", map->site[i].name);
		(void)json_array_append_new(list, o);
	}
	(void)json_object_set_new(root, "sites", list);
}

static void add_servers(struct hint *h, json_t *root)
{
	json_t *list = json_array();
	struct catalog_server s = {0};

	while (catalog_server_next(h->catalog, s.id, &s))
		if (s.kind == SERVER_CORE || s.kind == SERVER_ACCESS)
			(void)json_array_append_new(list, server_json(h, &s));
	add_hints(h, list);
	(void)json_object_set_new(root, "servers", list);
}

/* --- files --- */

/* Names a file that wants attention, unless enough are named already. */
static void name_file(struct hint *h, json_t *list, const struct catalog_inode *i)
{
	char path[PATH_SHOWN_BYTES];
	json_t *o, *name;

	if (json_array_size(list) >= FILES_NAMED_MAX)
		return;
	o = json_object();
	name = catalog_path_of(h->catalog, i->fields.ino, path, sizeof(path)) ? NULL : json_string(path);
	(void)json_object_set_new(o, "path", name ? name : json_null());
	set(o, "ino", i->fields.ino);
	set(o, "epoch", i->fields.epoch);
	set_bool(o, "stale", i->fields.state & INODE_STALE);
	set_bool(o, "unclean", i->unclean);
	(void)json_array_append_new(list, o);
}

static void add_files(struct hint *h, json_t *root)
{
	json_t *o = json_object(), *named = json_array();
	struct catalog_stats st;
	struct catalog_inode i;
	struct catalog_session s = {0};
	uint64_t ino = 0, stale = 0, unclean = 0, held = 0;
	unsigned n = 0;

	catalog_get_stats(h->catalog, &st);
	while (n++ < FILES_COUNTED_MAX && catalog_repair_next(h->catalog, ino, &ino)) {
		if (!catalog_inode(h->catalog, ino, &i))
			continue;
		stale += (i.fields.state & INODE_STALE) != 0;
		unclean += i.unclean;
		if (i.unclean || (i.fields.state & INODE_STALE))
			name_file(h, named, &i);
	}
	n = 0;
	while (catalog_session_next(h->catalog, s.id, &s))
		for (ino = 0; n < FILES_COUNTED_MAX && catalog_lease_next(h->catalog, s.id, ino, &ino); n++)
			held++;
	set(o, "total", st.files);
	set(o, "stale", stale);
	set(o, "unclean", unclean);
	set(o, "orphans", st.orphans);
	set(o, "held", held);
	(void)json_object_set_new(o, "attention", named);
	(void)json_object_set_new(root, "files", o);
	set(root, "incarnation", st.incarnation);
}

/* --- health: one sentence --- */

static void degraded(char **text, char *what)
{
	char *old = *text;

	*text = old ? mem_printf("%s; %s", old, what) : mem_printf("degraded: %s", what);
	mem_free(old);
	mem_free(what);
}

static void judge_voters(const struct hint *h, char **text)
{
	if (h->failed)
		degraded(text, mem_printf("hint server %u is out of service: %s", h->config.server, h->why));
	if (!h->leader)
		degraded(text, mem_printf("hint server %u does not lead", h->config.server));
	for (unsigned i = 0; i < h->config.voters; i++)
		if (!hint_hears(h, i))
			degraded(text, mem_printf("hint server %u is not heard", h->config.voter[i].id));
		else if (room_full(h, i))
			degraded(text, mem_printf("hint server %u: no room for the catalog, its file system is "
			                          "full", h->config.voter[i].id));
}

static bool serves(const char *state)
{
	return strcmp(state, "up") == 0 || strcmp(state, "draining") == 0 || strcmp(state, "drained") == 0;
}

static void judge_servers(struct hint *h, char **text)
{
	struct catalog_server s = {0};
	uint64_t stale = 0;

	while (catalog_server_next(h->catalog, s.id, &s)) {
		const struct sess *sess = sessions_of_server(h, s.id);
		const char *state = hint_server_state(h, &s);

		if (s.kind != SERVER_CORE && s.kind != SERVER_ACCESS)
			continue;
		if (!serves(state))
			degraded(text, mem_printf("%s server %u is %s",
			                          s.kind == SERVER_CORE ? "core" : "access", s.id, state));
		stale += sess ? sess->stats.stale_blocks : 0;
	}
	if (stale)
		degraded(text, mem_printf("%" PRIu64 " blocks wait for repair", stale));
	if (catalog_refilling(h->catalog))
		degraded(text, mem_printf("the files of a new disk are being looked up"));
}

static bool site_serves(struct hint *h, uint16_t site)
{
	struct catalog_server s = {0};
	bool cores = false;

	while (catalog_server_next(h->catalog, s.id, &s)) {
		if (s.kind != SERVER_CORE || s.site != site)
			continue;
		if (serves(hint_server_state(h, &s)))
			return true;
		cores = true;
	}
	return !cores;
}

/* A file needs two of its three sites. */
static void judge_sites(struct hint *h, char **text)
{
	const struct map *map = catalog_map(h->catalog);
	char *names = NULL, *old;
	unsigned n = 0;

	for (unsigned i = 0; i < map->sites; i++) {
		if (site_serves(h, map->site[i].id))
			continue;
		old = names;
		names = old ? mem_printf("%s, %s", old, map->site[i].name)
		            : mem_printf("%s", map->site[i].name);
		mem_free(old);
		n++;
	}
	if (n >= 2)
		degraded(text, mem_printf("files with two replicas in %s wait", names));
	mem_free(names);
}

static void judge_files(const json_t *files, char **text)
{
	json_int_t stale = json_integer_value(json_object_get(files, "stale"));
	json_int_t unclean = json_integer_value(json_object_get(files, "unclean"));

	if (stale)
		degraded(text, mem_printf("%lld files have a stale replica", (long long)stale));
	if (unclean)
		degraded(text, mem_printf("%lld files wait for recovery", (long long)unclean));
}

/* Files that have to leave drained core servers; nothing where none has, or nobody counted yet. */
static void add_moves(const struct hint *h, json_t *root)
{
	json_t *o;

	if (moves_done(h))
		return;
	o = json_object();
	set_bool(o, "counted", h->moves.counted);
	set(o, "files_left", h->moves.left);
	set(o, "files_stuck", h->moves.left_stuck);
	(void)json_object_set_new(root, "moves", o);
}

json_t *hint_status_json(struct hint *h)
{
	json_t *root = json_object(), *warnings = json_array();
	char *text = NULL;

	set(root, "server", h->config.server);
	judge_voters(h, &text);
	if (h->started) {
		set(root, "leader", voter_leader(h->voter));
		set(root, "term", voter_term(h->voter));
		set(root, "commit", voter_commit(h->voter));
		set(root, "applied", catalog_applied(h->catalog));
		set(root, "map", catalog_map(h->catalog)->version);
		add_votes(h, root, warnings);
		add_sites(h, root);
		add_servers(h, root);
		add_files(h, root);
		add_moves(h, root);
		judge_servers(h, &text);
		judge_sites(h, &text);
		judge_files(json_object_get(root, "files"), &text);
	}
	set_text(root, "health", text ? text : "healthy");
	mem_free(text);
	(void)json_object_set_new(root, "warnings", warnings);
	return root;
}

/* --- one file --- */

static void add_state(json_t *root, const struct catalog_inode *i)
{
	json_t *list = json_array();
	const struct {
		bool is;
		const char *name;
	} states[] = {
		{i->fields.state & INODE_CLEAN, "clean"},
		{i->fields.state & INODE_HELD, "held"},
		{i->fields.state & INODE_STALE, "stale"},
		{i->fields.state & INODE_ORPHAN, "orphan"},
		{i->unclean, "unclean"},
		{i->recovering, "recovering"},
	};

	for (size_t k = 0; k < ARRAY_LEN(states); k++)
		if (states[k].is)
			(void)json_array_append_new(list, json_string(states[k].name));
	(void)json_object_set_new(root, "state", list);
}

static void add_stale_runs(struct hint *h, json_t *root, const struct catalog_inode *i)
{
	const uint16_t site[REPLICAS] = {i->fields.site0, i->fields.site1, i->fields.site2};
	json_t *list = json_array();
	struct stale_map stale;
	struct stale_run run;

	stale_init(&stale);
	(void)catalog_stale(h->catalog, i->fields.ino, &stale);
	for (unsigned n = 0; n < stale.n && n < STALE_RUNS_SHOWN_MAX; n++) {
		run = stale.runs[n];
		for (unsigned k = 0; k < REPLICAS; k++) {
			json_t *o;

			if (!(run.mask >> k & 1))
				continue;
			o = json_object();
			set(o, "first", run.first);
			set(o, "last", run.last);
			set_text(o, "site", hint_site_name(h, site[k]));
			(void)json_array_append_new(list, o);
		}
	}
	stale_fini(&stale);
	(void)json_object_set_new(root, "stale_runs", list);
}

/* The replica that came from another site last lacks something yet. */
static bool is_moving(struct hint *h, const struct catalog_inode *i)
{
	const uint32_t moved[REPLICAS] = {i->fields.moved0, i->fields.moved1, i->fields.moved2};
	uint32_t last = MAX(moved[0], MAX(moved[1], moved[2]));
	struct stale_map stale;
	bool moving = false;

	stale_init(&stale);
	(void)catalog_stale(h->catalog, i->fields.ino, &stale);
	for (unsigned n = 0; n < stale.n && last > 0; n++)
		for (unsigned k = 0; k < REPLICAS; k++)
			moving |= moved[k] == last && (stale.runs[n].mask >> k & 1);
	stale_fini(&stale);
	return moving;
}

static void add_data(struct hint *h, json_t *root, const struct catalog_inode *i)
{
	const uint16_t site[REPLICAS] = {i->fields.site0, i->fields.site1, i->fields.site2};
	struct catalog_session s = {0};
	json_t *sites = json_array();

	for (unsigned k = 0; k < REPLICAS; k++)
		(void)json_array_append_new(sites, json_string(hint_site_name(h, site[k])));
	(void)json_object_set_new(root, "sites", sites);
	set_text(root, "home", hint_site_name(h, site[0]));
	set(root, "block_bytes", (uint64_t)1 << i->fields.block_shift);
	set(root, "epoch", i->fields.epoch);
	set(root, "map", i->fields.map);
	if (i->holder)
		(void)catalog_session(h->catalog, i->holder, &s);
	set(root, "holder", s.server);
	add_stale_runs(h, root, i);
	set_bool(root, "moving", is_moving(h, i));
}

static const char *type_name(uint32_t mode)
{
	return S_ISDIR(mode) ? "directory" : S_ISREG(mode) ? "file" : S_ISLNK(mode) ? "symlink"
	     : "special";
}

json_t *hint_file_json(struct hint *h, struct span path)
{
	struct catalog_inode i;
	json_t *root;
	uint64_t ino;

	if (catalog_path(h->catalog, path, &ino) || !catalog_inode(h->catalog, ino, &i))
		return NULL;
	root = json_object();
	(void)json_object_set_new(root, "path", json_stringn((const char *)path.p, path.len));
	set(root, "ino", ino);
	set_text(root, "type", type_name(i.fields.mode));
	set(root, "size", i.fields.size);
	set(root, "nlink", i.fields.nlink);
	add_state(root, &i);
	if (S_ISREG(i.fields.mode))
		add_data(h, root, &i);
	return root;
}
