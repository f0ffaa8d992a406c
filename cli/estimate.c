/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse estimate: what sharing everything would save, per VM and per pair of VMs. */
#include "cli/estimate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/format.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "protocol/wire.h"

#define POLL_MSEC 100
/* What the daemon takes. */
#define NAMES_MAX 64
#define PAIRS_DEFAULT 10

/* ---- tables ---- */

/* A column of pages, shown as bytes. */
struct figure {
	const char *title, *field;
};

static const struct figure of_domain[] = {
	{ "SAVED", "saved_pages" },
	{ "WOULD-SHARE", "would_share_pages" },
	{ "WOULD-ZERO", "would_zero_pages" },
	{ "WOULD-SAVE", "would_save_pages" },
};
static const struct figure of_vm[] = {
	{ "PRESENT", "present_pages" },
	{ "LOOKED", "looked_pages" },
	{ "SHARED", "shared_pages" },
	{ "ZERO", "zero_pages" },
	{ "WOULD-SHARE", "would_share_pages" },
	{ "WOULD-ZERO", "would_zero_pages" },
	{ "WOULD-SAVE", "would_save_pages" },
};
static const struct figure of_pair[] = {
	{ "COMMON", "common_pages" },
	{ "SHARED", "shared_pages" },
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static bool add_text_column(struct libscols_table *table, const char *title)
{
	return scols_table_new_column(table, title, 0, SCOLS_FL_NOEXTREMES) != NULL;
}

static bool add_figure_columns(struct libscols_table *table, const struct figure *figures, size_t count)
{
	bool done = true;

	for (size_t i = 0; i < count; i++)
		done = done && scols_table_new_column(table, figures[i].title, 0, SCOLS_FL_RIGHT);
	return done;
}

static void set_figures(struct libscols_line *line, size_t column, const json_t *object, const struct figure *figures,
			size_t count, int *error)
{
	struct format_buffer buffer;

	for (size_t i = 0; i < count; i++) {
		const json_t *value = json_object_get(object, figures[i].field);
		const char *text = "-"; /* it is not told */

		if (!json_is_null(value))
			text = format_pages(&buffer, json_integer_value(value));
		table_set_cell(line, column + i, text, error);
	}
}

static int add_domain_columns(struct libscols_table *table)
{
	return add_text_column(table, "DOMAIN") && scols_table_new_column(table, "VMS", 0, SCOLS_FL_RIGHT) &&
			       add_figure_columns(table, of_domain, COUNT(of_domain)) &&
			       scols_table_new_column(table, "ONE-IN", 0, SCOLS_FL_RIGHT)
		       ? 0
		       : -ENOMEM;
}

static void set_number(struct libscols_line *line, size_t column, int64_t number, int *error)
{
	struct format_buffer buffer;

	snprintf(buffer.text, sizeof(buffer.text), "%" PRId64, number);
	table_set_cell(line, column, buffer.text, error);
}

static int add_domain(struct libscols_table *table, const json_t *domain)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, 0, field_text(domain, "name"), &error);
	set_number(line, 1, field_integer(domain, "vms"), &error);
	set_figures(line, 2, domain, of_domain, COUNT(of_domain), &error);
	set_number(line, 2 + COUNT(of_domain), field_integer(domain, "one_in"), &error);
	return error;
}

static int add_vm_columns(struct libscols_table *table)
{
	return add_text_column(table, "NAME") && add_text_column(table, "DOMAIN") && add_text_column(table, "MODE") &&
			       add_figure_columns(table, of_vm, COUNT(of_vm)) &&
			       scols_table_new_column(table, "LAST-PASS", 0, SCOLS_FL_RIGHT)
		       ? 0
		       : -ENOMEM;
}

static int add_vm(struct libscols_table *table, const json_t *vm)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	const json_t *looked = json_object_get(vm, "looked_seconds");
	struct format_buffer buffer;
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, 0, field_text(vm, "name"), &error);
	table_set_cell(line, 1, field_text(vm, "domain"), &error);
	table_set_cell(line, 2, field_text(vm, "mode"), &error);
	if (!field_bool(vm, "estimated")) {
		table_set_cell(line, 3 + COUNT(of_vm), "came later", &error);
		return error;
	}
	set_figures(line, 3, vm, of_vm, COUNT(of_vm), &error);
	table_set_cell(line, 3 + COUNT(of_vm),
		       json_is_number(looked) ? format_seconds(&buffer, (uint64_t)json_number_value(looked)) : "none",
		       &error);
	return error;
}

static int add_pair_columns(struct libscols_table *table)
{
	return add_text_column(table, "VM") && add_text_column(table, "AND") && add_text_column(table, "DOMAIN") &&
			       add_figure_columns(table, of_pair, COUNT(of_pair))
		       ? 0
		       : -ENOMEM;
}

static const char *name_of(const json_t *pair, size_t i)
{
	const char *name = json_string_value(json_array_get(json_object_get(pair, "names"), i));

	return name ? name : "";
}

static int add_pair(struct libscols_table *table, const json_t *pair)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, 0, name_of(pair, 0), &error);
	table_set_cell(line, 1, name_of(pair, 1), &error);
	table_set_cell(line, 2, field_text(pair, "domain"), &error);
	set_figures(line, 3, pair, of_pair, COUNT(of_pair), &error);
	return error;
}

/* ---- printing ---- */

static int print_pairs(const json_t *reply)
{
	const json_t *pairs = json_object_get(reply, "pairs");
	int64_t left_out = field_integer(reply, "pairs_left_out");
	int r = 0;

	if (json_array_size(pairs) > 0) {
		putchar('\n');
		fflush(stdout);
		r = table_print(pairs, add_pair_columns, add_pair);
	}
	if (r == 0 && left_out > 0)
		printf("\n%" PRId64 " more pairs have less in common; --pairs shows up to "
		       "%d.\n",
		       left_out, ESTIMATE_PAIRS_MAX);
	return r;
}

