/* One hint server: a vote of the quorum cache, the leader's duties when it leads, and a relay.
 * Pure: raft by raft_step(), log and snapshots through struct disk, catalog in a struct kv.
 *
 * Layers beneath: catalog/ (the replicated state machine), quorum/log.c (entries, term, vote on
 * disk), quorum/raft.c (drives raft_step), quorum/read_index.c, quorum/sessions.c (liveness,
 * expiry), quorum/leases.c (shared leases and recalls: volatile, the leader's own). */
#pragma once

#include <jansson.h>

#include "common/base/env.h"
#include "common/disk/disk.h"
#include "common/kv/kv.h"
#include "common/topology/map.h"
#include "common/wire/msg.h"

#define HINT_VOTERS_MAX 15

struct hint;
struct catalog;

enum hint_bug {
	HINT_BUG_OLD_LEADER_ACKS = 1,  /* A10b: heartbeats answered without a confirming round */
	HINT_BUG_READ_LOCAL = 2,       /* A14: queries answered without the read index */
	HINT_BUG_NO_SLOTS = 4,         /* B5: a repeated change is applied again */
	HINT_BUG_NO_RECALL = 8,        /* directory changes do not wait for cached entries */
	HINT_BUG_EPOCH_KEPT = 16,      /* P2: a recovery gets the old epoch */
	HINT_BUG_SYNC_RETRIED = 32,    /* A13: a failed log sync is retried */
	HINT_BUG_GC_STALE = 64,        /* A15: the collector is answered without the read index, and
	                                  by absence alone: with ids that are never reused a late
	                                  answer by itself does no harm */
	HINT_BUG_ORPHANS_UNASKED = 128, /* A15: files without a name go, whoever has them open */
	HINT_BUG_ORPHAN_UNMARKED = 1 << 16, /* a catalog that contradicts itself */
	HINT_BUG_SHOWN_BY_LEADER = 1 << 17, /* followers do not apply what servers showed: voters differ */
	HINT_BUG_FULL_LEADS = 1 << 18,   /* P8: a leader whose commits find no space does not hand over */
	HINT_BUG_FULL_UNHEARD = 1 << 19, /* P8: new names are taken whoever has no room for them */
	HINT_BUG_GRACE_FOR_ALL = 1 << 22, /* P6: a new leader lets readers wait for other readers */
	HINT_BUG_RECOVERS_AT_ONCE = 1 << 21, /* files of an absent holder are recovered unasked */
	HINT_BUG_MOVE_UNMARKED = 1 << 26, /* A4: a replica that moved counts for what it lacks */
	HINT_BUG_IDS_REPEAT = 1 << 23,   /* P3: the questions of a new leader have the ids of the old one's */
	HINT_BUG_LATE_DISK = 1 << 24,    /* A8: a late word of a disk that was replaced is taken */
	HINT_BUG_REFUSES_UNLOGGED = 1 << 20, /* P3: a refusal for want of room, or of a place, is forgotten */
};

struct hint_config {
	server_id_t server;
	uint64_t cluster;
	unsigned voters;
	struct {
		server_id_t id;
		char addr[64];
		bool vote;
	} voter[HINT_VOTERS_MAX];
	unsigned sites;                /* as configured: they seed the map */
	struct map_site site[SITES_MAX];
	nsec_t session_timeout;        /* T, default 5 s */
	nsec_t margin;                 /* default T / 10 */
	nsec_t shared_timeout;         /* R, default 0.8 s */
	nsec_t election_timeout;       /* default 500 ms */
	nsec_t follow;                 /* until leadership goes where the work is; default 10 s; NSEC_NEVER */
	nsec_t recover_after;          /* until files are recovered whose holder is away; default 10 min */
	uint64_t snapshot_entries;     /* log entries between snapshots; default 16384 */
	uint64_t reserve_bytes;        /* of the file system, for the catalog to grow; default 8 MiB */
	unsigned requests_max;         /* that wait for an answer at once; default 16384 */
	uint64_t log_bytes;            /* of the voter's log file when it is made; default 64 MiB */
	char snapshot_dir[256];        /* "" : snapshots in memory (simulator) */
	unsigned bugs;
};

