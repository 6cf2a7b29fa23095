/* The namespace as this access server has cached it. For names*.c only.
 *
 * A node is an inode with cached items: entries (present and absent) and listings of a directory,
 * extended attributes, a symlink's target. Items may be used while the node is `leased` (the
 * metadata lease of the inode is held) and session_shared_valid(); symlink targets always, for
 * they never change and inode numbers are not reused.
 *
 * A reply is cached only if nothing overtook it: no recall of the inode since the question was
 * sent, no voiding of all shared leases, and no change of our own that touched the node.
 *
 * Of an inode that was made here and kept leased since, all is known: it has no extended attributes
 * but those cached (`bare`; the kernel asks for security.capability before the first write), and a
 * directory no entries but those cached (`whole`; the lookup before each create asks nobody). */
#pragma once

#include "access-server/volume/parts.h"

#define NAMES_ITEMS_MAX 200000
#define NAMES_BYTES_MAX (64u << 20)
#define NAMES_DIRENTS_BYTES 65536 /* asked for at once, whatever the caller has room for */

/* NEW only keeps the node of an inode made here, for as long as there is room. */
enum item_kind {
	ITEM_ENTRY = 1, ITEM_XATTR, ITEM_XATTR_LIST, ITEM_LINK, ITEM_DIRENTS, ITEM_NEW, ITEM_KINDS,
};

struct node;

struct item {
	UT_hash_handle hh;
	struct item *prev, *next;         /* of the node */
	struct item *lru_prev, *lru_next; /* of all, oldest use first */
	struct node *node;
	nsec_t kernel_until;              /* ENTRY: the kernel may believe it until then */
	uint64_t ino;                     /* ENTRY: where it leads; 0: there is no such entry */
	uint64_t next_cookie;             /* DIRENTS: where it goes on; 0: at the end */
	uint64_t last_cookie;             /* DIRENTS: of its last record; they grow */
	bool absent;                      /* XATTR: there is none */
	bool unknown;                     /* ENTRY: only says that the kernel believes something */
	uint32_t bytes;                   /* of `value` */
	uint8_t *value;
	uint32_t key_bytes;
	uint8_t key[];                    /* u64 ino of the node, u8 kind, name or cookie */
};

struct node {
	UT_hash_handle hh;
	uint64_t ino;
	struct item *items;
	struct item *pages;     /* those of kind DIRENTS: a directory may have very many others */
	unsigned n[ITEM_KINDS]; /* items of each kind */
	bool leased;
	bool whole;           /* while leased: no entries but those cached */
	bool bare;            /* while leased: no extended attributes but those cached */
	unsigned pins;        /* operations under way that will look at it again */
	unsigned changing;    /* own changes under way */
	uint64_t changes;     /* own changes begun or ended */
};

/* A recall that waits for the kernel to have dropped what it believes. */
struct names_recall {
	struct names_recall *prev, *next;
	struct volume *v;
	uint64_t ino, id, cookie;
	unsigned waiting;     /* answers of the kernel still to come */
	bool asked;           /* the kernel was told */
	nsec_t since;
	nsec_t until;         /* by then nothing the kernel believed is valid any more */
	struct node *node;    /* pinned; NULL: nothing cached */
	struct vol_timer timer;
	uint32_t names_bytes; /* entries to drop: u16 length, bytes */
	uint8_t *names;
};

struct name_op;

/* Inodes recalled lately, by a hash of the number; a newer one takes the place of an older. */
#define NAMES_CONTENDED 256

struct names {
	struct {
		uint64_t ino;
		nsec_t at;
	} contended[NAMES_CONTENDED];
	struct node *nodes;
	struct item *items;
	struct item *lru;
	unsigned n;
	uint64_t bytes;
	uint64_t voids;       /* how often all shared leases were void */
	struct names_recall *recalls;
	struct name_op *ops;
};

static inline struct names *names_of(struct volume *v)
{
	return v->names;
}

/* --- names_cache.c --- */
struct node *node_find(struct volume *v, uint64_t ino);
struct node *node_pin(struct volume *v, uint64_t ino); /* finds or makes */
void node_unpin(struct volume *v, struct node *n);     /* frees it when empty */
/* Drops all items but a symlink's target. */
void node_drop(struct volume *v, struct node *n);
void node_drop_kind(struct volume *v, struct node *n, enum item_kind kind);
/* The node's lease was granted: what was fetched without one does not count. */
void node_lease(struct volume *v, struct node *n);
/* A new inode, leased: it has no extended attributes, and a directory no entries. */
void node_begin_new(struct volume *v, uint64_t ino, bool dir);
void names_drop_all(struct volume *v);
void names_free_all(struct volume *v);

