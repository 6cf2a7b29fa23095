/* What the files of a hint server share: its state, and who may call what.
 *
 *   hint.c       entry points, applying the log, leadership
 *   relay.c      frames that are for somebody else; routes; what waits for a leader
 *   requests.c   requests of sessions on the leader, from arrival to reply
 *   queries.c    answers to questions
 *   sessions.c   liveness; leases.c: shared leases, recalls; orphans.c: open-but-unlinked files
 *   shown.c      core servers' journal positions, to notice those that forget
 *   status.c     JSON for `distcloud`; admin.c: its verbs */
#pragma once

#include "hint-server/catalog/catalog.h"
#include "hint-server/quorum/hint.h"
#include "hint-server/quorum/proof.h"
#include "hint-server/quorum/read_index.h"
#include "hint-server/quorum/snapshot.h"
#include "hint-server/quorum/voter.h"

#include <uthash.h>
#include <utlist.h>

#define REQUESTS_MAX 16384
#define HELD_MAX 512                    /* requests that wait for a leader */
#define HELD_FOR (400 * NSEC_MSEC)
#define HOLDS_PER_SESSION_MAX 65536
#define RECALL_RESEND (100 * NSEC_MSEC)
#define LEASE_HOLD_MIN (20 * NSEC_MSEC) /* under contention: at least one operation */
#define HEARTBEAT_RECALLS_MAX 512
#define RECALL_RECORD_BYTES 18
#define LATE_MAX (100 * NSEC_MSEC)      /* a tick later than this shifts all deadlines */

struct request;
struct shown;

/* A session as the leader sees it: volatile. */
struct sess {
	UT_hash_handle hh;
	session_id_t id;
	server_id_t server;
	uint8_t kind;
	bool ending;                    /* its end is proposed: never answered again */
	bool greeted;                   /* was told in this term that older shared leases are void */
	nsec_t since;                   /* this leader knows of it */
	nsec_t deadline;                /* lapsed from then on */
	nsec_t shared_until;            /* its shared leases are certainly void from then on */
	struct hold *holds;
	unsigned n_holds, n_recalled;
	struct msg_heartbeat stats;
	uint64_t *unlogged;             /* by slot: the last request that got a shared lease; NULL: none */
};

/* A shared lease: META or DATA of one inode, of one session. */
struct hold {
	struct hold *next, *prev;       /* of the inode */
	struct hold *s_next, *s_prev;   /* of the session */
	struct hold *r_next, *r_prev;   /* of all that are recalled */
	struct sess *sess;
	struct ilease *il;
	uint8_t what;
	uint64_t recall;                /* id; 0: not recalled */
	nsec_t recalled_at, resend_at;
};

/* What the leader knows of an inode's leases beyond the catalog. */
struct ilease {
	UT_hash_handle hh;
	uint64_t ino;
	struct hold *holds;
	struct request *claim;          /* waits for others to give up: nobody is granted anything */
	unsigned changes;               /* proposed changes of it that are not applied yet */
	unsigned users;                 /* requests that point here */
	nsec_t granted_at;
	struct ilease *ex_next, *ex_prev; /* of all whose exclusive lease is recalled */
	session_id_t ex_from;           /* ... from this session */
	uint64_t ex_id;
	uint8_t ex_to;
	nsec_t ex_at, ex_resend_at;
};

#define NAMES_MAX 2

struct slot_key {
	session_id_t session;
	uint64_t slot;
};

enum request_state { REQUEST_WAITING, REQUEST_SUBMITTING, REQUEST_PROPOSED };

/* A request of a session (or of the leader itself) until its reply has left. */
struct request {
	enum request_state state;
	struct request *next, *prev;    /* in arrival order: waiting, submitting or proposed */
	UT_hash_handle hh_index, hh_slot;
	struct msg m;                   /* spans point into `body` */
	uint8_t *body;
	size_t body_len;
	struct slot_key key;
	bool keyed;
	bool internal;                  /* the leader's own: nobody to answer */
	uint64_t arrival;               /* number, for first come, first served */
	uint64_t round, commit;         /* what a read waits for; round 0: none yet */
	uint64_t index;                 /* log index once proposed */
	unsigned touches, names;
	struct catalog_touch touch[CATALOG_TOUCH_MAX];
	struct ilease *touched[CATALOG_TOUCH_MAX];
	uint64_t name[NAMES_MAX];       /* hashes of (directory, name) */
	uint64_t attr_id;               /* a holder was asked for attributes */
	nsec_t attr_resend_at;
};