/* Formats the vote of a new cluster: every voter starts from the same first configuration. */
MUST_CHECK int hint_format(struct disk *disk, struct kv *kv, const struct hint_config *c);
/* Opens the catalog and starts to read the log: ERR_CORRUPT, ERR_VERSION, -ENOENT (not formatted),
 * -EIO; *why is a sentence. What is found wrong later shows as `failed` in hint_get_status(). */
MUST_CHECK int hint_new(struct hint **out, struct env *env, struct disk *disk, struct kv *kv,
                        const struct hint_config *c, const char **why);
void hint_free(struct hint *h);

/* Any message that arrives here: for this server, or to pass on. */
void hint_recv(struct hint *h, const struct msg *m);
void hint_peer_up(struct hint *h, server_id_t peer);
void hint_peer_down(struct hint *h, server_id_t peer);
nsec_t hint_tick(struct hint *h, nsec_t now);

struct hint_status {
	bool leader;
	server_id_t leader_id;         /* 0: unknown */
	uint64_t term, commit, applied;
	unsigned voters, voters_heard;
	bool failed;                   /* its disk is out of service */
	bool full;                     /* no room for the catalog to grow */
};
void hint_get_status(const struct hint *h, struct hint_status *out);
const char *hint_why(const struct hint *h); /* a sentence, once `failed` */
/* True while a log write is under way: its memory is in use until it is answered. */
bool hint_disk_busy(const struct hint *h);
/* Its copy of the catalog as of status.applied, between calls; for the simulator's checkers. */
struct catalog *hint_catalog(struct hint *h);
/* The leader takes the core server out of the map, and has its replicas moved elsewhere; or the reverse. It
 * is done a moment after OK. NOT_LEADER, and what op_drain answers (catalog.h). */
MUST_CHECK enum status hint_drain(struct hint *h, server_id_t server, bool drain);
MUST_CHECK enum status hint_drain_site(struct hint *h, uint16_t site, bool drain);
void hint_stepdown(struct hint *h);         /* hands leadership to another voter, if there is one */
/* Cluster status for `distcloud status`; complete only on the leader. A new object:
 * {"health": "healthy" or "degraded: what ...; ...", "leader": id, "term", "commit", "applied",
 *  "map", "margin": how many more voters may fail, "warnings": [text],
 *  "votes": [{"id", "site", "vote": bool, "heard": bool, "full": bool}],
 *  "sites": [{"id", "name"}],
 *  "servers": [{"id", "kind": "core"|"access"|"hint", "site", "addr", "state": "up"|"lapsed"|"ended"|
 *               "blank"|"draining"|"drained", of hint servers "up"|"silent"; not of these: "total", "free",
 *               "stale_blocks", "session"}],
 *  "files": {"total", "stale", "unclean", "orphans", "held", "attention": [{"path" or null, "ino",
 *            "epoch", "stale": bool, "unclean": bool}], the first 20 that are stale or unclean},
 *  "moves": {"files_left": that have to leave drained servers, "files_stuck": of them without a place to go to,
 *            "counted": false as long as these are not known}; absent if there are none}
 * healthy: all voters heard and not full, every registered core and access server up, no stale or unclean file,
 * no stale blocks reported by a holder. */
json_t *hint_status_json(struct hint *h);
/* `file show`; NULL: no such file. {"path", "ino", "type", "size", "state": [text], "block_bytes",
 *  "map", "home": site name, "sites": [names], "holder": server id or 0, "epoch", "stale_runs":
 *  [{"first", "last", "site"}]}; size as the catalog knows it: of a file that is held, as of when its lease
 *  was taken. What only files have is left out of directories and the like. */
json_t *hint_file_json(struct hint *h, struct span path);
/* `why`: what stands in the way of those who use the inode; NULL: there is none. {"ino", "epoch",
 * "unclean": bool,  "replicas": [{"site", "stale": bool, "servers": [{"id", "state" as in the status}]}],
 * of files only;  "holder": {"id", "state", "site"} of the exclusive lease, "asked_back_ms": since it is
 * recalled,  "lost_by": the same of who had it when its session ended, "recovered_in_ms": in the
 * background, at the latest,  "taken_by": of who was granted something last}; what does not apply is
 * absent. */
json_t *hint_why_json(struct hint *h, uint64_t ino);
