/* What scenarios are written with: clients that do one thing at a time while the world runs on, and
 * rules about single messages. Ends like every run: all is healed, read from everywhere, compared. */
#pragma once

#include "tests/sim/client.h"
#include "tests/sim/cluster.h"

#define STAGE_RULES_MAX 24
#define STAGE_OP_MAX (20 * NSEC_SEC) /* virtual; an operation that takes longer counts as waiting */

struct stage_rule {
	enum msg_type type;       /* 0: any */
	server_id_t from, to;     /* neighbours on the wire; 0: any */
	unsigned times;           /* how often it still applies */
	bool drop, spoil;
	nsec_t delay;
	unsigned hits;
};

/* Starts the cluster, makes the files; false after a violation. */
bool stage_start(struct cluster *c);
/* The same; the server that leads the catalog, NULL after a violation. */
struct node *stage_start_led(struct cluster *c);
/* Heals everything, then the checks that every run ends with. */
void stage_end(struct cluster *c);
/* A step of the scenario did not go as its story needs: it would prove nothing. */
void stage_expect(struct cluster *c, bool ok, const char *what);

struct client *stage_client(struct cluster *c, unsigned site);
/* The same, and a client in each of two sites that has file 1 open. */
bool stage_begin(struct cluster *c, unsigned site_a, struct client **a, unsigned site_b,
                 struct client **b);
/* Each waits until it is done: the result, or -ETIMEDOUT while it is still under way. */
int stage_make(struct client *cl);    /* a new file, open, with the next number */
int stage_open(struct client *cl, uint32_t file);
int stage_close(struct client *cl, uint32_t file);
int stage_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync);
int stage_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units);
int stage_sync(struct client *cl, uint32_t file);
int stage_lock(struct client *cl, uint32_t file); /* the whole file, does not wait */
int stage_truncate(struct client *cl, uint32_t file, uint32_t unit);
int stage_punch(struct client *cl, uint32_t file, uint32_t unit, uint32_t units);
uint64_t stage_value(const struct client *cl); /* first unit of the last read */
/* Begins only. */
void stage_begin_write(struct client *cl, uint32_t file, uint32_t unit, uint32_t units, bool sync);
void stage_begin_read(struct client *cl, uint32_t file, uint32_t unit, uint32_t units);
void stage_begin_lock(struct client *cl, uint32_t file); /* the whole file, waits */
void stage_begin_stat(struct client *cl, uint32_t file);
void stage_begin_sync(struct client *cl, uint32_t file);
/* Names of the directory by number; each writes the history of names. */
int stage_create(struct client *cl, unsigned name);
int stage_unlink(struct client *cl, unsigned name);
void stage_begin_rename(struct client *cl, unsigned name, unsigned to);
void stage_begin_lookup(struct client *cl, unsigned name);
int stage_unlink_file(struct client *cl, uint32_t file); /* one of the data files */
/* Waits for what was begun. */
int stage_finish(struct client *cl, nsec_t limit);

void stage_wait(struct cluster *c, nsec_t t);
struct stage_rule *stage_drop(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to);
/* The (first) core server of site `to` gets no data from the access server of site `from`. */
void stage_pass_by(struct cluster *c, unsigned from, unsigned to);
struct stage_rule *stage_spoil(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to);
struct stage_rule *stage_delay(struct cluster *c, enum msg_type type, server_id_t from, server_id_t to,
                               nsec_t delay);
void stage_lift(struct cluster *c); /* all rules */
void stage_cut(struct cluster *c, server_id_t a, server_id_t b, bool cut); /* both ways */
void stage_cut_hints(struct cluster *c, server_id_t a, bool cut);  /* from every hint server */
void stage_crash(struct cluster *c, server_id_t id, bool power);
void stage_restart(struct cluster *c, server_id_t id);
struct node *stage_leader(struct cluster *c); /* of the highest term; NULL: none now */
bool stage_leads(const struct node *n);       /* it believes so */

/* Rots what the data file of that server has of one unit of the file, or of attribute records. */
void stage_rot(struct cluster *c, server_id_t id, uint32_t file, uint32_t unit);
void stage_rot_attr(struct cluster *c, server_id_t id);

/* The server of site `site` that holds the block of the file. */
server_id_t stage_replica(struct cluster *c, uint32_t file, uint64_t block, unsigned site);