struct beat {                           /* a heartbeat that waits for its round */
	struct beat *next, *prev;
	server_id_t from, via;
	uint64_t id, round, commit;
	nsec_t arrived;
	struct msg_heartbeat hb;
};

struct route {
	UT_hash_handle hh;
	server_id_t server;
	server_id_t via;                /* the neighbour its last message came from */
	bool direct;                    /* connected to us */
};

struct held {                           /* a frame that waits for a leader to be known */
	struct held *next, *prev;
	struct msg m;
	uint8_t *body;
	nsec_t until;
};

struct follow {
	uint64_t asked[HINT_VOTERS_MAX]; /* requests of this window, by the voter they came through */
	uint64_t all;
	nsec_t window_ends;
	uint16_t site;                   /* the busiest one, */
	nsec_t since;                    /* since */
};

struct lock_wait {
	struct lock_wait *next, *prev;
	session_id_t session;
	uint64_t ino, owner;
	struct msg_op_lock lock;        /* what it asked for, and when last */
	nsec_t asked_at;
	nsec_t circle_since;            /* when it was found to wait for itself; 0: it was not */
	nsec_t resend_at;               /* NSEC_NEVER: nothing freed yet */
	unsigned sent;
};

struct orphans {
	unsigned n;
	uint64_t *ino;
	unsigned askers;                /* sessions asked; answers[asker * n + i] */
	session_id_t *session;
	bool *answered;
	nsec_t resend_at, until;
	bool due;                       /* there may be orphans to ask about; n == 0: not before until */
};

#define MOVES_MAX 256

struct moves {                          /* moves.c; the leader's */
	struct move_to_do {
		uint64_t ino;
		nsec_t given;           /* to somebody; not to another before this */
	} list[MOVES_MAX];
	unsigned n;
	bool walking;
	uint64_t cursor, map;           /* of the walk; the map when it began */
	uint64_t found, stuck;          /* in this walk, */
	uint64_t left, left_stuck;      /* in the one before */
	bool counted;                   /* there was one before */
	nsec_t due;
	uint64_t map_done;              /* by this map nothing is to be moved */
};

struct hint {
	struct env *env;
	struct disk *disk;
	struct kv *kv;
	struct hint_config config;
	nsec_t shared_margin;
	struct catalog *catalog;
	struct voter *voter;
	struct voter_config voter_config;
	struct snapshots *snapshots;
	struct proof proof;
	bool failed, started, fresh;
	unsigned depth;                 /* of entry points: the outermost one tidies up */
	nsec_t heard[HINT_VOTERS_MAX];  /* when each voter was heard last; 0 never */
	char why[320];
	bool in_batch;                  /* applied entries since the last commit of the kv */
	nsec_t batch_since;
	uint64_t batch_entries;
	uint64_t batch_bytes;           /* of commands */
	uint64_t committing_bytes;      /* of the batch whose commit is under way or had no space */
	uint64_t applied_durable;
	uint64_t committing;            /* applied_durable when the commit under way has ended */
	struct image *exporting;        /* a copy of the catalog under way; no commit begins */
	uint64_t checkpoint_at;
	bool full;                      /* room.c */
	uint8_t voter_room[HINT_VOTERS_MAX]; /* enum room, as told last */
	uint64_t growing_bytes;         /* of changes that are decided, not applied, and make it grow */
	nsec_t room_look;
	uint64_t room_want;
	bool room_short;                /* the last time it was not to be had */
	struct catalog_reply reply;
	struct catalog_reply scratch;

	struct route *routes;
	struct held *held;
	unsigned n_held;

