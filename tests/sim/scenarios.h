/* The schedules, by file. */
#pragma once

#include "tests/sim/sim_disk.h"
#include "tests/sim/stage.h"

void shape_three_sites(struct shape *s);
void shape_two_cores(struct shape *s);

void scenario_a1(struct cluster *c);
void scenario_a1_mixture(struct cluster *c);
void scenario_a2(struct cluster *c);
void scenario_a3(struct cluster *c);
void shape_few_exceptions(struct shape *s);
void scenario_close_refill(struct cluster *c);
void scenario_close_partial(struct cluster *c);

void scenario_p1(struct cluster *c);
void scenario_a5(struct cluster *c);
void scenario_a5_direction(struct cluster *c);
void scenario_a6_gaps(struct cluster *c);
void scenario_a6_merge(struct cluster *c);
void scenario_a6_duplicate(struct cluster *c);
void scenario_a7(struct cluster *c);
void scenario_a7_punch(struct cluster *c);
void scenario_p4_prefix(struct cluster *c);
void scenario_p3_regrant(struct cluster *c);
void scenario_p8_turns(struct cluster *c);
void scenario_p8_repair_idle(struct cluster *c);
void scenario_p8_repair_many(struct cluster *c);
void scenario_p4_size(struct cluster *c);
void scenario_p7_newest(struct cluster *c);
void scenario_p7_refused(struct cluster *c);
void scenario_p7_spared(struct cluster *c);
void scenario_p7_page(struct cluster *c);
void scenario_p7_pages(struct cluster *c);
void scenario_p7_stale(struct cluster *c);
void scenario_p7_away(struct cluster *c);
void scenario_p7_fenced(struct cluster *c);
void scenario_p7_kept(struct cluster *c);
void shape_absent(struct shape *s);
void scenario_absent(struct cluster *c);
void scenario_p3_unrecovered(struct cluster *c);
void scenario_a9_lock_late(struct cluster *c);
void scenario_p7_attr(struct cluster *c);
void scenario_a8_blank(struct cluster *c);
void scenario_a8_rollback(struct cluster *c);
void scenario_a8_unheard(struct cluster *c);
void scenario_a8_late(struct cluster *c);
void scenario_a9(struct cluster *c);
void scenario_a9_ghost(struct cluster *c);
void scenario_a9_lock(struct cluster *c);
void scenario_a9_reader(struct cluster *c);
void scenario_a10_old_leader(struct cluster *c);
void scenario_a10_fenced_reads(struct cluster *c);
void scenario_a10_paused(struct cluster *c);
void shape_two_sites(struct shape *s);
void scenario_a12(struct cluster *c);
void scenario_a13(struct cluster *c);
void scenario_a13_sync(struct cluster *c);
void scenario_a14(struct cluster *c);
void shape_follow(struct shape *s);
void scenario_follow(struct cluster *c);
void scenario_a15(struct cluster *c);
void scenario_p8_one(struct cluster *c);
void scenario_p8_voter(struct cluster *c);
void scenario_p3_refused(struct cluster *c);
void scenario_p8_voters(struct cluster *c);
void shape_names(struct shape *s);
void shape_one_full(struct shape *s);
void shape_two_full(struct shape *s);
void shape_all_full(struct shape *s);
void scenario_p8_full(struct cluster *c);
void shape_long_sessions(struct shape *s);
void scenario_a15_records(struct cluster *c);
void scenario_a15_collect(struct cluster *c);
void scenario_a13_vote(struct cluster *c);
void scenario_p5(struct cluster *c);
void scenario_p6_shared(struct cluster *c);
void scenario_p6_late_home(struct cluster *c);
void scenario_p6_reads(struct cluster *c);
void scenario_p7_read(struct cluster *c);
void scenario_p7_write(struct cluster *c);
void scenario_p7_merge(struct cluster *c);
void scenario_p8(struct cluster *c);
void scenario_b2(struct cluster *c);
void scenario_calm(struct cluster *c);
void scenario_p6(struct cluster *c);
