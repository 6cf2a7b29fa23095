/* Checker of P8 for full disks: ENOSPC comes from a write, when two replicas cannot hold it, or
 * from a create while the catalog has no room, and from nothing else - not from a flush of what was
 * accepted, nor from what frees space. */
#pragma once

struct client;

/* An operation is done. */
void check_space(const struct client *cl);
