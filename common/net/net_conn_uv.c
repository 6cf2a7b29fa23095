/* One connection. The only code that touches its stream: TLS goes in here.
 *
 * Sending: frames queue in `tx`; the loop's prepare callback writes what a round of callbacks has
 * queued with one writev, and hands the kernel's refusal to uv_write(), one at a time. */
#include "common/net/net_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <utlist.h>

#define PIECES_MAX 64
/* So much is not left waiting for the end of the round. */
#define FLUSH_BYTES (256u << 10)
#define RTT_SHIFT 3 /* as TCP's smoothed round-trip time (RFC 6298) */

static uv_stream_t *stream_of(struct conn *c)
{
	return (uv_stream_t *)&c->tcp;
}

static void set_state(struct conn *c, enum conn_state state)
{
	c->state = state;
	c->since = clock_boottime();
}

/* --- life --- */

struct conn *conn_new(struct net *n, bool dialed)
{
	struct conn *c = mem_new(sizeof(*c));

	c->net = n;
	c->dialed = dialed;
	rx_init(&c->rx);
	tx_init(&c->tx);
	c->heard = clock_boottime();
	set_state(c, CONN_DIALING);
	CHECK(uv_tcp_init(n->loop, &c->tcp) == 0);
	n->handles++;
	n->conns_n++;
	n->accepted_n += !dialed;
	DL_APPEND(n->conns, c);
	return c;
}

static void on_closed(uv_handle_t *h)
{
	struct conn *c = container_of(h, struct conn, tcp);
	struct net *n = c->net;

	DL_DELETE(n->conns, c);
	n->conns_n--;
	n->accepted_n -= !c->dialed;
	rx_fini(&c->rx);
	tx_fini(&c->tx);
	mem_free(c);
	net_handle_closed(n);
}

void conn_close(struct conn *c)
{
	struct net *n = c->net;

	CHECK(c->state != CONN_CLOSING);
	set_state(c, CONN_CLOSING);
	if (c->dirty)
		DL_DELETE2(n->dirty, c, dirty_prev, dirty_next);
	if (c->starved)
		n->starved_n--;
	c->dirty = c->starved = false;
	uv_close((uv_handle_t *)&c->tcp, on_closed);
	peer_lost(c);
}

/* --- sending --- */

/* Only there to be active. */
static void on_idle(uv_idle_t *idle)
{
	(void)idle;
}

static void mark_dirty(struct conn *c)
{
	struct net *n = c->net;

	if (c->dirty)
		return;
	c->dirty = true;
	DL_APPEND2(n->dirty, c, dirty_prev, dirty_next);
	if (!n->idle_on) {
		n->idle_on = true;
		CHECK(uv_idle_start(&n->idle, on_idle) == 0);
	}
}

static void on_written(uv_write_t *req, int status);

static unsigned get_bufs(struct conn *c, uv_buf_t bufs[PIECES_MAX], size_t *total)
{
	unsigned n = tx_seal(&c->tx, PIECES_MAX);

	*total = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct tx_piece *piece = tx_piece(&c->tx, i);

		bufs[i] = uv_buf_init((char *)(uintptr_t)piece->p, (unsigned)piece->len);
		*total += piece->len;
	}
	return n;
}

static void queue_write(struct conn *c)
{
	uv_buf_t bufs[PIECES_MAX];
	unsigned n = get_bufs(c, bufs, &c->write_bytes);
	int rc = uv_write(&c->write, stream_of(c), bufs, n, on_written);

	if (rc < 0)
		c->broken = rc;
	else
		c->writing = true;
}

static void sent(struct conn *c, size_t bytes)
{
	tx_consume(&c->tx, bytes);
	c->net->stats.bytes_out += bytes;
}

