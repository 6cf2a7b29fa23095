/* The commands of `distcloud`: each asks servers and prints. */
#pragma once

#include "common/config/config.h"
#include "hint-server/ctl/ask.h"

/* Exit codes of the program, for scripts. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_DEGRADED = 1,    /* status: the cluster works, but something wants attention */
	CTL_FAILED = 2,      /* no answer, or the answer was an error */
	CTL_USAGE = 64,
};

struct ctl {
	const struct config *config;
	const char *config_path;
	struct ask *ask;
	nsec_t timeout;      /* how long to look for a leader */
	bool json;
};

enum ctl_exit ctl_status(struct ctl *c);
enum ctl_exit ctl_file_show(struct ctl *c, const char *path);
enum ctl_exit ctl_why(struct ctl *c, const char *path);
/* Adds "bad_pages": [{"server", "ino", "block", "page", "path"}], what core servers found and nobody
 * repaired yet, the first 100 of each. */
void ctl_add_bad_pages(struct ctl *c, json_t *status);
enum ctl_exit ctl_site_list(struct ctl *c);
enum ctl_exit ctl_server_list(struct ctl *c);
enum ctl_exit ctl_server_show(struct ctl *c, const char *id);
/* The core server, or all of the site, are to hold no replica any more; or may again. */
enum ctl_exit ctl_server_drain(struct ctl *c, const char *id);
enum ctl_exit ctl_server_undrain(struct ctl *c, const char *id);
enum ctl_exit ctl_site_remove(struct ctl *c, const char *name);
enum ctl_exit ctl_site_restore(struct ctl *c, const char *name);
enum ctl_exit ctl_scrub(struct ctl *c);
enum ctl_exit ctl_scrub_status(struct ctl *c);
/* Formats the directory of the server that `path` configures, by running its own program. */
enum ctl_exit ctl_format(const char *path);
/* Becomes the program of the disaster drills, with these arguments; returns only if it cannot. */
enum ctl_exit ctl_drill(char **argv);

/* Asks the catalog's leader through the first hint server that answers, until c->timeout is over;
 * says why it has none on standard error. -EREMOTEIO: the leader refused, *reply says why. */
MUST_CHECK int ctl_ask_leader(struct ctl *c, const char *verb, json_t *args, json_t **reply);
/* The answer of one server, by its row of the status; NULL if it has none. */
json_t *ctl_ask_server(struct ctl *c, const json_t *server, const char *verb, json_t *args);
/* The leader's status; NULL after a word about why there is none. */
json_t *ctl_get_status(struct ctl *c);

/* The path in the datastore that the user means: one below a mount of a datastore on this machine
 * is taken from there (nothing is asked of the mount, it may hang); any other is one already.
 * mem_free() it. */
char *ctl_datastore_path(const char *path);

enum ctl_exit ctl_print_json(const json_t *value); /* CTL_OK, or CTL_FAILED and a word about it */

/* 1536 -> "1.5 KiB", in a buffer that lives until the fourth call after. */
const char *ctl_size_text(uint64_t bytes);
const char *ctl_text(const json_t *object, const char *key); /* "" if absent */
uint64_t ctl_number(const json_t *object, const char *key);  /* 0 if absent */
