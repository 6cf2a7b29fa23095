/* Random schedules of writes, repeats, seals, installs, closes and power cuts against what was
 * promised: each seed is one life of a file of three blocks. */
#include "tests/unit/replica/rig.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/random.h"

#define BLOCKS 3
#define STEPS 150
#define SEEDS 60

static struct random rnd;
static uint64_t seed_now;

/* What peers were told. */
static struct {
	uint64_t seal;                   /* highest one answered */
	struct rank acked[BLOCKS];       /* highest one answered, and not replaced since */
	uint64_t epoch;                  /* of the writer */
	uint64_t n;
	struct version last[BLOCKS];     /* what the writer believes to build upon */
} told;

static uint64_t field(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	cr_assert_not_null(at, "%s has no %s", line, name);
	return strtoull(at + strlen(name), NULL, 10);
}

static struct version field_version(const char *line, const char *name)
{
	const char *at = strstr(line, name);
	char *dot;
	uint64_t epoch;

	cr_assert_not_null(at);
	epoch = strtoull(at + strlen(name), &dot, 10);
	return (struct version){epoch, strtoull(dot + 1, NULL, 10)};
}

/* Content tells its version: 16 equal pages of this byte. */
static uint8_t fill_of(struct version v)
{
	return (uint8_t)(1 + (v.epoch * 31 + v.n * 7) % 250);
}

static void check_write_reply(const char *line)
{
	struct version asked = field_version(line, "asked="), durable = field_version(line, "durable=");
	uint64_t block = field(line, "block=");
	struct rank now = {field(line, "closed="), durable};

	if (field(line, "status=") != STATUS_OK)
		return;
	cr_assert_geq(version_cmp(durable, asked), 0, "acknowledged before durable: %s", line);
	if (strstr(line, " write_reply"))
		cr_assert_geq(asked.epoch, told.seal, "acknowledged after seal %" PRIu64 ": %s", told.seal,
		              line);
	if (rank_cmp(now, told.acked[block]) > 0)
		told.acked[block] = now;
	if (version_cmp(durable, told.last[block]) > 0 || strstr(line, "install_reply"))
		told.last[block] = durable;
}

/* Takes in every line since the last call. */
static void check_log(void)
{
	for (char *line = strtok(rig.log, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strstr(line, "write_reply") || strstr(line, "install_reply"))
			check_write_reply(line);
		else if (strstr(line, "seal_reply") && field(line, "status=") == STATUS_OK)
			told.seal = MAX(told.seal, field(line, " epoch="));
	}
	rig.log[0] = '\0';
	rig.log_len = 0;
}

/* What is on the disk agrees with what was said and with itself. */
static void check_disk(void)
{
	struct store_file rec;
	struct store_block b;

	if (told.seal > 0) {
		cr_assert(store_get_file(rig.store, FILE_7, &rec));
		cr_assert_geq(rec.seal, told.seal);
	}
	for (uint64_t block = 0; block < BLOCKS; block++) {
		uint64_t closed = 0;

		if (store_get_block(rig.store, FILE_7, block, &b))
			closed = b.closed;
		if (store_get_file(rig.store, FILE_7, &rec) && rec.exceptions == 0)
			closed = MAX(closed, rec.closed);
		else if (rec.exceptions > 0 && rec.exception[0] != block)
			closed = MAX(closed, rec.closed);
		cr_assert_geq(rank_cmp((struct rank){closed, b.version}, told.acked[block]), 0,
		              "seed %" PRIu64 ": block %" PRIu64 " fell from %" PRIu64 ":%" PRIu64 ".%" PRIu64
		              " to %" PRIu64 ":%" PRIu64 ".%" PRIu64, seed_now, block,
		              told.acked[block].closed, told.acked[block].version.epoch,
		              told.acked[block].version.n, closed, b.version.epoch, b.version.n);
		if (!b.exists || version_eq(b.version, VERSION_NONE))
			continue;
		rig_read(UINT64_MAX, block, 0, 16, VERSION_NONE);
		rig_run();
		cr_assert_not_null(rig.payload);
		cr_assert_eq(rig.payload->size, BLOCK_BYTES);
		cr_assert_eq(rig.payload->data[random_below(&rnd, BLOCK_BYTES)], fill_of(b.version));
		check_log();
	}
}

static void step_write(void)
{
	uint64_t block = random_below(&rnd, BLOCKS);
	struct version v = {told.epoch, ++told.n}, prev = told.last[block];

	if (random_chance(&rnd, 100)) /* somebody late, of an epoch before */
		v.epoch = 1 + random_below(&rnd, told.epoch);
	if (random_chance(&rnd, 100))
		prev = ver(told.epoch, told.n / 2);
	if (version_cmp(prev, v) >= 0)
		return;
	rig_write(block, prev, v, 0, 16, fill_of(v));
	if (random_chance(&rnd, 200))
		rig_write(block, prev, v, 0, 16, fill_of(v));
	if (v.epoch == told.epoch && version_eq(prev, told.last[block]))
		told.last[block] = v;
}

static void step_recover(void)
{
	uint64_t exception = random_below(&rnd, BLOCKS), block = random_below(&rnd, BLOCKS);
	struct store_block b;
	struct version v;

	told.epoch++;
	told.n = 0;
	rig_seal(told.epoch);
	if (random_chance(&rnd, 300))
		return; /* and nobody waits for it */
	rig_run();
	check_log();
	for (uint64_t i = 0; i < BLOCKS; i++) {
		if (!store_get_block(rig.store, FILE_7, i, &b))
			b.version = VERSION_NONE;
		told.last[i] = b.version;
	}
	v = ver(told.epoch, ++told.n);
	if (random_chance(&rnd, 500)) {
		uint64_t closed = 0;
		struct store_file rec;

		if (store_get_file(rig.store, FILE_7, &rec))
			closed = rec.exceptions > 0 && rec.exception[0] == block ? 0 : rec.closed;
		(void)store_get_block(rig.store, FILE_7, block, &b);
		rig_install(told.epoch, block, told.last[block], MAX(closed, b.closed), v, told.epoch,
		            0xffff, fill_of(v));
	}
	rig_close(told.epoch, false, (unsigned)random_below(&rnd, 2), &exception);
}

static void step_power_cut(void)
{
	struct store_block b;

	check_log();
	rig_reopen(true);
	check_log();
	check_disk();
	for (uint64_t i = 0; i < BLOCKS; i++)
		told.last[i] = store_get_block(rig.store, FILE_7, i, &b) ? b.version : VERSION_NONE;
	told.epoch++; /* the writer cannot know what it had sent: a new one */
	told.n = 0;
}

static void live(uint64_t seed)
{
	memset(&told, 0, sizeof(told));
	told.epoch = 1;
	seed_now = seed;
	random_seed(&rnd, seed);
	rig_start();
	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t dice = random_below(&rnd, 100);

		if (dice < 60)
			step_write();
		else if (dice < 85)
			rig_advance((nsec_t)random_below(&rnd, 300) * 1000);
		else if (dice < 93)
			step_recover();
		else
			step_power_cut();
		check_log();
	}
	rig_run();
	check_log();
	check_disk();
	rig_stop();
}

Test(replica_random, keeps_its_promises_over_power_cuts)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		live(seed);
}
