/* The simulator's disk: files in memory, virtual latency, and every way in which a disk may lie.
 *
 * The fault model stands at the top of sim_disk.c. Everything random comes from the seed: the same
 * seed, calls and clock give the same bytes. One owner, one thread. */
#pragma once

#include "common/base/types.h"
#include "common/disk/disk.h"

/* The world the disk lives in. */
struct sim_disk_env {
	nsec_t (*now)(void *ctx);
	/* Calls fn(arg) once, `delay` from now, never from inside. */
	void (*after)(void *ctx, nsec_t delay, void (*fn)(void *arg), void *arg);
	void *ctx;
};

struct sim_disk_faults {
	nsec_t read_ns, write_ns, sync_ns;  /* base latencies; 0: 80 us, 20 us, 60 us */
	nsec_t byte_ps;                     /* per byte, picoseconds; 0: 1000 (1 GB/s) */
	unsigned jitter_percent;            /* of the latency, uniform */
	unsigned slow_sync_permille;        /* syncs that take slow_sync_ns */
	nsec_t slow_sync_ns;
	unsigned fail_sync_permille;        /* syncs that fail; what they should cover is dropped */
	unsigned fail_read_permille;        /* reads that give -EIO */
	unsigned lost_write_permille;       /* reported done, never reach the medium */
	unsigned misdirected_write_permille; /* land a few pages away, in the same file */
	unsigned tear_bytes;                /* granularity of tearing at a crash: 512 or 4096; 0: 4096 */
};

struct disk *sim_disk_new(uint64_t seed, uint64_t bytes, const struct sim_disk_env *env);
/* Events handed to after() must not fire any more. */
void sim_disk_free(struct disk *d);
/* Takes back what was to fail next. */
void sim_disk_set_faults(struct disk *d, const struct sim_disk_faults *f);

/* Power cut: requests in flight are never answered; what was not synced is kept, lost or torn, each
 * piece by the seed's coin. Files stay. Works again at once, for the restarted server. */
void sim_disk_crash(struct disk *d);
/* As if power was cut just before the n-th write or sync from now is answered (0: never). on_crash
 * is called instead of that answer; it must call sim_disk_crash(). */
void sim_disk_crash_at(struct disk *d, uint64_t n, void (*on_crash)(void *ctx), void *ctx);
/* Writes and syncs answered since it was made. */
uint64_t sim_disk_ops(const struct disk *d);

/* Flips a bit in `pages` randomly chosen written pages of the file. Returns how many. */
unsigned sim_disk_rot(struct disk *d, const char *file, unsigned pages);
/* The same in every page for which wants() is true. */
unsigned sim_disk_rot_if(struct disk *d, const char *file, bool (*wants)(void *ctx, const uint8_t *page),
                         void *ctx);
/* Flips a bit of the byte at `off`; false if nothing was ever written there. */
bool sim_disk_rot_at(struct disk *d, const char *file, uint64_t off);
void sim_disk_fail_next_sync(struct disk *d);  /* -EIO; what was unsynced reads as old afterwards */
void sim_disk_fail_next_write(struct disk *d); /* -EIO; some of it may be there after a crash */
void sim_disk_fail_all(struct disk *d, bool on); /* every request gives -EIO */
uint64_t sim_disk_used(const struct disk *d);  /* bytes of its files */
void sim_disk_set_bytes(struct disk *d, uint64_t bytes); /* size of the file system: full when used */
void sim_disk_wipe(struct disk *d);            /* a new, empty disk; only between stores */
void sim_disk_snapshot(struct disk *d);        /* remembers what is durable now ... */
void sim_disk_rollback(struct disk *d);        /* ... and goes back to it; only between stores */