/* Unknown contents are not in the figures: names VMs of which few pages are known. */
static void print_unknown(const json_t *vms)
{
	const char *before = "\n";
	const json_t *vm;
	size_t i;

	json_array_foreach(vms, i, vm) {
		int64_t present = field_integer(vm, "present_pages"), looked = field_integer(vm, "looked_pages");
		struct format_buffer some, all;

		if (!field_bool(vm, "estimated") || looked >= present - present / 4)
			continue;
		printf("%s%s: only %s of %s were looked at, in mode %s; --look looks at all.\n", before,
		       field_text(vm, "name"), format_pages(&some, looked), format_pages(&all, present),
		       field_text(vm, "mode"));
		before = "";
	}
}

static int print_estimate(const json_t *reply)
{
	const json_t *vms = json_object_get(reply, "vms");
	int r;

	if (json_array_size(vms) == 0) {
		puts("There is no VM to tell of: start one with `pagefuse run -- COMMAND`.");
		return cli_finish_output();
	}
	r = table_print(json_object_get(reply, "domains"), add_domain_columns, add_domain);
	putchar('\n');
	fflush(stdout);
	if (r == 0)
		r = table_print(vms, add_vm_columns, add_vm);
	if (r == 0)
		r = print_pairs(reply);
	if (r < 0) {
		complain("estimate: out of memory while making the table; try `pagefuse estimate --json`");
		return CLI_FAILED;
	}
	print_unknown(vms);
	return cli_finish_output();
}

/* ---- asking ---- */

static json_t *new_request(char **names, int pairs, bool look)
{
	json_t *array = json_array();

	for (; *names != NULL; names++)
		json_array_append_new(array, json_string(*names));
	return json_pack("{s:s, s:o, s:i, s:b}", "command", "estimate", "names", array, "pairs", pairs, "look", look);
}

/* Asks until it is made. *ret_reply is the last answer. */
static int await_estimate(const struct cli *cli, struct client *client, json_t *request, json_t **ret_reply)
{
	bool bar = isatty(STDERR_FILENO), finished, drawn = false;
	json_t *reply;
	int r;

	for (;;) {
		r = client_call(cli, client, json_incref(request), &reply);
		if (r != CLI_DONE)
			return r;
		finished = field_bool(reply, "finished");
		if (!finished && !json_is_integer(json_object_get(reply, "since"))) {
			json_decref(reply);
			return client_failed(cli, -EPROTO);
		}
		if (bar && (drawn || !finished))
			progress_draw(field_integer(reply, "done_pages"), field_integer(reply, "total_pages"),
				      finished);
		drawn = bar;
		if (finished)
			break;
		json_object_set(request, "since", json_object_get(reply, "since"));
		json_decref(reply);
		r = client_wait(client, POLL_MSEC);
		if (r < 0)
			return client_failed(cli, r);
	}
	json_object_del(reply, "finished");
	json_object_del(reply, "since");
	*ret_reply = reply;
	return CLI_DONE;
}

int estimate_ask(const struct cli *cli, struct client *client, char **names, int pairs, bool look,
		 json_t **ret_estimate)
{
	json_t *request = new_request(names, pairs, look);
	int r = await_estimate(cli, client, request, ret_estimate);

	json_decref(request);
	return r;
}

static int estimate(const struct cli *cli, struct client *client, char **names, int pairs, bool look)
{
	json_t *reply = NULL;
	int r = estimate_ask(cli, client, names, pairs, look, &reply);

	if (r != CLI_DONE)
		return r;
	r = cli->json ? document_print(reply, false) : print_estimate(reply);
	json_decref(reply);
	return r;
}

static bool parse_pairs(const char *text, int *ret_pairs)
{
	char *end;
	long pairs;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	pairs = strtol(text, &end, 10);
	if (errno != 0 || *end != '\0' || pairs > ESTIMATE_PAIRS_MAX)
		return false;
	*ret_pairs = (int)pairs;
	return true;
}

static int run_estimate(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "look", no_argument, NULL, 'l' },
		{ "pairs", required_argument, NULL, 'p' },
		{ 0 },
	};
	int pairs = PAIRS_DEFAULT, option, r;
	struct client *client;
	bool look = false;

	while ((option = cli_next_option(cli, argc, argv, ":lp:", options)) != -1) {
		if (option == '?')
			return CLI_USAGE;
		if (option == 'l')
			look = true;
		else if (!parse_pairs(optarg, &pairs))
			return complain_usage("--pairs '%s': give a number from 0 to %d", optarg, ESTIMATE_PAIRS_MAX);
	}
	for (int i = optind; i < argc; i++)
		if (!wire_name_is_valid(argv[i]))
			return complain_usage("'%s' cannot be a VM's name; `pagefuse list` shows their names", argv[i]);
	if (argc - optind > NAMES_MAX)
		return complain_usage("'%s': an estimate is of at most %d VMs by name; without names it is of all",
				      argv[optind + NAMES_MAX], NAMES_MAX);
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = estimate(cli, client, argv + optind, pairs, look);
	client_free(client);
	return r;
}

const struct cli_command command_estimate = {
	.name = "estimate",
	.usage = "[--look] [--pairs N] [--json] [NAME...]",
	.summary = "Tells what sharing everything would save; shares nothing.",
	.options = "  -l, --look       have all memory of VMs in other modes than full looked at before\n"
		   "  -p, --pairs N    how many pairs of VMs, those with the most in common (10)\n"
		   "  --json           the result as a JSON document\n",
	.run = run_estimate,
};
