/* Configuration files: one per server, in INI form (the inih library parses it).
 *
 *   [cluster]            what all servers of the cluster share
 *   id = 1               number of the cluster: servers of another one are refused
 *   name = demo
 *
 *   [site hiroshima]     one section per site: an L3 network
 *   id = 1               1 ... 64, never reused
 *   prefixes = 127.1.0.0/16 fd00:1::/32
 *
 *   [hint 18]            one section per hint server, by server id
 *   address = 127.1.0.8:7200
 *   vote = yes
 *
 *   [server]             this server; absent in the administrator's own file
 *   id = 11
 *   kind = core          core, hint or access
 *   listen = 127.1.0.1:7100
 *   directory = /var/lib/distcloud/core
 *   log = info           error, warn, info, debug
 *   capacity = 16GiB     core: most it stores; default: what the file system gives
 *   journal = 256MiB     core
 *   cache = 128MiB       core: pages waiting for a checkpoint
 *   memory = 512MiB      access: limit of the whole process; core, hint: budget of bulk buffers
 *   mount = /datastore   access
 *   buffer = 256MiB      access: write buffer, at most half of memory, which is the default
 *   block = 4MiB         access: block size of new files
 *   stale_after = 1s     access: a replica silent for so long is left behind
 *   follow_writer = 2min  access: until the home of a file goes where it is written; or never
 *   on_fence = wait      access: wait, error, or wait:30s
 *   session = 5s         hint: T of the sessions
 *   shared = 800ms       hint: R of the shared leases
 *   election = 500ms     hint
 *   follow = 10s         hint: until leadership goes to the site that asks most, or never
 *   recover_after = 10min hint: until files are recovered that a server held which is away
 *
 * Sizes take KiB MiB GiB TiB, durations ms s min. An unknown section or key is an error. */
#pragma once

#include "common/base/log.h"
#include "common/topology/map.h"

#define CONFIG_HINTS_MAX 15
#define CONFIG_PATH_MAX 1024
#define CONFIG_MEMORY_DEFAULT ((uint64_t)512 << 20)

struct config_hint {
	server_id_t id;
	char addr[ADDR_TEXT_MAX];
	bool vote;
	uint16_t site; /* by its address; 0: none of the sites */
};

struct config {
	uint64_t cluster;
	char name[64];
	unsigned sites;
	struct map_site site[SITES_MAX];
	unsigned hints;
	struct config_hint hint[CONFIG_HINTS_MAX];

	/* [server]; kind 0 when there is no such section */
	server_id_t id;
	enum server_kind kind;
	char listen[ADDR_TEXT_MAX];
	char directory[CONFIG_PATH_MAX];
	char mount[CONFIG_PATH_MAX];
	uint16_t own_site; /* by the address it listens on */
	enum log_level log;
	uint64_t capacity, journal, cache, memory, buffer; /* bytes; 0: the default */
	uint8_t block_shift;
	nsec_t session, shared, election, follow, recover_after, stale_after; /* 0: the default */
	nsec_t follow_writer;   /* 0: not given; NSEC_NEVER: never */
	bool fence_error;       /* on_fence = error, or wait:TIME */
	nsec_t fence_wait;      /* then: how long to wait before the error */
};

/* Reads `path`. 0, or a negative errno with a sentence in `why`: what, where (path:line), what to
 * do. -EINVAL for everything that is wrong in the text. */
MUST_CHECK int config_load(struct config *c, const char *path, char *why, size_t why_size);
/* The same for text in memory; `path` is only named in messages. Pure. */
MUST_CHECK int config_parse(struct config *c, const char *text, const char *path, char *why,
                            size_t why_size);
/* As config_load, and the [server] section must be there and of this kind. */
MUST_CHECK int config_load_server(struct config *c, const char *path, enum server_kind kind,
                                  char *why, size_t why_size);

const char *config_site_name(const struct config *c, uint16_t site); /* "?" if unknown */
const char *config_kind_name(enum server_kind kind);

/* Hint servers nearest first: those of `site`, then the others in the file's order. */
void config_hints_by_distance(const struct config *c, uint16_t site,
                              unsigned order[CONFIG_HINTS_MAX]);

/* "127.1.0.1:7100" or "[fd00::1]:7100" -> address text without port. -EINVAL. */
MUST_CHECK int config_split_address(const char *text, char *host, size_t host_size, uint16_t *port);
MUST_CHECK int config_parse_size(const char *text, uint64_t *out);
MUST_CHECK int config_parse_duration(const char *text, nsec_t *out);
