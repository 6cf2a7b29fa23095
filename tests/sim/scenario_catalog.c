/* Traps A10, A14 and A15: what the catalog tells, and an old leader that believes in itself. */

#include "tests/sim/scenarios.h"

/* What its followers send the leader comes later and later. Once it is cut off, answers of its own term
 * keep arriving long after the others elected another leader, so it does not step down by itself. */
static void delay_followers(struct cluster *c, struct node *leader)
{
	struct stage_rule *late[2] = {NULL, NULL};
	unsigned n = 0;

	for (unsigned s = 1; s <= 3; s++) {
		if (s != leader->site)
			late[n++] = stage_delay(c, MSG_TYPE_raft, cluster_hint_id(s), leader->id, 0);
	}
	for (unsigned step = 1; step <= 12; step++) {
		late[0]->delay = late[1]->delay = step * 300 * NSEC_MSEC;
		stage_wait(c, 350 * NSEC_MSEC);
	}
}

static void wait_for_another(struct cluster *c, struct node *leader)
{
	for (unsigned i = 0; i < 200 && stage_leader(c) == leader; i++)
		stage_wait(c, 10 * NSEC_MSEC);
	stage_expect(c, stage_leader(c) != leader && stage_leads(leader), "two leaders");
}

static void leave_behind(struct cluster *c, struct node *leader)
{
	delay_followers(c, leader);
	simnet_cut_site(&c->net, leader->site, true);
	wait_for_another(c, leader);
}

/* The leader is cut off together with an access server that has a lease on the page; the others elect
 * another, and a writer takes the file. */
void scenario_a10_old_leader(struct cluster *c)
{
	struct node *leader;
	struct client *a, *b;
	unsigned other;

	leader = stage_start_led(c);
	if (!leader)
		return;
	other = leader->site % 3 + 1;
	a = stage_client(c, leader->site);
	b = stage_client(c, other);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	stage_expect(c, stage_write(b, 1, 0, 1, true) == 0 && stage_read(a, 1, 0, 1) == 0, "read");
	leave_behind(c, leader);
	stage_begin_write(b, 1, 0, 1, true);
	for (unsigned i = 0; i < 80; i++) {
		if (!a->busy)
			stage_begin_read(a, 1, 0, 1);
		stage_wait(c, 50 * NSEC_MSEC);
	}
	stage_end(c);
}

/* The old leader answers from what it knows, which is not what the others agreed on: there is no b. */
void scenario_a14(struct cluster *c)
{
	struct node *leader;
	struct client *a, *b;
	unsigned other;

	leader = stage_start_led(c);
	if (!leader)
		return;
	other = leader->site % 3 + 1;
	a = stage_client(c, leader->site);
	b = stage_client(c, other);
	stage_expect(c, stage_create(b, 0) == 0, "create");
	leave_behind(c, leader);
	stage_begin_rename(b, 0, 1);
	for (unsigned i = 0; i < 80; i++) {
		if (!a->busy)
			stage_begin_lookup(a, 1);
		stage_wait(c, 50 * NSEC_MSEC);
	}
	stage_end(c);
}

/* Open in site 3, without any I/O, unlinked in site 2: its blocks stay while it is open. */
void scenario_a15(struct cluster *c)
{
	struct client *a, *b, *d;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	b = stage_client(c, 2);
	d = stage_client(c, 3);
	stage_expect(c, stage_open(a, 2) == 0 && stage_write(a, 2, 0, 4, true) == 0, "write");
	stage_expect(c, stage_open(d, 2) == 0, "open");
	stage_expect(c, stage_close(a, 2) == 0, "close");
	stage_expect(c, stage_unlink_file(b, 2) == 0, "unlink");
	stage_wait(c, 5 * NSEC_SEC);
	stage_expect(c, stage_read(d, 2, 0, 4) == 0, "P1: an open file can be read after its unlink");
	c->hist.file[2].gone = true;
	stage_end(c);
}

/* Site 1 wrote and closed it, and has the lease and what no replica has yet, when site 3, which has it
 * open, takes the last name. Whoever says that it has the file not open still has to give it back. */
