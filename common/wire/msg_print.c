/* Messages as readable lines, for traces and golden tests. */
#include "common/wire/msg.h"

#include <stdio.h>

struct printer {
	char *out;
	size_t size;
	size_t len; /* what the whole text needs, as snprintf counts */
};

static void print(struct printer *p, const char *fmt, ...) PRINTF(2, 3);

static void print(struct printer *p, const char *fmt, ...)
{
	size_t room = p->len < p->size ? p->size - p->len : 0;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(room > 0 ? p->out + p->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		p->len += (size_t)n;
}

/* Text is shown as text, everything else by its length and first bytes. */
static void print_span(struct printer *p, const char *name, struct span s)
{
	bool text = s.len > 0;

	for (uint32_t i = 0; i < s.len && text; i++)
		text = s.p[i] > 32 && s.p[i] < 127;
	if (text)
		print(p, " %s=%.*s", name, (int)MIN(s.len, 80u), (const char *)s.p);
	else
		print(p, " %s=[%" PRIu32 "]", name, s.len);
}

#define PRINT_u8(name) print(p, " " #name "=%u", m->name);
#define PRINT_u16(name) print(p, " " #name "=%u", m->name);
#define PRINT_u32(name) print(p, " " #name "=%" PRIu32, m->name);
#define PRINT_u64(name) print(p, " " #name "=%" PRIu64, m->name);
#define PRINT_ver(name) print(p, " " #name "=%" PRIu64 ".%" PRIu64, m->name.epoch, m->name.n);
#define PRINT_span(name) print_span(p, #name, m->name);
#define X(kind, name) PRINT_##kind(name)
#define M(name, number, fields) \
	static void print_##name(struct printer *p, const struct msg_##name *m) \
	{ \
		(void)p; \
		(void)m; \
		fields(X) \
	}
MSG_LIST(M)
#undef M
#undef X

int msg_print(const struct msg *m, char *out, size_t size)
{
	struct printer p = {out, size, 0};

	if (size > 0)
		out[0] = '\0';
	print(&p, "%s", msg_type_name(m->type));
	switch (m->type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		print_##name(&p, &m->name); \
		break;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
	if (m->payload.len > 0)
		print(&p, " payload=%" PRIu32, m->payload.len);
	return (int)p.len;
}

const char *msg_type_name(enum msg_type type)
{
	switch (type) {
#define M(name, number, fields) \
	case MSG_TYPE_##name: \
		return #name;
		MSG_LIST(M)
#undef M
	case MSG_TYPE_MAX:
		break;
	}
	return "unknown";
}

const char *status_text(enum status s)
{
	switch (s) {
#define X(name, code, text) \
	case STATUS_##name: \
		return text;
		STATUS_LIST(X)
#undef X
	}
	return "unknown status";
}
