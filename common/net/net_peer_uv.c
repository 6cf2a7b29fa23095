/* Which connection stands for a peer: dialing, greeting, and the choice between two.
 *
 * Both servers of a pair may dial. Of two connections of the same two processes the one dialed by
 * the server with the lower id stays; both sides see both, so both choose the same. The other one
 * retires: it sends what it has and is read to its end, nothing is lost. A connection of a new
 * process (`boot`) or a second one dialed by the same side replaces the old one, which is dead. */
#include "common/net/net_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <utlist.h>

#define BACKOFF_MIN (50 * NSEC_MSEC)
#define BACKOFF_MAX NSEC_SEC

struct peer *peer_find(const struct net *n, server_id_t id)
{
	struct peer *p;

	HASH_FIND(hh, n->peers, &id, sizeof(id), p);
	return p;
}

static struct peer *peer_add(struct net *n, server_id_t id)
{
	struct peer *p = peer_find(n, id);

	if (p)
		return p;
	p = mem_new(sizeof(*p));
	p->id = id;
	HASH_ADD(hh, n->peers, id, sizeof(p->id), p);
	return p;
}

static void drop_unused(struct net *n, struct peer *p)
{
	if (p->dial || p->active || p->dialing)
		return;
	HASH_DELETE(hh, n->peers, p);
	mem_free(p);
}

void peer_free_all(struct net *n)
{
	struct peer *p, *next;

	HASH_ITER(hh, n->peers, p, next) {
		HASH_DELETE(hh, n->peers, p);
		mem_free(p);
	}
}

/* --- dialing --- */

void peer_unreachable(struct conn *c, const char *why)
{
	struct peer *p = peer_find(c->net, c->peer);

	if (!p || p->told)
		return;
	p->told = true;
	if (!c->net->config.quiet)
		log_info("net.unreachable", "server %u at %s: %s; trying on", p->id, c->addr, why);
}

static void dial(struct net *n, struct peer *p, nsec_t now)
{
	struct sockaddr_storage to;
	struct conn *c;
	int rc;

	p->backoff = p->backoff ? MIN(2 * p->backoff, BACKOFF_MAX) : BACKOFF_MIN;
	p->next_dial = now + p->backoff;
	CHECK(net_parse_addr(p->addr, &to) == 0); /* net_connect() saw to it */
	c = conn_new(n, true);
	c->peer = p->id;
	snprintf(c->addr, sizeof(c->addr), "%s", p->addr);
	p->dialing = c;
	rc = conn_dial(c, &to);
	if (rc < 0) {
		peer_unreachable(c, uv_strerror(rc));
		conn_close(c);
	}
}

void peer_tick(struct net *n, nsec_t now)
{
	struct peer *p, *next;

	HASH_ITER(hh, n->peers, p, next) {
		if (p->dial && !p->active && !p->dialing && now >= p->next_dial)
			dial(n, p, now);
	}
}

void net_connect(struct net *n, server_id_t peer, const char *addr)
{
	struct sockaddr_storage to;
	struct conn *active, *dialing;
	struct peer *p;

	CHECK(peer != 0 && peer != n->config.server && !n->stopping);
	if (strlen(addr) >= sizeof(p->addr) || net_parse_addr(addr, &to) < 0) {
		log_warn("net.address", "server %u: \"%.80s\" is not an address and port", peer, addr);
		return;
	}
	p = peer_add(n, peer);
	if (p->dial && strcmp(p->addr, addr) == 0)
		return;
	p->dial = true;
	p->backoff = 0;
	snprintf(p->addr, sizeof(p->addr), "%s", addr);
	/* One that the peer itself opened is good wherever it listens. */
	active = p->active && p->active->dialed ? p->active : NULL;
	dialing = p->dialing;
	if (dialing)
		conn_close(dialing);
	if (active)
		conn_close(active);
	p = peer_find(n, peer); /* peer_down() may have disconnected it */
	if (p && p->dial && !p->active && !p->dialing)
		dial(n, p, clock_boottime());
}