/* Writes as much as the kernel takes; an error is kept in c->broken. */
static void flush(struct conn *c)
{
	uv_buf_t bufs[PIECES_MAX];

	while (!c->writing && !c->broken && c->tx.bytes > 0) {
		size_t total;
		unsigned n = get_bufs(c, bufs, &total);
		int rc = uv_try_write(stream_of(c), bufs, n);

		if (rc < 0 && rc != UV_EAGAIN) {
			c->broken = rc;
			return;
		}
		if (rc > 0)
			sent(c, (size_t)rc);
		if (rc < 0 || (size_t)rc < total)
			queue_write(c);
	}
}

static void on_shut(uv_shutdown_t *req, int status)
{
	(void)req; /* the peer's end of file or the tick closes it */
	(void)status;
}

/* What follows a flush, and may call the owner: never from inside net_send(). */
static void after_flush(struct conn *c)
{
	struct net *n = c->net;

	if (c->broken) {
		if (!n->config.quiet)
			log_info("net.broken", "connection to server %u at %s: %s", c->peer, c->addr,
			         uv_strerror(c->broken));
		conn_close(c);
		return;
	}
	if ((c->state == CONN_RETIRED || c->state == CONN_REFUSED) && c->tx.bytes == 0 && !c->shut) {
		c->shut = true;
		if (uv_shutdown(&c->shutdown, stream_of(c), on_shut) < 0)
			conn_close(c);
		return;
	}
	if (c->full && c->tx.bytes <= n->config.queue_bytes_max / 2) {
		c->full = false;
		if (c->state == CONN_UP)
			net_tell_up(n, c->peer);
	}
}

static void on_written(uv_write_t *req, int status)
{
	struct conn *c = container_of(req, struct conn, write);

	c->writing = false;
	if (c->state == CONN_CLOSING)
		return;
	if (status < 0)
		c->broken = status;
	else
		sent(c, c->write_bytes);
	flush(c);
	after_flush(c);
}

void conn_flush_dirty(struct net *n)
{
	struct conn *c;
	unsigned left;

	/* Not more than there are now: callbacks may queue again. */
	DL_COUNT2(n->dirty, c, left, dirty_next);
	while (left-- > 0 && n->dirty) {
		c = n->dirty;
		DL_DELETE2(n->dirty, c, dirty_prev, dirty_next);
		c->dirty = false;
		flush(c);
		after_flush(c);
		if (n->stopping)
			return;
	}
}

static void queue(struct conn *c, const struct msg *m)
{
	tx_add(&c->tx, m);
	c->net->stats.frames_out++;
	mark_dirty(c);
	if (c->tx.bytes >= FLUSH_BYTES)
		flush(c);
}

int conn_send(struct conn *c, const struct msg *m)
{
	CHECK(c->state == CONN_UP);
	if (c->tx.bytes > 0 &&
	    c->tx.bytes + msg_head_bytes(m) + m->payload.len > c->net->config.queue_bytes_max) {
		c->full = true;
		return -EAGAIN;
	}
	queue(c, m);
	return 0;
}

/* --- receiving --- */

static void send_bare(struct conn *c, enum msg_type type, uint64_t id)
{
	struct msg m = {.type = type, .src = c->net->config.server, .dst = c->peer, .id = id};

	queue(c, &m);
}

static void greet(struct conn *c, enum msg_type type)
{
	const struct net_config *own = &c->net->config;
	struct msg m = {
		.type = type,
		.src = own->server,
		.dst = c->peer,
		/* hello_ok has the same fields */
		.hello = {
			.server = own->server,
			.kind = (uint8_t)own->kind,
			.cluster = own->cluster,
			.wire_version = WIRE_VERSION,
			.boot = own->boot,
		},
	};

	static_assert(sizeof(struct msg_hello) == sizeof(struct msg_hello_ok), "one layout");
	queue(c, &m);
}

/* A pong repeats the ping's id: the time it was sent. */
static void take_pong(struct conn *c, uint64_t id)
{
	uint64_t age = (uint64_t)clock_boottime() - id; /* of what the peer says: any number */
	struct peer *p = peer_find(c->net, c->peer);
	nsec_t rtt = (nsec_t)age;

	if (!p || age == 0 || age > (uint64_t)(60 * NSEC_SEC))
		return;
	p->rtt = p->rtt ? p->rtt + (rtt - p->rtt) / (1 << RTT_SHIFT) : rtt;
}

