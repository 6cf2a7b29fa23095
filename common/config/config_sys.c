#include "common/config/config.h"

#include "common/base/mem.h"

#include <stdio.h>

#define FILE_BYTES_LIMIT (1u << 20)

/* Whole file as text. A negative errno; -EINVAL, with the text, when it holds a NUL. */
static int read_text(const char *path, char **out)
{
	FILE *f = fopen(path, "re");
	char *text;
	size_t n;
	int rc = 0;

	if (!f)
		return -errno;
	text = mem_new(FILE_BYTES_LIMIT + 1);
	errno = 0;
	n = fread(text, 1, FILE_BYTES_LIMIT + 1, f);
	if (ferror(f))
		rc = errno ? -errno : -EIO;
	else if (n > FILE_BYTES_LIMIT)
		rc = -EFBIG;
	fclose(f);
	if (rc < 0) {
		mem_free(text);
		return rc;
	}
	text[n] = '\0';
	*out = text;
	return strlen(text) == n ? 0 : -EINVAL;
}

int config_load(struct config *c, const char *path, char *why, size_t why_size)
{
	char *text = NULL;
	int rc = read_text(path, &text);

	if (rc < 0) {
		if (text)
			snprintf(why, why_size, "%s: is not a text file: it has a NUL byte", path);
		else
			snprintf(why, why_size, "%s: cannot be read: %s", path, err_text(rc));
		mem_free(text);
		return rc;
	}
	rc = config_parse(c, text, path, why, why_size);
	mem_free(text);
	return rc;
}

int config_load_server(struct config *c, const char *path, enum server_kind kind, char *why,
                       size_t why_size)
{
	int rc = config_load(c, path, why, why_size);

	if (rc < 0)
		return rc;
	if (c->kind == kind)
		return 0;
	if (c->kind == 0)
		snprintf(why, why_size, "%s: has no [server] section; add one with kind = %s", path,
		         config_kind_name(kind));
	else
		snprintf(why, why_size, "%s: is for a server of kind %s; this program wants kind = %s", path,
		         config_kind_name(c->kind), config_kind_name(kind));
	return -EINVAL;
}
