#include "hint-server/ctl/ask.h"

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/net/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

/* Administrators' ids are drawn from the upper half, away from any configured server's. */
#define ADMIN_ID_FIRST 0x80000000u

struct ask {
	uv_loop_t loop;
	struct net *net;
	uv_timer_t timer;
	bool stopped;
	/* those to stay connected to */
	unsigned kept;
	struct kept {
		server_id_t id;
		bool up;
		char refused[256];
	} *keep;
	/* the question under way */
	struct msg request;
	uint64_t id;
	bool sent, answered, late;
	char refused[256]; /* why the server at the other end does not talk to us; "" */
	enum status status;
	json_t *reply;
};

static void send_request(struct ask *a)
{
	a->sent = net_send(a->net, &a->request) == 0;
}

static void on_recv(void *ctx, const struct msg *m)
{
	struct ask *a = ctx;

	if (m->type != MSG_TYPE_admin_reply || m->id != a->id || a->answered)
		return;
	a->answered = true;
	a->status = (enum status)m->admin_reply.status;
	a->reply = json_loadb((const char *)m->admin_reply.json.p, m->admin_reply.json.len,
	                      JSON_DECODE_ANY, NULL);
}

static struct kept *kept(struct ask *a, server_id_t server)
{
	for (unsigned i = 0; i < a->kept; i++)
		if (a->keep[i].id == server)
			return &a->keep[i];
	return NULL;
}

void ask_connect(struct ask *a, server_id_t server, const char *addr)
{
	if (kept(a, server))
		return;
	a->keep = mem_resize(a->keep, a->kept + 1, sizeof(*a->keep));
	a->keep[a->kept++] = (struct kept){.id = server};
	net_connect(a->net, server, addr);
}

bool ask_connected(struct ask *a, server_id_t server)
{
	const struct kept *k = kept(a, server);

	return k && (k->up || k->refused[0]);
}

static void on_peer_up(void *ctx, server_id_t peer)
{
	struct ask *a = ctx;
	struct kept *k = kept(a, peer);

	if (k)
		k->up = true;
	if (peer == a->request.via && !a->sent)
		send_request(a);
}

static void on_peer_down(void *ctx, server_id_t peer)
{
	struct ask *a = ctx;
	struct kept *k = kept(a, peer);

	if (k)
		k->up = false;
	if (peer == a->request.via)
		a->sent = false;
}

static void on_refused(void *ctx, server_id_t peer, const char *why)
{
	struct ask *a = ctx;
	struct kept *k = kept(a, peer);

	if (k)
		snprintf(k->refused, sizeof(k->refused), "%s", why);
	if (peer == a->request.via)
		snprintf(a->refused, sizeof(a->refused), "%s", why);
}

static const struct net_ops net_ops = {
	.recv = on_recv,
	.peer_up = on_peer_up,
	.peer_down = on_peer_down,
	.refused = on_refused,
};

static void on_timer(uv_timer_t *timer)
{
	struct ask *a = container_of(timer, struct ask, timer);

	a->late = true;
}

int ask_new(struct ask **out, uint64_t cluster, const char *config_path, const char *bind_addr)
{
	struct ask *a = mem_new(sizeof(*a));
	uint64_t noise;
	int rc;

	if (getrandom(&noise, sizeof(noise), 0) != (ssize_t)sizeof(noise))
		noise = (uint64_t)clock_boottime();
	struct net_config config = {
		.server = ADMIN_ID_FIRST | (server_id_t)(noise & 0x7ffffffeu),
		.kind = SERVER_ADMIN,
		.cluster = cluster,
		.boot = noise,
		.bind_addr = bind_addr,
		.config_path = config_path,
		.quiet = true,
	};

	rc = uv_loop_init(&a->loop);
	if (rc < 0)
		goto out_free;
	rc = net_new(&a->net, &a->loop, &config, &net_ops, a);
	if (rc < 0)
		goto out_loop;
	uv_timer_init(&a->loop, &a->timer);
	a->id = noise;
	*out = a;
	return 0;

out_loop:
	uv_loop_close(&a->loop);
out_free:
	mem_free(a);
	return rc;
}

static void on_stopped(void *ctx)
{
	struct ask *a = ctx;

	a->stopped = true;
}

void ask_free(struct ask *a)
{
	net_stop(a->net, on_stopped);
	uv_close((uv_handle_t *)&a->timer, NULL);
	while (!a->stopped)
		uv_run(&a->loop, UV_RUN_ONCE);
	uv_run(&a->loop, UV_RUN_DEFAULT);
	uv_loop_close(&a->loop);
	mem_free(a->keep);
	mem_free(a);
}

int ask(struct ask *a, server_id_t via, const char *addr, server_id_t dst, const char *verb,
        json_t *args, nsec_t timeout, json_t **reply)
{
	char *text = args ? json_dumps(args, JSON_COMPACT) : NULL;
	const struct kept *k = kept(a, via);

	*reply = NULL;
	a->request = (struct msg){.type = MSG_TYPE_admin, .dst = dst, .via = via, .id = ++a->id};
	a->request.admin.verb = (struct span){(const uint8_t *)verb, (uint32_t)strlen(verb)};
	if (text)
		a->request.admin.json = (struct span){(const uint8_t *)text, (uint32_t)strlen(text)};
	a->sent = a->answered = a->late = false;
	snprintf(a->refused, sizeof(a->refused), "%s", k ? k->refused : "");
	a->reply = NULL;
	net_connect(a->net, via, addr);
	send_request(a);
	uv_timer_start(&a->timer, on_timer, (uint64_t)(timeout / NSEC_MSEC), 0);
	while (!a->answered && !a->late && !a->refused[0])
		uv_run(&a->loop, UV_RUN_ONCE);
	uv_timer_stop(&a->timer);
	if (!k)
		net_disconnect(a->net, via);
	free(text);
	*reply = a->reply;
	if (a->refused[0])
		return -EPERM;
	if (!a->answered)
		return a->sent ? -ETIMEDOUT : -EHOSTUNREACH;
	if (a->status == STATUS_NOT_LEADER)
		return -EAGAIN;
	if (a->status != STATUS_OK)
		return -EREMOTEIO;
	return a->reply ? 0 : -EBADMSG;
}

const char *ask_why(const struct ask *a)
{
	return a->refused;
}

void ask_pause(struct ask *a, nsec_t time)
{
	a->late = false;
	uv_timer_start(&a->timer, on_timer, (uint64_t)(time / NSEC_MSEC), 0);
	while (!a->late)
		uv_run(&a->loop, UV_RUN_ONCE);
}
