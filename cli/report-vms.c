/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is saved: in all, over time, and of each VM. */
#include <stdlib.h>
#include <string.h>

#include "cli/chart.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/html.h"
#include "cli/report-page.h"
#include "cli/report-parts.h"
#include "cli/top-fields.h"
#include "protocol/metrics.h"

/* ---- in all ---- */

static void put_domains(FILE *out, const json_t *domains)
{
	static const struct report_column columns[] = {
		{ "Domain", NULL },
		{ "VMs", "n" },
		{ "Shared", "n" },
		{ "Copies", "n" },
		{ "Zero", "n" },
		{ "Saved", "n" },
		{ "Exposed", "n" },
	};
	static const char *const figures[] = { "shared_pages", "common_pages", "zero_pages", "saved_pages",
					       "exposed_pages" };
	const json_t *domain;
	size_t i;

	report_begin_table(out, "By domain: VMs share with those of their own only", REPORT_COLUMNS(columns));
	json_array_foreach(domains, i, domain) {
		html_printf(out, "<tr><th scope=\"row\"><bdi>%s</bdi></th><td class=\"n\">%ld</td>",
			    field_text(domain, "name"), (long)report_count(domain, "vms"));
		for (size_t k = 0; k < sizeof(figures) / sizeof(figures[0]); k++)
			report_size_cell(out, report_pages(domain, figures[k]));
		fputs("</tr>\n", out);
	}
	report_end_table(out);
}

static void put_saving(FILE *out, const json_t *host)
{
	int64_t copies = report_pages(host, "common_pages"), saved = report_pages(host, "saved_pages");
	int64_t all = report_pages(host, "exposed_pages");
	const struct chart_part parts[] = { { "copies", (double)copies }, { "saved", (double)saved } };
	struct format_buffer a, b, c;
	char title[REPORT_TITLE_SIZE];

	snprintf(title, sizeof(title), "%s saved, %s kept as copies", format_size(&a, saved), format_size(&b, copies));
	html_printf(out,
		    "<p>Guests have %s that is shared or full of zeros: %s that are equal to others and %s of "
		    "zeros. Of the equal ones copies are kept, of zeros nothing.</p>\n",
		    format_size(&a, all), format_size(&b, report_pages(host, "shared_pages")),
		    format_size(&c, report_pages(host, "zero_pages")));
	chart_bar(out, title, "How much of the guests' shared memory and zeros is saved, and how much the copies "
			      "take.",
		  parts,
		  2, (double)all);
	html_printf(out, "\n<p class=\"legend\"><span class=\"key copies\"></span> copies that are kept, %s",
		    format_size(&a, copies));
	html_printf(out, " <span class=\"key saved\"></span> saved, %s</p>\n", format_size(&a, saved));
}

void report_savings(FILE *out, const json_t *document)
{
	const json_t *status = json_object_get(document, "status"), *host = json_object_get(status, "host");
	const json_t *domains = json_object_get(status, "domains");

	fputs("<section id=\"saved\">\n<h2>What is saved</h2>\n", out);
	if (json_array_size(json_object_get(status, "vms")) == 0)
		fputs(report_pages(host, "exposed_pages") > 0
			      ? "<p class=\"note\">None of your VMs shares memory yet; those of other users are "
				"shown to root.</p>\n"
			      : "<p class=\"note\">No VM shares memory here yet: start one with <code>pagefuse run "
				"-- COMMAND</code>.</p>\n",
		      out);
	if (report_pages(host, "exposed_pages") > 0)
		put_saving(out, host);
	if (json_array_size(domains) > 1)
		put_domains(out, domains);
	fputs("</section>\n", out);
}

/* ---- over time ---- */

/* The host's samples have no @name. */
static const json_t *find_samples(const json_t *document, const char *name, enum series_id id)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(document, "samples"), i, entry)
		if (field_bool(entry, "host") == (name == NULL) &&
		    strcmp(field_text(entry, "metric"), metric_series[id].name) == 0 &&
		    (name == NULL || strcmp(field_text(entry, "object"), name) == 0))
			return entry;
	return NULL;
}

