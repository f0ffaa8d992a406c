/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse showvminfo: one VM, a line for each fact. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "cli/format.h"
#include "cli/shell-command.h"

static void print_line(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void print_line(const char *key, const char *format, ...)
{
	va_list arguments;

	printf("%s:%*s", key, (int)(24 - strlen(key)), "");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
}

/* A metric that has a line of its own. */
static void print_metric(const json_t *vm, enum metric_id id)
{
	struct format_buffer buffer;
	const char *text = field_metric_text(&buffer, vm, id);

	if (metrics[id].unit == METRIC_PAGES)
		print_line(metrics[id].label, "%" PRId64 " pages (%s)", field_metric(vm, id), text);
	else
		print_line(metrics[id].label, "%s", text);
}

static void print_refused(const json_t *vm)
{
	json_t *refused;
	size_t i;

	json_array_foreach(json_object_get(vm, "refused"), i, refused) {
		struct format_buffer buffer;

		print_line("Left alone", "%s %s (%s)", format_bytes(&buffer, field_integer(refused, "bytes")),
			   field_text(refused, "text"), field_text(refused, "reason"));
	}
}

static void print_page_fusion(const json_t *vm, bool kept)
{
	const char *mode = field_text(vm, "mode");
	bool off = strcmp(mode, "off") == 0;
	char *command;

	print_line("Page Fusion", "%s, mode %s%s", off ? "disabled" : "enabled", mode,
		   kept                                 ? " (kept by modifyvm)"
		   : field_bool(vm, "mode_by_settings") ? " (by [vms] preload_mode)"
							: "");
	if (!off)
		return;
	command = shell_command("modifyvm", field_text(vm, "name"), "--page-fusion on");
	if (command != NULL)
		print_line("To share it", "%s", command);
	free(command);
}

static void print_uuid(const json_t *vm)
{
	if (*field_text(vm, "uuid") != '\0')
		print_line("UUID", "%s", field_text(vm, "uuid"));
}

static int print_kept(const json_t *vm)
{
	print_line("Name", "%s", field_text(vm, "name"));
	print_uuid(vm);
	if (json_is_integer(json_object_get(vm, "uid")))
		print_line("Process", "none; it was of uid %" PRId64, field_integer(vm, "uid"));
	else
		print_line("Process", "none");
	print_page_fusion(vm, true);
	return cli_finish_output();
}

static int print_vm(const json_t *vm)
{
	static const enum metric_id lines[] = {
		METRIC_VM_RAM,
		METRIC_VM_PRESENT,
		METRIC_VM_SHARED,
		METRIC_VM_ZERO,
		METRIC_VM_SAVED,
		METRIC_VM_EXPOSED,
		METRIC_VM_DIVERGED,
		METRIC_VM_KEPT_PRIVATE,
		METRIC_VM_WHOLE,
		METRIC_VM_BROKEN,
		METRIC_VM_READY,
		METRIC_VM_WOULD_SAVE,
		METRIC_VM_HINTED_SHARED,
		METRIC_VM_UNSHARING,
	};
	struct format_buffer p50, p99, max;

	print_line("Name", "%s", field_text(vm, "name"));
	print_uuid(vm);
	print_line("Process", "%" PRId64 " of uid %" PRId64 "%s", field_integer(vm, "pid"), field_integer(vm, "uid"),
		   field_bool(vm, "connected") ? "" : ", not connected");
	print_line("Domain", "%s", field_text(vm, "domain"));
	print_page_fusion(vm, field_bool(vm, "mode_kept"));
	print_line("Scan", "%s", field_bool(vm, "scanning") ? "under way" : "at rest");
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++)
		print_metric(vm, lines[i]);
	if (field_metric(vm, METRIC_VM_EXPOSURE_HELD))
		print_line("Held", "nothing new is shared of it, as it has its share of exposure_max");
	print_line("Busy", "%" PRId64 " holds refused so far", field_metric(vm, METRIC_VM_BUSY));
	print_line("Mappings", "%" PRId64 " of %" PRId64 ", %" PRId64 " pages refused so far to spare some",
		   field_metric(vm, METRIC_VM_MAPPINGS), field_metric(vm, METRIC_VM_MAPPINGS_LIMIT),
		   field_metric(vm, METRIC_VM_NO_MAPPING));
	print_line("Hold", "%s median, %s 99th percentile, %s longest", field_metric_text(&p50, vm, METRIC_VM_HOLD_P50),
		   field_metric_text(&p99, vm, METRIC_VM_HOLD_P99), field_metric_text(&max, vm, METRIC_VM_HOLD_MAX));
	print_line("Worker CPU", "%.2f s", field_real(vm, metrics[METRIC_VM_WORKER_CPU].name));
	print_refused(vm);
	return cli_finish_output();
}

static int show_kept(const struct cli *cli, struct client *client, const char *name)
{
	const json_t *vm;
	json_t *kept;
	int r = client_call(cli, client, json_pack("{s:s}", "command", "kept"), &kept);

	if (r != CLI_DONE)
		return r;
	vm = status_find_vm(kept, name);
	if (vm == NULL) {
		complain("'%s' is no VM that pagefused knows; `pagefuse list` shows their names", name);
		r = CLI_FAILED;
	} else {
		r = cli->json ? document_print(vm, false) : print_kept(vm);
	}
	json_decref(kept);
	return r;
}

static int show(const struct cli *cli, struct client *client, const char *name)
{
	const json_t *vm;
	json_t *status;
	int r = client_status(cli, client, &status);

	if (r != CLI_DONE)
		return r;
	vm = status_find_vm(status, name);
	if (vm == NULL)
		r = show_kept(cli, client, name);
	else
		r = cli->json ? document_print(vm, false) : print_vm(vm);
	json_decref(status);
	return r;
}

static int run_showvminfo(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = { CLI_COMMON_OPTIONS, CLI_JSON_OPTION, { 0 } };
	struct client *client;
	int r;

	if (cli_next_option(cli, argc, argv, ":", options) != -1)
		return CLI_USAGE;
	if (optind == argc)
		return complain_usage("showvminfo needs a VM's name; `pagefuse list` shows them");
	if (optind + 1 < argc)
		return complain_usage("'%s': showvminfo takes one name; `pagefuse status` shows all VMs",
				      argv[optind + 1]);
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = show(cli, client, argv[optind]);
	client_free(client);
	return r;
}

const struct cli_command command_showvminfo = {
	.name = "showvminfo",
	.usage = "[--json] NAME",
	.summary = "Shows all that is known of one VM, and what is kept for one that does not run.",
	.options = "  --json           as a JSON document\n",
	.run = run_showvminfo,
};