	/* The leader's own. */
	bool leader;
	uint64_t leader_term;
	uint64_t ready_index;           /* everything in the log at election, B6 */
	bool ready;
	nsec_t grace_until;             /* shared leases of the previous leader may live until then */
	struct read_index reads;
	struct sess *sessions;
	struct shown *shown;            /* of this leadership */
	bool shown_due, shown_logging;
	nsec_t shown_next;
	struct ilease *ileases;
	struct hold *recalled;
	struct ilease *ex_recalled;
	struct request *waiting;        /* in order of arrival */
	struct request *submitting;
	struct request *proposed;
	struct request *by_index, *by_slot;
	unsigned requests;
	bool dirty;                     /* something happened that the waiting may wait for */
	nsec_t wake_at;
	struct beat *beats;
	unsigned n_beats;
	struct follow follow;           /* the leader's */
	struct absent *absent;          /* sessions that ended under it */
	nsec_t led_since;
	struct lock_wait *lock_waits;
	unsigned n_lock_waits;
	struct orphans orphans;
	struct moves moves;
	uint64_t next_id;               /* of recalls, shared grants, questions: rises over all terms */
	uint64_t arrivals;
	nsec_t tick_due;                /* when the next tick was asked for */
};

/* --- hint.c --- */
nsec_t hint_now(const struct hint *h);
void hint_fail(struct hint *h, int rc, const char *why);
uint16_t hint_voter_site(const struct hint *h, unsigned i); /* by its address; 0: of none */
void hint_wake(struct hint *h, nsec_t at); /* be ticked no later than that */
void hint_commit_wait(struct hint *h);     /* returns when what is applied is durable */
void hint_lose(struct hint *h, bool tell); /* the leadership */
/* As callbacks; ctx is the struct hint. */
void hint_progress(void *ctx);
void hint_send(void *ctx, const struct msg *m);

void hint_commit_again(struct hint *h);    /* that had no space */

/* --- absent.c --- */
void absent_reset(struct hint *h);                           /* it leads now, or no more */
void absent_add(struct hint *h, session_id_t id);            /* this session has ended */
/* May what this session holds or held be recovered though nobody asks for it? */
bool absent_over(struct hint *h, session_id_t id);
nsec_t absent_left(struct hint *h, session_id_t id); /* until then at the latest; 0: now */

/* --- moves.c --- */
void moves_reset(struct hint *h);                            /* it leads now */
nsec_t moves_tick(struct hint *h, nsec_t now);
bool moves_done(const struct hint *h);                       /* no file has to leave anything */
void moves_answer(struct hint *h, const struct msg *q, struct msg *reply); /* q_move */

/* --- follow.c --- */
void follow_reset(struct hint *h);                          /* it leads now */
void follow_count(struct hint *h, const struct msg *m);     /* a request of a session */
nsec_t follow_tick(struct hint *h, nsec_t now);

/* --- room.c --- */
enum room {
	ROOM_ENOUGH,
	ROOM_RESERVE,  /* for what deletes */
	ROOM_NONE,     /* stuck: a commit has no space */
};

nsec_t room_tick(struct hint *h, nsec_t now);
void room_committed(struct hint *h);       /* a commit has ended */
void room_refused(struct hint *h);         /* a commit had no space */
bool room_stuck(const struct hint *h);     /* and still has none */
void room_told(struct hint *h, const struct msg *m);
enum room room_of(const struct hint *h);
bool room_full(const struct hint *h, unsigned i); /* voter i */
bool room_refuses(const struct hint *h, const struct msg *op); /* answer NO_SPACE */
bool room_waits(const struct hint *h, const struct msg *op);   /* ask again after a commit */
bool room_grows(const struct msg *op);                         /* the catalog */
void room_applied(struct hint *h);

/* --- status.c --- */
bool hint_hears(const struct hint *h, unsigned i); /* voter i, lately */

const char *hint_site_name(const struct hint *h, uint16_t id);
const char *hint_server_state(const struct hint *h, const struct catalog_server *s);

/* --- hint_messages.c --- */
void hint_dispatch(struct hint *h, const struct msg *m); /* a message for this server */

/* --- relay.c --- */
void relay_send(struct hint *h, const struct msg *m);   /* to m->dst by the best way known */
void relay_reply(struct hint *h, struct msg *m, const struct msg *to); /* the way it came */
void relay_learn(struct hint *h, const struct msg *m);
bool relay_pass_on(struct hint *h, const struct msg *m); /* true: it was not for us */
void relay_leader_known(struct hint *h);
nsec_t relay_tick(struct hint *h, nsec_t now);
void relay_free(struct hint *h);
bool relay_is_hint(const struct hint *h, server_id_t id);
bool relay_direct(const struct hint *h, server_id_t id);
void relay_refuse(struct hint *h, const struct msg *m); /* NOT_LEADER, in the form asked for */

