/* Names: what is asked of the leader, what is answered from the cache, what the kernel is told. */
#include "tests/unit/names/world.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

#include "common/base/bytes.h"

#define DIR_MODE (S_IFDIR | 0755)
#define FILE_MODE (S_IFREG | 0644)

TestSuite(names, .init = world_up, .fini = world_down, .timeout = 60);

/* A14: without a lease the leader is asked; its answer brings the lease. */
Test(names, a_lookup_is_asked_once_and_then_answered_here)
{
	lookup(1, "d");
	answer_inode(MSG_TYPE_q_lookup, STATUS_OK, 5, DIR_MODE, true);
	settle();
	expect("ask lookup 1/d\n"
	       "done lookup: 5 known\n");
	lookup(1, "d");
	expect("done lookup: 5 known\n");
}

Test(names, an_absent_name_is_remembered_too)
{
	lookup(1, "x");
	answer_inode(MSG_TYPE_q_lookup, STATUS_NOT_FOUND, 0, 0, true);
	settle();
	lookup(1, "x");
	expect("ask lookup 1/x\n"
	       "done lookup: No such file or directory\n"
	       "done lookup: No such file or directory\n");
}

Test(names, nothing_is_remembered_without_a_lease)
{
	lookup(1, "d");
	answer_inode(MSG_TYPE_q_lookup, STATUS_OK, 5, DIR_MODE, false);
	settle();
	lookup(1, "d");
	expect("ask lookup 1/d\n"
	       "done lookup: 5\n"
	       "ask lookup 1/d\n");
}

static void know(uint64_t dir, const char *name, uint64_t ino, uint32_t mode)
{
	lookup(dir, name);
	answer_inode(MSG_TYPE_q_lookup, ino ? STATUS_OK : STATUS_NOT_FOUND, ino, mode, true);
	settle();
	w.len = 0;
	w.trace[0] = '\0';
}

/* P3: a recall drops what is cached here and in the kernel before it is answered. */
Test(names, a_recall_drops_the_kernels_entry_before_the_answer)
{
	know(1, "d", 5, DIR_MODE);
	recall_meta(1, 77);
	pass(5 * NSEC_MSEC);
	lookup(1, "d");
	expect("kernel drops attributes of 1\n"
	       "kernel drops 1/d\n"
	       "ack 1 id 77\n"
	       "ask lookup 1/d\n");
}

/* Dropping an entry can wait for a change of our own, which waits for the leader, who waits for
 * this answer. What the kernel was told ends by itself. */
Test(names, a_recall_is_answered_when_the_kernels_validity_has_ended)
{
	know(1, "d", 5, DIR_MODE);
	w.kernel_waits = true;
	recall_meta(1, 77);
	pass(400 * NSEC_MSEC);
	expect("kernel drops attributes of 1\n"
	       "kernel drops 1/d\n");
	pass(300 * NSEC_MSEC);
	expect("ack 1 id 77\n");
}

Test(names, a_contended_directory_gives_the_kernel_no_validity)
{
	know(1, "d", 5, DIR_MODE);
	recall_meta(1, 77);
	pass(5 * NSEC_MSEC);
	know(1, "d", 5, DIR_MODE);
	lookup(1, "d");
	expect("done lookup: 5\n");
}

/* A reply that a recall overtook may be older than the change the recall was for. */
Test(names, a_reply_overtaken_by_a_recall_is_not_remembered)
{
	lookup(1, "d");
	recall_meta(1, 77);
	pass(5 * NSEC_MSEC);
	answer_inode(MSG_TYPE_q_lookup, STATUS_OK, 5, DIR_MODE, true);
	settle();
	lookup(1, "d");
	expect("ask lookup 1/d\n"
	       "kernel drops attributes of 1\n"
	       "ack 1 id 77\n"
	       "done lookup: 5\n"
	       "ask lookup 1/d\n");
}

/* B3: shared leases are good for R from the last answered heartbeat, read when used. */
Test(names, a_cached_name_is_not_used_once_the_leases_ran_out)
{
	know(1, "d", 5, DIR_MODE);
	w.mute = true;
	pass(900 * NSEC_MSEC);
	lookup(1, "d");
	expect("ask lookup 1/d\n");
}

