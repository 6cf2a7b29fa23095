#include "hint-server/catalog/internal.h"

#include "common/base/mem.h"

void catalog_reply_init(struct catalog_reply *r)
{
	*r = (struct catalog_reply){0};
}

void catalog_reply_fini(struct catalog_reply *r)
{
	mem_free(r->bytes);
	*r = (struct catalog_reply){0};
}

uint8_t *reply_bytes(struct catalog_reply *r, size_t len)
{
	if (len > r->capacity) {
		r->bytes = mem_resize(r->bytes, len, 1);
		r->capacity = len;
	}
	return r->bytes;
}

/* Every op and query begins with OP_FIELDS, every r_* with REPLY_FIELDS: read and written through
 * the shortest of each. */
void reply_start(struct catalog_reply *r, enum msg_type type, const struct msg *op,
                 enum status status)
{
	memset(&r->m, 0, sizeof(r->m));
	r->m.type = type;
	r->m.r_status.status = (uint16_t)status;
	r->m.r_status.session = op->q_statfs.session;
	r->m.r_status.slot = op->q_statfs.slot;
	r->m.r_status.seq = op->q_statfs.seq;
}
