/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/report-page.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/html.h"
#include "cli/report-parts.h"

#define SECONDS_MAX INT64_C(253402300799) /* of the year 9999 */

const char *report_problem(const json_t *document)
{
	static const char *const objects[] = { "status", "estimate", "modules", "doctor" };
	const json_t *status = json_object_get(document, "status");

	if (!json_is_object(document) || json_object_get(document, "report") == NULL)
		return "that is no document of `pagefuse report --json`";
	if (field_integer(document, "report") != REPORT_FORM)
		return "that document has another form; use the pagefuse that wrote it";
	for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
		if (!json_is_object(json_object_get(document, objects[i])))
			return "the document is not whole";
	return json_is_array(json_object_get(status, "vms")) ? NULL : "the document is not whole";
}

/* ---- the figures at the top ---- */

static void tile(FILE *out, const char *name, const char *figure, const char *class)
{
	html_printf(out, "<div class=\"tile %s\"><div class=\"name\">%s</div><div class=\"figure\">%s</div><div "
			 "class=\"more\">",
		    class, name, figure);
}

static void end_tile(FILE *out)
{
	fputs("</div></div>\n", out);
}

static void tile_saved(FILE *out, const json_t *host)
{
	struct format_buffer saved, shared, copies;

	tile(out, "Saved now", format_size(&saved, report_pages(host, "saved_pages")), "good");
	html_printf(out, "%s of the guests\u2019 memory is kept as %s of copies",
		    format_size(&shared, report_pages(host, "exposed_pages")),
		    format_size(&copies, report_pages(host, "common_pages")));
	end_tile(out);
}

static void tile_vms(FILE *out, const json_t *vms)
{
	struct format_buffer count, ram;
	int64_t sum = 0;
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm)
		sum = report_add(sum, report_bytes(vm, "ram_bytes"));
	snprintf(count.text, sizeof(count.text), "%zu", json_array_size(vms));
	tile(out, "VMs", count.text, "");
	html_printf(out, "with %s of RAM together", format_size(&ram, sum));
	end_tile(out);
}

static void tile_not_yet(FILE *out, const json_t *estimate)
{
	struct format_buffer figure;
	int64_t sum = 0;
	bool known = true;
	const json_t *domain;
	size_t i;

	json_array_foreach(json_object_get(estimate, "domains"), i, domain) {
		known = known && json_is_integer(json_object_get(domain, "would_save_pages"));
		sum = report_add(sum, report_pages(domain, "would_save_pages"));
	}
	tile(out, "Not saved yet", known ? format_size(&figure, sum) : "not told", "");
	fputs(known ? "that sharing all that is known to be equal would save"
		    : "VMs of other users are in the domain",
	      out);
	end_tile(out);
}

static void tile_exposure(FILE *out, const json_t *status)
{
	const json_t *host = json_object_get(status, "host"), *memory = json_object_get(status, "memory");
	int64_t uncovered = report_bytes(host, "uncovered_bytes");
	struct format_buffer exposed, lacking;

	tile(out, "Exposed", format_size(&exposed, report_pages(host, "exposed_pages")), uncovered > 0 ? "bad" : "");
	if (uncovered > 0)
		html_printf(out, "%s of it is not covered by free memory and swap", format_size(&lacking, uncovered));
	else if (json_object_get(memory, "swap_free_bytes"))
		fputs("covered by free memory and swap", out);
	else
		fputs("nobody can tell what is free", out);
	end_tile(out);
}

static void tile_cost(FILE *out, const json_t *status)
{
	const json_t *daemon = json_object_get(status, "daemon");
	struct format_buffer overhead, uptime;
	double seconds = field_real(daemon, "uptime_seconds");

	tile(out, "Cost", format_size(&overhead, report_bytes(json_object_get(status, "host"), "overhead_bytes")), "");
	html_printf(out, "of bookkeeping; %.1f s of CPU time of pagefused in %s", field_real(daemon, "cpu_seconds"),
		    format_seconds(&uptime, seconds > 0 && seconds < 1e15 ? (uint64_t)seconds : 0));
	end_tile(out);
}

