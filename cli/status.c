/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse status: what is shared on this host, once or as a live table. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/summary.h"
#include "cli/table.h"

enum column {
	COLUMN_NAME,
	COLUMN_PID,
	COLUMN_DOMAIN,
	COLUMN_MODE,
	COLUMN_METRICS, /* and as many as there are in shown[] */
};

static const enum metric_id shown[] = {
	METRIC_VM_RAM,
	METRIC_VM_PRESENT,
	METRIC_VM_SHARED,
	METRIC_VM_ZERO,
	METRIC_VM_SAVED,
	METRIC_VM_EXPOSED,
	METRIC_VM_WOULD_SAVE,
	METRIC_VM_DIVERGED,
	METRIC_VM_MAPPINGS,
	METRIC_VM_HOLD_P99,
	METRIC_VM_WORKER_CPU,
};

#define SHOWN (sizeof(shown) / sizeof(*shown))
#define COLUMN_STATE (COLUMN_METRICS + SHOWN)

static int add_columns(struct libscols_table *table)
{
	bool done = scols_table_new_column(table, "NAME", 0, SCOLS_FL_NOEXTREMES) &&
		    scols_table_new_column(table, "PID", 0, SCOLS_FL_RIGHT) &&
		    scols_table_new_column(table, "DOMAIN", 0, SCOLS_FL_NOEXTREMES) &&
		    scols_table_new_column(table, "MODE", 0, 0);

	for (size_t i = 0; i < SHOWN; i++)
		done = done && scols_table_new_column(table, metrics[shown[i]].column, 0, SCOLS_FL_RIGHT);
	return done && scols_table_new_column(table, "STATE", 0, 0) ? 0 : -ENOMEM;
}

static int add_vm(struct libscols_table *table, const json_t *vm)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	struct format_buffer buffer;
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, COLUMN_NAME, field_text(vm, "name"), &error);
	snprintf(buffer.text, sizeof(buffer.text), "%" PRId64, field_integer(vm, "pid"));
	table_set_cell(line, COLUMN_PID, buffer.text, &error);
	table_set_cell(line, COLUMN_DOMAIN, field_text(vm, "domain"), &error);
	table_set_cell(line, COLUMN_MODE, field_text(vm, "mode"), &error);
	for (size_t i = 0; i < SHOWN; i++)
		table_set_cell(line, COLUMN_METRICS + i, field_metric_text(&buffer, vm, shown[i]), &error);
	table_set_cell(line, COLUMN_STATE, summary_vm_state(vm), &error);
	return error;
}

/* ---- by domain: figures of the host, which add up to its ---- */

static const struct {
	enum metric_id id;
	const char *title;
} of_domain[] = {
	{ METRIC_HOST_SHARED, "SHARED" },
	{ METRIC_HOST_COMMON, "COMMON" },
	{ METRIC_HOST_ZERO, "ZERO" },
	{ METRIC_HOST_SAVED, "SAVED" },
	{ METRIC_HOST_EXPOSED, "EXPOSED" },
	{ METRIC_HOST_STORE, "STORE" },
};

#define OF_DOMAIN (sizeof(of_domain) / sizeof(*of_domain))

static int add_domain_columns(struct libscols_table *table)
{
	bool done = scols_table_new_column(table, "DOMAIN", 0, SCOLS_FL_NOEXTREMES) &&
		    scols_table_new_column(table, "VMS", 0, SCOLS_FL_RIGHT);

	for (size_t i = 0; i < OF_DOMAIN; i++)
		done = done && scols_table_new_column(table, of_domain[i].title, 0, SCOLS_FL_RIGHT);
	return done ? 0 : -ENOMEM;
}

