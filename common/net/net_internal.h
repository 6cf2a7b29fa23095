/* Inside of net: net_uv.c owns struct net and its timers, net_peer_uv.c says which connection
 * stands for a peer, net_conn_uv.c is one connection and alone touches its stream. */
#pragma once

#include "common/net/net.h"
#include "common/net/rx.h"
#include "common/net/tx.h"

#include <uthash.h>

#define NET_CONNS_MAX 4096  /* accepted ones; fewer where files are few */
#define NET_STRANGERS_MAX 256 /* of them, not greeted yet, or refused and not gone yet */
#define NET_PEERS_MAX 4096
#define NET_ADDR_MAX 64

struct conn;

enum conn_state {
	CONN_DIALING,   /* uv_tcp_connect() is under way */
	CONN_GREETING,  /* waits for hello (accepted) or hello_ok (dialed) */
	CONN_UP,        /* stands for its peer */
	CONN_RETIRED,   /* another one stands for the peer: sends what it has, reads to the end */
	CONN_REFUSED,   /* sends what it has, whatever arrives is dropped */
	CONN_CLOSING,   /* uv_close() is under way: nothing may be called on it any more */
};

struct conn {
	uv_tcp_t tcp;
	uv_connect_t connect;
	uv_write_t write;
	uv_shutdown_t shutdown;
	struct net *net;
	enum conn_state state;
	bool dialed;
	bool writing;       /* `write` is under way, of `write_bytes` */
	bool shut;
	bool dirty;         /* in net->dirty */
	bool starved;       /* not reading: no memory for a payload */
	bool full;          /* a sender was told -EAGAIN */
	int broken;         /* an error to act on outside of net_send() */
	size_t write_bytes;
	server_id_t peer;   /* dialed: expected; accepted: 0 until greeted */
	uint64_t boot;
	struct rx rx;
	struct tx tx;
	nsec_t since;       /* of the state */
	nsec_t heard, pinged;
	char addr[NET_ADDR_MAX];
	struct conn *prev, *next;             /* net->conns */
	struct conn *dirty_prev, *dirty_next;
};

struct peer {
	server_id_t id;
	bool dial;          /* net_connect() was called */
	bool told;          /* a failure to reach it was logged */
	bool told_refused;  /* ... and that it refuses this server */
	char addr[NET_ADDR_MAX];
	nsec_t next_dial, backoff;
	struct conn *active, *dialing;
	nsec_t rtt;
	UT_hash_handle hh;
};

struct listener {
	uv_tcp_t tcp;
	struct net *net;
	struct listener *next;
};

struct net {
	uv_loop_t *loop;
	struct net_config config;
	char config_path[256];
	bool binds;
	struct sockaddr_storage bind_addr;
	struct net_ops ops;
	void *ctx;
	uv_timer_t timer;
	uv_prepare_t prepare;   /* sends what callbacks have queued, before the loop waits */
	uv_idle_t idle;         /* keeps the loop from waiting while something is queued */
	bool idle_on;
	unsigned handles;       /* not closed yet */
	bool stopping;
	void (*stopped)(void *ctx);
	nsec_t ticked;
	struct listener *listeners;
	struct conn *conns;
	unsigned conns_n, starved_n, accepted_n, conns_max;
	struct conn *dirty;
	struct peer *peers;
	struct net_stats stats;
};

/* --- net_uv.c --- */
void net_handle_closed(struct net *n);
void net_tell_up(struct net *n, server_id_t peer);
void net_tell_down(struct net *n, server_id_t peer);
/* "127.1.0.1:7000", "[::1]:7000"; -EINVAL. */
MUST_CHECK int net_parse_addr(const char *text, struct sockaddr_storage *out);

/* --- net_conn_uv.c --- */
struct conn *conn_new(struct net *n, bool dialed);
MUST_CHECK int conn_dial(struct conn *c, const struct sockaddr_storage *to);
MUST_CHECK int conn_accept(struct conn *c, uv_stream_t *listener);
MUST_CHECK int conn_send(struct conn *c, const struct msg *m);
void conn_set_up(struct conn *c);
void conn_retire(struct conn *c);
/* Says why in a hello_no and ends it. */
void conn_refuse(struct conn *c, enum hello_no_reason reason, const char *why);
bool conn_is_stranger(const struct conn *c);
/* Ends it at once. The peer's owner learns of it through peer_lost(). */
void conn_close(struct conn *c);
void conn_flush_dirty(struct net *n);
void conn_retry_starved(struct net *n);
void conn_tick(struct conn *c, nsec_t now);

/* --- net_peer_uv.c --- */
struct peer *peer_find(const struct net *n, server_id_t id);
void peer_tick(struct net *n, nsec_t now);
/* A hello or hello_ok arrived. False: refused, the connection is closing. */
bool peer_greeted(struct conn *c, const struct msg *m);
/* The other end speaks another version of the wire format: ends the connection. */
void peer_speaks_other_version(struct conn *c, unsigned version);
/* hello_no arrived on a dialed connection: ends it. */
void peer_refuses(struct conn *c, const struct msg *m);
/* Logs, once, that a dialed peer cannot be reached. */
void peer_unreachable(struct conn *c, const char *why);
/* `c` closes. */
void peer_lost(struct conn *c);
void peer_free_all(struct net *n);
