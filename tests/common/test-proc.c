/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "common/proc.h"

static void test_open_and_find(void **state)
{
	FILE *file = proc_open("", getpid(), "maps");

	(void)state;
	assert_non_null(file);
	assert_false(proc_find(file, "", "no mapping has this name"));
	rewind(file);
	assert_true(proc_find(file, "", "[stack]"));
	fclose(file);
	assert_null(proc_open("/no/such/root", getpid(), "maps"));
	assert_int_equal(errno, ENOENT);
}

static void test_long_root(void **state)
{
	char root[PATH_MAX];

	(void)state;
	memset(root, 'x', sizeof(root) - 1);
	root[sizeof(root) - 1] = 0;
	assert_null(proc_open(root, 1, "maps"));
	assert_int_equal(errno, ENAMETOOLONG);
}

/* What else there is in /proc is no process. */
static void test_next(void **state)
{
	DIR *proc = opendir("/proc");
	unsigned own = 0;
	pid_t pid;

	(void)state;
	assert_non_null(proc);
	while ((pid = proc_next(proc)) != 0) {
		assert_true(pid > 0);
		own += pid == getpid();
	}
	assert_int_equal(own, 1);
	assert_int_equal(proc_next(proc), 0);
	closedir(proc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_and_find),
		cmocka_unit_test(test_long_root),
		cmocka_unit_test(test_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
