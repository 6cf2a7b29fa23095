/* libraft's messages on our wire (MSG_raft.bytes): every field checked. Pure.
 *
 * libraft trusts its peers and is built without assertions, so what could not come from a correct
 * peer is refused here: odd entry terms, indexes of zero, foreign candidates. Snapshots do not
 * travel this way (snapshot.h). */
#pragma once

#include "common/base/types.h"

#include <raft.h>

/* libraft 0.22 prints the log it starts with, "N entries (index^term..index^term)", into 64 bytes. No
 * cluster comes near these: ten thousand entries a second for thirty years, an election a second for
 * three. */
#define RAFT_WIRE_INDEX_MAX UINT64_C(9999999999999)
#define RAFT_WIRE_TERM_MAX 99999999u
#define RAFT_WIRE_ENTRIES_MAX 4096

/* Encodes `m`; for append_entries, `m->append_entries.entries` must be filled in. mem_free() it. */
uint8_t *raft_wire_encode(const struct raft_message *m, size_t *len);

/* Decodes what `from` sent. Entries are allocated (entries[0].batch with raft_malloc, owned by
 * libraft after a successful raft_step()); the array goes with raft_wire_free(). ERR_CORRUPT. */
MUST_CHECK int raft_wire_decode(struct span bytes, server_id_t from, struct raft_message *m);
/* Frees the array, and the batch too when libraft has not taken it. */
void raft_wire_free(struct raft_message *m, bool batch_too);
