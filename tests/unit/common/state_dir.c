/* The directory of a server: one process, one server, and a sentence for everything else. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/server/state_dir.h"

static char root[64];
static struct config config;
static struct state_dir dir;
static char why[512];

static void setup(void)
{
	snprintf(root, sizeof(root), "/tmp/state_dir.XXXXXX");
	cr_assert(mkdtemp(root));
	config = (struct config){.cluster = 1, .id = 11, .kind = SERVER_CORE};
	snprintf(config.directory, sizeof(config.directory), "%s/a/b", root);
}

static void teardown(void)
{
	char command[128];

	state_dir_leave(&dir);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	cr_expect(system(command) == 0);
}

TestSuite(state_dir, .init = setup, .fini = teardown);

static int take(bool format)
{
	return state_dir_take(&dir, &config, "index", format, why, sizeof(why));
}

static void says(const char *part)
{
	cr_expect(strstr(why, part), "\"%s\" does not say \"%s\"", why, part);
}

Test(state_dir, is_made_by_format_alone)
{
	uint64_t bytes = 0;

	cr_assert_eq(take(false), -ENOENT);
	says("--format");
	cr_assert_eq(take(true), 0, "%s", why);
	cr_expect(access(dir.below, W_OK) == 0);
	cr_expect(state_dir_fs_bytes(&dir, &bytes) == 0 && bytes > 0);
	state_dir_leave(&dir);
	cr_assert_eq(take(false), 0, "%s", why);
}

Test(state_dir, of_a_server_that_keeps_nothing_is_made_when_it_starts)
{
	cr_assert_eq(state_dir_take(&dir, &config, NULL, false, why, sizeof(why)), 0, "%s", why);
	cr_expect_str_eq(dir.below, config.directory);
}

Test(state_dir, belongs_to_one_process)
{
	struct state_dir second;

	cr_assert_eq(take(true), 0, "%s", why);
	cr_assert_eq(state_dir_take(&second, &config, "index", false, why, sizeof(why)), -EWOULDBLOCK);
	says("in use by another process");
	state_dir_leave(&dir);
	cr_assert_eq(state_dir_take(&second, &config, "index", false, why, sizeof(why)), 0, "%s", why);
	state_dir_leave(&second);
}

/* A typing error in `directory` must not put one server on the data of another. */
Test(state_dir, belongs_to_one_server)
{
	cr_assert_eq(take(true), 0, "%s", why);
	state_dir_leave(&dir);
	config.id = 12;
	cr_assert_eq(take(false), -EEXIST);
	says("\"core server 11 of cluster 1\", but this is core server 12 of cluster 1");
	cr_assert_eq(take(true), -EEXIST);
	config.id = 11;
	config.cluster = 2;
	cr_assert_eq(take(false), -EEXIST);
	config.cluster = 1;
	config.kind = SERVER_HINT;
	cr_assert_eq(take(false), -EEXIST);
	config.kind = SERVER_CORE;
	cr_assert_eq(take(false), 0, "%s", why);
}

Test(state_dir, refused_lets_go_of_the_lock)
{
	cr_assert_eq(take(true), 0, "%s", why);
	state_dir_leave(&dir);
	config.id = 12;
	cr_assert_eq(take(false), -EEXIST);
	cr_expect_eq(dir.lock_fd, -1);
	config.id = 11;
	cr_assert_eq(take(false), 0, "%s", why);
}

Test(state_dir, that_is_a_file_is_an_error)
{
	snprintf(config.directory, sizeof(config.directory), "/dev/null");
	cr_assert_eq(take(true), -ENOTDIR);
	says("/dev/null/index");
}
