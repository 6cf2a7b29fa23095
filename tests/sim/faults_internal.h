/* What the files of faults share. */
#pragma once

#include "tests/sim/faults.h"

typedef void fault_fn(struct faults *f, unsigned a, unsigned b);

static inline uint64_t draw(struct faults *f, uint64_t below)
{
	return random_below(&f->c->w.stream[STREAM_FAULT], below);
}

/* Mostly short; some outlast a session. */
static inline nsec_t draw_length(struct faults *f)
{
	if (draw(f, 10) < 7)
		return world_between(&f->c->w, STREAM_FAULT, 10 * NSEC_MSEC, 500 * NSEC_MSEC);
	return world_between(&f->c->w, STREAM_FAULT, 500 * NSEC_MSEC, 2 * f->c->shape.session_timeout);
}

/* Calls run(f, a, b) after the delay, unless all was healed by then. */
void faults_later(struct faults *f, nsec_t delay, fault_fn *run, unsigned a, unsigned b);
fault_fn faults_restart;  /* node a */
fault_fn faults_mend;     /* the link from node a to node b */

/* Disks (faults_disk.c). */
void faults_slow(struct faults *f);     /* or a link */
void faults_rot(struct faults *f);
void faults_fail_core(struct faults *f);
void faults_fail_vote(struct faults *f);
void faults_fill(struct faults *f);
void faults_replace(struct faults *f, bool wipe);
void faults_heal_disk(struct node *n);
