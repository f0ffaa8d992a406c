/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/format.h"

static void test_bytes(void **state)
{
	static const struct {
		int64_t bytes;
		const char *text;
	} cases[] = {
		{ 0, "0" },
		{ 1, "1" },
		{ 1023, "1023" },
		{ 1024, "1K" },
		{ 1536, "1.50K" },
		{ 10 * 1024 + 512, "10.5K" },
		{ 512 << 20, "512M" },
		{ (512 << 20) + 400000, "512M" },
		{ (INT64_C(1) << 30) - 1, "1.00G" },
		{ INT64_C(5) << 28, "1.25G" },
		{ INT64_C(24) << 30, "24G" },
		{ -4096, "-4K" },
		{ INT64_MAX, "8E" },
		{ INT64_MIN, "-8E" },
	};
	struct format_buffer buffer;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(format_bytes(&buffer, cases[i].bytes), cases[i].text);
	assert_string_equal(format_pages(&buffer, 12), "48K");
	assert_string_equal(format_size(&buffer, 0), "0 B");
	assert_string_equal(format_size(&buffer, 1023), "1023 B");
	assert_string_equal(format_size(&buffer, 1536), "1.50 KiB");
	assert_string_equal(format_size(&buffer, INT64_C(5) << 28), "1.25 GiB");
	assert_string_equal(format_size(&buffer, -4096), "-4 KiB");
	assert_string_equal(format_size(&buffer, INT64_MIN), "-8 EiB");
}

static void test_seconds(void **state)
{
	struct format_buffer buffer;

	(void)state;
	assert_string_equal(format_seconds(&buffer, 0), "0s");
	assert_string_equal(format_seconds(&buffer, 59), "59s");
	assert_string_equal(format_seconds(&buffer, 200), "3m20s");
	assert_string_equal(format_seconds(&buffer, 3600), "1h00m");
	assert_string_equal(format_seconds(&buffer, 86400 * 12 + 3 * 3600 + 59), "12d03h");
	assert_string_equal(format_seconds(&buffer, UINT64_MAX), "213503982334601d07h");
}

static void test_usec(void **state)
{
	struct format_buffer buffer;

	(void)state;
	assert_string_equal(format_usec(&buffer, 0), "0us");
	assert_string_equal(format_usec(&buffer, 850), "850us");
	assert_string_equal(format_usec(&buffer, 12345), "12.3ms");
	assert_string_equal(format_usec(&buffer, 1400001), "1.40s");
}

static void test_mb(void **state)
{
	(void)state;
	assert_int_equal(pages_to_mb(127), 0);
	assert_int_equal(pages_to_mb(128), 1);
	assert_int_equal(pages_to_mb(256), 1);
	assert_int_equal(pages_to_mb(-256), -1);
	assert_int_equal(bytes_to_mb((3 << 20) - 1), 3);
}

static void test_plain(void **state)
{
	char plain[12];

	(void)state;
	assert_string_equal(format_plain(plain, sizeof(plain), "a b\\y~"), "a b\\y~");
	assert_string_equal(format_plain(plain, sizeof(plain), "\x1b\xc3\x7f"), "\\x1b\\xc3"); /* a third has no room */
	assert_string_equal(format_plain(plain, sizeof(plain), "\\x1b"), "\\x5cx1b");
	assert_string_equal(format_plain(plain, sizeof(plain), "0123456789abc"), "0123456789a");
	assert_string_equal(format_plain(plain, 1, "\n"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_usec),
		cmocka_unit_test(test_mb),
		cmocka_unit_test(test_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
