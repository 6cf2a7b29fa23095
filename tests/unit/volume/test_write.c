/* Writing, flushing, reading under an exclusive lease. */
#include <criterion/criterion.h>

#include "tests/unit/volume/world.h"

TestSuite(volume_write, .init = world_up, .fini = world_down);

/* P1: a flush needs two replicas in two sites, and not the third. The lease is taken at the first
 * write; the attribute record travels beside the data. */
Test(volume_write, flush_waits_for_two_of_three)
{
	uint64_t h = opened();
	struct vol_req *write, *sync;

	write = writes(h, 0, 4096, 1, 0);
	settle();
	cr_assert_eq(rc_of(write), 0);
	expect("op_lease mode=2\n"
	       "11 list from attr\n"
	       "11 list from 0\n"
	       "done write rc 0\n"
	       "11 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "21 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "31 write 0 data [0,+4096) 0.0 -> 1.1\n");
	sync = op(VOL_FSYNC, h);
	expect("11 write attr data [0,+4096) 0.0 -> 1.2\n"
	       "21 write attr data [0,+4096) 0.0 -> 1.2\n"
	       "31 write attr data [0,+4096) 0.0 -> 1.2\n");
	ack(31);
	settle();
	cr_assert_eq(rc_of(sync), PENDING_RC);
	ack(11);
	settle();
	cr_assert_eq(rc_of(sync), 0);
}

/* The bits are taken away first, as they are when the lease comes, and once. */
Test(volume_write, a_write_takes_rights_away_first)
{
	uint64_t h;
	struct vol_req *write;

	w.mode = 06755;
	w.state = INODE_CLEAN | INODE_CAPS;
	h = opened();
	write = writes(h, 0, 4096, 1, VOL_F_KILL_SUID);
	settle();
	cr_assert_eq(rc_of(write), 0);
	expect("op_lease mode=2\n"
	       "11 list from attr\n"
	       "setattr valid=224\n"
	       "11 list from 0\n"
	       "done write rc 0\n"
	       "11 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "21 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "31 write 0 data [0,+4096) 0.0 -> 1.1\n");
	cr_assert_eq(w.mode, 0755);
	writes(h, 0, 4096, 1, VOL_F_KILL_SUID);
	settle();
	cr_assert_null(strstr(w.trace, "setattr"), "%s", w.trace);
}

/* Capabilities go with whoever writes; setuid stays when root does. */
Test(volume_write, a_cut_by_root_takes_capabilities_only)
{
	struct vol_req *cut;

	w.mode = 04755;
	w.state = INODE_CLEAN | INODE_CAPS;
	cut = op(VOL_GETATTR, opened());
	cut->op = VOL_SETATTR;
	cut->valid = VOL_ATTR_SIZE;
	cut->size = 5;
	again(cut);
	settle();
	cr_assert_eq(rc_of(cut), 0);
	cr_assert_eq(cut->attr.mode & 07777, 04755);
	cr_assert(strstr(w.trace, "setattr valid=160\n"), "%s", w.trace);
}

/* mtime set far ahead, or before 1970, does not stay there when the file is written. */
Test(volume_write, a_write_brings_mtime_back_to_now)
{
	const uint64_t set[] = {(uint64_t)-5 * NSEC_SEC, 4000000000 * (uint64_t)NSEC_SEC};
	uint64_t h = opened();
	struct vol_req *times = op(VOL_GETATTR, h);

	for (unsigned i = 0; i < ARRAY_LEN(set); i++) {
		times->op = VOL_SETATTR;
		times->valid = SETATTR_MTIME;
		times->mtime = set[i];
		again(times);
		settle();
		cr_assert_eq(times->attr.mtime, set[i]);
		writes(h, 0, 4096, 1, 0);
		settle();
		times->op = VOL_GETATTR;
		again(times);
		settle();
		cr_assert_eq(times->attr.mtime / NSEC_SEC, w.wall / NSEC_SEC);
	}
}

/* A12: with two replicas in one site, the flush waits for the other site. */
Test(volume_write, two_replicas_in_one_site_do_not_count)
{
	struct vol_req *sync;
	uint64_t h;

	world_down();
	world_up_in(1);
	h = opened();
	writes(h, 0, 4096, 1, 0);
	settle();
	sync = op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	settle();
	cr_assert_eq(rc_of(sync), PENDING_RC);
	ack(31);
	settle();
	cr_assert_eq(rc_of(sync), 0);
}

