/* The simulator must be able to fail: each of these breaks one rule in a core, and must be found. */

#include "access-server/volume/volume.h"
#include "core-server/replica/replica.h"
#include "core-server/store/store.h"
#include "hint-server/quorum/hint.h"
#include "tests/sim/scenario.h"

#define BUG_REPLICA(bits) .replica = (bits)
#define BUG_VOLUME(bits) .volume = (bits)
#define BUG_HINT(bits) .hint = (bits)
#define BUG_STORE(bits) .store = (bits)
#define BY_SCENARIO(s) .scenario = (s), .seeds = 40
#define BY_SEEDS(n) .seeds = (n)

const struct planted_bug planted_bugs[] = {
        {"rank-ignores-closed", "A1: recovery compares versions only",
         BUG_REPLICA(REPLICA_BUG_NO_CLOSED), BY_SCENARIO("a1")},
        {"ack-after-seal", "A2: a seal waits for nothing, acks leave after it",
         BUG_REPLICA(REPLICA_BUG_ACK_AFTER_SEAL), BY_SCENARIO("a2")},
        {"duplicate-acked-early", "A6: a repeated write is acknowledged before it is durable",
         BUG_REPLICA(REPLICA_BUG_DUP_ACKED_EARLY), BY_SCENARIO("a6-duplicate")},
        {"blank-counts", "A8: an empty disk serves zeros",
         BUG_REPLICA(REPLICA_BUG_BLANK_COUNTS), BY_SCENARIO("a8-blank")},
        {"core-serves-fenced", "A10: a core server without session answers reads",
         BUG_REPLICA(REPLICA_BUG_SERVES_FENCED), BY_SCENARIO("a10-fenced-reads")},
        {"gap-accepted", "P4: a write goes upon any older version",
         BUG_REPLICA(REPLICA_BUG_GAP_ACCEPTED), BY_SCENARIO("p4-prefix")},
        {"walks-once", "A15: deleted files are looked for after the start only",
         BUG_REPLICA(REPLICA_BUG_WALKS_ONCE), BY_SEEDS(100)},
        {"seals-per-site", "A3: recovery counts sites, not servers of the block",
         BUG_VOLUME(VOLUME_BUG_SEAL_SITES), BY_SCENARIO("a3")},
        {"no-third-replica", "A5: released without the third replica or its stale bit",
         BUG_VOLUME(VOLUME_BUG_NO_THIRD), BY_SCENARIO("a5")},
        {"merge-after-send", "A6: a sent write changes its bytes",
         BUG_VOLUME(VOLUME_BUG_MERGE_SENT), BY_SCENARIO("a6-merge")},
        {"truncate-size-only", "A7: truncate cuts no blocks",
         BUG_VOLUME(VOLUME_BUG_NO_TRIM), BY_SCENARIO("a7")},
        {"flush-forgets", "A9: a failed flush is forgotten",
         BUG_VOLUME(VOLUME_BUG_RETRY_FLUSH), BY_SCENARIO("a9")},
        {"same-site-counts", "A12: two replicas in one site are enough",
         BUG_VOLUME(VOLUME_BUG_SAME_SITE), BY_SCENARIO("a12")},
        {"recovery-does-not-close", "A1: no close after recovery",
         BUG_VOLUME(VOLUME_BUG_NO_CLOSE), BY_SCENARIO("a1")},
        {"repairs-who-is-ahead", "A5: a replica that is ahead is overwritten",
         BUG_VOLUME(VOLUME_BUG_REPAIR_AHEAD), BY_SCENARIO("a5-direction")},
        {"serves-lapsed", "A10: an access server without session goes on",
         BUG_VOLUME(VOLUME_BUG_SERVES_LAPSED), BY_SCENARIO("a10-paused")},
        {"flush-one", "P1: one durable replica is enough",
         BUG_VOLUME(VOLUME_BUG_FLUSH_ONE), BY_SCENARIO("p1")},
        {"told-unsynced", "P4: a size is told to others before it is durable",
         BUG_VOLUME(VOLUME_BUG_TOLD_UNSYNCED), BY_SCENARIO("p4-size")},
        {"no-grants", "P8: a write is accepted that no two replicas have space for",
         BUG_VOLUME(VOLUME_BUG_NO_GRANTS), BY_SCENARIO("p8-all")},
        {"one-full", "P8: one full replica refuses a write",
         BUG_VOLUME(VOLUME_BUG_ONE_FULL), BY_SCENARIO("p8-one")},
        {"no-slots", "B5: a repeated change is applied again",
         BUG_HINT(HINT_BUG_NO_SLOTS), BY_SEEDS(200)},
        {"no-recall", "P3: a change of a directory waits for no cached entry",
         BUG_HINT(HINT_BUG_NO_RECALL), BY_SEEDS(200)},
        {"epoch-kept", "P2: a recovery gets the old epoch",
         BUG_HINT(HINT_BUG_EPOCH_KEPT), BY_SEEDS(200)},
        {"orphan-unmarked", "a catalog that contradicts itself",
         BUG_HINT(HINT_BUG_ORPHAN_UNMARKED), BY_SEEDS(200)},
        {"shown-by-leader", "followers leave out entries: catalogs differ",
         BUG_HINT(HINT_BUG_SHOWN_BY_LEADER), BY_SEEDS(200)},
        {"store-retries-sync", "A13: a failed fsync is tried again and believed",
         BUG_STORE(STORE_BUG_SYNC_RETRIED), BY_SCENARIO("a13-sync")},
        {"store-in-place", "A13: large writes go over committed pages",
         BUG_STORE(STORE_BUG_IN_PLACE), BY_SCENARIO("a13")},
        {"store-no-data-sync", "A13: a commit does not wait for its data",
         BUG_STORE(STORE_BUG_NO_DATA_SYNC), BY_SCENARIO("a13")},
};
const unsigned planted_bugs_n = ARRAY_LEN(planted_bugs);