Test(names, leases_that_ran_out_stay_gone_when_heartbeats_return)
{
	know(1, "d", 5, DIR_MODE);
	w.mute = true;
	pass(900 * NSEC_MSEC);
	w.mute = false;
	pass(500 * NSEC_MSEC);
	lookup(1, "d");
	expect("ask lookup 1/d\n");
}

Test(names, a_reply_asked_for_before_the_leases_were_void_is_not_remembered)
{
	lookup(1, "d");
	w.mute = true;
	pass(900 * NSEC_MSEC);
	w.mute = false;
	pass(500 * NSEC_MSEC);
	answer_inode(MSG_TYPE_q_lookup, STATUS_OK, 5, DIR_MODE, true);
	settle();
	lookup(1, "d");
	expect("ask lookup 1/d\n"
	       "done lookup: 5\n"
	       "ask lookup 1/d\n");
}

Test(names, a_change_of_our_own_updates_the_cache)
{
	know(1, "d", 0, 0);
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	lookup(1, "d");
	expect("ask create 1/d lease 0\n"
	       "done create: 6 known\n"
	       "done lookup: 6 known\n");
	named(VOL_RMDIR, 1, "d");
	answer_inode(MSG_TYPE_op_unlink, STATUS_OK, 6, DIR_MODE, false);
	settle();
	lookup(1, "d");
	expect("ask rmdir 1/d\n"
	       "done rmdir\n"
	       "done lookup: No such file or directory\n");
}

/* Others may see a change of ours before we are told that it is made. */
Test(names, the_cache_is_not_used_while_a_change_of_our_own_is_under_way)
{
	know(1, "d", 0, 0);
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	lookup(1, "d");
	expect("ask create 1/d lease 0\n"
	       "ask lookup 1/d\n");
}

/* The lookup was answered before the create and arrives after it. */
Test(names, a_reply_overtaken_by_our_own_change_is_not_remembered)
{
	know(1, "other", 0, 0);
	lookup(1, "d");
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	answer_inode(MSG_TYPE_q_lookup, STATUS_NOT_FOUND, 0, 0, true);
	settle();
	lookup(1, "d");
	expect("ask lookup 1/d\n"
	       "ask create 1/d lease 0\n"
	       "done create: 6 known\n"
	       "done lookup: No such file or directory\n"
	       "done lookup: 6 known\n");
}

static void make_dir(void)
{
	know(1, "d", 0, 0);
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	w.len = 0;
	w.trace[0] = '\0';
}

/* What is in a directory that was made here is known: nobody is asked before a create in it. */
Test(names, all_entries_of_a_directory_made_here_are_known)
{
	make_dir();
	lookup(6, "f");
	expect("done lookup: No such file or directory\n");
	create(6, "f", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 7, DIR_MODE, true);
	settle();
	lookup(6, "f");
	lookup(6, "g");
	expect("ask create 6/f lease 0\n"
	       "done create: 7 known\n"
	       "done lookup: 7 known\n"
	       "done lookup: No such file or directory\n");
}

Test(names, after_a_recall_a_directory_made_here_is_like_any_other)
{
	make_dir();
	recall_meta(6, 77);
	pass(5 * NSEC_MSEC);
	know(6, "other", 0, 0);
	lookup(6, "f");
	expect("ask lookup 6/f\n");
}

/* The lease on the new directory was recalled before we heard that we have it. */
Test(names, a_recall_that_overtakes_the_mkdir_counts)
{
	know(1, "d", 0, 0);
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	recall_meta(6, 77);
	pass(5 * NSEC_MSEC);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	w.len = 0;
	lookup(6, "f");
	expect("ask lookup 6/f\n");
}

/* Two changes of our own at once: which came first is not known here. */
Test(names, the_directorys_attributes_come_with_a_change_that_was_alone)
{
	make_dir();
	plain(VOL_GETATTR, 6, 0, 0);
	w.dir_size = 1;
	create(6, "f", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 7, DIR_MODE, true);
	settle();
	plain(VOL_GETATTR, 6, 0, 0);
	expect("done getattr: size 0\n"
	       "ask create 6/f lease 0\n"
	       "done create: 7 known\n"
	       "done getattr: size 1\n");
	create(6, "g", DIR_MODE, VOL_F_EXCL);
	create(6, "h", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 8, DIR_MODE, true);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 9, DIR_MODE, true);
	settle();
	plain(VOL_GETATTR, 6, 0, 0);
	lookup(6, "i");
	expect("ask create 6/g lease 0\n"
	       "ask create 6/h lease 0\n"
	       "done create: 8\n"
	       "done create: 9\n"
	       "ask q_inode\n"
	       "ask lookup 6/i\n");
}