static void bad_frame(struct conn *c, const char *why)
{
	c->net->stats.bad_frames++;
	if (c->peer)
		log_warn("net.bad_frame", "connection with server %u at %s closed: %s", c->peer, c->addr, why);
	else
		log_warn("net.stranger", "connection from %s closed: %s", c->addr, why);
	conn_close(c);
}

static void handle_greeting(struct conn *c, const struct msg *m)
{
	if (c->dialed && m->type == MSG_TYPE_hello_no) {
		peer_refuses(c, m);
		return;
	}
	if (m->type != (c->dialed ? MSG_TYPE_hello_ok : MSG_TYPE_hello)) {
		bad_frame(c, "it does not begin with a greeting");
		return;
	}
	if (!peer_greeted(c, m))
		return;
	rx_set_limits(&c->rx, WIRE_BODY_BYTES_MAX, WIRE_PAYLOAD_BYTES_MAX);
}

static void handle(struct conn *c, struct msg *m)
{
	struct net *n = c->net;

	n->stats.frames_in++;
	if (c->state == CONN_GREETING) {
		handle_greeting(c, m);
	} else if (m->type == MSG_TYPE_ping) {
		/* One that asks and does not read gets no more answers than others. */
		if (!c->shut && c->tx.bytes <= n->config.queue_bytes_max)
			send_bare(c, MSG_TYPE_pong, m->id);
	} else if (m->type == MSG_TYPE_pong) {
		take_pong(c, m->id);
	} else if (m->type <= MSG_TYPE_hello_no) {
		bad_frame(c, "a second greeting");
	} else {
		m->via = c->peer;
		if (n->ops.recv)
			n->ops.recv(n->ctx, m);
	}
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
	struct conn *c = container_of(h, struct conn, tcp);
	static uint8_t sink[64u << 10];
	uint8_t *p = sink;
	size_t len = sizeof(sink);

	clock_awake();
	(void)suggested;
	if (c->state != CONN_REFUSED)
		rx_space(&c->rx, &p, &len);
	*buf = uv_buf_init((char *)p, (unsigned)len);
}

static void starve(struct conn *c)
{
	uv_read_stop(stream_of(c));
	c->starved = true;
	c->net->starved_n++;
}

/* Hands on every whole frame. */
static void drain(struct conn *c)
{
	struct msg m;
	int rc;

	while (c->state < CONN_REFUSED && (rc = rx_next(&c->rx, &m)) != 0) {
		if (rc == 1)
			handle(c, &m);
		else if (rc == -ENOMEM)
			return starve(c);
		else if (rc == ERR_VERSION && c->state == CONN_GREETING)
			return peer_speaks_other_version(c, c->rx.info.version);
		else
			return bad_frame(c, err_text(rc));
	}
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
	struct conn *c = container_of(stream, struct conn, tcp);
	struct net *n = c->net;

	(void)buf;
	if (nread == 0 || c->state == CONN_CLOSING)
		return;
	if (nread < 0) {
		if (c->state == CONN_GREETING && c->dialed)
			peer_unreachable(c, "it closed the connection without greeting");
		conn_close(c);
		return;
	}
	n->stats.bytes_in += (uint64_t)nread;
	if (c->state == CONN_REFUSED)
		return;
	c->heard = clock_boottime();
	rx_filled(&c->rx, (size_t)nread);
	drain(c);
}

void conn_retry_starved(struct net *n)
{
	struct conn *c, *next;

	DL_FOREACH_SAFE(n->conns, c, next) {
		if (!c->starved)
			continue;
		c->starved = false;
		n->starved_n--;
		drain(c);
		if (n->stopping)
			return;
		if (c->state == CONN_CLOSING || c->starved)
			continue;
		c->heard = clock_boottime();
		if (uv_read_start(stream_of(c), on_alloc, on_read) < 0)
			conn_close(c);
	}
}

/* --- setting up --- */

