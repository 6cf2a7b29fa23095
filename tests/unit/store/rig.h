/* One store on a simulated disk, with an event loop of its own in virtual time. */
#pragma once

#include <stdlib.h>

#include "common/kv/kv.h"
#include "common/wire/msg.h"
#include "core-server/store/store.h"
#include "tests/sim/sim_kv.h"

#define RIG_CLUSTER 77
#define RIG_SERVER 5

struct rig_event {
	nsec_t at;
	uint64_t seq;
	void (*fn)(void *arg);
	void *arg;
};

struct rig {
	nsec_t now;
	uint64_t seq;
	struct rig_event *events;  /* binary heap */
	size_t n, max;
	struct disk *disk;
	struct sim_kv index;       /* its commits take a while, as in the servers */
	struct kv *kv;             /* the same */
	struct store *store;
	struct store_config config;
	int open_rc;
	bool opened;
	bool stopped;              /* the power is off: rig_run() returns */
};

void rig_init(struct rig *g, uint64_t seed, uint64_t disk_bytes, const struct store_config *c);
void rig_fini(struct rig *g);
void rig_open_begin(struct rig *g);
int rig_open(struct rig *g);       /* runs until opened; the result */
void rig_close(struct rig *g);
/* Power cut and restart. */
int rig_crash(struct rig *g);
bool rig_step(struct rig *g);      /* one event, and the store's tick; false: none left */
void rig_run(struct rig *g);       /* until nothing is left to do at once */
void rig_wait(struct rig *g, const bool *flag);
void rig_sleep(struct rig *g, nsec_t ns);

/* Fills a request for a write; the caller sets what differs. */
struct rig_write {
	struct store_req req;
	bool answered;
};
struct iobuf *rig_data(const void *bytes, uint32_t len);
struct rig_write *rig_write(struct rig *g, file_id_t file, uint64_t block, uint32_t off,
                            const void *bytes, uint32_t len, uint64_t n);
/* Submits and waits. */
int rig_do(struct rig *g, struct store_req *req);
int rig_write_sync(struct rig *g, file_id_t file, uint64_t block, uint32_t off, const void *bytes,
                   uint32_t len, uint64_t n);
int rig_checkpoint(struct rig *g);
/* Reads [off, off+len) into `to`, holes as zeros. */
int rig_read(struct rig *g, file_id_t file, uint64_t block, uint32_t off, void *to, uint32_t len,
             struct store_block *at);
int rig_read_block(struct rig *g, file_id_t file, uint64_t block, uint8_t shift, uint32_t len,
                   void *to, struct store_block *at);
int rig_read_raw(struct rig *g, struct store_read *r); /* the caller frees what it got */
void rig_read_begin(struct rig *g, struct store_read *r);
int rig_read_end(struct rig *g, struct store_read *r);
uint64_t rig_index_bytes(const struct rig *g);
void rig_open_as(struct rig *g, uint64_t cluster, server_id_t server, struct store **out, int *rc,
                 bool *opened);