Test(names, rename_moves_the_entry)
{
	know(1, "a", 5, DIR_MODE);
	know(1, "b", 0, 0);
	know(1, "sub", 8, DIR_MODE);
	know(8, "b", 0, 0);
	renamed(1, "a", 8, "b", 0);
	w.moved = 5;
	answer_inode(MSG_TYPE_op_rename, STATUS_OK, 0, 0, false);
	settle();
	lookup(1, "a");
	lookup(8, "b");
	expect("ask rename 1/a 8/b\n"
	       "done rename\n"
	       "done lookup: No such file or directory\n"
	       "ask lookup 8/b\n"); /* its attributes changed: ctime */
}

/* What moved is not known where the directory's entries may not be cached: the answer says it. */
Test(names, what_a_rename_moved_has_another_ctime)
{
	know(1, "a", 5, DIR_MODE);
	know(1, "b", 6, DIR_MODE);
	recall_meta(1, 70);
	settle();
	plain(VOL_GETATTR, 5, 0, 0);
	plain(VOL_GETATTR, 6, 0, 0);
	w.len = 0;
	renamed(1, "a", 1, "b", 2);
	w.moved = 5;
	w.swapped = 6;
	answer_inode(MSG_TYPE_op_rename, STATUS_OK, 0, 0, false);
	settle();
	plain(VOL_GETATTR, 5, 0, 0);
	plain(VOL_GETATTR, 6, 0, 0);
	expect("ask rename 1/a 1/b\n"
	       "done rename\n"
	       "ask q_inode\n"
	       "ask q_inode\n");
}

/* By a handle the kernel comes back to an inode it has forgotten: "." of a file is the file. */
Test(names, dot_of_any_inode_is_itself)
{
	lookup(7, ".");
	answer_inode(MSG_TYPE_q_inode, STATUS_OK, 7, S_IFIFO | 0644, true);
	settle();
	lookup(9, ".");
	answer_inode(MSG_TYPE_q_inode, STATUS_STALE, 0, 0, false);
	settle();
	expect("ask q_inode\n"
	       "done lookup: 7\n"
	       "ask q_inode\n"
	       "done lookup: Stale file handle\n");
}

/* The kernel moves its entry along: a recall of the new directory has to name it. */
Test(names, a_renamed_entry_is_recalled_under_its_new_name)
{
	know(1, "sub", 8, DIR_MODE);
	know(8, "b", 0, 0);
	know(1, "a", 5, DIR_MODE);
	renamed(1, "a", 8, "b", 0);
	w.moved = 5;
	answer_inode(MSG_TYPE_op_rename, STATUS_OK, 0, 0, false);
	settle();
	recall_meta(8, 70);
	pass(5 * NSEC_MSEC);
	expect("ask rename 1/a 8/b\n"
	       "done rename\n"
	       "kernel drops attributes of 8\n"
	       "kernel drops 8/b\n"
	       "ack 8 id 70\n");
}

Test(names, create_with_excl_says_that_the_name_exists)
{
	create(1, "f", FILE_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_EXISTS, 9, FILE_MODE, false);
	settle();
	expect("ask create 1/f lease 2\n"
	       "done create: File exists\n");
}

Test(names, create_without_excl_opens_what_exists)
{
	create(1, "f", FILE_MODE, 0);
	answer_inode(MSG_TYPE_op_create, STATUS_EXISTS, 9, FILE_MODE, false);
	settle();
	expect("ask create 1/f lease 2\n"
	       "done create: 9\n");
	cr_assert_neq(last_handle(), 0);
}

/* B5: what became of a change when the session ended is unknown; it is never tried again. */
Test(names, a_change_is_not_repeated_in_another_session)
{
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	lookup(1, "e");
	expect("ask create 1/d lease 0\n"
	       "ask lookup 1/e\n");
	w.no_session = true;
	w.given = 8;
	pass(250 * NSEC_MSEC);
	w.no_session = false;
	pass(700 * NSEC_MSEC);
	expect("ask lookup 1/e\n"
	       "done create: Input/output error\n");
}

