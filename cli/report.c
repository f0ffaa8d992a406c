/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse report: a page about what sharing does on this host. Gathers its document; report-page.c makes the page. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/estimate.h"
#include "cli/examination.h"
#include "cli/metrics.h"
#include "cli/report-page.h"
#include "cli/utf8.h"
#include "cli/write-file.h"

#define MODULES_MAX 1000 /* of which the page shows some */
#define TITLE_MAX 200
#define HOST_NAME_SIZE 65

struct report_options {
	const char *output, *from, *title;
};

/* ---- gathering: each adds a part to the document ---- */

static void add_sample(void *user, const char *object, enum series_id id, enum aggregate aggregate,
		       const json_t *metric)
{
	const json_t *values = json_object_get(metric, "values");

	(void)aggregate;
	if (!field_bool(metric, "enabled"))
		return;
	json_array_append_new(user, json_pack("{s:s, s:b, s:s, s:s, s:I, s:O}", "object", object, "host",
					      metric_series[id].scope == METRIC_OF_HOST, "metric",
					      metric_series[id].name, "unit", SERIES_UNIT, "period",
					      field_integer(metric, "period"), "values", values));
}

static int gather_samples(const struct cli *cli, struct client *client, json_t *document)
{
	struct metrics_wish wish = { .object = "*" };
	json_t *objects, *samples = json_array();
	int r;

	wish.filter.chosen[SERIES_VMM_SAVED][AGGREGATE_NONE] = true;
	wish.filter.chosen[SERIES_VMM_USED][AGGREGATE_NONE] = true;
	wish.filter.chosen[SERIES_GUEST_SHARED][AGGREGATE_NONE] = true;
	r = metrics_ask(cli, client, &wish, json_pack("{s:s}", "command", "metrics"), &objects);
	if (r == CLI_DONE) {
		metrics_walk(objects, &wish, add_sample, samples);
		json_decref(objects);
	}
	json_object_set_new(document, "samples", samples);
	return r;
}

static int gather_status(const struct cli *cli, struct client *client, json_t *document)
{
	json_t *status;
	int r = client_status(cli, client, &status);

	if (r == CLI_DONE)
		json_object_set_new(document, "status", status);
	return r;
}

static int gather_estimate(const struct cli *cli, struct client *client, json_t *document)
{
	char *names[] = { NULL };
	json_t *estimate;
	int r = estimate_ask(cli, client, names, ESTIMATE_PAIRS_MAX, false, &estimate);

	if (r == CLI_DONE)
		json_object_set_new(document, "estimate", estimate);
	return r;
}

static int gather_modules(const struct cli *cli, struct client *client, json_t *document)
{
	json_t *modules;
	int r = client_call(cli, client, json_pack("{s:s, s:i}", "command", "modules", "most", MODULES_MAX), &modules);

	if (r == CLI_DONE)
		json_object_set_new(document, "modules", modules);
	return r;
}

static int gather_findings(const struct cli *cli, struct client *client, json_t *document)
{
	struct examination examination = { .cli = cli, .status = json_object_get(document, "status") };
	int r;

	client_peer(client, &examination.peer);
	r = examination_look(&examination);
	if (r == CLI_DONE && examination.findings.incomplete) {
		complain("report: out of memory, so findings are missing; free some and try again");
		r = CLI_FAILED;
	}
	json_object_set_new(document, "doctor", findings_json(&examination.findings));
	findings_done(&examination.findings);
	return r;
}

/* @return NULL without memory. */
static json_t *new_document(void)
{
	char host_name[HOST_NAME_SIZE] = "", *clean;
	json_t *document;

	gethostname(host_name, sizeof(host_name) - 1);
	clean = utf8_clean(host_name);
	if (clean == NULL)
		return NULL;
	document = json_pack("{s:i, s:o, s:s, s:s, s:I}", "report", REPORT_FORM, "title",
			     json_sprintf("Page sharing on %s", clean), "host_name", clean, "version",
			     PAGEFUSE_VERSION, "time", (json_int_t)time(NULL));
	free(clean);
	return document;
}

static int gather(const struct cli *cli, json_t **ret_document)
{
	static int (*const parts[])(const struct cli *cli, struct client *client, json_t *document) = {
		gather_status,
		gather_samples,
		gather_estimate,
		gather_modules,
		gather_findings,
	};
	json_t *document;
	struct client *client;
	int r = client_open(cli, &client);

	if (r != CLI_DONE)
		return r;
	document = new_document();
	for (size_t i = 0; r == CLI_DONE && i < sizeof(parts) / sizeof(parts[0]); i++)
		r = parts[i](cli, client, document);
	client_free(client);
	if (r == CLI_DONE && report_problem(document)) {
		complain("report: out of memory while it was put together; free some and try again");
		r = CLI_FAILED;
	}
	if (r == CLI_DONE)
		*ret_document = document;
	else
		json_decref(document);
	return r;
}

/* ---- one that was gathered before ---- */

