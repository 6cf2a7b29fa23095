/* A simulated cluster and one run of it: sites, nodes, network, clients, history, checkers. */
#pragma once

#include "common/topology/map.h"
#include "tests/sim/check_fence.h"
#include "tests/sim/check_wire.h"
#include "tests/sim/history.h"
#include "tests/sim/simnet.h"

struct client;

#define CLUSTER_ID 0xd157c10dULL
#define CLIENTS_MAX 512 /* of all lives of all mounts */

/* Sizes and limits of one run, drawn from the seed or set by a scenario. */
struct shape {
	uint64_t seed;
	unsigned sites;             /* 3 to 12 */
	unsigned cores_per_site;
	unsigned hints;             /* voters; one per site, as many sites as that */
	unsigned clients;           /* per access server, of each kind below */
	bool names, appends, locks; /* run these kinds of clients too */
	nsec_t faults_for;          /* length of the first phase */
	nsec_t session_timeout, shared_timeout;
	nsec_t recover_after;       /* of files whose holder is away; 0: the default */
	nsec_t follow;              /* until leadership goes where the work is; 0: never */
	nsec_t follow_writer;       /* until a file's home goes where it is written; 0: never */
	bool moves;                 /* replicas are moved between sites */
	nsec_t think;               /* mean pause between a client's operations */
	uint64_t disk_bytes;        /* of a core server */
	uint64_t disk_left;         /* for its data while others fill it from the start; 0: they do not */
	unsigned full_sites;        /* whose disks those are; bits */
	unsigned requests_max;      /* that a leader takes at once; 0: as many as always */
	unsigned exceptions_max;    /* of a CLOSE; 0: as many as always */
	unsigned replica_bugs, volume_bugs, hint_bugs, store_bugs;
	unsigned drift_ppm;         /* clock rates differ by up to this */
	unsigned wan_ms_max;
};

struct cluster {
	struct world w;
	struct shape shape;
	struct simnet net;
	struct history hist;
	struct check_wire wire;
	struct check_fence fence;
	struct node node[NODES_MAX];
	unsigned nodes;
	struct map_site site[SITES_MAX];  /* as configured */
	struct client *client[CLIENTS_MAX];
	unsigned clients;
	uint64_t last_value;        /* writes are numbered */
	bool quiet;                 /* clients begin nothing new */
	bool calm;                  /* no fault in this run: clients may meet no error */
	uint64_t dir;               /* inode of the names' directory */
	unsigned appends;           /* begun */
	uint64_t unknown_since[NODES_MAX]; /* names: event after which an outcome is unknown; 0 none */
	uint32_t lock_owner;        /* the client that was granted the lock last, ... */
	uint32_t lock_granted;      /* ... and when */
	nsec_t longest_sync;        /* P6: the slowest flush so far */
};

void cluster_init(struct cluster *c, const struct shape *shape, enum world_tracing tracing);
void cluster_fini(struct cluster *c);
void cluster_start(struct cluster *c);       /* all nodes */
struct node *cluster_find(struct cluster *c, server_id_t id); /* NULL: no such server */
bool cluster_access_knows(const struct node *access, const struct node *core);

server_id_t cluster_hint_id(unsigned site);
server_id_t cluster_core_id(unsigned site, unsigned i);
server_id_t cluster_access_id(unsigned site);

/* Runs until cond() holds, asked every 10 ms; false when `limit` of virtual time passed first or a
 * promise broke. */
bool cluster_wait(struct cluster *c, nsec_t limit, bool (*cond)(struct cluster *c));