/* B8: a signal must not leave its process unkillable, but mkdir(2) does not fail for SIGCHLD. */
Test(names, an_interrupted_change_is_given_time_to_end)
{
	struct vol_req *r = create(1, "d", DIR_MODE, VOL_F_EXCL);

	vol_interrupt(w.volume, r);
	pass(100 * NSEC_MSEC);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	expect("ask create 1/d lease 0\n"
	       "done create: 6\n");
	r = create(1, "e", DIR_MODE, VOL_F_EXCL);
	vol_interrupt(w.volume, r);
	pass(600 * NSEC_MSEC);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 7, DIR_MODE, true);
	settle();
	expect("ask create 1/e lease 0\n"
	       "done create: Interrupted system call\n");
}

Test(names, a_busy_leader_is_asked_again)
{
	lookup(1, "d");
	answer_status(MSG_TYPE_q_lookup, STATUS_BUSY);
	pass(100 * NSEC_MSEC);
	expect("ask lookup 1/d\n"
	       "ask lookup 1/d\n");
}

Test(names, names_that_are_too_long_are_not_asked_for)
{
	char name[300];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	lookup(1, name);
	expect("done lookup: File name too long\n");
}

/* --- listings --- */

static uint32_t put_record(uint8_t *p, uint64_t ino, uint64_t next, const char *name)
{
	put_u64le(p, ino);
	put_u64le(p + 8, next);
	put_u32le(p + 16, S_IFREG);
	put_u16le(p + 20, (uint16_t)strlen(name));
	memcpy(p + 22, name, strlen(name));
	return 22 + (uint32_t)strlen(name);
}

static uint32_t three_records(uint8_t *p)
{
	uint32_t n = put_record(p, 11, 1, "a");

	n += put_record(p + n, 12, 2, "b");
	return n + put_record(p + n, 13, 3, "c");
}

Test(names, one_page_serves_many_small_readdirs)
{
	uint8_t page[100];

	readdir(1, 0, 50);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, three_records(page), true, 0);
	settle();
	readdir(1, 2, 50);
	readdir(1, 3, 50);
	readdir(1, 0, 25);
	expect("ask readdir 1 cookie 0\n"
	       "done readdir: 46 bytes\n"
	       "done readdir: 23 bytes\n"
	       "done readdir: 0 bytes\n"
	       "done readdir: 23 bytes\n");
}

static uint32_t put_inode(uint8_t *p, uint64_t ino)
{
	struct msg m = {.type = MSG_TYPE_r_inode};
	size_t len = msg_body_bytes(&m);

	m.r_inode.ino = ino;
	m.r_inode.mode = S_IFDIR | 0755;
	m.r_inode.meta = 1;
	put_u16le(p, (uint16_t)len);
	msg_encode_body(&m, p + 2);
	return 2 + (uint32_t)len;
}

/* One question for all entries; those that the leader gave no lease on are asked for again. */
Test(names, a_listing_with_attributes_asks_once_for_all_that_are_not_cached)
{
	uint8_t page[100], inodes[1000];
	uint32_t n;

	readdir_plus(1, 0, 4096);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, three_records(page), true, 0);
	n = put_inode(inodes, 11);
	n += put_inode(inodes + n, 12);
	answer_bytes(MSG_TYPE_q_inodes, STATUS_OK, inodes, n, false, 0);
	settle();
	lookup(1, "b"); /* the listing brought it */
	readdir_plus(1, 0, 4096);
	answer_bytes(MSG_TYPE_q_inodes, STATUS_OK, inodes, 0, false, 0);
	settle();
	readdir_plus(1, 0, 160); /* room for one, and that is cached */
	w.len = 0;
	settle();
	cr_assert_null(find_asked(MSG_TYPE_q_inodes));
	cr_assert_null(find_asked(MSG_TYPE_q_lookup));
}

Test(names, a_page_that_is_not_the_last_is_followed_by_another)
{
	uint8_t page[100];

	readdir(1, 0, 100);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, three_records(page), true, 3);
	settle();
	readdir(1, 3, 100);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, put_record(page, 14, 4, "d"), true, 0);
	settle();
	readdir(1, 4, 100);
	expect("ask readdir 1 cookie 0\n"
	       "done readdir: 69 bytes\n"
	       "ask readdir 1 cookie 3\n"
	       "done readdir: 23 bytes\n"
	       "done readdir: 0 bytes\n");
}

