/* A file tree, leases and locks as naive arrays: what the catalog must agree with. */
#pragma once

#include "common/wire/msg.h"

#define M_NODES 2000
#define M_NAMES 6       /* "a" ... "f": few, so that names meet */
#define M_SESSIONS 2
#define M_OWNERS 2
#define M_BYTES 16      /* of a file, for locks */

struct m_node {
	char type;              /* 'd', 'f', 'l'; 0: gone or never there */
	uint64_t ino;
	unsigned nlink;
	int parent;
	int child[M_NAMES];     /* node, or -1 */
	uint64_t epoch;
	int holder;             /* session index, or -1 */
	bool unclean, recovering;
	uint32_t mode;
	uint8_t lock[M_SESSIONS][M_OWNERS][M_BYTES]; /* 0, 'r', 'w' */
};

struct model {
	struct m_node node[M_NODES];
	int n;
};

extern struct model m;

void model_init(void);
int model_new_node(char type, uint64_t ino); /* the catalog's choice of ino */
/* Each gives the status the catalog must answer, and changes the model if it is OK. Arguments are
 * node indices. */
enum status model_may_create(int dir, int name);
void model_create(int dir, int name, int node);
enum status model_link(int node, int dir, int name);
enum status model_unlink(int dir, int name, bool rmdir, int *lost);
enum status model_rename(int dir, int name, int new_dir, int new_name, unsigned flags, int *lost);
void model_gone(int node);

enum status model_lease(int node, int session, bool exclusive, bool *recover, int *granted);
enum status model_release(int node, int session, uint64_t epoch, bool clean);
enum status model_lock(int node, int session, int owner, char type, int first, int last);
void model_end_session(int session);
