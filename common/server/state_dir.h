/* The directory of a server: made, held by one process alone, and known to be this server's.
 *
 *   DIR/lock       held with flock() while the server runs
 *   DIR/identity   one line, which server the directory belongs to; written when it is first used
 *   DIR/BELOW/     where the server keeps its key-value store, if it has one
 *
 * Two processes under one server id would end each other's session; a server on the directory of
 * another would contradict what that one promised. Both are refused before anything is opened. */
#pragma once

#include "common/config/config.h"

struct state_dir {
	char path[CONFIG_PATH_MAX];
	char below[CONFIG_PATH_MAX + 32];
	int lock_fd;                     /* -1: not held */
};

/* Takes c->directory. `below` NULL: the server keeps nothing but the two small files and its
 * directory is made when it is not there; otherwise only `format` makes it. 0, or a negative errno
 * with a sentence in `why`; nothing is held then. */
MUST_CHECK int state_dir_take(struct state_dir *d, const struct config *c, const char *below,
                              bool format, char *why, size_t why_size);
void state_dir_leave(struct state_dir *d);
/* Size of the file system it is on. */
MUST_CHECK int state_dir_fs_bytes(const struct state_dir *d, uint64_t *out);
