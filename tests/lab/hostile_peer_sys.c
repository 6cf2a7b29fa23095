/* A stranger on a server's port: connects again and again for some seconds and sends what no correct peer
 * would. Everything follows from the seed, but for the server's timing.
 *
 *   hostile_peer ADDRESS PORT SEED SECONDS CLUSTER
 *
 * CLUSTER 0: never a greeting that the server could take, so nothing it sends may have any effect. Else it
 * greets as a server of that cluster and then sends valid messages with senseless contents, in
 * whatever state the server is. Prints how many connections and bytes it took. */
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/base/bytes.h"
#include "tests/sim/hostile.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <xxhash.h>

#define OPEN_MAX_ 24          /* connections that say nothing any more, kept open */
#define MESSAGES 300          /* of one greeted connection */
#define FRAME_MAX 65536
#define STRANGER 60000        /* server ids of the cluster are below */

struct peer {
	struct sockaddr_in to;
	struct random random;
	struct hostile mad;
	uint64_t cluster;
	int idle[OPEN_MAX_];
	unsigned idle_n;
	uint64_t connections, bytes;
};

static uint64_t below(struct peer *p, uint64_t n)
{
	return random_below(&p->random, n);
}

/* False: the server has hung up, as it should. */
static bool send_all(struct peer *p, int fd, const void *bytes, size_t len)
{
	char sink[4096];

	for (size_t done = 0; done < len;) {
		ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		done += (size_t)n;
		p->bytes += (uint64_t)n;
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
	return true;
}

static int dial(struct peer *p)
{
	struct timeval patience = {.tv_sec = 1};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	CHECK(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&p->to, sizeof(p->to)) < 0) {
		fprintf(stderr, "hostile_peer: connect: %s\n", strerror(errno));
		exit(1); /* the port has to be there all the time */
	}
	p->connections++;
	return fd;
}

/* --- frames --- */

static size_t encode(const struct msg *m, uint8_t out[FRAME_MAX])
{
	size_t head = msg_head_bytes(m);

	CHECK(head + m->payload.len <= FRAME_MAX);
	msg_encode(m, out);
	if (m->payload.len > 0)
		memcpy(out + head, slice_data(m->payload), m->payload.len);
	return head + m->payload.len;
}

static size_t greeting(struct peer *p, uint64_t cluster, uint8_t out[FRAME_MAX])
{
	static const uint8_t kinds[] = {SERVER_CORE, SERVER_ACCESS, SERVER_HINT};
	struct msg m = {.type = MSG_TYPE_hello, .src = STRANGER + (server_id_t)below(p, 20)};

	m.hello = (struct msg_hello){m.src, kinds[below(p, ARRAY_LEN(kinds))], cluster, WIRE_VERSION,
	                             below(p, 1000)};
	return encode(&m, out);
}

/* A message of any type, its fields senseless, its checksums right. */
static size_t senseless(struct peer *p, uint8_t out[FRAME_MAX])
{
	static const enum msg_type types[] = {
#define M(name, number, fields) MSG_TYPE_##name,
		MSG_LIST(M)
#undef M
	};
	static const uint32_t lengths[] = {0, 0, 0, 0, 1, 4096, 16384};
	struct msg m = {.src = STRANGER, .id = below(p, 1000)};
	size_t len;

	/* A second greeting only ends the connection. */
	while (!m.type || (m.type == MSG_TYPE_hello && below(p, 20) > 0))
		m.type = types[below(p, ARRAY_LEN(types))];

	m.dst = below(p, 2) ? (server_id_t)below(p, 100) : SERVER_LEADER;
	hostile_twist(&p->mad, &p->random, &m);
	m.payload.len = lengths[below(p, ARRAY_LEN(lengths))];
	m.payload.buf = m.payload.len ? iobuf_new(m.payload.len) : NULL;
	if (m.payload.buf)
		memset(m.payload.buf->data, (int)below(p, 256), m.payload.len);
	len = encode(&m, out);
	iobuf_put(m.payload.buf);
	return len;
}

