/* Answers of the catalog whose fields cannot be: sizes and modes that would lead a client astray. */
#pragma once

#include "common/wire/msg.h"

/* False for an r_inode or r_lease that no catalog would send; true for every other message, and for
 * refusals. */
bool msg_reply_ok(const struct msg *m);
bool msg_inode_ok(const struct msg_r_inode *r);