static int open_stream(struct conn *c)
{
	int rc = uv_tcp_nodelay(&c->tcp, 1);

	if (rc < 0)
		return rc;
	set_state(c, CONN_GREETING);
	return uv_read_start(stream_of(c), on_alloc, on_read);
}

static void name_peer(struct conn *c)
{
	struct sockaddr_storage sa;
	int len = sizeof(sa);
	char host[48] = "?";
	uint16_t port;

	if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&sa, &len) < 0)
		return;
	if (sa.ss_family == AF_INET6) {
		uv_ip6_name((struct sockaddr_in6 *)&sa, host, sizeof(host));
		port = ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
		snprintf(c->addr, sizeof(c->addr), "[%s]:%u", host, port);
	} else {
		uv_ip4_name((struct sockaddr_in *)&sa, host, sizeof(host));
		port = ntohs(((struct sockaddr_in *)&sa)->sin_port);
		snprintf(c->addr, sizeof(c->addr), "%s:%u", host, port);
	}
}

int conn_accept(struct conn *c, uv_stream_t *listener)
{
	int rc = uv_accept(listener, stream_of(c));

	if (rc < 0)
		return rc;
	name_peer(c);
	return open_stream(c);
}

static void on_connect(uv_connect_t *req, int status)
{
	struct conn *c = container_of(req, struct conn, connect);

	clock_awake();
	if (c->state == CONN_CLOSING)
		return;
	if (status == 0)
		status = open_stream(c);
	if (status == 0) {
		greet(c, MSG_TYPE_hello);
		return;
	}
	peer_unreachable(c, uv_strerror(status));
	conn_close(c);
}

int conn_dial(struct conn *c, const struct sockaddr_storage *to)
{
	int rc = 0;

	if (c->net->binds)
		rc = uv_tcp_bind(&c->tcp, (const struct sockaddr *)&c->net->bind_addr, 0);
	if (rc < 0)
		return rc;
	return uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)to, on_connect);
}

void conn_set_up(struct conn *c)
{
	set_state(c, CONN_UP);
	if (!c->dialed)
		greet(c, MSG_TYPE_hello_ok);
	c->pinged = 0;
}

void conn_retire(struct conn *c)
{
	if (c->state == CONN_GREETING && !c->dialed)
		greet(c, MSG_TYPE_hello_ok);
	set_state(c, CONN_RETIRED);
	mark_dirty(c);
}

void conn_refuse(struct conn *c, enum hello_no_reason reason, const char *why)
{
	const struct net_config *own = &c->net->config;
	struct msg m = {
		.type = MSG_TYPE_hello_no,
		.src = own->server,
		.dst = c->peer,
		.hello_no = {
			.reason = (uint8_t)reason,
			.cluster = own->cluster,
			.wire_version = WIRE_VERSION,
			.text = {(const uint8_t *)why, (uint32_t)strlen(why)},
		},
	};

	queue(c, &m);
	set_state(c, CONN_REFUSED);
}

bool conn_is_stranger(const struct conn *c)
{
	return !c->dialed && (c->state == CONN_GREETING || c->state == CONN_REFUSED);
}

/* --- time --- */

void conn_tick(struct conn *c, nsec_t now)
{
	const struct net_config *config = &c->net->config;

	switch (c->state) {
	case CONN_CLOSING:
		return;
	case CONN_DIALING:
	case CONN_GREETING:
	case CONN_RETIRED:
	case CONN_REFUSED:
		if (now - c->since <= 2 * config->dead_after)
			return;
		if (c->dialed && c->state < CONN_UP)
			peer_unreachable(c, "it does not answer");
		conn_close(c);
		return;
	case CONN_UP:
		break;
	}
	if (!c->starved && now - c->heard > config->dead_after) {
		if (!config->quiet)
			log_info("net.silent", "server %u at %s is silent: disconnected", c->peer, c->addr);
		conn_close(c);
		return;
	}
	if (now - c->pinged >= config->idle_ping) {
		c->pinged = now;
		send_bare(c, MSG_TYPE_ping, (uint64_t)clock_boottime());
	}
}
