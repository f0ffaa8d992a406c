/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* pagefuse modifyvm: sets what is shared of a VM, while it runs and whenever it starts again. */
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
	bool forget;
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
	const char *name = field_text(reply, "name"), *mode = field_text(reply, "mode");

	if (field_bool(reply, "running"))
		printf("%s: mode %s", name, mode);
	else if (*mode != '\0')
		printf("%s: mode %s when it starts; no VM of this name runs", name, mode);
	else
		printf("%s: nothing is kept for it any more", name);
	if (unsharing > 0)
		printf("; %" PRId64 " pages are being given memory of their own", unsharing);
	putchar('\n');
	return cli_finish_output();
}

/** The change is in force, but is lost when the daemon ends. */
static int check_kept(const json_t *reply)
{
	const char *problem = field_text(reply, "problem");

	if (*problem == '\0')
		return CLI_DONE;
	complain("'%s': mode '%s' counts, but is not kept: %s", field_text(reply, "name"), field_text(reply, "mode"),
		 problem);
	return CLI_FAILED;
}

static json_t *request_of(const struct change *change)
{
	if (change->forget)
		return json_pack("{s:s, s:s, s:b}", "command", "modify", "name", change->name, "forget", 1);
	return json_pack("{s:s, s:s, s:s}", "command", "modify", "name", change->name, "mode", change->mode);
}

static int modify(const struct cli *cli, struct client *client, const struct change *change)
{
	json_t *reply;
	int r = client_call(cli, client, request_of(change), &reply);

	if (r != CLI_DONE)
		return r;
	if (change->wait && field_bool(reply, "running")) {
		r = wait_for_own_memory(cli, client, change->name);
		json_object_set_new(reply, "unsharing_pages", json_integer(0));
	}
	if (r == CLI_DONE)
		r = check_kept(reply);
	if (r == CLI_DONE)
		r = cli->json ? document_print(reply, false) : print_change(reply);
	json_decref(reply);
	return r;
}

/** --page-fusion and --mode say one thing together. @return false after complaining. */
static bool choose_mode(struct change *change, const char *page_fusion, const char *mode)
{
	bool on = page_fusion == NULL || strcmp(page_fusion, "on") == 0;

	if (change->forget) {
		if (page_fusion != NULL || mode != NULL)
			complain_usage("--forget drops what is kept; --page-fusion and --mode say what to keep");
		return page_fusion == NULL && mode == NULL;
	}
	if (page_fusion == NULL && mode == NULL)
		complain_usage("nothing to modify; give --page-fusion on or off, --mode, or --forget");
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
		{ "forget", no_argument, NULL, 'f' },
		{ "wait", no_argument, NULL, 'w' },
		{ 0 },
	};
	const char *page_fusion = NULL, *mode = NULL;
	struct change change = { 0 };
	struct client *client;
	int option, r;

	while ((option = cli_next_option(cli, argc, argv, ":p:m:fw", options)) != -1) {
		if (option == 'p')
			page_fusion = optarg;
		else if (option == 'm')
			mode = optarg;
		else if (option == 'f')
			change.forget = true;
		else if (option == 'w')
			change.wait = true;
		else
			return CLI_USAGE;
	}
	if (optind == argc)
		return complain_usage("modifyvm needs a VM's name; `pagefuse list` shows those that run");
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
	.usage = "[--page-fusion on|off] [--mode zero|hints|full] [--forget] [--wait] [--json] NAME",
	.summary = "Says what is shared of a VM from now on, and whenever it starts.",
	.options = "  -p, --page-fusion on|off  off: every page gets memory of its own again; on: shares again\n"
		   "  -m, --mode MODE  zero: only give zero pages back; hints: share what was read from disks;\n"
		   "                   full: share all equal pages (default)\n"
		   "  -f, --forget     keep nothing for it: it has the mode that it is started with\n"
		   "  -w, --wait       return when all pages that the mode does not allow have memory of their own\n"
		   "  --json           the result as a JSON document\n",
	.run = run_modifyvm,
};