/* --- requests.c --- */
void requests_arrive(struct hint *h, const struct msg *m);
void requests_run(struct hint *h);                       /* all that wait, in order */
void requests_submit(struct hint *h);
void requests_applied(struct hint *h, uint64_t index, const struct msg *op,
                      struct catalog_reply *reply);
void requests_drop(struct hint *h, bool tell);           /* leadership is lost */
/* Proposes an op of the leader's own. */
void requests_internal(struct hint *h, const struct msg *op);
bool request_confirmed(struct hint *h, struct request *r); /* joins a round when it has none */
void request_finish(struct hint *h, struct request *r, struct msg *reply);
bool requests_is_change(unsigned type);
bool requests_is_query(unsigned type);

/* --- queries.c: true when answered --- */
bool query_run(struct hint *h, struct request *r);
void query_attr_reply(struct hint *h, const struct msg *m);

/* --- sessions.c --- */
struct sess *sess_find(struct hint *h, session_id_t id);
struct sess *sess_add(struct hint *h, session_id_t id, server_id_t server, uint8_t kind);
void sess_gone(struct hint *h, session_id_t id);
bool sess_lapsed(const struct hint *h, const struct sess *s);
void sess_end(struct hint *h, struct sess *s);           /* proposes its end, once */
void sessions_load(struct hint *h);                      /* all of the catalog, with a full T */
void sessions_clear(struct hint *h);
void sessions_shift(struct hint *h, nsec_t late);
void beats_arrive(struct hint *h, const struct msg *m);
void beats_run(struct hint *h);
/* Sum over live core servers, as of their last heartbeats. */
void sessions_space(const struct hint *h, uint64_t *total, uint64_t *free);
const struct sess *sessions_of_server(const struct hint *h, server_id_t server);

/* --- shown.c --- */
/* A core server's heartbeat: false while what it shows is not remembered by the catalog yet. */
bool shown_note(struct hint *h, const struct catalog_session *c, const struct beat *b);
void shown_log(struct hint *h);                          /* proposes what rose, when it is time */
void shown_logged(struct hint *h);                       /* ... and that was applied */
/* True if this registration of a core server shows less than its heartbeats did. */
bool shown_more(struct hint *h, const struct msg_op_session *op);
void shown_clear(struct hint *h);

/* --- leases.c --- */
struct ilease *lease_get(struct hint *h, uint64_t ino);  /* made when new */
void lease_maybe_free(struct hint *h, struct ilease *il);
bool lease_may_grant(struct hint *h, const struct sess *s, uint64_t ino);
/* Records shared leases; false (nothing recorded) at the session's limit. */
bool lease_grant(struct hint *h, struct sess *s, uint64_t ino, unsigned what);
/* True when nobody else has what r->touch names; else recalls are under way and r waits. `changes`: it is more
 * than a shared lease, so it waits for those that a leader before may have granted, too. */
bool lease_clear_for(struct hint *h, struct request *r, bool changes);
void lease_release_claims(struct hint *h, struct request *r);
void lease_ack(struct hint *h, const struct msg *m);
void lease_holder_changed(struct hint *h, uint64_t ino);
void lease_drop_session(struct hint *h, struct sess *s);
void leases_clear(struct hint *h);
nsec_t leases_tick(struct hint *h, nsec_t now);
void leases_shift(struct hint *h, nsec_t late);
/* Outstanding recalls of a session, as records for a heartbeat reply. */
unsigned lease_recalls(struct hint *h, struct sess *s, uint8_t *out, unsigned max);
/* A recall is overdue: the session's heartbeats are not answered (trap B3). */
bool lease_overdue(const struct hint *h, const struct sess *s);

/* --- locks (requests.c) --- */
/* A lock was refused that is waited for. False: the waiter would wait for ever, EDEADLK. */
MUST_CHECK bool lock_wait_add(struct hint *h, const struct msg *op);
void lock_wait_forget(struct hint *h, session_id_t session, uint64_t ino, uint64_t owner);
void lock_waits_freed(struct hint *h, uint64_t ino);
nsec_t lock_waits_tick(struct hint *h, nsec_t now);
void lock_waits_clear(struct hint *h);

/* --- orphans.c --- */
void orphans_answer(struct hint *h, const struct msg *m);
nsec_t orphans_tick(struct hint *h, nsec_t now);
void orphans_clear(struct hint *h);

/* --- admin.c --- */
void admin_recv(struct hint *h, const struct msg *m);