/* @return whether there is a line to draw; then its values are to be freed. */
static bool take_line(struct chart_line *line, const json_t *samples)
{
	const json_t *values = json_object_get(samples, "values");
	size_t count = json_array_size(values);
	int64_t period = field_integer(samples, "period");
	int64_t *kb = count < 2 || period < 1 || period > SERIES_PERIOD_SECONDS_MAX ? NULL : calloc(count, sizeof(*kb));

	for (size_t i = 0; kb && i < count; i++) {
		int64_t value = json_integer_value(json_array_get(values, i));

		kb[i] = value < 0 ? 0 : value > SERIES_VALUE_MAX ? SERIES_VALUE_MAX
								 : value;
	}
	line->values_kb = kb;
	line->count = count;
	line->period_seconds = period;
	return kb != NULL;
}

static void put_how_to_collect(FILE *out)
{
	html_printf(out,
		    "<p class=\"note\">There are no samples to draw. This has pagefused keep them for a day, one "
		    "in %d seconds, of 8 bytes each: <code>%s</code>. It is to be said again for VMs that start "
		    "later, and when pagefused was started again. Those of the host are kept only if root says "
		    "it.</p>\n",
		    REPORT_PERIOD_SECONDS, REPORT_SETUP);
}

void report_history(FILE *out, const json_t *document)
{
	static const struct {
		enum series_id id;
		const char *class, *what;
	} wanted[] = {
		{ SERIES_VMM_SAVED, "saved", "what sharing saves (RAM/VMM/Saved)" },
		{ SERIES_VMM_USED, "used", "what the VMs take of the host, copies included (RAM/VMM/Used)" },
	};
	struct chart_line lines[2];
	const char *what[2];
	size_t count = 0;

	fputs("<section id=\"time\">\n<h2>Over time</h2>\n", out);
	for (size_t i = 0; i < 2; i++) {
		if (!take_line(&lines[count], find_samples(document, NULL, wanted[i].id)))
			continue;
		what[count] = wanted[i].what;
		lines[count++].class = wanted[i].class;
	}
	if (count == 0) {
		put_how_to_collect(out);
	} else {
		fputs("<div class=\"wide\">", out);
		chart_lines(out, "Saved memory over time",
			    "Samples that pagefused has kept, the newest at the right; higher is more memory.",
			    lines, count);
		fputs("</div>\n<p class=\"legend\">", out);
		for (size_t i = 0; i < count; i++) {
			const struct chart_line *line = &lines[i];
			struct format_buffer first, last;

			html_printf(out, "<span class=\"key %s\"></span> %s: from %s to %s ", line->class, what[i],
				    format_size(&first, line->values_kb[0] * 1024),
				    format_size(&last, line->values_kb[line->count - 1] * 1024));
			free((void *)line->values_kb);
		}
		fputs("</p>\n", out);
	}
	fputs("</section>\n", out);
}

/* ---- by VM ---- */

static int by_saving(const void *left, const void *right)
{
	const json_t *a = *(const json_t *const *)left, *b = *(const json_t *const *)right;
	int64_t saved_a = report_pages(a, "saved_pages"), saved_b = report_pages(b, "saved_pages");

	if (saved_a != saved_b)
		return saved_a < saved_b ? 1 : -1;
	return strcmp(field_text(a, "name"), field_text(b, "name"));
}

static void put_not_yet(FILE *out, const json_t *document, const char *name)
{
	const json_t *vm, *found = NULL;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(document, "estimate"), "vms"), i, vm)
		if (strcmp(field_text(vm, "name"), name) == 0)
			found = vm;
	if (json_is_integer(json_object_get(found, "would_save_pages")))
		report_size_cell(out, report_pages(found, "would_save_pages"));
	else
		fputs("<td class=\"n\">\u2013</td>", out);
}

/* What is not known cannot be in the figures, as `pagefuse estimate` says, too. */
static void put_unknown(FILE *out, const json_t *document)
{
	const json_t *vm;
	size_t i, count = 0;

	json_array_foreach(json_object_get(json_object_get(document, "estimate"), "vms"), i, vm) {
		int64_t present = report_pages(vm, "present_pages"), looked = report_pages(vm, "looked_pages");

		count += field_bool(vm, "estimated") && looked < present - present / 4;
	}
	if (count > 0)
		html_printf(out,
			    "<p class=\"note\">Of %zu of them less than three quarters were looked at; <code>pagefuse "
			    "estimate --look</code> looks at all, and tells more.</p>\n",
			    count);
}