static int read_document(const char *path, json_t **ret_document)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	const char *problem;
	json_error_t error;
	json_t *document;

	if (file == NULL) {
		complain("%s: %s; --from takes a file that `pagefuse report --json` has "
			 "written",
			 path, strerror(errno));
		return CLI_FAILED;
	}
	document = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
	if (file != stdin)
		fclose(file);
	problem = document ? report_problem(document) : "that is no JSON";
	if (problem == NULL) {
		*ret_document = document;
		return CLI_DONE;
	}
	complain("%s: %s; --from takes a file that `pagefuse report --json` has written", path, problem);
	json_decref(document);
	return CLI_FAILED;
}

/* ---- writing ---- */

/* The whole text, so that it can be written at once. */
static int make_text(const struct cli *cli, const json_t *document, char **ret_text, size_t *ret_size)
{
	char *text = NULL;
	FILE *stream = open_memstream(&text, ret_size);
	bool done = stream != NULL;

	if (done && cli->json)
		done = json_dumpf(document, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) == 0 &&
		       fputc('\n', stream) != EOF;
	else if (done)
		report_page(stream, document);
	done = done && !ferror(stream);
	if (stream && fclose(stream) != 0)
		done = false;
	if (done) {
		*ret_text = text;
		return CLI_DONE;
	}
	free(text);
	complain("report: out of memory while it was written; free some and try again");
	return CLI_FAILED;
}

/* Said before anything is gathered. @return CLI_DONE, or the exit code after complaining. */
static int check_output(const struct cli *cli, const char *path)
{
	struct stat stat;

	if (path == NULL && !cli->json && isatty(STDOUT_FILENO))
		return complain_usage("the page is not for a terminal; give --output FILE, or - to see its source");
	if (path == NULL || strcmp(path, "-") == 0 || lstat(path, &stat) < 0 || S_ISREG(stat.st_mode))
		return CLI_DONE;
	if (S_ISDIR(stat.st_mode))
		complain("--output %s: that is a folder; name a file in it", path);
	else if (S_ISLNK(stat.st_mode))
		complain("--output %s: that is a symbolic link, which would be replaced; name what it leads to", path);
	else
		complain("--output %s: that is no ordinary file; leave --output out and redirect standard "
			 "output",
			 path);
	return CLI_FAILED;
}

static int write_out(const char *path, const char *text, size_t size)
{
	mode_t mask = umask(0);
	int r;

	umask(mask);
	if (path == NULL || strcmp(path, "-") == 0) {
		fwrite(text, 1, size, stdout);
		return cli_finish_output();
	}
	r = write_file(path, text, size, 0666 & ~mask);
	if (r == 0)
		return CLI_DONE;
	complain("--output %s: %s; name a file in a folder where this user may make files", path, strerror(-r));
	return CLI_FAILED;
}

static int report(const struct cli *cli, const struct report_options *options)
{
	json_t *document = NULL;
	size_t size = 0;
	char *text;
	int r = check_output(cli, options->output);

	if (r != CLI_DONE)
		return r;
	r = options->from ? read_document(options->from, &document) : gather(cli, &document);
	if (r != CLI_DONE)
		return r;
	if (options->title)
		json_object_set_new(document, "title", json_string(options->title));
	r = make_text(cli, document, &text, &size);
	json_decref(document);
	if (r != CLI_DONE)
		return r;
	r = write_out(options->output, text, size);
	free(text);
	return r;
}

/* ---- the command line ---- */

static bool title_is_fine(const char *title)
{
	uint32_t character;
	size_t length = 1;

	for (const char *c = title; *c && length > 0; c += length)
		length = utf8_next(c, &character);
	return length > 0 && *title && strlen(title) <= TITLE_MAX;
}

static int run_report(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "output", required_argument, NULL, 'o' },
		{ "title", required_argument, NULL, 't' },
		{ "from", required_argument, NULL, 'f' },
		{ 0 },
	};
	struct report_options wish = { 0 };
	int option;

	while ((option = cli_next_option(cli, argc, argv, ":o:t:f:", options)) != -1) {
		switch (option) {
		case 'o':
			wish.output = optarg;
			break;
		case 't':
			wish.title = optarg;
			break;
		case 'f':
			wish.from = optarg;
			break;
		default:
			return CLI_USAGE;
		}
	}
	if (optind < argc)
		return complain_usage("'%s': report takes no argument; it is of the host and all VMs that you may see",
				      argv[optind]);
	if (wish.title && !title_is_fine(wish.title))
		return complain_usage("--title '%s': give a title of 1 to %d bytes of UTF-8", wish.title, TITLE_MAX);
	if (wish.output && *wish.output == '\0')
		return complain_usage("--output '': give a file, or - for standard output");
	return report(cli, &wish);
}

const struct cli_command command_report = {
	.name = "report",
	.usage = "[--output FILE] [--title TEXT] [--from FILE] [--json]",
	.summary = "Makes a page, as HTML, that shows what sharing does on this host.",
	.options = "  -o, --output FILE    write it there, at once; -: standard output, also to a terminal\n"
		   "  -t, --title TEXT     at the top of the page\n"
		   "  -f, --from FILE      make it of what --json has written before; -: standard input\n"
		   "  --json               the same content as a JSON document\n",
	.run = run_report,
};
