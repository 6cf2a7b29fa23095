#include "common/topology/map.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* Family 4 or 6 and the 16 bytes (IPv4 in the first four); 0 if it is no address. */
static uint8_t parse_address(const char *text, uint8_t out[16])
{
	memset(out, 0, 16);
	if (inet_pton(AF_INET, text, out) == 1)
		return 4;
	if (inet_pton(AF_INET6, text, out) == 1)
		return 6;
	return 0;
}

int prefix_parse(const char *text, struct prefix *out)
{
	const char *slash = strchr(text, '/');
	char addr[64], *end;
	unsigned long bits;

	if (!slash || (size_t)(slash - text) >= sizeof(addr))
		return -EINVAL;
	memcpy(addr, text, (size_t)(slash - text));
	addr[slash - text] = '\0';
	*out = (struct prefix){0};
	out->family = parse_address(addr, out->addr);
	if (out->family == 0 || slash[1] < '0' || slash[1] > '9')
		return -EINVAL;
	bits = strtoul(slash + 1, &end, 10);
	if (*end != '\0' || bits > (out->family == 4 ? 32u : 128u))
		return -EINVAL;
	out->bits = (uint8_t)bits;
	return 0;
}

static bool prefix_holds(const struct prefix *p, uint8_t family, const uint8_t addr[16])
{
	unsigned bytes = p->bits / 8, rest = p->bits % 8;

	if (p->family != family || memcmp(p->addr, addr, bytes) != 0)
		return false;
	return rest == 0 || ((p->addr[bytes] ^ addr[bytes]) >> (8 - rest)) == 0;
}

uint16_t map_site_of(const struct map_site *sites, unsigned n, const char *addr)
{
	uint8_t bytes[16], family = parse_address(addr, bytes);
	uint16_t best = 0;
	int best_bits = -1;

	for (unsigned i = 0; i < n; i++) {
		for (unsigned j = 0; j < sites[i].prefixes; j++) {
			const struct prefix *p = &sites[i].prefix[j];

			if (prefix_holds(p, family, bytes) && p->bits > best_bits) {
				best = sites[i].id;
				best_bits = p->bits;
			}
		}
	}
	return best;
}