static void put_vm_bar(FILE *out, const json_t *vm, int64_t most_ram)
{
	int64_t ram = report_bytes(vm, "ram_bytes"), shared = report_pages(vm, "shared_pages");
	int64_t zero = report_pages(vm, "zero_pages"), present = report_pages(vm, "present_pages");
	int64_t own = present > shared ? present - shared : 0;
	const struct chart_part parts[] = { { "shared", (double)shared },
					    { "zero", (double)zero },
					    { "own", (double)(own < ram - shared - zero ? own : ram - shared - zero) },
					    { "untouched", (double)(ram - shared - zero - own) } };
	char title[REPORT_TITLE_SIZE];
	struct format_buffer a, b, c;

	snprintf(title, sizeof(title), "%s: %s shared and %s zero, of %s", field_text(vm, "name"),
		 format_size(&a, shared), format_size(&b, zero), format_size(&c, ram));
	fputs("<td class=\"chart\">", out);
	chart_bar(out, title, "The VM's RAM: shared, zero, its own, and what it has not touched.",
		  parts, 4, (double)most_ram);
	fputs("</td>", out);
}

static void put_vm(FILE *out, const json_t *document, const json_t *vm, int64_t most_ram, bool sparks)
{
	const char *name = field_text(vm, "name");
	char why[TOP_TEXT_SIZE], title[REPORT_TITLE_SIZE];
	struct chart_line line = { .class = "shared" };

	html_printf(out, "<tr><th scope=\"row\"><bdi>%s</bdi></th><td>%s</td>", name, field_text(vm, "mode"));
	put_vm_bar(out, vm, most_ram);
	report_size_cell(out, report_bytes(vm, "ram_bytes"));
	report_size_cell(out, report_pages(vm, "shared_pages"));
	report_size_cell(out, report_pages(vm, "zero_pages"));
	report_size_cell(out, report_pages(vm, "saved_pages"));
	put_not_yet(out, document, name);
	report_size_cell(out, report_pages(vm, "diverged_pages"));
	html_printf(out, "<td class=\"why\">%s</td>", top_vm_why(vm, why));
	if (sparks) {
		fputs("<td class=\"spark\">", out);
		if (take_line(&line, find_samples(document, name, SERIES_GUEST_SHARED))) {
			snprintf(title, sizeof(title), "%s: shared memory over time", name);
			chart_spark(out, title, "The newest sample is at the right.", &line);
			free((void *)line.values_kb);
		}
		fputs("</td>", out);
	}
	fputs("</tr>\n", out);
}

static bool any_sparks(const json_t *document)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(document, "samples"), i, entry)
		if (!field_bool(entry, "host") && json_array_size(json_object_get(entry, "values")) > 1)
			return true;
	return false;
}

void report_vms(FILE *out, const json_t *document)
{
	static const struct report_column columns[] = {
		{ "VM", NULL },
		{ "Mode", NULL },
		{ "RAM, as it is used", "chart" },
		{ "RAM", "n" },
		{ "Shared", "n" },
		{ "Zero", "n" },
		{ "Saved", "n" },
		{ "Not yet", "n" },
		{ "Diverged", "n" },
		{ "Left alone", NULL },
		{ "Shared over time", NULL }, /* where there are samples */
	};
	enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
	const json_t *vms = json_object_get(json_object_get(document, "status"), "vms"), *vm;
	size_t count = json_array_size(vms), i;
	const json_t **rows = calloc(count + 1, sizeof(const json_t *));
	bool sparks = any_sparks(document);
	int64_t most_ram = 0;

	if (count == 0 || rows == NULL) {
		free(rows);
		return;
	}
	json_array_foreach(vms, i, vm) {
		rows[i] = vm;
		most_ram = report_bytes(vm, "ram_bytes") > most_ram ? report_bytes(vm, "ram_bytes") : most_ram;
	}
	qsort(rows, count, sizeof(*rows), by_saving);
	fputs("<section id=\"vms\">\n<h2>By VM</h2>\n<p class=\"legend\"><span class=\"key shared\"></span> shared "
	      "<span class=\"key zero\"></span> zero <span class=\"key own\"></span> its own "
	      "<span class=\"key untouched\"></span> not touched</p>\n",
	      out);
	report_begin_table(out, "Those that save most first", columns, sparks ? COLUMNS : COLUMNS - 1);
	for (i = 0; i < count; i++)
		put_vm(out, document, rows[i], most_ram, sparks);
	report_end_table(out);
	fputs("<p class=\"note\">Not yet: what sharing everything would save more, as <code>pagefuse estimate</code> "
	      "tells; \u2013 where that is not told.</p>\n",
	      out);
	put_unknown(out, document);
	fputs("</section>\n", out);
	free(rows);
}