struct item *item_find(struct volume *v, uint64_t ino, enum item_kind kind, struct span name);
/* Makes or replaces; `value` is copied. May push out others, never this one. */
struct item *item_put(struct volume *v, struct node *n, enum item_kind kind, struct span name,
                      struct span value);
void item_drop(struct volume *v, struct item *i);
void item_use(struct volume *v, struct item *i); /* it is the newest now */
static inline struct span item_name(const struct item *i)
{
	return (struct span){i->key + 9, i->key_bytes - 9};
}

/* --- names.c: operations that go to the catalog --- */
struct name_op {
	struct name_op *prev, *next;
	struct session_call call;
	struct volume *v;
	struct vol_req *req;         /* NULL: interrupted, nobody waits any more */
	struct vol_timer timer;      /* to ask again, or to give up after an interrupt */
	bool in_call, interrupted, change;
	struct node *dir, *other;    /* pinned: what the operation reads or changes; other: RENAME */
	uint64_t seq, voids;         /* when the question was sent */
	uint64_t dir_changes, other_changes;
	uint64_t moved;              /* LINK, UNLINK, RENAME: the inode, when known */
	struct msg ask;
	void (*answer)(struct name_op *op, const struct msg *m); /* m: status OK or not, type checked */
	struct vol_req sync;         /* RENAME: the flush before it */
	uint8_t *records;            /* READDIR with attributes: those to be given */
	uint32_t records_bytes;
	struct span name, new_name;  /* copies in `text`: they outlive the request */
	uint8_t text[];
};

struct name_op *op_new(struct volume *v, struct vol_req *req,
                       void (*answer)(struct name_op *op, const struct msg *m));
/* Sends op->ask; `change`: an own change of op->dir (and other). */
void op_send(struct name_op *op);
void op_end(struct name_op *op, int rc); /* completes the request, frees the operation */
/* The node's items are true now. Not while a change of our own is under way: others may see that
 * before we are told. */
bool node_usable(struct volume *v, const struct node *n);
/* May what came back about op->dir (other) be cached? */
bool op_fresh(const struct name_op *op, const struct node *n);

/* A change of ours altered the inode's attributes: those cached, and those under way, are old. */
void names_touch(struct volume *v, uint64_t ino);

/* Outputs about an inode: attributes and how long they are good. */
void names_fill_attr(struct vol_req *req, struct file *f);
nsec_t names_entry_valid(struct volume *v, const struct node *dir);
void names_note_contended(struct volume *v, uint64_t ino);
/* Notes that the kernel is told of the entry, so that a recall knows what to drop. */
void names_tell_entry(struct volume *v, struct vol_req *req, struct item *i);
nsec_t names_note_told(struct volume *v, struct item *i); /* the same; how long it is good */
void names_give_bytes(struct vol_req *req, struct span bytes);

/* --- names_query.c, names_dirents.c, names_xattr.c, names_change.c --- */
void names_lookup(struct volume *v, struct vol_req *req);
void names_readlink(struct volume *v, struct vol_req *req);
void names_statfs(struct volume *v, struct vol_req *req);
void names_readdir(struct volume *v, struct vol_req *req);
uint32_t dirent_bytes(const uint8_t *p, uint32_t left); /* of the record there; 0: none */
/* names_plus.c: ends the request with the records and the attributes that are cached; those missing
 * are asked for once. Takes over `op` (NULL: none yet). */
void names_give_plus(struct volume *v, struct vol_req *req, struct name_op *op, const uint8_t *p,
                     uint32_t left);
void names_getxattr(struct volume *v, struct vol_req *req);
void names_listxattr(struct volume *v, struct vol_req *req);
void names_setxattr(struct volume *v, struct vol_req *req);
void names_create(struct volume *v, struct vol_req *req);
void names_link(struct volume *v, struct vol_req *req);
void names_unlink(struct volume *v, struct vol_req *req);
void names_rename(struct volume *v, struct vol_req *req);
