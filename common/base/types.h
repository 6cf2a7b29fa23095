/* The words of the design as types: ids, versions, limits. Pure values. */
#pragma once

#include "common/base/base.h"

typedef uint64_t file_id_t; /* catalog incarnation << 48 | counter; never reused; 1 is the root */
typedef uint32_t server_id_t; /* from the server's configuration, 1 ... 0xfffffffe */
typedef uint64_t session_id_t; /* given by the catalog, never reused; 0 is none */

#define SERVER_LEADER ((server_id_t)0xffffffffu) /* as a destination: whoever leads the catalog */
#define FILE_ROOT ((file_id_t)1)

#define PAGE_SHIFT 12
#define PAGE_BYTES 4096u
#define BLOCK_SHIFT_MIN 16 /* 64 KiB */
#define BLOCK_SHIFT_MAX 24 /* 16 MiB */
#define BLOCK_SHIFT_DEFAULT 22
#define BLOCK_PAGES_MAX (1u << (BLOCK_SHIFT_MAX - PAGE_SHIFT))
#define BLOCK_ATTR UINT64_MAX /* the block number of a file's attribute record: one page */
#define FILE_BYTES_MAX ((uint64_t)64 << 40)
#define REPLICAS 3
#define SITES_MAX 64
#define SERVERS_MAX 1024
#define NAME_BYTES_MAX 255
#define SYMLINK_BYTES_MAX 4095
#define XATTR_BYTES_MAX 65536

enum server_kind { SERVER_CORE = 1, SERVER_ACCESS = 2, SERVER_HINT = 3, SERVER_ADMIN = 4 };

/* Version of a block: n counts the operations on the file within the lease epoch. */
struct version {
	uint64_t epoch;
	uint64_t n;
};

/* Bytes that belong to somebody else. */
struct span {
	const uint8_t *p;
	uint32_t len;
};

#define VERSION_NONE ((struct version){0, 0}) /* never written: a hole, at a server that knows */

static inline int version_cmp(struct version a, struct version b)
{
	if (a.epoch != b.epoch)
		return a.epoch < b.epoch ? -1 : 1;
	return a.n == b.n ? 0 : a.n < b.n ? -1 : 1;
}

static inline bool version_eq(struct version a, struct version b)
{
	return a.epoch == b.epoch && a.n == b.n;
}

/* What recovery compares (design section 5): the highest rank wins. `closed` is the last recovery
 * whose outcome the replica took for this block; a write of a later epoch implies that epoch. */
struct rank {
	uint64_t closed;
	struct version version;
};

static inline int rank_cmp(struct rank a, struct rank b)
{
	uint64_t ca = MAX(a.closed, a.version.epoch), cb = MAX(b.closed, b.version.epoch);

	if (ca != cb)
		return ca < cb ? -1 : 1;
	return version_cmp(a.version, b.version);
}
