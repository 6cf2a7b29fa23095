/* Real connections: several nets on one loop, and raw sockets that misbehave. */
#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/net.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#define CLUSTER 42
#define KEPT_MAX 64

struct node {
	struct net *net;
	server_id_t id;
	char addr[64];
	unsigned ups, downs, received;
	uint64_t last_id;
	server_id_t last_src, last_via;
	bool in_order, echo, keep, stopped;
	unsigned bad_payloads;
	uint64_t payload_bytes;
	char refused[256];
	struct iobuf *kept[KEPT_MAX];
	unsigned kept_n;
};

static uv_loop_t loop;
static uv_timer_t alarm_timer;
static struct node a, b, c;

/* --- the stage --- */

/* An address of its own for each process, so that tests can run beside each other. */
static void make_addr(char out[64], unsigned port)
{
	unsigned pid = (unsigned)getpid();

	snprintf(out, 64, "127.%u.%u.%u:%u", 100 + (pid >> 16) % 100, pid >> 8 & 255, pid & 255, port);
}

static void on_alarm(uv_timer_t *t)
{
	(void)t;
}

static void setup(void)
{
	log_init("test", LOG_ERROR);
	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	memset(&c, 0, sizeof(c));
	cr_assert_eq(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &alarm_timer);
	uv_timer_start(&alarm_timer, on_alarm, 5, 5);
}

