/* Error codes: 0 or a negative errno; what errno lacks runs from -1000 down.
 *
 * The wire carries enum status (common/wire/msg.h), never these numbers. */
#pragma once

#define ERR_LIST(X) \
	X(ERR_CORRUPT, -1000, "checksum or format of stored data is wrong") \
	X(ERR_FENCED, -1001, "this server has no session with the catalog") \
	X(ERR_VERSION, -1002, "format or protocol version not supported")

enum {
#define X(name, code, text) name = (code),
	ERR_LIST(X)
#undef X
};

/* Text for 0, a negative errno or one of the codes above. Static storage. */
const char *err_text(int rc);
