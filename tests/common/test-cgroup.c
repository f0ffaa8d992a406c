/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which control group a process is in, as /proc has it, also where a user has chosen the names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cgroup.h"

static char root[128], folder[160], file[192];
static char path[1024];

static int make_root(void **state)
{
	const char *temporary = getenv("TMPDIR");

	(void)state;
	snprintf(root, sizeof(root), "%s/pagefuse-cgroup-XXXXXX", temporary ? temporary : "/tmp");
	if (mkdtemp(root) == NULL)
		return -1;
	snprintf(folder, sizeof(folder), "%s/proc", root);
	if (mkdir(folder, 0700) < 0)
		return -1;
	snprintf(folder, sizeof(folder), "%s/proc/7", root);
	snprintf(file, sizeof(file), "%s/cgroup", folder);
	return mkdir(folder, 0700);
}

static int remove_root(void **state)
{
	(void)state;
	unlink(file);
	rmdir(folder);
	snprintf(folder, sizeof(folder), "%s/proc", root);
	rmdir(folder);
	return rmdir(root);
}

/* @before: of that many letters is the path whose end is @end. */
static void look(const char *line, size_t before, const char *end)
{
	FILE *stream = fopen(file, "we");

	assert_non_null(stream);
	fprintf(stream, "%s", line);
	for (size_t i = 0; i < before; i++)
		fputc('a', stream);
	fprintf(stream, "%s\n", end);
	fclose(stream);
	cgroup_path(root, 7, path, sizeof(path));
}

static void test_path(void **state)
{
	(void)state;
	look("12:memory:/other\n0::", 0, "/machine.slice/vm");
	assert_string_equal(path, "/machine.slice/vm");
	look("0::", 0, "/");
	assert_string_equal(path, "/");
	look("1:name=systemd:", 0, "/machine.slice/vm");
	assert_string_equal(path, "");
	cgroup_path(root, 8, path, sizeof(path));
	assert_string_equal(path, "");
}

/* Wherever a buffer might end, what follows is no line. */
static void test_long_names(void **state)
{
	static const char *const lines[] = { "0::/user/", "1:name=systemd:/user/" };

	(void)state;
	for (size_t length = 900; length < 4200; length++)
		for (size_t i = 0; i < 2; i++) {
			look(lines[i], length, "0::/vms/a");
			if (path[0] != 0) /* there was room for all of it */
				assert_memory_equal(path, "/user/a", 7);
		}
	look("0::/", sizeof(path) - 2, "");
	assert_int_equal(strlen(path), sizeof(path) - 1);
	look("0::/", sizeof(path) - 1, "");
	assert_string_equal(path, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_long_names),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
