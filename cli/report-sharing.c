/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What VMs have in common, which files it is, and what keeps them from having more. */
#include <stdlib.h>
#include <string.h>

#include "cli/chart.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/html.h"
#include "cli/report-parts.h"

#define MATRIX_VMS 50
#define PAIRS_SHOWN 15
#define MODULES_SHOWN 25

/* ---- pairs ---- */

static const char *name_of(const json_t *pair, size_t i)
{
	const char *name = json_string_value(json_array_get(json_object_get(pair, "names"), i));

	return name ? name : "";
}

/* Place of @name among those of the matrix, where it is put if there is room; MATRIX_VMS: none. */
static size_t place_of(struct chart_matrix *matrix, const char **names, const char *name, bool add)
{
	for (size_t i = 0; i < matrix->count; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	if (!add || matrix->count == MATRIX_VMS)
		return MATRIX_VMS;
	names[matrix->count] = name;
	return matrix->count++;
}

static int by_name(const void *left, const void *right)
{
	return strverscmp(*(const char *const *)left, *(const char *const *)right);
}

static void tell_cell(FILE *out, size_t row, size_t column, void *user)
{
	const struct chart_matrix *matrix = user;
	double value = matrix->values[row * matrix->count + column];
	struct format_buffer buffer;

	html_printf(out, "%s, %s: %s", matrix->names[row], matrix->names[column],
		    value < 0 ? "less than those that are told" : format_size(&buffer, (int64_t)value));
}

/* VMs of those pairs that have most, by their names: VMs that belong together have similar ones. */
static void put_matrix(FILE *out, const json_t *pairs, int64_t left_out)
{
	static double values[MATRIX_VMS * MATRIX_VMS];
	const char *names[MATRIX_VMS];
	struct chart_matrix matrix = { .names = names, .values = values, .tell = tell_cell, .user = &matrix };
	struct format_buffer most;
	const json_t *pair;
	size_t i;

	json_array_foreach(pairs, i, pair)
		for (size_t k = 0; k < 2; k++)
			place_of(&matrix, names, name_of(pair, k), true);
	if (matrix.count < 2)
		return;
	qsort(names, matrix.count, sizeof(*names), by_name);
	for (i = 0; i < matrix.count * matrix.count; i++)
		values[i] = left_out > 0 ? -1 : 0;
	json_array_foreach(pairs, i, pair) {
		size_t a = place_of(&matrix, names, name_of(pair, 0), false);
		size_t b = place_of(&matrix, names, name_of(pair, 1), false);
		double bytes = (double)report_pages(pair, "common_pages");

		if (a == MATRIX_VMS || b == MATRIX_VMS)
			continue;
		values[a * matrix.count + b] = values[b * matrix.count + a] = bytes;
		matrix.most = bytes > matrix.most ? bytes : matrix.most;
	}
	fputs("<div class=\"wide\">", out);
	chart_matrix(out, "What each two VMs have in common",
		     "A cell for each two VMs, at the left of the lower one's name and below the upper one's; the "
		     "darker, the more they have in common.",
		     &matrix);
	html_printf(out,
		    "</div>\n<p class=\"legend\"><span class=\"key ramp\"></span> nothing to %s in common. A VM's "
		    "cells are those at the left of its name, and those below it.</p>\n",
		    format_size(&most, (int64_t)matrix.most));
}

static void put_pair(FILE *out, const json_t *pair, int64_t most)
{
	int64_t common = report_pages(pair, "common_pages"), shared = report_pages(pair, "shared_pages");
	const struct chart_part parts[] = { { "shared", (double)shared },
					    { "own", (double)(common > shared ? common - shared : 0) } };
	char title[REPORT_TITLE_SIZE];
	struct format_buffer a, b;

	html_printf(out, "<tr><th scope=\"row\"><bdi>%s</bdi></th><td><bdi>%s</bdi></td><td class=\"chart\">",
		    name_of(pair, 0), name_of(pair, 1));
	snprintf(title, sizeof(title), "%s in common, %s of it shared", format_size(&a, common),
		 format_size(&b, shared));
	chart_bar(out, title, "How much the two VMs have in common, and how much of it is shared.",
		  parts, 2, (double)most);
	fputs("</td>", out);
	report_size_cell(out, common);
	report_size_cell(out, shared);
	fputs("</tr>\n", out);
}

void report_pairs(FILE *out, const json_t *document)
{
	static const struct report_column columns[] = {
		{ "VM", NULL },
		{ "and", NULL },
		{ "Shared, of what is common", "chart" },
		{ "Common", "n" },
		{ "Shared", "n" },
	};
	const json_t *estimate = json_object_get(document, "estimate"), *pairs = json_object_get(estimate, "pairs");
	int64_t left_out = report_count(estimate, "pairs_left_out"), most = 0;
	size_t count = json_array_size(pairs);

	fputs("<section id=\"pairs\">\n<h2>By pair of VMs</h2>\n", out);
	if (count == 0) {
		fputs("<p class=\"note\">No two VMs are known to have anything in common. <code>pagefuse estimate "
		      "--look</code> looks at all of their memory.</p>\n</section>\n",
		      out);
		return;
	}
	fputs("<p>Contents, not zeros, that two VMs both have: on one host one copy of each does.</p>\n", out);
	put_matrix(out, pairs, left_out);
	report_begin_table(out, "Those with the most in common", REPORT_COLUMNS(columns));
	for (size_t i = 0; i < count && i < PAIRS_SHOWN; i++) {
		const json_t *pair = json_array_get(pairs, i);

		most = report_pages(pair, "common_pages") > most ? report_pages(pair, "common_pages") : most;
		put_pair(out, pair, most);
	}
	report_end_table(out);
	if (count > PAIRS_SHOWN || left_out > 0)
		html_printf(out, "<p class=\"note\">%ld more pairs have less in common.</p>\n",
			    (long)(left_out + (count > PAIRS_SHOWN ? (int64_t)count - PAIRS_SHOWN : 0)));
	fputs("</section>\n", out);
}

/* ---- modules ---- */

static void put_module(FILE *out, const json_t *module, int64_t most)
{
	int64_t saved = report_pages(module, "saved_pages");
	const struct chart_part part = { "saved", (double)saved };
	char title[REPORT_TITLE_SIZE];
	struct format_buffer buffer;

	html_printf(out, "<tr><th scope=\"row\" class=\"what\"><bdi>%s</bdi></th><td>%s</td><td class=\"chart\">",
		    field_text(module, "label"), field_text(module, "kind"));
	snprintf(title, sizeof(title), "%s saved", format_size(&buffer, saved));
	chart_bar(out, title, "What sharing this saves, against what saves most.", &part, 1, (double)most);
	fputs("</td>", out);
	report_size_cell(out, saved);
	report_size_cell(out, report_pages(module, "shared_pages"));
	report_size_cell(out, report_pages(module, "pages"));
	html_printf(out, "<td class=\"n\">%ld</td></tr>\n", (long)report_count(module, "vms"));
}

static void put_modules(FILE *out, const json_t *list, int64_t left, int64_t left_bytes)
{
	static const struct report_column columns[] = {
		{ "What", NULL },
		{ "Kind", NULL },
		{ "Saved", "chart" },
		{ "Saved", "n" },
		{ "Shared", "n" },
		{ "Named", "n" },
		{ "VMs", "n" },
	};
	int64_t most = report_pages(json_array_get(list, 0), "saved_pages");
	struct format_buffer buffer;

	report_begin_table(out, "Those that save most first", REPORT_COLUMNS(columns));
	for (size_t i = 0; i < json_array_size(list) && i < MODULES_SHOWN; i++)
		put_module(out, json_array_get(list, i), most);
	report_end_table(out);
	if (left > 0)
		html_printf(out, "<p class=\"note\">%ld more save %s; <code>pagefuse modules --all</code> shows "
				 "them.</p>\n",
			    (long)left, format_size(&buffer, left_bytes));
}

void report_modules(FILE *out, const json_t *document)
{
	const json_t *modules = json_object_get(document, "modules"), *list = json_object_get(modules, "modules");
	const json_t *named = json_object_get(modules, "named");
	int64_t shown = (int64_t)json_array_size(list), left_bytes;
	struct format_buffer some, all;

	fputs("<section id=\"modules\">\n<h2>What is fused</h2>\n", out);
	if (shown == 0) {
		fputs("<p class=\"note\">Nobody names pages: no VM here has read a disk image into its memory, or "
		      "has an agent; pagefuse-agent(8) tells how to install it in a guest.</p>\n</section>\n",
		      out);
		return;
	}
	html_printf(out,
		    "<p>%s of the %s that are shared have a name: %ld of %ld VMs have an agent that names pages, "
		    "and %ld have read disk images. Names are what guests and VMMs say.</p>\n",
		    format_size(&some, report_pages(named, "shared_pages")),
		    format_size(&all, report_pages(modules, "shared_pages")),
		    (long)report_count(modules, "vms_with_agent"), (long)report_count(modules, "vms"),
		    (long)report_count(modules, "vms_with_images"));
	left_bytes = report_pages(json_object_get(modules, "rest"), "saved_pages");
	for (size_t i = MODULES_SHOWN; i < json_array_size(list); i++)
		left_bytes = report_add(left_bytes, report_pages(json_array_get(list, i), "saved_pages"));
	shown = shown < MODULES_SHOWN ? shown : MODULES_SHOWN;
	put_modules(out, list, report_count(modules, "modules_count") - shown, left_bytes);
	fputs("</section>\n", out);
}

/* ---- what keeps memory from being shared ---- */

static void put_finding(FILE *out, const json_t *finding)
{
	const char *severity = field_text(finding, "severity"), *vm = field_text(finding, "vm");
	const char *class = strcmp(severity, "error") == 0 ? "bad" : strcmp(severity, "warning") == 0 ? "fair"
												      : "plain";

	html_printf(out, "<tr><td><span class=\"badge %s\">%s</span></td>", class, severity);
	if (*vm)
		html_printf(out, "<th scope=\"row\"><bdi>%s</bdi></th>", vm);
	else
		fputs("<th scope=\"row\" class=\"host\">the host</th>", out);
	html_printf(out, "<td class=\"text\">%s</td><td class=\"text\">%s</td></tr>\n", field_text(finding, "text"),
		    field_text(finding, "remedy"));
}

void report_findings(FILE *out, const json_t *document)
{
	static const struct report_column columns[] = {
		{ "How bad", NULL },
		{ "Where", NULL },
		{ "What", NULL },
		{ "What to do", NULL },
	};
	static const char *const severities[] = { "error", "warning", "note" };
	const json_t *findings = json_object_get(json_object_get(document, "doctor"), "findings"), *finding;
	size_t i;

	fputs("<section id=\"why\">\n<h2>Why VMs share less than they could</h2>\n", out);
	if (json_array_size(findings) == 0) {
		fputs("<p class=\"note\">Nothing was found that keeps memory from being shared.</p>\n</section>\n",
		      out);
		return;
	}
	report_begin_table(out, "What pagefuse doctor has found, what matters most first", REPORT_COLUMNS(columns));
	for (size_t severity = 0; severity < 3; severity++)
		json_array_foreach(findings, i, finding)
			if (strcmp(field_text(finding, "severity"), severities[severity]) == 0)
				put_finding(out, finding);
	report_end_table(out);
	fputs("</section>\n", out);
}
