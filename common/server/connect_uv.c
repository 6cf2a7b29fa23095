/* Clock, chance and messages for the protocol cores; who is connected; which message is whose. */
#include "common/server/server_uv.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"

/* --- the world, for the protocol cores --- */

static nsec_t env_now(struct env *env)
{
	(void)env;
	return clock_boottime();
}

static uint64_t env_wall(struct env *env)
{
	(void)env;
	return clock_wall();
}

static int env_send(struct env *env, const struct msg *m)
{
	struct server *s = container_of(env, struct server, env);

	return s->net ? net_send(s->net, m) : -ENOTCONN;
}

static uint64_t env_random(struct env *env)
{
	return random_u64(&container_of(env, struct server, env)->random);
}

void server_env_init(struct server *s)
{
	s->env = (struct env){env_now, env_wall, env_send, env_random};
}

/* --- messages --- */

static void answer_admin(struct server *s, const struct msg *m)
{
	struct msg reply;
	char *json = admin_answer(s->ops->verbs, s->ops->n_verbs, s, m, &reply);

	reply.src = s->config.id;
	reply.dst = m->src;
	reply.via = m->via;
	reply.id = m->id;
	if (net_send(s->net, &reply) != 0)
		log_debug("admin.lost", "an answer for %" PRIu32 " could not leave", m->src);
	free(json);
}

static bool is_question(const struct server *s, const struct msg *m)
{
	return m->type == MSG_TYPE_admin && m->dst == s->config.id &&
	       (s->session || admin_find(s->ops->verbs, s->ops->n_verbs, m->admin.verb));
}

static void say_refused(enum status status)
{
	log_warn("session.refused", "the catalog gives this server no session: %s%s", status_text(status),
	         status == STATUS_DISK ? "; its disk shows an older state than it had: format it anew"
	                               : "");
}

static void on_recv(void *ctx, const struct msg *m)
{
	struct server *s = ctx;

	if (s->net_stopping)
		return;
	if (is_question(s, m)) {
		answer_admin(s, m);
		return;
	}
	if (!s->session) {
		s->ops->recv(s, m);
		return;
	}
	if (m->dst != s->config.id)
		return;
	if (m->type == MSG_TYPE_r_session && m->r_session.status != STATUS_OK)
		say_refused((enum status)m->r_session.status);
	if (!session_recv(s->session, m))
		s->ops->recv(s, m);
	else if (s->ops->session_heard)
		s->ops->session_heard(s);
}

/* --- connections --- */

const struct config_hint *server_hint(const struct server *s, server_id_t id)
{
	for (unsigned i = 0; i < s->config.hints; i++)
		if (s->config.hint[i].id == id)
			return &s->config.hint[i];
	return NULL;
}

static void on_peer_up(void *ctx, server_id_t peer)
{
	struct server *s = ctx;

	if (s->net_stopping)
		return;
	if (s->session && server_hint(s, peer))
		session_hint_up(s->session, peer);
	else
		s->ops->peer_up(s, peer);
}

static void on_peer_down(void *ctx, server_id_t peer)
{
	struct server *s = ctx;

	if (s->net_stopping)
		return;
	if (s->session && server_hint(s, peer))
		session_hint_down(s->session, peer);
	else
		s->ops->peer_down(s, peer);
}

/* Who speaks for the catalog stands in the configuration: nobody else may. */
static const char *on_greeting(void *ctx, const struct msg_hello *h)
{
	const struct server *s = ctx;
	bool hint = server_hint(s, h->server) != NULL;

	if (h->kind == SERVER_HINT && !hint)
		return "it says that it is a hint server, and the configuration here names none with its id";
	if (h->kind != SERVER_HINT && hint)
		return "its server id is that of a hint server: give each server an id of its own";
	return NULL;
}

int server_start_net(struct server *s, char *why, size_t why_size)
{
	static const struct net_ops ops = {
		.recv = on_recv,
		.peer_up = on_peer_up,
		.peer_down = on_peer_down,
		.object = on_greeting,
	};
	char host[ADDR_TEXT_MAX];
	uint16_t port;
	struct net_config config = {
		.server = s->config.id,
		.kind = s->config.kind,
		.cluster = s->config.cluster,
		.boot = s->boot,
		.bind_addr = host,
		.config_path = s->config_path,
	};
	unsigned order[CONFIG_HINTS_MAX];
	int rc = config_split_address(s->config.listen, host, sizeof(host), &port);

	if (rc == 0)
		rc = net_new(&s->net, &s->loop, &config, &ops, s);
	if (rc == 0)
		rc = net_listen(s->net, s->config.listen);
	if (rc < 0) {
		snprintf(why, why_size, "cannot listen on %s: %s", s->config.listen, err_text(rc));
		return rc;
	}
	config_hints_by_distance(&s->config, s->config.own_site, order);
	for (unsigned i = 0; i < s->config.hints; i++) {
		const struct config_hint *h = &s->config.hint[order[i]];

		if (h->id != s->config.id)
			net_connect(s->net, h->id, h->addr);
	}
	return 0;
}

void server_start_session(struct server *s, uint64_t disk, uint64_t opened,
                          const struct session_ops *ops, void *ctx)
{
	unsigned order[CONFIG_HINTS_MAX];
	struct session_config config = {
		.server = s->config.id,
		.kind = s->config.kind,
		.boot = s->boot,
		.disk = disk,
		.opened = opened,
		.hints = s->config.hints,
	};

	_Static_assert(CONFIG_HINTS_MAX <= SESSION_HINTS_MAX, "all hint servers fit");
	_Static_assert(sizeof(config.addr) >= ADDR_TEXT_MAX, "the address fits");
	memcpy(config.addr, s->config.listen, ADDR_TEXT_MAX);
	if (s->config.own_site != 0)
		snprintf(config.site, sizeof(config.site), "%s",
		         config_site_name(&s->config, s->config.own_site));
	config_hints_by_distance(&s->config, s->config.own_site, order);
	for (unsigned i = 0; i < s->config.hints; i++)
		config.hint[i] = s->config.hint[order[i]].id;
	s->session = session_new(&s->env, &config, ops, ctx);
}

static void on_net_gone(void *ctx)
{
	struct server *s = ctx;

	s->net = NULL;
	s->net_gone(s);
}

void server_stop_net(struct server *s, void (*done)(struct server *s))
{
	s->net_stopping = true;
	s->net_gone = done;
	if (s->net)
		net_stop(s->net, on_net_gone);
	else
		done(s);
}
