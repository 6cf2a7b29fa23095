/* The links of the wide-area network: each joins two network namespaces by a TUN device in either,
 * and has a struct way for each direction. All belong to the one thread of distcloud-wan. */
#pragma once

#include "tests/lab/drill/wan_way.h"

#define WAN_LINKS_MAX 256
#define WAN_NAME_MAX 64

struct wan_end {
	int fd;         /* the TUN device */
	bool single;    /* the kernel cuts packets into segments before we get them */
	struct way out; /* what enters here and leaves at the other end */
};

struct wan_link {
	char name[WAN_NAME_MAX];
	bool cut;
	struct wan_end end[2];
};

/* Where an end is: the path of a network namespace, and the device's name there. */
struct wan_place {
	const char *netns, *device;
};

/* Makes both devices (they go when the process ends) and joins them. 0, or a negative errno with a
 * sentence in `why`; then nothing has been made. */
MUST_CHECK int wan_link_open(struct wan_link *l, const char *name, const struct wan_place place[2],
                             uint64_t *held, char *why, size_t why_len);

/* Removes the devices, and what was on its way. */
void wan_link_close(struct wan_link *l);

/* Tells the kernel what the conditions of the ways need of it; after each change of them. */
void wan_link_adapt(struct wan_link *l);

/* A cut cable: both devices lose their carrier, what is on its way is lost. */
void wan_link_cut(struct wan_link *l, bool cut);

/* Reads what has entered at an end, a bounded number of packets. */
void wan_link_read(struct wan_link *l, unsigned end);

/* Lets those packets leave whose time has come; the time of the next. */
nsec_t wan_link_deliver(struct wan_link *l);
