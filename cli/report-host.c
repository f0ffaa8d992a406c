/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The host: what it takes if guests write all that they share, and how short of memory it is. */
#include <string.h>

#include "cli/chart.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/html.h"
#include "cli/report-parts.h"

/* ---- exposure ---- */

static void put_bar(FILE *out, const char *name, const struct chart_part *parts, size_t count, int64_t bytes,
		    double total)
{
	char title[REPORT_TITLE_SIZE];
	struct format_buffer buffer;

	html_printf(out, "<tr><th scope=\"row\">%s</th><td class=\"chart\">", name);
	snprintf(title, sizeof(title), "%s: %s", name, format_size(&buffer, bytes));
	chart_bar(out, title, "Drawn to the scale of the bars around it.", parts, count, total);
	fputs("</td>", out);
	report_size_cell(out, bytes);
	fputs("</tr>\n", out);
}

static void put_exposure(FILE *out, const json_t *host, const json_t *memory)
{
	static const struct report_column columns[] = {
		{ "What", NULL },
		{ "To scale", "chart" },
		{ "Memory", "n" },
	};
	int64_t exposed = report_pages(host, "exposed_pages"), free_bytes = report_bytes(memory, "free_bytes");
	int64_t swap = report_bytes(memory, "swap_free_bytes"), limit = report_bytes(memory, "exposure_max_bytes");
	int64_t most = exposed > free_bytes + swap ? exposed : free_bytes + swap;
	const struct chart_part needed = { "exposed", (double)exposed }, most_allowed = { "limit", (double)limit };
	const struct chart_part there[] = { { "free", (double)free_bytes }, { "swap", (double)swap } };
	bool known = json_object_get(memory, "swap_free_bytes") != NULL;

	most = limit > most ? limit : most;
	report_begin_table(out, "What would be needed, and what is there", REPORT_COLUMNS(columns));
	put_bar(out, "Needed if every shared page were written", &needed, 1, exposed, (double)most);
	if (known)
		put_bar(out, "Free memory and free swap", there, 2, free_bytes + swap, (double)most);
	if (json_object_get(memory, "exposure_max_bytes"))
		put_bar(out, "Limit (exposure_max)", &most_allowed, 1, limit, (double)most);
	report_end_table(out);
	if (known)
		fputs("<p class=\"legend\"><span class=\"key exposed\"></span> needed <span class=\"key free\">"
		      "</span> free memory <span class=\"key swap\"></span> free swap</p>\n",
		      out);
}

void report_exposure(FILE *out, const json_t *document)
{
	const json_t *status = json_object_get(document, "status"), *host = json_object_get(status, "host");
	const json_t *memory = json_object_get(status, "memory");
	int64_t uncovered = report_bytes(host, "uncovered_bytes"), held = report_count(host, "exposure_held_vms");
	struct format_buffer buffer;

	fputs("<section id=\"exposure\">\n<h2>If guests wrote all that they share</h2>\n", out);
	if (uncovered > 0)
		html_printf(out,
			    "<p class=\"bad\">%s of it is not covered: the host would swap, or kill. Leave more "
			    "memory or swap free; [memory] exposure_max in pagefused.conf(5) sets a limit.</p>\n",
			    format_size(&buffer, uncovered));
	else if (json_object_get(memory, "swap_free_bytes"))
		fputs("<p>It is covered: memory and swap have as much free.</p>\n", out);
	else
		fputs("<p>Whether it is covered nobody can tell, as there are no figures of what is free.</p>\n", out);
	if (held > 0)
		html_printf(out, "<p class=\"bad\">Nothing new is shared of %ld of the VMs, as they have their "
				 "share of exposure_max.</p>\n",
			    (long)held);
	put_exposure(out, host, memory);
	fputs("</section>\n", out);
}

/* ---- how short of memory it is ---- */

static const char *const states[] = { "high", "clear", "soft", "hard", "low" };
#define STATES (sizeof(states) / sizeof(states[0]))

static void put_scale(FILE *out, const json_t *memory, const json_t *thresholds)
{
	int64_t free_bytes = report_bytes(memory, "free_bytes"), high = report_bytes(thresholds, "high");
	int64_t end = high + high / 4 > free_bytes ? high + high / 4 : free_bytes + free_bytes / 16;
	struct chart_part zones[STATES + 1];
	char title[REPORT_TITLE_SIZE];
	struct format_buffer a, b;

	/* From empty upwards; the last one is above all thresholds. */
	for (size_t i = 0; i < STATES; i++)
		zones[i] = (struct chart_part){ .class = states[STATES - 1 - i],
						.value = (double)report_bytes(thresholds, states[STATES - 1 - i]) };
	zones[STATES] = (struct chart_part){ .class = "above", .value = (double)end };
	snprintf(title, sizeof(title), "%s of %s are free: state %s", format_size(&a, free_bytes),
		 format_size(&b, report_bytes(memory, "total_bytes")), field_text(memory, "state"));
	chart_scale(out, title, "Free memory from none at the left; zones end at the thresholds low, hard, soft, "
				"clear and high.",
		    zones, STATES + 1, (double)end, (double)free_bytes);
}

static void put_thresholds(FILE *out, const json_t *memory, const json_t *thresholds)
{
	static const struct report_column columns[] = {
		{ "State", NULL },
		{ "Begins", NULL },
		{ "Free memory", "n" },
	};

	report_begin_table(out, "Where states begin, by free memory", REPORT_COLUMNS(columns));
	for (size_t i = 0; i < STATES; i++) {
		fputs(strcmp(states[i], field_text(memory, "state")) == 0 ? "<tr class=\"now\">" : "<tr>", out);
		html_printf(out, "<th scope=\"row\"><span class=\"key %s\"></span> %s</th><td>%s</td>",
			    states[i], states[i],
			    i == 0 ? "above" : "below");
		report_size_cell(out, report_bytes(thresholds, states[i]));
		fputs("</tr>\n", out);
	}
	report_end_table(out);
}

void report_memory(FILE *out, const json_t *document)
{
	const json_t *memory = json_object_get(json_object_get(document, "status"), "memory");
	const json_t *thresholds = json_object_get(memory, "threshold_bytes");
	const char *error = field_text(memory, "error");
	struct format_buffer a, b, c;

	fputs("<section id=\"memory\">\n<h2>The host\u2019s memory</h2>\n", out);
	html_printf(out, "<p>State <strong>%s</strong>", field_text(memory, "state"));
	if (thresholds)
		html_printf(out, ": %s of %s are free, and %s at least should be",
			    format_size(&a, report_bytes(memory, "free_bytes")),
			    format_size(&b, report_bytes(memory, "total_bytes")),
			    format_size(&c, report_bytes(memory, "min_free_bytes")));
	html_printf(out, ". 2 MiB pages are split for sharing: %s; on a disk\u2019s reads: %s.</p>\n",
		    field_text(memory, "large_pages"), field_text(memory, "large_pages_hints"));
	if (*error)
		html_printf(out, "<p class=\"bad\">There are no new figures: %s</p>\n", error);
	if (thresholds) {
		put_scale(out, memory, thresholds);
		put_thresholds(out, memory, thresholds);
	}
	fputs("</section>\n", out);
}
