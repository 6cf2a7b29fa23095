#include "common/net/net_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <utlist.h>

#define QUEUE_BYTES_DEFAULT ((uint64_t)64 << 20)
#define IDLE_PING_DEFAULT (200 * NSEC_MSEC)
#define DEAD_AFTER_DEFAULT NSEC_SEC
#define BACKLOG 256
#define TICK_MSEC 25

/* --- addresses --- */

int net_parse_addr(const char *text, struct sockaddr_storage *out)
{
	const char *colon = strrchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;
	char host[NET_ADDR_MAX], *end;
	long port;

	if (!colon || len == 0 || len >= sizeof(host))
		return -EINVAL;
	port = strtol(colon + 1, &end, 10);
	if (colon[1] < '0' || colon[1] > '9' || *end || port > 65535)
		return -EINVAL;
	memset(out, 0, sizeof(*out));
	if (text[0] == '[' && text[len - 1] == ']' && len > 2) {
		memcpy(host, text + 1, len - 2);
		host[len - 2] = '\0';
		return uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)out) ? -EINVAL : 0;
	}
	memcpy(host, text, len);
	host[len] = '\0';
	return uv_ip4_addr(host, (int)port, (struct sockaddr_in *)out) ? -EINVAL : 0;
}

static int parse_bind(const char *text, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (uv_ip4_addr(text, 0, (struct sockaddr_in *)out) == 0)
		return 0;
	return uv_ip6_addr(text, 0, (struct sockaddr_in6 *)out) ? -EINVAL : 0;
}

/* --- the owner's callbacks --- */

void net_tell_up(struct net *n, server_id_t peer)
{
	if (n->ops.peer_up)
		n->ops.peer_up(n->ctx, peer);
}

void net_tell_down(struct net *n, server_id_t peer)
{
	if (n->ops.peer_down)
		n->ops.peer_down(n->ctx, peer);
}

/* --- the loop's callbacks --- */

static void on_timer(uv_timer_t *timer)
{
	struct net *n = container_of(timer, struct net, timer);
	nsec_t now = clock_boottime(), late = now - n->ticked - TICK_MSEC * NSEC_MSEC;
	struct conn *c, *next;

	clock_awake();
	n->ticked = now;
	DL_FOREACH_SAFE(n->conns, c, next) {
		/* Silence while this process itself did not run says nothing about the peer. */
		if (late > n->config.idle_ping)
			c->heard = now;
		conn_tick(c, now);
		if (n->stopping)
			return;
	}
	peer_tick(n, now);
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct net *n = container_of(prepare, struct net, prepare);

	if (n->starved_n > 0)
		conn_retry_starved(n);
	conn_flush_dirty(n);
	if (!n->dirty && n->idle_on) {
		uv_idle_stop(&n->idle);
		n->idle_on = false;
	}
}

/* --- life --- */

static void start_handles(struct net *n)
{
	/* These fail on nothing but misuse. */
	CHECK(uv_timer_init(n->loop, &n->timer) == 0);
	CHECK(uv_prepare_init(n->loop, &n->prepare) == 0);
	CHECK(uv_idle_init(n->loop, &n->idle) == 0);
	n->handles = 3;
	CHECK(uv_timer_start(&n->timer, on_timer, TICK_MSEC, TICK_MSEC) == 0);
	CHECK(uv_prepare_start(&n->prepare, on_prepare) == 0);
}

/* Half of the files are for connections from outside: a flood of them leaves the disk, the mount and
 * this server's own connections theirs. */
static unsigned conns_max(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur == RLIM_INFINITY)
		return NET_CONNS_MAX;
	return (unsigned)MIN((rlim_t)NET_CONNS_MAX, MAX(files.rlim_cur / 2, (rlim_t)1));
}

int net_new(struct net **out, uv_loop_t *loop, const struct net_config *c,
            const struct net_ops *ops, void *ctx)
{
	struct net *n = mem_new(sizeof(*n));

	n->loop = loop;
	n->config = *c;
	n->ops = *ops;
	n->ctx = ctx;
	if (!n->config.queue_bytes_max)
		n->config.queue_bytes_max = QUEUE_BYTES_DEFAULT;
	if (!n->config.idle_ping)
		n->config.idle_ping = IDLE_PING_DEFAULT;
	if (!n->config.dead_after)
		n->config.dead_after = DEAD_AFTER_DEFAULT;
	if (c->bind_addr && parse_bind(c->bind_addr, &n->bind_addr) < 0) {
		mem_free(n);
		return -EINVAL;
	}
	n->binds = c->bind_addr != NULL;
	if (c->config_path)
		snprintf(n->config_path, sizeof(n->config_path), "%s", c->config_path);
	n->config.bind_addr = n->config.config_path = NULL; /* the caller's memory may go */
	n->conns_max = conns_max();
	n->ticked = clock_boottime();
	signal(SIGPIPE, SIG_IGN);
	start_handles(n);
	*out = n;
	return 0;
}

