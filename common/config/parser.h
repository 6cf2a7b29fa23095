/* Inside of the configuration parser: parse.c reads lines, check.c looks at the whole. */
#pragma once

#include "common/config/config.h"

enum section { SECTION_CLUSTER, SECTION_SITE, SECTION_HINT, SECTION_SERVER };

/* Ids above are taken by commands while they run. */
#define SERVER_ID_MAX 0x7fffffff
#define KEYS_MAX 24
#define KEY_BYTES 16

struct seen_key {
	char name[KEY_BYTES];
	unsigned line;
};

struct parser {
	struct config *c;
	const char *at;          /* the text not read yet */
	unsigned line;
	bool in_section;
	enum section section;
	struct map_site *site;   /* of the current section */
	struct config_hint *hint;
	unsigned seen;           /* keys of the current section */
	struct seen_key key[KEYS_MAX];
	unsigned cluster_line, server_line;
	unsigned server_seen;    /* the keys of [server] */
	struct seen_key server_key[KEYS_MAX];
	unsigned why_line;       /* of the first error; 0: of no line */
	char why[256];
};

/* Remembers the first error, with the line parsed now; returns what inih wants for "wrong line". */
PRINTF(2, 3) int config_wrong(struct parser *p, const char *fmt, ...);
/* What must hold once everything is read; 0 with the error remembered if it does not. */
int config_check(struct parser *p);
