/* Copying one block from one replica to another, for recovery and repair (traps A1, A5, B2). */
#pragma once

#include "access-server/volume/parts.h"

enum copy_result {
	COPY_DONE,    /* the target has what the source had: copy.at */
	COPY_AGAIN,   /* something moved, or did not answer in time */
	COPY_AHEAD,   /* the target outranks the source: nothing repairs it */
	COPY_BAD,     /* a page is bad at the source, and nobody else who could be asked has it */
};

enum page_state {
	PAGE_LEAVE,   /* the target has it */
	PAGE_ZERO,
	PAGE_WANTED,  /* to be read from the source */
	PAGE_GOT,
	PAGE_SKIPPED, /* the target has it, and it is bad at the source */
	PAGE_BAD,     /* wanted, and bad at the source */
	PAGE_KEPT,    /* the same, and what the target has of it stays */
};

enum { SOURCE, TARGET };

struct copy {
	struct copy *prev, *next;      /* the owner's */
	struct file *f;
	uint64_t no;
	unsigned from, to;             /* replica numbers */
	server_id_t server[REPLICAS];
	server_id_t into;              /* the target, if it is not where replica `to` lies now; 0: it is */
	uint64_t closed;               /* stamped on the target; 0: what the source has */
	bool whole;                    /* every page, not only those whose sums differ */
	uint8_t spare;                 /* bits: replicas to ask for pages that are bad at the source */
	bool may_lose;                 /* a page that nobody has becomes an unreadable one of the target, if
	                                * all spares were asked and none has more than the source */
	void (*done)(struct copy *c, enum copy_result result); /* frees it with copy_free() */
	void *ctx;

	struct version at;             /* of the source */
	struct version old;            /* of the target */
	uint64_t at_closed, old_closed;
	uint8_t *present[2];           /* source, target */
	uint8_t *sums[2];
	bool comparable;               /* the target's sums say what it has */
	uint8_t *page;                 /* enum page_state of each */
	uint32_t first, pages;         /* spans what is read: data has room for it */
	struct iobuf *data;
	uint32_t page_at, page_end;    /* being read */
	unsigned spare_now;
	uint8_t *fits;                 /* bits: pages of it that may help */
	bool unasked, newer;           /* some spare could not be asked; has more than the source */
	bool bad;                      /* some page was neither at the source nor at a spare */
	bool retains;                  /* keeps the block's records meanwhile */
	struct rpc *rpc;
	struct vol_timer timer;
};

void copy_start(struct copy *c); /* with f, no, from, to, closed, whole, done, ctx set */
void copy_free(struct copy *c);
void copy_note_lost(const struct copy *c); /* pages that neither source nor spares had: lost_add() */
uint32_t block_len(const struct file *f, uint64_t no);

/* --- between copy.c and copy_bad.c --- */
void copy_end(struct copy *c, enum copy_result result);
bool copy_same_sum(const struct copy *c, uint32_t p);
void copy_read(struct copy *c, unsigned replica, unsigned flags, uint32_t first, uint32_t pages,
               bool (*done)(struct rpc *rpc, const struct msg *m));
/* False: not an answer to go on with (asked again, or the copy has ended). */
bool copy_take(struct rpc *rpc, const struct msg *m, bool *finished);
void copy_got_page(struct copy *c, uint32_t p, const uint8_t *data);
void copy_install(struct copy *c);  /* the last step */
void copy_bad_pages(struct copy *c); /* looks for them elsewhere, then copy_install() or copy_end() */
