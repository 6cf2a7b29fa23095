/* State of an opening store: shared by open.c (what belongs together, start counter) and replay.c (the
 * journal). Gone once the store serves. */
#pragma once

#include "core-server/store/state.h"

#define REPLAY_WINDOW_BYTES ((uint64_t)1 << 20)

struct replay {
	struct store *store;
	void (*done)(void *ctx, int rc);
	void *ctx;
	struct superblock sb;
	struct disk_req io;
	struct later later;
	int rc;
	void (*next)(struct replay *r);

	struct iobuf *window;
	uint64_t win_off, win_len;
	bool win_data;             /* holds pages of the data file */

	uint64_t at;               /* where the next record is expected */
	struct record head;        /* the one under inspection */
	uint64_t found_seq, found_off; /* search for later ones */
	uint64_t scan;

	struct record last;        /* good so far, not applied */
	struct jbuf *buf;          /* its data pages */
	struct change *changes;
	unsigned changes_n;
	unsigned check_change, check_run, check_page, check_sum; /* verification of its large data */
	unsigned step;
};

/* replay.c */
/* Applies the journal behind the checkpointed position, then calls open_start(). */
void replay_walk(struct replay *r);
void replay_window(struct replay *r, struct disk_file *f, uint64_t off, uint64_t len,
                   void (*next)(struct replay *r));
void replay_drop_last(struct replay *r);

/* open.c */
void open_start(struct replay *r);
void open_finish(struct replay *r, int rc);
