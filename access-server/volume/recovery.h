/* State of one recovery: recovery.c gathers and closes, recovery_decide.c decides and copies. */
#pragma once

#include "access-server/volume/copy.h"

enum rec_state {
	REC_SEALING,
	REC_LISTING,
	REC_READY,   /* sealed, complete, listed: it counts */
	REC_BLANK,   /* sealed, but does not hold the file completely: counts for nothing */
	REC_CLOSED,  /* ready, and `closed` = this epoch is durable there */
};

struct rec_entry {
	uint64_t no;
	struct rank rank;
	bool holes;
	uint32_t pages;
};

struct rec_server {
	struct recovery *r;
	server_id_t id;
	unsigned sites;         /* bits: replica sites it is in */
	enum rec_state state;
	uint64_t closed;        /* of the file there: what absent blocks have */
	struct rec_entry *entry; /* ascending */
	unsigned n, capacity;
	unsigned excepts;       /* blocks in which it differs from the winner */
	struct rpc *rpc;
};

struct rec_block {
	UT_hash_handle hh;
	uint64_t no;
	server_id_t server[REPLICAS];
	struct rank winner;
	uint32_t pages;         /* stored, of the winner */
	unsigned source;        /* a replica that has it */
	unsigned known;         /* bits: replicas on servers that were ready when it was decided */
	unsigned good;          /* bits: proven equal to the winner */
	unsigned unreadable;    /* bits: its newest version has a bad page and counts for nothing */
	unsigned must;          /* bits: to be made so: a CLOSE there has no room for an exception */
	bool waits;             /* fewer than two known */
	bool holes;
};

enum rec_phase { REC_GATHER, REC_COPY, REC_ATTR, REC_CLOSE };

struct recovery {
	struct file *f;
	enum rec_phase phase;
	unsigned servers;
	struct rec_server *server;
	struct rec_block *blocks;
	struct rec_block *copy_next;
	struct copy *copies;
	unsigned copying;
	struct vol_timer patience;  /* for servers that may still come */
	struct vol_timer deadline;  /* no progress: another epoch */
	struct attr_record attr;
	struct rpc *attr_rpc;
	unsigned attr_tried;
	bool attr_doubt;            /* it was passed over, and not all could tell whether it was flushed */
	bool attr_lost;             /* no newest one can be read: attr is an older one, or the catalog's word */
};

struct rec_server *rec_server(struct recovery *r, server_id_t id);
void rec_decide(struct recovery *r);   /* builds the blocks from the lists, starts copying */
void rec_copy_some(struct recovery *r);
void rec_copied(struct recovery *r);   /* every block has its pair: next phase */
void rec_progress(struct recovery *r); /* puts the deadline off */
bool rec_sites_sealed(struct recovery *r); /* the planted bug of trap A3 */
void rec_attr_wait(struct recovery *r); /* r is gone: the next one waits for whoever may have the record */
bool rec_pair(struct file *f, unsigned mask); /* two replicas in it that count together */
void recovery_free(struct recovery *r);
