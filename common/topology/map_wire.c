/* Encoded map: u64 version, u16 sites, u16 servers; per site u16 id, u8 name length, name, u8
 * prefixes, each u8 family, u8 bits, 16 bytes; per server u32 id, u16 site, u32 weight, u8 address
 * length, address. */
#include "common/topology/map.h"

#include "common/base/bytes.h"

size_t map_encoded_bytes(const struct map *m)
{
	size_t bytes = 12;

	for (unsigned i = 0; i < m->sites; i++)
		bytes += 4 + strlen(m->site[i].name) + m->site[i].prefixes * (size_t)18;
	for (unsigned i = 0; i < m->servers; i++)
		bytes += 11 + strlen(m->server[i].addr);
	return bytes;
}

static uint8_t *put_text(uint8_t *p, const char *text)
{
	size_t len = strlen(text);

	*p = (uint8_t)len;
	memcpy(p + 1, text, len);
	return p + 1 + len;
}

static uint8_t *put_site(uint8_t *p, const struct map_site *s)
{
	put_u16le(p, s->id);
	p = put_text(p + 2, s->name);
	*p++ = (uint8_t)s->prefixes;
	for (unsigned i = 0; i < s->prefixes; i++, p += 18) {
		p[0] = s->prefix[i].family;
		p[1] = s->prefix[i].bits;
		memcpy(p + 2, s->prefix[i].addr, 16);
	}
	return p;
}

void map_encode(const struct map *m, uint8_t *p)
{
	put_u64le(p, m->version);
	put_u16le(p + 8, (uint16_t)m->sites);
	put_u16le(p + 10, (uint16_t)m->servers);
	p += 12;
	for (unsigned i = 0; i < m->sites; i++)
		p = put_site(p, &m->site[i]);
	for (unsigned i = 0; i < m->servers; i++) {
		put_u32le(p, m->server[i].id);
		put_u16le(p + 4, m->server[i].site);
		put_u32le(p + 6, m->server[i].weight);
		p = put_text(p + 10, m->server[i].addr);
	}
}

static void take_text(struct cursor *c, char *out, size_t size)
{
	uint8_t len = cursor_u8(c);
	const uint8_t *p = cursor_take(c, len);

	if (!p || len >= size || memchr(p, 0, len)) {
		c->bad = true;
		return;
	}
	memcpy(out, p, len);
	out[len] = '\0';
}

static void take_site(struct cursor *c, struct map_site *s)
{
	s->id = cursor_u16(c);
	take_text(c, s->name, sizeof(s->name));
	s->prefixes = cursor_u8(c);
	if (s->id == 0 || s->prefixes > SITE_PREFIXES_MAX) {
		c->bad = true;
		return;
	}
	for (unsigned i = 0; i < s->prefixes; i++) {
		s->prefix[i].family = cursor_u8(c);
		s->prefix[i].bits = cursor_u8(c);
		const uint8_t *addr = cursor_take(c, 16);
		bool four = s->prefix[i].family == 4, six = s->prefix[i].family == 6;

		if (!addr || !(four || six) || s->prefix[i].bits > (four ? 32 : 128)) {
			c->bad = true;
			return;
		}
		memcpy(s->prefix[i].addr, addr, 16);
	}
}

static void take_server(struct cursor *c, struct map *m, unsigned i)
{
	struct map_server *s = &m->server[i];

	s->id = cursor_u32(c);
	s->site = cursor_u16(c);
	s->weight = cursor_u32(c);
	take_text(c, s->addr, sizeof(s->addr));
	if (s->id == 0 || s->weight == 0 || (i > 0 && m->server[i - 1].id >= s->id))
		c->bad = true;
}

int map_decode(const uint8_t *p, size_t len, struct map **out)
{
	struct cursor c = {p, len, false};
	uint64_t version = cursor_u64(&c);
	unsigned sites = cursor_u16(&c), servers = cursor_u16(&c);
	struct map *m;

	if (c.bad || sites > SITES_MAX || servers > SERVERS_MAX)
		return ERR_CORRUPT;
	m = map_new(servers);
	m->version = version;
	m->sites = sites;
	m->servers = servers;
	for (unsigned i = 0; i < sites && !c.bad; i++)
		take_site(&c, &m->site[i]);
	for (unsigned i = 0; i < servers && !c.bad; i++)
		take_server(&c, m, i);
	if (!cursor_done(&c)) {
		map_free(m);
		return ERR_CORRUPT;
	}
	*out = m;
	return 0;
}