/* The header says something else; its own checksum is right. */
static void lie(struct peer *p, uint8_t head[WIRE_HEADER_BYTES])
{
	static const uint8_t field[] = {0, 4, 6, 24, 28, 40}; /* magic, version, type, lengths, zero */
	uint8_t *at = head + field[below(p, ARRAY_LEN(field))];

	put_u32le(at, below(p, 2) ? UINT32_MAX >> below(p, 32) : (uint32_t)random_u64(&p->random));
	put_u32le(head + 44, XXH32(head, 44, 0));
}

/* --- what it does with a connection --- */

static void noise(struct peer *p, int fd)
{
	uint8_t bytes[4096];
	size_t len = 1 + below(p, sizeof(bytes));

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)random_u64(&p->random);
	(void)send_all(p, fd, bytes, len);
}

static void bad_frame(struct peer *p, int fd)
{
	uint8_t frame[FRAME_MAX];
	size_t len = below(p, 2) ? greeting(p, p->cluster + 1, frame) : senseless(p, frame);

	switch (below(p, 3)) {
	case 0:
		lie(p, frame);
		break;
	case 1:
		frame[below(p, len)] ^= (uint8_t)(1u << below(p, 8));
		break;
	default: /* cut off */
		len = below(p, len);
	}
	(void)send_all(p, fd, frame, len);
}

/* Valid, but who is this? */
static void ungreeted(struct peer *p, int fd)
{
	uint8_t frame[FRAME_MAX];

	for (unsigned n = 0; n < 5; n++)
		if (!send_all(p, fd, frame, senseless(p, frame)))
			return;
}

static void foreign(struct peer *p, int fd)
{
	uint8_t frame[FRAME_MAX];

	if (send_all(p, fd, frame, greeting(p, 4711 + below(p, 1000), frame)))
		ungreeted(p, fd);
}

static void greeted(struct peer *p, int fd)
{
	uint8_t frame[FRAME_MAX];

	if (!send_all(p, fd, frame, greeting(p, p->cluster, frame)))
		return;
	for (unsigned n = 0; n < MESSAGES; n++) {
		if (!send_all(p, fd, frame, senseless(p, frame)))
			return;
		if (below(p, 100) == 0) /* what it provokes comes back */
			(void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5);
	}
	if (below(p, 2))
		bad_frame(p, fd);
}

/* Left open, half a frame in it or nothing at all. */
static bool keep(struct peer *p, int fd)
{
	unsigned at = p->idle_n < OPEN_MAX_ ? p->idle_n++ : (unsigned)below(p, OPEN_MAX_);

	if (p->idle[at] >= 0)
		close(p->idle[at]);
	p->idle[at] = fd;
	return true;
}

static void attack(struct peer *p)
{
	static void (*const act[])(struct peer *p, int fd) = {noise, bad_frame, ungreeted, foreign, greeted};
	int fd = dial(p);
	uint64_t what = below(p, p->cluster ? ARRAY_LEN(act) : ARRAY_LEN(act) - 1);

	if (below(p, 10) > 0)
		act[what](p, fd);
	(void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 2); /* it answers, or closes */
	if (below(p, 8) == 0 && keep(p, fd))
		return;
	if (below(p, 2)) { /* reset rather than closed */
		struct linger now = {.l_onoff = 1};

		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static struct peer p;
	nsec_t until;

	if (argc != 6) {
		fprintf(stderr, "usage: hostile_peer ADDRESS PORT SEED SECONDS CLUSTER\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	p.to.sin_family = AF_INET;
	p.to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	CHECK(inet_pton(AF_INET, argv[1], &p.to.sin_addr) == 1);
	random_seed(&p.random, strtoull(argv[3], NULL, 10));
	p.cluster = strtoull(argv[5], NULL, 10);
	for (unsigned i = 0; i < OPEN_MAX_; i++)
		p.idle[i] = -1;
	until = clock_boottime() + (nsec_t)strtol(argv[4], NULL, 10) * NSEC_SEC;
	while (clock_boottime() < until)
		attack(&p);
	printf("%s:%s: %" PRIu64 " connections, %" PRIu64 " bytes\n", argv[1], argv[2], p.connections, p.bytes);
	return 0;
}
