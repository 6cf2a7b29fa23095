/* One replica over a real store on the simulated disk, in virtual time; the test is its peers.
 *
 * What leaves is kept as text, one line a message: "<peer>#<request id> <msg_print>". Nothing
 * becomes durable before rig_run(). */
#pragma once

#include <criterion/criterion.h>

#include "common/base/bytes.h"
#include "common/session/session.h"
#include "core-server/replica/replica.h"
#include "tests/sim/sim_disk.h"

#define FILE_7 ((file_id_t)7)
#define SHIFT 16
#define BLOCK_BYTES (1u << SHIFT)
#define MAP 3
#define PEER 31

extern struct rig {
	struct env env;       /* first */
	nsec_t now;
	struct disk *disk;
	struct kv *kv;
	struct store *store;
	struct replica *replica;
	struct session *session;
	uint64_t next_id;
	unsigned bugs;
	char log[65536];
	size_t log_len;
	struct iobuf *payload; /* of the last message with one */
	uint8_t sums[8 * 64];  /* of the last read reply */
	uint8_t entries[33 * 64];
	uint32_t entries_len;
	uint64_t gone;         /* the file the catalog says is gone */
	uint64_t asked;        /* how many ids it was asked about */
} rig;

void rig_start(void);               /* formatted, serving, session for ever, complete from 0 */
void rig_start_with(unsigned bugs);
void rig_stop(void);
void rig_reopen(bool crash);        /* a new process on the same disk */
void rig_run(void);                 /* until nothing more happens at this time and the disk is idle */
void rig_advance(nsec_t by);        /* time passes, with what is due on the way */
void rig_with_catalog(void);        /* a session with a catalog played by the rig */

void rig_send(struct msg *m);       /* from PEER with the next id */
/* Expects exactly these lines since the last call: "" for silence. */
void rig_expect(const char *lines);

struct version ver(uint64_t epoch, uint64_t n);
/* A write of whole pages of FILE_7 filled with `fill`. */
void rig_write(uint64_t block, struct version prev, struct version version, uint32_t page,
               uint32_t pages, uint8_t fill);
void rig_write_part(uint64_t block, struct version prev, struct version version, uint32_t off,
                    uint32_t len, uint8_t fill);
void rig_zero(uint64_t block, struct version prev, struct version version, uint32_t off,
              uint32_t len);
void rig_seal(uint64_t epoch);
void rig_read(uint64_t epoch, uint64_t block, uint32_t page, uint32_t pages, struct version min);
void rig_list(uint64_t epoch, uint64_t first, uint64_t last, uint32_t max);
/* A copy of the whole block: `set` pages of `fill`, the others zeros. */
void rig_install(uint64_t epoch, uint64_t block, struct version old, uint64_t old_closed,
                 struct version version, uint64_t closed, uint32_t set, uint8_t fill);
void rig_close(uint64_t epoch, bool complete, unsigned n, const uint64_t *exceptions);