void net_disconnect(struct net *n, server_id_t peer)
{
	struct peer *p = peer_find(n, peer);
	struct conn *active, *dialing;

	if (!p)
		return;
	active = p->active;
	dialing = p->dialing;
	/* Cut loose first: closing then calls nobody. */
	p->dial = false;
	p->active = p->dialing = NULL;
	drop_unused(n, p);
	if (active)
		conn_close(active);
	if (dialing)
		conn_close(dialing);
}

/* --- greeting --- */

/* A process that lives is heard more often than this many times its pings' interval. */
#define PINGS_MISSED 2
#define REASON_BYTES 256

/* Another process than the one that holds the connection, and that one lives: two with one id. One
 * that was killed and started again finds the old connection closed, or silent very soon. */
static bool in_use(const struct conn *c, const struct msg_hello *h)
{
	const struct peer *p = peer_find(c->net, h->server);
	const struct conn *old = p ? p->active : NULL;

	return old && old->boot != h->boot &&
	       clock_boottime() - old->heard < PINGS_MISSED * c->net->config.idle_ping;
}

static const char *id_objection(const struct conn *c, const struct msg_hello *h)
{
	if (h->server == 0 || h->server == SERVER_LEADER)
		return "its server id is not one";
	if (h->server == c->net->config.server)
		return "its server id is also that of the server it talks to: check id in [server] of both";
	if (c->dialed && h->server != c->peer)
		return "another server answers at this address: check the configuration files";
	if (h->kind < SERVER_CORE || h->kind > SERVER_ADMIN)
		return "its kind is unknown";
	if (!c->dialed && !peer_find(c->net, h->server) && HASH_COUNT(c->net->peers) >= NET_PEERS_MAX)
		return "too many peers";
	return NULL;
}

/* False when the peer may be talked to, else why not. */
static bool objection(const struct conn *c, const struct msg_hello *h,
                      enum hello_no_reason *reason, char why[REASON_BYTES])
{
	const struct net *n = c->net;
	const char *text;

	if (h->cluster != n->config.cluster) {
		*reason = HELLO_NO_CLUSTER;
		snprintf(why, REASON_BYTES, "it belongs to cluster %" PRIu64 ", the other side to cluster %"
		         PRIu64, h->cluster, n->config.cluster);
		return true;
	}
	if (h->wire_version != WIRE_VERSION) {
		*reason = HELLO_NO_VERSION;
		snprintf(why, REASON_BYTES, "it speaks version %" PRIu32 " of the wire format, the other side "
		         "version %u", h->wire_version, WIRE_VERSION);
		return true;
	}
	*reason = HELLO_NO_OTHER;
	text = id_objection(c, h);
	if (!text && n->ops.object)
		text = n->ops.object(n->ctx, h);
	if (!text && in_use(c, h)) {
		*reason = HELLO_NO_IN_USE;
		snprintf(why, REASON_BYTES, "another process, at %s, has this server id: give each server an "
		         "id of its own", peer_find(n, h->server)->active->addr);
		return true;
	}
	snprintf(why, REASON_BYTES, "%s", text ? text : "");
	return text != NULL;
}

static void refuse(struct conn *c, server_id_t id, enum hello_no_reason reason, const char *why)
{
	struct peer *p = c->dialed ? peer_find(c->net, c->peer) : NULL;

	c->net->stats.refused++;
	if (!p || !p->told)
		log_warn("net.refused", "server %u at %s refused: %s", id, c->addr, why);
	if (p)
		p->told = true;
	if (c->dialed)
		conn_close(c);
	else
		conn_refuse(c, reason, why);
}

void peer_speaks_other_version(struct conn *c, unsigned version)
{
	char why[REASON_BYTES];

	snprintf(why, sizeof(why), "it speaks version %u of the wire format, the other side version %u",
	         version, WIRE_VERSION);
	refuse(c, c->peer, HELLO_NO_VERSION, why);
}

/* --- being refused --- */

