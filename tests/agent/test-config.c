/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The agent's settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent/config.h"

static char path[64];
static char error[1024];
static struct config config;

/* Reads a file with @text into the defaults. */
static int read_text(const char *text)
{
	int fd = memfd_create("config", MFD_CLOEXEC), r;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config_default(&config);
	error[0] = 0;
	r = config_read(&config, path, error, sizeof(error));
	close(fd);
	return r;
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(read_text(""), 0);
	assert_int_equal(config.roots.count, 5);
	assert_string_equal(config.roots.paths[0], "/usr");
	assert_string_equal(config.roots.paths[4], "/var/lib");
	assert_int_equal(config.excludes.count, 0);
	assert_true(config.has_kernel && config.has_programs && config.has_files);
	assert_int_equal(config.interval_seconds, 60);
	assert_int_equal(config.cpu_permille, 1);
	assert_int_equal(config.held_pages, 256);
	assert_int_equal(config.hold_seconds, 10);
}

static void test_good(void **state)
{
	(void)state;
	assert_int_equal(read_text("# one\n ; two\n\nroot = /srv/\nroot=/\nexclude = /a b\n kernel\t=  no \r\n"
				   "programs = yes\nheld_size = 1536k\nhold_seconds = 600\ncpu_permille=1000\n"
				   "interval_seconds = 1"),
			 0);
	assert_int_equal(config.roots.count, 2);
	assert_string_equal(config.roots.paths[0], "/srv");
	assert_string_equal(config.roots.paths[1], "/");
	assert_int_equal(config.excludes.count, 1);
	assert_string_equal(config.excludes.paths[0], "/a b");
	assert_false(config.has_kernel);
	assert_true(config.has_programs);
	assert_int_equal(config.held_pages, 384);
	assert_int_equal(config.hold_seconds, 600);
	assert_int_equal(config.cpu_permille, 1000);
	assert_int_equal(config.interval_seconds, 1);
	assert_int_equal(read_text("held_size = 33554432\n"), 0);
	assert_int_equal(config.held_pages, 8192);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *said;
	} cases[] = {
		{ "\ninterval_seconds = 0\n", ":2: interval_seconds = \"0\": should be a number from 1 to 86400" },
		{ "interval_seconds = 86401\n", "should be a number from 1 to 86400" },
		{ "cpu_permille = 1 %\n", "cpu_permille = \"1 %\": should be a number from 1 to 1000" },
		{ "cpu_permille = -1\n", "\"-1\"" },
		{ "hold_seconds = 99999999999999999999\n", "should be a number from 1 to 600" },
		{ "held_size = 1023K\n", "held_size = \"1023K\": should be a size from 1M to 32M" },
		{ "held_size = 33M\n", "should be a size from 1M to 32M" },
		{ "held_size = 18446744073709551615M\n", "should be a size from 1M to 32M" },
		{ "held_size = 2G\n", "should be a size" },
		{ "held_size = 2MB\n", "should be a size" },
		{ "kernel = maybe\n", "kernel = \"maybe\": should be yes or no" },
		{ "root = usr\n", "root = \"usr\": should be an absolute path" },
		{ "root =\n", "root = \"\": should be an absolute path" },
		{ "roots = /usr\n", ":1: there is no setting \"roots\"" },
		{ "[agent]\n", "\"[agent]\": not of the form" },
		{ "= 1\n", "not of the form" },
		{ "kernel\n", "\"kernel\": not of the form" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(read_text(cases[i].text), -EINVAL);
		if (strstr(error, cases[i].said) == NULL)
			fail_msg("%s does not say %s", error, cases[i].said);
		assert_null(strchr(error, '\n'));
	}
}

/* Lists and lines at their limits, and beyond. */
static void test_limits(void **state)
{
	char text[16384] = "", line[1024];

	(void)state;
	for (int i = 0; i < CONFIG_PATHS_MAX; i++)
		strcat(text, "root = /a\n");
	assert_int_equal(read_text(text), 0);
	assert_int_equal(config.roots.count, CONFIG_PATHS_MAX);
	strcat(text, "root = /a\n");
	assert_int_equal(read_text(text), -EINVAL);
	assert_non_null(strstr(error, ":33: "));

	memset(line, 'x', sizeof(line));
	memcpy(line, "root = /", 8);
	line[7 + CONFIG_PATH_BYTES_MAX - 1] = 0;
	assert_int_equal(read_text(line), 0);
	assert_int_equal(strlen(config.roots.paths[0]), CONFIG_PATH_BYTES_MAX - 1);
	strcat(line, "x");
	assert_int_equal(read_text(line), -EINVAL);

	memset(line, '#', sizeof(line));
	strcpy(line + 510, "\n");
	assert_int_equal(read_text(line), 0);
	strcpy(line + 510, "#");
	assert_int_equal(read_text(line), -EINVAL);
	assert_non_null(strstr(error, ":1: longer than 510 bytes"));
}

static void test_unreadable(void **state)
{
	(void)state;
	assert_int_equal(config_read(&config, "/proc/self/no/such/file", error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/proc/self/no/such/file: No such file"));
	assert_int_equal(config_read(&config, "/proc/self", error, sizeof(error)), -EISDIR);
	assert_non_null(strstr(error, "/proc/self: Is a directory"));
}

static void test_paths(void **state)
{
	(void)state;
	assert_int_equal(read_text("exclude = /a/b\n"), 0);
	assert_true(config_has_path(&config.excludes, "/a/b"));
	assert_true(config_has_path(&config.excludes, "/a/b/c"));
	assert_false(config_has_path(&config.excludes, "/a/bc"));
	assert_false(config_has_path(&config.excludes, "/a"));
	assert_int_equal(read_text("exclude = /\n"), 0);
	assert_true(config_has_path(&config.excludes, "/a"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
