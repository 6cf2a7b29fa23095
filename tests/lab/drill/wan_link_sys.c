#include "tests/lab/drill/wan_link.h"

#include "common/base/clock.h"

#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define READ_MAX 64 /* packets of one end before the others get their turn */

static int fail(char *why, size_t why_len, const char *what, const char *which)
{
	int rc = -errno;

	snprintf(why, why_len, "%s %s: %s", what, which, strerror(-rc));
	return rc;
}

/* A TUN device belongs to the namespace in which it was opened, wherever the process goes then. */
static int open_end(const struct wan_place *p, char *why, size_t why_len)
{
	struct ifreq ask = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
	int netns = open(p->netns, O_RDONLY | O_CLOEXEC);

	if (netns < 0)
		return fail(why, why_len, "cannot open the network namespace", p->netns);
	int rc = setns(netns, CLONE_NEWNET);
	close(netns);
	if (rc < 0)
		return fail(why, why_len, "cannot enter the network namespace", p->netns);
	if (strlen(p->device) >= IFNAMSIZ) {
		errno = ENAMETOOLONG;
		return fail(why, why_len, "cannot make the device", p->device);
	}
	memcpy(ask.ifr_name, p->device, strlen(p->device) + 1);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(why, why_len, "cannot open", "/dev/net/tun");
	if (ioctl(fd, TUNSETIFF, &ask) < 0) {
		rc = fail(why, why_len, "cannot make the device", p->device);
		close(fd);
		return rc;
	}
	return fd;
}

int wan_link_open(struct wan_link *l, const char *name, const struct wan_place place[2],
                  uint64_t *held, char *why, size_t why_len)
{
	*l = (struct wan_link){.end = {{.fd = -1}, {.fd = -1}}};
	snprintf(l->name, sizeof(l->name), "%s", name);
	for (unsigned i = 0; i < 2; i++) {
		l->end[i].fd = open_end(&place[i], why, why_len);
		if (l->end[i].fd < 0) {
			int rc = l->end[i].fd;

			if (i == 1)
				close(l->end[0].fd);
			return rc;
		}
		l->end[i].single = true; /* as new devices are; not what is wanted */
		way_init(&l->end[i].out, held, (uint64_t)clock_boottime() + i);
	}
	wan_link_adapt(l);
	return 0;
}

void wan_link_close(struct wan_link *l)
{
	for (unsigned i = 0; i < 2; i++) {
		way_clear(&l->end[i].out);
		close(l->end[i].fd);
	}
}

void wan_link_adapt(struct wan_link *l)
{
	for (unsigned i = 0; i < 2; i++) {
		struct wan_end *e = &l->end[i];
		bool single = way_wants_single(&e->out);
		unsigned long offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

		if (single != e->single)
			CHECK(ioctl(e->fd, TUNSETOFFLOAD, single ? 0 : offload) == 0);
		e->single = single;
	}
}

void wan_link_cut(struct wan_link *l, bool cut)
{
	int carrier = !cut;

	l->cut = cut;
	for (unsigned i = 0; i < 2; i++) {
		CHECK(ioctl(l->end[i].fd, TUNSETCARRIER, &carrier) == 0);
		way_clear(&l->end[i].out);
	}
}

void wan_link_read(struct wan_link *l, unsigned end)
{
	static unsigned char packet[WAN_PACKET_MAX];
	struct wan_end *e = &l->end[end];

	for (unsigned i = 0; i < READ_MAX; i++) {
		ssize_t n = read(e->fd, packet, sizeof(packet));

		if (n <= 0)
			return;
		if (!l->cut)
			way_put(&e->out, packet, (unsigned)n, clock_boottime());
	}
}

nsec_t wan_link_deliver(struct wan_link *l)
{
	nsec_t next = NSEC_NEVER;

	for (unsigned i = 0; i < 2; i++) {
		struct way *w = &l->end[i].out;
		int to = l->end[1 - i].fd;

		while (way_due(w) != NSEC_NEVER) {
			struct way_packet *p = way_get(w, clock_boottime());

			if (!p)
				break;
			if (write(to, p->bytes, p->len) < 0)
				w->count.refused++;
			way_packet_free(w, p);
		}
		next = MIN(next, way_due(w));
	}
	return next;
}
