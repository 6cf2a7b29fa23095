/* What blocks one core server has of a file held here, for repair and for moves. */
#pragma once

#include "access-server/volume/parts.h"

struct listing {
	struct file *f;
	server_id_t server;
	void (*done)(struct listing *l);
	void *ctx;
	struct listed {
		uint64_t no;
		struct version version;
	} *list;                    /* ascending */
	unsigned n, capacity;
	struct rpc *rpc;
};

/* Asks until the server has told everything; done() is called once, unless listing_end() comes first.
 * Entries of a server that does not hold the file completely are there, too: what it has of a version is
 * that version. */
void listing_start(struct listing *l, struct file *f, server_id_t server, void (*done)(struct listing *l),
                   void *ctx);
void listing_end(struct listing *l);
struct version listing_version(const struct listing *l, uint64_t no); /* VERSION_NONE: not there */