static int add_domain(struct libscols_table *table, const json_t *domain)
{
	struct libscols_line *line = scols_table_new_line(table, NULL);
	struct format_buffer buffer;
	int error = 0;

	if (line == NULL)
		return -ENOMEM;
	table_set_cell(line, 0, field_text(domain, "name"), &error);
	snprintf(buffer.text, sizeof(buffer.text), "%" PRId64, field_integer(domain, "vms"));
	table_set_cell(line, 1, buffer.text, &error);
	for (size_t i = 0; i < OF_DOMAIN; i++)
		table_set_cell(line, 2 + i, field_metric_text(&buffer, domain, of_domain[i].id), &error);
	return error;
}

/* ---- printing ---- */

/** The daemon shows only the VMs that the user may see; the host's figures are sums of the domains of these. */
static void print_no_vm(const json_t *status)
{
	const json_t *host = json_object_get(status, "host");

	if (field_metric(host, METRIC_HOST_SHARED) + field_metric(host, METRIC_HOST_ZERO) > 0)
		puts("None of your VMs shares memory yet; those of other users are shown to root.");
	else
		puts("No VM shares memory yet: start one with `pagefuse run -- COMMAND`.");
}

static int print_status(const json_t *status, bool by_domain)
{
	const json_t *vms = json_object_get(status, "vms");
	int r;

	summary_daemon(stdout, status);
	summary_shared(stdout, status);
	summary_store(stdout, status);
	summary_memory(stdout, status);
	summary_exposure(stdout, status);
	putchar('\n');
	if (!by_domain && json_array_size(vms) == 0) {
		print_no_vm(status);
		return cli_finish_output();
	}
	fflush(stdout);
	r = by_domain ? table_print(json_object_get(status, "domains"), add_domain_columns, add_domain)
		      : table_print(vms, add_columns, add_vm);
	if (r < 0) {
		complain("status: out of memory while making the table; try `pagefuse status --json`");
		return CLI_FAILED;
	}
	return cli_finish_output();
}

static int show(const struct cli *cli, struct client *client, bool by_domain, bool watching)
{
	json_t *status;
	int r = client_status(cli, client, &status);

	if (r != CLI_DONE)
		return r;
	if (watching && !cli->json && isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout); /* begin at the top of an empty screen */
	r = cli->json ? document_print(status, watching) : print_status(status, by_domain);
	json_decref(status);
	return r;
}

static int run_status(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "watch", required_argument, NULL, 'w' },
		{ "by", required_argument, NULL, 'b' },
		{ 0 },
	};
	struct client *client;
	unsigned watch_msec = 0;
	bool by_domain = false;
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":w:b:", options)) != -1) {
		if (option == '?')
			return CLI_USAGE;
		if (option == 'b' && strcmp(optarg, "vm") != 0 && strcmp(optarg, "domain") != 0)
			return complain_usage("--by '%s': no such table; give vm or domain", optarg);
		if (option == 'b')
			by_domain = strcmp(optarg, "domain") == 0;
		else if (!cli_parse_seconds(optarg, &watch_msec))
			return complain_usage("--watch '%s': not a time; give seconds from 0.1 to %d", optarg,
					      CLI_SECONDS_MAX);
	}
	if (optind < argc)
		return complain_usage("'%s': status takes no argument; `pagefuse showvminfo NAME` shows one VM",
				      argv[optind]);
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = show(cli, client, by_domain, watch_msec > 0);
	while (r == CLI_DONE && watch_msec > 0) {
		r = client_wait(client, watch_msec);
		r = r < 0 ? client_failed(cli, r) : show(cli, client, by_domain, true);
	}
	client_free(client);
	return r;
}

const struct cli_command command_status = {
	.name = "status",
	.usage = "[--by vm|domain] [--watch SECONDS] [--json]",
	.summary = "Shows what is shared, for the host and each VM.",
	.options = "  -b, --by WHAT        a line for each: vm (default) or domain\n"
		   "  -w, --watch SECONDS  show it again and again, until interrupted\n"
		   "  --json               as one JSON document; with --watch, one per line\n",
	.run = run_status,
};
