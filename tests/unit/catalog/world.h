/* A catalog in memory with three sites, six core servers and two access servers, and short ways to
 * apply operations to it. Every operation goes through its encoded form, as in the log, and
 * is kept for replay. */
#pragma once

#include "common/base/bytes.h"
#include "common/base/mem.h"
#include "hint-server/catalog/catalog.h"
#include "hint-server/catalog/path.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define NOW 1000

struct world {
	struct kv *kv;
	struct catalog *cat;
	struct catalog_reply reply;    /* of the last operation or query */
	uint64_t index;
	uint32_t seq;
	session_id_t a, b;             /* sessions of access servers 101 and 102 */
	struct {
		uint8_t *bytes;
		size_t len;
	} *log;                        /* entry i has index i + 1 */
	size_t log_capacity;
};

extern struct world w;
extern uint32_t world_sweep; /* of the seed; 0: the default */

void world_open_kv(struct kv *kv); /* formats and opens; nobody registered */
void world_setup(void);
void world_teardown(void);         /* runs catalog_check() first */
void world_check(void);

struct span text(const char *s);

/* Applies `op`; session, slot and seq are filled in where the op has a slot and seq is 0. */
enum status apply(struct msg *op);
enum status query(struct msg *q);

session_id_t open_session(server_id_t server, enum server_kind kind, uint64_t boot);
enum status register_core(server_id_t server, uint64_t boot, uint64_t start, uint64_t journal);
enum status register_disk(server_id_t server, uint64_t disk, uint64_t boot, uint64_t start,
                          uint64_t journal);
/* A process with a disk that was not registered yet when it started. */
enum status register_new(server_id_t server, uint64_t disk, uint64_t boot, uint64_t opened);
enum status end_session(session_id_t s);

enum status create(session_id_t s, uint64_t dir, const char *name, uint32_t mode);
uint64_t make(session_id_t s, uint64_t dir, const char *name, uint32_t mode); /* must work */
uint64_t make_held(session_id_t s, const char *name); /* in the root, exclusive lease in epoch 1 */
enum status hard_link(session_id_t s, uint64_t ino, uint64_t dir, const char *name);
enum status remove_name(session_id_t s, uint64_t dir, const char *name, bool dir_wanted);
enum status move(session_id_t s, uint64_t dir, const char *name, uint64_t new_dir,
                 const char *new_name, uint32_t flags);
enum status lease(session_id_t s, uint64_t ino, enum lease_mode mode);
enum status release(session_id_t s, uint64_t ino, uint64_t epoch, bool clean);
enum status lock(session_id_t s, uint64_t ino, uint64_t owner, uint8_t type, uint64_t start,
                 uint64_t end);
enum status gone(uint64_t ino);

struct catalog_inode inode_of(uint64_t ino); /* must exist */
uint64_t find(uint64_t dir, const char *name); /* 0: none */
