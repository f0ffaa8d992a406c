/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse modules: which files, programs and kernels are fused, as agents have named them, and which disk images. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/table.h"

#define ROWS_SHOWN 40
#define ROWS_SHOWN_MAX 65536

enum column {
	COLUMN_SAVED,
	COLUMN_SHARED,
	COLUMN_NAMED,
	COLUMN_VMS,
	COLUMN_KIND,
	COLUMN_LABEL
};

static int add_columns(struct libscols_table *table)
{
	return scols_table_new_column(table, "SAVED", 0, SCOLS_FL_RIGHT) &&
			       scols_table_new_column(table, "SHARED", 0, SCOLS_FL_RIGHT) &&
			       scols_table_new_column(table, "NAMED", 0, SCOLS_FL_RIGHT) &&
			       scols_table_new_column(table, "VMS", 0, SCOLS_FL_RIGHT) &&
			       scols_table_new_column(table, "KIND", 0, 0) &&
			       scols_table_new_column(table, "WHAT", 0, SCOLS_FL_NOEXTREMES)
		       ? 0
		       : -ENOMEM;
}

static int add_module(struct libscols_table *table, const json_t *module)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	struct format_buffer buffer;
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, COLUMN_SAVED, format_pages(&buffer, field_integer(module, "saved_pages")), &error);
	table_set_cell(line, COLUMN_SHARED, format_pages(&buffer, field_integer(module, "shared_pages")), &error);
	table_set_cell(line, COLUMN_NAMED, format_pages(&buffer, field_integer(module, "pages")), &error);
	snprintf(buffer.text, sizeof(buffer.text), "%" PRId64, field_integer(module, "vms"));
	table_set_cell(line, COLUMN_VMS, buffer.text, &error);
	table_set_cell(line, COLUMN_KIND, field_text(module, "kind"), &error);
	table_set_cell(line, COLUMN_LABEL, field_text(module, "label"), &error);
	return error;
}

/** Modules that are not in the table, and how much of the shared memory has a label. */
static void print_sums(const json_t *reply)
{
	const json_t *rest = json_object_get(reply, "rest"), *named = json_object_get(reply, "named");
	int64_t told = (int64_t)json_array_size(json_object_get(reply, "modules"));
	int64_t left = field_integer(reply, "modules_count") - told;
	struct format_buffer saved, shared, all;

	if (left > 0)
		printf("and %" PRId64 " more, which save %s; --all shows them\n", left,
		       format_pages(&saved, field_integer(rest, "saved_pages")));
	printf("%" PRId64 " of %" PRId64 " VMs have an agent that names pages, and %" PRId64
	       " have read disk images: %s of the %s that are shared\n",
	       field_integer(reply, "vms_with_agent"), field_integer(reply, "vms"),
	       field_integer(reply, "vms_with_images"),
	       format_pages(&shared, field_integer(named, "shared_pages")),
	       format_pages(&all, field_integer(reply, "shared_pages")));
}

static int print_modules(const json_t *reply)
{
	const json_t *modules = json_object_get(reply, "modules");
	int r = 0;

	if (field_integer(reply, "vms_with_agent") == 0 && field_integer(reply, "vms_with_images") == 0) {
		complain("nobody names pages: no VM here has read a disk image into its memory, or has an agent; "
			 "pagefuse-agent(8) tells how to install it in a guest");
		return CLI_DONE;
	}
	if (json_array_size(modules) > 0)
		r = table_print(modules, add_columns, add_module);
	if (r < 0) {
		complain("cannot print the table: %s", strerror(-r));
		return CLI_FAILED;
	}
	print_sums(reply);
	return cli_finish_output();
}

static int show(const struct cli *cli, const char *name, int64_t most)
{
	json_t *request = json_pack("{s:s, s:I}", "command", "modules", "most", (json_int_t)most), *reply;
	struct client *client;
	int r = client_open(cli, &client);

	if (r != CLI_DONE) {
		json_decref(request);
		return r;
	}
	if (name)
		json_object_set_new(request, "name", json_string(name));
	r = client_call(cli, client, request, &reply);
	if (r == CLI_DONE) {
		r = cli->json ? document_print(reply, false) : print_modules(reply);
		json_decref(reply);
	}
	client_free(client);
	return r;
}

static int run_modules(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "all", no_argument, NULL, 'a' },
		{ 0 },
	};
	int64_t most = ROWS_SHOWN;
	int option;

	while ((option = cli_next_option(cli, argc, argv, ":a", options)) != -1) {
		if (option != 'a')
			return CLI_USAGE;
		most = ROWS_SHOWN_MAX;
	}
	if (argc - optind > 1)
		return complain_usage("'%s': modules takes one VM's name, or none for all VMs", argv[optind + 1]);
	return show(cli, argv[optind], cli->json ? ROWS_SHOWN_MAX : most);
}

const struct cli_command command_modules = {
	.name = "modules",
	.usage = "[--all] [--json] [NAME]",
	.summary = "Shows which files, kernels and disk images are fused.",
	.options = "  --all            all of them, not only those that save most\n"
		   "  --json           as a JSON document, with all of them\n",
	.run = run_modules,
};