void scenario_a15_records(struct cluster *c)
{
	struct client *a, *d;
	uint64_t value;
	nsec_t then;

	if (!stage_start(c))
		return;
	a = stage_client(c, 1);
	d = stage_client(c, 3);
	stage_expect(c, stage_open(d, 2) == 0, "open");
	stage_expect(c, stage_open(a, 2) == 0 && stage_write(a, 2, 0, 4, true) == 0, "write");
	for (unsigned site = 1; site <= 3; site++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(site, 0), true);
	stage_expect(c, stage_write(a, 2, 0, 4, false) == 0, "write what stays in the buffer");
	stage_expect(c, stage_read(a, 2, 0, 4) == 0, "read it");
	value = stage_value(a);
	stage_expect(c, stage_close(a, 2) == 0, "close");
	stage_expect(c, stage_unlink_file(d, 2) == 0, "unlink");
	stage_wait(c, 3 * NSEC_SEC);
	then = c->w.now;
	for (unsigned site = 1; site <= 3; site++)
		stage_cut(c, cluster_access_id(1), cluster_core_id(site, 0), false);
	stage_expect(c, stage_read(d, 2, 0, 4) == 0, "an open file can be read after its unlink");
	stage_expect(c, stage_value(d) == value, "P3: what was written before it");
	stage_expect(c, c->w.now < then + NSEC_SEC, "P6: at once");
	stage_expect(c, stage_write(d, 2, 2, 4, true) == 0, "and written");
	c->hist.file[2].gone = true;
	stage_end(c);
}

void shape_long_sessions(struct shape *s)
{
	shape_three_sites(s);
	s->session_timeout = 5 * NSEC_SEC;
}

void shape_follow(struct shape *s)
{
	shape_three_sites(s);
	s->wan_ms_max = 5;
	s->follow = 2 * NSEC_SEC;
}

/* Works for six seconds in another site than the leader's: the one who did, and *leader is where it went. */
static struct client *work_elsewhere(struct cluster *c, struct node **leader, nsec_t pause)
{
	unsigned site = (*leader)->site % 3 + 1;
	struct client *a = stage_client(c, site);

	for (nsec_t until = c->w.now + 6 * NSEC_SEC; c->w.now < until && !c->w.failed;) {
		stage_expect(c, stage_create(a, 1) == 0 && stage_unlink(a, 1) == 0, "create, unlink");
		stage_wait(c, pause);
	}
	*leader = stage_leader(c);
	stage_expect(c, *leader && (*leader)->site == site, "the leader is where the work is");
	return a;
}

/* As slowly as one program goes whose every create is two long round trips: that is worth it most. */
void scenario_follow_slowly(struct cluster *c)
{
	struct node *leader = stage_start_led(c);

	if (!leader)
		return;
	work_elsewhere(c, &leader, 150 * NSEC_MSEC);
	stage_end(c);
}

/* All the work comes from one site: the leader of the catalog goes there, once, and stays when two sites
 * take turns. */
void scenario_follow(struct cluster *c)
{
	struct node *leader;
	struct client *a, *b;
	nsec_t until;

	leader = stage_start_led(c);
	if (!leader)
		return;
	b = stage_client(c, leader->site);
	a = work_elsewhere(c, &leader, 0);
	for (until = c->w.now + 6 * NSEC_SEC; c->w.now < until && !c->w.failed;) {
		stage_expect(c, stage_create(a, 1) == 0 && stage_unlink(a, 1) == 0, "create, unlink");
		stage_expect(c, stage_create(b, 2) == 0 && stage_unlink(b, 2) == 0, "create, unlink");
	}
	stage_expect(c, stage_leader(c) == leader, "it stays");
	stage_end(c);
}

/* The servers of the leader's site lose the other votes, data still passes; the leader is alone. */
static void cut_votes(struct cluster *c, const struct node *leader)
{
	for (unsigned i = 0; i < c->nodes; i++) {
		for (unsigned k = 0; k < c->nodes; k++) {
			bool vote = &c->node[i] == leader || c->node[k].kind == SERVER_HINT;

			if (vote && c->node[i].site == leader->site && c->node[k].site != leader->site)
				stage_cut(c, c->node[i].id, c->node[k].id, true);
		}
	}
}

/* A file is made under the new leader; then the collector of the old leader's site comes round, asks the
 * old one, and hears of a file that is not there. */
