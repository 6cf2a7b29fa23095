/* Connections between servers on libuv: framing, back-pressure, reconnection, keep-alive.
 *
 * One struct net per loop and process. Peers are known by server id; a frame for a peer goes over
 * the connection to it, whoever opened that. TLS fits underneath later: only net_conn_uv.c touches
 * the stream. Frames that fail their checks end the connection, counted and logged; nothing a peer
 * sends can crash the process (P9). */
#pragma once

#include <uv.h>

#include "common/base/env.h"
#include "common/wire/msg.h"

struct net;

struct net_config {
	server_id_t server;
	enum server_kind kind;
	uint64_t cluster;
	uint64_t boot;
	const char *bind_addr;     /* local address of outgoing connections: decides our site; NULL: any */
	uint64_t queue_bytes_max;  /* per connection, unsent; default 64 MiB: past it send says -EAGAIN */
	nsec_t idle_ping;          /* default 200 ms; a peer silent for `dead_after` is disconnected */
	nsec_t dead_after;         /* default 1 s */
	bool quiet;                /* a command's net: connections are not logged */
	const char *config_path;   /* named when a peer refuses this server; may be NULL */
};

struct net_ops { /* all may be NULL */
	/* Called on the loop. The message and its spans live until it returns. m->via is the
	 * neighbour it came from. */
	void (*recv)(void *ctx, const struct msg *m);
	void (*peer_up)(void *ctx, server_id_t peer);      /* connected and greeted; also: drained */
	void (*peer_down)(void *ctx, server_id_t peer);
	/* NULL, or a sentence why this greeting, in order otherwise, is refused. */
	const char *(*object)(void *ctx, const struct msg_hello *h);
	/* `peer` refuses this server; `why` is a sentence. Told each time. */
	void (*refused)(void *ctx, server_id_t peer, const char *why);
};

/* Ignores SIGPIPE. */
MUST_CHECK int net_new(struct net **out, uv_loop_t *loop, const struct net_config *c,
                       const struct net_ops *ops, void *ctx);
/* Closes everything; done when the last handle is closed, memory freed after it returns. */
void net_stop(struct net *n, void (*done)(void *ctx));

MUST_CHECK int net_listen(struct net *n, const char *addr); /* "127.1.0.1:7000"; -EADDRINUSE ... */
/* Keeps a connection to `peer` open, reconnecting with back-off (50 ms to 1 s). Idempotent; with
 * another address the old connection is given up. What is no address is logged and ignored. */
void net_connect(struct net *n, server_id_t peer, const char *addr);
void net_disconnect(struct net *n, server_id_t peer); /* without peer_down */
bool net_is_up(const struct net *n, server_id_t peer);
const char *net_addr(const struct net *n, server_id_t peer); /* of the other end; "?" */

/* As env->send: m->via or m->dst names the neighbour. m->src is filled in when 0. */
MUST_CHECK int net_send(struct net *n, const struct msg *m);
nsec_t net_rtt(const struct net *n, server_id_t peer); /* smoothed, 0 unknown */

struct net_stats {
	uint64_t frames_in, frames_out, bytes_in, bytes_out, bad_frames, refused, reconnects;
	uint64_t crowded_out; /* strangers, and servers for which there was no connection left */
};
void net_get_stats(const struct net *n, struct net_stats *out);
