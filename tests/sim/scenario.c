#include "tests/sim/scenarios.h"

#include "tests/sim/scenario.h"

const struct scenario scenarios[] = {
        {"calm", "nothing breaks: no operation may fail", NULL, scenario_calm},
        {"follow", "the leader of the catalog goes where the work is", shape_follow, scenario_follow},
        {"follow-slowly", "and to little work that goes a long way", shape_follow, scenario_follow_slowly},
        {"p1", "what was flushed survives the first site", shape_three_sites, scenario_p1},
        {"a1", "a lost write must not come back with the next recovery", shape_three_sites, scenario_a1},
        {"a1-mixture", "nor make a mixture of replicas", shape_three_sites, scenario_a1_mixture},
        {"a2", "a write waits for its sync when the seal comes", shape_three_sites, scenario_a2},
        {"a3", "two sites answer the seal, one counts for the block", shape_two_cores, scenario_a3},
        {"a4-unfilled", "a replica does not go where nothing of it arrives", shape_four_sites,
         scenario_a4_unfilled},
        {"a4-written", "a write just before a replica moves", shape_four_sites, scenario_a4_written},
        {"a4-drain", "a core server leaves while its files are written", shape_drained, scenario_a4_drain},
        {"a4-lagging", "none moves while another lags", shape_four_sites, scenario_a4_lagging},
        {"a4-around", "all replicas move, and one comes back", shape_four_sites, scenario_a4_around},
        {"follow-writer", "the home of a file goes where it is written", shape_follow_writer,
         scenario_follow_writer},
        {"close-refill", "more blocks differ than a CLOSE can except", shape_few_exceptions,
         scenario_close_refill},
        {"close-partial", "more blocks wait than a CLOSE can except", shape_few_exceptions,
         scenario_close_partial},
        {"a5", "handover while the third replica lags", shape_three_sites, scenario_a5},
        {"a5-direction", "nothing repairs a replica that is ahead", shape_three_sites,
         scenario_a5_direction},
        {"a6-gaps", "each replica misses another write", shape_three_sites, scenario_a6_gaps},
        {"a6-merge", "a sent write keeps its bytes", shape_three_sites, scenario_a6_merge},
        {"a6-duplicate", "a repeated write is answered when durable", shape_three_sites,
         scenario_a6_duplicate},
        {"a7", "truncate, extend, crash: holes stay holes", shape_three_sites, scenario_a7},
        {"a7-punch", "a punched block does not come back", shape_three_sites, scenario_a7_punch},
        {"a8-blank", "an empty disk counts for nothing", shape_three_sites, scenario_a8_blank},
        {"a8-rollback", "nor does one that went back in time", shape_three_sites,
         scenario_a8_rollback},
        {"a8-refilled", "nor, once filled, for more than what it was filled with", shape_three_sites,
         scenario_a8_refilled},
        {"a8-unheard", "nor after acknowledging what no heartbeat told", shape_three_sites,
         scenario_a8_unheard},
        {"a8-late", "a late word of a dead process of a new disk", shape_three_sites, scenario_a8_late},
        {"a8-twice", "nor one of a new disk that was replaced", shape_three_sites, scenario_a8_twice},
        {"a9", "a lost handle stays lost", shape_three_sites, scenario_a9},
        {"a9-ghost", "a machine started elsewhere is not joined by its ghost", shape_three_sites,
         scenario_a9_ghost},
        {"a9-lock", "nor when its lock went there", shape_three_sites, scenario_a9_lock},
        {"a9-reader", "a dropped write is lost although others only read", shape_three_sites,
         scenario_a9_reader},
        {"a10-old-leader", "an old leader keeps nobody alive", shape_three_sites,
         scenario_a10_old_leader},
        {"a10-fenced-reads", "a fenced core server answers no reads", shape_three_sites,
         scenario_a10_fenced_reads},
        {"a10-paused", "who slept sees that it slept", shape_three_sites, scenario_a10_paused},
        {"a12", "two sites: two replicas in one do not count", shape_two_sites, scenario_a12},
        {"a13", "power cuts everywhere during large overwrites", shape_three_sites, scenario_a13},
        {"a13-sync", "a failed fsync is final", shape_three_sites, scenario_a13_sync},
        {"a13-vote", "nor is what a vote wrote before one", shape_three_sites, scenario_a13_vote},
        {"a14", "lookups never see the past", shape_three_sites, scenario_a14},
        {"a15", "open files keep their blocks after unlink", shape_three_sites, scenario_a15},
        {"a15-collect", "a file nobody heard of is not a deleted one", shape_long_sessions,
         scenario_a15_collect},
        {"a15-records", "nor is what its writer has not sent yet dropped with the last name",
         shape_three_sites, scenario_a15_records},
        {"b2", "a late copy does not go over a newer write", shape_three_sites, scenario_b2},
        {"p3-regrant", "what is granted again is not taken back by the answer to an older recall",
         shape_three_sites, scenario_p3_regrant},
        {"p3-refused", "what was refused for want of room does not happen later", shape_names,
         scenario_p3_refused},
        {"p4-prefix", "a block is a prefix of the writes made to it", shape_three_sites,
         scenario_p4_prefix},
        {"p4-size", "a size told elsewhere outlives its writer", shape_three_sites, scenario_p4_size},
        {"p5", "without a session nothing is served", shape_three_sites, scenario_p5},
        {"p6", "flushes go on while a site dies", shape_three_sites, scenario_p6},
        {"p6-shared", "a reader and a writer of one file in two sites both get on", shape_three_sites,
         scenario_p6_shared},
        {"p6-late-home", "a writer waits for no replica that is late, though it shares the file",
         shape_three_sites, scenario_p6_late_home},
        {"p6-new-leader", "readers wait for the next leader only", shape_three_sites, scenario_p6_new_leader},
        {"p6-reads", "reads go on while the nearest replica hangs", shape_three_sites,
         scenario_p6_reads},
        {"p3-ids", "what the old leader asked, and the new one is told", shape_three_sites, scenario_p3_ids},
        {"p3-behind", "who counts for nothing does not say which blocks there are", shape_three_sites,
         scenario_p3_behind},
        {"p6-repair", "two write a file that has to be repaired first", shape_three_sites,
         scenario_p6_repair},
        {"p6-others", "nobody waits for another file's replicas", shape_three_sites,
         scenario_p6_others},
        {"p6-unknown", "a lease that its holder does not know of goes back", shape_three_sites,
         scenario_p6_unknown},
        {"p7-newest", "an unflushed write that rots does not hold up recovery", shape_three_sites,
         scenario_p7_newest},
        {"p7-refused", "nor, with a site away, more than its own block", shape_three_sites,
         scenario_p7_refused},
        {"p7-spared", "nor its own, when the pages that rot are elsewhere as well", shape_three_sites,
         scenario_p7_spared},
        {"p7-page", "a page that rots everywhere fails alone, until it is written", shape_three_sites,
         scenario_p7_page},
        {"p7-pages", "other pages rot on each replica", shape_three_sites, scenario_p7_pages},
        {"p7-stale", "a page is bad on both that are not stale", shape_three_sites, scenario_p7_stale},
        {"p7-away", "the last good page is on a server that is away", shape_three_sites, scenario_p7_away},
        {"p7-fenced", "or on one that lost its session", shape_three_sites, scenario_p7_fenced},
        {"p7-kept", "or in a write that the holder keeps", shape_three_sites, scenario_p7_kept},
        {"absent", "what nobody needs waits for its holder to come back", shape_absent,
         scenario_absent},
        {"p3-unrecovered", "no size is told of a file whose recovery failed", shape_three_sites,
         scenario_p3_unrecovered},
        {"a9-lock-late", "a lock that a lost handle is granted goes back", shape_three_sites,
         scenario_a9_lock_late},
        {"a9-lock-sealed", "also when a seal told first that the file was taken", shape_three_sites,
         scenario_a9_lock_sealed},
        {"p7-attr", "the attribute record rots everywhere", shape_three_sites, scenario_p7_attr},
        {"p7-read", "bits flip between replica and reader", shape_three_sites, scenario_p7_read},
        {"p7-write", "bits flip between writer and replica", shape_three_sites, scenario_p7_write},
        {"p7-merge", "rotten pages are written in part", shape_three_sites, scenario_p7_merge},
        {"p8", "a full write buffer makes its writer wait", shape_three_sites, scenario_p8},
        {"p8-one", "one full disk stops no write", shape_one_full, scenario_p8_one},
        {"p8-turns", "a file that sites take turns with is repaired all the same", shape_three_sites,
         scenario_p8_turns},
        {"p8-repair-idle", "nor those that nobody holds", shape_three_sites, scenario_p8_repair_idle},
        {"p1-refilled", "nobody hears that a new disk has a block; then the next holder copies it",
         shape_three_sites, scenario_p1_refilled},
        {"p1-repair", "files that cannot be repaired do not keep others from it", shape_three_sites,
         scenario_p1_repair},
        {"p8-repair-many", "many small files are repaired one after the other, not a few a second",
         shape_three_sites, scenario_p8_repair_many},
        {"p8-voter", "one voter without room for the catalog stops nothing", shape_names,
         scenario_p8_voter},
        {"p8-voters", "two of them: ENOSPC for new names, for nothing else", shape_names,
         scenario_p8_voters},
        {"p8-two", "two full disks: ENOSPC from write, from nothing else", shape_two_full,
         scenario_p8_full},
        {"p8-all", "the same with all disks", shape_all_full, scenario_p8_full},
};
const unsigned scenarios_n = ARRAY_LEN(scenarios);

const struct scenario *scenario_find(const char *name)
{
	for (unsigned i = 0; i < scenarios_n; i++) {
		if (strcmp(scenarios[i].name, name) == 0)
			return &scenarios[i];
	}
	return NULL;
}

void scenario_shape(const char *name, struct shape *s)
{
	const struct scenario *sc = scenario_find(name);

	CHECK(sc);
	if (sc->shape)
		sc->shape(s);
}

void scenario_run(struct cluster *c, const char *name)
{
	const struct scenario *sc = scenario_find(name);

	CHECK(sc);
	sc->run(c);
}

const struct planted_bug *planted_bug_find(const char *name)
{
	for (unsigned i = 0; i < planted_bugs_n; i++) {
		if (strcmp(planted_bugs[i].name, name) == 0)
			return &planted_bugs[i];
	}
	return NULL;
}
