/* Single values of a configuration: sizes, durations, addresses. */
#include "common/config/config.h"

#include <stdlib.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit sizes[] = {
	{"", 1}, {"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30},
	{"TiB", 1ull << 40},
};

static const struct unit durations[] = {
	{"ms", (uint64_t)NSEC_MSEC}, {"s", (uint64_t)NSEC_SEC}, {"min", 60 * (uint64_t)NSEC_SEC},
};

static int parse_unit(const char *text, const struct unit *units, size_t n, uint64_t *out)
{
	unsigned long long number;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return -EINVAL;
	errno = 0;
	number = strtoull(text, &end, 10);
	if (errno != 0)
		return -EINVAL;
	while (*end == ' ')
		end++;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(end, units[i].name) != 0)
			continue;
		return __builtin_mul_overflow((uint64_t)number, units[i].factor, out) ? -EINVAL : 0;
	}
	return -EINVAL;
}

int config_parse_size(const char *text, uint64_t *out)
{
	return parse_unit(text, sizes, ARRAY_LEN(sizes), out);
}

int config_parse_duration(const char *text, nsec_t *out)
{
	uint64_t ns;

	if (parse_unit(text, durations, ARRAY_LEN(durations), &ns) < 0 || ns > INT64_MAX / 2)
		return -EINVAL;
	*out = (nsec_t)ns;
	return 0;
}

int config_split_address(const char *text, char *host, size_t host_size, uint16_t *port)
{
	bool bracket = text[0] == '[';
	const char *start = text + bracket, *end = bracket ? strchr(text, ']') : strrchr(text, ':');
	const char *digits;
	unsigned long number;
	char *rest;

	if (!end || end == start || (size_t)(end - start) >= host_size)
		return -EINVAL;
	digits = bracket ? end + 1 : end;
	if (digits[0] != ':' || digits[1] < '0' || digits[1] > '9')
		return -EINVAL;
	number = strtoul(digits + 1, &rest, 10);
	if (*rest != '\0' || number == 0 || number > 65535)
		return -EINVAL;
	memcpy(host, start, (size_t)(end - start));
	host[end - start] = '\0';
	*port = (uint16_t)number;
	return 0;
}