/* A6: a replica that missed a record gets it again from what is kept; nobody is marked. */
Test(volume_write, gap_is_filled_from_the_records_kept)
{
	uint64_t h = opened();

	writes(h, 0, 4096, 1, 0);
	writes(h, 8192, 4096, 2, 0);
	forget_trace();
	ack(11);
	ack(31);
	refuse(21, STATUS_PENDING, (struct version){0, 0});
	refuse(21, STATUS_GAP, (struct version){0, 0});
	settle();
	expect("21 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "21 write 0 data [8192,+4096) 1.1 -> 1.2\n");
}

/* P8: what two have is not kept for ever for a third that is silent; its stale bit travels with the
 * release. */
Test(volume_write, silent_replica_is_marked_and_the_buffer_freed)
{
	uint64_t h = opened();
	struct vol_stats stats;

	writes(h, 0, 4096, 1, 0);
	op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	settle();
	vol_get_stats(w.volume, &stats);
	cr_assert_gt(stats.buffered_bytes, 4096);
	w.down[31] = true;
	pass(1200 * NSEC_MSEC);
	vol_get_stats(w.volume, &stats);
	cr_assert_eq(stats.buffered_bytes, 0);
	cr_assert_eq(stats.stale_blocks, 2, "block 0 and the attribute record");
}

/* A5: nothing repairs a replica that is ahead; the file is given back unclean instead. */
Test(volume_write, replica_that_is_ahead_makes_the_file_unclean)
{
	uint64_t h = opened();

	writes(h, 0, 4096, 1, 0);
	settle();
	ack(11);
	ack(21);
	refuse(31, STATUS_AHEAD, (struct version){0, 9});
	op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	ack(31);
	settle();
	forget_trace();
	recall(LEASE_NONE, 4);
	pass(20 * NSEC_MSEC);
	expect("invalidate\n"
	       "release to=0 clean=0 size=4096 stale=1\n");
}

/* A reader on the same mount sees what was written, whatever the replicas have. */
Test(volume_write, reads_see_records_on_their_way)
{
	uint64_t h = opened();
	struct vol_req *read;

	writes(h, 100, 1000, 7, 0);
	writes(h, 200, 10, 8, 0);
	forget_trace();
	read = reads(h, 150, 100);
	cr_assert_eq(rc_of(read), 0);
	cr_assert_eq(read->out_len, 100);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(slice_data(read->out)[i], i >= 50 && i < 60 ? 8 : 7);
	expect("done read rc 0\n"); /* and nobody was asked */
	read = reads(h, 0, 4096);
	settle();
	cr_assert_eq(read->out_len, 1100, "the file ends there");
	cr_assert_eq(slice_data(read->out)[99], 0);
	cr_assert_eq(slice_data(read->out)[100], 7);
}

/* B7: without promised space on two replicas, write() itself says so. */
Test(volume_write, full_servers_refuse_the_write_itself)
{
	struct vol_req *write;
	uint64_t h = opened();

	w.full = true;
	write = writes(h, 0, 4096, 1, 0);
	pass(10 * NSEC_MSEC);
	cr_assert_eq(rc_of(write), -ENOSPC);
}

/* A7: no zeros are sent before the record with the new size and the pending trim is flushed. */
Test(volume_write, zeros_of_a_cut_wait_for_the_attribute_record)
{
	uint64_t h = opened();
	struct vol_req *cut;

	writes(h, 0, 8192, 1, 0);
	op(VOL_FSYNC, h);
	ack(11);
	ack(21);
	ack(31);
	settle();
	forget_trace();
	cut = op(VOL_OPEN, 0);
	cut->flags = VOL_F_TRUNC;
	forget_trace();
	again(cut);
	cr_assert_eq(rc_of(cut), 0);
	expect("11 list from 0\n"
	       "21 list from 0\n"
	       "31 list from 0\n"
	       "11 write attr data [0,+4096) 1.2 -> 1.3\n"
	       "21 write attr data [0,+4096) 1.2 -> 1.3\n"
	       "31 write attr data [0,+4096) 1.2 -> 1.3\n"
	       "done open rc 0\n");
	ack(11);
	settle();
	expect("");
	ack(31);
	settle();
	expect("11 write 0 zero [0,+65536) 1.1 -> 1.4\n"
	       "21 write 0 zero [0,+65536) 1.1 -> 1.4\n"
	       "31 write 0 zero [0,+65536) 1.1 -> 1.4\n");
}

/* Only the oldest record is sent again to a slow server; after a break of the connection, all. */
Test(volume_write, slow_servers_get_one_record_again_lost_connections_all)
{
	uint64_t h = opened();

	writes(h, 0, 4096, 1, 0);
	writes(h, 8192, 4096, 2, 0);
	ack(11);
	ack(21);
	forget_trace();
	pass(150 * NSEC_MSEC);
	expect("");
	pass(100 * NSEC_MSEC);
	expect("31 write 0 data [0,+4096) 0.0 -> 1.1\n");
	vol_peer_down(w.volume, 31);
	vol_peer_up(w.volume, 31);
	expect("31 write 0 data [0,+4096) 0.0 -> 1.1\n"
	       "31 write 0 data [8192,+4096) 1.1 -> 1.2\n");
}
