/* What the three servers have in common: one program, one libuv loop, one configuration.
 *
 * program_uv.c     options, configuration, exit status
 * loop_uv.c        start, signals, ticks, end
 * connect_uv.c     the world for the protocol cores, connections, session
 * state_dir_sys.c  the directory: made, locked, identified
 * admin.c          what `distcloud` may ask, answered in JSON
 * stats_uv.c       counters that all servers have
 *
 * A server's struct begins with a struct server and has a table of its own functions; all of them
 * run on the loop. The order of things: start() opens what the server needs; then, before each sleep
 * of the loop, tick(); stop() once, after which the server ends its parts in its own order, with
 * server_stop_net() among them, and calls server_end() when nothing is left; the loop ends, close()
 * frees what is not on it. */
#pragma once

#include <uv.h>

#include "common/base/env.h"
#include "common/base/random.h"
#include "common/net/net.h"
#include "common/server/admin.h"
#include "common/server/state_dir.h"
#include "common/session/session.h"

#define WHY_BYTES 512

/* Exit status: 0 stopped as asked, 1 failed, 2 wrong usage or configuration. */
enum exit_status { EXIT_STOPPED = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct server;

struct server_ops {
	const char *program;             /* "distcloud-core" */
	const char *usage;
	enum server_kind kind;
	const char *below;               /* directory of its key-value store; NULL: none to format */
	const struct admin_verb *verbs;  /* server_run_stats among them. Of a server without a session, */
	unsigned n_verbs;                /* recv() gets questions with other verbs */

	/* Adds the server's own counters to what `distcloud server show` prints. */
	void (*stats)(struct server *s, json_t *o);

	/* --format, the directory being held. NULL: there is no such option. 0, or a negative errno
	 * with a sentence in `why`. */
	int (*format)(struct server *s, char *why, size_t why_size);
	/* Returns as format(). A server that fails to start is stopped and closed, too. */
	int (*start)(struct server *s, char *why, size_t why_size);
	/* The work of a batch of events. Returns when it wants to be called again at the latest. */
	nsec_t (*tick)(struct server *s, nsec_t now);
	void (*stop)(struct server *s);
	void (*stop_now)(struct server *s); /* a second signal; may be NULL */
	void (*close)(struct server *s);    /* the loop has ended; may be NULL */

	/* Messages that are not the session's, and connections that are not to a hint server; for a
	 * server without a session, all of them. */
	void (*recv)(struct server *s, const struct msg *m);
	void (*peer_up)(struct server *s, server_id_t peer);
	void (*peer_down)(struct server *s, server_id_t peer);
	void (*session_heard)(struct server *s); /* the session got a message; may be NULL */
};

/* How long the loop was busy without a look at what came in. */
struct loop_stats {
	uint64_t turns;
	uint64_t over_1ms, over_10ms, over_100ms;
	nsec_t longest;
};

struct server {
	struct env env;                  /* first: cores get this pointer */
	const struct server_ops *ops;
	struct config config;
	const char *config_path;
	struct state_dir dir;
	struct random random;
	uint64_t boot;                   /* random, drawn at process start */
	uv_loop_t loop;
	struct net *net;                 /* NULL once it is gone */
	struct session *session;         /* NULL: hint servers have none */
	bool stopping;
	enum exit_status status;

	/* inside */
	bool net_stopping;
	void (*net_gone)(struct server *s);
	struct loop_stats loop_stats;
	nsec_t started;
	uv_timer_t tick;
	uv_prepare_t prepare;
	uv_signal_t signal[3];
};

/* --- program_uv.c --- */
/* The whole program; *s is zeroed. Returns the exit status. */
int server_main(struct server *s, const struct server_ops *ops, int argc, char **argv);

/* --- loop_uv.c --- */
int server_run(struct server *s);                              /* from server_main() */
void server_stop(struct server *s, enum exit_status status);   /* the first call counts */
void server_wake(struct server *s);                            /* a tick soon */
void server_end(struct server *s);                             /* closes the loop's own handles */

/* --- stats_uv.c --- */
/* Called before the loop sleeps. */
void server_count_turn(struct server *s);
/* The verb "stats"; ctx is the server. */
json_t *server_run_stats(void *ctx, const json_t *args, enum status *status);

/* --- connect_uv.c --- */
void server_env_init(struct server *s);                        /* from server_run() */
/* Listens, and connects to the hint servers. */
MUST_CHECK int server_start_net(struct server *s, char *why, size_t why_size);
/* disk, and how often it was opened with this time: of a core server, else 0. */
void server_start_session(struct server *s, uint64_t disk, uint64_t opened,
                          const struct session_ops *ops, void *ctx);
const struct config_hint *server_hint(const struct server *s, server_id_t id); /* NULL: none */
/* Nothing is received or sent from now on; done() when the connections are closed, at once if there
 * are none. */
void server_stop_net(struct server *s, void (*done)(struct server *s));