void net_handle_closed(struct net *n)
{
	CHECK(n->handles > 0);
	if (--n->handles > 0 || !n->stopping)
		return;
	n->stopped(n->ctx);
	peer_free_all(n);
	mem_free(n);
}

static void on_timer_closed(uv_handle_t *h)
{
	net_handle_closed(container_of(h, struct net, timer));
}

static void on_prepare_closed(uv_handle_t *h)
{
	net_handle_closed(container_of(h, struct net, prepare));
}

static void on_idle_closed(uv_handle_t *h)
{
	net_handle_closed(container_of(h, struct net, idle));
}

static void on_listener_closed(uv_handle_t *h)
{
	struct listener *l = container_of(h, struct listener, tcp);
	struct net *n = l->net;

	mem_free(l);
	net_handle_closed(n);
}

void net_stop(struct net *n, void (*done)(void *ctx))
{
	struct conn *c, *next;
	struct listener *l, *l_next;

	CHECK(!n->stopping);
	n->stopping = true;
	n->stopped = done;
	DL_FOREACH_SAFE(n->conns, c, next) {
		if (c->state != CONN_CLOSING)
			conn_close(c);
	}
	LL_FOREACH_SAFE(n->listeners, l, l_next)
		uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
	n->listeners = NULL;
	uv_close((uv_handle_t *)&n->timer, on_timer_closed);
	uv_close((uv_handle_t *)&n->prepare, on_prepare_closed);
	uv_close((uv_handle_t *)&n->idle, on_idle_closed);
}

/* --- listening --- */

/* Too many strangers: the one that has been silent longest goes. Who greets does so at once. */
static void make_room(struct net *n, struct conn *new)
{
	unsigned strangers = 0;
	struct conn *c, *oldest = NULL;

	DL_FOREACH(n->conns, c) {
		if (!conn_is_stranger(c))
			continue;
		strangers++;
		oldest = oldest ? oldest : c;
	}
	if (strangers > NET_STRANGERS_MAX) {
		n->stats.crowded_out++;
		log_warn("net.crowded", "%u connections have not greeted: the one from %s closed",
		         strangers, oldest->addr);
		conn_close(oldest);
	} else if (n->accepted_n > n->conns_max) {
		n->stats.crowded_out++;
		log_warn("net.crowded", "%u connections are open: the one from %s closed", n->accepted_n,
		         new->addr);
		conn_close(new);
	}
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct listener *l = container_of(stream, struct listener, tcp);
	struct conn *c;
	int rc;

	clock_awake();
	if (status < 0) {
		log_warn("net.accept", "cannot accept a connection: %s", uv_strerror(status));
		return;
	}
	c = conn_new(l->net, false);
	rc = conn_accept(c, stream);
	if (rc < 0) {
		log_warn("net.accept", "cannot accept a connection: %s", uv_strerror(rc));
		conn_close(c);
		return;
	}
	make_room(l->net, c);
}

int net_listen(struct net *n, const char *addr)
{
	struct sockaddr_storage at;
	struct listener *l;
	int rc = net_parse_addr(addr, &at);

	if (rc < 0)
		return rc;
	l = mem_new(sizeof(*l));
	l->net = n;
	rc = uv_tcp_init(n->loop, &l->tcp);
	if (rc < 0) {
		mem_free(l);
		return rc;
	}
	n->handles++;
	rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&at, 0);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
	if (rc < 0) {
		uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
		return rc;
	}
	LL_PREPEND(n->listeners, l);
	return 0;
}

/* --- sending --- */

int net_send(struct net *n, const struct msg *m)
{
	struct peer *p = peer_find(n, m->via ? m->via : m->dst);

	if (!p || !p->active)
		return -ENOTCONN;
	if (m->src)
		return conn_send(p->active, m);
	struct msg own = *m;

	own.src = n->config.server;
	return conn_send(p->active, &own);
}

bool net_is_up(const struct net *n, server_id_t peer)
{
	struct peer *p = peer_find(n, peer);

	return p && p->active;
}

const char *net_addr(const struct net *n, server_id_t peer)
{
	struct peer *p = peer_find(n, peer);

	return p && p->active ? p->active->addr : "?";
}

nsec_t net_rtt(const struct net *n, server_id_t peer)
{
	struct peer *p = peer_find(n, peer);

	return p ? p->rtt : 0;
}

void net_get_stats(const struct net *n, struct net_stats *out)
{
	*out = n->stats;
}