void scenario_a15_collect(struct cluster *c)
{
	struct stage_rule *walk;
	struct node *leader;
	struct client *a;
	nsec_t next;

	leader = stage_start_led(c);
	if (!leader)
		return;
	a = stage_client(c, leader->site % 3 + 1);
	stage_expect(c, stage_open(a, 1) == 0 && stage_write(a, 1, 0, 1, true) == 0, "write");
	walk = stage_delay(c, MSG_TYPE_q_files, cluster_core_id(leader->site, 0), 0, 0);
	for (unsigned i = 0; i < 1500 && walk->hits == 0; i++)
		stage_wait(c, 10 * NSEC_MSEC);
	next = c->w.now + 10 * NSEC_SEC;
	delay_followers(c, leader);
	stage_wait(c, next - 3 * NSEC_SEC - c->w.now);
	cut_votes(c, leader);
	wait_for_another(c, leader);
	stage_expect(c, stage_make(a) == 0 && stage_write(a, c->hist.files - 1, 0, 1, true) == 0, "a file");
	walk->hits = 0;
	stage_wait(c, 3 * NSEC_SEC);
	stage_expect(c, walk->hits > 0, "the collector asks");
	stage_end(c);
}

/* The log of one vote loses a write to a failing sync, another vote is cut off. What was answered then
 * survives the third: the leader, whose site burns. */
void scenario_a13_vote(struct cluster *c)
{
	struct node *leader, *weak;
	struct client *a, *b;
	unsigned away;

	leader = stage_start_led(c);
	if (!leader)
		return;
	weak = cluster_find(c, cluster_hint_id(leader->site % 3 + 1));
	away = weak->site % 3 + 1;
	a = stage_client(c, weak->site);
	b = stage_client(c, away);
	stage_cut(c, cluster_hint_id(away), leader->id, true);
	stage_cut(c, cluster_hint_id(away), weak->id, true);
	sim_disk_fail_next_sync(weak->disk);
	stage_expect(c, stage_create(a, 0) == 0, "create");
	stage_crash(c, leader->id, true);
	stage_crash(c, weak->id, true);
	stage_cut(c, cluster_hint_id(away), leader->id, false);
	stage_cut(c, cluster_hint_id(away), weak->id, false);
	stage_restart(c, weak->id);
	stage_begin_lookup(b, 0);
	stage_finish(b, 8 * NSEC_SEC);
	stage_end(c);
}

#define STATS 16

/* The leader asks the holder for the size of a file and dies; what the holder has to flush first takes until
 * another one leads and asks as well, after another write. The holder then answers both. */
void scenario_p3_ids(struct cluster *c)
{
	struct node *leader = stage_start_led(c);
	struct client *a, *b, *d[STATS];

	if (!leader)
		return;
	a = stage_client(c, leader->site % 3 + 1);
	b = stage_client(c, leader->site);
	stage_expect(c, stage_open(a, 1) == 0 && stage_open(b, 1) == 0, "open");
	for (unsigned i = 0; i < STATS; i++) {
		d[i] = stage_client(c, (leader->site + 1u) % 3 + 1);
		stage_expect(c, stage_open(d[i], 1) == 0, "open");
	}
	stage_expect(c, stage_write(a, 1, 0, 16, true) == 0, "write");
	stage_drop(c, MSG_TYPE_write_reply, 0, a->n->id);
	stage_expect(c, stage_write(a, 1, 16, 4, false) == 0, "unsynced write");
	stage_begin_stat(b, 1);
	stage_wait(c, 300 * NSEC_MSEC);
	stage_crash(c, leader->id, true);
	for (unsigned i = 0; i < 500 && !stage_leader(c); i++)
		stage_wait(c, 10 * NSEC_MSEC);
	stage_expect(c, stage_write(a, 1, 24, 4, false) == 0, "another");
	for (unsigned i = 0; i < STATS; i++)
		stage_begin_stat(d[i], 1);
	stage_wait(c, NSEC_SEC);
	stage_lift(c);
	for (unsigned i = 0; i < STATS; i++)
		stage_expect(c, stage_finish(d[i], 5 * NSEC_SEC) == 0, "stat");
	stage_end(c);
}
