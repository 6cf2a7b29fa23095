/* Processes on the mounts: each does one operation after the other through vol_submit(), writes down
 * what it asked and was told, and knows nothing else. */
#pragma once

#include "access-server/volume/volume.h"
#include "tests/sim/cluster.h"

enum client_kind {
	CLIENT_MAKER,    /* makes the files, once */
	CLIENT_DATA,     /* reads, writes, syncs, truncates, punches */
	CLIENT_NAMES,    /* creates, unlinks, renames, looks up */
	CLIENT_APPEND,   /* appends to one file */
	CLIENT_LOCK,     /* locks, and works under the lock */
	CLIENT_VERIFY,   /* reads everything, once */
	CLIENT_GO_ON,    /* writes to every file, once, when all is well again */
	CLIENT_SCRIPT,   /* a scenario drives it */
};

struct client {
	struct cluster *c;
	struct node *n;
	enum client_kind kind;
	uint32_t id, mount;
	bool dead, busy, finished;
	nsec_t fenced;                /* begun without a session, which was good until then; 0: with one */
	struct vol_req req;
	nsec_t begun;
	uint32_t begun_stamp;
	uint32_t op;                  /* in the history */
	uint32_t file;
	uint64_t handle[FILES_MAX];
	uint32_t opened[FILES_MAX];
	struct iobuf *data;
	char name[2][4];
	unsigned step;
	unsigned errors;              /* one after the other */
	bool locked;
	bool read_only;         /* how it opens files */
	bool naming;                  /* an operation on a name is under way */
	uint64_t name_begun;          /* events of names before it */
	uint64_t ops;                 /* done */
	int rc;                       /* of the last one */
	void (*after)(struct client *cl); /* what follows the operation under way: books it, ... */
	void (*next)(struct client *cl);  /* ... then this */
};

struct client *client_new(struct cluster *c, struct node *n, enum client_kind kind);
void client_rest(struct client *cl);                   /* a pause, then its next step */
void client_wake(struct client *cl, nsec_t delay);   /* takes its next step then */
void clients_start(struct cluster *c, struct node *n); /* those of a mount that just started */
void clients_die(struct cluster *c, struct node *n);
bool clients_idle(struct cluster *c);
void clients_free(struct cluster *c);

/* Begins an operation: cl->req is filled in; `after` is called when it is done. */
void client_submit(struct client *cl, void (*after)(struct client *cl));
/* True (and violation in a calm run) for an error that faults explain. Pauses before the next step. */
void client_failed(struct client *cl, const char *what);

/* What data clients and scenarios do; each writes its history. `file` is an index. */
void client_open(struct client *cl, uint32_t file, void (*after)(struct client *cl));
void client_close(struct client *cl, uint32_t file, void (*after)(struct client *cl));
void client_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units,
                 void (*after)(struct client *cl));
uint64_t client_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync,
                      void (*after)(struct client *cl)); /* returns the value */
void client_sync(struct client *cl, uint32_t file, void (*after)(struct client *cl));
void client_stat(struct client *cl, uint32_t file, void (*after)(struct client *cl));
void client_truncate(struct client *cl, uint32_t file, uint32_t unit, void (*after)(struct client *cl));
void client_punch(struct client *cl, uint32_t file, uint32_t unit, uint32_t units,
                  void (*after)(struct client *cl));
void client_lock(struct client *cl, uint32_t file, uint8_t type, bool wait,
                 void (*after)(struct client *cl));
void client_append(struct client *cl, uint32_t file, bool sync, void (*after)(struct client *cl));

/* One operation on entries of the names' directory (client_names.c). */
void client_name(struct client *cl, enum name_op_type type, unsigned name, unsigned to,
                 void (*after)(struct client *cl));
#define CLIENT_NAMES_N 4u

/* Writes down the file that the request which just ended has created, and keeps it open. */
void client_made(struct client *cl, uint32_t file, struct hist_file *f);

/* Steps of the kinds of client. */
void client_make(struct client *cl);
void client_step_data(struct client *cl);
void client_step_names(struct client *cl);
void client_step_append(struct client *cl);
void client_step_lock(struct client *cl);
void client_step_verify(struct client *cl);
void client_step_go_on(struct client *cl);
