/* One direction of a wide-area link: packets enter, wait as long as rate, queue, delay and jitter
 * demand, and leave in the order in which they came; some are lost, doubled or damaged.
 *
 * Pure: no clock, no sockets. Packets are what a TUN device with IFF_VNET_HDR gives: a struct
 * virtio_net_hdr, then an IP packet of up to 64 KiB that the kernel has not cut into segments yet. */
#pragma once

#include "common/base/base.h"
#include "common/base/random.h"

#define WAN_PACKET_MAX (65536 + 64) /* with its virtio_net_hdr */
#define WAN_PER_ALL 1000000u        /* loss, duplicate and corrupt are parts per million */

struct way_conditions {
	nsec_t delay;      /* one way */
	nsec_t jitter;     /* uniform within delay - jitter ... delay + jitter; packets keep their order */
	uint64_t rate;     /* bits of IP packets per second; 0: unlimited */
	nsec_t queue;      /* who would wait longer than this for the rate is dropped */
	unsigned loss;     /* the three are per packet, parts per million */
	unsigned duplicate;
	unsigned corrupt;
};

struct way_counters {
	uint64_t packets, bytes;  /* that came; bytes as on the wire, after segmentation */
	uint64_t lost, overflow;  /* dropped by loss; by the queue or the bound on memory */
	uint64_t duplicated, corrupted;
	uint64_t refused;         /* the device at the other end was down or has no room */
	nsec_t late;              /* the most that a packet left behind its time */
};

struct way_packet {
	struct way_packet *next;
	nsec_t due;
	unsigned len;
	unsigned char bytes[];
};

struct way {
	struct way_conditions is;
	struct way_counters count;
	struct way_packet *first, **last; /* by due time */
	nsec_t rate_free;                 /* when the last packet's last bit has been sent */
	nsec_t last_due;
	uint64_t *held;                   /* bytes that all ways of the process hold */
	struct random random;
};

/* held: shared by all ways, they drop when it is at its bound (WAY_HELD_MAX). */
#define WAY_HELD_MAX (1024ull << 20)
void way_init(struct way *w, uint64_t *held, uint64_t seed);

/* Takes a copy of the packet, or drops it. */
void way_put(struct way *w, const unsigned char *packet, unsigned len, nsec_t now);

/* When the first packet leaves; NSEC_NEVER: there is none. */
nsec_t way_due(const struct way *w);

/* The first packet if its time has come, else NULL; the caller gives it to way_packet_free(). */
struct way_packet *way_get(struct way *w, nsec_t now);
void way_packet_free(struct way *w, struct way_packet *p);

/* Forgets all packets, as a cable does that is cut. */
void way_clear(struct way *w);

/* Whether packets must come one by one and with their checksums: a loss must not take 64 KiB at
 * once, a damaged packet must be found out, and a slow line must not be taken by one for long. */
bool way_wants_single(const struct way *w);
