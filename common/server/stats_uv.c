#include "common/server/server_uv.h"

#include "common/base/clock.h"
#include "common/base/iobuf.h"
#include "common/base/log.h"
#include "common/base/trace.h"

void server_count_turn(struct server *s)
{
	struct loop_stats *l = &s->loop_stats;
	nsec_t busy = clock_awake_since ? clock_boottime() - clock_awake_since : 0;
	bool first = l->turns++ == 0;

	clock_awake_since = 0;
	if (first || busy < NSEC_MSEC)
		return;
	l->over_1ms++;
	l->over_10ms += busy >= 10 * NSEC_MSEC;
	l->over_100ms += busy >= 100 * NSEC_MSEC;
	l->longest = MAX(l->longest, busy);
	TRACE("loop.busy us", busy / 1000, 0, 0, 0);
}

static json_t *loop_json(const struct loop_stats *l)
{
	json_t *o = json_object();

	admin_put(o, "turns", l->turns);
	admin_put(o, "over_1ms", l->over_1ms);
	admin_put(o, "over_10ms", l->over_10ms);
	admin_put(o, "over_100ms", l->over_100ms);
	admin_put(o, "longest_us", (uint64_t)(l->longest / 1000));
	return o;
}

static json_t *net_json(const struct net *net)
{
	struct net_stats n;
	json_t *o = json_object();

	net_get_stats(net, &n);
	admin_put(o, "bytes_in", n.bytes_in);
	admin_put(o, "bytes_out", n.bytes_out);
	admin_put(o, "frames_in", n.frames_in);
	admin_put(o, "frames_out", n.frames_out);
	admin_put(o, "bad_frames", n.bad_frames);
	admin_put(o, "refused", n.refused);
	admin_put(o, "reconnects", n.reconnects);
	return o;
}

static json_t *session_json(const struct session *session)
{
	struct session_stats s;
	json_t *o = json_object();

	session_get_stats(session, &s);
	admin_put(o, "id", session_id(session));
	admin_put_bool(o, "valid", session_valid(session));
	admin_put(o, "heartbeats", s.heartbeats);
	admin_put(o, "answered", s.answered);
	admin_put(o, "senseless", s.senseless);
	admin_put(o, "opened", s.opened);
	admin_put(o, "ended", s.ended);
	admin_put(o, "hint_changes", s.hint_changes);
	admin_put(o, "calls", s.calls);
	admin_put(o, "resent", s.resent);
	admin_put(o, "waiting", s.waiting);
	admin_put(o, "waiting_peak", s.waiting_peak);
	return o;
}

static json_t *log_json(void)
{
	struct log_counts n;
	json_t *o = json_object();

	log_get_counts(&n);
	admin_put(o, "errors", n.lines[LOG_ERROR]);
	admin_put(o, "warnings", n.lines[LOG_WARN]);
	admin_put(o, "left_out", n.left_out);
	return o;
}

json_t *server_run_stats(void *ctx, const json_t *args, enum status *status)
{
	struct server *s = ctx;
	json_t *o = json_object(), *buffers = json_object();

	(void)args, (void)status;
	admin_put(o, "server", s->config.id);
	admin_put_text(o, "kind", config_kind_name(s->config.kind));
	admin_put_text(o, "version", DC_VERSION);
	admin_put_text(o, "site", config_site_name(&s->config, s->config.own_site));
	admin_put_text(o, "address", s->config.listen);
	admin_put(o, "up_seconds", (uint64_t)((clock_boottime() - s->started) / NSEC_SEC));
	admin_put(buffers, "used_bytes", iobuf_used());
	admin_put(buffers, "budget_bytes", iobuf_budget());
	json_object_set_new(o, "buffers", buffers);
	json_object_set_new(o, "loop", loop_json(&s->loop_stats));
	json_object_set_new(o, "net", net_json(s->net));
	json_object_set_new(o, "log", log_json());
	if (s->session)
		json_object_set_new(o, "session", session_json(s->session));
	if (s->ops->stats)
		s->ops->stats(s, o);
	return o;
}
