/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What may be in names and must not become markup, or hide, or turn what stands beside it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/html.h"
#include "cli/utf8.h"

static void check_text(const char *text, const char *expected)
{
	char *written = NULL;
	size_t size;
	FILE *stream = open_memstream(&written, &size);

	assert_non_null(stream);
	html_text(stream, text);
	assert_int_equal(fclose(stream), 0);
	assert_string_equal(written, expected);
	free(written);
}

static void test_text(void **state)
{
	static const struct {
		const char *text, *written;
	} cases[] = {
		{ "", "" },
		{ "web1", "web1" },
		{ "<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;" },
		{ "\" onload='x' a=\"", "&quot; onload=&#39;x&#39; a=&quot;" },
		{ "&lt;&#60;", "&amp;lt;&amp;#60;" },
		{ "]]><!--", "]]&gt;&lt;!--" },
		{ "h\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x90\xa7", "h\xc3\xa9 \xe6\xbc\xa2 \xf0\x9f\x90\xa7" },
		{ "a\tb\n\x1b[1m\x7f", "a\\u0009b\\u000a\\u001b[1m\\u007f" },
		{ "\xc2\x85\xc2\xad", "\\u0085\\u00ad" }, /* next line, soft hyphen */
		{ "a\xe2\x80\xae"
		  "b\xe2\x81\xa6\xe2\x80\x8f",
		  "a\\u202eb\\u2066\\u200f" },                                       /* overrides, isolates, marks */
		{ "\xe2\x80\xa8\xe2\x80\x8b\xef\xbb\xbf", "\\u2028\\u200b\\ufeff" }, /* a line's end, nothing, BOM */
		{ "\xef\xbf\xbf\xf0\x9f\xbf\xbe", "\\uffff\\u1fffe" },               /* no characters */
		{ "\xf3\xa0\x80\xbc", "\\ue003c" },                                  /* a tag's "<" */
		{ "\xff<", "\\xff&lt;" },
		{ "\xc0\xbcscript>", "\\xc0\\xbcscript&gt;" }, /* "<" in two bytes */
		{ "\xe0\x80\xbc", "\\xe0\\x80\\xbc" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" }, /* half a pair */
		{ "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" },
		{ "\xe2\x80", "\\xe2\\x80" },         /* cut */
		{ "\xf0\x9f\"", "\\xf0\\x9f&quot;" }, /* cut by a quote */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		check_text(cases[i].text, cases[i].written);
}

static void test_formats(void **state)
{
	char *written = NULL;
	size_t size;
	FILE *stream = open_memstream(&written, &size);

	(void)state;
	assert_non_null(stream);
	html_printf(stream, "<a b=\"%s\">%s</a> %d %u %zu %ld %.1f "
			    "%.3f%%",
		    "\"<", "&", -7, 8U, (size_t)9, -10L, 1.25, 2.0);
	assert_int_equal(fclose(stream), 0);
	assert_string_equal(written, "<a b=\"&quot;&lt;\">&amp;</a> -7 8 9 -10 1.2 2.000%");
	free(written);
}

static void test_clean(void **state)
{
	static const struct {
		const char *text, *clean;
	} cases[] = {
		{ "", "" },
		{ "h\xc3\xa9<", "h\xc3\xa9<" },
		{ "\xff\xc3", "\\xff\\xc3" },
		{ "a\xe2\x80z", "a\\xe2\\x80z" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *clean = utf8_clean(cases[i].text);

		assert_non_null(clean);
		assert_string_equal(clean, cases[i].clean);
		free(clean);
	}
}

/* All sequences of up to three bytes: what is written is UTF-8 without any control or markup. */
static void test_all(void **state)
{
	(void)state;
	for (uint32_t bytes = 1; bytes < 1U << 24; bytes += bytes < 1U << 16 ? 1 : 251) {
		char text[4] = { (char)bytes, (char)(bytes >> 8), (char)(bytes >> 16), 0 }, written[64] = "";
		FILE *stream = fmemopen(written, sizeof(written), "w");
		uint32_t character;
		size_t length;

		assert_non_null(stream);
		html_text(stream, text);
		assert_int_equal(fclose(stream), 0);
		assert_null(strpbrk(written, "<>\"'"));
		for (const char *c = written; *c; c += length) {
			length = utf8_next(c, &character);
			assert_true(length > 0 && character >= 0x20 && character != 0x7f);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_clean),
		cmocka_unit_test(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
