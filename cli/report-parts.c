/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/report-parts.h"

#include <stdint.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/html.h"
#include "common/page.h"
#include "protocol/metrics.h"

#define BYTES_MAX (INT64_C(1) << 56) /* so that sums of some have room */

static int64_t cut(int64_t bytes)
{
	return bytes > BYTES_MAX ? BYTES_MAX : bytes < -BYTES_MAX ? -BYTES_MAX
								  : bytes;
}

int64_t report_add(int64_t sum, int64_t bytes)
{
	return cut(cut(sum) + cut(bytes));
}

int64_t report_count(const json_t *object, const char *key)
{
	int64_t count = field_integer(object, key);

	return count < 0 ? 0 : count < METRIC_VALUE_MAX ? count
							: METRIC_VALUE_MAX;
}

int64_t report_bytes(const json_t *object, const char *key)
{
	return cut(field_integer(object, key));
}

int64_t report_pages(const json_t *object, const char *key)
{
	int64_t pages = field_integer(object, key), most = BYTES_MAX / PAGE_BYTES;

	return (pages > most ? most : pages < -most ? -most
						    : pages) *
	       (int64_t)PAGE_BYTES;
}

void report_begin_table(FILE *out, const char *caption, const struct report_column *columns, size_t count)
{
	html_printf(out, "<div class=\"wide\"><table>\n<caption>%s</caption>\n<thead><tr>", caption);
	for (size_t i = 0; i < count; i++) {
		fputs("<th scope=\"col\"", out);
		if (columns[i].class)
			html_printf(out, " class=\"%s\"", columns[i].class);
		html_printf(out, ">%s</th>", columns[i].title);
	}
	fputs("</tr></thead>\n<tbody>\n", out);
}

void report_end_table(FILE *out)
{
	fputs("</tbody>\n</table></div>\n", out);
}

void report_size_cell(FILE *out, int64_t bytes)
{
	struct format_buffer buffer;

	html_printf(out, "<td class=\"n\">%s</td>", format_size(&buffer, bytes));
}
