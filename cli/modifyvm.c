/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse modifyvm: what is shared of a VM from now on, while it runs. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/document.h"
#include "protocol/wire.h"

#define POLL_MSEC 100

struct change {
	const char *name;
	const char *mode; /* NULL: none given yet */
	bool wait;
};

/** Asks until the VM has memory of its own for all that its mode does not allow to be shared. */
static int wait_for_own_memory(const struct cli *cli, struct client *client, const char *name)
{
	for (;;) {
		const json_t *vm;
		json_t *status;
		int64_t left = 0;
		int r = client_status(cli, client, &status);

		if (r != CLI_DONE)
			return r;
		vm = status_find_vm(status, name);
		if (vm != NULL)
			left = field_metric(vm, METRIC_VM_UNSHARING);
		json_decref(status);
		if (vm == NULL) {
			complain("'%s' has ended; `pagefuse list` shows the VMs there are", name);
			return CLI_FAILED;
		}
		if (left == 0)
			return CLI_DONE;
		r = client_wait(client, POLL_MSEC);
		if (r < 0)
			return client_failed(cli, r);
	}
}

static int print_change(const json_t *reply)
{
	int64_t unsharing = field_integer(reply, "unsharing_pages");

	printf("%s: mode %s", field_text(reply, "name"), field_text(reply, "mode"));
	if (unsharing > 0)
		printf("; %" PRId64 " pages are being given memory of their own", unsharing);
	putchar('\n');
	return cli_finish_output();
}

static int modify(const struct cli *cli, struct client *client, const struct change *change)
{
	json_t *reply;
	int r = client_call(cli, client,
			    json_pack("{s:s, s:s, s:s}", "command", "modify", "name", change->name, "mode",
				      change->mode),
			    &reply);

	if (r != CLI_DONE)
		return r;
	if (change->wait) {
		r = wait_for_own_memory(cli, client, change->name);
		json_object_set_new(reply, "unsharing_pages", json_integer(0));
	}
	if (r == CLI_DONE)
		r = cli->json ? document_print(reply, false) : print_change(reply);
	json_decref(reply);
	return r;
}

/** --page-fusion and --mode say one thing together. @return false after complaining. */
static bool choose_mode(struct change *change, const char *page_fusion, const char *mode)
{
	bool on = page_fusion == NULL || strcmp(page_fusion, "on") == 0;

	if (page_fusion == NULL && mode == NULL)
		complain_usage("nothing to modify; give --page-fusion on or off, or --mode");
	else if (page_fusion != NULL && !on && strcmp(page_fusion, "off") != 0)
		complain_usage("--page-fusion '%s': it is either on or off", page_fusion);
	else if (mode != NULL && (wire_mode_parse(mode) < 0 || wire_mode_parse(mode) == WIRE_MODE_OFF))
		complain_usage("--mode '%s': no such mode; give zero, hints or full", mode);
	else if (!on && mode != NULL)
		complain_usage("--mode '%s' says what is shared, and --page-fusion off that nothing is", mode);
	else
		change->mode = !on ? "off" : mode != NULL ? mode
							  : "full";
	return change->mode != NULL;
}

static int run_modifyvm(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		CLI_COMMON_OPTIONS,
		CLI_JSON_OPTION,
		{ "page-fusion", required_argument, NULL, 'p' },
		{ "mode", required_argument, NULL, 'm' },
		{ "wait", no_argument, NULL, 'w' },
		{ 0 },
	};
	const char *page_fusion = NULL, *mode = NULL;
	struct change change = { 0 };
	struct client *client;
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":p:m:w", options)) != -1) {
		if (option == 'p')
			page_fusion = optarg;
		else if (option == 'm')
			mode = optarg;
		else if (option == 'w')
			change.wait = true;
		else
			return CLI_USAGE;
	}
	if (optind == argc)
		return complain_usage("modifyvm needs a VM's name; `pagefuse list` shows them");
	if (optind + 1 < argc)
		return complain_usage("'%s': modifyvm takes one VM", argv[optind + 1]);
	change.name = argv[optind];
	if (!wire_name_is_valid(change.name))
		return complain_usage("'%s' cannot be a VM's name; `pagefuse list` shows their names", change.name);
	if (!choose_mode(&change, page_fusion, mode))
		return CLI_USAGE;
	r = client_open(cli, &client);
	if (r != CLI_DONE)
		return r;
	r = modify(cli, client, &change);
	client_free(client);
	return r;
}

const struct cli_command command_modifyvm = {
	.name = "modifyvm",
	.usage = "[--page-fusion on|off] [--mode zero|hints|full] [--wait] [--json] NAME",
	.summary = "Says what is shared of a VM from now on, while it runs.",
	.options = "  -p, --page-fusion on|off  off: every page gets memory of its own again; on: shares again\n"
		   "  -m, --mode MODE  zero: only give zero pages back; hints: share what was read from disks;\n"
		   "                   full: share all equal pages (default)\n"
		   "  -w, --wait       return when all pages that the mode does not allow have memory of their own\n"
		   "  --json           the result as a JSON document\n",
	.run = run_modifyvm,
};