#define RUN_UNTIL(cond) \
	do { \
		nsec_t give_up = clock_boottime() + 20 * NSEC_SEC; \
		while (!(cond)) { \
			cr_assert_lt(clock_boottime(), give_up, "never came: %s", #cond); \
			uv_run(&loop, UV_RUN_ONCE); \
		} \
	} while (0)

static void on_stopped(void *ctx)
{
	struct node *n = ctx;

	n->stopped = true;
	n->net = NULL;
}

static void stop(struct node *n)
{
	if (!n->net)
		return;
	n->stopped = false;
	net_stop(n->net, on_stopped);
	RUN_UNTIL(n->stopped);
}

static void teardown(void)
{
	struct node *nodes[] = {&a, &b, &c};

	for (unsigned i = 0; i < 3; i++) {
		stop(nodes[i]);
		for (unsigned j = 0; j < nodes[i]->kept_n; j++)
			iobuf_put(nodes[i]->kept[j]);
	}
	uv_close((uv_handle_t *)&alarm_timer, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	cr_assert_eq(uv_loop_close(&loop), 0, "a handle was left open");
	cr_assert_eq(iobuf_used(), 0);
}

TestSuite(net, .init = setup, .fini = teardown);

static bool payload_good(const struct msg *m)
{
	for (uint32_t i = 0; i < m->payload.len; i++)
		if (slice_data(m->payload)[i] != (uint8_t)(m->id + i * 3))
			return false;
	return true;
}

static void on_recv(void *ctx, const struct msg *m)
{
	struct node *n = ctx;

	n->received++;
	n->in_order = n->received == 1 || (n->in_order && m->id == n->last_id + 1);
	n->last_id = m->id;
	n->last_src = m->src;
	n->last_via = m->via;
	n->payload_bytes += m->payload.len;
	n->bad_payloads += !payload_good(m);
	if (n->keep && m->payload.len > 0 && n->kept_n < KEPT_MAX)
		n->kept[n->kept_n++] = iobuf_get(m->payload.buf);
	if (n->echo) {
		struct msg reply = *m;

		reply.dst = m->src;
		reply.src = 0;
		reply.via = 0;
		cr_assert_eq(net_send(n->net, &reply), 0);
	}
}

static void on_up(void *ctx, server_id_t peer)
{
	struct node *n = ctx;

	cr_assert(net_is_up(n->net, peer));
	n->ups++;
}

static void on_down(void *ctx, server_id_t peer)
{
	(void)peer;
	((struct node *)ctx)->downs++;
}

static void on_refused(void *ctx, server_id_t peer, const char *why)
{
	(void)peer;
	snprintf(((struct node *)ctx)->refused, sizeof(((struct node *)ctx)->refused), "%s", why);
}

/* Server 66 is nobody's friend. */
static const char *on_greeting(void *ctx, const struct msg_hello *h)
{
	(void)ctx;
	return h->server == 66 ? "66 is not wanted\nhere" : NULL;
}

static const struct net_ops ops = {on_recv, on_up, on_down, on_greeting, on_refused};

static struct net_config config_of(server_id_t id)
{
	return (struct net_config){
		.server = id,
		.kind = SERVER_CORE,
		.cluster = CLUSTER,
		.boot = id * 1000,
	};
}

static void start_with(struct node *n, const struct net_config *config)
{
	n->id = config->server;
	make_addr(n->addr, 7000 + n->id);
	cr_assert_eq(net_new(&n->net, &loop, config, &ops, n), 0);
	cr_assert_eq(net_listen(n->net, n->addr), 0);
}

static void start(struct node *n, server_id_t id)
{
	struct net_config config = config_of(id);

	start_with(n, &config);
}

static void join(struct node *from, struct node *to)
{
	net_connect(from->net, to->id, to->addr);
	RUN_UNTIL(net_is_up(from->net, to->id) && net_is_up(to->net, from->id));
}

static int send_to(struct node *from, struct node *to, uint64_t id, uint32_t payload)
{
	struct msg m = {.type = MSG_TYPE_write, .dst = to->id, .id = id};
	int rc;

	if (payload > 0) {
		m.payload = (struct slice){iobuf_new(payload), 0, payload};
		cr_assert_not_null(m.payload.buf);
		for (uint32_t i = 0; i < payload; i++)
			m.payload.buf->data[i] = (uint8_t)(id + i * 3);
	}
	rc = net_send(from->net, &m);
	iobuf_put(m.payload.buf);
	return rc;
}

/* --- raw sockets --- */

static struct sockaddr_in sockaddr_of(const char *addr)
{
	struct sockaddr_in sa = {.sin_family = AF_INET};
	char host[64];
	unsigned port;

	cr_assert_eq(sscanf(addr, "%63[^:]:%u", host, &port), 2);
	sa.sin_port = htons((uint16_t)port);
	cr_assert_eq(inet_pton(AF_INET, host, &sa.sin_addr), 1);
	return sa;
}

static int raw_connect(const char *addr)
{
	struct sockaddr_in sa = sockaddr_of(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void raw_send(int fd, const struct msg *m)
{
	uint8_t buf[4096];
	size_t len = msg_head_bytes(m);

	msg_encode(m, buf);
	cr_assert_eq(write(fd, buf, len), (ssize_t)len);
}

static void raw_hello(int fd, server_id_t id, uint64_t cluster)
{
	struct msg m = {
		.type = MSG_TYPE_hello,
		.src = id,
		.hello = {id, SERVER_CORE, cluster, WIRE_VERSION, 1},
	};

	raw_send(fd, &m);
}

/* Reads what is there; true at the end of the file (or a reset). */
static bool raw_ended(int fd, size_t *got)
{
	static uint8_t buf[1 << 16];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		*got += (size_t)n;
	return n == 0 || errno == ECONNRESET;
}

static struct net_stats stats_of(struct node *n)
{
	struct net_stats s;

	net_get_stats(n->net, &s);
	return s;
}

/* --- tests --- */

Test(net, carries_messages_both_ways)
{
	start(&a, 11);
	start(&b, 21);
	b.echo = true;
	cr_assert_eq(send_to(&a, &b, 1, 0), -ENOTCONN);
	join(&a, &b);
	cr_assert_eq(a.ups, 1);
	cr_assert_eq(b.ups, 1);

	cr_assert_eq(send_to(&a, &b, 7, 100), 0);
	RUN_UNTIL(a.received == 1);
	cr_assert_eq(b.last_src, 11);
	cr_assert_eq(b.last_via, 11);
	cr_assert_eq(a.last_id, 7);
	cr_assert_eq(a.last_src, 21);
	cr_assert_eq(a.bad_payloads + b.bad_payloads, 0);
	RUN_UNTIL(net_rtt(a.net, 21) > 0);
	cr_assert_lt(net_rtt(a.net, 21), NSEC_SEC);
}

/* A frame goes to the neighbour named by `via`, whoever it is for. */
Test(net, hands_a_relayed_message_to_the_neighbour)
{
	struct msg m = {.type = MSG_TYPE_ping + 7, .src = 99, .dst = SERVER_LEADER, .via = 21, .id = 5};

	m.type = MSG_TYPE_q_statfs;
	start(&a, 11);
	start(&b, 21);
	join(&a, &b);
	cr_assert_eq(net_send(a.net, &m), 0);
	RUN_UNTIL(b.received == 1);
	cr_assert_eq(b.last_src, 99);
	cr_assert_eq(b.last_via, 11);
}

Test(net, carries_payloads_of_every_size_intact_and_in_order)
{
	static const uint32_t sizes[] = {1, 4096, 1023, 1024, 1025, 65535, 65536, 131072, 5, 1 << 20,
	                                 33000, 4 << 20, 0, 16 << 20, 12};
	uint64_t total = 0;

	start(&a, 11);
	start(&b, 21);
	join(&a, &b);
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		cr_assert_eq(send_to(&a, &b, i, sizes[i]), 0);
		total += sizes[i];
	}
	RUN_UNTIL(b.received == ARRAY_LEN(sizes));
	cr_assert(b.in_order);
	cr_assert_eq(b.bad_payloads, 0);
	cr_assert_eq(b.payload_bytes, total);
}

Test(net, carries_many_small_frames_in_order)
{
	const unsigned n = 100000;

	start(&a, 11);
	start(&b, 21);
	join(&a, &b);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(send_to(&a, &b, i, i % 3 == 0 ? 64 : 0), 0);
	RUN_UNTIL(b.received == n);
	cr_assert(b.in_order);
	cr_assert_eq(b.bad_payloads, 0);
}

/* P9: any bytes from any peer end only their own connection. */
Test(net, garbage_ends_only_its_own_connection)
{
	static const char junk[] = "GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text\r\n\r\n        ";
	size_t got = 0;
	int fd;

	start(&a, 11);
	start(&b, 21);
	b.echo = true;
	join(&a, &b);

	fd = raw_connect(b.addr);
	cr_assert_eq(write(fd, junk, sizeof(junk)), (ssize_t)sizeof(junk));
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	cr_assert_eq(got, 0, "a stranger was told something");
	cr_assert_eq(stats_of(&b).bad_frames, 1);

	fd = raw_connect(b.addr);
	raw_hello(fd, 55, CLUSTER);
	RUN_UNTIL(net_is_up(b.net, 55));
	cr_assert_eq(write(fd, junk, sizeof(junk)), (ssize_t)sizeof(junk));
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	cr_assert_eq(stats_of(&b).bad_frames, 2);
	cr_assert_eq(b.downs, 1);
	cr_assert(!net_is_up(b.net, 55));

	cr_assert_eq(send_to(&a, &b, 1, 5000), 0);
	RUN_UNTIL(a.received == 1);
	cr_assert_eq(a.downs, 0);
}

Test(net, a_message_before_the_greeting_is_refused)
{
	struct msg m = {.type = MSG_TYPE_ping, .src = 55, .dst = 21};
	size_t got = 0;
	int fd;

	start(&b, 21);
	fd = raw_connect(b.addr);
	raw_send(fd, &m);
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	cr_assert_eq(stats_of(&b).bad_frames, 1);
	cr_assert_eq(b.ups, 0);
}

Test(net, servers_of_another_cluster_are_refused)
{
	size_t got = 0;
	int fd;

	start(&b, 21);
	fd = raw_connect(b.addr);
	raw_hello(fd, 55, CLUSTER + 1);
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	cr_assert_eq(stats_of(&b).refused, 1);
	cr_assert_eq(b.ups, 0);
	cr_assert_gt(got, (size_t)WIRE_HEADER_BYTES, "it was not told why");
}

/* Who is refused learns why, and tries on: the mistake may be the other side's. */
Test(net, who_is_refused_learns_why)
{
	struct net_config config = config_of(11);

	config.config_path = "/etc/x.conf";
	config.cluster = CLUSTER + 1;
	start_with(&a, &config);
	start(&b, 21);
	net_connect(a.net, 21, b.addr);
	RUN_UNTIL(a.refused[0]);
	cr_assert_str_eq(a.refused, "it belongs to another cluster (theirs 42, ours 43): check id in "
	                 "[cluster] of /etc/x.conf");
	RUN_UNTIL(stats_of(&b).refused >= 2);
	cr_assert_eq(a.ups + b.ups, 0);

	start(&c, 66);
	net_connect(c.net, 21, b.addr);
	RUN_UNTIL(c.refused[0]);
	cr_assert_str_eq(c.refused, "66 is not wanted?here");
}

/* Another version cannot read more than the header: both sides know from that. */
Test(net, another_wire_version_is_refused)
{
	struct msg m = {.type = MSG_TYPE_hello, .src = 55,
	                .hello = {55, SERVER_CORE, CLUSTER, WIRE_VERSION + 1, 1}};
	uint8_t buf[256], back[4096];
	struct frame_info info;
	size_t len = msg_head_bytes(&m);
	ssize_t n;
	int fd;

	start(&b, 21);
	msg_encode(&m, buf);
	put_u16le(buf + 4, WIRE_VERSION + 1);
	put_u32le(buf + WIRE_HEADER_BYTES - 4, XXH32(buf, WIRE_HEADER_BYTES - 4, 0));
	cr_assert_eq(msg_decode_header(buf, &info), ERR_VERSION);
	fd = raw_connect(b.addr);
	cr_assert_eq(write(fd, buf, len), (ssize_t)len);
	RUN_UNTIL((n = read(fd, back, sizeof(back))) > 0);
	cr_assert_eq(msg_decode_header(back, &info), 0);
	cr_assert_eq(info.type, MSG_TYPE_hello_no);
	cr_assert_eq(stats_of(&b).refused, 1);
	cr_assert_eq(stats_of(&b).bad_frames, 0);
	close(fd);
}

/* Two configuration files with one id must not take each other's place. */
Test(net, its_own_id_from_another_server_is_refused)
{
	size_t got = 0;
	int fd;

	start(&b, 21);
	fd = raw_connect(b.addr);
	raw_hello(fd, 21, CLUSTER);
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	cr_assert_eq(stats_of(&b).refused, 1);
}

Test(net, another_server_at_the_address_is_refused)
{
	start(&a, 11);
	start(&b, 21);
	net_connect(a.net, 22, b.addr);
	RUN_UNTIL(stats_of(&a).refused >= 2); /* and tried again */
	cr_assert_eq(a.ups, 0);
	cr_assert(!net_is_up(a.net, 22));
}

/* P8: the queue has a limit, the sender waits for the drained event. */
Test(net, says_again_at_the_limit_and_up_when_drained)
{
	struct net_config config = config_of(21);
	size_t got = 0;
	unsigned sent = 0;
	int fd, rc;

	config.queue_bytes_max = 1 << 20;
	config.dead_after = 60 * NSEC_SEC;
	start_with(&b, &config);
	fd = raw_connect(b.addr);
	raw_hello(fd, 11, CLUSTER);
	a.id = 11;
	RUN_UNTIL(b.ups == 1);
	while ((rc = send_to(&b, &a, sent, 65536)) == 0) {
		sent++;
		cr_assert_lt(sent, 1000);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	cr_assert_eq(rc, -EAGAIN);
	cr_assert_eq(b.ups, 1);
	RUN_UNTIL(!raw_ended(fd, &got) && b.ups == 2);
	cr_assert_eq(send_to(&b, &a, sent, 65536), 0);
	RUN_UNTIL(!raw_ended(fd, &got) && got > (size_t)(sent + 1) * 65536);
	close(fd);
}

Test(net, comes_back_when_the_other_side_died)
{
	struct net_config config = config_of(21);

	start(&a, 11);
	start(&b, 21);
	join(&a, &b);
	stop(&b);
	RUN_UNTIL(a.downs == 1);
	cr_assert(!net_is_up(a.net, 21));
	cr_assert_eq(send_to(&a, &b, 1, 0), -ENOTCONN);

	config.boot++;
	start_with(&b, &config);
	RUN_UNTIL(a.ups == 2 && net_is_up(b.net, 11));
	b.received = 0;
	cr_assert_eq(send_to(&a, &b, 2, 0), 0);
	RUN_UNTIL(b.received == 1);
}

Test(net, gives_up_a_silent_peer)
{
	struct net_config config = config_of(21);
	size_t got = 0;
	int fd;

	config.dead_after = 300 * NSEC_MSEC;
	config.idle_ping = 50 * NSEC_MSEC;
	start_with(&b, &config);
	fd = raw_connect(b.addr);
	raw_hello(fd, 55, CLUSTER);
	RUN_UNTIL(b.ups == 1);
	RUN_UNTIL(b.downs == 1);
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
	/* While it waited it showed that it lives itself. */
	cr_assert_gt(got, (size_t)4 * WIRE_HEADER_BYTES);
}

Test(net, gives_up_a_connection_that_never_greets)
{
	struct net_config config = config_of(21);
	size_t got = 0;
	int fd;

	config.dead_after = 100 * NSEC_MSEC;
	start_with(&b, &config);
	fd = raw_connect(b.addr);
	RUN_UNTIL(raw_ended(fd, &got));
	close(fd);
}

Test(net, idle_connections_stay)
{
	struct net_config ca = config_of(11), cb = config_of(21);
	nsec_t until;

	ca.dead_after = cb.dead_after = 200 * NSEC_MSEC;
	ca.idle_ping = cb.idle_ping = 50 * NSEC_MSEC;
	start_with(&a, &ca);
	start_with(&b, &cb);
	join(&a, &b);
	until = clock_boottime() + NSEC_SEC;
	RUN_UNTIL(clock_boottime() > until);
	cr_assert_eq(a.downs + b.downs, 0);
}

/* Both dial: one connection stays, nobody goes down, nothing is lost. */
Test(net, both_may_dial)
{
	unsigned sent_a = 0, sent_b = 0;

	start(&a, 11);
	start(&b, 21);
	net_connect(a.net, 21, b.addr);
	net_connect(b.net, 11, a.addr);
	while (a.received < 2000 || b.received < 2000) {
		if (sent_a < 2000 && send_to(&a, &b, sent_a, 100) == 0)
			sent_a++;
		if (sent_b < 2000 && send_to(&b, &a, sent_b, 100) == 0)
			sent_b++;
		uv_run(&loop, UV_RUN_NOWAIT);
		cr_assert_eq(a.downs + b.downs, 0);
	}
	cr_assert_eq(a.ups, 1);
	cr_assert_eq(b.ups, 1);
	cr_assert_eq(a.received, 2000);
	cr_assert_eq(b.received, 2000);
}

/* Two processes with one server id: the second one is refused while the first one lives. One that
 * restarted replaces its old connection, even if that has not been missed yet. */
Test(net, a_new_process_replaces_the_old_connection_when_that_is_dead)
{
	struct net_config config = config_of(21);
	struct msg m = {.type = MSG_TYPE_hello, .src = 55,
	                .hello = {55, SERVER_CORE, CLUSTER, WIRE_VERSION, 1}};
	size_t got = 0;
	int old, new, second;

	config.dead_after = 20 * NSEC_SEC;
	start_with(&b, &config);
	old = raw_connect(b.addr);
	raw_send(old, &m);
	RUN_UNTIL(b.ups == 1);
	second = raw_connect(b.addr);
	m.hello.boot = 2;
	raw_send(second, &m);
	RUN_UNTIL(raw_ended(second, &got));
	close(second);
	cr_assert_eq(stats_of(&b).refused, 1);
	cr_assert(net_is_up(b.net, 55));
	cr_assert_eq(b.downs, 0);

	nsec_t until = clock_boottime() + 500 * NSEC_MSEC;
	RUN_UNTIL(clock_boottime() > until);
	new = raw_connect(b.addr);
	raw_send(new, &m);
	RUN_UNTIL(b.ups == 2);
	cr_assert_eq(b.downs, 1);
	RUN_UNTIL(raw_ended(old, &got));
	cr_assert(net_is_up(b.net, 55));
	close(old);
	close(new);
}

/* P8, P9: who connects and says nothing does not keep out those who do. */
Test(net, strangers_are_bounded_and_do_not_keep_servers_out)
{
	static int fd[300];
	struct net_config config = config_of(21);
	size_t got = 0;

	config.dead_after = 20 * NSEC_SEC;
	start_with(&b, &config);
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++) {
		fd[i] = raw_connect(b.addr);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	RUN_UNTIL(stats_of(&b).crowded_out == ARRAY_LEN(fd) - 256);
	RUN_UNTIL(raw_ended(fd[0], &got));
	start(&a, 11);
	join(&a, &b);
	for (unsigned i = 0; i < ARRAY_LEN(fd); i++)
		close(fd[i]);
}

/* P8: who asks and does not read is not answered without a bound. */
Test(net, pongs_do_not_pile_up)
{
	static uint8_t many[1024 * WIRE_HEADER_BYTES];
	struct net_config config = config_of(21);
	struct msg m = {.type = MSG_TYPE_ping, .src = 55, .dst = 21};
	uint64_t in = 0;
	int fd;

	config.queue_bytes_max = 64 << 10;
	config.dead_after = 20 * NSEC_SEC;
	start_with(&b, &config);
	fd = raw_connect(b.addr);
	raw_hello(fd, 55, CLUSTER);
	RUN_UNTIL(b.ups == 1);
	for (unsigned i = 0; i < 1024; i++)
		msg_encode(&m, many + i * WIRE_HEADER_BYTES);
	while (stats_of(&b).frames_in < 400000) {
		ssize_t n = write(fd, many + in % sizeof(many), sizeof(many) - in % sizeof(many));

		in += n > 0 ? (uint64_t)n : 0;
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	cr_assert_lt(stats_of(&b).frames_out, 300000);
	close(fd);
}

/* P8: without memory a connection waits; it goes on when memory is back. */
Test(net, waits_for_memory)
{
	uint32_t size = 1 << 20;

	start(&a, 11);
	start(&b, 21);
	b.keep = true;
	join(&a, &b);
	iobuf_budget_set(32 * (uint64_t)size);
	for (unsigned i = 0; i < 8; i++)
		cr_assert_eq(send_to(&a, &b, i, size), 0);
	RUN_UNTIL(b.received == 8);
	iobuf_budget_set(8 * (uint64_t)size + 100 * PAGE_BYTES);
	for (unsigned i = 8; i < 16; i++)
		cr_assert_eq(send_to(&a, &b, i, 2 * PAGE_BYTES), 0);
	RUN_UNTIL(b.received == 16);

	/* 8 MiB are kept: nothing as large gets in, but the peer stays. */
	iobuf_budget_set(16 * (uint64_t)size);
	cr_assert_eq(send_to(&a, &b, 16, 4 * size), 0);
	iobuf_budget_set(8 * (uint64_t)size);
	nsec_t until = clock_boottime() + 1500 * NSEC_MSEC;
	RUN_UNTIL(clock_boottime() > until);
	cr_assert_eq(b.received, 16);
	cr_assert_eq(a.downs + b.downs, 0);

	for (unsigned j = 0; j < b.kept_n; j++)
		iobuf_put(b.kept[j]);
	b.kept_n = 0;
	iobuf_budget_set(64 * (uint64_t)size);
	RUN_UNTIL(b.received == 17);
	cr_assert_eq(b.bad_payloads, 0);
	cr_assert(b.in_order);
}

/* A server's site follows from its address: outgoing connections must come from it. */
Test(net, dials_from_the_address_it_was_given)
{
	struct net_config config = config_of(11);
	struct sockaddr_in sa, from;
	socklen_t len = sizeof(from);
	char addr[64];
	int fd, got = -1;

	make_addr(addr, 7999);
	sa = sockaddr_of(addr);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	config.bind_addr = "127.99.1.2";
	cr_assert_eq(net_new(&a.net, &loop, &config, &ops, &a), 0);
	net_connect(a.net, 21, addr);
	RUN_UNTIL((got = accept(fd, (struct sockaddr *)&from, &len)) >= 0);
	cr_assert_eq(ntohl(from.sin_addr.s_addr), 0x7f630102u);
	close(got);
	close(fd);
}

Test(net, disconnects_without_a_word_to_the_caller)
{
	start(&a, 11);
	start(&b, 21);
	join(&a, &b);
	net_disconnect(a.net, 21);
	cr_assert(!net_is_up(a.net, 21));
	RUN_UNTIL(b.downs == 1);
	cr_assert_eq(a.downs, 0);
	net_connect(a.net, 21, b.addr);
	RUN_UNTIL(a.ups == 2 && b.ups == 2);
}

Test(net, stops_with_data_unsent)
{
	start(&a, 11);
	start(&b, 21);
	start(&c, 31);
	join(&a, &b);
	join(&c, &b);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(send_to(&a, &b, i, 1 << 20), 0);
	stop(&a);
	cr_assert_eq(a.downs, 0);
	RUN_UNTIL(b.downs == 1);
	cr_assert_eq(send_to(&c, &b, 1, 0), 0);
}

Test(net, works_for_an_owner_who_listens_to_nothing)
{
	static const struct net_ops none;
	struct net_config config = config_of(11);

	start(&b, 21);
	cr_assert_eq(net_new(&a.net, &loop, &config, &none, &a), 0);
	net_connect(a.net, 21, b.addr);
	RUN_UNTIL(b.ups == 1 && net_is_up(a.net, 21));
	a.id = 11;
	cr_assert_eq(send_to(&b, &a, 1, 10), 0);
	RUN_UNTIL(stats_of(&a).frames_in >= 3); /* the greeting, a ping or pong, this */
	stop(&b);
	RUN_UNTIL(!net_is_up(a.net, 21));
}

Test(net, bad_addresses_are_errors)
{
	struct net_config config = config_of(11);

	start(&a, 11);
	cr_assert_eq(net_listen(a.net, "127.0.0.1"), -EINVAL);
	cr_assert_eq(net_listen(a.net, "127.0.0.1:"), -EINVAL);
	cr_assert_eq(net_listen(a.net, "127.0.0.1:x"), -EINVAL);
	cr_assert_eq(net_listen(a.net, "127.0.0.1:70000"), -EINVAL);
	cr_assert_eq(net_listen(a.net, "[::1:7000"), -EINVAL);
	cr_assert_eq(net_listen(a.net, "example.org:7000"), -EINVAL);
	cr_assert_eq(net_listen(a.net, a.addr), -EADDRINUSE);
	net_connect(a.net, 21, "nowhere");
	cr_assert(!net_is_up(a.net, 21));
	config.bind_addr = "nonsense";
	cr_assert_eq(net_new(&b.net, &loop, &config, &ops, &b), -EINVAL);
	b.net = NULL;
}