/* What a stranger says, for the log. */
static void copy_printable(char *out, size_t size, struct span text)
{
	size_t len = MIN(text.len, size - 1);

	for (size_t i = 0; i < len; i++)
		out[i] = text.p[i] >= 32 && text.p[i] < 127 ? (char)text.p[i] : '?';
	out[len] = '\0';
}

static void reason_text(const struct net *n, const struct msg_hello_no *no, char why[REASON_BYTES])
{
	const char *path = n->config_path[0] ? n->config_path : "the configuration file";

	switch (no->reason) {
	case HELLO_NO_CLUSTER:
		snprintf(why, REASON_BYTES, "it belongs to another cluster (theirs %" PRIu64 ", ours %" PRIu64
		         "): check id in [cluster] of %.100s", no->cluster, n->config.cluster, path);
		break;
	case HELLO_NO_VERSION:
		snprintf(why, REASON_BYTES, "it speaks another version of the wire format (theirs %" PRIu32
		         ", ours %u): run one release everywhere", no->wire_version, WIRE_VERSION);
		break;
	case HELLO_NO_IN_USE:
		snprintf(why, REASON_BYTES, "another process has server id %" PRIu32 " already: check id in "
		         "[server] of %.100s", n->config.server, path);
		break;
	default:
		copy_printable(why, REASON_BYTES, no->text);
	}
}

void peer_refuses(struct conn *c, const struct msg *m)
{
	struct net *n = c->net;
	server_id_t id = c->peer;
	struct peer *p = peer_find(n, id);
	char why[REASON_BYTES];

	reason_text(n, &m->hello_no, why);
	if (p && !p->told_refused && !n->config.quiet)
		log_warn("net.refused_by", "server %u at %s refuses this server: %s; trying on", id, c->addr,
		         why);
	if (p)
		p->told = p->told_refused = true;
	conn_close(c);
	if (n->ops.refused)
		n->ops.refused(n->ctx, id, why);
}

/* --- two connections --- */

static void set_active(struct peer *p, struct conn *c)
{
	struct net *n = c->net;

	p->active = c;
	p->backoff = 0;
	conn_set_up(c);
	if (p->told && !n->config.quiet)
		log_info("net.reached", "server %u at %s is connected again", p->id, c->addr);
	p->told = p->told_refused = false;
}

static bool dialed_by_lower(const struct conn *c)
{
	server_id_t own = c->net->config.server;

	return (c->dialed ? own : c->peer) == MIN(own, c->peer);
}

bool peer_greeted(struct conn *c, const struct msg *m)
{
	const struct msg_hello *h = &m->hello;
	struct net *n = c->net;
	enum hello_no_reason reason;
	char why[REASON_BYTES];
	struct conn *old;
	struct peer *p;

	if (objection(c, h, &reason, why)) {
		refuse(c, h->server, reason, why);
		return false;
	}
	c->peer = h->server;
	p = peer_add(n, h->server);
	c->boot = h->boot;
	if (p->dialing == c)
		p->dialing = NULL;
	old = p->active;
	if (old && old->boot == c->boot && old->dialed != c->dialed) {
		if (!dialed_by_lower(c)) {
			conn_retire(c);
			return true;
		}
		/* The peer stays up: only the way changes. */
		set_active(p, c);
		conn_retire(old);
		return true;
	}
	set_active(p, c);
	if (old) {
		n->stats.reconnects++;
		conn_close(old);
		net_tell_down(n, c->peer);
	}
	/* peer_down() may have disconnected it. */
	if (c->state == CONN_UP)
		net_tell_up(n, c->peer);
	return c->state == CONN_UP;
}

void peer_lost(struct conn *c)
{
	struct net *n = c->net;
	struct peer *p = c->peer ? peer_find(n, c->peer) : NULL;
	bool was_active = p && p->active == c;

	if (!p)
		return;
	if (was_active)
		p->active = NULL;
	if (p->dialing == c)
		p->dialing = NULL;
	if (was_active) {
		n->stats.reconnects += p->dial;
		p->next_dial = clock_boottime() + BACKOFF_MIN;
	}
	drop_unused(n, p);
	if (was_active && !n->stopping)
		net_tell_down(n, c->peer);
}
