/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/figures.h"

static void test_bytes(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{ "MemTotal: 3 kB\nMemAvailable:  2 kB\n", 0, 2048 },
		{ "MemAvailable: 2 kB", 0, 2048 },
		{ "MemTotal: 3 kB\n", -ENOENT, 0 },
		{ "", -ENOENT, 0 },
		{ "MemAvailableToo: 2 kB\n", -ENOENT, 0 },
		{ " MemAvailable: 2 kB\n", -ENOENT, 0 },
		{ "MemAvailable: 2\n", -EINVAL, 0 },
		{ "MemAvailable: 2 MB\n", -EINVAL, 0 },
		{ "MemAvailable: 2 kBs\n", -EINVAL, 0 },
		{ "MemAvailable: -2 kB\n", -EINVAL, 0 },
		{ "MemAvailable: kB\n", -EINVAL, 0 },
		{ "MemAvailable: 0x10 kB\n", -EINVAL, 0 },
		{ "MemAvailable: 99999999999999999999999 kB\n", -EINVAL, 0 },
		{ "MemAvailable: 18446744073709551615 kB\n", -EINVAL, 0 }, /* more bytes than can be told */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		uint64_t value = 0;

		assert_int_equal(figures_bytes(cases[i].text, "MemAvailable", &value), cases[i].result);
		assert_int_equal(value, cases[i].value);
	}
}

static void test_numbers(void **state)
{
	static const char *const bad[] = { "", "\n", "max 1\n", "maximum\n", "-1\n", "1 2\n", "1k\n",
					   "99999999999999999999\n" };
	uint64_t value;

	(void)state;
	assert_int_equal(figures_number("max\n", &value), 0);
	assert_int_equal(value, UINT64_MAX);
	assert_int_equal(figures_number("4096\n", &value), 0);
	assert_int_equal(value, 4096);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(figures_number(bad[i], &value), -EINVAL);
	assert_int_equal(figures_count("inactive_file 7\nactive_file 5\n", "active_file", &value), 0);
	assert_int_equal(value, 5);
	assert_int_equal(figures_count("inactive_file 7\n", "active_file", &value), -ENOENT);
	assert_int_equal(figures_count("active_file x\n", "active_file", &value), -EINVAL);
	assert_int_equal(figures_count("Seccomp:\t2\n", "Seccomp", &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(figures_count("Seccomp_filters:\t2\n", "Seccomp", &value), -ENOENT);
}

/* As /proc/PID/status has them, behind a line that is longer than any buffer. */
static void test_file(void **state)
{
	struct figure figures[] = { { .key = "VmSize" },
				    { .key = "Seccomp" },
				    { .key = "RssAnon" },
				    { .key = "Nothing", .value = 5 } };
	FILE *file = tmpfile();

	(void)state;
	assert_non_null(file);
	fputs("Name:\tVmSize: 1 kB\nGroups:\t", file);
	for (unsigned i = 0; i < 10000; i++)
		fprintf(file, "%u ", 4294900000u + i);
	fputs("\nVmSize:\t    8192 kB\nRssAnon:\t   x kB\nSeccomp:\t2\nSeccomp_filters:\t3\n", file);
	rewind(file);
	figures_read(file, figures, 4);
	assert_true(figures[0].found);
	assert_int_equal(figures[0].value, 8192 * 1024);
	assert_true(figures[1].found);
	assert_int_equal(figures[1].value, 2);
	assert_false(figures[2].found);
	assert_false(figures[3].found);
	assert_int_equal(figures[3].value, 5);

	figures[0] = (struct figure){ .key = "VmSize" };
	figures_read(NULL, figures, 1);
	assert_false(figures[0].found);
	assert_int_equal(figures[0].value, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