static void tile_findings(FILE *out, const json_t *doctor)
{
	int64_t errors = report_count(doctor, "errors"), warnings = report_count(doctor, "warnings");
	struct format_buffer count;

	snprintf(count.text, sizeof(count.text), "%" PRId64, errors);
	if (errors == 0)
		snprintf(count.text, sizeof(count.text), "%" PRId64, warnings);
	tile(out, errors > 0 ? "Errors" : "Warnings", count.text, errors > 0 ? "bad" : warnings > 0 ? "fair"
												    : "");
	if (errors > 0)
		html_printf(out, "and %ld %s", (long)warnings, warnings == 1 ? "warning" : "warnings");
	else
		fputs(warnings > 0 ? "of what keeps memory from being shared"
				   : "nothing keeps memory from being shared",
		      out);
	end_tile(out);
}

static void put_tiles(FILE *out, const json_t *document)
{
	const json_t *status = json_object_get(document, "status");

	fputs("<div class=\"tiles\">\n", out);
	tile_saved(out, json_object_get(status, "host"));
	tile_vms(out, json_object_get(status, "vms"));
	tile_not_yet(out, json_object_get(document, "estimate"));
	tile_exposure(out, status);
	tile_findings(out, json_object_get(document, "doctor"));
	tile_cost(out, status);
	fputs("</div>\n", out);
}

/* ---- around it ---- */

static void put_time(FILE *out, const json_t *document)
{
	int64_t seconds = field_integer(document, "time");
	time_t time = seconds < 0 || seconds > SECONDS_MAX ? 0 : (time_t)seconds;
	char machine[32], person[32];
	struct tm tm;

	gmtime_r(&time, &tm);
	strftime(machine, sizeof(machine), "%Y-%m-%dT%H:%M:%SZ", &tm);
	strftime(person, sizeof(person), "%Y-%m-%d %H:%M UTC", &tm);
	html_printf(out, "<time datetime=\"%s\">%s</time>", machine, person);
}

/* That no script runs and nothing is fetched does not depend on escaping alone: the browser is told as well. */
static void put_head(FILE *out, const json_t *document)
{
	html_printf(out,
		    "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n<meta "
		    "charset=\"utf-8\"/>\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
		    "&#39;none&#39;; style-src &#39;unsafe-inline&#39;; img-src data:\"/>\n<meta name=\"viewport\" "
		    "content=\"width=device-width, initial-scale=1\"/>\n<meta name=\"referrer\" "
		    "content=\"no-referrer\"/>\n<link rel=\"icon\" href=\"data:,\"/>\n<title>%s</title>\n<style>\n",
		    field_text(document, "title"));
	fputs(report_style, out);
	html_printf(out, "</style>\n</head>\n<body>\n<header>\n<h1>%s</h1>\n<p><bdi>%s</bdi>, ",
		    field_text(document, "title"), field_text(document, "host_name"));
	put_time(out, document);
	fputs("</p>\n</header>\n<main>\n", out);
}

/* The help texts of the tables, so that a word means here what it does elsewhere. */
static void put_words(FILE *out)
{
	static const struct {
		const char *word;
		enum metric_id id;
	} words[] = {
		{ "Shared", METRIC_HOST_SHARED },
		{ "Copies", METRIC_HOST_COMMON },
		{ "Zero", METRIC_HOST_ZERO },
		{ "Saved", METRIC_HOST_SAVED },
		{ "Saved, of a VM", METRIC_VM_SAVED },
		{ "Exposed", METRIC_HOST_EXPOSED },
		{ "Present", METRIC_VM_PRESENT },
		{ "Diverged", METRIC_VM_DIVERGED },
	};

	fputs("<section id=\"words\">\n<h2>What the words mean</h2>\n<dl>\n", out);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		html_printf(out, "<dt>%s</dt><dd>%s</dd>\n", words[i].word, metrics[words[i].id].help);
	fputs("</dl>\n</section>\n", out);
}

void report_page(FILE *out, const json_t *document)
{
	put_head(out, document);
	put_tiles(out, document);
	report_savings(out, document);
	report_history(out, document);
	report_vms(out, document);
	report_pairs(out, document);
	report_modules(out, document);
	report_findings(out, document);
	report_exposure(out, document);
	report_memory(out, document);
	put_words(out);
	html_printf(out,
		    "</main>\n<footer>pagefuse %s. The same figures as data: <code>pagefuse report --json</code>"
		    "</footer>\n</body>\n</html>\n",
		    field_text(document, "version"));
}
