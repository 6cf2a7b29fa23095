#include "common/config/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char common_part[] =
	"[cluster]\nid = 7\nname = demo\n"
	"[site hiroshima]\nid = 1\nprefixes = 127.1.0.0/16 fd00:1::/32\n"
	"[site nara]\nid = 3\nprefixes = 127.3.0.0/16\n"
	"[hint 18]\naddress = 127.1.0.8:7200\nvote = yes\n"
	"[hint 38]\naddress = 127.3.0.8:7200\nvote = no\n";

static struct config c;
static char why[256];

static int parse(const char *more)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%s", common_part, more);
	return config_parse(&c, text, "x.conf", why, sizeof(why));
}

Test(config, leadership_follows_the_work_or_not)
{
	const char *hint = "[server]\nid = 18\nkind = hint\nlisten = 127.1.0.8:7200\n"
	                   "directory = /var/h\nfollow = %s\n";
	char text[200];

	snprintf(text, sizeof(text), hint, "30s");
	cr_assert_eq(parse(text), 0, "%s", why);
	cr_assert_eq(c.follow, 30 * NSEC_SEC);
	snprintf(text, sizeof(text), hint, "never");
	cr_assert_eq(parse(text), 0, "%s", why);
	cr_assert_eq(c.follow, NSEC_NEVER);
	snprintf(text, sizeof(text), hint, "sometimes");
	cr_assert_lt(parse(text), 0);
	cr_assert_not_null(strstr(why, "follow \"sometimes\": use a duration"), "%s", why);
}

Test(config, homes_follow_their_writers_or_not)
{
	const char *access = "[server]\nid = 19\nkind = access\nlisten = 127.1.0.9:7300\n"
	                     "directory = /var/a\nmount = /m\nfollow_writer = %s\n";
	char text[200];

	snprintf(text, sizeof(text), access, "2min");
	cr_assert_eq(parse(text), 0, "%s", why);
	cr_assert_eq(c.follow_writer, 120 * NSEC_SEC);
	snprintf(text, sizeof(text), access, "never");
	cr_assert_eq(parse(text), 0, "%s", why);
	cr_assert_eq(c.follow_writer, NSEC_NEVER);
	snprintf(text, sizeof(text), access, "soon");
	cr_assert_lt(parse(text), 0);
}

Test(config, reads_what_a_person_writes)
{
	unsigned order[CONFIG_HINTS_MAX];

	cr_assert_eq(parse("# a core server\n[server]\nid = 31\nkind = core\nlisten = 127.3.0.1:7100\n"
	                   "directory = /srv/core\ncapacity = 2TiB ; a comment\njournal = 64MiB\n"), 0,
	             "%s", why);
	cr_assert_eq(c.cluster, 7);
	cr_assert_eq(c.sites, 2);
	cr_assert_eq(c.site[0].prefixes, 2);
	cr_assert_eq(c.kind, SERVER_CORE);
	cr_assert_eq(c.own_site, 3, "the site follows from the address");
	cr_assert_eq(c.capacity, (uint64_t)2 << 40);
	cr_assert_eq(c.hint[1].site, 3);
	cr_assert_not(c.hint[1].vote);
	config_hints_by_distance(&c, 3, order);
	cr_assert_eq(order[0], 1, "nearest first");
	cr_assert_eq(order[1], 0);
	cr_assert_str_eq(config_site_name(&c, 3), "nara");
}

Test(config, of_an_administrator_has_no_server)
{
	cr_assert_eq(parse(""), 0, "%s", why);
	cr_assert_eq(c.kind, 0);
}

