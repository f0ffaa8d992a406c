/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Charts stay inside their frames, whatever the figures are, and have what a screen reader needs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/chart.h"

static char *written;
static size_t size;
static FILE *stream;

static void begin(void)
{
	stream = open_memstream(&written, &size);
	assert_non_null(stream);
}

static void end(void)
{
	assert_int_equal(fclose(stream), 0);
	assert_non_null(strstr(written, "role=\"img\""));
	assert_non_null(strstr(written, "><title>T&lt;</title>"));
	assert_null(strstr(written, "nan"));
	assert_null(strstr(written, "inf"));
}

/* The numbers of all @attribute="…", added up. */
static double sum_of(const char *attribute, unsigned *ret_count)
{
	double sum = 0;

	*ret_count = 0;
	for (const char *at = written; (at = strstr(at, attribute)) != NULL; at += strlen(attribute)) {
		sum += strtod(at + strlen(attribute), NULL);
		(*ret_count)++;
	}
	return sum;
}

static void test_bar(void **state)
{
	static const struct {
		double values[3], total, percent;
		unsigned rects; /* besides the track */
	} cases[] = {
		{ { 1, 2, 1 }, 8, 50, 3 },
		{ { 1, 0, 3 }, 4, 100, 2 },
		{ { 3, 3, 3 }, 4, 100, 2 }, /* cut */
		{ { 0, 0, 0 }, 0, 0, 0 },
		{ { 5, -1, NAN }, 10, 50, 1 },
		{ { 1, 1, 1 }, -1, 0, 0 },
		{ { INFINITY, 1, 1 }, 1e18, 100, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct chart_part parts[] = { { "a", cases[i].values[0] },
						    { "b", cases[i].values[1] },
						    { "c", cases[i].values[2] } };
		unsigned rects;
		double percent;

		begin();
		chart_bar(stream, "T<", "D", parts, 3, cases[i].total);
		end();
		percent = sum_of("width=\"", &rects) - 200; /* its own, and the track's */
		assert_int_equal(rects, cases[i].rects + 2);
		assert_true(fabs(percent - cases[i].percent) < 0.01);
		assert_non_null(strstr(written, "<desc>D</desc>"));
		free(written);
	}
}

static void test_scale(void **state)
{
	const struct chart_part zones[] = { { "low", 10 }, { "clear", 5 }, { "above", 200 } };
	unsigned rects;

	(void)state;
	begin();
	chart_scale(stream, "T<", "D", zones, 3, 100, 1000);
	end();
	/* Its own, and the zones; one that ends before it begins is none. */
	assert_true(fabs(sum_of(" width=\"", &rects) - 200) < 0.01);
	assert_int_equal(rects, 3);
	assert_non_null(strstr(written, "x1=\"100.000%\"")); /* the mark stays inside */
	free(written);
}

/* @return how many. */
static unsigned check_points(void)
{
	unsigned count = 0;

	for (const char *at = written; (at = strstr(at, "points=\"")) != NULL;) {
		char *next = (char *)at + strlen("points=\"") - 1;

		while (*next == '"' || *next == ' ') {
			double x, y;

			if (*next == '"' && next[-1] != '=')
				break;
			x = strtod(next + 1, &next);
			assert_int_equal(*next, ',');
			y = strtod(next + 1, &next);
			assert_true(x >= 0 && x <= 960 && y >= 0 && y <= 260);
			count++;
		}
		at = next;
	}
	return count;
}

static void test_lines(void **state)
{
	static const int64_t nothing[2] = { 0, 0 }, some[3] = { 5 << 20, 3 << 20, 9 << 20 },
			     most[2] = { INT64_C(1) << 43, 1 };
	static const int64_t *const values[] = { nothing, some, most };
	static const size_t counts[] = { 2, 3, 2 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		const struct chart_line lines[] = { { "a", values[i], counts[i], 60 }, { "b", some, 3, 86400 } };

		for (size_t count = 1; count <= 2; count++) {
			begin();
			chart_lines(stream, "T<", "D", lines, count);
			end();
			assert_int_equal(check_points(), 2 * counts[i] + 2 + (count == 2 ? 3 : 0));
			assert_non_null(strstr(written, ">now</text>"));
			assert_non_null(strstr(written, count == 2 ? ">2d00h ago<" : i == 1 ? ">2m00s ago<"
											    : ">1m00s ago<"));
			free(written);
		}
		begin();
		chart_spark(stream, "T<", "D", &lines[0]);
		end();
		assert_int_equal(check_points(), counts[i]);
		free(written);
	}
}

static void test_ticks(void **state)
{
	static const int64_t values[2] = { 0, 5 << 20 };
	const struct chart_line line = { "a", values, 2, 60 };

	(void)state;
	begin();
	chart_lines(stream, "T<", "D", &line, 1);
	end();
	assert_non_null(strstr(written, ">0 B</text>"));
	assert_non_null(strstr(written, ">4 GiB</text>"));
	assert_non_null(strstr(written, ">5 GiB</text>"));
	assert_null(strstr(written, ">6 GiB</text>"));
	free(written);
}

static void tell(FILE *out, size_t row, size_t column, void *user)
{
	(void)user;
	fprintf(out, "%zu and %zu", row, column);
}

static void test_matrix(void **state)
{
	static const char *const names[] = { "a", "<b>", "c" };
	static const double values[9] = { 0, 4, -1, 4, 0, 0, -1, 0, 0 };
	const struct chart_matrix matrix = { .names = names, .values = values, .count = 3, .most = 4, .tell = tell };
	unsigned cells;

	(void)state;
	begin();
	chart_matrix(stream, "T<", "D", &matrix);
	end();
	sum_of("<rect", &cells);
	assert_int_equal(cells, 3);
	assert_non_null(strstr(written, "fill-opacity=\"1.00\"><title>1 and 0</title>"));
	assert_non_null(strstr(written, "class=\"unknown\""));
	assert_non_null(strstr(written, "fill-opacity=\"0.04\"><title>2 and 1</title>"));
	assert_non_null(strstr(written, ">&lt;b&gt;</text>"));
	free(written);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bar),
		cmocka_unit_test(test_scale),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_ticks),
		cmocka_unit_test(test_matrix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
