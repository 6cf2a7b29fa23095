/* Leadership goes to where most of the work is: what is asked for there is then answered a round trip
 * sooner, and nobody else's is answered later for long.
 *
 * The leader counts, second by second, the requests that came by way of the hint servers of each site. Once
 * one site asked for more than two thirds of all, and for some at all, through `follow` seconds, a voter there
 * that is heard and has room takes over: by raft's own transfer, so that nothing is lost and nothing waits for
 * a timeout. A new leader counts from the beginning, so two sites that take turns move it rarely. */
#include "common/base/trace.h"
#include "hint-server/quorum/hint_private.h"

#define WINDOW NSEC_SEC
/* Requests a second that are worth it: fewer than one program makes that creates file after file, two round
 * trips of 50 ms each. The farther away the leader is, the fewer they are, and the more it helps. */
#define SOME 8

static unsigned own(const struct hint *h)
{
	for (unsigned i = 0; i < h->config.voters; i++)
		if (h->config.voter[i].id == h->config.server)
			return i;
	return 0;
}

void follow_reset(struct hint *h)
{
	h->follow = (struct follow){.window_ends = hint_now(h) + WINDOW};
}

void follow_count(struct hint *h, const struct msg *m)
{
	unsigned by = own(h);

	for (unsigned i = 0; i < h->config.voters; i++)
		if (h->config.voter[i].id == m->via)
			by = i;
	h->follow.asked[by]++;
	h->follow.all++;
}

static uint64_t asked_in(const struct hint *h, uint16_t site)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < h->config.voters; i++)
		if (hint_voter_site(h, i) == site)
			n += h->follow.asked[i];
	return n;
}

/* The site with more than two thirds of the requests of this window; 0: none. */
static uint16_t busiest(const struct hint *h)
{
	for (unsigned i = 0; i < h->config.voters && h->follow.all >= SOME; i++) {
		uint16_t site = hint_voter_site(h, i);

		if (site && 3 * asked_in(h, site) > 2 * h->follow.all)
			return site;
	}
	return 0;
}

static void go_to(struct hint *h, uint16_t site)
{
	for (unsigned i = 0; i < h->config.voters; i++) {
		if (!h->config.voter[i].vote || hint_voter_site(h, i) != site || room_full(h, i) ||
		    !hint_hears(h, i))
			continue;
		TRACE("follow.to voter site", h->config.voter[i].id, site, 0, 0);
		voter_hand_over(h->voter, h->config.voter[i].id);
		return;
	}
}

nsec_t follow_tick(struct hint *h, nsec_t now)
{
	struct follow *f = &h->follow;
	uint16_t site;

	if (h->config.follow == NSEC_NEVER)
		return NSEC_NEVER;
	if (now < f->window_ends)
		return f->all ? f->window_ends : NSEC_NEVER;
	site = busiest(h);
	if (site != f->site || site == 0)
		f->since = now;
	f->site = site;
	f->all = 0;
	memset(f->asked, 0, sizeof(f->asked));
	f->window_ends = now + WINDOW;
	if (!site || site == hint_voter_site(h, own(h)) || now - f->since + WINDOW < h->config.follow)
		return NSEC_NEVER; /* until somebody asks for something */
	f->since = now; /* if nobody there can take it: not at once again */
	go_to(h, site);
	return NSEC_NEVER;
}