Test(names, a_listing_without_a_lease_is_fetched_afresh_from_the_beginning)
{
	uint8_t page[100];

	readdir(1, 0, 30);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, three_records(page), false, 0);
	settle();
	readdir(1, 1, 30);
	readdir(1, 0, 30);
	expect("ask readdir 1 cookie 0\n"
	       "done readdir: 23 bytes\n"
	       "done readdir: 23 bytes\n"
	       "ask readdir 1 cookie 0\n");
}

Test(names, a_change_of_our_own_drops_the_listing)
{
	uint8_t page[100];

	readdir(1, 0, 100);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, three_records(page), true, 0);
	settle();
	create(1, "d", DIR_MODE, VOL_F_EXCL);
	answer_inode(MSG_TYPE_op_create, STATUS_OK, 6, DIR_MODE, true);
	settle();
	readdir(1, 0, 100);
	expect("ask readdir 1 cookie 0\n"
	       "done readdir: 69 bytes\n"
	       "ask create 1/d lease 0\n"
	       "done create: 6 known\n"
	       "ask readdir 1 cookie 0\n");
}

/* P9: a listing of broken records ends, it does not harm. */
Test(names, a_broken_listing_is_cut_short)
{
	uint8_t page[100];
	uint32_t n = three_records(page);

	put_u16le(page + 23 + 20, 60000);
	readdir(1, 0, 100);
	answer_bytes(MSG_TYPE_q_readdir, STATUS_OK, page, n, true, 0);
	settle();
	expect("ask readdir 1 cookie 0\n"
	       "done readdir: 23 bytes\n");
}

/* --- attributes, links --- */

Test(names, an_absent_attribute_is_asked_for_once)
{
	named(VOL_GETXATTR, 5, "security.capability");
	answer_bytes(MSG_TYPE_q_getxattr, STATUS_NO_ATTR, NULL, 0, true, 0);
	settle();
	named(VOL_GETXATTR, 5, "security.capability");
	expect("ask q_getxattr\n"
	       "done getxattr: No data available\n"
	       "done getxattr: No data available\n");
	recall_meta(5, 1);
	pass(5 * NSEC_MSEC);
	named(VOL_GETXATTR, 5, "security.capability");
	expect("kernel drops attributes of 5\n"
	       "ack 5 id 1\n"
	       "ask q_getxattr\n");
}

Test(names, setting_an_attribute_drops_the_old_value)
{
	named(VOL_GETXATTR, 5, "user.a");
	answer_bytes(MSG_TYPE_q_getxattr, STATUS_OK, "old", 3, true, 0);
	settle();
	named(VOL_SETXATTR, 5, "user.a");
	answer_status(MSG_TYPE_op_setxattr, STATUS_OK);
	settle();
	named(VOL_GETXATTR, 5, "user.a");
	expect("ask q_getxattr\n"
	       "done getxattr: 3 bytes\n"
	       "ask op_setxattr\n"
	       "done setxattr\n"
	       "ask q_getxattr\n");
}

Test(names, access_control_lists_are_refused_here)
{
	named(VOL_GETXATTR, 5, "system.posix_acl_access");
	expect("done getxattr: Operation not supported\n");
}

Test(names, the_target_of_a_link_is_asked_for_once_whatever_leases_do)
{
	plain(VOL_READLINK, 5, 0, 0);
	answer_bytes(MSG_TYPE_q_readlink, STATUS_OK, "target", 6, false, 0);
	settle();
	recall_meta(5, 1);
	pass(5 * NSEC_MSEC);
	plain(VOL_READLINK, 5, 0, 0);
	expect("ask q_readlink\n"
	       "done readlink: 6 bytes\n"
	       "kernel drops attributes of 5\n"
	       "ack 5 id 1\n"
	       "done readlink: 6 bytes\n");
}

/* The leader repeats a recall until it is answered. */
Test(names, a_repeated_recall_is_answered_once)
{
	know(1, "d", 5, DIR_MODE);
	recall_meta(1, 77);
	recall_meta(1, 77);
	pass(5 * NSEC_MSEC);
	expect("kernel drops attributes of 1\n"
	       "kernel drops 1/d\n"
	       "ack 1 id 77\n");
}
