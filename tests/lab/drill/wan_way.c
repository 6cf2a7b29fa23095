#include "tests/lab/drill/wan_way.h"

#include "common/base/mem.h"

#include <linux/virtio_net.h>

/* Below this rate 64 KiB take over 2.6 ms of the line: others would feel it. */
#define SINGLE_BELOW_RATE (200ull * 1000 * 1000)

void way_init(struct way *w, uint64_t *held, uint64_t seed)
{
	*w = (struct way){.held = held};
	w->last = &w->first;
	random_seed(&w->random, seed);
}

static bool happens(struct way *w, unsigned per_million)
{
	return per_million && random_below(&w->random, WAN_PER_ALL) < per_million;
}

/* How long the packet is after segmentation: each segment carries the headers. hdr_len does not tell
 * how long these are: it is how much lies in one piece in the kernel. */
static uint64_t wire_bytes(const unsigned char *packet, unsigned len)
{
	struct virtio_net_hdr h;
	uint64_t ip = len - sizeof(h);

	memcpy(&h, packet, sizeof(h));
	if (h.gso_type == VIRTIO_NET_HDR_GSO_NONE || !h.gso_size || h.csum_start + 20u > ip)
		return ip;
	uint64_t headers = h.csum_start + (packet[sizeof(h) + h.csum_start + 12] >> 4) * 4u;
	if (ip <= headers)
		return ip;
	return ip + (DIV_UP(ip - headers, h.gso_size) - 1) * headers;
}

static nsec_t way_delay(struct way *w)
{
	nsec_t delay = w->is.delay;

	if (w->is.jitter)
		delay += (nsec_t)random_below(&w->random, (uint64_t)w->is.jitter * 2 + 1) - w->is.jitter;
	return MAX(delay, 0);
}

static void append(struct way *w, const unsigned char *packet, unsigned len, nsec_t due)
{
	struct way_packet *p = mem_resize(NULL, 1, sizeof(*p) + len);

	*p = (struct way_packet){.due = MAX(due, w->last_due), .len = len};
	memcpy(p->bytes, packet, len);
	*w->held += len;
	w->last_due = p->due;
	*w->last = p;
	w->last = &p->next;
}

/* One bit behind the headers, so that the packet still arrives and is found out there. */
static void damage(struct way *w, struct way_packet *p)
{
	unsigned from = (unsigned)sizeof(struct virtio_net_hdr) + 20;

	if (p->len <= from)
		return;
	p->bytes[from + random_below(&w->random, p->len - from)] ^=
	        (uint8_t)(1u << random_below(&w->random, 8));
	w->count.corrupted++;
}

void way_put(struct way *w, const unsigned char *packet, unsigned len, nsec_t now)
{
	CHECK(len > sizeof(struct virtio_net_hdr) && len <= WAN_PACKET_MAX);
	uint64_t bytes = wire_bytes(packet, len);
	nsec_t sent = now;

	w->count.packets++;
	w->count.bytes += bytes;
	if (happens(w, w->is.loss)) {
		w->count.lost++;
		return;
	}
	if (w->is.rate) {
		sent = MAX(now, w->rate_free);
		if (sent - now > w->is.queue) {
			w->count.overflow++;
			return;
		}
		sent += (nsec_t)(bytes * 8 * (uint64_t)NSEC_SEC / w->is.rate);
	}
	if (*w->held + len > WAY_HELD_MAX) {
		w->count.overflow++;
		return;
	}
	w->rate_free = sent;
	append(w, packet, len, sent + way_delay(w));
	if (happens(w, w->is.corrupt))
		damage(w, container_of(w->last, struct way_packet, next));
	if (happens(w, w->is.duplicate)) {
		append(w, packet, len, w->last_due);
		w->count.duplicated++;
	}
}

nsec_t way_due(const struct way *w)
{
	return w->first ? w->first->due : NSEC_NEVER;
}

static struct way_packet *take(struct way *w)
{
	struct way_packet *p = w->first;

	w->first = p->next;
	if (!w->first)
		w->last = &w->first;
	return p;
}

struct way_packet *way_get(struct way *w, nsec_t now)
{
	if (way_due(w) > now)
		return NULL;
	struct way_packet *p = take(w);
	w->count.late = MAX(w->count.late, now - p->due);
	return p;
}

void way_packet_free(struct way *w, struct way_packet *p)
{
	*w->held -= p->len;
	mem_free(p);
}

void way_clear(struct way *w)
{
	while (w->first)
		way_packet_free(w, take(w));
	w->rate_free = w->last_due = 0;
}

bool way_wants_single(const struct way *w)
{
	return w->is.loss || w->is.duplicate || w->is.corrupt ||
	       (w->is.rate && w->is.rate < SINGLE_BELOW_RATE);
}
