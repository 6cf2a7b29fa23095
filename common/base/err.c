#include "common/base/err.h"

#include <string.h>

const char *err_text(int rc)
{
	switch (rc) {
#define X(name, code, text) \
	case code: \
		return text;
		ERR_LIST(X)
#undef X
	default:
		return rc == 0 ? "success" : strerrordesc_np(-rc) ? strerrordesc_np(-rc) : "unknown error";
	}
}