/* Each mistake gets a sentence with file and line, what is wrong and what to write. */
Test(config, names_every_mistake)
{
	static const struct {
		const char *text, *why;
	} wrong[] = {
		{"[serer]\nid = 1\n", "x.conf:16: unknown section [serer]; there are cluster, site NAME, "
		                      "hint ID and server"},
		{"[server]\nidd = 1\n", "x.conf:17: unknown key \"idd\" in [server]"},
		{"[server]\nid = x\n", "x.conf:17: server id \"x\": use a whole number from 1 up"},
		{"[server]\nid = 1\nkind = disk\n", "x.conf:18: kind \"disk\": use core, hint or access"},
		{"[server]\nlisten = 127.1.0.1\n",
		 "x.conf:17: listen \"127.1.0.1\": use ADDRESS:PORT, such as 127.1.0.1:7100"},
		{"[server]\ncapacity = 12 apples\n",
		 "x.conf:17: capacity \"12 apples\": use a size such as 256MiB"},
		{"[server]\nsession = 5\n",
		 "x.conf:17: session \"5\": use a duration such as 500ms or 5s"},
		{"[server]\ndirectory = here\n", "x.conf:17: directory \"here\": use an absolute path"},
		{"[server]\nblock = 5MiB\n",
		 "x.conf:17: block \"5MiB\": use a power of two from 64KiB to 16MiB"},
		{"[server]\nid = 1\n", "x.conf: [server] needs id, kind, listen and directory"},
		{"[server]\nid = 1\nkind = core\nlisten = 10.9.9.9:1\ndirectory = /x\n",
		 "x.conf: 10.9.9.9:1 lies in no site's prefixes"},
		{"[server]\nid = 1\nkind = access\nlisten = 127.1.0.9:1\ndirectory = /x\n",
		 "x.conf: an access server needs mount"},
		{"[site nara]\nid = 4\n", "x.conf:16: two sections for site nara"},
		{"[site x]\nid = 3\n", "x.conf:17: sites nara and x have the same id"},
		{"[site x]\nid = 4\nprefixes = 10.0.0.0\n",
		 "x.conf:18: \"10.0.0.0\" is no prefix such as 10.1.0.0/16 or fd00:1::/32"},
		{"[hint 18]\naddress = 127.1.0.1:1\n", "x.conf:16: two sections for hint 18"},
		{"[site x]\nid = 9\n", "x.conf: site x needs an id and prefixes"},
		{"nonsense\n", "x.conf:16: neither [section] nor key = value"},
		{"[serer]\n", "x.conf:16: unknown section [serer]; there are cluster, site NAME, hint ID and "
		              "server"},
		{"[server\nid = 1\n", "x.conf:16: a section is written [name], with a name of up to 79 "
		                      "characters"},
		{"[cluster]\nid = 8\n", "x.conf:16: two sections [cluster]; the first is in line 1"},
		{"[server]\nid = 1\n\nid = 2\n", "x.conf:19: id is given in line 17 already"},
		{"[server]\nid = 1\nkind = core\nlisten = 127.1.0.9:1\nmount = /m\ndirectory = /x\n",
		 "x.conf:20: mount is for kind = access: take it out of this file"},
		{"[server]\nid = 1\nkind = hint\nlisten = 127.1.0.9:1\ndirectory = /x\n",
		 "x.conf: [server] is hint server 1, but there is no [hint 1]"},
		{"[server]\nid = 18\nkind = hint\nlisten = 127.1.0.9:1\ndirectory = /x\n",
		 "x.conf: listen 127.1.0.9:1 is not the address of [hint 18]"},
		{"[server]\nid = 18\nkind = core\nlisten = 127.1.0.9:1\ndirectory = /x\n",
		 "x.conf: id 18 belongs to [hint 18]: use another one"},
		{"[server]\nid = 18\nkind = hint\nlisten = 127.1.0.8:7200\ndirectory = /x\nshared = 300ms\n",
		 "x.conf: shared is too short: use 500ms or more"},
		{"[server]\nid = 19\nkind = access\nlisten = 127.1.0.9:1\ndirectory = /x\n"
		 "mount = /m\nbuffer = 300MiB\n",
		 "x.conf: buffer may be half of memory at most (memory is 512MiB): raise memory, or lower "
		 "buffer"},
		{"[server]\nid = 19\nkind = access\nlisten = 127.1.0.9:1\ndirectory = /x\n"
		 "mount = /m\nmemory = 64MiB\n",
		 "x.conf: memory is too little for an access server: use 128MiB or more"},
		{"[hint 19]\naddress = 127.1.0.8:7200\n", "x.conf: hints 18 and 19 have the same address"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(wrong); i++) {
		cr_assert_eq(parse(wrong[i].text), -EINVAL);
		cr_assert_str_eq(why, wrong[i].why);
	}
}

/* Comments, blank lines, indentation, spaces and line ends as editors leave them. */
Test(config, forgives_the_looks)
{
	cr_assert_eq(parse("\r\n; note\n\n  [server]\r\n\tid=31\n  kind  =  core\n\n"
	                   "    listen = 127.3.0.1:7100\n    # another note\n"
	                   "    directory = /srv/core   ; note\n  log=debug"), 0, "%s", why);
	cr_assert_eq(c.id, 31);
	cr_assert_str_eq(c.directory, "/srv/core");
	cr_assert_eq(c.log, LOG_DEBUG);
}

/* Nothing is cut silently: neither long lines nor keys before any section. */
Test(config, long_lines_and_stray_keys_are_errors)
{
	char text[600];

	snprintf(text, sizeof(text), "[server]\ndirectory = /%0300d\n", 1);
	cr_assert_eq(parse(text), -EINVAL);
	cr_assert_str_eq(why, "x.conf:17: the line is longer than 199 characters");
	snprintf(text, sizeof(text), "[server]\n%0150d = 1\n", 1);
	cr_assert_eq(parse(text), -EINVAL);
	cr_assert_eq(config_parse(&c, "id = 1\n", "x.conf", why, sizeof(why)), -EINVAL);
	cr_assert_str_eq(why, "x.conf:1: \"id\" stands before the first [section]");
	cr_assert_eq(config_parse(&c, "", "x.conf", why, sizeof(why)), -EINVAL);
	cr_assert_str_eq(why, "x.conf: [cluster] has no id");
}

Test(config, file_errors_are_named)
{
	char path[] = "/tmp/config-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "[cluster]\0id = 1\n", 18), 18);
	close(fd);
	cr_assert_eq(config_load(&c, path, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "is not a text file"), "%s", why);
	unlink(path);

	cr_assert_eq(config_load(&c, "/nowhere/x.conf", why, sizeof(why)), -ENOENT);
	cr_assert_str_eq(why, "/nowhere/x.conf: cannot be read: No such file or directory");
	cr_assert_eq(config_load(&c, "/", why, sizeof(why)), -EISDIR);
}

Test(config, addresses_sizes_and_durations)
{
	char host[64];
	uint64_t bytes;
	uint16_t port;
	nsec_t time;

	cr_assert_eq(config_split_address("[fd00::1]:80", host, sizeof(host), &port), 0);
	cr_assert_str_eq(host, "fd00::1");
	cr_assert_eq(port, 80);
	cr_assert_eq(config_split_address("1.2.3.4:0", host, sizeof(host), &port), -EINVAL);
	cr_assert_eq(config_split_address(":5", host, sizeof(host), &port), -EINVAL);
	cr_assert_eq(config_split_address("1.2.3.4:99999", host, sizeof(host), &port), -EINVAL);
	cr_assert_eq(config_parse_size("20000000000TiB", &bytes), -EINVAL, "overflow");
	cr_assert_eq(config_parse_size("-1", &bytes), -EINVAL);
	cr_assert_eq(config_parse_size("4096", &bytes), 0);
	cr_assert_eq(bytes, 4096);
	cr_assert_eq(config_parse_duration("2min", &time), 0);
	cr_assert_eq(time, 120 * NSEC_SEC);
}
