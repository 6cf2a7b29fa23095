/* Asks servers admin questions: a verb and JSON out, JSON back. Synchronous: runs its own loop. */
#pragma once

#include "common/base/types.h"

#include <jansson.h>

struct ask;

/* config_path is named when a server refuses the cluster. */
MUST_CHECK int ask_new(struct ask **out, uint64_t cluster, const char *config_path,
                       const char *bind_addr);
void ask_free(struct ask *a);

/* Sends `verb` with `args` (may be NULL; stays the caller's) to server `dst` over the server `via`
 * at `addr`. 0 and a new reference in *reply; within `timeout` -EHOSTUNREACH: no connection,
 * -ETIMEDOUT: no answer; -EAGAIN: it knows no leader; -EREMOTEIO: it refused, *reply may say why
 * ("error"); -EBADMSG: no JSON; -EPERM: it does not talk to us, ask_why() says why. */
MUST_CHECK int ask(struct ask *a, server_id_t via, const char *addr, server_id_t dst,
                   const char *verb, json_t *args, nsec_t timeout, json_t **reply);

/* Connects to a server that may be asked later, and stays connected: so many at once cost no more time
 * than the nearest, whoever of them is dead. */
void ask_connect(struct ask *a, server_id_t server, const char *addr);
bool ask_connected(struct ask *a, server_id_t server); /* one of these, by now, or it refused */

const char *ask_why(const struct ask *a);
void ask_pause(struct ask *a, nsec_t time);
